"""Modules: parts and modes as PyTorch has them, values and gradients the same from the same weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import refengine as re

Make = Callable[[Any], Any]


def array(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Float64 numbers, the same for the same shape and seed."""
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def net(lib: Any) -> Any:
    """A module with parts of every kind."""
    nn = lib.nn
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.0), nn.Linear(4, 2)).to(
        lib.float64
    )


def with_same_weights(ours: Any, theirs: Any) -> None:
    """Give PyTorch's module our module's state."""
    torch = pytest.importorskip("torch")
    theirs.load_state_dict({name: torch.from_numpy(value.numpy().copy()) for name, value in ours.state_dict().items()})


MODULES: dict[str, tuple[Make, tuple[int, ...]]] = {
    "Linear": (lambda nn: nn.Linear(3, 4), (5, 3)),
    "Linear without bias": (lambda nn: nn.Linear(3, 4, bias=False), (5, 3)),
    "Linear of a vector": (lambda nn: nn.Linear(3, 4), (3,)),
    "Linear of a batch": (lambda nn: nn.Linear(3, 4), (2, 5, 3)),
    "Conv2d": (lambda nn: nn.Conv2d(2, 4, 3), (2, 2, 5, 4)),
    "Conv2d of one image": (lambda nn: nn.Conv2d(2, 4, (2, 3), stride=(1, 2), padding=1), (2, 5, 4)),
    "Conv2d with options": (
        lambda nn: nn.Conv2d(4, 2, 3, padding=2, dilation=2, groups=2, bias=False),
        (2, 4, 5, 4),
    ),
    "Conv2d of the same size": (lambda nn: nn.Conv2d(2, 2, 3, padding="same"), (2, 2, 5, 4)),
    "Conv2d with reflections": (lambda nn: nn.Conv2d(2, 2, 3, padding=(2, 1), padding_mode="reflect"), (2, 2, 5, 4)),
    "Conv2d with copies": (lambda nn: nn.Conv2d(2, 2, 3, padding="same", padding_mode="replicate"), (2, 2, 5, 4)),
    "Conv2d around": (lambda nn: nn.Conv2d(2, 2, 3, padding=(2, 1), padding_mode="circular"), (2, 2, 5, 4)),
    "MaxPool2d": (lambda nn: nn.MaxPool2d(2), (2, 2, 5, 4)),
    "MaxPool2d with options": (lambda nn: nn.MaxPool2d(3, 1, 1, ceil_mode=True), (2, 5, 4)),
    "AvgPool2d": (lambda nn: nn.AvgPool2d((2, 1)), (2, 2, 5, 4)),
    "AvgPool2d with options": (lambda nn: nn.AvgPool2d(3, 2, 1, True, False), (2, 2, 5, 4)),
    "BatchNorm2d": (lambda nn: nn.BatchNorm2d(2), (3, 2, 2, 3)),
    "BatchNorm2d with options": (lambda nn: nn.BatchNorm2d(2, momentum=None, affine=False), (3, 2, 2, 3)),
    "BatchNorm1d": (lambda nn: nn.BatchNorm1d(3), (5, 3)),
    "BatchNorm1d of sequences": (lambda nn: nn.BatchNorm1d(3), (4, 3, 2)),
    "BatchNorm1d without affine": (lambda nn: nn.BatchNorm1d(3, affine=False), (5, 3)),
    "BatchNorm1d without running statistics": (lambda nn: nn.BatchNorm1d(3, track_running_stats=False), (5, 3)),
    "BatchNorm1d with a plain average": (lambda nn: nn.BatchNorm1d(3, momentum=None), (5, 3)),
    "BatchNorm1d with options": (lambda nn: nn.BatchNorm1d(3, eps=0.1, momentum=0.7), (5, 3)),
    "LayerNorm": (lambda nn: nn.LayerNorm(3), (5, 3)),
    "LayerNorm over two axes": (lambda nn: nn.LayerNorm((5, 3), eps=0.1), (2, 5, 3)),
    "LayerNorm without affine": (lambda nn: nn.LayerNorm(3, elementwise_affine=False), (5, 3)),
    "LayerNorm without bias": (lambda nn: nn.LayerNorm(3, bias=False), (5, 3)),
    "ReLU": (lambda nn: nn.ReLU(), (5, 3)),
    "Tanh": (lambda nn: nn.Tanh(), (5, 3)),
    "Sigmoid": (lambda nn: nn.Sigmoid(), (5, 3)),
    "ReLU6": (lambda nn: nn.ReLU6(), (5, 3)),
    "Hardtanh": (lambda nn: nn.Hardtanh(-0.5, 0.7), (5, 3)),
    "LeakyReLU": (lambda nn: nn.LeakyReLU(0.2), (5, 3)),
    "ELU": (lambda nn: nn.ELU(0.5), (5, 3)),
    "SELU": (lambda nn: nn.SELU(), (5, 3)),
    "SiLU": (lambda nn: nn.SiLU(), (5, 3)),
    "GELU": (lambda nn: nn.GELU(), (5, 3)),
    "GELU by tanh": (lambda nn: nn.GELU(approximate="tanh"), (5, 3)),
    "CELU": (lambda nn: nn.CELU(0.5), (5, 3)),
    "Mish": (lambda nn: nn.Mish(), (5, 3)),
    "Hardswish": (lambda nn: nn.Hardswish(), (5, 3)),
    "PReLU": (lambda nn: nn.PReLU(), (5, 3)),
    "PReLU of channels": (lambda nn: nn.PReLU(3, 0.1), (5, 3, 2)),
    "Softplus": (lambda nn: nn.Softplus(2.0, 1.0), (5, 3)),
    "Softsign": (lambda nn: nn.Softsign(), (5, 3)),
    "LogSigmoid": (lambda nn: nn.LogSigmoid(), (5, 3)),
    "Softmax": (lambda nn: nn.Softmax(0), (5, 3)),
    "LogSoftmax": (lambda nn: nn.LogSoftmax(-1), (5, 3)),
    "Softmin": (lambda nn: nn.Softmin(dim=1), (5, 3)),
    "GLU": (lambda nn: nn.GLU(), (5, 4)),
    "In place": (
        lambda nn: nn.Sequential(
            nn.Linear(3, 4),
            nn.ReLU(True),
            nn.Linear(4, 4),
            nn.ELU(inplace=True),
            nn.Linear(4, 2),
            nn.LeakyReLU(0.1, True),
        ),
        (5, 3),
    ),
    "Unflatten": (lambda nn: nn.Unflatten(1, (3, -1)), (2, 6, 3)),
    "Identity": (lambda nn: nn.Identity(7, anything=True), (5, 3)),
    "Flatten": (lambda nn: nn.Flatten(), (2, 5, 3)),
    "Flatten a part": (lambda nn: nn.Flatten(0, 1), (2, 5, 3)),
    "Dropout of nothing": (lambda nn: nn.Dropout(0.0), (5, 3)),
    "Dropout of everything": (lambda nn: nn.Dropout(1.0), (5, 3)),
    "Sequential": (lambda nn: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)), (5, 3)),
}
PAIRS = list(MODULES.values())
IDS = [name.replace(" ", "-") for name in MODULES]


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(("make", "shape"), PAIRS, ids=IDS)
def test_values_gradients_and_buffers_are_pytorchs(make: Make, shape: tuple[int, ...], training: bool) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = make(re.nn).double(), make(torch.nn).double()
    for parameter in ours.parameters():
        re.nn.init.normal_(parameter)
    with_same_weights(ours, theirs)
    found = []
    for lib, module in ((re, ours), (torch, theirs)):
        module(lib.tensor(array(*shape, seed=1)))  # moves running statistics once
        module.train(training)
        x = lib.tensor(array(*shape), requires_grad=True)
        y = module(x)
        y.backward(lib.tensor(array(*y.shape, seed=2)))
        found.append([x.grad, y.detach(), *(p.grad for p in module.parameters()), *module.buffers()])
    for mine, reference in zip(*found, strict=True):
        np.testing.assert_allclose(mine.numpy(), reference.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("make", "shape"), PAIRS, ids=IDS)
