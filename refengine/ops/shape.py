"""Views and copies: reshaping, reordering and expanding axes, joining, casting."""

from __future__ import annotations

from math import prod
from typing import Any

from refengine import dtype as dtypes
from refengine import layout
from refengine.backends.base import Array, Namespace
from refengine.layout import Shape
from refengine.op import Binary, Composite, Op, Single, ViewOp
from refengine.spec import Call, Draw, Operand
from refengine.tensor import Tensor


def some_shape(draw: Draw, count: int) -> Shape:
    """A shape with `count` elements, flat first."""
    options: list[Shape] = [(count,), (-1,), (1, count), (count, 1)]
    options += [(d, count // d) for d in (2, 3, 4) if count and count % d == 0]
    options += [(-1, d) for d in (2, 3) if count and count % d == 0] if count else [(0, 2)]
    return draw.choice([o for o in options if count or -1 not in o])


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


class Reshape(Composite):
    """Return a view in another shape where the strides allow it, else a copy."""

    group = "shape"

    def compose(self, x: Tensor, *shape: Any) -> Tensor:
        wanted = layout.infer(tuple(x.array.shape), layout.sizes(shape))
        try:
            return VIEW(x, wanted)
        except layout.ViewError:
            return VIEW(CLONE(x), wanted)

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

    def bind(self, shape: Shape, *size: Any) -> dict[str, Any]:
        return {"shape": layout.expand(tuple(shape), layout.sizes(size)), "source": tuple(shape)}

    def forward(self, xp: Namespace, x: Array, *, shape: Shape) -> Array:
        return xp.broadcast_to(x, shape)

    def vjp(self, xp: Namespace, g: Array, *, source: Shape) -> Array:
        return xp.sum_to(g, source)

    def sample(self, draw: Draw, x: Operand) -> Call:
        lead = tuple(draw.choice((2, 1, 3)) for _ in range(draw.integer(0, 1))) if x.ndim < 4 else ()
        return Call((x, lead + tuple(draw.choice((2, 3, 1)) if size == 1 else draw.choice((size, -1)) for size in x.shape)))


class Clone(Single):
    """Return a contiguous copy."""

    group = "shape"

    def bind(self, shape: Shape, *, memory_format: Any = None) -> dict[str, Any]:
        return {}

    def forward(self, xp: Namespace, x: Array) -> Array:
        return xp.copy(x)

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
        return x if x.is_contiguous() else CLONE(x)


class Copy(Binary):
    """Write y, broadcast and cast, into x: ``x.copy_(y)``. Out of place it is y expanded to x."""

    name = "copy"
    group = "shape"
    structure = "linear"
    scalars = False

    def bind(self, x: Shape, y: Shape, non_blocking: bool = False) -> dict[str, Any]:
        return {"shape": tuple(x)}

    def forward(self, xp: Namespace, x: Array, y: Array, *, shape: Shape) -> Array:
        return xp.copy(xp.broadcast_to(y, shape))

    def vjp_x(self, xp: Namespace, g: Array) -> Array:
        return xp.zeros_like(g)

    def vjp_y(self, xp: Namespace, g: Array) -> Array:
        return g


VIEW, CLONE, TO = View(), Clone(), To()

OPS: tuple[Op, ...] = (VIEW, Reshape(), Permute(), Transpose(), Expand(), CLONE, TO, Contiguous(), Copy())
