"""Directional derivatives of a graph to fifty digits: dual numbers over mpmath, one-sided where an op has a kink.

A value is a pair of object arrays, the numbers and their tangents. Each rule takes pairs and returns one. Rules are
written so that nothing cancels in them (tanh' is sech squared), so that what saturates keeps its digits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import numpy as np

DIGITS = 50

Numbers = np.ndarray  # of mpf
Pair = tuple[Numbers, Numbers]
Rule = Callable[..., Pair]

mp = mpmath.mp


def numbers(values: Any) -> Numbers:
    """A float array as exact numbers."""
    return _each(mpmath.mpf, np.asarray(values, dtype=np.float64).astype(object))


def _each(function: Callable[..., Any], *arrays: Any) -> Numbers:
    found = np.frompyfunc(function, len(arrays), 1)(*arrays)
    return boxed(found)


def boxed(value: Any) -> Numbers:
    """An object array: NumPy takes a number out of one without axes."""
    if isinstance(value, np.ndarray):
        return value
    box = np.empty((), dtype=object)
    box[()] = value
    return box


def _smooth(function: Callable[[Any], Any], slope: Callable[[Any], Any]) -> Rule:
    """An elementwise op with a derivative."""

    def rule(x: Pair) -> Pair:
        return _each(function, x[0]), _each(lambda v, t: t * slope(v) if t else mpmath.mpf(0), *x)

    return rule


def _over(numerator: Any, denominator: Any) -> Any:
    """A quotient that is infinite at a pole."""
    return numerator / denominator if denominator else mpmath.inf


def _partial(function: Callable[..., Any], first: Callable[..., Any], second: Callable[..., Any]) -> Rule:
    """An elementwise op of two operands with its partial derivatives."""

    def tangent(x: Any, t: Any, y: Any, s: Any) -> Any:
        return (t * first(x, y) if t else 0) + (s * second(x, y) if s else mpmath.mpf(0))

    return lambda x, y: (_each(function, x[0], y[0]), _each(tangent, *x, *y))


def _bent(below: Callable[[Any], Any], above: Callable[[Any], Any], at: Any = 0) -> Callable[[Any, Any], Any]:
    """The tangent through a kink: the slope on the side that the tangent points to."""
    return lambda x, t: t * (above(x) if x > at or (x == at and t > 0) else below(x))


def _piecewise(value: Callable[..., Any], tangent: Callable[..., Any]) -> Rule:
    """An elementwise op with kinks; `value(x, constant)`, `tangent(x, t, constant)`."""

    def rule(x: Pair, constant: Any = None) -> Pair:
        return _each(lambda v: value(v, constant), x[0]), _each(lambda v, t: tangent(v, t, constant), *x)

    return rule


def _clamp(x: Any, t: Any, ends: Sequence[float]) -> Any:
    low, high = ends
    inside = low < x < high or (x == low and t > 0) or (x == high and t < 0)
    return t if inside else mpmath.mpf(0)


def _larger(sign: int) -> Rule:
    """Maximum (1) or minimum (-1); at a tie the side that the tangents choose."""

    def tangent(x: Any, t: Any, y: Any, s: Any) -> Any:
        if x == y:
            return max(t * sign, s * sign) * sign
        return t if (x - y) * sign > 0 else s

    pick = max if sign > 0 else min
    return lambda x, y: (_each(pick, x[0], y[0]), _each(tangent, *x, *y))


def _largest(sign: int) -> Rule:
    """Amax (1) or amin (-1)."""

    def rule(x: Pair) -> Pair:
        top = max(v * sign for v in x[0].flat)
        tangent = max(t * sign for v, t in zip(x[0].flat, x[1].flat, strict=True) if v * sign == top)
        return boxed(top * sign), boxed(tangent * sign)

    return rule


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x)) if x > 0 else mpmath.exp(x) / (1 + mpmath.exp(x))


def _bell(x: Any) -> Any:
    return 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-x * x)


def _shares(x: Numbers) -> Numbers:
    e = _each(mpmath.exp, x - max(x.flat))
    return e / e.sum()


def _softmax(x: Pair) -> Pair:
    # p_i (t_i - sum p_j t_j) without the cancellation, since the p_j sum to one.
    p = _shares(x[0])
    return p, p * _centred(p, x[1])


def _centred(p: Numbers, t: Numbers) -> Numbers:
    return np.array([(p * (own - t)).sum() for own in t], dtype=object)


def _log_sum(x: Numbers) -> Any:
    top = max(x.flat)
    return top + mpmath.log(sum(mpmath.exp(v - top) for v in x.flat))


def _log_add(x: Any, y: Any) -> Any:
    return max(x, y) + mpmath.log1p(mpmath.exp(-abs(x - y)))


def _norm(x: Pair) -> Pair:
    size = mpmath.sqrt((x[0] * x[0]).sum())
    return boxed(size), boxed((x[0] * x[1]).sum() / size if size else mpmath.sqrt((x[1] * x[1]).sum()))


def _power(x: Pair, exponent: float) -> Pair:
    p = mpmath.mpf(exponent)

    def slope(v: Any) -> Any:
        return p * v ** (p - 1) if v or p >= 1 else mpmath.inf

    return _smooth(lambda v: v**p, slope)(x)


def _total(x: Numbers) -> Numbers:
    return boxed(x.sum())


def _both(function: Callable[[Numbers], Numbers]) -> Rule:
    """A linear op."""
    return lambda x: (function(x[0]), function(x[1]))


def _zero(_: Any) -> Any:
    return mpmath.mpf(0)


def _one(_: Any) -> Any:
    return mpmath.mpf(1)


RULES: dict[str, Rule] = {
    "sin": _smooth(mpmath.sin, mpmath.cos),
    "cos": _smooth(mpmath.cos, lambda x: -mpmath.sin(x)),
    "tanh": _smooth(mpmath.tanh, lambda x: mpmath.sech(x) ** 2),
    "exp": _smooth(mpmath.exp, mpmath.exp),
    "expm1": _smooth(mpmath.expm1, mpmath.exp),
    "sinh": _smooth(mpmath.sinh, mpmath.cosh),
    "cosh": _smooth(mpmath.cosh, mpmath.sinh),
    "log": _smooth(mpmath.log, lambda x: _over(1, x)),
    "log1p": _smooth(mpmath.log1p, lambda x: _over(1, 1 + x)),
    "sqrt": _smooth(mpmath.sqrt, lambda x: _over(1, 2 * mpmath.sqrt(x))),
    "square": _smooth(lambda x: x * x, lambda x: 2 * x),
    "reciprocal": _smooth(lambda x: 1 / x, lambda x: -1 / (x * x)),
    "asin": _smooth(mpmath.asin, lambda x: _over(1, mpmath.sqrt((1 - x) * (1 + x)))),
    "acos": _smooth(mpmath.acos, lambda x: -_over(1, mpmath.sqrt((1 - x) * (1 + x)))),
    "atan": _smooth(mpmath.atan, lambda x: 1 / (1 + x * x)),
    "asinh": _smooth(mpmath.asinh, lambda x: 1 / mpmath.sqrt(1 + x * x)),
    "acosh": _smooth(mpmath.acosh, lambda x: _over(1, mpmath.sqrt((x - 1) * (x + 1)))),
    "atanh": _smooth(mpmath.atanh, lambda x: _over(1, (1 - x) * (1 + x))),
    "sigmoid": _smooth(_sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x)),
    "logsigmoid": _smooth(lambda x: -_log_add(mpmath.mpf(0), -x), lambda x: _sigmoid(-x)),
    "erf": _smooth(mpmath.erf, _bell),
    "erfc": _smooth(mpmath.erfc, lambda x: -_bell(x)),
    "lgamma": _smooth(mpmath.loggamma, lambda x: mpmath.psi(0, x)),
    "abs": _piecewise(lambda x, _: abs(x), lambda x, t, _: _bent(lambda x: mpmath.mpf(-1), _one)(x, t)),
    "relu": _piecewise(lambda x, _: max(x, mpmath.mpf(0)), lambda x, t, _: _bent(_zero, _one)(x, t)),
    "leaky_relu": _piecewise(
        lambda x, c: x if x > 0 else x * c, lambda x, t, c: _bent(lambda x: mpmath.mpf(c), _one)(x, t)
    ),
    "elu": _piecewise(
        lambda x, c: x if x > 0 else c * mpmath.expm1(x), lambda x, t, c: _bent(lambda x: c * mpmath.exp(x), _one)(x, t)
    ),
    "clamp": _piecewise(lambda x, c: min(max(x, mpmath.mpf(c[0])), mpmath.mpf(c[1])), _clamp),
    "maximum": _larger(1),
    "minimum": _larger(-1),
    "amax": _largest(1),
    "amin": _largest(-1),
    "norm": _norm,
    "add": _partial(lambda x, y: x + y, lambda x, y: 1, lambda x, y: 1),
    "sub": _partial(lambda x, y: x - y, lambda x, y: 1, lambda x, y: -1),
    "mul": _partial(lambda x, y: x * y, lambda x, y: y, lambda x, y: x),
    "div": _partial(lambda x, y: x / y, lambda x, y: 1 / y, lambda x, y: -x / (y * y)),
    "pow": _partial(lambda x, y: x**y, lambda x, y: y * x ** (y - 1), lambda x, y: x**y * mpmath.log(x)),
    "atan2": _partial(
        lambda y, x: mpmath.atan2(y, x), lambda y, x: x / (x * x + y * y), lambda y, x: -y / (x * x + y * y)
    ),
    "hypot": _partial(mpmath.hypot, lambda x, y: x / mpmath.hypot(x, y), lambda x, y: y / mpmath.hypot(x, y)),
    "xlogy": _partial(
        lambda x, y: x * mpmath.log(y) if x else mpmath.mpf(0), lambda x, y: mpmath.log(y), lambda x, y: x / y
    ),
    "logaddexp": _partial(_log_add, lambda x, y: _sigmoid(x - y), lambda x, y: _sigmoid(y - x)),
    "scale": lambda x, c: (x[0] * numbers(c), x[1] * numbers(c)),
    "shift": lambda x, c: (x[0] + numbers(c), x[1] + numbers(np.zeros_like(c))),
    "power": _power,
    "matvec": lambda x, c: (numbers(c) @ x[0], numbers(c) @ x[1]),
    "sum": _both(_total),
    "mean": _both(lambda x: boxed(x.sum() / x.size)),
    "cumsum": _both(lambda x: np.cumsum(x)),
    "softmax": _softmax,
    "log_softmax": lambda x: (x[0] - _log_sum(x[0]), _centred(_shares(x[0]), x[1])),
    "logsumexp": lambda x: (boxed(_log_sum(x[0])), boxed((_shares(x[0]) * x[1]).sum())),
}
