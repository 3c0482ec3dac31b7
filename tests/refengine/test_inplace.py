"""In-place rules and the rewriting of history, on PyTorch and here alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.refengine.values import leaf


def test_inplace_on_leaf_raises(lib: Any) -> None:
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        leaf(lib, 1.0).mul_(2)


def test_inplace_on_a_view_of_a_leaf_raises(lib: Any) -> None:
    with pytest.raises(RuntimeError, match="view of a leaf Variable that requires grad"):
        leaf(lib, 1.0, 2.0).view(2, 1).mul_(2)


def test_inplace_on_a_leaf_is_allowed_without_grad(lib: Any) -> None:
    x = leaf(lib, 1.0)
    with lib.no_grad():
        x.mul_(2)
    assert x.tolist() == [2.0]
    assert x.is_leaf


def test_inplace_on_an_untracked_leaf_by_a_tracked_value_makes_it_tracked(lib: Any) -> None:
    x, y = leaf(lib, 3.0), lib.ones(1, dtype=lib.float64)
    y.mul_(x)
    assert y.requires_grad
    (y * y).sum().backward()
    assert x.grad.tolist() == [6.0]


def test_expanded_memory_refuses(lib: Any) -> None:
    with pytest.raises(RuntimeError, match="single memory location"):
        lib.ones(1, 3).expand(2, 3).add_(1)


def test_a_result_that_does_not_fit_refuses(lib: Any) -> None:
    with pytest.raises(RuntimeError, match="shape"):
        lib.ones(3).add_(lib.ones(2, 3))


def test_a_float_result_does_not_go_into_an_integer_tensor(lib: Any) -> None:
    with pytest.raises(RuntimeError, match="can't be cast"):
        lib.ones(2, dtype=lib.int64).mul_(0.5)


def test_a_wider_float_is_cast_into_a_narrower_target(lib: Any) -> None:
    x = lib.ones(2, dtype=lib.float32)
    x.mul_(lib.full((2,), 0.5, dtype=lib.float64))
    assert x.dtype is lib.float32
    assert x.tolist() == [0.5, 0.5]


def test_modifying_a_saved_result_raises_at_backward(lib: Any) -> None:
    y = leaf(lib, 1.0).exp()
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an in-?place operation"):
        y.sum().backward()


def test_modifying_a_saved_input_raises_at_backward(lib: Any) -> None:
    y = leaf(lib, 1.0) * 2
    z = y * y
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an in-?place operation"):
        z.sum().backward()


def test_the_error_names_op_and_versions() -> None:
    import refengine

    y = leaf(refengine, 1.0).exp()
    y.add_(1)
    with pytest.raises(
        refengine.errors.StaleSaveError, match="ExpBackward0.*at version 1, expected version 0"
    ) as caught:
        y.sum().backward()
    assert (caught.value.found, caught.value.expected) == (1, 0)


def test_modifying_through_a_view_or_detached_alias_is_seen(lib: Any) -> None:
    for alias in (lambda t: t.view(1), lambda t: t.detach()):
        y = leaf(lib, 1.0).exp()
        alias(y).add_(1)
        with pytest.raises(RuntimeError, match="modified by an in-?place operation"):
            y.sum().backward()


def test_modifying_what_was_not_saved_passes(lib: Any) -> None:
    x = leaf(lib, 1.0)
    y = x * 2
    z = y + 1
    y.mul_(5)
    (z + y).sum().backward()
    assert x.grad.tolist() == [12.0]


def test_an_op_saves_only_what_an_existing_edge_needs(lib: Any) -> None:
    x, y = leaf(lib, 2.0), lib.full((1,), 3.0, dtype=lib.float64)
    c = x * 1
    z = c * y
    c.add_(1)
    z.sum().backward()
    assert x.grad.tolist() == [3.0]


def test_versions_count_writes_and_are_shared_by_views(lib: Any) -> None:
    x = lib.ones(4)
    v, d = x.view(2, 2), x.detach()
    assert x._version == 0
    x.add_(1)
    v.mul_(2)
    assert (x._version, v._version, d._version) == (2, 2, 2)


def test_inplace_returns_the_tensor_itself(lib: Any) -> None:
    x = lib.ones(2)
    assert x.exp_() is x


@pytest.mark.parametrize("name", ["exp_", "sin_", "tanh_", "sqrt_", "neg_", "square_", "reciprocal_"])
def test_unary_inplace_has_the_gradient_of_the_op(lib: Any, name: str) -> None:
    x = leaf(lib, 0.5, 2.0)
    y = x * 1
    getattr(y, name)()
    (y * y).sum().backward()
    expected = leaf(lib, 0.5, 2.0)
    out = getattr(expected, name[:-1])()
    (out * out).sum().backward()
    assert x.grad.tolist() == expected.grad.tolist()


def test_mul_by_another_keeps_the_old_value_for_the_others_gradient(lib: Any) -> None:
    x, y = leaf(lib, 3.0), leaf(lib, 5.0)
    z = x * 1
    z.mul_(y)
    z.sum().backward()
    assert (x.grad.tolist(), y.grad.tolist()) == ([5.0], [3.0])


VIEWS: dict[str, Callable[[Any], Any]] = {
    "row": lambda t: t[1],
    "column": lambda t: t[:, 0],
    "transposed": lambda t: t.transpose(0, 1),
    "flat": lambda t: t.view(-1),
    "nested": lambda t: t.view(3, 2)[1:].transpose(0, 1),
    "strided": lambda t: t[:, ::2],
}


@pytest.mark.parametrize("view", VIEWS)
def test_inplace_on_a_view_rebases_base_and_views(lib: Any, view: str) -> None:
    torch = pytest.importorskip("torch")
    results = []
    for own in (lib, torch):
        x = own.arange(6, dtype=own.float64).view(2, 3).add(0.5).requires_grad_()
        base = x.sin()
        before = base.view(6)
        part = VIEWS[view](base)
        part.mul_(part.detach().clone() + 2)
        part.exp_()
        after = base[0]
        assert type(base.grad_fn).__name__ == "CopySlices"
        (base * base).sum().backward(retain_graph=True)
        (before * 3).sum().backward(retain_graph=True)
        (part * 2).sum().backward(retain_graph=True)
        (after * 5).sum().backward()
        results.append(x.grad.tolist())
    assert _close(results[0], results[1])


def _close(a: Any, b: Any) -> bool:
    import numpy as np

    return bool(np.allclose(np.array(a), np.array(b), rtol=1e-12, atol=0))


def test_writing_a_tracked_value_into_a_part_of_an_untracked_tensor(lib: Any) -> None:
    w = leaf(lib, 2.0)
    x = lib.zeros(3, dtype=lib.float64)
    v = x.view(3, 1)
    x[1:2].copy_(w)
    assert x.requires_grad
    assert v.requires_grad
    (v * v).sum().backward()
    assert w.grad.tolist() == [4.0]


def test_a_view_made_without_grad_refuses_recorded_writes(lib: Any) -> None:
    x = leaf(lib, 1.0, 2.0) * 1
    with lib.no_grad():
        v = x.view(2, 1)
    with pytest.raises(RuntimeError, match="view was created in no_grad mode"):
        v.mul_(2)


def test_double_backward_through_an_inplace_operation(lib: Any) -> None:
    x = leaf(lib, 0.7)
    y = x * 1
    y.view(1, 1).exp_()
    (g,) = lib.autograd.grad((y * y).sum(), x, create_graph=True)
    (h,) = lib.autograd.grad(g.sum(), x)
    assert _close(h.tolist(), (4 * (2 * x.detach()).exp()).tolist())


def test_backward_does_not_mix_the_gradients_of_two_writes(lib: Any) -> None:
    x = leaf(lib, 1.0, 2.0, 3.0)
    y = x * 1
    y[0:1].mul_(10)
    y[1:].zero_()
    y.sum().backward()
    assert x.grad.tolist() == [10.0, 0.0, 0.0]
