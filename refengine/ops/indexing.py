"""Reading parts of a tensor: views by integers and slices, copies by arrays of indices and masks."""

from __future__ import annotations

from typing import Any

from refengine import layout
from refengine.backends.base import Array, Namespace
from refengine.errors import ArgumentError, DimensionError, RangeError, ShapeError
from refengine.key import Indexed, Key, along, as_slices, split
from refengine.layout import Shape
from refengine.op import Bound, Composite, Op, ViewOp
from refengine.spec import Call, Draw, Operand
from refengine.tensor import Tensor


class Part(ViewOp):
    """Return the view that integers, None and slices (start, stop, step), one for each leading axis, give."""

    name = "_part"
    group = ""
    backward_name = "SliceBackward0"

    def bind(self, shape: Shape, *items: Any) -> dict[str, Any]:
        axes = iter(enumerate(shape))
        for item in items:
            axis, size = (-1, 0) if item is None else next(axes)
            if isinstance(item, int):
                in_range("index", item, axis, size)
            elif item is not None and item[2] is not None and item[2] <= 0:
                raise RangeError(f"index: expected the step of a slice to be greater than zero, got {item[2]}; use flip")
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
            raise ShapeError(f"narrow: start ({start}) + length ({length}) exceeds dimension size ({size}), or the length is negative")
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
        return Call((x, dim, start - size if size and draw.boolean() and start < size else start, size - start - draw.integer(0, size - start)))


class Index(Indexed):
    """Return what a key with arrays of indices names, a copy; repeated entries share what flows back."""

    name = "_index"
    group = ""
    backward_name = "IndexBackward0"
    inputs = ("x", "key")
    arguments = ("key",)

    def bind(self, x: Shape, key: Shape) -> dict[str, Any]:
        return {"shape": tuple(x)}

    def forward(self, xp: Namespace, x: Array, key: Key) -> Array:  # type: ignore[override]
        return xp.index(x, key.items)

    def vjp_x(self, xp: Namespace, g: Array, key: Key, *, shape: Shape) -> Array:
        return xp.index_add(g, key.items, shape)


class Getitem(Composite):
    """Return ``x[key]``: a view for integers, slices, None and Ellipsis, a copy where lists, index tensors or masks take part.

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
        part = x
        if basic == (None,):
            part = x.unsqueeze(0)  # type: ignore[attr-defined]
        elif basic or index is None:
            part = PART(x, *basic)
        return part if index is None else INDEX(part, index)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Integers, slices with steps, None, Ellipsis, lists, index tensors and masks, alone and mixed."""
        kind = draw.choice(("basic", "index", "mask", "mixed"))
        shape = tuple(x.shape)
        if kind == "mask" or not shape:
            return Call((x, draw.mask(shape[: draw.integer(0, 1) or len(shape)])) if kind == "mask" else (x, draw.choice((..., None, ()))))
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


