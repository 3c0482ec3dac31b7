"""Activations with a parameter that is learned."""

from __future__ import annotations

from refengine.backends.base import Array, Namespace
from refengine.errors import ShapeError
from refengine.op import Binary, Composite, Op
from refengine.operand import same_dtype
from refengine.spec import Call, Draw, Interval, Kink, Operand
from refengine.tensor import Tensor

SLOPES = Interval(-2.0, 2.0)
KINKED = Interval(-20.0, 20.0, avoid=(0.0,))


class Sloped(Binary):
    """Return x where x > 0, else y * x."""

    name = "_prelu"
    backward_name = "PreluKernelBackward0"
    group = ""
    inplace = False

    def forward(self, xp: Namespace, x: Array, y: Array) -> Array:
        return xp.where(xp.greater(x, 0), x, x * y)

    def vjp_x(self, xp: Namespace, g: Array, x: Array, y: Array) -> Array:
        return xp.where(xp.greater(x, 0), g, g * y)

    def vjp_y(self, xp: Namespace, g: Array, x: Array) -> Array:
        return xp.where(xp.greater(x, 0), 0, g * x)


class Prelu(Composite):
    """Return x where x > 0, else weight * x, with one weight or one for each entry of the second axis.

    The derivative at 0 is the weight.

    Raises
    ------
    ShapeError
        If the number of weights is neither.
    DTypeError
        If the dtypes differ.
    """

    group = "activation"
    form = "function"
    structure = "other"
    domains = (KINKED, SLOPES)
    kinks = (Kink(0.0),)
    elsewhere = {"torch": "nn.functional.prelu"}

    def compose(self, x: Tensor, weight: Tensor) -> Tensor:
        x, weight = same_dtype(self, (x, weight))
        channels = 1 if x.ndim < 2 else x.shape[1]
        if weight.ndim > 1 or weight.numel() not in (1, channels):
            raise ShapeError(
                f"prelu: expected one weight or {channels}, the size of the second axis, got {tuple(weight.shape)}"
            )
        wide = (-1,) + (1,) * (x.ndim - 2) if weight.ndim and x.ndim > 1 else (1,) * min(weight.ndim, x.ndim)
        return SLOPED(x, weight.reshape(wide))

    def sample(self, draw: Draw, x: Operand) -> Call:
        """One weight, or one for each entry of the second axis."""
        several = (x.shape[1],) if x.ndim > 1 and draw.boolean() else (1,)
        return Call((x, draw.operand(several, SLOPES)))


SLOPED = Sloped()

OPS: tuple[Op, ...] = (Prelu(), SLOPED)
