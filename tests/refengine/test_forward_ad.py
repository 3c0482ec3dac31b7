"""Forward mode: dual levels, tangents through views and in-place operations, mixed orders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "elementwise": lambda lib, x: (x * x).exp() / (x + 3),
    "broadcast": lambda lib, x: x * x[0] + x.sum(),
    "reduction": lambda lib, x: x.norm() * x.mean(),
    "matmul": lambda lib, x: x @ x.t(),
    "views": lambda lib, x: x.view(-1)[1:4].unsqueeze(0) * 2,
    "softmax": lambda lib, x: x.softmax(-1) * x,
    "cumulative": lambda lib, x: x.cumsum(0).prod(1),
    "joined": lambda lib, x: lib.cat([x, x * 2], dim=1),
    "maximum": lambda lib, x: lib.maximum(x, x.flip(0)),
    "indexed": lambda lib, x: x[lib.tensor([0, 1, 1])],
    "where": lambda lib, x: lib.where(x > 0, x * x, x * 3),
}


def pair(lib: Any) -> tuple[Any, Any]:
    x = lib.tensor([[0.3, -1.1, 0.7], [0.2, 0.9, -0.4]], dtype=lib.float64)
    return x, lib.tensor([[1.0, 0.5, -2.0], [0.25, -1.0, 3.0]], dtype=lib.float64)


def inplace(lib: Any, x: Any) -> Any:
    y = x * 1
    y[0].mul_(x[1])
    y.view(-1)[2:4].add_(x.view(-1)[:2])
    y.exp_()
    return y


FUNCTIONS["inplace"] = inplace


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_tangent_is_the_jacobian_times_the_direction(lib: Any, name: str) -> None:
    function = FUNCTIONS[name]
    x, t = pair(lib)
    fwd = lib.autograd.forward_ad
    with fwd.dual_level():
        tangent = fwd.unpack_dual(function(lib, fwd.make_dual(x, t))).tangent
    leaf = x.clone().requires_grad_()
    out = function(lib, leaf)
    u = (out.detach() * 0 + 1).cumsum(0)
    (g,) = lib.autograd.grad(out, leaf, u)
    assert (tangent * u).sum().item() == pytest.approx((g * t).sum().item(), rel=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_forward_over_reverse_is_reverse_over_reverse(lib: Any, name: str) -> None:
    function = FUNCTIONS[name]
    x, t = pair(lib)
    fwd = lib.autograd.forward_ad

    def gradient(point: Any) -> Any:
        return lib.autograd.grad((function(lib, point) ** 2).sum(), point, create_graph=True)[0]

    leaf = x.clone().requires_grad_()
    (expected,) = lib.autograd.grad(gradient(leaf), leaf, t)
    with fwd.dual_level():
        dual = fwd.make_dual(x.clone().requires_grad_(), t)
        tangent = fwd.unpack_dual(gradient(dual)).tangent
    assert lib.allclose(tangent, expected)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_reverse_over_forward(lib: Any, name: str, request: pytest.FixtureRequest) -> None:
    if (lib.__name__, name) == ("torch", "softmax"):
        request.applymarker(
            pytest.mark.xfail(raises=RuntimeError, reason="PyTorch 2.13 finds its own saved value modified")
        )
    function = FUNCTIONS[name]
    x, t = pair(lib)
    fwd = lib.autograd.forward_ad
    leaf = x.clone().requires_grad_()
    with fwd.dual_level():
        tangent = fwd.unpack_dual(function(lib, fwd.make_dual(leaf, t))).tangent
        loss = (tangent * tangent).sum()
        mixed = lib.autograd.grad(loss, leaf, allow_unused=True)[0] if loss.requires_grad else None
    u = leaf.detach().clone().requires_grad_()
    out = function(lib, u)
    w = (out.detach() * 0 + 1).requires_grad_()
    (g,) = lib.autograd.grad(out, u, w, create_graph=True)
    (jvp,) = lib.autograd.grad(g, w, t, create_graph=True)
    expected = lib.autograd.grad((jvp * jvp).sum(), u, allow_unused=True)[0] if jvp.requires_grad else None
    zero = x * 0
    assert lib.allclose(zero if mixed is None else mixed, zero if expected is None else expected)


def test_duals_exist_only_inside_a_level(lib: Any) -> None:
    x, t = pair(lib)
    with pytest.raises(RuntimeError, match="level"):
        lib.autograd.forward_ad.make_dual(x, t)


def test_writing_to_a_result_leaves_the_tangent_of_its_input_alone(lib: Any) -> None:
    x, t = pair(lib)
    fwd = lib.autograd.forward_ad
    with fwd.dual_level():
        dual = fwd.make_dual(x, t)
        (dual + 1).mul_(3)
        assert fwd.unpack_dual(dual).tangent.tolist() == t.tolist()


def test_levels_do_not_nest(lib: Any) -> None:
    fwd = lib.autograd.forward_ad
    with fwd.dual_level(), pytest.raises(RuntimeError, match=r"[Nn]ested"):
        fwd.enter_dual_level()


def test_tangents_are_gone_after_the_level(lib: Any) -> None:
    x, t = pair(lib)
    fwd = lib.autograd.forward_ad
    with fwd.dual_level():
        dual = fwd.make_dual(x, t)
    with fwd.dual_level():
        assert fwd.unpack_dual(dual).tangent is None


def test_a_plain_tensor_has_no_tangent(lib: Any) -> None:
    fwd = lib.autograd.forward_ad
    with fwd.dual_level():
        assert fwd.unpack_dual(lib.ones(1)).tangent is None


def test_detach_drops_the_tangent(lib: Any) -> None:
    x, t = pair(lib)
    fwd = lib.autograd.forward_ad
    with fwd.dual_level():
        assert fwd.unpack_dual(fwd.make_dual(x, t).detach()).tangent is None


def test_tangents_match_their_primal(lib: Any) -> None:
    fwd = lib.autograd.forward_ad
    with fwd.dual_level(), pytest.raises(RuntimeError, match="shape|size"):
        fwd.make_dual(lib.ones(2), lib.ones(3))
