"""Functions of the reference engine, each of which breaks one claim, and right twins of some."""

from __future__ import annotations

import refengine as re
from refengine.autograd import Function

POINT = re.tensor([[0.0, 1.25, -2.0], [3.0, 0.0, 0.5]])
TIED = re.tensor([[1.0, 1.0, -2.0], [3.0, 0.5, 0.0]])


class Square(Function):
    """The factor is missing."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x


class Sine(Function):
    """The forward rule has the wrong sign."""

    @staticmethod
    def forward(x):
        return x.sin()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x.cos()

    @staticmethod
    def jvp(ctx, t):
        (x,) = ctx.saved_tensors
        return -t * x.cos()


class Cube(Function):
    """The graph of the gradient does not know that it depends on x."""

    @staticmethod
    def forward(ctx, x):
        ctx.x = x.detach()
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        return g * 3 * ctx.x * ctx.x


class Rows(Function):
    """Reads the cotangent in the order of memory."""

    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, g):
        flat = g.numpy().ravel(order="K")
        return re.from_numpy(flat.copy()).reshape(g.shape)


class Absolute(Function):
    """Loses the cotangent's sign."""

    @staticmethod
    def forward(ctx, x):
        return x + 1

    @staticmethod
    def backward(ctx, g):
        return g.abs()


class Exponential(Function):
    """Keeps its result on the class."""

    @staticmethod
    def forward(ctx, x):
        Exponential.out = x.exp()
        return Exponential.out * 1

    @staticmethod
    def backward(ctx, g):
        return g * Exponential.out


class Doubled(Function):
    """Writes to its cotangent."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g.mul_(2)


class Refusing(Function):
    """Its backward raises."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        raise ValueError("not today")


class Marked(Function):
    """One of its outputs has no history, one is no number."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        rounded = x * 1
        ctx.mark_non_differentiable(rounded)
        return rounded, x * x

    @staticmethod
    def backward(ctx, _, g):
        (x,) = ctx.saved_tensors
        return g * x


class CubeForwards(Function):
    """The graph of the forward rule does not know that it depends on x."""

    @staticmethod
    def forward(x, n):
        return x**n

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0])
        ctx.save_for_forward(inputs[0])
        ctx.n = inputs[1]

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return ctx.n * g * x ** (ctx.n - 1), None

    @staticmethod
    def jvp(ctx, t, _):
        (x,) = ctx.saved_tensors
        return ctx.n * t * x.detach() ** (ctx.n - 1)


class RightForwards(CubeForwards):
    """The right twin."""

    @staticmethod
    def jvp(ctx, t, _):
        (x,) = ctx.saved_tensors
        return ctx.n * t * x ** (ctx.n - 1)


class Relu(Function):
    """At 0 the gradient is 2, which is no slope nearby."""

    SLOPE = 2.0

    @classmethod
    def forward(cls, ctx, x, y):
        ctx.save_for_backward(x)
        return x.relu() * 1, y * 3

    @classmethod
    def backward(cls, ctx, g, h):
        (x,) = ctx.saved_tensors
        return g * re.where(x == 0, cls.SLOPE * re.ones_like(x), (x > 0).to(x.dtype)), 3 * h


class RightRelu(Relu):
    """Any slope in [0, 1] is right."""

    SLOPE = 0.5


class RowMax(Function):
    """All of the gradient to each of equal entries."""

    @staticmethod
    def forward(ctx, x):
        out = x.amax(-1, keepdim=True)
        ctx.save_for_backward(x, out)
        return out

    @staticmethod
    def backward(ctx, g):
        x, out = ctx.saved_tensors
        return g * (x == out).to(g.dtype)


class RightRowMax(RowMax):
    """An equal part to each."""

    @staticmethod
    def backward(ctx, g):
        x, out = ctx.saved_tensors
        ties = (x == out).to(g.dtype)
        return g * ties / ties.sum(-1, keepdim=True)


class SlopeOfQuartic(Function):
    """The graph of its own gradient does not know that it depends on x."""

    @staticmethod
    def forward(ctx, g, x):
        ctx.save_for_backward(g, x)
        return 4 * g * x**3

    @staticmethod
    def backward(ctx, h):
        g, x = ctx.saved_tensors
        return 4 * h * x**3, 12 * h * g * x.detach() ** 2


class Quartic(Function):
    """Its backward is a Function of its own, the third derivative of which is wrong."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**4

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return SlopeOfQuartic.apply(g, x)


class RightQuartic(Quartic):
    """All of it is recorded."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 4 * g * x**3


CLAIMS = (
    (Square, "GC101"), (Refusing, "GC101"), (Marked, "GC101"), (Sine, "GC102"), (Absolute, "GC103"), (Cube, "GC104"),
    (Doubled, "GC203"), (Rows, "GC301"), (Exponential, "GC602"),
)  # fmt: skip
"""Which claim a Function breaks, at POINT."""
TWINS = (
    (CubeForwards, RightForwards, "GC106", (POINT, 3)), (Relu, RightRelu, "GC107", (POINT, TIED)),
    (RowMax, RightRowMax, "GC107", (TIED,)), (Quartic, RightQuartic, "GC109", (POINT,)),
)  # fmt: skip
"""A wrong Function, its right twin, the claim, and what both are called with."""