def test_the_repr_and_the_names_are_pytorchs(make: Make, shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = make(re.nn), make(torch.nn)
    assert repr(ours) == repr(theirs)
    assert [(n, tuple(p.shape)) for n, p in ours.named_parameters()] == [
        (n, tuple(p.shape)) for n, p in theirs.named_parameters()
    ]
    assert [n for n, _ in ours.named_buffers()] == [n for n, _ in theirs.named_buffers()]
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [n for n, _ in ours.named_modules()] == [n for n, _ in theirs.named_modules()]


PROBABILITIES = np.random.default_rng(7).uniform(size=(5, 3))
CLASSES = np.array([0, 2, 1, 2, 0])


def through_sigmoid(lib: Any, loss: Any) -> Any:
    """A loss of probabilities as one of any numbers."""
    return lambda x, target: loss(x.sigmoid(), target)


LOSSES: dict[str, tuple[Make, Any]] = {
    "MSELoss": (lambda lib: lib.nn.MSELoss(), array(5, 3, seed=3)),
    "MSELoss summed": (lambda lib: lib.nn.MSELoss(reduction="sum"), array(5, 3, seed=3)),
    "L1Loss": (lambda lib: lib.nn.L1Loss(reduction="none"), array(5, 3, seed=3)),
    "SmoothL1Loss": (lambda lib: lib.nn.SmoothL1Loss(beta=0.5), array(5, 3, seed=3)),
    "HuberLoss": (lambda lib: lib.nn.HuberLoss("sum", delta=0.7), array(5, 3, seed=3)),
    "BCELoss": (lambda lib: through_sigmoid(lib, lib.nn.BCELoss()), PROBABILITIES),
    "BCELoss weighted": (
        lambda lib: through_sigmoid(
            lib, lib.nn.BCELoss(lib.tensor([0.5, 1.0, 2.0], dtype=lib.float64), reduction="sum")
        ),
        PROBABILITIES,
    ),
    "BCEWithLogitsLoss": (lambda lib: lib.nn.BCEWithLogitsLoss(), PROBABILITIES),
    "BCEWithLogitsLoss weighted": (
        lambda lib: lib.nn.BCEWithLogitsLoss(
            weight=lib.tensor([0.5, 1.0, 2.0], dtype=lib.float64),
            reduction="none",
            pos_weight=lib.tensor([2.0, 1.0, 3.0], dtype=lib.float64),
        ),
        PROBABILITIES,
    ),
    "KLDivLoss": (lambda lib: lib.nn.KLDivLoss(reduction="batchmean"), PROBABILITIES),
    "KLDivLoss of logarithms": (lambda lib: lib.nn.KLDivLoss(reduction="sum", log_target=True), np.log(PROBABILITIES)),
    "NLLLoss": (lambda lib: lib.nn.NLLLoss(), CLASSES),
    "NLLLoss ignoring": (lambda lib: lib.nn.NLLLoss(ignore_index=2, reduction="sum"), CLASSES),
    "CrossEntropyLoss": (lambda lib: lib.nn.CrossEntropyLoss(), CLASSES),
    "CrossEntropyLoss weighted": (
        lambda lib: lib.nn.CrossEntropyLoss(lib.tensor([0.5, 1.0, 2.0], dtype=lib.float64)),
        CLASSES,
    ),
    "CrossEntropyLoss smoothed": (lambda lib: lib.nn.CrossEntropyLoss(label_smoothing=0.1, reduction="none"), CLASSES),
    "CrossEntropyLoss of probabilities": (lambda lib: lib.nn.CrossEntropyLoss(), np.full((5, 3), 1 / 3)),
}


@pytest.mark.parametrize(("make", "target"), LOSSES.values(), ids=[name.replace(" ", "-") for name in LOSSES])
def test_losses_and_their_gradients_are_pytorchs(make: Make, target: Any) -> None:
    torch = pytest.importorskip("torch")
    found = []
    for lib in (re, torch):
        x = lib.tensor(array(5, 3), requires_grad=True)
        loss = make(lib)(x, lib.tensor(target))
        loss.sum().backward()
        found.append((loss.detach().numpy(), x.grad.numpy()))
    for mine, reference in zip(*found, strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-12, atol=1e-14)


def test_an_unknown_reduction_raises() -> None:
    with pytest.raises(ValueError, match="one of mean, sum, none, got 'median'"):
        re.nn.MSELoss(reduction="median")


def test_setting_attributes_registers_parts(lib: Any) -> None:
    module = lib.nn.Module()
    module.weight = lib.nn.Parameter(lib.ones(2))
    module.part = lib.nn.Linear(1, 1, bias=False)
    module.register_buffer("count", lib.zeros(1))
    module.plain = lib.ones(3)
    assert [name for name, _ in module.named_parameters()] == ["weight", "part.weight"]
    assert [name for name, _ in module.named_buffers()] == ["count"]
    assert list(module.state_dict()) == ["weight", "count", "part.weight"]


def test_a_buffer_that_is_set_stays_a_buffer(lib: Any) -> None:
    module = lib.nn.Module()
    module.register_buffer("count", lib.zeros(1), persistent=False)
    module.count = lib.ones(1)
    assert dict(module.named_buffers())["count"].tolist() == [1.0]
    assert list(module.state_dict()) == []


def test_swapping_an_entry_of_the_parts_swaps_the_attribute(lib: Any) -> None:
    module = lib.nn.Linear(2, 1)
    module._parameters["weight"] = lib.zeros(1, 2)
    assert module.weight.tolist() == [[0.0, 0.0]]


def test_a_parameter_cannot_become_something_else(lib: Any) -> None:
    module = lib.nn.Linear(2, 1)
    with pytest.raises(TypeError):
        module.weight = 3.0
    module.weight = None
    assert [name for name, _ in module.named_parameters()] == ["bias"]


def test_deleting_removes_a_part(lib: Any) -> None:
    module = lib.nn.Linear(2, 1)
    del module.bias
    assert not hasattr(module, "bias")
    with pytest.raises(AttributeError):
        del module.bias


def test_parts_before_init_are_refused(lib: Any) -> None:
    class Early(lib.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.weight = lib.nn.Parameter(lib.ones(1))

    with pytest.raises(AttributeError):
        Early()


def test_shared_parts_are_listed_once(lib: Any) -> None:
    layer = lib.nn.Linear(2, 2)
    module = lib.nn.Sequential(layer, layer)
    assert len(list(module.parameters())) == 2
    assert len(list(module.modules())) == 2
    assert len(list(module.named_parameters(remove_duplicate=False))) == 4
    assert list(module.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_train_and_eval_reach_every_part(lib: Any) -> None:
    module = net(lib)
    assert module.eval() is module
    assert not any(part.training for part in module.modules())
    module.train()
    assert all(part.training for part in module.modules())


def test_conversion_keeps_parameters_identity_and_gradients(lib: Any) -> None:
    module = lib.nn.Linear(2, 1)
    weight = module.weight
    module(lib.ones(1, 2)).sum().backward()
    module.double()
    assert module.weight is weight
    assert weight.dtype is lib.float64
    assert weight.grad.dtype is lib.float64
    assert weight.is_leaf
    assert weight.requires_grad


def test_conversion_leaves_integer_buffers_alone(lib: Any) -> None:
    module = lib.nn.BatchNorm1d(2).to(lib.float64)
    assert module.running_mean.dtype is lib.float64
    assert module.num_batches_tracked.dtype is lib.int64


def test_zero_grad_lets_go_or_fills(lib: Any) -> None:
    module = lib.nn.Linear(2, 1)
    module(lib.ones(1, 2)).sum().backward()
    module.zero_grad(set_to_none=False)
    assert module.weight.grad.tolist() == [[0.0, 0.0]]
    module.zero_grad()
    assert module.weight.grad is None


def test_zero_grad_fills_what_is_no_number_too(lib: Any) -> None:
    module = lib.nn.Linear(1, 1)
    module.weight.grad = lib.tensor([[float("nan")]])
    module.zero_grad(set_to_none=False)
    assert module.weight.grad.tolist() == [[0.0]]


def test_requires_grad_freezes_all_parameters(lib: Any) -> None:
    module = lib.nn.Linear(2, 1).requires_grad_(False)
    assert not module(lib.ones(1, 2)).requires_grad


def test_apply_goes_from_the_inside_out(lib: Any) -> None:
    seen: list[str] = []
    lib.nn.Sequential(lib.nn.Linear(1, 1), lib.nn.Tanh()).apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear", "Tanh", "Sequential"]


def test_a_state_makes_the_round_trip(lib: Any) -> None:
    first, second = net(lib), net(lib)
    first(lib.tensor(array(5, 3)))
    second.load_state_dict(first.state_dict())
    first.eval(), second.eval()
    x = lib.tensor(array(4, 3))
    assert first(x).tolist() == second(x).tolist()


def test_a_state_dict_shares_memory_and_no_history(lib: Any) -> None:
    module = lib.nn.Linear(2, 1)
    state = module.state_dict()
    assert state["weight"].data_ptr() == module.weight.data_ptr()
    assert not state["weight"].requires_grad


def test_a_state_that_does_not_fit_is_refused_whole(lib: Any) -> None:
    module = lib.nn.Linear(2, 1)
    before = module.weight.tolist()
    with pytest.raises(RuntimeError, match="bias"):
        module.load_state_dict({"weight": lib.zeros(1, 2)})
    with pytest.raises(RuntimeError, match="extra"):
        module.load_state_dict({**module.state_dict(), "extra": lib.zeros(1)})
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        module.load_state_dict({"weight": lib.zeros(2, 2), "bias": lib.zeros(1)})
    if lib is re:
        assert module.weight.tolist() == before


def test_a_lenient_load_names_what_differs(lib: Any) -> None:
    module = lib.nn.Linear(2, 1)
    keys = module.load_state_dict({"weight": lib.zeros(1, 2), "extra": lib.zeros(1)}, strict=False)
    assert keys.missing_keys == ["bias"]
    assert keys.unexpected_keys == ["extra"]
    assert module.weight.tolist() == [[0.0, 0.0]]


def test_forward_hooks_see_and_replace(lib: Any) -> None:
    module = lib.nn.Identity()
    before = module.register_forward_pre_hook(lambda m, args: (args[0] + 1,))
    after = module.register_forward_hook(lambda m, args, out: out * 10)
    assert module(lib.zeros(1)).tolist() == [10.0]
    before.remove()
    assert module(lib.zeros(1)).tolist() == [0.0]
    after.remove()
    assert module(lib.ones(1)).tolist() == [1.0]


def test_a_module_without_forward_says_so(lib: Any) -> None:
    with pytest.raises(NotImplementedError):
        lib.nn.Module()(1)


def test_a_missing_attribute_is_an_attribute_error(lib: Any) -> None:
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'wieght'"):
        lib.nn.Linear(1, 1).wieght


def test_sequential_is_a_sequence(lib: Any) -> None:
    module = lib.nn.Sequential(lib.nn.Linear(2, 3), lib.nn.Tanh(), lib.nn.Linear(3, 1))
    assert len(module) == 3
    assert module[-1] is module[2]
    assert len(module[1:]) == 2
    assert [type(part).__name__ for part in module] == ["Linear", "Tanh", "Linear"]
    with pytest.raises(IndexError):
        module[3]


def test_a_module_list_counts_its_modules(lib: Any) -> None:
    module = lib.nn.ModuleList([lib.nn.Linear(1, 1)])
    module.append(lib.nn.Linear(1, 1))
    assert len(list(module.parameters())) == 4
    assert module[1] is list(module)[1]


def test_submodules_are_found_by_dotted_name(lib: Any) -> None:
    module = lib.nn.Sequential(lib.nn.Sequential(lib.nn.Tanh()))
    assert module.get_submodule("0.0") is module[0][0]
    with pytest.raises(AttributeError):
        module.get_submodule("0.1")


def test_deepcopy_shares_nothing(lib: Any) -> None:
    module = net(lib)
    other = copy.deepcopy(module)
    other[0].weight.data.mul_(0.0)
    assert isinstance(other[0].weight, lib.nn.Parameter)
    assert module[0].weight.tolist() != other[0].weight.tolist()


def test_a_parameter_is_a_leaf_that_prints_as_pytorchs(lib: Any) -> None:
    parameter = lib.nn.Parameter(lib.ones(2))
    assert isinstance(parameter, lib.Tensor)
    assert parameter.is_leaf
    assert parameter.requires_grad
    assert repr(parameter) == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    assert type(parameter * 2) is lib.Tensor


def test_linear_is_drawn_within_pytorchs_bounds(lib: Any) -> None:
    lib.manual_seed(0)
    layer = lib.nn.Linear(100, 50)
    for parameter in (layer.weight, layer.bias):
        values = parameter.detach().numpy()
        assert np.abs(values).max() <= 0.1
        assert np.abs(values).max() > 0.09


def test_dropout_drops_at_its_rate_and_scales_the_rest(lib: Any) -> None:
    lib.manual_seed(3)
    x = lib.ones(10_000, dtype=lib.float64, requires_grad=True)
    y = lib.nn.Dropout(0.25)(x)
    values = y.detach().numpy()
    assert set(np.unique(values).round(12)) == {0.0, round(4 / 3, 12)}
    assert abs((values == 0).mean() - 0.25) < 0.02
    y.sum().backward()
    assert x.grad.tolist() == y.tolist()


def test_dropout_refuses_what_is_no_probability(lib: Any) -> None:
    with pytest.raises(ValueError, match=r"between 0 and 1"):
        lib.nn.Dropout(1.5)


def test_batch_norm_refuses_what_it_cannot_normalise(lib: Any) -> None:
    module = lib.nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="2D or 3D"):
        module(lib.ones(2, 3, 4, 5))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        module(lib.ones(1, 3))


def test_eval_leaves_running_statistics_alone(lib: Any) -> None:
    module = lib.nn.BatchNorm1d(3).eval()
    before = [buffer.tolist() for buffer in module.buffers()]
    module(lib.ones(4, 3))
    assert [buffer.tolist() for buffer in module.buffers()] == before


def test_linear_refuses_a_shape_that_does_not_fit(lib: Any) -> None:
    with pytest.raises(RuntimeError):
        lib.nn.Linear(3, 2)(lib.ones(4, 5))


@pytest.mark.parametrize("scheme", ["xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_"])
def test_initial_values_have_pytorchs_spread(lib: Any, scheme: str) -> None:
    lib.manual_seed(1)
    weight = lib.empty(200, 100, requires_grad=True)
    result = getattr(lib.nn.init, scheme)(weight)
    assert result is weight
    expected = np.sqrt(2 / 300) if scheme.startswith("xavier") else np.sqrt(2 / 100)
    assert abs(weight.detach().numpy().std() / expected - 1) < 0.05


def test_constants_fill_leaves_that_require_grad(lib: Any) -> None:
    weight = lib.empty(2, requires_grad=True)
    assert lib.nn.init.constant_(weight, 0.5).tolist() == [0.5, 0.5]
    assert lib.nn.init.zeros_(weight).tolist() == [0.0, 0.0]
    assert lib.nn.init.ones_(weight).tolist() == [1.0, 1.0]
    assert weight.is_leaf


@pytest.mark.parametrize("name", ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gains_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    assert re.nn.init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))


def test_init_refuses_vectors_and_unknown_schemes() -> None:
    with pytest.raises(RuntimeError, match="at least 2 dimensions"):
        re.nn.init.xavier_uniform_(re.empty(3))
    with pytest.raises(TypeError, match="fan_in"):
        re.nn.init.kaiming_uniform_(re.empty(3, 3), mode="fan_sideways")
    with pytest.raises(TypeError, match="expected one of linear"):
        re.nn.init.calculate_gain("swish")
