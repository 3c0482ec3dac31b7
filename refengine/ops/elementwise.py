"""Elementwise arithmetic, powers, exponentials and trigonometric functions."""

from __future__ import annotations

import cmath
import math
from typing import Any

from refengine.backends.base import Array, Namespace
from refengine.dtypes import bool_, int64
from refengine.layout import Shape
from refengine.op import Binary, Op, Unary
from refengine.spec import Call, Draw, Interval, Kink, Operand

MODERATE = Interval(-50.0, 50.0)
POSITIVE = Interval(0.1, 50.0)
NONZERO = Interval(-20.0, 20.0, avoid=(0.0,), margin=0.1)
LN2, LN10 = math.log(2.0), math.log(10.0)


class Neg(Unary):
    """Return -x."""

    kernel = "negative"
    floating = False
    aliases = ("negative",)

    def vjp(self, xp: Namespace, g: Array) -> Array:
        return -g


class Abs(Unary):
    """Return |x|; the derivative at 0 is 0. For complex x the result is real."""

    kernel = "abs"
    floating = False
    holomorphic = False
    domains = (Interval(-50.0, 50.0, avoid=(0.0,)),)
    kinks = (Kink(0.0),)
    aliases = ("absolute",)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return g * xp.sign(x)


class Sign(Unary):
    """Return the sign of x, 0 at 0. The derivative is 0 everywhere."""

    kernel = "sign"
    floating = False
    domains = (Interval(-50.0, 50.0, avoid=(0.0,)),)

    def vjp(self, xp: Namespace, g: Array) -> Array:
        return xp.zeros_like(g)


class Exp(Unary):
    """Return e**x."""

    kernel = "exp"
    domains = (Interval(-5.0, 4.0),)

    def vjp(self, xp: Namespace, g: Array, out: Array) -> Array:
        return g * out


class Expm1(Unary):
    """Return e**x - 1, accurate near 0."""

    kernel = "expm1"
    domains = (Interval(-5.0, 4.0),)

    def vjp(self, xp: Namespace, g: Array, out: Array) -> Array:
        return g * (out + 1)


class Log(Unary):
    """Return the natural logarithm."""

    kernel = "log"
    domains = (POSITIVE,)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return g / x


class Log1p(Unary):
    """Return log(1 + x), accurate near 0."""

    kernel = "log1p"
    domains = (Interval(-0.9, 50.0),)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return g / (x + 1)


class Log2(Unary):
    """Return the logarithm to base 2."""

    kernel = "log2"
    domains = (POSITIVE,)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return g / (x * LN2)


class Log10(Unary):
    """Return the logarithm to base 10."""

    kernel = "log10"
    domains = (POSITIVE,)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return g / (x * LN10)


class Sqrt(Unary):
    """Return the square root; the derivative at 0 is infinite."""

    kernel = "sqrt"
    domains = (POSITIVE,)

    def vjp(self, xp: Namespace, g: Array, out: Array) -> Array:
        return g / (2 * out)


class Rsqrt(Unary):
    """Return 1 / sqrt(x)."""

    domains = (POSITIVE,)

    def forward(self, xp: Namespace, x: Array) -> Array:
        return 1 / xp.sqrt(x)

    def vjp(self, xp: Namespace, g: Array, out: Array) -> Array:
        return g * (out * out * out) * -0.5


