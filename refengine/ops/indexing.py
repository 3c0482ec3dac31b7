"""Reading parts of a tensor: views by integers and slices, copies by arrays of indices and masks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any

from refengine import layout
from refengine.backends.base import Array, Namespace
from refengine.errors import DimensionError, RangeError, ShapeError
from refengine.key import FULL, Indexed, Key, along, as_slices, split
from refengine.layout import Shape
from refengine.op import Composite, Op, ViewOp
from refengine.recording import Bound
from refengine.spec import Call, Draw, Operand
from refengine.tensor import Tensor


class Part(ViewOp):
    """Return the view that integers and slices (start, stop, step), one for each leading axis, give."""

    name = "_part"
    group = ""
    backward_name = "SliceBackward0"

    def bind(self, shape: Shape, *items: Any) -> dict[str, Any]:
        for axis, item in enumerate(items):
            if isinstance(item, int):
                in_range("index", item, axis, shape[axis])
            elif item[2] is not None and item[2] <= 0:
                raise RangeError(
                    f"index: expected the step of a slice to be greater than zero, got {item[2]}; use flip"
                )
        return {"key": as_slices(items), "shape": tuple(shape)}

    def forward(self, xp: Namespace, x: Array, *, key: Any) -> Array:
        return xp.index(x, key)

    def vjp(self, xp: Namespace, g: Array, *, key: Any, shape: Shape) -> Array:
        return xp.index_add(g, key, shape)


def in_range(name: str, index: int, axis: int, size: int) -> None:
    """Raise where a single index is out of range."""
    if not -size <= index < size:
        raise DimensionError(f"{name}: index {index} is out of bounds for dimension {axis} with size {size}")


class Select(ViewOp):
    """Return the view at one index of an axis, without that axis.

    Raises
    ------
    DimensionError
        If the index is out of range.
    """

    group = "indexing"
    min_ndim = 1

    def bind(self, shape: Shape, dim: Any, index: Any) -> dict[str, Any]:
        if not shape:
            raise DimensionError("select: a 0-d tensor has no axis to select from")
        axis = layout.axis(dim, len(shape))
        index = index.__index__()
        in_range("select", index, axis, shape[axis])
        return {"key": along(axis, index), "shape": tuple(shape)}

    def forward(self, xp: Namespace, x: Array, *, key: Any) -> Array:
        return xp.index(x, key)

    def vjp(self, xp: Namespace, g: Array, *, key: Any, shape: Shape) -> Array:
        return xp.index_add(g, key, shape)

    def accepts(self, shape: Shape) -> bool:
        """Any with something to select along every axis."""
        return len(shape) > 0 and 0 not in shape

    def sample(self, draw: Draw, x: Operand) -> Call:
        """From the front or the end."""
        dim = draw.axis(x.ndim)
        return Call((x, dim, _position(draw, x.shape[dim])))


class Narrow(ViewOp):
    """Return the view of `length` entries of an axis, beginning at `start`.

    Raises
    ------
    DimensionError, ShapeError
        If they are not there.
    """

    group = "indexing"
    backward_name = "SliceBackward0"
    min_ndim = 1

    def bind(self, shape: Shape, dim: Any, start: Any, length: Any) -> dict[str, Any]:
        if not shape:
            raise ShapeError("narrow: cannot be applied to a 0-d tensor")
        axis = layout.axis(dim, len(shape))
        start, length, size = start.__index__(), length.__index__(), shape[axis]
        if not -size <= start <= size:
            raise DimensionError(f"narrow: expected start in [{-size}, {size}], got {start}")
        start += size if start < 0 else 0
        if length < 0 or start + length > size:
            raise ShapeError(
                f"narrow: start ({start}) + length ({length}) exceeds dimension size ({size}), or length < 0"
            )
        return {"key": along(axis, slice(start, start + length)), "shape": tuple(shape)}

    def forward(self, xp: Namespace, x: Array, *, key: Any) -> Array:
        return xp.index(x, key)

    def vjp(self, xp: Namespace, g: Array, *, key: Any, shape: Shape) -> Array:
        return xp.index_add(g, key, shape)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Every length, none too."""
        dim = draw.axis(x.ndim)
        size = x.shape[dim]
        start = draw.integer(0, size)
        return Call(
            (
                x,
                dim,
                start - size if size and draw.boolean() and start < size else start,
                size - start - draw.integer(0, size - start),
            )
        )


