"""User-defined functions, on PyTorch and here alike."""

from __future__ import annotations

from typing import Any

import pytest

from tests.refengine.values import leaf


def product(lib: Any) -> Any:
    class Product(lib.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any, factor: float) -> Any:
            ctx.save_for_backward(x, y)
            ctx.factor = factor
            return x * y * factor

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            x, y = ctx.saved_tensors
            return g * y * ctx.factor, g * x * ctx.factor, None

    return Product


def test_old_style_function(lib: Any) -> None:
    x, y = leaf(lib, 2.0), leaf(lib, 3.0)
    product(lib).apply(x, y, 10.0).sum().backward()
    assert (x.grad.tolist(), y.grad.tolist()) == ([30.0], [20.0])


def test_new_style_function_with_setup_context(lib: Any) -> None:
    class Exp(lib.autograd.Function):
        @staticmethod
        def forward(x: Any) -> Any:
            return x.exp()

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(output)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * ctx.saved_tensors[0]

    x = leaf(lib, 0.0)
    (g,) = lib.autograd.grad(Exp.apply(x).sum(), x, create_graph=True)
    (h,) = lib.autograd.grad(g.sum(), x)
    assert h.tolist() == [1.0]


def test_the_node_is_named_after_the_function(lib: Any) -> None:
    out = product(lib).apply(leaf(lib, 1.0), leaf(lib, 1.0), 1.0)
    assert type(out.grad_fn).__name__ == "ProductBackward"
    assert out.grad_fn.name() == "ProductBackward"


def test_double_backward_through_saved_inputs(lib: Any) -> None:
    x, y = leaf(lib, 2.0), leaf(lib, 3.0)
    (g,) = lib.autograd.grad(product(lib).apply(x, y, 1.0).sum(), x, create_graph=True)
    assert lib.autograd.grad(g.sum(), y)[0].tolist() == [1.0]


def test_needs_input_grad(lib: Any) -> None:
    seen: list[Any] = []

    class Watch(lib.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any, n: int) -> Any:
            return x + y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            seen.append(tuple(ctx.needs_input_grad))
            return g, None, None

    Watch.apply(leaf(lib, 1.0), lib.ones(1, dtype=lib.float64), 3).sum().backward()
    assert seen == [(True, False, False)]


def test_forward_runs_unrecorded(lib: Any) -> None:
    seen: list[Any] = []

    class Watch(lib.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            seen.append((lib.is_grad_enabled(), (x * 2).requires_grad))
            return x * 1

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g

    Watch.apply(leaf(lib, 1.0))
    assert seen == [(False, False)]


def test_missing_gradients_are_zeros_unless_asked(lib: Any) -> None:
    seen: list[Any] = []

    def two(materialize: bool) -> Any:
        class Two(lib.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                ctx.set_materialize_grads(materialize)
                return x * 1, x * 2

            @staticmethod
            def backward(ctx: Any, g: Any, h: Any) -> Any:
                seen.append(None if h is None else h.tolist())
                return g

        return Two

    for materialize in (True, False):
        two(materialize).apply(leaf(lib, 1.0))[0].sum().backward()
    assert seen == [[0.0], None]


def test_non_differentiable_outputs_are_not_tracked(lib: Any) -> None:
    class Sort(lib.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            mask = x.detach() * 0 + 1
            ctx.mark_non_differentiable(mask)
            return x * 1, mask

        @staticmethod
        def backward(ctx: Any, g: Any, h: Any) -> Any:
            return g

    out, mask = Sort.apply(leaf(lib, 1.0))
    assert out.requires_grad
    assert not mask.requires_grad


def test_a_dirty_input_is_the_output_and_keeps_its_history(lib: Any) -> None:
    class Double(lib.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2

    x = leaf(lib, 3.0)
    y = x * 1
    assert Double.apply(y) is y
    assert y.tolist() == [6.0]
    (y * y).sum().backward()
    assert x.grad.tolist() == [24.0]
    with pytest.raises(RuntimeError, match="leaf"):
        Double.apply(x)


def test_an_input_returned_as_it_is_becomes_a_new_tensor(lib: Any) -> None:
    class Reverse(lib.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return -g

    x = leaf(lib, 3.0)
    y = Reverse.apply(x)
    assert y is not x
    y.sum().backward()
    assert x.grad.tolist() == [-1.0]


def test_a_modified_saved_tensor_raises(lib: Any) -> None:
    x, y = leaf(lib, 2.0) * 1, leaf(lib, 3.0) * 1
    out = product(lib).apply(x, y, 1.0)
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an in-?place operation"):
        out.sum().backward()


def test_saved_tensors_are_freed(lib: Any) -> None:
    out = product(lib).apply(leaf(lib, 2.0), leaf(lib, 3.0), 1.0).sum()
    out.backward()
    with pytest.raises(RuntimeError, match="second time|freed"):
        out.backward()


def test_a_wrong_number_of_gradients_raises(lib: Any) -> None:
    class Wrong(lib.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            return x + y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g

    with pytest.raises(RuntimeError, match="gradients"):
        Wrong.apply(leaf(lib, 1.0), leaf(lib, 1.0)).sum().backward()


def test_a_gradient_of_the_wrong_shape_raises(lib: Any) -> None:
    class Wrong(lib.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 1

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g[:1]

    with pytest.raises(RuntimeError, match="shape"):
        Wrong.apply(leaf(lib, 1.0, 2.0)).sum().backward()


def test_once_differentiable_refuses_a_second_derivative(lib: Any) -> None:
    class Once(lib.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @lib.autograd.function.once_differentiable
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2 * ctx.saved_tensors[0]

    x = leaf(lib, 3.0)
    (g,) = lib.autograd.grad((Once.apply(x) * x).sum(), x, create_graph=True)
    assert g.tolist() == [27.0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.sum().backward()


def test_a_function_with_jvp_takes_part_in_forward_mode(lib: Any) -> None:
    class Square(lib.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_forward(x)
            return x * x

        @staticmethod
        def jvp(ctx: Any, t: Any) -> Any:
            return 2 * ctx.saved_tensors[0] * t

    fwd = lib.autograd.forward_ad
    with fwd.dual_level():
        dual = fwd.make_dual(lib.tensor([3.0]), lib.tensor([0.5]))
        assert fwd.unpack_dual(Square.apply(dual)).tangent.tolist() == [3.0]


def test_a_function_without_jvp_refuses_forward_mode(lib: Any) -> None:
    fwd = lib.autograd.forward_ad
    with fwd.dual_level():
        dual = fwd.make_dual(lib.tensor([3.0]), lib.tensor([0.5]))
        with pytest.raises(NotImplementedError, match="jvp"):
            product(lib).apply(dual, dual, 1.0)


def test_without_backward_the_error_says_so(lib: Any) -> None:
    class Half(lib.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x / 2

    with pytest.raises(NotImplementedError, match="backward"):
        Half.apply(leaf(lib, 1.0)).sum().backward()
