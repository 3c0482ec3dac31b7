"""Mistakes that take a Function's context: memory, state between passes, flags, outputs, the class's other rules."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck.mistake import Mistake
from tests.planted.formulas import MATRIX, OTHER
from tests.planted.mistake import Rules


def layout(rules: Rules) -> None:
    """Memory read in its own order."""
    lib = rules.library
    x = lib.tensor(MATRIX)
    square = (lambda x: x * x), (lambda g, x: 2 * g * x)

    def in_memory_order(tensor: Any) -> Any:
        flat = tensor.detach().numpy().ravel(order="K").copy()
        return lib.from_numpy(flat).reshape(tensor.shape)

    rules.rule("cotangent in memory order", "layout of cotangent", square[0],
               lambda g, x: 2 * in_memory_order(g) * x, square[1], "GC301", Mistake.LAYOUT, (x,))  # fmt: skip
    rules.rule("input in memory order", "layout of input", square[0],
               lambda g, x: 2 * g * in_memory_order(x), square[1], "GC301", Mistake.LAYOUT, (x,))  # fmt: skip
    tripled = rules.function("ValuesInMemoryOrder", lambda x: in_memory_order(x) * 3.0, lambda g, x: 3 * g)
    mended = rules.function("ValuesMended", lambda x: x * 3.0, lambda g, x: 3 * g)
    rules.plant("values in memory order", "layout of input", tripled, mended, "GC301", Mistake.LAYOUT, (x,))
    rules.rule(
        "cotangent viewed flat", "layout of cotangent", square[0], lambda g, x: (2 * g.view(-1)).reshape(x.shape) * x,
        square[1], "GC301", Mistake.LAYOUT, (x,),
    )  # fmt: skip


def mutation(rules: Rules) -> None:
    """What belongs to the caller is written to."""
    lib = rules.library
    x = lib.tensor(MATRIX)
    doubled = (lambda x: x * 2), (lambda g, x: 2 * g)

    def halved(x: Any) -> Any:
        np.multiply(x.detach().numpy(), 0.5, out=x.detach().numpy())
        return x * 4

    rules.plant(
        "input halved in place", "mutation of input", rules.function("Halved", halved, lambda g, x: 2 * g),
        rules.function("HalvedMended", *doubled), "GC203", Mistake.MUTATION, (x,),
    )  # fmt: skip
    rules.rule("cotangent scaled in place", "mutation of cotangent", doubled[0], lambda g, x: g.mul_(2), doubled[1],
               "GC203", Mistake.MUTATION, (x,))  # fmt: skip

    def clamping(g: Any, x: Any) -> Any:
        held = x.detach().numpy()
        np.maximum(held, 0.0, out=held)
        return g * (x > 0).to(g.dtype)

    rules.rule("saved input clamped in place", "mutation of input", lambda x: x.relu(), clamping,
               lambda g, x: g * (x > 0).to(g.dtype), "GC203", Mistake.MUTATION, (x,))  # fmt: skip


def state(rules: Rules) -> None:
    """Something outlives the call."""
    lib = rules.library
    x = lib.tensor(MATRIX)

    class Exponential(lib.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            out = x.exp()
            ctx.save_for_backward(out)
            return out

        @staticmethod
        def backward(ctx, g):
            (out,) = ctx.saved_tensors
            return g * out

    class ExponentialOnTheClass(Exponential):
        @staticmethod
        def forward(ctx, x):
            ExponentialOnTheClass.out = x.exp()
            return ExponentialOnTheClass.out * 1

        @staticmethod
        def backward(ctx, g):
            return g * ExponentialOnTheClass.out

    buffers: dict[Any, Any] = {}

    class ExponentialInABuffer(Exponential):
        @staticmethod
        def forward(ctx, x):
            kept = buffers.setdefault((x.shape, x.dtype), lib.zeros_like(x))
            kept.copy_(x.exp())
            ctx.kept = kept
            return kept.clone()

        @staticmethod
        def backward(ctx, g):
            return g * ctx.kept

    results: dict[Any, Any] = {}

    class ExponentialWithAStaticResult(Exponential):
        @staticmethod
        def backward(ctx, g):
            (out,) = ctx.saved_tensors
            found = results.setdefault((out.shape, out.dtype), lib.zeros_like(out))
            found.copy_(g * out)
            return found

    class ExponentialUsedUp(Exponential):
        @staticmethod
        def forward(ctx, x):
            ctx.out = x.detach().exp()
            return ctx.out.clone()

        @staticmethod
        def backward(ctx, g):
            return ctx.out.mul_(g)

    cache: dict[Any, Any] = {}

    class ExponentialCachedByShape(Exponential):
        @staticmethod
        def backward(ctx, g):
            (out,) = ctx.saved_tensors
            return g * cache.setdefault((out.shape, out.dtype), out.detach().clone())

    for name, wrong, codes in (
        ("last call remembered", ExponentialOnTheClass, "GC602"),
        ("buffer of the next call", ExponentialInABuffer, "GC602"),
        ("static result", ExponentialWithAStaticResult, "GC601 GC605 GC602"),
        ("used up", ExponentialUsedUp, "GC605 GC601"),
        ("cached by shape", ExponentialCachedByShape, "GC602 GC101"),
    ):
        rules.plant(name, "saved state", wrong, Exponential, codes, Mistake.STATE, (x,))


def outputs(rules: Rules) -> None:
    """Several outputs, None, and inputs that need no gradient."""
    lib = rules.library
    x, y = lib.tensor(MATRIX), lib.tensor(OTHER)

    class SineAndCosine(lib.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(x)
            return x.sin(), x.cos()

        @staticmethod
        def backward(ctx, g, h):
            (x,) = ctx.saved_tensors
            if h is None:
                return None if g is None else g * x.cos()
            return -h * x.sin() if g is None else g * x.cos() - h * x.sin()

    class WithAWrongBranch(SineAndCosine):
        @staticmethod
        def backward(ctx, g, h):
            (x,) = ctx.saved_tensors
            return g * x.sin() if h is None else SineAndCosine.backward(ctx, g, h)

    class WithoutABranch(SineAndCosine):
        @staticmethod
        def backward(ctx, g, h):
            (x,) = ctx.saved_tensors
            return g * x.cos() - h * x.sin()

    class WithoutTheSecond(SineAndCosine):
        @staticmethod
        def backward(ctx, g, h):
            (x,) = ctx.saved_tensors
            return None if g is None else g * x.cos()

    class MarkedByMistake(SineAndCosine):
        @staticmethod
        def forward(ctx, x):
            sine, cosine = SineAndCosine.forward(ctx, x)
            ctx.mark_non_differentiable(cosine)
            return sine, cosine

    group = "multi-output and None"
    rules.plant("marked by mistake", "activity", MarkedByMistake, SineAndCosine, "GC101", Mistake.TERM, (x,))
    rules.plant("wrong branch for None", group, WithAWrongBranch, SineAndCosine, "GC604", Mistake.OUTPUT, (x,))
    rules.plant("no branch for None", group, WithoutABranch, SineAndCosine, "GC604", Mistake.OUTPUT, (x,))
    rules.plant("second output ignored", group, WithoutTheSecond, SineAndCosine, "GC101", Mistake.TERM, (x,))

    class Product(lib.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return x * y

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            wanted = ctx.needs_input_grad
            return g * y if wanted[0] else None, g * x if wanted[1] else None

    class ProductWithOneFlag(Product):
        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            return (g * y, g * x) if ctx.needs_input_grad[0] else (None, None)

    class ProductInTheWrongPlace(Product):
        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            if all(ctx.needs_input_grad):
                return g * y, g * x
            return (g * y, None) if ctx.needs_input_grad[0] else (None, g * y)

    rules.plant("flag of another input", "activity", ProductWithOneFlag, Product, "GC603", Mistake.SUBSET, (x, y))
    rules.plant("gradient of another input", "activity", ProductInTheWrongPlace, Product, "GC603", Mistake.SUBSET,
                (x, y))  # fmt: skip


def orders(rules: Rules) -> None:
    """Wrong when differentiated again, forwards, or in another mode."""
    lib = rules.library
    x = lib.tensor(MATRIX)

    class Cube(lib.autograd.Function):
        @staticmethod
        def forward(x):
            return x * x * x

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)
            ctx.save_for_forward(*inputs)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 3 * g * x * x

        @staticmethod
        def jvp(ctx, t):
            (x,) = ctx.saved_tensors
            return 3 * t * x * x

    class CubeDetached(Cube):
        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 3 * g * x.detach() ** 2

    class CubeThroughNumPy(Cube):
        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 3 * g * lib.from_numpy(x.detach().numpy() ** 2)

    class CubeForwardsWithoutItsFactor(Cube):
        @staticmethod
        def jvp(ctx, t):
            (x,) = ctx.saved_tensors
            return t * x * x

    class CubeForwardsWithAnotherSign(Cube):
        @staticmethod
        def jvp(ctx, t):
            (x,) = ctx.saved_tensors
            return -3 * t * x * x

    class CubeWhereAGraphIsWanted(Cube):
        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return (2 if lib.is_grad_enabled() else 3) * g * x * x

    rules.plant(
        "another gradient where a graph is wanted", "modes", CubeWhereAGraphIsWanted, Cube, "GC104 GC106",
        Mistake.SECOND_ORDER, (x,), is_differentiated_again=True,
    )  # fmt: skip
    for wrong in (CubeDetached, CubeThroughNumPy):
        rules.plant(
            wrong.__name__, "second order", wrong, Cube, "GC104 GC106", Mistake.SECOND_ORDER, (x,),
            is_differentiated_again=True,
        )  # fmt: skip
    for wrong in (CubeForwardsWithoutItsFactor, CubeForwardsWithAnotherSign):
        rules.plant(wrong.__name__, "forward-mode rule", wrong, Cube, "GC102", Mistake.FORWARD_RULE, (x,))


ALL = (layout, mutation, state, outputs, orders)