class Index(Indexed):
    """Return what a key with arrays of indices names, a copy; repeated entries share what flows back."""

    name = "_index"
    group = ""
    backward_name = "IndexBackward0"
    inputs = ("x", "key")
    arguments = ("key",)

    def bind(self, x: Shape, key: Shape) -> dict[str, Any]:
        return {"shape": tuple(x)}

    def forward(self, xp: Namespace, x: Array, key: Key) -> Array:
        return xp.index(x, key.items)

    def vjp_x(self, xp: Namespace, g: Array, key: Key, *, shape: Shape) -> Array:
        return xp.index_add(g, key.items, shape)


class Getitem(Composite):
    """Return ``x[key]``: a view for integers, slices, None and Ellipsis, a copy where lists, tensors or masks occur.

    Raises
    ------
    DimensionError
        If an index is out of range, a mask does not fit, or there are too many indices.
    RangeError
        If the step of a slice is not positive.
    """

    name = "__getitem__"
    group = "indexing"
    structure = "linear"

    def compose(self, x: Tensor, key: Any) -> Tensor:
        if type(key) is int and x.array.ndim:
            return SELECT(x, 0, key)
        basic, index = split(key, x)
        part = view_at(x, basic) if basic or index is None else x
        return part if index is None else INDEX(part, index)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Integers, slices with steps, None, Ellipsis, lists, index tensors and masks, alone and mixed."""
        kind = draw.choice(("basic", "index", "mask", "mixed"))
        shape = tuple(x.shape)
        if kind == "mask" or not shape:
            return Call(
                (x, draw.mask(shape[: draw.integer(0, 1) or len(shape)]))
                if kind == "mask"
                else (x, draw.choice((..., None, ())))
            )
        if kind == "index":
            return Call((x, self._indices(draw, shape[0])))
        items: list[Any] = [self._basic(draw, size) for size in shape[: draw.integer(1, len(shape))]]
        if kind == "mixed":
            at = draw.integer(0, len(items) - 1)
            items[at] = self._indices(draw, shape[at])
        extra = draw.integer(0, 7)
        if extra >= 6:
            items.append(... if extra == 6 else None)
        return Call((x, tuple(items) if len(items) > 1 or draw.boolean() else items[0]))

    def _basic(self, draw: Draw, size: int) -> Any:
        """A slice or an integer."""
        if size and draw.integer(0, 2) == 2:
            return _position(draw, size)
        start, stop = draw.choice((None, 1, -1, 0)), draw.choice((None, -1, size, 1))
        return slice(start, stop, draw.choice((None, 2, 1)))

    def _indices(self, draw: Draw, size: int) -> Any:
        """A list or an index tensor of one or two axes, empty where there is nothing to index."""
        if size and draw.integer(0, 3) == 3:
            return [_position(draw, size) for _ in range(draw.integer(1, 3))]
        shape = draw.choice(((2,), (3,), (1,), (2, 2), (0,))) if size else (0,)
        return draw.indices(shape, size)


def _position(draw: Draw, size: int) -> int:
    """An index from the front or from the end."""
    index = draw.integer(0, size - 1)
    return index - size if draw.boolean() else index


def view_at(x: Tensor, basic: tuple[Any, ...]) -> Tensor:
    """The view that integers, slices and None give; new axes come first, so that their strides are PyTorch's."""
    for axis, item in enumerate(basic):
        if item is None:
            x = x.unsqueeze(axis)
    if basic and all(item is None for item in basic):
        return x
    return PART(x, *(FULL if item is None else item for item in basic))


