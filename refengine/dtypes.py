"""The dtypes and PyTorch's rules for promoting them.

A dtype wraps the NumPy dtype that NumPy and CuPy arrays carry. Within one category NumPy's promotion is PyTorch's;
across categories the higher category wins, and Python numbers and 0-d tensors raise the category only.
Source: PyTorch documentation, "Tensor Attributes", torch.dtype.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np

from refengine.errors import ArgumentError, DTypeError

__all__ = [
    "dtype",
    "float64",
    "double",
    "float32",
    "float16",
    "half",
    "int64",
    "long",
    "int32",
    "uint8",
    "complex128",
    "cdouble",
    "complex64",
    "cfloat",
]

BOOL, INTEGER, FLOATING, COMPLEX = range(4)


class dtype:
    """An element type. Instances are unique and compare by identity."""

    __slots__ = ("category", "itemsize", "name", "numpy")

    def __init__(self, name: str, category: int) -> None:
        self.name: Final = name
        self.category: Final = category
        self.numpy: Final[np.dtype[Any]] = np.dtype(name)
        self.itemsize: Final = self.numpy.itemsize

    @property
    def is_floating_point(self) -> bool:
        return self.category == FLOATING

    @property
    def is_complex(self) -> bool:
        return self.category == COMPLEX

    @property
    def is_differentiable(self) -> bool:
        """Whether tensors of this dtype may require grad."""
        return self.category >= FLOATING

    def __repr__(self) -> str:
        return f"refengine.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return of, (self.name,)


float64 = double = dtype("float64", FLOATING)
float32 = dtype("float32", FLOATING)
float16 = half = dtype("float16", FLOATING)
int64 = long = dtype("int64", INTEGER)
int32 = dtype("int32", INTEGER)
uint8 = dtype("uint8", INTEGER)
bool_ = dtype("bool", BOOL)
complex128 = cdouble = dtype("complex128", COMPLEX)
complex64 = cfloat = dtype("complex64", COMPLEX)

ALL: Final = (float64, float32, float16, int64, int32, uint8, bool_, complex128, complex64)
_BY_NUMPY: Final[dict[Any, dtype]] = {d.numpy: d for d in ALL}
_COMPLEX_OF: Final = {float64: complex128, float32: complex64, float16: complex64}
_REAL_OF: Final = {complex128: float64, complex64: float32}

_default = float32


def of(value: Any) -> dtype:
    """The dtype meant by `value`: a dtype, a NumPy dtype, a name, or a Python number type.

    Raises
    ------
    DTypeError
        If there is no such dtype here.
    """
    if isinstance(value, dtype):
        return value
    try:
        return _BY_NUMPY[None if value is None else np.dtype(value)]  # np.dtype(None) is float64
    except (KeyError, TypeError):
        names = ", ".join(d.name for d in ALL)
        raise DTypeError(f"dtype: expected one of {names}, got {value!r}; convert the array first") from None


def default() -> dtype:
    """The dtype of new floating tensors (float32 unless set)."""
    return _default


def set_default(value: dtype) -> None:
    """Set the dtype of new floating tensors."""
    global _default
    if not value.is_floating_point:
        raise ArgumentError(f"set_default_dtype: expected a floating dtype, got {value!r}; use float32 or float64")
    _default = value


def complex_of(real: dtype) -> dtype:
    """The complex dtype with parts of dtype `real`."""
    return real if real.is_complex else _COMPLEX_OF[real]


def real_of(value: dtype) -> dtype:
    """The dtype of the parts of a complex dtype; a real dtype is returned as it is."""
    return _REAL_OF.get(value, value)


def of_number(value: complex) -> dtype:
    """The dtype PyTorch gives a Python number."""
    if isinstance(value, bool):
        return bool_
    if isinstance(value, int):
        return int64
    return _default if isinstance(value, float) else complex_of(_default)


@lru_cache(maxsize=256)
def promote(a: dtype, b: dtype) -> dtype:
    """The dtype of an operation between tensors of `a` and `b`, both with dimensions."""
    if a.category == b.category or (a.category >= FLOATING and b.category >= FLOATING):
        return _BY_NUMPY[np.promote_types(a.numpy, b.numpy)]
    return a if a.category > b.category else b


def result_type(operands: list[tuple[dtype, int]]) -> dtype:
    """The dtype of an operation between operands given as (dtype, priority).

    Priority 2: a tensor with dimensions, 1: a 0-d tensor, 0: a Python number. A lower priority counts only where its
    category is higher.
    """
    result: dtype | None = None
    for priority in (2, 1, 0):
        level: dtype | None = None
        for operand, own in operands:
            if own == priority:
                level = operand if level is None else promote(level, operand)
        if level is not None and (result is None or level.category > result.category):
            keeps_precision = result is not None and result.category == FLOATING and level.category == COMPLEX
            result = complex_of(result) if keeps_precision and result is not None else level
    assert result is not None
    return result