class IndexSelect(Indexed):
    """Return the entries of an axis at the indices given by a one-dimensional tensor, a copy.

    Raises
    ------
    DimensionError
        If an index is negative or out of range.
    """

    inputs = ("x", "index")
    arguments = ("dim", "index")
    min_ndim = 1

    def bind(self, x: Shape, index: Shape, dim: Any) -> dict[str, Any]:
        if len(index) > 1:
            raise DimensionError(f"index_select: expected an index of one dimension, got shape {tuple(index)}")
        if not x:
            raise DimensionError("index_select: a 0-d tensor has no axis to select from")
        return {"axis": layout.axis(dim, len(x)), "shape": tuple(x)}

    def forward(self, xp: Namespace, x: Array, index: Array, *, axis: int) -> Array:  # type: ignore[override]
        return xp.index(x, along(axis, xp.reshape(index, (-1,))))

    def vjp_x(self, xp: Namespace, g: Array, index: Array, *, axis: int, shape: Shape) -> Array:
        return xp.index_add(g, along(axis, xp.reshape(index, (-1,))), shape)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Any number of indices, repeated ones too."""
        dim = draw.axis(x.ndim)
        size = x.shape[dim]
        return Call((x, dim, draw.indices((draw.choice((2, 3, 1, 0)) if size else 0,), size)))


class Gather(Indexed):
    """Return, at every position of `index`, the entry of x there, but for `dim`, where the index says.

    Raises
    ------
    DimensionError
        If an index is negative or out of range.
    ShapeError
        If `index` has another number of axes than x, or is longer than x along another axis than `dim`.
    """

    inputs = ("x", "index")
    arguments = ("dim", "index", "sparse_grad")

    def bind(self, x: Shape, index: Shape, dim: Any, sparse_grad: bool = False) -> dict[str, Any]:
        axis = layout.axis(dim, len(x))
        check_index("gather", tuple(index), tuple(x), axis)
        return {"axis": axis, "shape": tuple(x)}

    def forward(self, xp: Namespace, x: Array, index: Array, *, axis: int) -> Array:  # type: ignore[override]
        return xp.take_along_axis(x, index, axis=axis)

    def vjp_x(self, xp: Namespace, g: Array, index: Array, *, axis: int, shape: Shape) -> Array:
        return xp.scatter_add(g, index, axis=axis, shape=shape)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """An index of x's shape, or shorter along other axes, of any length along its own."""
        dim = draw.axis(x.ndim)
        shape = list(x.shape)
        if shape:
            shape = [max(size - 1, 0) if draw.integer(0, 3) == 3 else size for size in shape]
            shape[dim] = draw.choice((x.shape[dim], 2, 1, 0)) if x.shape[dim] else 0
        return Call((x, dim, draw.indices(tuple(shape), x.shape[dim] if shape else 1)))


def check_index(name: str, index: Shape, x: Shape, axis: int | None) -> None:
    """Raise unless `index` has as many axes as x and is, but for `axis`, not longer."""
    if len(index or (1,)) != len(x or (1,)):
        raise ShapeError(f"{name}: expected index and tensor with equally many dimensions, got shapes {index} and {x}")
    if any(a > b for k, (a, b) in enumerate(zip(index, x, strict=False)) if k - len(x) != axis):
        raise ShapeError(f"{name}: expected an index that is not longer than the tensor but along dim {axis}, got shapes {index} and {x}")


class Take(Indexed):
    """Return the entries of the flattened tensor at `index`, in its shape; indices may count from the end."""

    inputs = ("x", "index")
    arguments = ("index",)
    may_be_negative = True

    def bind(self, x: Shape, index: Shape) -> dict[str, Any]:
        count = layout.Size(x).numel()
        return {"count": count, "shape": tuple(x)}

    def forward(self, xp: Namespace, x: Array, index: Array, *, count: int) -> Array:  # type: ignore[override]
        return xp.index(xp.reshape(x, (count,)), (index, Ellipsis))

    def vjp_x(self, xp: Namespace, g: Array, index: Array, *, count: int, shape: Shape) -> Array:
        return xp.reshape(xp.index_add(g, (index, Ellipsis), (count,)), shape)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Indices in one or two axes, repeated ones too."""
        count = layout.Size(x.shape).numel()
        return Call((x, draw.indices(draw.choice(((2,), (3,), (), (2, 2), (0,))) if count else (0,), count)))


class TakeAlongDim(Composite):
    """Return the entries of an axis at `indices`, which broadcasts with x along the others; without `dim`, of the flattened tensor."""

    group = "indexing"
    structure = "linear"
    min_ndim = 1

    def compose(self, x: Any, indices: Any, dim: Any = None) -> Any:
        if dim is None:
            return GATHER(x.reshape(-1), 0, indices.reshape(-1))
        axis = layout.axis(dim, x.ndim)
        if x.ndim != indices.ndim:
            raise ShapeError(f"take_along_dim: expected equally many dimensions, got shapes {tuple(x.shape)} and {tuple(indices.shape)}")
        wide = list(layout.broadcast(_with_one(x.shape, axis), _with_one(indices.shape, axis)))
        shapes = []
        for tensor in (x, indices):
            wide[axis] = tensor.shape[axis]
            shapes.append(tuple(wide))
        return GATHER(x.expand(shapes[0]), axis, indices.expand(shapes[1]))

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Along an axis, broadcasting too, or of the flattened tensor."""
        if draw.integer(0, 3) == 3:
            count = layout.Size(x.shape).numel()
            return Call((x, draw.indices((2,) if count else (0,), count)))
        dim = draw.axis(x.ndim)
        shape = [1 if draw.integer(0, 3) == 3 else size for size in x.shape]
        shape[dim] = draw.choice((2, 1, 3)) if x.shape[dim] else 0
        return Call((x, draw.indices(tuple(shape), x.shape[dim])), {"dim": dim})