class Diagonal(ViewOp):
    """Return a view of the diagonal of two axes, as last axis; a positive offset lies above the main one."""

    group = "indexing"
    min_ndim = 2

    def bind(self, shape: Shape, offset: int = 0, dim1: Any = 0, dim2: Any = 1) -> dict[str, Any]:
        ndim = len(shape)
        one, two = layout.axis(dim1, ndim), layout.axis(dim2, ndim)
        if one == two:
            raise ShapeError(f"diagonal: expected two different dimensions, got {dim1} and {dim2}")
        axes = (*(i for i in range(-ndim, 0) if i not in (one, two)), one, two)
        rows, columns = shape[one], shape[two]
        count = max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
        first = offset if offset >= 0 else -offset * columns
        places = slice(first, first + (count - 1) * (columns + 1) + 1, columns + 1) if count else slice(0, 0)
        batch = tuple(shape[i] for i in axes[:-2])
        return {
            "axes": axes,
            "offset": offset,
            "key": (Ellipsis, places),
            "flat": (*batch, rows * columns),
            "square": (*batch, rows, columns),
            "inverse": tuple(axes.index(i) - ndim for i in range(-ndim, 0)),
        }

    def forward(self, xp: Namespace, x: Array, *, axes: Shape, offset: int) -> Array:
        return xp.diagonal(xp.permute_dims(x, axes), offset=offset)

    def vjp(self, xp: Namespace, g: Array, *, key: Any, flat: Shape, square: Shape, inverse: Shape) -> Array:
        return xp.permute_dims(xp.reshape(xp.index_add(g, key, flat), square), inverse)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Every pair of axes, offsets beyond the corners too."""
        if not draw.boolean():
            return Call((x,))
        one, step = draw.integer(0, x.ndim - 1), draw.integer(1, x.ndim - 1)
        two = (one + step) % x.ndim
        return Call(
            (x,), {"offset": draw.choice((1, -1, 0, 2)), "dim1": one, "dim2": two - x.ndim if draw.boolean() else two}
        )


class AsStrided(ViewOp):
    """Return a view with any shape and strides on the tensor's memory; the offset counts from the start of the storage.

    Raises
    ------
    ShapeError
        If it reaches beyond the storage, or a stride is negative.
    """

    group = "indexing"

    def prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], Bound]:
        """The layout of x, and the offset counted from its first element, are parameters."""
        x = args[0]
        size, stride, offset = _layout_arguments(*args[1:], **kwargs)
        if len(size) != len(stride) or any(s < 0 for s in (*size, *stride)):
            raise ShapeError(
                "as_strided: expected equally many sizes and strides, none negative, "
                f"got size={size} and stride={stride}"
            )
        own = x.storage_offset()
        offset = own if offset is None else offset
        last = offset + layout.span(size, stride)[1]
        if offset < 0 or (last + 1) * x.itemsize > x.storage.nbytes():
            raise ShapeError(
                f"as_strided: size={size}, stride={stride}, storage_offset={offset} "
                f"reach beyond the storage of {x.storage.nbytes()} bytes"
            )
        like = (tuple(x.array.shape), x.stride())
        return super().prepare((x, size, stride, offset - own, like), {})

    def bind(self, shape: Shape, size: Shape, strides: Shape, offset: int, like: tuple[Shape, Shape]) -> dict[str, Any]:
        return {"shape": size, "strides": strides, "offset": offset, "like": like}

    def forward(
        self, xp: Namespace, x: Array, *, shape: Shape, strides: Shape, offset: int, like: tuple[Shape, Shape]
    ) -> Array:
        return xp.strided(x, shape, strides, offset, like)

    def vjp(
        self, xp: Namespace, g: Array, *, shape: Shape, strides: Shape, offset: int, like: tuple[Shape, Shape]
    ) -> Array:
        return xp.strided_add(g, shape, strides, offset, like)

    def accepts(self, shape: Shape) -> bool:
        """No, it is not drawn: what it reads depends on the layout, which checks change on purpose."""
        return False


def _layout_arguments(size: Any, stride: Any, storage_offset: Any = None) -> tuple[Shape, Shape, int | None]:
    """PyTorch's arguments of `as_strided`."""
    return layout.sizes((tuple(size),)), layout.sizes((tuple(stride),)), storage_offset


