"""Hooks, state, containers and embeddings: what one library of two does, the other does."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import refengine as re


def seen_gradients(lib: Any, module: Any, x: Any, change: Any = None) -> tuple[list[Any], Any]:
    """What the backward hooks of a module were told, and the gradient of its input."""
    told: list[Any] = []

    def numbers(grads: Any) -> list[Any]:
        return [None if g is None else g.tolist() for g in grads]

    module.register_full_backward_pre_hook(lambda m, out: told.append(numbers(out)))
    module.register_full_backward_hook(lambda m, into, out: told.append((numbers(into), numbers(out))))
    if change is not None:
        module.register_full_backward_hook(change)
    result = module(x)
    (result if isinstance(result, lib.Tensor) else result[0]).sum().backward()
    return told, None if x.grad is None else x.grad.tolist()


class Twice(re.nn.Module):
    def forward(self, x: Any) -> Any:
        return x * 2, x * 3


def test_backward_hooks_see_the_gradients_of_inputs_and_outputs(lib: Any) -> None:
    module = lib.nn.Tanh()
    x = lib.zeros(2, requires_grad=True)
    told, grad = seen_gradients(lib, module, x)
    assert told == [[[1.0, 1.0]], ([[1.0, 1.0]], [[1.0, 1.0]])]
    assert grad == [1.0, 1.0]


def test_a_backward_hook_replaces_the_gradient_of_the_input(lib: Any) -> None:
    x = lib.zeros(2, requires_grad=True)
    _, grad = seen_gradients(lib, lib.nn.Tanh(), x, lambda m, into, out: (into[0] * 5,))
    assert grad == [5.0, 5.0]


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_a_backward_pre_hook_replaces_the_gradient_of_the_output(lib: Any) -> None:
    module = lib.nn.Linear(1, 1, bias=False)
    module.register_full_backward_pre_hook(lambda m, out: (out[0] * 3,))
    module(lib.ones(1, 1)).sum().backward()
    assert module.weight.grad.tolist() == [[3.0]]


def test_a_backward_hook_of_several_outputs_has_none_for_the_unused(lib: Any) -> None:
    module = type("Twice", (lib.nn.Module,), {"forward": Twice.forward})()
    x = lib.ones(1, requires_grad=True)
    told, grad = seen_gradients(lib, module, x)
    assert told[1][0] == [[2.0]]
    assert told[1][1][0] == [1.0]
    assert grad == [2.0]


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_a_backward_hook_runs_where_no_input_requires_grad(lib: Any) -> None:
    told, _ = seen_gradients(lib, lib.nn.Linear(1, 1), lib.ones(1, 1))
    assert told[1] == ([None], [[[1.0]]])


def test_a_removed_backward_hook_is_gone(lib: Any) -> None:
    module, told = lib.nn.Tanh(), []  # type: ignore[var-annotated]
    module.register_full_backward_hook(lambda m, into, out: told.append(1)).remove()
    module(lib.zeros(1, requires_grad=True)).sum().backward()
    assert told == []


def test_backward_hooks_are_silent_without_gradients(lib: Any) -> None:
    module = lib.nn.Tanh()
    module.register_full_backward_hook(lambda m, into, out: None)
    with lib.no_grad():
        assert module(lib.ones(1, requires_grad=True)).requires_grad is False


def test_the_gradient_of_a_gradient_goes_through_backward_hooks(lib: Any) -> None:
    module = lib.nn.Tanh()
    module.register_full_backward_hook(lambda m, into, out: (into[0] * 2,))
    x = lib.tensor([0.5], dtype=lib.float64, requires_grad=True)
    (first,) = lib.autograd.grad(module(x).sum(), x, create_graph=True)
    (second,) = lib.autograd.grad(first.sum(), x)
    t = np.tanh(0.5)
    assert second.item() == pytest.approx(2 * -2 * t * (1 - t * t), rel=1e-12)


def test_hooks_take_keyword_arguments_if_asked(lib: Any) -> None:
    module = type("Scaled", (lib.nn.Module,), {"forward": lambda self, x, factor=1: x * factor})()
    module.register_forward_pre_hook(lambda m, args, kwargs: (args, {"factor": kwargs["factor"] + 1}), with_kwargs=True)
    module.register_forward_hook(lambda m, args, kwargs, out: out + kwargs["factor"], with_kwargs=True)
    assert module(lib.ones(1), factor=2).tolist() == [6.0]


def test_a_prepended_hook_runs_first(lib: Any) -> None:
    module, seen = lib.nn.Identity(), []  # type: ignore[var-annotated]
    module.register_forward_hook(lambda m, args, out: seen.append("late"))
    module.register_forward_hook(lambda m, args, out: seen.append("early"), prepend=True)
    module(lib.ones(1))
    assert seen == ["early", "late"]


def test_a_hook_may_be_called_even_if_forward_raises(lib: Any) -> None:
    module, seen = lib.nn.Module(), []  # type: ignore[var-annotated]
    module.register_forward_hook(lambda m, args, out: seen.append(out), always_call=True)
    with pytest.raises(NotImplementedError):
        module(1)
    assert seen == [None]


# --- state ----------------------------------------------------------------------------------------------------------


def test_state_is_written_with_a_prefix_into_a_destination(lib: Any) -> None:
    found = OrderedDict(before=1)
    lib.nn.Linear(1, 1).state_dict(destination=found, prefix="top.")
    assert list(found) == ["before", "top.weight", "top.bias"]


def test_assigning_a_state_makes_its_tensors_the_parameters(lib: Any) -> None:
    module = lib.nn.BatchNorm1d(2)
    state = {name: value.clone() for name, value in module.to(lib.float64).state_dict().items()}
    other = lib.nn.BatchNorm1d(2)
    other.load_state_dict(state, assign=True)
    assert other.weight.dtype is lib.float64
    assert other.weight.data_ptr() == state["weight"].data_ptr()
    assert isinstance(other.weight, lib.nn.Parameter)
    assert other.weight.requires_grad
    assert other.running_mean is state["running_mean"]


def test_extra_state_makes_the_round_trip(lib: Any) -> None:
    class Counting(lib.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, count: int) -> None:
            super().__init__()
            self.count = count

        def get_extra_state(self) -> Any:
            return {"count": self.count}

        def set_extra_state(self, state: Any) -> None:
            self.count = state["count"]

    module, other = lib.nn.Sequential(Counting(3)), lib.nn.Sequential(Counting(0))
    assert list(module.state_dict()) == ["0._extra_state"]
    other.load_state_dict(module.state_dict())
    assert other[0].count == 3
    with pytest.raises(RuntimeError):
        other.load_state_dict({})


def test_state_hooks_rename_on_the_way_in_and_out(lib: Any) -> None:
    module = lib.nn.Linear(1, 1, bias=False)

    def before(m: Any, state: Any, prefix: str, *rest: Any) -> None:
        state[prefix + "weight"] = state.pop(prefix + "w")

    module.register_state_dict_post_hook(lambda m, state, prefix, local: state.update(w=state.pop("weight")))
    module.register_load_state_dict_pre_hook(before)
    state = module.state_dict()
    assert list(state) == ["w"]
    given = {"w": lib.ones(1, 1)}
    module.load_state_dict(given)
    assert module.weight.item() == 1.0
    assert list(given) == ["w"]


def test_a_post_hook_may_forgive_missing_keys_of_a_lenient_load(lib: Any) -> None:
    module = lib.nn.Linear(1, 1)
    module.register_load_state_dict_post_hook(lambda m, keys: keys.missing_keys.clear())
    keys = module.load_state_dict({}, strict=False)
    assert keys.missing_keys == []
    assert repr(keys) == "<All keys matched successfully>"


def test_a_state_that_is_no_dict_is_a_type_error(lib: Any) -> None:
    with pytest.raises(TypeError):
        lib.nn.Linear(1, 1).load_state_dict([1])


def test_a_pickled_module_computes_the_same() -> None:
    module = re.nn.Sequential(re.nn.Conv2d(1, 2, 2), re.nn.BatchNorm2d(2), re.nn.Flatten())
    other = pickle.loads(pickle.dumps(module))
    x = re.tensor(np.random.default_rng(0).normal(size=(2, 1, 3, 3)), dtype=re.float32)
    assert other.eval()(x).tolist() == module.eval()(x).tolist()


# --- parts ----------------------------------------------------------------------------------------------------------


def test_names_that_parts_cannot_have_are_refused(lib: Any) -> None:
    module = lib.nn.Module()
    for name in ("a.b", "", "forward"):
        with pytest.raises(KeyError):
            module.register_buffer(name, lib.zeros(1))
        with pytest.raises(KeyError):
            module.register_parameter(name, None)
        with pytest.raises(KeyError):
            module.add_module(name, None)


def test_parts_are_found_and_set_by_dotted_name(lib: Any) -> None:
    module = lib.nn.Sequential(lib.nn.Sequential(lib.nn.BatchNorm1d(2)))
    assert module.get_parameter("0.0.weight") is module[0][0].weight
    assert module.get_buffer("0.0.running_var") is module[0][0].running_var
    with pytest.raises(AttributeError):
        module.get_parameter("0.0.running_var")
    with pytest.raises(AttributeError):
        module.get_buffer("0.0.weight")
    tanh = lib.nn.Tanh()
    module.set_submodule("0.0", tanh)
    assert module[0][0] is tanh


def test_a_buffer_that_is_set_as_attribute_is_registered(lib: Any) -> None:
    module = lib.nn.Module()
    module.kept = lib.nn.Buffer(lib.ones(1))
    module.passing = lib.nn.Buffer(lib.ones(1), persistent=False)
    assert [name for name, _ in module.named_buffers()] == ["kept", "passing"]
    assert list(module.state_dict()) == ["kept"]


def test_conversion_of_everything_reaches_integers_too(lib: Any) -> None:
    module = lib.nn.BatchNorm1d(2).type(lib.float64)
    assert module.num_batches_tracked.dtype is lib.float64


# --- containers -----------------------------------------------------------------------------------------------------


def kinds(container: Any) -> list[str]:
    return [type(part).__name__ for part in container]


@pytest.mark.parametrize("kind", ["Sequential", "ModuleList"])
def test_rows_of_modules_are_edited_like_lists(lib: Any, kind: str) -> None:
    nn = lib.nn
    parts = [nn.Tanh(), nn.Sigmoid()]
    container = nn.Sequential(*parts) if kind == "Sequential" else nn.ModuleList(parts)
    container.append(nn.ReLU())
    container.insert(1, nn.Identity())
    container.extend([nn.Softsign(), nn.ELU()])
    assert kinds(container) == ["Tanh", "Identity", "Sigmoid", "ReLU", "Softsign", "ELU"]
    del container[0]
    assert type(container.pop(-1)).__name__ == "ELU"
    container[1] = nn.GELU()
    assert kinds(container) == ["Identity", "GELU", "ReLU", "Softsign"]
    assert [name for name, _ in container.named_children()] == ["0", "1", "2", "3"]
    del container[1:3]
    assert kinds(container[::-1] if kind == "ModuleList" else container) == (
        ["Softsign", "Identity"] if kind == "ModuleList" else ["Identity", "Softsign"]
    )
    container += container[:1] if kind == "ModuleList" else nn.Sequential(nn.Tanh())
    assert len(container) == 3
    assert len(container + container) == 6
    with pytest.raises(IndexError):
        container[7]


def test_a_list_of_equal_modules_prints_short(lib: Any) -> None:
    module = lib.nn.ModuleList([lib.nn.Tanh(), lib.nn.Tanh(), lib.nn.Linear(1, 1)])
    assert repr(module) == (
        "ModuleList(\n  (0-1): 2 x Tanh()\n  (2): Linear(in_features=1, out_features=1, bias=True)\n)"
    )


def test_modules_under_names_are_a_dict(lib: Any) -> None:
    module = lib.nn.ModuleDict({"first": lib.nn.Tanh()})
    module.update([["second", lib.nn.Linear(1, 1)]])
    module["third"] = lib.nn.ReLU()
    assert list(module) == ["first", "second", "third"]
    assert "second" in module
    assert list(module.state_dict()) == ["second.weight", "second.bias"]
    assert type(module.pop("first")).__name__ == "Tanh"
    assert len(module) == 2
    assert kinds(module.values()) == ["Linear", "ReLU"]
    module.clear()
    assert list(module.items()) == []


def test_a_list_of_parameters_counts_them(lib: Any) -> None:
    module = lib.nn.ParameterList([lib.ones(1), lib.nn.Parameter(lib.zeros(2))])
    module.append(lib.ones(3))
    assert [tuple(p.shape) for p in module.parameters()] == [(1,), (2,), (3,)]
    assert list(module.state_dict()) == ["0", "1", "2"]
    assert module[-1].requires_grad
    assert len(module[1:]) == 2
    module[0] = lib.ones(4)
    assert module[0].shape == (4,)
    with pytest.raises(RuntimeError):
        module(1)


def test_a_dict_of_parameters_counts_them(lib: Any) -> None:
    module = lib.nn.ParameterDict({"a": lib.ones(1)})
    module["b"] = lib.nn.Parameter(lib.zeros(2))
    module.update({"c": lib.ones(3)})
    assert [name for name, _ in module.named_parameters()] == ["a", "b", "c"]
    assert "b" in module
    assert module.pop("a").requires_grad
    assert module.get("a") is None
    assert list(module.keys()) == ["b", "c"]
    assert [tuple(p.shape) for p in module.values()] == [(2,), (3,)]
    assert list(copy.deepcopy(module).state_dict()) == ["b", "c"]


# --- embedding ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"padding_idx": 1}, {"scale_grad_by_freq": True}, {"padding_idx": -1, "max_norm": 1.0}]
)
def test_an_embedding_looks_up_rows_as_pytorch_does(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    rows = np.random.default_rng(1).normal(size=(4, 3))
    found = []
    for lib in (re, torch):
        module = lib.nn.Embedding(4, 3, **options).double()
        module.load_state_dict({"weight": lib.tensor(rows)})
        out = module(lib.tensor([[1, 3], [3, 3]]))
        out.backward(lib.tensor(np.arange(12.0).reshape(2, 2, 3)))
        found.append((repr(module), out.detach().numpy(), module.weight.grad.numpy(), module.weight.detach().numpy()))
    assert found[0][0] == found[1][0]
    for mine, their in zip(found[0][1:], found[1][1:], strict=True):
        np.testing.assert_allclose(mine, their, rtol=1e-12)


def test_the_row_of_padding_begins_as_zeros(lib: Any) -> None:
    module = lib.nn.Embedding(3, 2, padding_idx=-1)
    assert module.weight[2].tolist() == [0.0, 0.0]
    assert module.padding_idx == 2
    with pytest.raises(AssertionError):
        lib.nn.Embedding(3, 2, padding_idx=3)


def test_given_rows_are_frozen_unless_told_otherwise(lib: Any) -> None:
    rows = lib.ones(3, 2)
    assert not lib.nn.Embedding.from_pretrained(rows).weight.requires_grad
    assert lib.nn.Embedding.from_pretrained(rows, freeze=False).weight.requires_grad


# --- first values ---------------------------------------------------------------------------------------------------


def test_a_dirac_kernel_hands_on_its_inputs(lib: Any) -> None:
    weight = lib.empty(4, 2, 3, 3)
    lib.nn.init.dirac_(weight, groups=2)
    x = lib.arange(2 * 4 * 4, dtype=lib.float32).reshape(1, 2, 4, 4)
    out = lib.nn.functional.conv2d(x, weight, padding=1)
    assert out[0, :2].tolist() == x[0].tolist()


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 2, 2)])
def test_orthogonal_rows_or_columns_are_orthogonal(lib: Any, shape: tuple[int, ...]) -> None:
    weight = lib.nn.init.orthogonal_(lib.empty(*shape, dtype=lib.float64), gain=2.0).numpy().reshape(shape[0], -1)
    gram = weight @ weight.T if weight.shape[0] <= weight.shape[1] else weight.T @ weight
    np.testing.assert_allclose(gram, 4.0 * np.eye(len(gram)), atol=1e-12)


def test_truncated_values_stay_inside(lib: Any) -> None:
    lib.manual_seed(0)
    values = lib.nn.init.trunc_normal_(lib.empty(4000), std=2.0, a=-1.0, b=3.0).numpy()
    assert values.min() >= -1.0
    assert values.max() <= 3.0
    # The mean of a normal distribution of spread 2 between -1 and 3 is 0.713; that of 4,000 values is off by 0.02.
    assert abs(values.mean() - 0.713) < 0.08


def test_an_identity_matrix_is_filled_in(lib: Any) -> None:
    assert lib.nn.init.eye_(lib.empty(2, 3)).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    with pytest.raises(ValueError):
        lib.nn.init.eye_(lib.empty(2))
