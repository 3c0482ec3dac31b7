"""Copies that reverse, rotate or repeat along axes."""

from __future__ import annotations

from math import prod
from typing import Any

from refengine import layout
from refengine.backends.base import Array, Namespace
from refengine.errors import DimensionError, ShapeError
from refengine.layout import Shape
from refengine.op import Composite, Op, Single
from refengine.spec import Call, Draw, Operand
from refengine.tensor import Tensor


class Flip(Single):
    """Return a copy reversed along axes."""

    group = "shape"

    def bind(self, shape: Shape, *dims: Any) -> dict[str, Any]:
        wanted = layout.sizes(dims)
        axis = layout.axes(wanted, len(shape)) if wanted else ()
        return {"axis": axis}

    def forward(self, xp: Namespace, x: Array, *, axis: Shape) -> Array:
        return xp.flip(x, axis=axis) if axis else xp.copy_dense(x)

    def vjp(self, xp: Namespace, g: Array, *, axis: Shape) -> Array:
        return xp.flip(g, axis=axis) if axis else g

    def sample(self, draw: Draw, x: Operand) -> Call:
        """One axis or several."""
        dims = draw.axes(x.ndim)
        return Call((x, (dims,) if isinstance(dims, int) else dims or ()))


class Roll(Single):
    """Return a copy rotated by `shifts` along `dims`; without `dims`, of the flattened tensor."""

    group = "shape"

    def bind(self, shape: Shape, shifts: Any, dims: Any = None) -> dict[str, Any]:
        steps = layout.sizes((shifts,))
        if dims is None or dims == ():
            if len(steps) != 1:
                raise ShapeError(f"roll: expected one shift where dims is not given, got {shifts=}")
            return {"shift": steps, "axis": (-1,), "shape": tuple(shape), "flat": (prod(shape),)}
        if not shape:
            raise DimensionError(f"roll: expected no dims for a 0-d tensor, got {dims=}")
        axes = tuple(layout.axis(dim, len(shape)) for dim in layout.sizes((dims,)))
        if len(axes) != len(steps):
            raise ShapeError(f"roll: expected as many shifts as dims, got {shifts=} and {dims=}")
        return {"shift": steps, "axis": axes, "shape": tuple(shape), "flat": tuple(shape)}

    def forward(self, xp: Namespace, x: Array, *, shift: Shape, axis: Shape, shape: Shape, flat: Shape) -> Array:
        return xp.reshape(xp.roll(xp.reshape(x, flat), shift, axis=axis), shape)

    def vjp(self, xp: Namespace, g: Array, *, shift: Shape, axis: Shape, shape: Shape, flat: Shape) -> Array:
        return xp.reshape(xp.roll(xp.reshape(g, flat), tuple(-step for step in shift), axis=axis), shape)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Flat, along one axis, along two (the same twice, too); shifts beyond the size as well."""
        kind = draw.integer(0, 2) if x.ndim else 0
        shift = draw.choice((1, -1, 2, 0, 5))
        if kind == 0:
            return Call((x, shift))
        if kind == 1:
            return Call((x, shift, draw.axis(x.ndim)))
        return Call((x, (shift, 1), (draw.axis(x.ndim), draw.axis(x.ndim))))


class _Repeated(Single):
    """Axes of size 1 are put beside the axes, expanded, and merged with them."""

    group = "shape"

    def forward(self, xp: Namespace, x: Array, *, split: Shape, expanded: Shape, result: Shape) -> Array:
        return xp.reshape(xp.copy(xp.broadcast_to(xp.reshape(x, split), expanded)), result)

    def vjp(self, xp: Namespace, g: Array, *, split: Shape, expanded: Shape, source: Shape) -> Array:
        return xp.reshape(xp.sum_to(xp.reshape(g, expanded), split), source)


class Repeat(_Repeated):
    """Return a copy repeated as a whole, `sizes` times along each axis; further sizes add leading axes."""

    def bind(self, shape: Shape, *sizes: Any) -> dict[str, Any]:
        times = layout.sizes(sizes)
        if len(times) < len(shape) or any(count < 0 for count in times):
            raise ShapeError(
                f"repeat: expected at least {len(shape)} counts of 0 or more for shape {tuple(shape)}, got {times}"
            )
        padded = (1,) * (len(times) - len(shape)) + tuple(shape)
        return {
            "split": tuple(n for size in padded for n in (1, size)),
            "expanded": tuple(n for pair in zip(times, padded, strict=True) for n in pair),
            "result": tuple(count * size for count, size in zip(times, padded, strict=True)),
            "source": tuple(shape),
        }

    def accepts(self, shape: Shape) -> bool:
        return prod(shape) <= 64

    def sample(self, draw: Draw, x: Operand) -> Call:
        """At most one axis more, and each axis up to twice."""
        lead = (draw.choice((1, 2)),) if x.ndim < 4 and draw.boolean() else ()
        return Call((x, lead + tuple(draw.choice((1, 2, 1)) for _ in x.shape)))


class Tile(Composite):
    """Return a copy repeated as a whole; where fewer counts than axes are given they are for the last ones."""

    group = "shape"

    def compose(self, x: Tensor, *dims: Any) -> Tensor:
        times = layout.sizes(dims)
        return REPEAT(x, (1,) * (x.ndim - len(times)) + times)

    def accepts(self, shape: Shape) -> bool:
        return prod(shape) <= 64

    def sample(self, draw: Draw, x: Operand) -> Call:
        return Call((x, tuple(draw.choice((2, 1)) for _ in range(draw.integer(0, min(x.ndim + 1, 4))))))


class RepeatInterleave(_Repeated):
    """Return a copy with each entry along `dim` repeated in place; without `dim`, of the flattened tensor."""

    def bind(self, shape: Shape, repeats: Any, dim: Any = None) -> dict[str, Any]:
        if not isinstance(repeats, int):
            raise ShapeError(
                f"repeat_interleave: expected one count for all entries, got {repeats!r}; use index_select for others"
            )
        if repeats < 0:
            raise ShapeError(f"repeat_interleave: expected a count of 0 or more, got {repeats}")
        flat = (prod(shape),) if dim is None or not shape else tuple(shape)
        place = layout.axis(-1 if dim is None else dim, len(flat)) + len(flat)
        before, size, behind = flat[:place], flat[place], flat[place + 1 :]
        return {
            "split": (*before, size, 1, *behind),
            "expanded": (*before, size, repeats, *behind),
            "result": (*before, size * repeats, *behind),
            "source": tuple(shape),
        }

    def accepts(self, shape: Shape) -> bool:
        return prod(shape) <= 64

    def sample(self, draw: Draw, x: Operand) -> Call:
        count = draw.choice((2, 1, 3))
        return Call((x, count, draw.axis(x.ndim)) if draw.boolean() and x.ndim else (x, count))


REPEAT = Repeat()

OPS: tuple[Op, ...] = (Flip(), Roll(), REPEAT, Tile(), RepeatInterleave())