class Strided(Op):
    """A copy of what another layout sees of x's memory, for rules; `like` is the layout x stands for."""

    name = "_strided"
    structure = "linear"

    def bind(self, x: Shape, shape: Shape, strides: Shape, offset: int, like: Any) -> dict[str, Any]:
        return {"shape": shape, "strides": strides, "offset": offset, "like": like}

    def forward(self, xp: Namespace, x: Array, *, shape: Shape, strides: Shape, offset: int, like: Any) -> Array:
        return xp.copy(xp.strided(x, shape, strides, offset, like))

    def vjp(self, xp: Namespace, g: Array, *, shape: Shape, strides: Shape, offset: int, like: Any) -> Array:
        return xp.strided_add(g, shape, strides, offset, like)


class StridedAdd(Strided):
    """The transpose of `_strided`."""

    name = "_strided_add"

    def forward(self, xp: Namespace, x: Array, *, shape: Shape, strides: Shape, offset: int, like: Any) -> Array:
        return xp.strided_add(x, shape, strides, offset, like)

    def vjp(self, xp: Namespace, g: Array, *, shape: Shape, strides: Shape, offset: int, like: Any) -> Array:
        return xp.strided(g, shape, strides, offset, like)


SELECT, NARROW, PART, INDEX = Select(), Narrow(), Part(), Index()

OPS: tuple[Op, ...] = (Getitem(), SELECT, NARROW, PART, INDEX, Diagonal(), AsStrided(), Strided(), StridedAdd())


def _views(x: Tensor, dim: int, bounds: list[tuple[int, int]]) -> tuple[Tensor, ...]:
    """Views of consecutive parts of an axis, which the in-place rules know to be outputs of one function."""
    return tuple(_of_several(NARROW(x, dim, start, stop - start)) for start, stop in bounds)


def _of_several(view: Tensor) -> Tensor:
    assert view.view_of is not None
    view.view_of.of_several = True
    return view


def unbind(x: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The views at every index of an axis, without that axis."""
    if not x.ndim:
        raise DimensionError("unbind: a 0-d tensor has no axis to take apart")
    return tuple(_of_several(SELECT(x, dim, i)) for i in range(x.size(dim)))


def split_into(x: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of consecutive parts of an axis: of equal size but for the last, or of the sizes given.

    Raises
    ------
    ShapeError
        If the sizes do not add up to that of the axis.
    """
    if not x.ndim:
        raise ShapeError("split: expected at least a 1-dimensional tensor")
    size = x.size(dim)
    if isinstance(split_size_or_sections, int):
        step = split_size_or_sections
        if step < 0 or (step == 0 and size):
            raise ShapeError(f"split: expected a positive size, got {step}")
        return _views(x, dim, [(at, min(at + step, size)) for at in range(0, size, step or 1)] or [(0, 0)])
    sections = [int(section) for section in split_size_or_sections]
    if sum(sections) != size or min(sections, default=0) < 0:
        raise ShapeError(f"split: expected sizes that add up to {size}, got {sections}")
    stops = list(accumulate(sections))
    return _views(x, dim, list(zip([0, *stops], stops, strict=False)))


def chunk(x: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of at most `chunks` consecutive parts of an axis, equal but for the last."""
    if not x.ndim:
        raise ShapeError("chunk: expected at least a 1-dimensional tensor")
    if chunks <= 0:
        raise ShapeError(f"chunk: expected a positive number of chunks, got {chunks}")
    size = x.size(dim)
    if not size:
        return _views(x, dim, [(0, 0)] * chunks)
    return split_into(x, -(-size // chunks), dim)


FUNCTIONS: dict[str, Callable[..., Any]] = {"unbind": unbind, "split": split_into, "chunk": chunk}
"""Methods and functions that return several views."""
