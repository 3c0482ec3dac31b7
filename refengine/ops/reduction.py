"""Reductions over axes: sums and products, moments, norms, truth, and running sums and products."""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

from refengine import layout
from refengine.backends.base import Array, Namespace
from refengine.dtypes import INTEGER, int64
from refengine.errors import ArgumentError, DimensionError, DTypeError
from refengine.layout import Shape
from refengine.op import Composite, Op, Reduction, Single, reduced
from refengine.operand import as_operand
from refengine.spec import Call, Draw, Interval, Kink, Operand
from refengine.tensor import Tensor

MODERATE = Interval(-20.0, 20.0)
SMALL = Interval(-3.0, 3.0)
NONZERO = Interval(avoid=(0.0,))
"""Where the truth of a number does not jump."""
VarAndMean = namedtuple("VarAndMean", ("var", "mean"))


def count_of(kept: Shape, shape: Shape) -> int:
    """How many entries each result is made of."""
    return math.prod(size for size, left in zip(shape, kept, strict=True) if left != size)


def _as_int64(operands: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    """Integer and bool operands as int64: PyTorch sums in no smaller type."""
    x = as_operand(operands[0], name)
    return (x.to(int64),) if x.dtype.category <= INTEGER and x.dtype is not int64 else (x,)


def _as_floating(operands: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    """Operands, refused where they are integers."""
    x = as_operand(operands[0], name)
    if x.dtype.category <= INTEGER:
        raise DTypeError(
            f"{name}: expected a floating or complex tensor, got dtype={x.dtype.name}; convert it with to(...) first"
        )
    return (x,)


class _Cast(Op):
    """Takes ``dtype=``: the input is cast before it is reduced. `bind` names it for those who read signatures."""

    def prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Cast first."""
        dtype = kwargs.pop("dtype", None)
        return super().prepare(args if dtype is None else (args[0].to(dtype), *args[1:]), kwargs)


class _Typed(_Cast):
    """Integers and bools are reduced as int64."""

    def convert(self, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        """No integer smaller than int64."""
        return _as_int64(operands, self.name)


class _Floating(Op):
    """Refuses integers, as PyTorch does."""

    def convert(self, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        """No integers."""
        return _as_floating(operands, self.name)


class Sum(_Typed, Reduction):
    """Return the sum over axes; integers and bools give int64."""

    def bind(self, shape: Shape, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> dict[str, Any]:
        return super().bind(shape, dim, keepdim)

    def forward(self, xp: Namespace, x: Array, *, axis: Any, keepdims: bool) -> Array:
        return xp.sum(x, axis=axis, keepdims=keepdims)

    def vjp(self, xp: Namespace, g: Array) -> Array:
        return g


class Nansum(Sum):
    """Return the sum over axes of what is not NaN; the derivative at a NaN is 0."""

    domains = (MODERATE,)

    def forward(self, xp: Namespace, x: Array, *, axis: Any, keepdims: bool) -> Array:
        return xp.sum(xp.where(xp.isnan(x), xp.zeros_like(x), x), axis=axis, keepdims=keepdims)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:  # type: ignore[override]
        return g * xp.astype(xp.logical_not(xp.isnan(x)), g.dtype)


class Mean(_Cast, _Floating, Reduction):
    """Return the mean over axes; NaN over no entries.

    Raises
    ------
    DTypeError
        For integers.
    """

    def bind(self, shape: Shape, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> dict[str, Any]:
        found = super().bind(shape, dim, keepdim)
        return found | {"count": count_of(found["kept"], shape)}

    def forward(self, xp: Namespace, x: Array, *, axis: Any, keepdims: bool, count: int) -> Array:
        total = xp.sum(x, axis=axis, keepdims=keepdims)
        return total / count if count else total * math.nan

    def vjp(self, xp: Namespace, g: Array, *, count: int) -> Array:
        return g / (count or 1)


class Prod(_Typed, Reduction):
    """Return the product over one axis or all; integers and bools give int64.

    The derivative is the product of the other entries, also where some are 0, and at any order.
    """

    domains = (SMALL,)

    def bind(self, shape: Shape, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> dict[str, Any]:
        return super().bind(shape, dim if dim is None else layout.axis(dim, len(shape)), keepdim)

    def forward(self, xp: Namespace, x: Array, *, axis: Any, keepdims: bool) -> Array:
        return xp.prod(x, axis=axis, keepdims=keepdims)

    def vjp(self, xp: Namespace, g: Array, out: Array, x: Array, *, axis: Any) -> Array:
        if not xp.any(xp.equal(x, 0)):
            return g * (out / x)
        others, left = xp.ones_like(x), x
        for one in axis:
            others = others * _others(xp, left, one)
            left = xp.prod(left, axis=(one,), keepdims=True)
        return g * others

    def sample(self, draw: Draw, x: Operand) -> Call:
        """All axes, or one with and without keepdim."""
        if draw.boolean() or not x.ndim:
            return Call((x,))
        return Call((x, draw.axis(x.ndim)), {"keepdim": True} if draw.boolean() else {})


def _others(xp: Namespace, x: Array, axis: int) -> Array:
    """For each entry the product of the others along `axis`: of those before it and those behind."""
    back = xp.flip(_before(xp, xp.flip(x, axis=(axis,)), axis), axis=(axis,))
    return _before(xp, x, axis) * back


def _before(xp: Namespace, x: Array, axis: int) -> Array:
    """For each entry the product of those before it along `axis`."""
    return _shifted(xp, xp.cumulative_prod(x, axis=axis), 1, axis, xp.ones_like)


def _shifted(xp: Namespace, x: Array, step: int, axis: int, fill: Any) -> Array:
    """`x` moved `step` places along `axis`, what comes in filled by `fill` (``xp.ones_like``, say)."""
    behind = (slice(None),) * (-axis - 1)
    first = xp.index(x, (..., slice(0, step), *behind))
    return xp.concat([fill(first), xp.index(x, (..., slice(0, -step), *behind))], axis=axis)


class _Truth(Reduction):
    """A bool reduction. Unlike others, it takes an empty tuple of axes for none of them."""

    boolean = True
    domains = (NONZERO,)

    def bind(self, shape: Shape, dim: Any = None, keepdim: bool = False) -> dict[str, Any]:
        """Negative axes."""
        if isinstance(dim, (tuple, list)) and not dim:
            return reduced(shape, (), bool(keepdim))
        return super().bind(shape, dim, keepdim)

    def forward(self, xp: Namespace, x: Array, *, axis: Any, keepdims: bool) -> Array:
        return getattr(xp, self.name)(x, axis=axis, keepdims=keepdims)


class All(_Truth):
    """Return whether all entries are true (not 0)."""


class Any_(_Truth):
    """Return whether any entry is true (not 0)."""

    name = "any"


class CountNonzero(Reduction):
    """Return how many entries are not 0, as int64."""

    differentiable = False
    domains = (NONZERO,)

    def bind(self, shape: Shape, dim: Any = None) -> dict[str, Any]:  # type: ignore[override]
        return super().bind(shape, dim)

    def forward(self, xp: Namespace, x: Array, *, axis: Any, keepdims: bool) -> Array:
        return xp.sum(xp.astype(xp.not_equal(x, 0), int64.numpy), axis=axis, keepdims=keepdims)

    def sample(self, draw: Draw, x: Operand) -> Call:
        dim = draw.axes(x.ndim)
        return Call((x,), {} if dim is None else {"dim": dim})


class Var(_Floating, Reduction):
    """Return the variance over axes: squared deviations over (count - correction), correction 1 by default.

    It is NaN where count - correction is 0 and no deviation is left; a negative divisor counts as 0.
    """

    domains = (MODERATE,)

    def bind(  # type: ignore[override]
        self, shape: Shape, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
    ) -> dict[str, Any]:
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        if unbiased is not None and correction is not None:
            raise ArgumentError(
                f"{self.name}: expected unbiased or correction, got {unbiased=} and {correction=}; give correction"
            )
        correction = (1 if unbiased is None or unbiased else 0) if correction is None else correction
        found = super().bind(shape, dim, keepdim)
        count = count_of(found["kept"], shape)
        return found | {"count": count, "divisor": max(count - correction, 0)}

    def forward(self, xp: Namespace, x: Array, *, axis: Any, keepdims: bool, count: int, divisor: float) -> Array:
        deviation = x - xp.sum(x, axis=axis, keepdims=True) / (count or 1)
        total = xp.sum(xp.square(deviation), axis=axis, keepdims=keepdims)
        return total / divisor if divisor else total * math.inf

    def vjp(self, xp: Namespace, g: Array, x: Array, *, axis: Any, count: int, divisor: float) -> Array:
        deviation = x - xp.sum(x, axis=axis, keepdims=True) / (count or 1)
        return g * (deviation * (2 / divisor if divisor else math.inf))

    def accepts(self, shape: Shape) -> bool:
        return math.prod(shape) >= 2

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Axes, corrections and keepdim; no more correction than the reduced entries bear."""
        dim = draw.axes(x.ndim)
        found = reduced(tuple(x.shape), layout.axes(dim, x.ndim), False)
        count = count_of(found["kept"], tuple(x.shape))
        if count < 2:
            dim, count = None, math.prod(x.shape)
        kwargs: dict[str, Any] = {} if dim is None else {"dim": dim}
        if draw.boolean():
            kwargs["keepdim"] = True
            kwargs.setdefault("dim", tuple(range(x.ndim)))
        option = draw.choice(("default", 0, "biased", 0.5, 2))
        if option == "biased" and isinstance(dim, int):
            kwargs["unbiased"] = False
        elif isinstance(option, (int, float)) and option < count:
            kwargs["correction"] = option
        return Call((x,), kwargs)


class Std(Var):
    """Return the standard deviation over axes, the root of `var`. The derivative where it is 0 is 0."""

    kinks = (Kink("tie"),)

    def forward(self, xp: Namespace, x: Array, *, axis: Any, keepdims: bool, count: int, divisor: float) -> Array:
        return xp.sqrt(super().forward(xp, x, axis=axis, keepdims=keepdims, count=count, divisor=divisor))

    def vjp(self, xp: Namespace, g: Array, out: Array, x: Array, *, axis: Any, count: int, divisor: float) -> Array:  # type: ignore[override]
        deviation = x - xp.sum(x, axis=axis, keepdims=True) / (count or 1)
        flat = xp.equal(out, 0)
        slope = xp.where(flat, 0.0, 1 / xp.where(flat, 1.0, out))
        return g * (deviation * slope * (1 / divisor if divisor else math.inf))


class VarMean(Composite):
    """Return (variance, mean) over axes."""

    group = "reduction"
    form = "function"
    domains = (MODERATE,)

    def compose(self, x: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, **kwargs: Any) -> Any:
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        return VarAndMean(VAR(x, dim, unbiased, keepdim, **kwargs), MEAN(x, dim, keepdim))

    def accepts(self, shape: Shape) -> bool:
        return math.prod(shape) >= 2


class EmptyNormError(DimensionError, RuntimeError):
    """There is no extreme of no entries."""


class Norm(_Cast, _Floating, Reduction):
    """Return the p-norm over axes: (sum of |x|**p)**(1/p), the largest |x| for inf, the smallest for -inf.

    p=0 counts what is not 0. The derivative at the norm's kink, x = 0, is 0; for p = inf and -inf it is shared evenly
    among the entries that attain the extreme.
    """

    backward_name = "LinalgVectorNormBackward0"
    holomorphic = False
    domains = (Interval(-20.0, 20.0, avoid=(0.0,)),)
    kinks = (Kink(0.0), Kink("tie", "split"))

    def bind(  # type: ignore[override]
        self, shape: Shape, p: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
    ) -> dict[str, Any]:
        found = super().bind(shape, dim, keepdim)
        p = 2.0 if p is None or p == "fro" else p
        if not isinstance(p, (int, float)):
            raise ArgumentError(f"norm: expected p to be a number or 'fro', got {p!r}; nuclear norms belong to linalg")
        if (p < 0 or p == math.inf) and any(shape[one] == 0 for one in found["axis"]):
            raise EmptyNormError(
                f"norm: expected reduced axes of non-zero size for {p=}, got shape {shape}; reduce another axis"
            )
        return found | {"p": float(p)}

    def forward(self, xp: Namespace, x: Array, *, axis: Any, keepdims: bool, p: float) -> Array:
        if p in (math.inf, -math.inf):
            return (xp.max if p > 0 else xp.min)(xp.abs(x), axis=axis, keepdims=keepdims)
        if p == 0:
            size = xp.abs(x)
            return xp.sum(xp.astype(xp.not_equal(size, 0), size.dtype), axis=axis, keepdims=keepdims)
        if p == 1:
            return xp.sum(xp.abs(x), axis=axis, keepdims=keepdims)
        if p == 2:
            return xp.sqrt(xp.sum(xp.square(xp.abs(x)), axis=axis, keepdims=keepdims))
        return xp.pow(xp.sum(xp.pow(xp.abs(x), p), axis=axis, keepdims=keepdims), 1 / p)

    def vjp(self, xp: Namespace, g: Array, out: Array, x: Array, *, axis: Any, p: float) -> Array:
        if p == 0:
            return xp.zeros_like(x) * g
        if p == 1:
            return g * xp.sign(x)
        if p in (math.inf, -math.inf):
            hit = xp.astype(xp.equal(xp.abs(x), out), g.dtype)
            return g * (xp.sign(x) * (hit / xp.sum(hit, axis=axis, keepdims=True)))
        zero = xp.equal(out, 0)
        safe = xp.where(zero, 1.0, out)
        if p == 2:
            return g * xp.where(zero, 0.0, x / safe)
        flat = xp.logical_or(zero, xp.equal(x, 0))
        ratio = xp.where(flat, 1.0, xp.abs(x) / safe)
        return g * xp.where(flat, 0.0, xp.sign(x) * xp.pow(ratio, p - 1))

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Every p, axes, keepdim. PyTorch takes no p and "fro" for one axis or two only."""
        call = super().sample(draw, x)
        p: Any = draw.choice((None, 1, 2, 3, math.inf, 1.5, -math.inf, 0, -2.0, "fro"))
        dim = call.kwargs.get("dim")
        if p in (None, "fro") and isinstance(dim, tuple) and len(dim) not in (1, 2):
            p = 2
        if p is None or (0 in x.shape and p != "fro" and (p < 0 or p == math.inf)):
            return call
        return Call((x,), {"p": p, **call.kwargs})


class Logsumexp(Reduction):
    """Return log(sum(exp(x))) over axes without overflow; -inf over no entries."""

    floating = True
    domains = (Interval(-50.0, 50.0),)

    def bind(self, shape: Shape, dim: Any, keepdim: bool = False) -> dict[str, Any]:  # type: ignore[override]
        found = super().bind(shape, dim, keepdim)
        return found | {"empty": any(shape[one] == 0 for one in found["axis"])}

    def forward(self, xp: Namespace, x: Array, *, axis: Any, keepdims: bool, empty: bool) -> Array:
        if empty:
            return xp.sum(x, axis=axis, keepdims=keepdims) - math.inf
        top = xp.max(x, axis=axis, keepdims=True)
        top = xp.where(xp.isinf(top), xp.zeros_like(top), top)
        total = xp.sum(xp.exp(x - top), axis=axis, keepdims=keepdims)
        return xp.log(total) + (top if keepdims else xp.sum(top, axis=axis))

    def vjp(self, xp: Namespace, g: Array, out: Array, x: Array) -> Array:
        return g * xp.exp(x - out)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """`dim` is required."""
        call = super().sample(draw, x)
        dim = call.kwargs.get("dim", tuple(range(x.ndim)))
        return Call((x, dim), {"keepdim": True} if "keepdim" in call.kwargs else {})


class Cumsum(_Typed, Single):
    """Return the running sums along `dim`; integers and bools give int64."""

    group = "reduction"
    inplace = True

    def bind(self, shape: Shape, dim: Any, *, dtype: Any = None) -> dict[str, Any]:
        axis = layout.axis(dim, len(shape))
        return {"axis": axis if shape else None}

    def forward(self, xp: Namespace, x: Array, *, axis: int | None) -> Array:
        return xp.copy(x) if axis is None else xp.cumulative_sum(x, axis=axis)

    def vjp(self, xp: Namespace, g: Array, *, axis: int | None) -> Array:
        return g if axis is None else _behind(xp, g, axis)

    def sample(self, draw: Draw, x: Operand) -> Call:
        return Call((x, draw.axis(x.ndim)))


def _behind(xp: Namespace, g: Array, axis: int) -> Array:
    """For each entry the sum of it and those behind it."""
    return xp.flip(xp.cumulative_sum(xp.flip(g, axis=(axis,)), axis=axis), axis=(axis,))


class Cumprod(Cumsum):
    """Return the running products along `dim`; integers and bools give int64.

    The derivative is right where entries are 0, at any order.
    """

    structure = "other"
    domains = (SMALL,)

    def bind(self, shape: Shape, dim: Any, *, dtype: Any = None) -> dict[str, Any]:
        return super().bind(shape, dim) | {"size": shape[dim] if shape else 1}

    def forward(self, xp: Namespace, x: Array, *, axis: int | None) -> Array:
        return xp.copy(x) if axis is None else xp.cumulative_prod(x, axis=axis)

    def vjp(self, xp: Namespace, g: Array, out: Array, x: Array, *, axis: int | None, size: int) -> Array:  # type: ignore[override]
        if axis is None:
            return g
        if not xp.any(xp.equal(x, 0)):
            return _behind(xp, g * out, axis) / x
        return _shifted(xp, out, 1, axis, xp.ones_like) * self._sums(xp, g, x, axis, size)

    def _sums(self, xp: Namespace, g: Array, x: Array, axis: int, size: int) -> Array:
        """For each entry i the sum over j >= i of g[j] times the entries of x between: s[i] = g[i] + x[i+1] s[i+1].

        The recurrence is solved by doubling, so that it takes log2(size) steps of products and sums and no division.
        """
        total = xp.flip(g, axis=(axis,))
        factor = _shifted(xp, xp.flip(x, axis=(axis,)), 1, axis, xp.zeros_like)
        step = 1
        while step < size:
            total = total + factor * _shifted(xp, total, step, axis, xp.zeros_like)
            factor = factor * _shifted(xp, factor, step, axis, xp.zeros_like)
            step *= 2
        return xp.flip(total, axis=(axis,))


class SumTo(Op):
    """The transpose of broadcasting, for rules."""

    name = "_sum_to"
    structure = "linear"

    def bind(self, x: Any, shape: Any) -> dict[str, Any]:
        return {"shape": shape, "source": tuple(x)}

    def forward(self, xp: Namespace, x: Array, *, shape: Any) -> Array:
        return xp.sum_to(x, shape)

    def vjp(self, xp: Namespace, g: Array, *, source: Any) -> Array:
        return xp.broadcast_to(g, source)


VAR, MEAN = Var(), Mean()

OPS: tuple[Op, ...] = (
    Sum(), Nansum(), MEAN, Prod(), All(), Any_(), CountNonzero(),
    VAR, Std(), VarMean(), Norm(), Logsumexp(), Cumsum(), Cumprod(), SumTo(),
)  # fmt: skip
