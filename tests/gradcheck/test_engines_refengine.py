"""The adapter of the bundled engine keeps layouts, and differentiates without side effects, as PyTorch's does."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from gradcheck.engines.registry import engine, recognise

re = pytest.importorskip("refengine")

LAYOUTS = {
    "contiguous": np.arange(6.0).reshape(2, 3),
    "transposed": np.arange(6.0).reshape(3, 2).T,
    "gaps": np.arange(12.0).reshape(2, 6)[:, ::2],
    "offset": np.arange(12.0).reshape(4, 3)[2:],
    "expanded": np.broadcast_to(np.arange(3.0), (2, 3)),
    "overlapping": as_strided(np.arange(4.0), (2, 3), (8, 8)),
    "scalar": np.array(2.0),
    "integers": np.arange(6).reshape(2, 3).T,
}


@pytest.fixture(name="adapter")
def _adapter():
    return engine("refengine")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tensor_keeps_values_dtype_and_strides(adapter, layout):
    values = LAYOUTS[layout]
    made = adapter.tensor(values)
    assert np.array_equal(values, adapter.array(made))
    assert adapter.array(made).dtype == values.dtype
    assert adapter.strides(made) == tuple(s // values.itemsize for s in values.strides)


def test_tensor_keeps_the_offset(adapter):
    assert adapter.tensor(np.arange(12.0)[5:]).storage_offset() == 5


def test_tensor_with_gaps_is_a_leaf_of_its_own_memory(adapter):
    values = np.arange(12.0).reshape(2, 6)[:, ::2]
    made = adapter.tensor(values, requires_grad=True)
    assert made.is_leaf
    made.detach().mul_(0.0)
    assert values[1, 1] == 8.0


def test_its_tensors_are_recognised(adapter):
    assert recognise([re.ones(2)]).name == "refengine"


def test_call_follows_the_declared_form(adapter):
    x = adapter.tensor(np.array([1.0, 2.0]))
    mask = adapter.tensor(np.array([True, False]))
    assert adapter.call("where", (mask, x, 0.0), {}).tolist() == [1.0, 0.0]
    assert adapter.call("cat", ((x, x),), {"dim": 0}).tolist() == [1.0, 2.0, 1.0, 2.0]
    assert adapter.call("mul", (x, 3.0), {}, inplace=True) is x


def test_every_declared_op_is_supported(adapter):
    from refengine import catalogue

    assert [op.name for op in catalogue.ops() if not adapter.supports(op.name)] == []


def test_grad_leaves_grad_alone_and_gives_none_for_unconnected_inputs(adapter):
    x, y = (adapter.tensor(np.ones(2), requires_grad=True) for _ in range(2))
    found = adapter.grad([(x * 3.0).sum()], [x, y], [adapter.tensor(np.array(1.0))])
    assert found[0].tolist() == [3.0, 3.0]
    assert found[1] is None
    assert x.grad is None


def test_sandbox_restores_grad_mode_and_random_state(adapter):
    before = np.asarray(re.get_rng_state())
    with re.no_grad(), adapter.sandbox(7):
        first = re.rand(3).tolist()
        assert re.is_grad_enabled()
        adapter.seed(7)
        assert first == re.rand(3).tolist()
    assert np.array_equal(before, np.asarray(re.get_rng_state()))
