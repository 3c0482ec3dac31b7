"""The adapter of PyTorch: ops by PyTorch's names, layouts kept, derivatives without side effects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from gradcheck.engines.registry import engine
from gradcheck.failures import Unsupported, UsageError

torch = pytest.importorskip("torch")

from gradcheck.engines.torch import FAULTS, Stage  # noqa: E402

LAYOUTS = {
    "contiguous": np.arange(6.0).reshape(2, 3),
    "transposed": np.arange(6.0).reshape(3, 2).T,
    "gaps": np.arange(12.0).reshape(2, 6)[:, ::2],
    "offset": np.arange(12.0).reshape(4, 3)[2:],
    "expanded": np.broadcast_to(np.arange(3.0), (2, 3)),
    "overlapping": as_strided(np.arange(4.0), (2, 3), (8, 8)),
    "scalar": np.array(2.0),
    "empty": np.zeros((0, 3)),
    "integers": np.arange(6).reshape(2, 3).T,
}


@pytest.fixture(name="adapter")
def _adapter():
    return engine("torch")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tensor_keeps_values_dtype_and_strides(adapter, layout):
    values = LAYOUTS[layout]
    made = adapter.tensor(values)
    assert np.array_equal(values, adapter.array(made))
    assert adapter.array(made).dtype == values.dtype
    if values.size:
        assert adapter.strides(made) == tuple(s // values.itemsize for s in values.strides)


def test_tensor_keeps_the_offset(adapter):
    assert adapter.tensor(np.arange(12.0)[5:]).storage_offset() == 5


def test_tensor_copies_negative_strides(adapter):
    made = adapter.tensor(np.arange(3.0)[::-1])
    assert made.tolist() == [2.0, 1.0, 0.0]
    assert made.stride() == (1,)


@pytest.mark.parametrize("layout", ["contiguous", "gaps", "expanded"])
def test_tensor_shares_no_memory_with_the_array(adapter, layout):
    values = LAYOUTS[layout].copy() if layout == "contiguous" else LAYOUTS[layout]
    made = adapter.tensor(values)
    made.as_strided((1,), (1,)).fill_(99.0)
    assert values.flat[0] == 0.0


def test_gaps_between_entries_hold_nan(adapter):
    made = adapter.tensor(LAYOUTS["gaps"])
    assert torch.isnan(made.as_strided((1,), (1,), 1)).all()


def test_tensor_with_gaps_is_a_leaf_and_no_view(adapter):
    made = adapter.tensor(LAYOUTS["gaps"], requires_grad=True)
    assert made.is_leaf
    assert made.requires_grad
    assert not made._is_view()


def test_array_is_a_copy(adapter):
    made = torch.ones(2)
    adapter.array(made)[0] = 5.0
    assert made.tolist() == [1.0, 1.0]


def test_array_of_a_conjugate_view_has_its_values(adapter):
    assert adapter.array(torch.tensor([1 + 2j]).conj()).tolist() == [1 - 2j]


def test_call_finds_methods_functions_and_nn_functional(adapter):
    x = torch.tensor([1.0, 2.0])
    assert adapter.call("mul", (x, 3.0), {}).tolist() == [3.0, 6.0]
    assert adapter.call("cat", ((x, x),), {"dim": 0}).tolist() == [1.0, 2.0, 1.0, 2.0]
    assert torch.equal(adapter.call("softplus", (x,), {}), torch.nn.functional.softplus(x))


def test_call_in_place_changes_its_first_argument(adapter):
    x = torch.tensor([1.0, 2.0])
    assert adapter.call("mul", (x, 3.0), {}, inplace=True) is x
    assert x.tolist() == [3.0, 6.0]


def test_setitem_returns_the_changed_tensor(adapter):
    x = torch.zeros(2)
    assert adapter.call("__setitem__", (x, 0, 5.0), {}) is x
    assert x.tolist() == [5.0, 0.0]


def test_supports_tells_known_ops_from_unknown_ones(adapter):
    assert adapter.supports("exp")
    assert adapter.supports("exp", inplace=True)
    assert not adapter.supports("matmul", inplace=True)
    assert not adapter.supports("no_such_op")


def test_calling_an_unknown_op_is_a_usage_error(adapter):
    with pytest.raises(UsageError, match="no_such_op"):
        adapter.call("no_such_op", (), {})


def test_grad_leaves_grad_alone_and_gives_none_for_unconnected_inputs(adapter):
    x, y, constant = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True), torch.ones(2)
    found = adapter.grad([(x * 3).sum(), constant.sum()], [x, y, constant], [torch.tensor(1.0), torch.tensor(1.0)])
    assert found[0].tolist() == [3.0, 3.0]
    assert found[1:] == (None, None)
    assert x.grad is None


def test_backward_accumulates_into_the_leaves(adapter):
    x = torch.ones(2, requires_grad=True)
    outputs = [(x * 3).sum()]
    adapter.backward(outputs, [torch.tensor(1.0)], retain_graph=True)
    adapter.backward(outputs, [torch.tensor(1.0)])
    assert adapter.accumulated(x).tolist() == [6.0, 6.0]


def test_jvp_gives_outputs_and_tangents(adapter):
    x = torch.tensor([1.0, 2.0])
    outputs, tangents = adapter.jvp(lambda a: (a * a, torch.ones(2)), [x], [torch.ones(2)])
    assert outputs[0].tolist() == [1.0, 4.0]
    assert tangents[0].tolist() == [2.0, 4.0]
    assert tangents[1] is None


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2


def test_jvp_of_a_function_without_a_rule_is_unsupported(adapter):
    with pytest.raises(Unsupported, match="jvp"):
        adapter.jvp(Doubled.apply, [torch.ones(2)], [torch.ones(2)])


@pytest.mark.parametrize("function", [Doubled.apply, lambda x: Doubled.apply(x).exp() + 1])
def test_backward_is_located_from_apply_and_from_the_graph(adapter, function):
    where = adapter.locate_backward(function, [function(torch.ones(2, requires_grad=True))])
    assert where.endswith("in Doubled.backward")
    assert "test_engines_torch.py:" in where


def test_backward_of_built_in_ops_is_not_located(adapter):
    assert adapter.locate_backward(torch.exp, [torch.ones(2, requires_grad=True).exp()]) is None


def test_sandbox_restores_grad_mode_and_random_state(adapter):
    state = torch.get_rng_state()
    with torch.no_grad(), adapter.sandbox(7):
        first = torch.rand(3)
        assert torch.is_grad_enabled()
        adapter.seed(7)
        assert torch.equal(first, torch.rand(3))
    assert torch.is_grad_enabled()
    assert torch.equal(state, torch.get_rng_state())


def test_mode_restores_the_mode_of_each_part(adapter):
    inner = torch.nn.Dropout().eval()
    outer = torch.nn.Sequential(inner)
    with adapter.mode(outer, True):
        assert inner.training
    assert (outer.training, inner.training) == (True, False)


def test_modules_are_made_in_float64(adapter):
    module = adapter.module("Linear", 2, 3)
    assert set(adapter.parameters(module)) == {"weight", "bias"}
    assert module.weight.dtype == torch.float64


def test_replaced_state_leaves_the_modules_own_alone(adapter):
    module = adapter.module("BatchNorm1d", 2)
    state = {name: buffer.clone() for name, buffer in adapter.buffers(module).items()}
    with adapter.replaced(module) as put:
        put(state)
        module(torch.randn(4, 2, dtype=torch.float64))
    assert state["num_batches_tracked"] == 1
    assert module.num_batches_tracked == 0


def test_replaced_parameters_reach_every_place_of_a_tied_one(adapter):
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    own = module[1].weight = module[0].weight
    other = torch.zeros(2, 2, requires_grad=True)
    with adapter.replaced(module) as put:
        put({"0.weight": other})
        assert module[0].weight is other
        assert module[1].weight is other
    assert module[1].weight is own


def test_replaced_buffers_that_the_module_rebinds_come_back(adapter):
    module = adapter.module("BatchNorm1d", 2)
    own = module.running_mean
    with adapter.replaced(module):
        module.running_mean = torch.ones(2)
    assert module.running_mean is own


def _last_axis_first(x):
    axes = tuple(reversed(range(x.ndim)))
    return x.permute(axes).contiguous().permute(axes)


def _tensor(*shape):
    return torch.linspace(-2.0, 3.0, int(np.prod(shape)), dtype=torch.float64).reshape(shape)


def _clamp(is_met):
    return "clamp", (_tensor(3), torch.zeros(3), torch.ones(2, 3) if is_met else torch.ones(3)), {}


def _batch_norm_weight(is_met):
    weight = _tensor(6)[::2] if is_met else _tensor(3)
    return "batch_norm", (_tensor(4, 3), None, None), {"weight": weight, "training": True}


def _batch_norm_images(is_met):
    x = _tensor(1, 2, 1, 3)
    return "batch_norm", (_last_axis_first(x) if is_met else x, None, None), {"training": True}


def _nll_loss(is_met):
    x = _tensor(2, 2, 2, 2)
    return "nll_loss", (_last_axis_first(x) if is_met else x, torch.zeros(2, 2, 2, dtype=torch.long)), {}


def _take_along_dim(is_met):
    return "take_along_dim", (_tensor(2, 3).t() if is_met else _tensor(2, 3), torch.tensor([0, 1])), {}


def _scatter(is_met):
    return "scatter", (torch.zeros(3).double(), 0, torch.tensor([0, 1]), _tensor(3 if is_met else 2)), {}


def _pow(is_met):
    return "pow", (torch.ones(2).double(), torch.tensor([1.0, 0.0 if is_met else 2.0]).double()), {}


def _batch_norm_bias(is_met):
    affine = {"bias": _tensor(3)} if is_met else {"weight": _tensor(3), "bias": _tensor(3)}
    return "batch_norm", (_tensor(4, 3), None, None), {**affine, "training": True}


def _layer_norm_bias(is_met):
    return "layer_norm", (_tensor(4, 3), (3,)), {"bias": _tensor(3)} if is_met else {"weight": _tensor(3)}


def _binary_cross_entropy(is_met):
    inside = _tensor(3).sigmoid()
    return "binary_cross_entropy" if is_met else "binary_cross_entropy_with_logits", (inside, inside.flip(0)), {}


FAULTY = (
    _clamp,
    _batch_norm_weight,
    _batch_norm_images,
    _nll_loss,
    _take_along_dim,
    _scatter,
    _pow,
    _batch_norm_bias,
    _layer_norm_bias,
    _binary_cross_entropy,
)


def _backward(adapter, op, args, kwargs):
    """A recorded backward pass with a contiguous cotangent, for all floating operands."""
    wanted = [x for x in (*args, *kwargs.values()) if torch.is_tensor(x) and x.is_floating_point()]
    y = adapter.call(op, args, kwargs) if all(x.requires_grad_() is x for x in wanted) else None
    return adapter.grad([y], wanted, [torch.ones(y.shape, dtype=y.dtype)], create_graph=True)


OF_BACKWARD = [fault for fault in FAULTS if fault.stage not in (Stage.TANGENT, Stage.PUSHED)]
OF_FORWARD_MODE = [fault for fault in FAULTS if fault.stage is Stage.TANGENT]
OF_TANGENTS = [fault for fault in FAULTS if fault.stage is Stage.PUSHED]
NORMALIZED = {"batch_norm": ((None, None), {"training": True}), "layer_norm": (((3,),), {})}


@pytest.mark.parametrize(("made", "fault"), list(zip(FAULTY, OF_BACKWARD, strict=True)))
def test_a_known_fault_is_refused_with_its_reason(adapter, made, fault):
    with pytest.raises(Unsupported, match=fault.reason):
        _backward(adapter, *made(is_met=True))


@pytest.mark.parametrize("made", FAULTY)
def test_beside_a_known_fault_the_op_is_not_refused(adapter, made):
    assert all(g is not None for g in _backward(adapter, *made(is_met=False)))


@pytest.mark.parametrize("fault", OF_FORWARD_MODE, ids=lambda fault: fault.op)
def test_a_known_fault_of_forward_mode_is_refused_there_alone(adapter, fault):
    def function(x):
        return adapter.call(fault.op, (x, 2.0) if fault.op != "frac" else (x,), {})

    x = torch.tensor([0.5, 1.5]).double().requires_grad_()
    with pytest.raises(Unsupported, match=fault.reason):
        adapter.jvp(function, [x], [torch.ones_like(x)])
    assert adapter.grad([function(x)], [x], [torch.ones_like(x)])[0].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("fault", OF_TANGENTS, ids=lambda fault: fault.op)
def test_a_known_fault_of_a_tangents_gradient_is_refused_there_alone(adapter, fault):
    args, kwargs = NORMALIZED[fault.op]
    x = _tensor(4, 3).square().requires_grad_()

    def function(x):
        return adapter.call(fault.op, (x, *args), kwargs)

    def gradient(x):
        y = function(x)
        return adapter.grad([y], [x], [torch.ones_like(y)], create_graph=True)[0]

    _, (tangent,) = adapter.jvp(function, [x], [torch.ones_like(x)])
    with pytest.raises(Unsupported, match=fault.reason):
        adapter.grad([tangent], [x], [torch.ones_like(x)])
    assert adapter.jvp(gradient, [x], [torch.ones_like(x)])[1][0] is not None
    assert adapter.grad([gradient(x)], [x], [torch.ones_like(x)])[0] is not None


def test_a_fault_of_the_second_derivative_lets_the_first_pass(adapter):
    op, args, kwargs = _pow(is_met=True)
    base = args[0].requires_grad_()
    y = adapter.call(op, (base, args[1].requires_grad_()), kwargs)
    assert adapter.grad([y], [base], [torch.ones(2).double()])[0].tolist() == [1.0, 0.0]


def test_every_known_fault_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "engines.md").read_text(encoding="utf-8")
    assert [fault.reason for fault in FAULTS if f"**{fault.reason}**" not in page] == []


def test_one_thread_works_inside_and_as_many_as_before_outside(adapter):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with adapter.one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_an_op_without_a_rule_is_unsupported(adapter):
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    with pytest.raises(Unsupported, match="not differentiable"):
        adapter.call("binary_cross_entropy_with_logits", (x, x.detach()), {"pos_weight": x})


def test_casts_are_seen_in_forward_and_backward(adapter):
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    with adapter.casts() as casts:
        y = x.float().double().sum()
    assert casts == ["a cast from torch.float64 to torch.float32"]
    with adapter.casts() as casts:
        y.backward()
    assert len(casts) == 1
