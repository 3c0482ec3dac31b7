"""PyTorch's names for what a file is made of: storage types by dtype, and globals that stand for no object here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from refengine import dtypes
from refengine.errors import DTypeError


@dataclass(frozen=True, slots=True)
class Foreign:
    """A name of PyTorch's that is written as it stands, and never looked up."""

    module: str
    name: str

    def __call__(self, *args: Any) -> Any:
        """Nothing can be called that is not there; pickle wants a callable."""
        raise TypeError(f"{self.module}.{self.name} is a name only")


@dataclass(frozen=True, slots=True)
class Global:
    """A name of PyTorch's that a file may call, and what does it here; the call checks what it is given."""

    name: str
    call: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        """What a full unpickler does with it."""
        return self.call(*args)


@dataclass(frozen=True, slots=True)
class StorageType:
    """The type of a storage in a file.

    Attributes
    ----------
    name : str
        PyTorch's name of it.
    element : str
        The name of the dtype of its elements.
    """

    name: str
    element: str

    def dtype(self) -> dtypes.dtype:
        """The dtype here.

        Raises
        ------
        DTypeError
            If there is none.
        """
        return known_dtype(self.element)


STORAGES: Final[dict[str, str]] = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "QInt8Storage": "qint8",
    "QInt32Storage": "qint32",
    "QUInt8Storage": "quint8",
    "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
}
"""PyTorch's storage types and the dtypes of their elements, those that are not here included."""
UNTYPED: Final = StorageType("UntypedStorage", "uint8")
OTHER_DTYPES: Final = (
    *("uint16", "uint32", "uint64", "complex32"),
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2"),
)
"""Dtypes of PyTorch that have no storage type of their own; none of them is here."""

STORAGE_OF: Final[dict[dtypes.dtype, Foreign]] = {
    dtype: Foreign("torch", name) for name, element in STORAGES.items() for dtype in dtypes.ALL if dtype.name == element
}


@dataclass(frozen=True, slots=True)
class MissingDType:
    """A dtype of PyTorch's that is not here: what a file says until something is made with it."""

    name: str


def known_dtype(name: str) -> dtypes.dtype:
    """The dtype called so.

    Raises
    ------
    DTypeError
        If there is none here.
    """
    for dtype in dtypes.ALL:
        if dtype.name == name:
            return dtype
    names = ", ".join(dtype.name for dtype in dtypes.ALL)
    raise DTypeError(f"load: expected one of {names}, got a tensor of dtype {name}; convert it before it is saved")
