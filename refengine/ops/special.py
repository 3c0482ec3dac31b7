"""Special functions of one variable."""

from __future__ import annotations

import math

from refengine.backends.base import Array, Namespace
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
    """Return the derivative of digamma; not differentiable further."""

    name = "_trigamma"
    kernel = "trigamma"
    group = ""
    inplace = False
    differentiable = False


OPS: tuple[Op, ...] = (Erf(), Erfc(), Lgamma(), Digamma(), Trigamma())