def _with_one(shape: Shape, axis: int) -> Shape:
    """The shape with one size set to 1."""
    return tuple(1 if k - len(shape) == axis else size for k, size in enumerate(shape))


class MaskedSelect(Composite):
    """Return the entries where `mask` holds, in one dimension; x and the mask broadcast. A copy."""

    group = "indexing"
    structure = "linear"

    def compose(self, x: Any, mask: Any) -> Any:
        if not isinstance(mask, Tensor) or mask.dtype.name != "bool":
            raise ArgumentError("masked_select: expected mask to be a bool tensor")
        shape = layout.broadcast(tuple(x.shape), tuple(mask.shape))
        selected = x.expand(shape)[mask.expand(shape)]  # type: ignore[attr-defined]
        return selected.reshape(-1)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """A mask of x's shape, or one that broadcasts."""
        shape = tuple(x.shape)
        return Call((x, draw.mask(shape[1:] if shape and draw.integer(0, 3) == 3 else shape)))


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
        return Call((x,), {"offset": draw.choice((1, -1, 0, 2)), "dim1": one, "dim2": two - x.ndim if draw.boolean() else two})


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
            raise ShapeError(f"as_strided: expected equally many sizes and strides, none negative, got size={size} and stride={stride}")
        own = x.storage_offset()
        offset = own if offset is None else offset
        last = offset + layout.span(size, stride)[1]
        if offset < 0 or (last + 1) * x.itemsize > x.storage.nbytes():
            raise ShapeError(f"as_strided: size={size}, stride={stride}, storage_offset={offset} reach beyond the storage of {x.storage.nbytes()} bytes")
        like = (tuple(x.array.shape), x.stride())
        return super().prepare((x, size, stride, offset - own, like), {})

    def bind(self, shape: Shape, size: Shape, strides: Shape, offset: int, like: tuple[Shape, Shape]) -> dict[str, Any]:
        return {"shape": size, "strides": strides, "offset": offset, "like": like}

    def forward(self, xp: Namespace, x: Array, *, shape: Shape, strides: Shape, offset: int, like: tuple[Shape, Shape]) -> Array:
        return xp.strided(x, shape, strides, offset, like)

    def vjp(self, xp: Namespace, g: Array, *, shape: Shape, strides: Shape, offset: int, like: tuple[Shape, Shape]) -> Array:
        return xp.strided_add(g, shape, strides, offset, like)

    def accepts(self, shape: Shape) -> bool:
        """Not drawn: what it reads depends on the layout, which differs between engines and between steps of a check."""
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


SELECT, PART, INDEX, GATHER = Select(), Part(), Index(), Gather()

OPS: tuple[Op, ...] = (
    Getitem(), SELECT, Narrow(), PART, INDEX, IndexSelect(), GATHER, Take(), TakeAlongDim(), MaskedSelect(), Diagonal(), AsStrided(),
    Strided(), StridedAdd(),
)  # fmt: skip
