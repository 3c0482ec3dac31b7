"""Comparison, logic, choice by a condition, clamping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from refengine import dtypes, layout
from refengine.backends.base import Array, Namespace
from refengine.errors import ArgumentError, DTypeError, UnsupportedError
from refengine.op import Comparison, Elementwise, Op, Unary
from refengine.operand import promote
from refengine.spec import Call, Draw, Interval, Kink, Operand
from refengine.tensor import Tensor

BOOL = dtypes.bool_.numpy
NONZERO = Interval(avoid=(0.0,))
"""Where the truth of a number does not jump."""


class Eq(Comparison):
    """Return whether x equals y, elementwise; NaN equals nothing."""

    kernel = "equal"


class Ne(Comparison):
    """Return whether x differs from y, elementwise."""

    kernel = "not_equal"
    aliases = ("not_equal",)


class Lt(Comparison):
    """Return x < y, elementwise."""

    kernel = "less"
    aliases = ("less",)


class Le(Comparison):
    """Return x <= y, elementwise."""

    kernel = "less_equal"
    aliases = ("less_equal",)


class Gt(Comparison):
    """Return x > y, elementwise."""

    kernel = "greater"
    aliases = ("greater",)


class Ge(Comparison):
    """Return x >= y, elementwise."""

    kernel = "greater_equal"
    aliases = ("greater_equal",)


class Isclose(Comparison):
    """Return whether |x - y| <= atol + rtol * |y|, elementwise.

    Equal infinities are close, NaN is with `equal_nan` alone.
    """

    def bind(self, x: Any, y: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> dict[str, Any]:
        if rtol < 0 or atol < 0:
            raise ArgumentError(f"isclose: expected tolerances that are not negative, got rtol={rtol}, atol={atol}")
        return {"rtol": rtol, "atol": atol, "equal_nan": equal_nan}

    def forward(self, xp: Namespace, x: Array, y: Array, *, rtol: float, atol: float, equal_nan: bool) -> Array:
        finite = xp.logical_and(xp.isfinite(x), xp.isfinite(y))
        gap = xp.abs(xp.where(finite, x, 0) - xp.where(finite, y, 0))
        near = xp.less_equal(gap, atol + rtol * xp.abs(xp.where(finite, y, 0)))
        result = xp.logical_or(xp.equal(x, y), xp.logical_and(finite, near))
        return xp.logical_or(result, xp.logical_and(xp.isnan(x), xp.isnan(y))) if equal_nan else result

    def sample(self, draw: Draw, x: Operand) -> Call:
        """With the default tolerances and others, which no difference of short decimals meets exactly."""
        y = draw.operand(tuple(x.shape), broadcast=True)
        kind = draw.choice(("default", "both", "absolute"))
        if kind == "default":
            return Call((x, y))
        return Call((x, y), {"rtol": 0.1037 if kind == "both" else 0.0, "atol": draw.choice((0.5037, 2.0037))})


class Predicate(Unary):
    """An elementwise question about one tensor; the answer is bool."""

    group = "comparison"
    boolean = True
    inplace = False
    floating = False


class Isnan(Predicate):
    """Return whether x is NaN, elementwise."""

    kernel = "isnan"


class Isinf(Predicate):
    """Return whether x is infinite, elementwise."""

    kernel = "isinf"


class Isfinite(Predicate):
    """Return whether x is neither infinite nor NaN, elementwise."""

    kernel = "isfinite"


class LogicalNot(Predicate):
    """Return whether x is zero, elementwise."""

    kernel = "logical_not"
    domains = (NONZERO,)

    def forward(self, xp: Namespace, x: Array) -> Array:
        return xp.logical_not(_truth(xp, x))


class _Logical(Comparison):
    """A connective of two tensors, read as the truth of being different from zero."""

    scalars = False
    domains = (NONZERO,)

    def forward(self, xp: Namespace, x: Array, y: Array) -> Array:
        return getattr(xp, self.kernel)(_truth(xp, x), _truth(xp, y))


class LogicalAnd(_Logical):
    """Return whether x and y are both different from zero, elementwise."""

    kernel = "logical_and"


class LogicalOr(_Logical):
    """Return whether x or y is different from zero, elementwise."""

    kernel = "logical_or"


class LogicalXor(_Logical):
    """Return whether exactly one of x and y is different from zero, elementwise."""

    kernel = "logical_xor"


def _truth(xp: Namespace, x: Array) -> Array:
    """Whether the entries are different from zero: the standard's connectives take bools alone."""
    return x if getattr(x, "dtype", None) == BOOL else xp.not_equal(x, 0)


