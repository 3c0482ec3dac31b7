"""Writing into parts of a tensor, in place and out of place: at indices, along an axis, where a mask holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from refengine import layout
from refengine.backends.base import Array, Namespace
from refengine.errors import ArgumentError, DTypeError, PositionError, ShapeError
from refengine.key import Indexed, Key, along, as_number, as_slices, of_tensors, split
from refengine.layout import Shape
from refengine.op import Op
from refengine.recording import Bound
from refengine.spec import Call, Draw, Operand
from refengine.tensor import Tensor


class IndexPut(Indexed):
    """Return x with `values`, which broadcasts, written (with `accumulate`: added) where index tensors or masks say.

    Of repeated entries the last remains without `accumulate`; the gradient of `values` is then that of each of them,
    as PyTorch's.

    Raises
    ------
    DimensionError
        If an index is out of range.
    ShapeError
        If `values` does not fit.
    """

    inplace = True
    inputs = ("x", "key", "values")
    arguments = ("indices", "values", "accumulate")

    def prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], Bound]:
        """The indices become a key."""
        indices = args[1] if len(args) > 1 else kwargs.pop("indices", ())
        key = indices if isinstance(indices, Key) else of_tensors(indices, args[0])
        values = dict(zip(self.arguments[1:], args[2:], strict=False)) | kwargs
        return super().prepare((args[0],), values | {"key": key})

    def bind(self, x: Shape, key: Shape, values: Shape, *, accumulate: bool = False) -> dict[str, Any]:
        return {"accumulate": bool(accumulate), "shape": tuple(x)}

    def forward(self, xp: Namespace, x: Array, key: Key, values: Array, *, accumulate: bool, shape: Shape) -> Array:
        try:
            if accumulate:
                return x + xp.index_add(values, key.items, shape)
            return xp.index_put(x, key.items, values)
        except ValueError as error:
            raise ShapeError(f"index_put: the values do not fit: {error}") from None

    def vjp_x(self, xp: Namespace, g: Array, key: Key, *, accumulate: bool) -> Array:
        return g if accumulate else xp.index_put(g, key.items, 0)

    def vjp_values(self, xp: Namespace, g: Array, key: Key) -> Array:
        return xp.index(g, key.items)

    def accepts(self, shape: Shape) -> bool:
        """Any with a first axis that is not empty."""
        return len(shape) > 0 and shape[0] > 0

    def sample(self, draw: Draw, x: Operand) -> Call:
        """A mask with one value, distinct indices, or repeated ones that accumulate."""
        shape = tuple(x.shape)
        kind = draw.choice(("index", "accumulate", "mask"))
        if kind == "mask":
            return Call((x, (draw.mask(shape),), draw.operand(())))
        count = draw.choice((2, 1, 3)) if kind == "accumulate" else draw.integer(1, min(shape[0], 3))
        indices = draw.indices((count,), shape[0], distinct=kind == "index")
        values = draw.operand((count, *shape[1:]) if draw.boolean() else shape[1:])
        return Call((x, (indices,), values), {"accumulate": True} if kind == "accumulate" else {})


def set_item(x: Tensor, key: Any, value: Any) -> None:
    """``x[key] = value``, in place: a copy into the view that the key gives, or `index_put_` where it has indices.

    Raises
    ------
    InplaceError
        Where the rules of in-place operations forbid it.
    ShapeError
        If the value does not broadcast to what the key names.
    ArgumentError
        If it is neither a tensor nor a number.
    """
    basic, index = split(key, x)
    part: Any = x[as_slices(basic)] if basic or index is None else x
    if index is not None:
        INDEX_PUT.call_inplace(part, index, value)
        return
    if isinstance(value, (bool, int, float, complex)):
        value = Tensor(x.backend.full((), value, x.array.dtype))
    elif not isinstance(value, Tensor):
        raise ArgumentError(
            "index: can only assign a tensor or a number, "
            f"got {type(value).__name__}; wrap it with refengine.tensor(...)"
        )
    shape = tuple(value.shape)
    while len(shape) > part.ndim and shape[0] == 1:
        shape = shape[1:]
    if shape != tuple(value.shape):
        value = value.reshape(shape)
    part.copy_(value if value.dtype is x.dtype else value.to(x.dtype))


class Along(Indexed):
    """Writes along one axis, at the indices that a one-dimensional tensor gives, what `source` has there."""

    inplace = True
    inputs = ("x", "index", "source")
    arguments: ClassVar[tuple[str, ...]] = ("dim", "index", "source")
    min_ndim = 1

    def bind(self, x: Shape, index: Shape, source: Shape, dim: Any) -> dict[str, Any]:
        if len(index) > 1 or not x:
            raise ShapeError(
                f"{self.name}: expected a tensor with dimensions and a one-dimensional index, "
                f"got shapes {tuple(x)} and {tuple(index)}"
            )
        axis = layout.axis(dim, len(x))
        wanted = list(x)
        wanted[axis] = layout.Size(index).numel()
        if list(source) != wanted:
            raise PositionError(f"{self.name}: expected source to have shape {tuple(wanted)}, got {tuple(source)}")
        return {"axis": axis, "shape": tuple(x)}

    def accepts(self, shape: Shape) -> bool:
        """Any with something to index along every axis."""
        return len(shape) > 0 and 0 not in shape

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Distinct indices."""
        dim = draw.axis(x.ndim)
        return self._sampled(draw, x, dim, draw.integer(1, min(x.shape[dim], 3)), distinct=True)

    def _sampled(self, draw: Draw, x: Operand, dim: int, count: int, *, distinct: bool) -> Call:
        shape = list(x.shape)
        shape[dim] = count
        return Call((x, dim, draw.indices((count,), x.shape[dim], distinct=distinct), draw.operand(tuple(shape))))


