"""NumPy as a backend: NumPy's own functions where they serve, a faster spelling where theirs is slow.

The module itself is the namespace `xp`; `BACKEND` is the rest of the protocol. SciPy is imported when a special
function is first used.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from refengine.layout import Shape

Array = np.ndarray[Any, Any]

negative, abs, sign, exp, expm1 = np.negative, np.absolute, np.sign, np.exp, np.expm1
log, log1p, log2, log10, sqrt, square = np.log, np.log1p, np.log2, np.log10, np.sqrt, np.square
reciprocal = np.reciprocal
sin, cos, tan, sinh, cosh, tanh = np.sin, np.cos, np.tan, np.sinh, np.cosh, np.tanh
asin, acos, atan, asinh, acosh, atanh = np.arcsin, np.arccos, np.arctan, np.arcsinh, np.arccosh, np.arctanh
floor, ceil, round, trunc = np.floor, np.ceil, np.rint, np.trunc
isnan, isinf, isfinite, logical_not = np.isnan, np.isinf, np.isfinite, np.logical_not
conj, real, imag = np.conjugate, np.real, np.imag
add, subtract, multiply, divide, pow = np.add, np.subtract, np.multiply, np.true_divide, np.power
maximum, minimum, atan2, hypot, logaddexp = np.maximum, np.minimum, np.arctan2, np.hypot, np.logaddexp
remainder, floor_divide = np.remainder, np.floor_divide
equal, not_equal, less, less_equal = np.equal, np.not_equal, np.less, np.less_equal
greater, greater_equal = np.greater, np.greater_equal
logical_and, logical_or, logical_xor = np.logical_and, np.logical_or, np.logical_xor
where, matmul, concat, stack, tril, triu = np.where, np.matmul, np.concatenate, np.stack, np.tril, np.triu
zeros, zeros_like, ones_like = np.zeros, np.zeros_like, np.ones_like
argmax, argmin, take_along_axis = np.argmax, np.argmin, np.take_along_axis


def _special(name: str) -> Callable[..., Any]:
    """SciPy's function `name`, imported at the first call."""
    found: list[Callable[..., Any]] = []

    def call(x: Any, out: Any = None) -> Any:
        if not found:
            import scipy.special

            found.append(getattr(scipy.special, name))
        return found[0](x, out=out)

    return call


erf, erfc, expit, lgamma, digamma = (_special(n) for n in ("erf", "erfc", "expit", "gammaln", "psi"))


def trigamma(x: Any) -> Any:
    """The derivative of digamma."""
    import scipy.special

    return scipy.special.zeta(2.0, x) if np.all(np.asarray(x) > 0) else scipy.special.polygamma(1, x)


def kernel(name: str) -> Callable[..., Any]:
    """The elementwise function called `name`; it takes ``out=``."""
    function: Callable[..., Any] = globals()[name]
    return function


