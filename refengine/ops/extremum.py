"""Extremes over axes, and where they are."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from refengine import layout
from refengine.backends.base import Array, Namespace
from refengine.errors import ArgumentError, DimensionError
from refengine.layout import Shape
from refengine.op import Composite, Op, Reduction, reduced
from refengine.spec import Call, Draw, Interval, Kink, Operand
from refengine.tensor import Tensor

MODERATE = Interval(-20.0, 20.0)
Extreme = namedtuple("Extreme", ("values", "indices"))


class _Extremum(Reduction):
    """The gradient is shared evenly among the entries that attain the extreme; reduced axes must not be empty."""

    domains = (MODERATE,)
    kinks = (Kink("tie", "split"),)
    kernel = ""

    def bind(self, shape: Shape, dim: Any = None, keepdim: bool = False) -> dict[str, Any]:
        found = super().bind(shape, dim, keepdim)
        refuse_empty(self.name, shape, found["axis"])
        return found

    def forward(self, xp: Namespace, x: Array, *, axis: Any, keepdims: bool) -> Array:
        return getattr(xp, self.kernel)(x, axis=axis, keepdims=keepdims)

    def vjp(self, xp: Namespace, g: Array, out: Array, x: Array, *, axis: Any) -> Array:
        hit = xp.astype(xp.equal(x, out), g.dtype)
        return g * (hit / xp.sum(hit, axis=axis, keepdims=True))

    def accepts(self, shape: Shape) -> bool:
        return 0 not in shape


class EmptyExtremeError(DimensionError, RuntimeError):
    """There is no extreme of no entries; PyTorch raises either type, as an axis is named or not."""


def refuse_empty(name: str, shape: Shape, axis: Shape) -> None:
    """Raise if there is nothing to take the extreme of."""
    if any(shape[one] == 0 for one in axis):
        raise EmptyExtremeError(
            f"{name}: expected the reduced axes to have non-zero size, got shape {shape}; reduce another axis"
        )


class Amax(_Extremum):
    """Return the maximum over axes. Gradient at ties: split evenly."""

    kernel = "max"


class Amin(_Extremum):
    """Return the minimum over axes. Gradient at ties: split evenly."""

    kernel = "min"


class Chosen(Op):
    """The entries at `indices` of one axis, which is dropped or kept as 1: the values of an extreme along it."""

    name = "_chosen"
    backward_name = "MaxBackward0"
    group = ""
    inputs = ("x", "indices")
    constants = ("indices",)
    structure = "linear"

    def bind(self, shape: Shape, indices: Shape, axis: int, kept: Shape, keepdim: bool) -> dict[str, Any]:
        return {"axis": axis, "kept": kept, "shape": tuple(shape), "result": kept if keepdim else tuple(indices)}

    def forward(self, xp: Namespace, x: Array, indices: Array, *, axis: int, kept: Shape, result: Shape) -> Array:
        if not kept:
            return xp.copy(x)
        return xp.reshape(xp.take_along_axis(x, xp.reshape(indices, kept), axis=axis), result)

    def vjp_x(self, xp: Namespace, g: Array, indices: Array, *, axis: int, kept: Shape, shape: Shape) -> Array:
        if not kept:
            return g
        return xp.scatter_add(xp.reshape(g, kept), xp.reshape(indices, kept), axis=axis, shape=shape)


class ChosenMin(Chosen):
    """The entries at `indices` of a minimum."""

    name = "_chosen_min"
    backward_name = "MinBackward0"


CHOSEN, CHOSEN_MIN = Chosen(), ChosenMin()


class _Best(Composite):
    """Without `dim` the extreme of all entries, gradient split evenly among ties; with `dim` (values, indices)."""

    group = "reduction"
    structure = "other"
    domains = (MODERATE,)
    kinks = (Kink("tie", "split"),)
    pairwise, whole, where = "", "", ""
    chosen: Chosen

    def compose(self, x: Tensor, dim: Any = None, keepdim: bool = False, *, other: Tensor | None = None) -> Any:
        other = dim if isinstance(dim, Tensor) else other
        if other is not None:
            return getattr(x, self.pairwise)(other)
        if dim is None:
            if keepdim:
                raise ArgumentError(
                    f"{self.name}: expected dim with keepdim=True, got dim=None; use {self.whole}(keepdim=True)"
                )
            return getattr(x, self.whole)()
        one = layout.axis(dim, x.ndim)
        indices = getattr(x, self.where)(one)
        kept = tuple(1 if i - x.ndim == one else size for i, size in enumerate(x.shape))
        values = self.chosen(x, indices, one, kept, bool(keepdim))
        return Extreme(values, indices.reshape(kept) if keepdim else indices)

    def accepts(self, shape: Shape) -> bool:
        return 0 not in shape

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Of all entries."""
        return Call((x,))


class Max(_Best):
    """Return the maximum of all entries, or along `dim` (values, indices) with the gradient to the entry chosen.

    With a second tensor it is `maximum`.
    """

    pairwise, whole, where, chosen = "maximum", "amax", "argmax", CHOSEN


class Min(_Best):
    """Return the minimum of all entries, or along `dim` (values, indices) with the gradient to the entry chosen.

    With a second tensor it is `minimum`.
    """

    pairwise, whole, where, chosen = "minimum", "amin", "argmin", CHOSEN_MIN


class Argmax(Op):
    """Return the index of the first maximum, along `dim` or (None) of the flattened tensor."""

    group = "reduction"
    differentiable = False
    kernel = "argmax"

    def bind(self, shape: Shape, dim: Any = None, keepdim: bool = False) -> dict[str, Any]:
        ndim = len(shape)
        axis = None if dim is None or not ndim else layout.axis(dim, ndim)
        refuse_empty(self.name, shape, tuple(range(-ndim, 0)) if axis is None else (axis,))
        return {"axis": axis, "kept": reduced(shape, layout.axes(axis, ndim), True)["kept"] if keepdim else None}

    def forward(self, xp: Namespace, x: Array, *, axis: int | None, kept: Shape | None) -> Array:
        found = getattr(xp, self.kernel)(x, axis=axis)
        return found if kept is None else xp.reshape(found, kept)

    def accepts(self, shape: Shape) -> bool:
        return 0 not in shape

    def sample(self, draw: Draw, x: Operand) -> Call:
        """With and without an axis."""
        if draw.boolean():
            return Call((x,))
        return Call((x, draw.axis(x.ndim)), {"keepdim": True} if draw.boolean() else {})


class Argmin(Argmax):
    """Return the index of the first minimum, along `dim` or (None) of the flattened tensor."""

    kernel = "argmin"


OPS: tuple[Op, ...] = (Amax(), Amin(), Max(), Min(), Argmax(), Argmin(), CHOSEN, CHOSEN_MIN)