def _key(xp: Namespace, axis: int, index: Array) -> tuple[Any, ...]:
    """The key of an axis and a one-dimensional or 0-d index."""
    return along(axis, xp.reshape(index, (-1,)))


class IndexAdd(Along):
    """Return x with alpha * source added along an axis at the given indices; repeated ones add up.

    Raises
    ------
    DimensionError
        If an index is negative or out of range.
    """

    arguments = ("dim", "index", "source", "alpha")

    def bind(self, x: Shape, index: Shape, source: Shape, dim: Any, alpha: Any = 1) -> dict[str, Any]:
        return super().bind(x, index, source, dim) | {"alpha": alpha}

    def forward(
        self, xp: Namespace, x: Array, index: Array, source: Array, *, axis: int, shape: Shape, alpha: Any
    ) -> Array:
        return x + xp.index_add(source if alpha == 1 else alpha * source, _key(xp, axis, index), shape)

    def vjp_x(self, xp: Namespace, g: Array) -> Array:
        return g

    def vjp_source(self, xp: Namespace, g: Array, index: Array, *, axis: int, alpha: Any) -> Array:
        grad = xp.index(g, _key(xp, axis, index))
        return grad if alpha == 1 else grad * alpha

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Repeated indices, with and without a factor."""
        call = self._sampled(draw, x, draw.axis(x.ndim), draw.choice((2, 3, 1, 0)), distinct=False)
        return Call(call.args, {"alpha": draw.choice((2, -0.5))} if draw.boolean() else {})


class IndexCopy(Along):
    """Return x with `source` written along an axis at the given indices.

    Of repeated indices the last remains; the gradient of `source` is then that of each of them, as PyTorch's.
    """

    def forward(self, xp: Namespace, x: Array, index: Array, source: Array, *, axis: int) -> Array:
        return xp.index_put(x, _key(xp, axis, index), source)

    def vjp_x(self, xp: Namespace, g: Array, index: Array, *, axis: int) -> Array:
        return xp.index_put(g, _key(xp, axis, index), 0)

    def vjp_source(self, xp: Namespace, g: Array, index: Array, *, axis: int) -> Array:
        return xp.index(g, _key(xp, axis, index))


class IndexFill(Indexed):
    """Return x with `value`, a number or a 0-d tensor, written along an axis at the given indices."""

    inplace = True
    inputs = ("x", "index", "value")
    arguments = ("dim", "index", "value")
    may_be_negative = True
    min_ndim = 1

    def bind(self, x: Shape, index: Shape, value: Shape, dim: Any) -> dict[str, Any]:
        if len(index) > 1 or value or not x:
            raise ShapeError(
                "index_fill: expected a one-dimensional index and a single value, "
                f"got shapes {tuple(index)} and {tuple(value)}"
            )
        return {"axis": layout.axis(dim, len(x))}

    def forward(self, xp: Namespace, x: Array, index: Array, value: Array, *, axis: int) -> Array:
        return xp.index_put(x, _key(xp, axis, index), value)

    def vjp_x(self, xp: Namespace, g: Array, index: Array, *, axis: int) -> Array:
        return xp.index_put(g, _key(xp, axis, index), 0)

    def vjp_value(self, xp: Namespace, g: Array, index: Array, *, axis: int) -> Array:
        return xp.sum(xp.index(g, _key(xp, axis, index)))

    def accepts(self, shape: Shape) -> bool:
        """Any with something to index along every axis."""
        return len(shape) > 0 and 0 not in shape

    def sample(self, draw: Draw, x: Operand) -> Call:
        """A number at indices that may repeat, or a tensor at distinct ones."""
        dim = draw.axis(x.ndim)
        size = x.shape[dim]
        if draw.boolean():
            return Call((x, dim, draw.indices((draw.integer(1, min(size, 3)),), size, distinct=True), draw.operand(())))
        return Call((x, dim, draw.indices((draw.choice((2, 1, 3, 0)),), size), draw.real(-2.0, 2.0)))


class _Scatter(Indexed):
    """Writes along one axis at every position of `index`, which may be shorter than x along the others, and than `src`.

    PyTorch has no gradient where `src` is longer than the index, so programs do not draw that.
    """

    inplace = True
    inputs = ("x", "index", "src")
    arguments = ("dim", "index", "src")

    def bind(self, x: Shape, index: Shape, src: Shape, dim: Any) -> dict[str, Any]:
        x, index, src = tuple(x), tuple(index), tuple(src)
        axis = layout.axis(dim, len(x))
        if len(index or (1,)) != len(x or (1,)) or any(
            a > b for k, (a, b) in enumerate(zip(index, x, strict=False)) if k - len(x) != axis
        ):
            raise ShapeError(
                f"{self.name}: expected an index with x's number of axes, not longer but along dim {dim}, "
                f"got shapes {index} and {x}"
            )
        part = None
        if src != index and src:
            if len(src) != len(index or (1,)) or any(a > b for a, b in zip(index, src, strict=False)):
                raise PositionError(
                    f"{self.name}: expected src to be at least as long as the index, got shapes {src} and {index}"
                )
            part = tuple(slice(size) for size in index) if index else (0,)
        return {"axis": axis, "part": part, "shape": x, "source": src}

    def sample(self, draw: Draw, x: Operand) -> Call:
        """One row of indices along the axis, so that nothing is written twice; the source has the index's shape."""
        dim = draw.axis(x.ndim)
        shape = [max(size - 1, 1) if draw.integer(0, 3) == 3 else size for size in x.shape]
        return self._sampled(draw, x, dim, shape, 1)

    def _sampled(self, draw: Draw, x: Operand, dim: int, shape: list[int], count: int) -> Call:
        if shape:
            shape[dim] = count
        return Call((x, dim, draw.indices(tuple(shape), x.shape[dim] if shape else 1), draw.operand(tuple(shape))))

    def accepts(self, shape: Shape) -> bool:
        """Any that is not empty."""
        return 0 not in shape


