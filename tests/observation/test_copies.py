"""What an adapter copies of a call: dtype, layout, requires_grad and shared memory, and no more than is in use."""

from __future__ import annotations

import random

import numpy as np
import pytest

from gradcheck.engines.memory import Span, shared
from tests.gradcheck.adapters import adapter_fixture  # noqa: F401

LAYOUTS = {
    "contiguous": lambda x: x,
    "transposed": lambda x: x.transpose(0, 1),
    "strided": lambda x: x[:, 1:],
    "expanded": lambda x: x[:, 0:1].expand(3, 4),
    "row": lambda x: x[1],
    "scalar": lambda x: x[1, 2],
    "empty": lambda x: x[3:],
}


def _base(adapter, dtype="float64"):
    return adapter.tensor(np.arange(12.0).reshape(3, 4)).to(getattr(adapter.library, dtype))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "complex64", "int64", "bool"])
def test_a_copy_has_values_dtype_and_strides(adapter, layout, dtype):
    tensor = LAYOUTS[layout](_base(adapter, dtype))
    (copied,) = adapter.snapshot([tensor])
    assert copied.dtype == tensor.dtype
    assert tuple(copied.shape) == tuple(tensor.shape)
    assert adapter.strides(copied) == adapter.strides(tensor)
    assert np.array_equal(adapter.array(tensor), adapter.array(copied))


def test_a_bfloat16_tensor_is_copied():
    torch = pytest.importorskip("torch")
    from gradcheck.engines.registry import engine

    tensor = torch.arange(6.0, dtype=torch.bfloat16).reshape(2, 3).T
    (copied,) = engine("torch").snapshot([tensor])
    assert copied.dtype == torch.bfloat16
    assert copied.stride() == (1, 3)
    assert torch.equal(copied, tensor)


def test_a_conjugate_tensor_stays_one():
    torch = pytest.importorskip("torch")
    from gradcheck.engines.registry import engine

    tensor = torch.tensor([1 + 2j, 3 - 1j]).conj()
    (copied,) = engine("torch").snapshot([tensor])
    assert copied.is_conj()
    assert torch.equal(copied, tensor)


def test_a_copy_does_not_change_with_its_source(adapter):
    tensor = _base(adapter)
    (copied,) = adapter.snapshot([tensor])
    tensor.fill_(7.0)
    assert copied.tolist() == np.arange(12.0).reshape(3, 4).tolist()


def test_a_copy_is_a_leaf_that_requires_grad_as_its_source_does(adapter):
    leaf = _base(adapter).requires_grad_()
    copies = adapter.snapshot([leaf, leaf * 2.0, leaf.detach().clone()])
    assert [c.requires_grad for c in copies] == [True, True, False]
    assert all(c.is_leaf for c in copies)


def test_tensors_that_share_memory_share_it_in_the_copies(adapter):
    base = _base(adapter)
    copies = adapter.snapshot([base[1], base, base[:, 2], _base(adapter)])
    copies[1].fill_(5.0)
    assert copies[0].tolist() == [5.0] * 4
    assert copies[2].tolist() == [5.0] * 3
    assert copies[3].tolist() == _base(adapter).tolist()
    assert copies[0].untyped_storage().data_ptr() == copies[1].untyped_storage().data_ptr()
    assert copies[0]._version == copies[1]._version


def test_one_tensor_given_twice_shares_its_copy(adapter):
    base = _base(adapter)
    first, second = adapter.snapshot([base, base])
    first.fill_(5.0)
    assert second.tolist() == first.tolist()


def test_only_the_span_in_use_is_copied(adapter):
    base = adapter.tensor(np.arange(1000.0))
    (copied,) = adapter.snapshot([base[500:503]])
    assert copied.untyped_storage().nbytes() == 24
    assert copied.storage_offset() == 0
    assert adapter.extent([base[500:503], base[501:504]]) == 32


def test_an_expanded_tensor_costs_what_its_memory_does(adapter):
    assert adapter.extent([_base(adapter)[0:1].expand(1000, 4)]) == 32


def test_a_random_state_comes_back(adapter):
    def drawn():
        return adapter.library.rand(3).tolist(), random.random(), np.random.random()

    state = adapter.random_state()
    first = drawn()
    adapter.set_random_state(state)
    assert drawn() == first


def test_the_default_dtype_and_a_tensors_have_short_names(adapter):
    assert adapter.default_dtype_name() == "float32"
    assert adapter.dtype_name(_base(adapter)) == "float64"


def test_what_has_no_plain_values_is_refused():
    torch = pytest.importorskip("torch")
    from torch._subclasses import FakeTensorMode

    from gradcheck.engines.registry import engine

    adapter = engine("torch")
    with FakeTensorMode():
        fake = torch.ones(2)
    refused = {
        "sparse": torch.eye(2).to_sparse(),
        "meta": torch.ones(2, device="meta"),
        "FakeTensor": fake,
    }
    for word, tensor in refused.items():
        assert word in adapter.why_not_copied(tensor)
    assert adapter.why_not_copied(torch.nn.Parameter(torch.ones(2))) == ""


def test_a_tensor_inside_vmap_is_recognised():
    torch = pytest.importorskip("torch")
    from gradcheck.engines.registry import engine

    seen = []
    adapter = engine("torch")
    torch.vmap(lambda x: seen.append(adapter.is_transformed(x)) or x)(torch.ones(2))
    assert seen == [True]
    assert not adapter.is_transformed(torch.ones(2))


def test_copying_is_not_seen_by_the_modes_entered():
    torch = pytest.importorskip("torch")
    from torch.overrides import TorchFunctionMode
    from torch.utils._python_dispatch import TorchDispatchMode

    from gradcheck.engines.registry import engine

    seen = []

    class Functions(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            seen.append(function)
            return function(*args, **(kwargs or {}))

    class Ops(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(function)
            return function(*args, **(kwargs or {}))

    adapter, tensor = engine("torch"), torch.ones(3, requires_grad=True)
    with torch.inference_mode(), Functions(), Ops(), adapter.aside():
        (copied,) = adapter.snapshot([tensor])
        adapter.array(tensor)
    assert seen == []
    assert not copied.is_inference()


def test_overlapping_spans_are_united():
    spans = [Span("cpu", 8, 16), Span("cpu", 0, 4), Span("cpu", 12, 20), Span("cuda:0", 8, 16), Span("cpu", 4, 8)]
    found = {(span.device, span.start, span.end): members for span, members in shared(spans)}
    assert found == {("cpu", 8, 20): [0, 2], ("cpu", 0, 4): [1], ("cuda:0", 8, 16): [3], ("cpu", 4, 8): [4]}
