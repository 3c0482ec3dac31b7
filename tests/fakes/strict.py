"""A backend over array_api_strict, on a device that is not its CPU: what passes here uses nothing but the vocabulary.

Standard names go to array_api_strict itself, which refuses whatever the Python array API standard does not promise
(implicit conversion, NumPy scalars, mixed kinds of dtype). The extensions, and what the engine's own memory needs, are
NumPy's on the host's values. An array has no methods: a rule that reaches past `xp` fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import array_api_strict as strict
import numpy as np

from refengine.backends import base
from refengine.backends.numpy import BACKEND as NUMPY
from refengine.errors import ArgumentError
from refengine.tensor import DEVICES, register_backend

HOST: Any = NUMPY.xp
DEVICE = strict.Device("device1")
RENAMED = {"bitwise_not": "bitwise_invert"}
NUMBERS = (bool, int, float, complex)
LAID_OUT = ("reshape", "permute_dims", "broadcast_to", "flip", "roll")
"""Standard names of which the vocabulary also says whether memory is shared and how it is laid out."""


class StrictArray:
    """An array of array_api_strict, whose dtype is spelled as NumPy's for the engine's bookkeeping."""

    __slots__ = ("inner",)

    def __init__(self, inner: Any) -> None:
        assert inner.device == DEVICE
        self.inner = inner

    @property
    def host(self) -> Any:
        """The values in the host's memory, the very same memory; for the backend, not for rules."""
        return self.inner._array

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.inner.shape)

    @property
    def ndim(self) -> int:
        return int(self.inner.ndim)

    @property
    def size(self) -> int:
        return int(self.inner.size)

    @property
    def mT(self) -> StrictArray:
        return StrictArray(self.inner.mT)

    @property
    def dtype(self) -> Any:
        return self.host.dtype

    def __bool__(self) -> bool:
        if self.shape or self.dtype != np.bool_:
            raise TypeError("a rule may ask for the truth of a 0-d bool array alone, such as xp.any gives")
        return bool(self.inner)

    def __getitem__(self, key: Any) -> Any:
        raise TypeError("a rule must not index an array; use xp.index")

    def __len__(self) -> int:
        raise TypeError("a rule must not ask for the length of an array; use its shape")


def look(array: Any) -> StrictArray:
    """The host's array, its memory shared, as a strict one."""
    return StrictArray(strict._array_object.Array._new(np.asarray(array), device=DEVICE))


def plain(value: Any) -> Any:
    """An argument of a standard function: strict arrays and Python numbers, nothing else."""
    if isinstance(value, StrictArray):
        return value.inner
    if value is None or type(value) in NUMBERS:
        return value
    if isinstance(value, np.dtype):
        return getattr(strict, value.name)
    if isinstance(value, (tuple, list)):
        return type(value)(plain(item) for item in value)
    raise TypeError(f"expected an array of this namespace or a Python number, got {value!r} ({type(value).__name__})")


def _standard(name: str) -> Callable[..., Any]:
    """A function of the standard."""
    function = getattr(strict, RENAMED.get(name, name))

    def call(*args: Any, **kwargs: Any) -> Any:
        if not any(isinstance(a, StrictArray) or (isinstance(a, (list, tuple)) and a) for a in args):
            raise TypeError(f"xp.{name}: expected an array, got {args!r}")
        result = function(*map(plain, args), **{k: plain(v) if k == "dtype" else v for k, v in kwargs.items()})
        return StrictArray(result) if hasattr(result, "device") else result

    return call


def _hosted(name: str) -> Callable[..., Any]:
    """An extension: NumPy's, on the host's values."""
    function = getattr(HOST, name)

    def strip(value: Any) -> Any:
        if isinstance(value, StrictArray):
            return value.host
        if isinstance(value, np.ndarray):
            raise TypeError(f"xp.{name}: got a NumPy array, which this device refuses")
        if isinstance(value, (tuple, list)):
            return type(value)(strip(item) for item in value)
        return value

    def call(*args: Any, **kwargs: Any) -> Any:
        return look(function(*map(strip, args), **{k: strip(v) for k, v in kwargs.items()}))

    return call


def _operator(name: str, reflected: bool = False) -> Callable[..., Any]:
    function = _standard(name)

    def call(self: StrictArray, other: Any) -> Any:
        return function(other, self) if reflected else function(self, other)

    return call


for _dunder, _name in {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "pow", "eq": "equal",
    "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
}.items():  # fmt: skip
    setattr(StrictArray, f"__{_dunder}__", _operator(_name))
    setattr(StrictArray, f"__r{_dunder}__", _operator(_name, reflected=True))
StrictArray.__neg__ = lambda self: _standard("negative")(self)  # type: ignore[attr-defined]
StrictArray.__hash__ = object.__hash__  # type: ignore[method-assign]


class StrictNamespace:
    """`Namespace` over strict arrays: an explicit list of names, from the protocol's own."""

    def __init__(self) -> None:
        own = {name for name in vars(base.Namespace) if not name.startswith("_")}
        names = {*base.UNARY, *base.BINARY, *base.REDUCTIONS, *base.EXTENSIONS, *own} - vars(StrictNamespace).keys()
        for name in sorted(names):
            if name in base.EXTENSIONS or not hasattr(strict, RENAMED.get(name, name)):
                setattr(self, name, _hosted(name))
            else:
                setattr(self, name, _standard(name))
        self.kernel = lambda name: getattr(self, name)
        for name in LAID_OUT:
            setattr(self, name, _hosted(name))

    def astype(self, x: StrictArray, dtype: Any) -> StrictArray:
        """To a dtype in the spelling that strict arrays show."""
        return StrictArray(strict.astype(x.inner, getattr(strict, np.dtype(dtype).name), copy=False))

    def zeros(self, shape: Any, dtype: Any) -> StrictArray:
        """On this device."""
        return look(np.zeros(shape, dtype))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"xp.{name} is not in the vocabulary of backends/base.py")


class StrictBackend:
    """What the engine needs beside the namespace; every result lies on the strict device."""

    name = "strict"
    array_type = StrictArray
    xp = StrictNamespace()

    def array(self, values: Any, dtype: Any = None) -> StrictArray:
        return look(NUMPY.array(values.host if isinstance(values, StrictArray) else values, dtype))

    def wrap(self, value: Any) -> StrictArray:
        if isinstance(value, StrictArray):
            return value
        raise ArgumentError(
            f"strict: an op returned {value!r} ({type(value).__name__}), which is no array of its device"
        )

    def to_host(self, x: StrictArray) -> Any:
        return x.host

    def empty(self, shape: Any, dtype: Any) -> StrictArray:
        return look(NUMPY.empty(shape, dtype))

    def full(self, shape: Any, value: Any, dtype: Any) -> StrictArray:
        return look(NUMPY.full(shape, value, dtype))

    def copy(self, x: StrictArray) -> StrictArray:
        return look(NUMPY.copy(x.host))

    def assign(self, x: StrictArray, value: Any) -> None:
        NUMPY.assign(x.host, value.host if isinstance(value, StrictArray) else value)

    def strides(self, x: StrictArray) -> Any:
        return NUMPY.strides(x.host)

    def address(self, x: StrictArray) -> int:
        return NUMPY.address(x.host)

    def memory(self, x: StrictArray) -> tuple[int, int]:
        return NUMPY.memory(x.host)


def register() -> None:
    """Make the device "strict" known, once."""
    if "strict" not in DEVICES:
        register_backend(StrictBackend())