class Scatter(_Scatter):
    """Return x with `src` (or a number, `value`) written along an axis where `index` says.

    Of repeated indices the last remains; the gradient of `src` is then that of each of them, as PyTorch's.

    Raises
    ------
    DimensionError
        If an index is negative or out of range.
    ShapeError
        If the index is longer than x (but along the axis) or than `src`.
    """

    def prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], Bound]:
        """PyTorch calls a number `value`."""
        if "value" in kwargs:
            kwargs["src"] = kwargs.pop("value")
        return super().prepare(args, kwargs)

    def forward(self, xp: Namespace, x: Array, index: Array, src: Array, *, axis: int, part: Any) -> Array:
        return xp.put_along_axis(x, index, src if part is None else xp.index(src, part), axis=axis)

    def vjp_x(self, xp: Namespace, g: Array, index: Array, *, axis: int) -> Array:
        return xp.put_along_axis(g, index, 0, axis=axis)

    def vjp_src(self, xp: Namespace, g: Array, index: Array, *, axis: int, part: Any, source: Shape) -> Array:
        grad = xp.take_along_axis(g, index, axis=axis)
        return grad if part is None else xp.index_add(grad, part, source)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """A source, or a number at indices that may repeat."""
        if draw.integer(0, 3) < 3:
            return super().sample(draw, x)
        dim = draw.axis(x.ndim)
        return Call((x, dim, draw.indices(tuple(x.shape), x.shape[dim] if x.ndim else 1), draw.real(-2.0, 2.0)))


