"""Optimizers: several steps, their states and their refusals are PyTorch's, and states go both ways."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import refengine as re

START = [np.random.default_rng(0).normal(size=shape) for shape in ((3, 2), (4,), ())]
OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("SGD", {"lr": 0.1}),
    "SGD with momentum": ("SGD", {"lr": 0.1, "momentum": 0.9}),
    "SGD with dampening": ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    "SGD with Nesterov's momentum": ("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.01}),
    "SGD upwards": ("SGD", {"lr": 0.01, "momentum": 0.5, "maximize": True}),
    "Adam": ("Adam", {"lr": 0.05}),
    "Adam with options": ("Adam", {"lr": 0.05, "betas": (0.7, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    "Adam with amsgrad": ("Adam", {"lr": 0.05, "betas": (0.7, 0.5), "amsgrad": True, "maximize": True}),
    "AdamW": ("AdamW", {"lr": 0.05}),
    "AdamW with options": ("AdamW", {"lr": 0.05, "weight_decay": 0.3, "amsgrad": True, "maximize": True}),
}
CASES = pytest.mark.parametrize(("name", "options"), OPTIMIZERS.values(), ids=[n.replace(" ", "-") for n in OPTIMIZERS])


def parameters(lib: Any) -> list[Any]:
    return [lib.nn.Parameter(lib.tensor(values)) for values in START]


def loss(params: list[Any], number: int) -> Any:
    """A function whose gradient differs from step to step."""
    first, second, third = params
    return (first.sin().sum() * third).exp() + ((second - number) ** 2).sum() * 0.1 + third * third


def steps(optimizer: Any, params: list[Any], count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        optimizer.zero_grad()
        loss(params, number).backward()
        optimizer.step()


def same(mine: list[Any], theirs: list[Any], rtol: float = 1e-12) -> None:
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=rtol, atol=rtol)


@CASES
def test_steps_and_states_are_pytorchs(name: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    found = []
    for lib in (re, torch):
        params = parameters(lib)
        optimizer = getattr(lib.optim, name)(params, **options)
        steps(optimizer, params, 6)
        found.append((params, optimizer))
    (mine, ours), (their, theirs) = found
    same(mine, their)
    a, b = ours.state_dict(), theirs.state_dict()
    assert a["param_groups"] == b["param_groups"]
    assert {k: list(v) for k, v in a["state"].items()} == {k: list(v) for k, v in b["state"].items()}
    for number, entry in a["state"].items():
        for key, value in entry.items():
            assert value.dtype.name == str(b["state"][number][key].dtype).split(".")[1]
            np.testing.assert_allclose(value.numpy(), b["state"][number][key].numpy(), rtol=1e-12, atol=1e-15)
    assert repr(ours) == repr(theirs)


@CASES
def test_a_loaded_state_goes_on_where_it_was_saved(lib: Any, name: str, options: dict[str, Any]) -> None:
    params = parameters(lib)
    optimizer = getattr(lib.optim, name)(params, **options)
    steps(optimizer, params, 3)
    others = [lib.nn.Parameter(p.detach().clone()) for p in params]
    other = getattr(lib.optim, name)(others, lr=7.0)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # PyTorch shares what it can
    for one, these in ((optimizer, params), (other, others)):
        steps(one, these, 3, start=3)
    same(others, params, rtol=0)
    assert other.param_groups[0]["lr"] == options["lr"]


def test_groups_have_options_of_their_own(lib: Any) -> None:
    params = parameters(lib)
    optimizer = lib.optim.SGD([{"params": params[:1], "lr": 0.5}, {"params": params[1:]}], lr=0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.25]
    before = [p.detach().clone() for p in params]
    for p in params:
        p.grad = lib.ones_like(p)
    optimizer.step()
    same(params, [b - lr for b, lr in zip(before, (0.5, 0.25, 0.25), strict=True)])


def test_a_group_can_be_added_later(lib: Any) -> None:
    params = parameters(lib)
    optimizer = lib.optim.Adam(params[:2])
    optimizer.add_param_group({"params": params[2], "lr": 1.0})
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 1]
    assert optimizer.state_dict()["param_groups"][1]["params"] == [2]


def test_named_parameters_keep_their_names(lib: Any) -> None:
    module = lib.nn.Linear(2, 1)
    optimizer = lib.optim.SGD(module.named_parameters(), lr=0.1)
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]


def test_a_parameter_without_gradient_stays(lib: Any) -> None:
    params = parameters(lib)
    optimizer = lib.optim.AdamW(params)
    params[0].sum().backward()
    optimizer.step()
    same(params[1:], [lib.tensor(v) for v in START[1:]], rtol=0)
    assert len(optimizer.state) == 1


def test_a_closure_is_called_with_gradients_on(lib: Any) -> None:
    params = parameters(lib)
    optimizer = lib.optim.SGD(params, lr=0.1)

    def closure() -> Any:
        optimizer.zero_grad()
        value = loss(params, 0)
        value.backward()
        return value

    with lib.no_grad():
        value = optimizer.step(closure)
    assert value.item() == pytest.approx(loss([lib.tensor(v) for v in START], 0).item())


def test_a_step_is_not_recorded_and_keeps_the_leaf(lib: Any) -> None:
    params = parameters(lib)
    optimizer = lib.optim.SGD(params, lr=0.1, momentum=0.9)
    steps(optimizer, params, 2)
    assert all(p.is_leaf and p.requires_grad for p in params)
    assert not optimizer.state[params[0]]["momentum_buffer"].requires_grad


def test_zero_grad_lets_go_or_fills(lib: Any) -> None:
    params = parameters(lib)
    optimizer = lib.optim.SGD(params, lr=0.1)
    loss(params, 0).backward()
    optimizer.zero_grad(set_to_none=False)
    assert params[1].grad.tolist() == [0.0] * 4
    optimizer.zero_grad()
    assert params[1].grad is None


def test_hooks_run_around_a_step(lib: Any) -> None:
    params = parameters(lib)
    optimizer = lib.optim.SGD(params, lr=0.1)
    seen: list[str] = []
    before = optimizer.register_step_pre_hook(lambda opt, args, kwargs: seen.append("before"))
    optimizer.register_step_post_hook(lambda opt, args, kwargs: seen.append("after"))
    optimizer.step()
    before.remove()
    optimizer.step()
    assert seen == ["before", "after", "after"]


def test_a_deep_copy_moves_parameters_of_its_own(lib: Any) -> None:
    params = parameters(lib)
    optimizer = lib.optim.SGD(params, lr=0.1, momentum=0.5)
    steps(optimizer, params, 1)
    before = [p.tolist() for p in params]
    other = copy.deepcopy(optimizer)
    mine = other.param_groups[0]["params"]
    steps(other, mine, 1)
    assert [p.tolist() for p in params] == before
    steps(optimizer, params, 1)
    same(mine, params, rtol=0)


def test_half_precision_states_follow_the_parameter(lib: Any) -> None:
    params = parameters(lib)
    optimizer = lib.optim.Adam(params)
    steps(optimizer, params, 1)
    narrow = [lib.nn.Parameter(p.detach().to(lib.float16)) for p in params]
    other = lib.optim.Adam(narrow)
    other.load_state_dict(optimizer.state_dict())
    assert other.state[narrow[0]]["exp_avg"].dtype is lib.float16
    assert other.state[narrow[0]]["step"].dtype is lib.float32


@pytest.mark.parametrize("options", [{"lr": -1.0}, {"momentum": -1.0}, {"nesterov": True}, {"weight_decay": -0.1}])
def test_sgd_refuses_options_out_of_range(lib: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        lib.optim.SGD(parameters(lib), **options)


@pytest.mark.parametrize("options", [{"lr": -1.0}, {"eps": -1.0}, {"betas": (1.0, 0.9)}, {"betas": (0.9, -0.1)}])
def test_adam_refuses_options_out_of_range(lib: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        lib.optim.AdamW(parameters(lib), **options)


def test_what_cannot_be_optimized_is_refused(lib: Any) -> None:
    params = parameters(lib)
    with pytest.raises(ValueError):
        lib.optim.SGD([])
    with pytest.raises(ValueError, match="non-leaf"):
        lib.optim.SGD([params[0] * 2])
    with pytest.raises(TypeError):
        lib.optim.SGD(params[0])
    with pytest.raises(TypeError):
        lib.optim.SGD([3.0])
    with pytest.raises(ValueError, match="more than one"):
        lib.optim.SGD([{"params": params}, {"params": params[0]}])
    with pytest.warns(UserWarning, match="parameter"):
        lib.optim.SGD([params[0], params[0]])


def test_a_state_that_does_not_fit_is_refused(lib: Any) -> None:
    params = parameters(lib)
    optimizer = lib.optim.SGD(params)
    with pytest.raises(ValueError):
        optimizer.load_state_dict(lib.optim.SGD(params[:1]).state_dict())
    with pytest.raises(ValueError):
        optimizer.load_state_dict(lib.optim.SGD([{"params": params[:1]}, {"params": params[1:]}]).state_dict())


def test_what_only_pytorch_has_is_refused_by_name() -> None:
    with pytest.raises(NotImplementedError, match="fused"):
        re.optim.Adam(parameters(re), fused=True)
