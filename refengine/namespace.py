"""The engine's own namespace over tensors: what `xp` is when the graph of a gradient is wanted.

Each name of the vocabulary is a recorded op, so a rule that runs here can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refengine import catalogue, dtypes
from refengine.autograd.engine import TENSOR_NAMESPACE
from refengine.key import Key
from refengine.layout import Shape, Window
from refengine.op import Elementwise
from refengine.ops.shape import cast
from refengine.tensor import Tensor


class TensorNamespace:
    """`Namespace` over tensors. Elementwise functions are set from the catalogue, by their kernel's name."""

    def __init__(self) -> None:
        for op in catalogue.ops(hidden=True):
            if isinstance(op, Elementwise) and op.kernel and not hasattr(self, op.kernel):
                setattr(self, op.kernel, op.call)
        self.reciprocal = catalogue.get("reciprocal").call

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise AttributeError(f"the tensor namespace has no {name!r}; declare an op with that kernel, or add it here")

    def sum(self, x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
        return catalogue.get("sum")(x, axis, keepdims) if axis is None or axis != () else x

    def prod(self, x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
        for one in range(-x.ndim, 0) if axis is None else axis:
            x = catalogue.get("prod")(x, one, keepdim=True)
        return x if keepdims or axis == () else x.reshape(_without(tuple(x.shape), axis))

    def max(self, x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
        return catalogue.get("amax")(x, axis, keepdims) if axis is None or axis != () else x

    def min(self, x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
        return catalogue.get("amin")(x, axis, keepdims) if axis is None or axis != () else x

    def any(self, x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
        return catalogue.get("any")(x, axis, keepdims) if axis is None or axis != () else x

    def all(self, x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
        return catalogue.get("all")(x, axis, keepdims) if axis is None or axis != () else x

    def cumulative_sum(self, x: Tensor, *, axis: int) -> Tensor:
        return catalogue.get("cumsum")(x, axis)

    def cumulative_prod(self, x: Tensor, *, axis: int) -> Tensor:
        return catalogue.get("cumprod")(x, axis)

    def flip(self, x: Tensor, *, axis: Shape) -> Tensor:
        return catalogue.get("flip")(x, axis)

    def where(self, condition: Tensor, x: Any, y: Any) -> Tensor:
        return catalogue.get("where")(condition, x, y)

    def matmul(self, x: Tensor, y: Tensor) -> Tensor:
        return catalogue.get("matmul")(x, y)

    def dense(self, x: Tensor) -> Tensor:
        return catalogue.get("clone")(x) if 0 in x.stride() else x

    def concat(self, arrays: list[Tensor], *, axis: int) -> Tensor:
        return catalogue.get("cat")(arrays, axis)

    def stack(self, arrays: list[Tensor], *, axis: int) -> Tensor:
        return catalogue.get("stack")(arrays, axis)

    def tril(self, x: Tensor, *, k: int) -> Tensor:
        return catalogue.get("tril")(x, k)

    def triu(self, x: Tensor, *, k: int) -> Tensor:
        return catalogue.get("triu")(x, k)

    def index(self, x: Tensor, key: Any) -> Tensor:
        return catalogue.get("__getitem__")(x, key)

    def index_add(self, g: Tensor, key: Any, shape: Shape) -> Tensor:
        return catalogue.get("index_put")(self._zeros(g, shape), Key(key), g, accumulate=True)

    def index_put(self, x: Tensor, key: Any, values: Any) -> Tensor:
        return catalogue.get("index_put")(x, Key(key), values)

    def take_along_axis(self, x: Tensor, indices: Tensor, *, axis: int) -> Tensor:
        return catalogue.get("gather")(x, axis, indices)

    def scatter_add(self, g: Tensor, indices: Tensor, *, axis: int, shape: Shape) -> Tensor:
        return catalogue.get("scatter_add")(self._zeros(g, shape), axis, indices, g)

    def put_along_axis(self, x: Tensor, indices: Tensor, values: Any, *, axis: int) -> Tensor:
        return catalogue.get("scatter")(x, axis, indices, values)

    def _zeros(self, like: Tensor, shape: Shape) -> Tensor:
        return Tensor(like.backend.full(shape, 0, like.array.dtype))

    def diagonal(self, x: Tensor, *, offset: int) -> Tensor:
        return catalogue.get("diagonal")(x, offset, -2, -1)

    def strided(self, x: Tensor, shape: Shape, strides: Shape, offset: int, like: tuple[Shape, Shape]) -> Tensor:
        return catalogue.get("_strided")(x, shape, strides, offset, like)

    def strided_add(self, g: Tensor, shape: Shape, strides: Shape, offset: int, like: tuple[Shape, Shape]) -> Tensor:
        return catalogue.get("_strided_add")(g, shape, strides, offset, like)

    def windows(self, x: Tensor, window: Window) -> Tensor:
        return catalogue.get("_windows")(x, window)

    def windows_add(self, g: Tensor, window: Window, shape: Shape) -> Tensor:
        return catalogue.get("_windows_add")(g, window, shape)

    def alias(self, x: Tensor) -> Tensor:
        return catalogue.get("_alias")(x)

    def copy(self, x: Tensor) -> Tensor:
        return catalogue.get("clone")(x, memory_format="contiguous_format")

    def copy_dense(self, x: Tensor) -> Tensor:
        return catalogue.get("clone")(x)

    def polygamma(self, x: Tensor, *, order: int) -> Tensor:
        return catalogue.get("_polygamma")(x, order)

    def roll(self, x: Tensor, shift: Shape, *, axis: Shape) -> Tensor:
        return catalogue.get("roll")(x, shift, axis)

    def astype(self, x: Tensor, dtype: Any) -> Tensor:
        return cast(x, dtypes.of(dtype))

    def reshape(self, x: Tensor, shape: Shape) -> Tensor:
        return catalogue.get("reshape")(x, shape)

    def permute_dims(self, x: Tensor, axes: Shape) -> Tensor:
        return catalogue.get("permute")(x, axes)

    def broadcast_to(self, x: Tensor, shape: Shape) -> Tensor:
        return catalogue.get("expand")(x, shape)

    def zeros_like(self, x: Tensor) -> Tensor:
        return Tensor(x.backend.full(tuple(x.shape), 0, x.array.dtype))

    def ones_like(self, x: Tensor) -> Tensor:
        return Tensor(x.backend.full(tuple(x.shape), 1, x.array.dtype))

    def zeros(self, shape: Shape, dtype: Any) -> Tensor:
        from refengine.backends.numpy import BACKEND

        return Tensor(BACKEND.full(shape, 0, dtypes.of(dtype).numpy))

    def sum_to(self, x: Tensor, shape: Shape) -> Tensor:
        return x if tuple(x.shape) == shape else catalogue.get("_sum_to")(x, shape)


def _without(shape: Shape, axis: Any) -> Shape:
    """A shape without some of its (negative) axes; None: without all."""
    return () if axis is None else tuple(size for i, size in enumerate(shape) if i - len(shape) not in axis)


TENSOR_NAMESPACE.append(TensorNamespace())
