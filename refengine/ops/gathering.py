"""Copies of the entries that a tensor of indices or a mask names, along one axis or anywhere."""

from __future__ import annotations

from typing import Any

from refengine import layout
from refengine.autograd.modes import no_grad
from refengine.backends.base import Array, Namespace
from refengine.errors import DimensionError, DTypeError, RangeError, ShapeError, UnsupportedError
from refengine.key import Indexed, along
from refengine.layout import Shape
from refengine.op import Composite, Op
from refengine.spec import Call, Draw, Operand
from refengine.tensor import Tensor


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

    def forward(self, xp: Namespace, x: Array, index: Array, *, axis: int) -> Array:
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

    def forward(self, xp: Namespace, x: Array, index: Array, *, axis: int) -> Array:
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
        raise ShapeError(
            f"{name}: expected an index that is not longer than the tensor but along dim {axis}, "
            f"got shapes {index} and {x}"
        )


class Take(Indexed):
    """Return the entries of the flattened tensor at `index`, in its shape; indices may count from the end."""

    inputs = ("x", "index")
    arguments = ("index",)
    may_be_negative = True

    def bind(self, x: Shape, index: Shape) -> dict[str, Any]:
        count = layout.Size(x).numel()
        return {"count": count, "shape": tuple(x)}

    def forward(self, xp: Namespace, x: Array, index: Array, *, count: int) -> Array:
        return xp.index(xp.reshape(x, (count,)), (index, Ellipsis))

    def vjp_x(self, xp: Namespace, g: Array, index: Array, *, count: int, shape: Shape) -> Array:
        return xp.reshape(xp.index_add(g, (index, Ellipsis), (count,)), shape)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Indices in one or two axes, repeated ones too."""
        count = layout.Size(x.shape).numel()
        return Call((x, draw.indices(draw.choice(((2,), (3,), (), (2, 2), (0,))) if count else (0,), count)))


class TakeAlongDim(Composite):
    """Return the entries of an axis at `indices`, which broadcasts with x along the others; or of the flat tensor.

    Along an axis, indices may count from the end.
    """

    group = "indexing"
    structure = "linear"
    min_ndim = 1

    def compose(self, x: Any, indices: Any, dim: Any = None) -> Any:
        if dim is None:
            return GATHER(x.reshape(-1), 0, indices.reshape(-1))
        axis = layout.axis(dim, x.ndim)
        if x.ndim != indices.ndim:
            raise ShapeError(
                "take_along_dim: expected equally many dimensions, "
                f"got shapes {tuple(x.shape)} and {tuple(indices.shape)}"
            )
        wide = list(layout.broadcast(_with_one(x.shape, axis), _with_one(indices.shape, axis)))
        shapes = []
        for tensor in (x, indices):
            wide[axis] = tensor.shape[axis]
            shapes.append(tuple(wide))
        from_start = indices + (indices < 0) * x.shape[axis]
        return GATHER(x.expand(shapes[0]), axis, from_start.expand(shapes[1]))

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Along an axis, broadcasting too, or of the flat tensor."""
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
            raise DTypeError("masked_select: expected mask to be a bool tensor; compare with != 0")
        shape = layout.broadcast(tuple(x.shape), tuple(mask.shape))
        return x.expand(shape)[mask.expand(shape)]

    def sample(self, draw: Draw, x: Operand) -> Call:
        """A mask of x's shape, or one that broadcasts."""
        shape = tuple(x.shape)
        return Call((x, draw.mask(shape[1:] if shape and draw.integer(0, 3) == 3 else shape)))


class Rows(Indexed):
    """Return the rows of x that an index of any shape names, a copy: (*index.shape, columns).

    The gradient of the row `padding` is 0; with `by_count` that of a row is divided by how often it is named.
    """

    name = "_embedding"
    group = ""
    backward_name = "EmbeddingBackward0"
    inputs = ("x", "index")
    arguments = ("index", "padding", "by_count")

    def bind(self, x: Shape, index: Shape, padding: int | None, by_count: bool) -> dict[str, Any]:
        return {"padding": padding, "by_count": by_count, "shape": tuple(x), "wide": (*index, 1)}

    def forward(self, xp: Namespace, x: Array, index: Array) -> Array:
        return xp.index(x, (index,))

    def vjp_x(
        self, xp: Namespace, g: Array, index: Array, *, padding: int | None, by_count: bool, shape: Shape, wide: Shape
    ) -> Array:
        if padding is not None:
            g = xp.where(xp.reshape(xp.equal(index, padding), wide), 0, g)
        if by_count:
            counts = xp.index_add(xp.astype(xp.equal(index, index), g.dtype), (index,), shape[:1])
            g = g / xp.reshape(xp.index(counts, (index,)), wide)
        return xp.index_add(g, (index,), shape)


class Embedding(Composite):
    """Return the rows of `weight` that an integer tensor x of any shape names, a copy: (*x.shape, columns).

    The row `padding_idx` gets no gradient. With `scale_grad_by_freq` the gradient of a row is divided by how often it
    is named. With `max_norm` the rows that are named, and longer than that in the norm of order `norm_type`, are
    shortened to it first, in place and unrecorded.

    Raises
    ------
    PositionError
        If an index is negative or out of range.
    PaddingError
        If `padding_idx` is out of range.
    UnsupportedError
        If the gradient is to be sparse.
    """

    name = "embedding"
    group = "indexing"
    form = "function"
    structure = "linear"
    min_ndim = 2
    elsewhere = {"torch": "nn.functional.embedding"}

    def compose(
        self,
        x: Tensor,
        weight: Tensor,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Tensor:
        if sparse:
            raise UnsupportedError("embedding: sparse gradients are not offered; leave sparse=False")
        if weight.ndim != 2:
            raise ShapeError(f"embedding: expected a weight with 2 dimensions, got shape {tuple(weight.shape)}")
        count = weight.shape[0]
        if padding_idx is not None and not -count <= padding_idx < count:
            raise PaddingError(f"embedding: expected padding_idx to name one of {count} rows, got {padding_idx}")
        if max_norm is not None:
            _shorten(weight, x, max_norm, norm_type)
        return ROWS(weight, x, None if padding_idx is None else padding_idx % count, bool(scale_grad_by_freq))

    def accepts(self, shape: Shape) -> bool:
        """Matrices only."""
        return len(shape) == 2

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Indices of any shape, repeated ones too. What changes the gradient, or the weight, has its own tests."""
        shape = draw.choice(((2,), (3,), (), (2, 2), (0,))) if x.shape[0] else (0,)
        return Call((draw.indices(shape, x.shape[0]), x))


class PaddingError(RangeError, AssertionError):
    """A row of padding that is not there."""


def _shorten(weight: Any, index: Tensor, max_norm: float, order: float) -> None:
    """Scale the rows that the index names, where they are longer than `max_norm`, to about that length."""
    with no_grad():
        flat = index.reshape(-1)
        rows = ROWS(weight, flat, None, False)
        norms = rows.norm(order, 1, keepdim=True)
        is_long = (norms > max_norm).to(rows.dtype)
        weight.index_copy_(0, flat, rows * (is_long * (max_norm / (norms + TINY) - 1) + 1))


TINY = 1e-7
"""Keeps the quotient finite; found as PyTorch's, from the length of a row that it has shortened."""


GATHER, ROWS = Gather(), Rows()

OPS: tuple[Op, ...] = (IndexSelect(), GATHER, Take(), TakeAlongDim(), MaskedSelect(), Embedding(), ROWS)
