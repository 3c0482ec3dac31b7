"""The engine's own namespace over tensors: what `xp` is when the graph of a gradient is wanted.

Each name of the vocabulary is a recorded op, so a rule that runs here can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refengine import catalogue
from refengine import dtype as dtypes
from refengine.autograd.engine import TENSOR_NAMESPACE
from refengine.layout import Shape
from refengine.op import Elementwise
from refengine.ops.shape import cast
from refengine.tensor import Tensor


class TensorNamespace:
    """`Namespace` over tensors. Elementwise functions are set from the catalogue, by their kernel's name."""

    def __init__(self) -> None:
        for op in catalogue.ops(hidden=True):
            if isinstance(op, Elementwise) and op.kernel and not hasattr(self, op.kernel):
                setattr(self, op.kernel, op)
        for name, own in {"add": "add", "subtract": "sub", "reciprocal": "reciprocal"}.items():
            setattr(self, name, catalogue.get(own))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise AttributeError(f"the tensor namespace has no {name!r}; add it to refengine/namespace.py or declare an op with that kernel")

    def sum(self, x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
        return catalogue.get("sum")(x, axis, keepdims) if axis is None or axis != () else x

    def copy(self, x: Tensor) -> Tensor:
        return catalogue.get("clone")(x)

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


TENSOR_NAMESPACE.append(TensorNamespace())