class ScatterAdd(_Scatter):
    """Return x with `src` added along an axis where `index` says; repeated indices add up.

    Raises
    ------
    DimensionError
        If an index is negative or out of range.
    """

    def forward(
        self, xp: Namespace, x: Array, index: Array, src: Array, *, axis: int, part: Any, shape: Shape
    ) -> Array:
        return x + xp.scatter_add(src if part is None else xp.index(src, part), index, axis=axis, shape=shape)

    def vjp_x(self, xp: Namespace, g: Array) -> Array:
        return g

    def vjp_src(self, xp: Namespace, g: Array, index: Array, *, axis: int, part: Any, source: Shape) -> Array:
        grad = xp.take_along_axis(g, index, axis=axis)
        return grad if part is None else xp.index_add(grad, part, source)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Any number of indices along the axis, repeated ones too."""
        dim = draw.axis(x.ndim)
        shape = [max(size - 1, 1) if draw.integer(0, 3) == 3 else size for size in x.shape]
        return self._sampled(draw, x, dim, shape, draw.choice((2, 1, 3, 0)))


class MaskedFill(Op):
    """Return x with `value`, a number or a 0-d tensor, where `mask` holds; x and the mask broadcast.

    Raises
    ------
    DTypeError
        If the mask is not bool.
    """

    group = "indexing"
    inplace = True
    inputs = ("x", "mask", "value")
    constants = ("mask",)
    structure = "linear"

    def convert(self, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        """A bool mask; the value in x's dtype."""
        x, mask, value = operands
        if not isinstance(mask, Tensor) or mask.dtype.name != "bool":
            raise DTypeError(
                "masked_fill: expected mask to be a bool tensor, "
                f"got {mask.dtype.name if isinstance(mask, Tensor) else mask!r}"
            )
        if isinstance(value, (bool, int, float, complex)):
            value = Tensor(x.backend.full((), as_number("masked_fill", value, x), x.array.dtype))
        elif not isinstance(value, Tensor):
            raise ArgumentError(f"masked_fill: expected value to be a number or a 0-d tensor, got {value!r}")
        elif value.ndim:
            raise ShapeError(
                f"masked_fill: expected value to be 0-d, got shape {tuple(value.shape)}; use where for more"
            )
        elif value.dtype is not x.dtype:
            value = value.to(x.dtype)
        return x, mask, value

    def forward(self, xp: Namespace, x: Array, mask: Array, value: Array) -> Array:
        return xp.where(mask, value, x)

    def vjp_x(self, xp: Namespace, g: Array, mask: Array) -> Array:
        return xp.where(mask, xp.zeros_like(g), g)

    def vjp_value(self, xp: Namespace, g: Array, mask: Array) -> Array:
        return xp.where(mask, g, xp.zeros_like(g))

    def sample(self, draw: Draw, x: Operand) -> Call:
        """A number or a 0-d tensor; a mask of x's shape, or one that broadcasts."""
        shape = tuple(x.shape)
        mask = draw.mask(shape[1:] if shape and draw.integer(0, 3) == 3 else shape)
        return Call((x, mask, draw.operand(()) if draw.boolean() else draw.real(-2.0, 2.0)))


INDEX_PUT = IndexPut()

OPS: tuple[Op, ...] = (INDEX_PUT, IndexAdd(), IndexCopy(), IndexFill(), Scatter(), ScatterAdd(), MaskedFill())

METHODS: dict[str, Callable[..., Any]] = {"__setitem__": set_item}
"""Methods that are no ops."""
