"""Views and copies: reshaping, reordering and expanding axes, joining, casting."""

from __future__ import annotations

from math import prod
from typing import Any

from refengine import dtypes, layout
from refengine.backends.base import Array, Namespace
from refengine.errors import DTypeError, RepeatedAxisError, ShapeError, ViewError
from refengine.layout import Shape
from refengine.op import Binary, Composite, Op, Single, ViewOp
from refengine.operand import as_operand
from refengine.spec import Call, Draw, Operand
from refengine.tensor import Tensor

ROW_MAJOR = "contiguous_format"


def some_shape(draw: Draw, count: int, *, named: bool = False) -> Shape:
    """A shape with `count` elements, flat first; -1 may stand for a size unless each is to be `named`."""
    options: list[Shape] = [(count,), (-1,), (1, count), (count, 1)]
    options += [(d, count // d) for d in (2, 3, 4) if count and count % d == 0]
    options += [(-1, d) for d in (2, 3) if count and count % d == 0] if count else [(0, 2)]
    return draw.choice([o for o in options if -1 not in o or (count and not named)])


class View(ViewOp):
    """Return the same memory in another shape, where the strides allow it.

    Raises
    ------
    ViewError
        If only a copy can have that shape.
    """

    def bind(self, shape: Shape, *size: Any) -> dict[str, Any]:
        return {"shape": layout.infer(tuple(shape), layout.sizes(size)), "source": tuple(shape)}

    def forward(self, xp: Namespace, x: Array, *, shape: Shape) -> Array:
        return xp.reshape(x, shape)

    def vjp(self, xp: Namespace, g: Array, *, source: Shape) -> Array:
        return xp.reshape(g, source)

    def run(self, operands: tuple[Any, ...], bound: Any) -> Tensor:
        """Check that no copy is needed."""
        x: Tensor = operands[0]
        layout.view_strides(tuple(x.array.shape), x.backend.strides(x.array), bound.forward["shape"])
        return super().run(operands, bound)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Only where the strides surely allow it: on contiguous operands; else the shape it has."""
        return Call((x, some_shape(draw, prod(x.shape)) if x.is_contiguous else tuple(x.shape)))


class Alias(ViewOp):
    """Return the same memory as another tensor, for dual numbers and rules."""

    name = "_alias"

    def forward(self, xp: Namespace, x: Array) -> Array:
        return xp.reshape(x, tuple(x.shape))

    def vjp(self, xp: Namespace, g: Array) -> Array:
        return g


class Reshape(Composite):
    """Return a view in another shape where the strides allow it, else a copy."""

    group = "shape"

    def compose(self, x: Tensor, *shape: Any) -> Tensor:
        wanted = layout.infer(tuple(x.array.shape), layout.sizes(shape))
        try:
            return VIEW(x, wanted)
        except ViewError:
            result = VIEW(CLONE(x, memory_format=ROW_MAJOR), wanted)
            result.view_of = None  # nobody else can see what it would be a view of
            return result

    def sample(self, draw: Draw, x: Operand) -> Call:
        return Call((x, some_shape(draw, prod(x.shape))))


class Permute(ViewOp):
    """Return a view with the axes in another order."""

    def bind(self, shape: Shape, *dims: Any) -> dict[str, Any]:
        axes = layout.permutation(layout.sizes(dims), len(shape))
        ndim = len(axes)
        inverse = tuple(axes.index(i - ndim) - ndim for i in range(ndim))
        return {"axes": axes, "inverse": inverse}

    def forward(self, xp: Namespace, x: Array, *, axes: Shape) -> Array:
        return xp.permute_dims(x, axes)

    def vjp(self, xp: Namespace, g: Array, *, inverse: Shape) -> Array:
        return xp.permute_dims(g, inverse)

    def sample(self, draw: Draw, x: Operand) -> Call:
        left, dims = list(range(x.ndim)), []
        while left:
            dims.append(left.pop(draw.integer(0, len(left) - 1)))
        return Call((x, tuple(d - x.ndim if draw.boolean() else d for d in dims)))


class Transpose(ViewOp):
    """Return a view with two axes swapped."""

    aliases = ("swapaxes", "swapdims")

    def bind(self, shape: Shape, dim0: Any, dim1: Any) -> dict[str, Any]:
        ndim = len(shape)
        a, b = layout.axis(dim0, ndim), layout.axis(dim1, ndim)
        axes = list(range(-ndim, 0))
        if ndim:
            axes[a], axes[b] = axes[b], axes[a]
        return {"axes": tuple(axes)}

    def forward(self, xp: Namespace, x: Array, *, axes: Shape) -> Array:
        return xp.permute_dims(x, axes)

    def vjp(self, xp: Namespace, g: Array, *, axes: Shape) -> Array:
        return xp.permute_dims(g, axes)

    def sample(self, draw: Draw, x: Operand) -> Call:
        return Call((x, draw.axis(x.ndim), draw.axis(x.ndim)))


class Expand(ViewOp):
    """Return a view that repeats axes of size 1 with stride 0; -1 keeps a size."""

    aliases = ("broadcast_to",)

    def bind(self, shape: Shape, *size: Any) -> dict[str, Any]:
        return {"shape": layout.expand(tuple(shape), layout.sizes(size)), "source": tuple(shape)}

    def forward(self, xp: Namespace, x: Array, *, shape: Shape) -> Array:
        return xp.broadcast_to(x, shape)

    def vjp(self, xp: Namespace, g: Array, *, source: Shape) -> Array:
        return xp.sum_to(g, source)

    def sample(self, draw: Draw, x: Operand) -> Call:
        lead = tuple(draw.choice((2, 1, 3)) for _ in range(draw.integer(0, 1))) if x.ndim < 4 else ()
        return Call(
            (x, lead + tuple(draw.choice((2, 3, 1)) if size == 1 else draw.choice((size, -1)) for size in x.shape))
        )


class Clone(Single):
    """Return a copy; without gaps and with the axes in the same order in memory, or row-major if asked for."""

    group = "shape"

    def bind(self, shape: Shape, *, memory_format: Any = None) -> dict[str, Any]:
        return {"keep": memory_format is None or str(memory_format).endswith("preserve_format")}

    def forward(self, xp: Namespace, x: Array, *, keep: bool) -> Array:
        return xp.copy_dense(x) if keep else xp.copy(x)

    def vjp(self, xp: Namespace, g: Array) -> Array:
        return g


class To(Single):
    """Cast; the gradient is cast back. `Tensor.to` returns the tensor itself where nothing changes."""

    name = "_to_copy"
    group = ""
    backward_name = "ToCopyBackward0"

    def bind(self, shape: Shape, dtype: Any, source: Any) -> dict[str, Any]:
        return {"dtype": dtype.numpy, "source": source}

    def forward(self, xp: Namespace, x: Array, *, dtype: Any) -> Array:
        return xp.astype(xp.real(x) if _drops_imaginary(x.dtype, dtype) else x, dtype)

    def vjp(self, xp: Namespace, g: Array, *, source: Any) -> Array:
        return xp.astype(xp.real(g) if _drops_imaginary(g.dtype, source.numpy) else g, source.numpy)


def _drops_imaginary(have: Any, want: Any) -> bool:
    return dtypes.of(have).is_complex and not dtypes.of(want).is_complex


def cast(x: Tensor, dtype: Any = None, *, copy: bool = False, **_: Any) -> Tensor:
    """`x` in another dtype; `x` itself if it has it already and no copy is asked for."""
    wanted = dtypes.of(dtype)
    if wanted is x.dtype:
        return CLONE(x) if copy else x
    return TO(x, wanted, x.dtype)


class Contiguous(Composite):
    """Return the tensor itself where it is contiguous, else a contiguous copy."""

    group = "shape"

    def compose(self, x: Tensor, memory_format: Any = None) -> Tensor:
        return x if x.is_contiguous() else CLONE(x, memory_format=ROW_MAJOR)


class Copy(Binary):
    """Write y, broadcast and cast, into x: ``x.copy_(y)``. Out of place it is y expanded to x."""

    name = "copy"
    group = "shape"
    structure = "linear"
    scalars = False

    def convert(self, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        """`y` in x's dtype, whatever it is."""
        x, y = (as_operand(operand, self.name) for operand in operands)
        return x, cast(y, x.dtype)

    def bind(self, x: Shape, y: Shape, non_blocking: bool = False) -> dict[str, Any]:
        return {"shape": layout.expand(tuple(y), tuple(x))}

    def forward(self, xp: Namespace, x: Array, y: Array, *, shape: Shape) -> Array:
        return xp.copy(xp.broadcast_to(y, shape))

    def vjp_x(self, xp: Namespace, g: Array) -> Array:
        return xp.zeros_like(g)

    def vjp_y(self, xp: Namespace, g: Array) -> Array:
        return g

    def sample(self, draw: Draw, x: Operand) -> Call:
        """A tensor of x's shape or one that broadcasts to it."""
        shape = tuple(x.shape)
        wanted = draw.choice((shape, shape[1:], tuple(1 for _ in shape)))
        return Call((x, draw.operand(wanted)))


class Fill(Copy):
    """Write one value, a number or a 0-d tensor, everywhere into x: ``x.fill_(value)``."""

    name = "fill"
    form = "function"

    def convert(self, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        """The value as a 0-d tensor in x's dtype."""
        x, value = as_operand(operands[0], self.name), operands[1]
        if isinstance(value, Tensor):
            if value.ndim:
                raise ShapeError(f"fill: expected a number or a 0-d tensor, got shape {tuple(value.shape)}; use copy_")
            return x, cast(value, x.dtype)
        if isinstance(value, complex) and not x.dtype.is_complex:
            raise DTypeError(f"fill: a complex value cannot be written into {x.dtype.name}")
        return x, Tensor(x.backend.full((), value, x.array.dtype))

    def sample(self, draw: Draw, x: Operand) -> Call:
        """A number or a tensor."""
        return Call((x, draw.operand(()) if draw.boolean() else draw.real(-4.0, 4.0)))


class Zero(Single):
    """Write 0 everywhere into x: ``x.zero_()``. The derivative is 0."""

    group = "shape"
    form = "function"
    inplace = True

    def forward(self, xp: Namespace, x: Array) -> Array:
        return xp.zeros_like(x)

    def vjp(self, xp: Namespace, g: Array) -> Array:
        return xp.zeros_like(g)


class Unsqueeze(ViewOp):
    """Return a view with a new axis of size 1 at `dim`."""

    def bind(self, shape: Shape, dim: Any) -> dict[str, Any]:
        place = layout.axis(dim, len(shape) + 1) + len(shape) + 1
        return {"shape": (*shape[:place], 1, *shape[place:]), "source": tuple(shape)}

    def forward(self, xp: Namespace, x: Array, *, shape: Shape) -> Array:
        return xp.reshape(x, shape)

    def vjp(self, xp: Namespace, g: Array, *, source: Shape) -> Array:
        return xp.reshape(g, source)

    def accepts(self, shape: Shape) -> bool:
        return len(shape) < 5

    def sample(self, draw: Draw, x: Operand) -> Call:
        return Call((x, draw.axis(x.ndim + 1)))


class Squeeze(ViewOp):
    """Return a view without axes of size 1: all of them, or those named in `dim` that have size 1."""

    def bind(self, shape: Shape, dim: Any = None) -> dict[str, Any]:
        ndim = len(shape)
        axes = () if dim == () else layout.axes(dim, ndim)
        result = tuple(size for i, size in enumerate(shape) if size != 1 or i - ndim not in axes)
        return {"shape": result, "source": tuple(shape)}

    def forward(self, xp: Namespace, x: Array, *, shape: Shape) -> Array:
        return xp.reshape(x, shape)

    def vjp(self, xp: Namespace, g: Array, *, source: Shape) -> Array:
        return xp.reshape(g, source)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """All axes, one or several."""
        dim = draw.axes(x.ndim)
        return Call((x,) if dim is None else (x, dim))


class Flatten(Composite):
    """Return the tensor with the axes from `start_dim` to `end_dim` joined into one: itself, a view or a copy."""

    group = "shape"

    def compose(self, x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        shape = tuple(x.shape)
        if not shape:
            layout.axis(start_dim, 0), layout.axis(end_dim, 0)
            return RESHAPE(x, (1,))
        first, last = (layout.axis(dim, len(shape)) + len(shape) for dim in (start_dim, end_dim))
        if first > last:
            raise ShapeError(f"flatten: start_dim cannot come after end_dim, got {start_dim=} and {end_dim=}")
        if first == last:
            return x
        return RESHAPE(x, (*shape[:first], prod(shape[first : last + 1]), *shape[last + 1 :]))

    def sample(self, draw: Draw, x: Operand) -> Call:
        if not x.ndim or draw.boolean():
            return Call((x,))
        first = draw.integer(0, x.ndim - 1)
        last = draw.integer(first, x.ndim - 1)
        return Call((x, first - x.ndim if draw.boolean() else first, last - x.ndim if draw.boolean() else last))


class Unflatten(Composite):
    """Return a view with the axis `dim` split into `sizes`, one of which may be -1."""

    group = "shape"
    min_ndim = 1

    def compose(self, x: Tensor, dim: int, sizes: Any) -> Tensor:
        shape = tuple(x.shape)
        place = layout.axis(dim, len(shape)) + len(shape)
        split = layout.infer((shape[place],), tuple(sizes))
        return VIEW(x, (*shape[:place], *split, *shape[place + 1 :]))

    def sample(self, draw: Draw, x: Operand) -> Call:
        dim = draw.axis(x.ndim)
        return Call((x, dim, some_shape(draw, x.shape[dim])))


class ViewAs(Composite):
    """Return the same memory in the shape of another tensor, where the strides allow it."""

    group = "shape"

    def compose(self, x: Tensor, other: Tensor) -> Tensor:
        return VIEW(x, tuple(other.shape))

    def sample(self, draw: Draw, x: Operand) -> Call:
        return Call(
            (x, draw.operand(some_shape(draw, prod(x.shape), named=True) if x.is_contiguous else tuple(x.shape)))
        )


class ReshapeAs(Composite):
    """Return the tensor in the shape of another: a view where the strides allow it, else a copy."""

    group = "shape"

    def compose(self, x: Tensor, other: Tensor) -> Tensor:
        return RESHAPE(x, tuple(other.shape))

    def sample(self, draw: Draw, x: Operand) -> Call:
        return Call((x, draw.operand(some_shape(draw, prod(x.shape), named=True))))


class ExpandAs(Composite):
    """Return a view in the shape of another tensor, with stride 0 along what is repeated."""

    group = "shape"

    def compose(self, x: Tensor, other: Tensor) -> Tensor:
        return EXPAND(x, tuple(other.shape))

    def sample(self, draw: Draw, x: Operand) -> Call:
        lead = (2,) if x.ndim < 4 and draw.boolean() else ()
        return Call((x, draw.operand(lead + tuple(draw.choice((2, 1)) if size == 1 else size for size in x.shape))))


class Movedim(Composite):
    """Return a view with axes moved to other places, the rest in order."""

    group = "shape"
    aliases = ("moveaxis",)

    def compose(self, x: Tensor, source: Any, destination: Any) -> Tensor:
        ndim = x.ndim
        froms, tos = (v if isinstance(v, (tuple, list)) else (v,) for v in (source, destination))
        if len(froms) != len(tos):
            raise ShapeError(f"movedim: expected as many sources as destinations, got {source=} and {destination=}")
        places = dict(zip((layout.axis(d, ndim) for d in tos), (layout.axis(d, ndim) for d in froms), strict=True))
        if len(places) != len(tos) or len(set(places.values())) != len(froms):
            raise RepeatedAxisError(f"movedim: expected each axis once, got {source=} and {destination=}")
        if not ndim:
            return PERMUTE(x, ())
        rest = iter(axis for axis in range(-ndim, 0) if axis not in places.values())
        return PERMUTE(x, tuple(places[axis] if axis in places else next(rest) for axis in range(-ndim, 0)))

    def sample(self, draw: Draw, x: Operand) -> Call:
        if x.ndim > 1 and draw.boolean():
            return Call((x, (0, -1), draw.choice(((-1, 0), (1, 0)))))
        return Call((x, draw.axis(x.ndim), draw.axis(x.ndim)))


VIEW, RESHAPE, PERMUTE, TRANSPOSE, EXPAND, CLONE, TO = (
    View(),
    Reshape(),
    Permute(),
    Transpose(),
    Expand(),
    Clone(),
    To(),
)

OPS: tuple[Op, ...] = (
    VIEW, Alias(), RESHAPE, PERMUTE, TRANSPOSE, EXPAND, CLONE, TO, Contiguous(), Copy(), Fill(), Zero(), Unsqueeze(),
    Squeeze(), Flatten(), Unflatten(), ViewAs(), ReshapeAs(), ExpandAs(), Movedim(),
)  # fmt: skip