class Square(Unary):
    """Return x * x."""

    kernel = "square"
    floating = False
    domains = (Interval(-20.0, 20.0),)

    def convert(self, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        """Bools count as integers."""
        (x,) = super().convert(operands)
        return (x.to(int64) if x.dtype is bool_ else x,)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return g * (2 * x)


class Reciprocal(Unary):
    """Return 1 / x."""

    domains = (NONZERO,)

    def forward(self, xp: Namespace, x: Array) -> Array:
        return 1 / x

    def vjp(self, xp: Namespace, g: Array, out: Array) -> Array:
        return -g * (out * out)


class Sin(Unary):
    """Return the sine of x in radians."""

    kernel = "sin"
    domains = (MODERATE,)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return g * xp.cos(x)


class Cos(Unary):
    """Return the cosine of x in radians."""

    kernel = "cos"
    domains = (MODERATE,)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return -g * xp.sin(x)


class Tan(Unary):
    """Return the tangent of x in radians."""

    kernel = "tan"
    domains = (Interval(-1.3, 1.3),)

    def vjp(self, xp: Namespace, g: Array, out: Array) -> Array:
        return g * (out * out + 1)


class Asin(Unary):
    """Return the inverse sine."""

    kernel = "asin"
    domains = (Interval(-0.9, 0.9),)
    aliases = ("arcsin",)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return g / xp.sqrt(1 - x * x)


class Acos(Unary):
    """Return the inverse cosine."""

    kernel = "acos"
    domains = (Interval(-0.9, 0.9),)
    aliases = ("arccos",)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return -g / xp.sqrt(1 - x * x)


class Atan(Unary):
    """Return the inverse tangent."""

    kernel = "atan"
    domains = (MODERATE,)
    aliases = ("arctan",)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return g / (x * x + 1)


class Sinh(Unary):
    """Return the hyperbolic sine."""

    kernel = "sinh"
    domains = (Interval(-4.0, 4.0),)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return g * xp.cosh(x)


class Cosh(Unary):
    """Return the hyperbolic cosine."""

    kernel = "cosh"
    domains = (Interval(-4.0, 4.0),)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return g * xp.sinh(x)


class Tanh(Unary):
    """Return the hyperbolic tangent."""

    kernel = "tanh"
    domains = (Interval(-6.0, 6.0),)

    def vjp(self, xp: Namespace, g: Array, out: Array) -> Array:
        return g * (1 - out * out)


class Asinh(Unary):
    """Return the inverse hyperbolic sine."""

    kernel = "asinh"
    inplace = False  # PyTorch's in-place form has no derivative
    domains = (MODERATE,)
    aliases = ("arcsinh",)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return g / xp.sqrt(x * x + 1)


class Acosh(Unary):
    """Return the inverse hyperbolic cosine."""

    kernel = "acosh"
    inplace = False  # PyTorch's in-place form has no derivative
    domains = (Interval(1.2, 50.0),)
    aliases = ("arccosh",)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return g / (xp.sqrt(x - 1) * xp.sqrt(x + 1))


class Atanh(Unary):
    """Return the inverse hyperbolic tangent."""

    kernel = "atanh"
    inplace = False  # PyTorch's in-place form has no derivative
    domains = (Interval(-0.9, 0.9),)
    aliases = ("arctanh",)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return g / (1 - x * x)


class _Step(Unary):
    """Rounds; the derivative is 0 wherever it exists."""

    floating = False
    domains = (Interval(0.1, 0.4),)

    def vjp(self, xp: Namespace, g: Array) -> Array:
        return xp.zeros_like(g)


class Floor(_Step):
    """Return the largest integer not above x."""

    kernel = "floor"


class Ceil(_Step):
    """Return the smallest integer not below x."""

    kernel = "ceil"


class Round(_Step):
    """Return the nearest integer, halves to even."""

    kernel = "round"


class Trunc(_Step):
    """Return x without its fractional part."""

    kernel = "trunc"


class Add(Binary):
    """Return x + alpha * y."""

    kernel = "add"
    domains = (MODERATE, MODERATE)
    structure = "linear"

    def bind(self, x: Shape, y: Shape, *, alpha: Any = 1) -> dict[str, Any]:
        return {} if alpha == 1 and not isinstance(alpha, bool) else {"alpha": alpha}

    def forward(self, xp: Namespace, x: Array, y: Array, *, alpha: Any = 1) -> Array:
        return xp.add(x, y) if alpha == 1 else x + alpha * y

    def vjp_x(self, xp: Namespace, g: Array) -> Array:
        return g

    def vjp_y(self, xp: Namespace, g: Array, *, alpha: Any = 1) -> Array:
        return g if alpha == 1 else g * alpha

    def sample(self, draw: Draw, x: Operand) -> Call:
        """With `alpha` at times."""
        call = super().sample(draw, x)
        return Call(call.args, {"alpha": draw.choice((2, -1.5, 0))}) if draw.integer(0, 7) == 7 else call


class Sub(Add):
    """Return x - alpha * y."""

    kernel = "subtract"
    aliases = ("subtract",)

    def forward(self, xp: Namespace, x: Array, y: Array, *, alpha: Any = 1) -> Array:
        return xp.subtract(x, y) if alpha == 1 else x - alpha * y

    def vjp_y(self, xp: Namespace, g: Array, *, alpha: Any = 1) -> Array:
        return -g if alpha == 1 else g * -alpha


class Mul(Binary):
    """Return x * y."""

    kernel = "multiply"
    domains = (Interval(-20.0, 20.0), Interval(-20.0, 20.0))
    aliases = ("multiply",)

    def vjp_x(self, xp: Namespace, g: Array, y: Array) -> Array:
        return g * y

    def vjp_y(self, xp: Namespace, g: Array, x: Array) -> Array:
        return g * x


class Div(Binary):
    """Return x / y; a floating result for integers too."""

    kernel = "divide"
    floating = True
    domains = (MODERATE, NONZERO)
    aliases = ("divide", "true_divide")

    def vjp_x(self, xp: Namespace, g: Array, y: Array) -> Array:
        return g / y

    def vjp_y(self, xp: Namespace, g: Array, x: Array, y: Array) -> Array:
        return -g * (x / y / y)


class Pow(Binary):
    """Return x ** y. The derivative in y at x = 0 is 0 where y >= 0; 0 ** 0 is 1 with derivative 0 in x."""

    kernel = "pow"
    domains = (Interval(0.1, 5.0), Interval(-3.0, 3.0))

    def vjp_x(self, xp: Namespace, g: Array, x: Array, y: Array) -> Array:
        if isinstance(y, (int, float, complex)):
            return xp.zeros_like(g) if y == 0 else g * (y * xp.pow(x, y - 1))
        origin = xp.logical_and(xp.equal(x, 0), xp.equal(y, 0))
        return g * (y * xp.pow(x, xp.where(origin, 1.0, y - 1)))

    def vjp_y(self, xp: Namespace, g: Array, out: Array, x: Array, y: Array) -> Array:
        if isinstance(x, (int, float, complex)):
            return xp.zeros_like(g) if x == 0 else g * out * _log_of_number(x)
        flat = xp.logical_and(xp.equal(x, 0), xp.greater_equal(y, 0))
        return xp.where(flat, 0.0, g * out * xp.log(xp.where(flat, 1.0, x)))

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Small integer and half-integer exponents, or a tensor."""
        if draw.boolean():
            return Call((x, draw.operand(x.shape, self.domains[1], broadcast=True)))
        return Call((x, draw.choice((2, 3, 0.5, -1, 1, 0, 2.5, -2))))


def _log_of_number(x: Any) -> Any:
    """The logarithm of a Python number: NaN below 0 for a real one, -inf at 0."""
    if isinstance(x, complex):
        return cmath.log(x)
    return math.log(x) if x > 0 else (-math.inf if x == 0 else math.nan)


OPS: tuple[Op, ...] = (
    Neg(), Abs(), Sign(), Exp(), Expm1(), Log(), Log1p(), Log2(), Log10(), Sqrt(), Rsqrt(), Square(), Reciprocal(),
    Sin(), Cos(), Tan(), Asin(), Acos(), Atan(), Sinh(), Cosh(), Tanh(), Asinh(), Acosh(), Atanh(),
    Floor(), Ceil(), Round(), Trunc(),
    Add(), Sub(), Mul(), Div(), Pow(),
)  # fmt: skip
