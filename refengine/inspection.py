"""Functions that ask about tensors: what they are, and which dtype an operation between them has."""

from __future__ import annotations

from typing import Any

from refengine import dtypes
from refengine.tensor import Tensor

__all__ = [
    "is_tensor",
    "is_floating_point",
    "is_complex",
    "numel",
    "result_type",
]


def is_tensor(obj: Any) -> bool:
    """Whether `obj` is a tensor."""
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a floating one."""
    return input.is_floating_point()


def is_complex(input: Tensor) -> bool:
    """Whether the dtype is complex."""
    return input.is_complex()


def numel(input: Tensor) -> int:
    """The number of elements."""
    return input.numel()


def result_type(tensor1: Any, tensor2: Any) -> dtypes.dtype:
    """The dtype of an operation between two tensors or numbers."""
    return dtypes.result_type([_level(tensor1), _level(tensor2)])


def _level(value: Any) -> tuple[dtypes.dtype, int]:
    if isinstance(value, Tensor):
        return value.dtype, 2 if value.ndim else 1
    return dtypes.of_number(value), 0