class Bitwise(Elementwise):
    """An operation on the bits of integers, or on bools; programs of real numbers do not draw it."""

    group = "comparison"
    inputs: ClassVar[tuple[str, ...]] = ("x", "y")
    differentiable = False

    def convert(self, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        """Integers and bools only."""
        result = promote(self, operands)
        if any(o.dtype.is_differentiable if isinstance(o, Tensor) else isinstance(o, (float, complex)) for o in result):
            raise UnsupportedError(
                f"{self.name}: expected integers or bools, got {', '.join(_kind(o) for o in operands)}"
            )
        return result

    def accepts(self, shape: Any) -> bool:
        """No real operand will do."""
        return False


def _kind(value: Any) -> str:
    return value.dtype.name if isinstance(value, Tensor) else type(value).__name__


class BitwiseAnd(Bitwise):
    """Return x & y."""

    kernel = "bitwise_and"


class BitwiseOr(Bitwise):
    """Return x | y."""

    kernel = "bitwise_or"


class BitwiseXor(Bitwise):
    """Return x ^ y."""

    kernel = "bitwise_xor"


class BitwiseNot(Bitwise):
    """Return ~x: the complement of integers, the negation of bools."""

    inputs = ("x",)
    kernel = "bitwise_not"


class Where(Elementwise):
    """Return x where the condition holds, else y; all three broadcast. The value not chosen gets gradient 0.

    Raises
    ------
    DTypeError
        If the condition is not bool.
    """

    group = "comparison"
    form = "function"
    inputs = ("condition", "x", "y")
    constants = ("condition",)
    inplace = False

    def convert(self, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        """A bool condition; x and y are promoted."""
        condition = operands[0]
        if not isinstance(condition, Tensor) or condition.dtype is not dtypes.bool_:
            raise DTypeError(
                f"where: expected condition to be a bool tensor, got {_kind(condition)}; compare with != 0"
            )
        return promote(self, operands)

    def forward(self, xp: Namespace, condition: Array, x: Array, y: Array) -> Array:
        return xp.where(condition, x, y)

    def vjp_x(self, xp: Namespace, g: Array, condition: Array) -> Array:
        return xp.where(condition, g, xp.zeros_like(g))

    def vjp_y(self, xp: Namespace, g: Array, condition: Array) -> Array:
        return xp.where(condition, xp.zeros_like(g), g)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """X on either side; the other a tensor that broadcasts, x itself, or a number."""
        kind = draw.choice(("tensor", "number", "same"))
        shape = tuple(x.shape)
        other = (
            x if kind == "same" else (draw.real(-2.0, 2.0) if kind == "number" else draw.operand(shape, broadcast=True))
        )
        condition = draw.mask(shape if kind != "tensor" or draw.integer(0, 3) < 3 else shape[1:])
        return Call((condition, other, x) if draw.boolean() else (condition, x, other))


class Clamp(Elementwise):
    """Return x, but at least `min` and at most `max`; either may be None, a number, or a tensor that broadcasts.

    The gradient flows to x where min <= x <= max, ends included, else to the bound that holds. Where min > max the
    result is max.

    Raises
    ------
    ArgumentError
        If both bounds are None.
    """

    group = "comparison"
    inputs = ("x", "low", "high")
    domains = (Interval(-20.0, 20.0, avoid=(-1.0, 1.0)), Interval(-1.5, 0.25), Interval(0.5, 1.5))
    kinks: ClassVar[tuple[Kink, ...]] = (Kink(-1.0, 1.0), Kink(1.0, 1.0), Kink("tie", 1.0))
    aliases: ClassVar[tuple[str, ...]] = ("clip",)
    bounds: ClassVar[tuple[str, ...]] = ("min", "max")

    def prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
        """Bounds that are not given are None."""
        given = dict(zip(self.bounds, args[1:], strict=False))
        if len(args) - 1 > len(given) or not kwargs.keys() <= set(self.bounds) - given.keys():
            raise ArgumentError(
                f"{self.name}: expected at most {' and '.join(self.bounds)}, got {args[1:]} and {kwargs}"
            )
        given.update(kwargs)
        low, high = given.get("min"), given.get("max")
        if low is None and high is None:
            raise ArgumentError(f"{self.name}: at least one of {' and '.join(self.bounds)} must not be None")
        return super().prepare((args[0], low, high), {})

    def convert(self, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        """Promote what is there."""
        x = operands[0]
        promoted = promote(self, tuple(x if o is None else o for o in operands))
        return tuple(None if o is None else p for o, p in zip(operands, promoted, strict=True))

    def forward(self, xp: Namespace, x: Array, low: Array, high: Array) -> Array:
        result = x if low is None else xp.maximum(x, low)
        return result if high is None else xp.minimum(result, high)

    def vjp_x(self, xp: Namespace, g: Array, x: Array, low: Array, high: Array) -> Array:
        inside = _inside(xp, x, low, high)
        return xp.where(inside, g, xp.zeros_like(g))

    def vjp_low(self, xp: Namespace, g: Array, x: Array, low: Array, high: Array) -> Array:
        held = xp.less(x, low)
        if high is not None:
            held = xp.logical_and(held, xp.less(low, high))
        return xp.where(held, g, xp.zeros_like(g))

    def vjp_high(self, xp: Namespace, g: Array, x: Array, low: Array, high: Array) -> Array:
        held = xp.greater(x, high)
        if low is not None:
            held = xp.logical_or(held, xp.less(high, low))
        return xp.where(held, g, xp.zeros_like(g))

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Numbers or tensors, one bound or both."""
        which = draw.choice((("min", "max"), ("min",), ("max",)))
        if draw.integer(0, 3) == 3:
            shape, bounds = tuple(x.shape), {}
            for name in which:
                bounds[name] = bound = draw.operand(shape, self._domain(name), broadcast=True)
                shape = layout.broadcast(shape, tuple(bound.shape))
            return Call((x,), bounds)
        return Call((x,), {name: {"min": -1.0, "max": 1.0}[name] for name in which})

    def _domain(self, bound: str) -> Interval:
        return Clamp.domains[1 if bound == "min" else 2]


def _inside(xp: Namespace, x: Array, low: Array, high: Array) -> Array:
    """Whether neither bound holds; the ends are inside."""
    if low is None:
        return xp.less_equal(x, high)
    above = xp.greater_equal(x, low)
    return above if high is None else xp.logical_and(above, xp.less_equal(x, high))


class ClampMin(Clamp):
    """Return x, but at least `min`. The gradient at a tie flows to x."""

    aliases = ()
    bounds = ("min",)
    kinks = (Kink(-1.0, 1.0), Kink("tie", 1.0))

    def sample(self, draw: Draw, x: Operand) -> Call:
        """A number or a tensor."""
        if draw.integer(0, 3) == 3:
            return Call((x, draw.operand(tuple(x.shape), self._domain("min"), broadcast=True)))
        return Call((x, -1.0))


class ClampMax(Clamp):
    """Return x, but at most `max`. The gradient at a tie flows to x."""

    aliases = ()
    bounds = ("max",)
    kinks = (Kink(1.0, 1.0), Kink("tie", 1.0))

    def sample(self, draw: Draw, x: Operand) -> Call:
        """A number or a tensor."""
        if draw.integer(0, 3) == 3:
            return Call((x, draw.operand(tuple(x.shape), self._domain("max"), broadcast=True)))
        return Call((x, 1.0))


def equal(x: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and the same values; NaN equals nothing."""
    return x.shape == other.shape and bool(x.backend.xp.all(EQ(x, other).array))


def allclose(x: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether every entry is close, as `isclose` says."""
    return bool(x.backend.xp.all(ISCLOSE(x, other, rtol, atol, equal_nan).array))


EQ, ISCLOSE = Eq(), Isclose()

OPS: tuple[Op, ...] = (
    EQ, Ne(), Lt(), Le(), Gt(), Ge(), ISCLOSE, Isnan(), Isinf(), Isfinite(),
    LogicalNot(), LogicalAnd(), LogicalOr(), LogicalXor(),
    BitwiseAnd(), BitwiseOr(), BitwiseXor(), BitwiseNot(), Where(), Clamp(), ClampMin(), ClampMax(),
)  # fmt: skip

FUNCTIONS: dict[str, Callable[..., Any]] = {"equal": equal, "allclose": allclose}
"""Methods and functions that return a Python bool."""