def _reduction(ufunc: np.ufunc) -> Callable[..., Any]:
    """A reduction by the ufunc itself, several times faster on small arrays than NumPy's function."""
    reduce = ufunc.reduce

    def call(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return reduce(x, axis=axis, keepdims=keepdims)

    return call


sum, prod, max, min = (_reduction(u) for u in (np.add, np.multiply, np.maximum, np.minimum))
any, all = _reduction(np.logical_or), _reduction(np.logical_and)


def copy(x: Any) -> Any:
    """A row-major copy."""
    return np.array(x, order="C", copy=True)


def astype(x: Any, dtype: Any) -> Any:
    """Cast; no copy where the dtype is right already."""
    return x.astype(dtype, copy=False)


def cumulative_sum(x: Any, *, axis: int) -> Any:
    """Running sums along one axis."""
    return np.add.accumulate(x, axis=axis) if np.ndim(x) else np.array(x)


def reshape(x: Any, shape: Shape) -> Any:
    """A view where strides allow."""
    return x.reshape(shape)


def permute_dims(x: Any, axes: Shape) -> Any:
    """A view with the axes reordered."""
    return x.transpose(axes)


def broadcast_to(x: Any, shape: Shape) -> Any:
    """A writable view with stride 0 along what is new."""
    have = x.shape
    if have == shape:
        return x
    lead = len(shape) - len(have)
    strides = (0,) * lead + tuple(
        0 if size == 1 and want != 1 else stride for size, want, stride in zip(have, shape[lead:], x.strides, strict=True)
    )
    return as_strided(np.asarray(x), shape, strides)


def flip(x: Any, *, axis: Shape) -> Any:
    """A reversed copy (PyTorch's flip is no view)."""
    return np.ascontiguousarray(np.flip(x, axis)).reshape(x.shape)


def sum_to(x: Any, shape: Shape) -> Any:
    """Sum over what was broadcast from `shape`."""
    have = x.shape
    if have == shape:
        return x
    lead = len(have) - len(shape)
    if lead:
        x = np.add.reduce(x, axis=tuple(range(lead)))
    ones = tuple(i for i, size in enumerate(shape) if size == 1 and have[i + lead] != 1)
    return np.add.reduce(x, axis=ones, keepdims=True) if ones else x


def index(x: Any, key: Any) -> Any:
    """``x[key]``."""
    return x[key]


def index_add(g: Any, key: Any, shape: Shape) -> Any:
    """Zeros with `g` added at `key`; repeated entries add up."""
    result = np.zeros(shape, dtype=g.dtype)
    if is_basic(key):
        result[key] += g
    else:
        np.add.at(result, key, g)
    return result


def is_basic(key: Any) -> bool:
    """Whether indexing with `key` gives a view: ints, slices, None and Ellipsis only."""
    items = key if isinstance(key, tuple) else (key,)
    return not builtins.any(isinstance(item, (np.ndarray, list)) for item in items)


def scatter_add(g: Any, indices: Any, *, axis: int, shape: Shape) -> Any:
    """Zeros of `shape` with g added at `indices` along `axis`."""
    result = np.zeros(shape, dtype=g.dtype)
    where_ = list(np.ogrid[tuple(slice(size) for size in indices.shape)])
    where_[axis] = indices
    np.add.at(result, tuple(where_), g)
    return result


def strided(x: Any, shape: Shape, strides: Shape, offset: int) -> Any:
    """A view on x's memory, in elements from its first."""
    size = x.dtype.itemsize
    if offset == 0:
        return as_strided(x, shape, tuple(s * size for s in strides))
    start = np.ndarray(shape=(), dtype=x.dtype, buffer=_memory_of(x), offset=_offset_in_memory(x) + offset * size)
    return as_strided(start, shape, tuple(s * size for s in strides))


def strided_add(g: Any, shape: Shape, strides: Shape, offset: int, like: tuple[Shape, Shape]) -> Any:
    """The transpose of `strided`: add up in the memory, then look at it as x did."""
    x_shape, x_strides = like
    low = min_offset(x_shape, x_strides), offset + min_offset(shape, strides)
    high = max_offset(x_shape, x_strides), offset + max_offset(shape, strides)
    start = low[0] if low[0] < low[1] else low[1]
    stop = high[0] if high[0] > high[1] else high[1]
    memory = np.zeros(stop - start + 1, dtype=g.dtype)
    np.add.at(memory, _positions(shape, strides, offset - start), g)
    counts = np.zeros(memory.shape, dtype=g.dtype)
    mine = _positions(x_shape, x_strides, -start)
    np.add.at(counts, mine, 1)
    return memory[mine] / np.maximum(counts[mine], 1)


def min_offset(shape: Shape, strides: Shape) -> int:
    """The lowest position an element of the layout has."""
    return np.add.reduce([s * (n - 1) for n, s in zip(shape, strides, strict=True) if s < 0], dtype=int).item()


def max_offset(shape: Shape, strides: Shape) -> int:
    """The highest position an element of the layout has (0 where it is empty)."""
    return np.add.reduce([s * (n - 1) for n, s in zip(shape, strides, strict=True) if s > 0 and n > 0], dtype=int).item()


def _positions(shape: Shape, strides: Shape, offset: int) -> Any:
    """The position in memory of every element of the layout."""
    grids = np.ogrid[tuple(slice(size) for size in shape)] if shape else []
    result = np.full(shape, offset)
    for grid, stride in zip(grids, strides, strict=True):
        result += grid * stride
    return result


def _memory_of(x: Any) -> Any:
    """The array that owns the memory x looks at."""
    while isinstance(x.base, np.ndarray):
        x = x.base
    return x


def _offset_in_memory(x: Any) -> int:
    """Bytes from the start of the owner's memory to x's first element."""
    return int(x.__array_interface__["data"][0] - _memory_of(x).__array_interface__["data"][0])


def diagonal(x: Any, *, offset: int) -> Any:
    """A writable view of the diagonal of the last two axes."""
    view = x.diagonal(offset, -2, -1)
    view.flags.writeable = x.flags.writeable
    return view


class NumpyBackend:
    """The host's memory, by NumPy."""

    name = "cpu"
    array_type = np.ndarray

    @property
    def xp(self) -> Any:
        """This module."""
        import refengine.backends.numpy as namespace

        return namespace

    def array(self, values: Any, dtype: Any = None) -> Array:
        """A new row-major array."""
        return np.array(values, dtype=dtype, order="C")

    def wrap(self, value: Any) -> Array:
        """NumPy's scalars as 0-d arrays."""
        return np.asarray(value)

    def to_host(self, x: Array) -> Array:
        """The array itself."""
        return x

    def empty(self, shape: Shape, dtype: Any) -> Array:
        """Uninitialised."""
        return np.empty(shape, dtype)

    def full(self, shape: Shape, value: Any, dtype: Any) -> Array:
        """Filled with one value."""
        return np.full(shape, value, dtype)

    def arange(self, start: float, stop: float, step: float, dtype: Any) -> Array:
        """Evenly spaced values in [start, stop)."""
        return np.arange(start, stop, step, dtype)

    copy = staticmethod(copy)

    def assign(self, x: Array, value: Any) -> None:
        """Write into x's memory."""
        np.copyto(x, value, casting="unsafe")

    def strides(self, x: Array) -> Shape:
        """In elements."""
        size = x.itemsize
        return tuple(stride // size for stride in x.strides)

    def address(self, x: Array) -> int:
        """Address of the first element."""
        return int(x.__array_interface__["data"][0])

    def memory(self, x: Array) -> tuple[int, int]:
        """Address and bytes of the owner's memory."""
        owner = _memory_of(x)
        low, high = np.lib.array_utils.byte_bounds(owner)
        return low, high - low


BACKEND = NumpyBackend()
