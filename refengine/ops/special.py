"""Special functions of one variable."""

from __future__ import annotations

import math
from typing import Any

from refengine.backends.base import Array, Namespace
from refengine.layout import Shape
from refengine.op import Op, Unary
from refengine.spec import Interval

TWO_OVER_SQRT_PI = 2.0 / math.sqrt(math.pi)


class Erf(Unary):
    """Return the error function."""

    kernel = "erf"
    domains = (Interval(-3.0, 3.0),)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return g * xp.exp(-(x * x)) * TWO_OVER_SQRT_PI


class Erfc(Unary):
    """Return 1 - erf(x), accurate for large x."""

    kernel = "erfc"
    domains = (Interval(-3.0, 3.0),)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return g * xp.exp(-(x * x)) * -TWO_OVER_SQRT_PI


class Lgamma(Unary):
    """Return log|Gamma(x)|."""

    kernel = "lgamma"
    domains = (Interval(0.3, 20.0),)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return g * xp.digamma(x)


class Digamma(Unary):
    """Return the derivative of lgamma."""

    kernel = "digamma"
    domains = (Interval(0.3, 20.0),)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return g * xp.trigamma(x)


class Trigamma(Unary):
    """Return the derivative of digamma."""

    name = "_trigamma"
    kernel = "trigamma"
    group = ""
    inplace = False

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return g * xp.polygamma(x, order=2)


class Polygamma(Unary):
    """Return a derivative of digamma, for x > 0."""

    name = "_polygamma"
    group = ""
    inplace = False

    def bind(self, shape: Shape, order: int) -> dict[str, Any]:
        return {"order": order}

    def forward(self, xp: Namespace, x: Array, *, order: int) -> Array:
        return xp.polygamma(x, order=order)

    def vjp(self, xp: Namespace, g: Array, x: Array, *, order: int) -> Array:
        return g * xp.polygamma(x, order=order + 1)


OPS: tuple[Op, ...] = (Erf(), Erfc(), Lgamma(), Digamma(), Trigamma(), Polygamma())
