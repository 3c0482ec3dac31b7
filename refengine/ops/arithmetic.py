"""Elementwise functions of two and three tensors: extremes, angles, remainders, fused products, interpolation."""

from __future__ import annotations

from typing import Any

from refengine.backends.base import Array, Namespace
from refengine.dtypes import INTEGER
from refengine.errors import DTypeError
from refengine.layout import Shape
from refengine.op import Binary, Elementwise, Op, Unary
from refengine.spec import Call, Draw, Interval, Kink, Operand
from refengine.tensor import Tensor

MODERATE = Interval(-20.0, 20.0)
NONZERO = Interval(-20.0, 20.0, avoid=(0.0,), margin=0.5)
UNIT = Interval(-2.0, 2.0)


class DivisionByZero(DTypeError, ZeroDivisionError):
    """Integers have no infinity to divide by zero to."""


class _Division(Binary):
    """Divides; integers stay integers, and refuse 0.

    The domains keep the quotient between two integers, so that it does not jump, and below 0, so that floor and
    trunc differ.
    """

    domains = (Interval(-5.8, -5.2), Interval(2.0, 2.5))

    def convert(self, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        """Refuse an integer division by zero."""
        x, y = super().convert(operands)
        wanted = (x if isinstance(x, Tensor) else y).dtype
        if wanted.category <= INTEGER and (bool((y == 0).any()) if isinstance(y, Tensor) else y == 0):
            raise DivisionByZero(
                f"{self.name}: expected divisors other than 0 for integers, got one; use floating tensors"
            )
        return x, y


class Remainder(_Division):
    """Return x - y * floor(x / y), which has the sign of y. The derivative in y is -floor(x / y)."""

    kernel = "remainder"

    def vjp_x(self, xp: Namespace, g: Array) -> Array:
        return g

    def vjp_y(self, xp: Namespace, g: Array, x: Array, y: Array) -> Array:
        return -g * xp.floor(x / y)


class Fmod(_Division):
    """Return x - y * trunc(x / y), which has the sign of x. The derivative in y is -trunc(x / y)."""

    kernel = "fmod"

    def vjp_x(self, xp: Namespace, g: Array) -> Array:
        return g

    def vjp_y(self, xp: Namespace, g: Array, x: Array, y: Array) -> Array:
        return -g * xp.trunc(x / y)


class FloorDivide(_Division):
    """Return floor(x / y). It is not differentiable, as in PyTorch."""

    kernel = "floor_divide"
    differentiable = False


class Frac(Unary):
    """Return x - trunc(x). The derivative is 1 wherever it exists."""

    floating = False
    domains = (Interval(0.1, 0.9),)

    def forward(self, xp: Namespace, x: Array) -> Array:
        return x - xp.trunc(x)

    def vjp(self, xp: Namespace, g: Array) -> Array:
        return g


class Xlogy(Binary):
    """Return x * log(y), which is 0 where x is 0 (NaN where y is NaN). The derivative in x at x = 0, y <= 0 is 0."""

    floating = True
    domains = (MODERATE, Interval(0.1, 20.0))

    def forward(self, xp: Namespace, x: Array, y: Array) -> Array:
        x, y = _filled(xp, x, y), _filled(xp, y, x)
        nothing = xp.logical_and(xp.equal(x, 0), xp.logical_not(xp.isnan(y)))
        return xp.where(nothing, 0.0, x * xp.log(xp.where(nothing, 1.0, y)))

    def vjp_x(self, xp: Namespace, g: Array, x: Array, y: Array) -> Array:
        y = _filled(xp, y, x)
        nothing = xp.logical_and(xp.equal(x, 0), xp.less_equal(y, 0))
        return xp.where(nothing, 0.0, g * xp.log(xp.where(nothing, 1.0, y)))

    def vjp_y(self, xp: Namespace, g: Array, x: Array, y: Array) -> Array:
        return g * x / y


def _filled(xp: Namespace, value: Any, like: Array) -> Array:
    """A number as an array like the other operand, so that no function of it alone falls back to float64."""
    return xp.zeros_like(like) + value if isinstance(value, (int, float, complex)) else value


class _Ternary(Elementwise):
    """Three inputs that broadcast."""

    group = "elementwise"
    inputs = ("x", "y", "z")

    def operands(self, draw: Draw, x: Operand) -> tuple[Any, ...]:
        """Two more, that broadcast with the first."""
        y = draw.operand(tuple(x.shape), self.domains[1], broadcast=True)
        return x, y, draw.operand(tuple(x.shape), self.domains[2])


class Lerp(_Ternary):
    """Return x + weight * (end - x), from x to `end`."""

    inputs = ("x", "end", "weight")
    domains = (MODERATE, MODERATE, UNIT)

    def forward(self, xp: Namespace, x: Array, end: Array, weight: Array) -> Array:
        return x + weight * (end - x)

    def vjp_x(self, xp: Namespace, g: Array, weight: Array) -> Array:
        return g * (1 - weight)

    def vjp_end(self, xp: Namespace, g: Array, weight: Array) -> Array:
        return g * weight

    def vjp_weight(self, xp: Namespace, g: Array, x: Array, end: Array) -> Array:
        return g * (end - x)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """The weight is a number or a tensor."""
        if draw.boolean():
            return Call(
                (x, draw.operand(tuple(x.shape), MODERATE, broadcast=True), draw.choice((0.5, 0.25, 1.5, -1.0)))
            )
        return Call(self.operands(draw, x))


class Addcmul(_Ternary):
    """Return x + value * y * z."""

    domains = (MODERATE, MODERATE, MODERATE)

    def bind(self, x: Shape, y: Shape, z: Shape, *, value: Any = 1) -> dict[str, Any]:
        return {"value": value}

    def forward(self, xp: Namespace, x: Array, y: Array, z: Array, *, value: Any) -> Array:
        return x + (y * z if value == 1 else value * y * z)

    def vjp_x(self, xp: Namespace, g: Array) -> Array:
        return g

    def vjp_y(self, xp: Namespace, g: Array, z: Array, *, value: Any) -> Array:
        return g * z * value

    def vjp_z(self, xp: Namespace, g: Array, y: Array, *, value: Any) -> Array:
        return g * y * value

    def sample(self, draw: Draw, x: Operand) -> Call:
        """With and without `value`."""
        return Call(self.operands(draw, x), draw.choice(({}, {"value": 2.5}, {"value": -1.0})))


class Addcdiv(Addcmul):
    """Return x + value * y / z."""

    floating = True
    domains = (MODERATE, MODERATE, NONZERO)

    def forward(self, xp: Namespace, x: Array, y: Array, z: Array, *, value: Any) -> Array:
        return x + (y / z if value == 1 else value * y / z)

    def vjp_y(self, xp: Namespace, g: Array, z: Array, *, value: Any) -> Array:
        return g * value / z

    def vjp_z(self, xp: Namespace, g: Array, y: Array, z: Array, *, value: Any) -> Array:  # type: ignore[override]
        return -g * value * y / (z * z)


class _Extremum(Binary):
    """Ties share the gradient evenly."""

    floating = False
    scalars = False
    domains = (MODERATE, MODERATE)
    kinks = (Kink("tie", "split"),)
    loses = ""

    def _share(self, xp: Namespace, g: Array, mine: Array, other: Array) -> Array:
        tie = xp.equal(mine, other)
        return xp.where(getattr(xp, self.loses)(mine, other), xp.zeros_like(g), xp.where(tie, g / 2, g))

    def vjp_x(self, xp: Namespace, g: Array, x: Array, y: Array) -> Array:
        return self._share(xp, g, x, y)

    def vjp_y(self, xp: Namespace, g: Array, x: Array, y: Array) -> Array:
        return self._share(xp, g, y, x)


class Maximum(_Extremum):
    """Return the larger of x and y. Gradient at ties: half each."""

    kernel = "maximum"
    loses = "less"
    inplace = False


class Minimum(_Extremum):
    """Return the smaller of x and y. Gradient at ties: half each."""

    kernel = "minimum"
    loses = "greater"
    inplace = False


class Atan2(Binary):
    """Return the angle of the point (y, x), in radians: atan2(x, y) as PyTorch orders them."""

    kernel = "atan2"
    floating = True
    scalars = False
    domains = (Interval(0.2, 20.0), Interval(-20.0, 20.0))
    aliases = ("arctan2",)

    def vjp_x(self, xp: Namespace, g: Array, x: Array, y: Array) -> Array:
        return g * y / (x * x + y * y)

    def vjp_y(self, xp: Namespace, g: Array, x: Array, y: Array) -> Array:
        return -g * x / (x * x + y * y)


class Hypot(Binary):
    """Return sqrt(x**2 + y**2) without overflow; the derivative at the origin is not finite."""

    kernel = "hypot"
    floating = True
    scalars = False
    domains = (NONZERO, MODERATE)

    def vjp_x(self, xp: Namespace, g: Array, x: Array, out: Array) -> Array:
        return g * (x / out)

    def vjp_y(self, xp: Namespace, g: Array, y: Array, out: Array) -> Array:
        return g * (y / out)


class Logaddexp(Binary):
    """Return log(e**x + e**y) without overflow."""

    kernel = "logaddexp"
    floating = True
    scalars = False
    inplace = False
    domains = (MODERATE, MODERATE)

    def vjp_x(self, xp: Namespace, g: Array, x: Array, y: Array) -> Array:
        return g * xp.expit(x - y)

    def vjp_y(self, xp: Namespace, g: Array, x: Array, y: Array) -> Array:
        return g * xp.expit(y - x)


OPS: tuple[Op, ...] = (
    Maximum(), Minimum(), Atan2(), Hypot(), Logaddexp(), Remainder(), Fmod(), FloorDivide(), Frac(), Xlogy(), Lerp(),
    Addcmul(), Addcdiv(),
)  # fmt: skip
