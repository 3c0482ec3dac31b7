"""NumPy as a backend: NumPy's own functions where they serve, a faster spelling where theirs is slow.

The module itself is the namespace `xp`; `BACKEND` is the rest of the protocol. SciPy is imported when a special
function is first used.
"""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from refengine import layout
from refengine.layout import Shape, Window

Array = np.ndarray[Any, Any]

negative, abs, sign, exp, expm1 = np.negative, np.absolute, np.sign, np.exp, np.expm1
log, log1p, log2, log10, sqrt, square = np.log, np.log1p, np.log2, np.log10, np.sqrt, np.square
reciprocal = np.reciprocal
sin, cos, tan, sinh, cosh, tanh = np.sin, np.cos, np.tan, np.sinh, np.cosh, np.tanh
asin, acos, atan, asinh, acosh, atanh = np.arcsin, np.arccos, np.arctan, np.arcsinh, np.arccosh, np.arctanh
floor, ceil, round, trunc = np.floor, np.ceil, np.rint, np.trunc
isnan, isinf, isfinite, logical_not = np.isnan, np.isinf, np.isfinite, np.logical_not
real, imag = np.real, np.imag
add, subtract, multiply, divide, pow = np.add, np.subtract, np.multiply, np.true_divide, np.power
maximum, minimum, atan2, hypot, logaddexp = np.maximum, np.minimum, np.arctan2, np.hypot, np.logaddexp
remainder, fmod, floor_divide = np.remainder, np.fmod, np.floor_divide
equal, not_equal, less, less_equal = np.equal, np.not_equal, np.less, np.less_equal
greater, greater_equal = np.greater, np.greater_equal
logical_and, logical_or, logical_xor = np.logical_and, np.logical_or, np.logical_xor
bitwise_and, bitwise_or, bitwise_xor, bitwise_not = np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.bitwise_not
where, matmul, concat, stack, tril, triu = np.where, np.matmul, np.concatenate, np.stack, np.tril, np.triu
zeros, zeros_like, ones_like = np.zeros, np.zeros_like, np.ones_like
argmax, argmin = np.argmax, np.argmin


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

    x = np.asarray(x)
    if (x >= 0.5).all():
        return scipy.special.zeta(2.0, x)
    left = x < 0.5
    # Reflection: trigamma(1 - x) + trigamma(x) = (pi / sin(pi x))**2.
    near = scipy.special.zeta(2.0, np.where(left, 1 - x, x))
    return np.where(left, (np.pi / np.sin(np.pi * x)) ** 2 - near, near).astype(x.dtype, copy=False)


def polygamma(x: Any, *, order: int) -> Any:
    """The derivative of that order of digamma, for x > 0."""
    import scipy.special

    return scipy.special.polygamma(order, x).astype(x.dtype, copy=False)


def conj(x: Any) -> Any:
    """The complex conjugate; a copy of what is real."""
    return np.array(x) if x.dtype == np.bool_ else np.conjugate(x)


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


def copy_dense(x: Any) -> Any:
    """A copy without gaps that keeps the order of the axes in memory."""
    return np.array(x, order="K", copy=True)


def roll(x: Any, shift: Shape, *, axis: Shape) -> Any:
    """A row-major copy rotated along axes."""
    return np.array(np.roll(x, shift, axis), order="C", copy=None)


def astype(x: Any, dtype: Any) -> Any:
    """Cast; no copy where the dtype is right already."""
    return x.astype(dtype, copy=False)


def cumulative_sum(x: Any, *, axis: int) -> Any:
    """Running sums along one axis."""
    return np.add.accumulate(x, axis=axis) if np.ndim(x) else np.array(x)


def cumulative_prod(x: Any, *, axis: int) -> Any:
    """Running products along one axis."""
    return np.multiply.accumulate(x, axis=axis) if np.ndim(x) else np.array(x)


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
        0 if size == 1 and want != 1 else stride
        for size, want, stride in zip(have, shape[lead:], x.strides, strict=True)
    )
    return as_strided(np.asarray(x), shape, strides)


def flip(x: Any, *, axis: Shape) -> Any:
    """A reversed copy (PyTorch's flip is no view) that keeps the order of the axes in memory."""
    return np.array(np.flip(x, axis), order="K", copy=True)


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


def dense(x: Any) -> Any:
    """A copy where axes have stride 0, which would keep a matrix product from BLAS; else x itself."""
    return x.copy() if 0 in x.strides else x


def index_add(g: Any, key: Any, shape: Shape) -> Any:
    """Zeros with `g` added at `key`; repeated entries add up."""
    result = np.zeros(shape, dtype=g.dtype)
    if any_integers(key):
        np.add.at(result, key, g)
    else:
        result[key] = g
    return result


def index_put(x: Any, key: Any, values: Any) -> Any:
    """A copy with `values` written at `key`; of repeated entries the last remains."""
    result = copy(x)
    result[key] = values
    return result


def any_integers(key: Any) -> bool:
    """Whether a key has an array of integers, the only one that may name an element twice."""
    items = key if isinstance(key, tuple) else (key,)
    return builtins.any(isinstance(item, np.ndarray) and item.dtype != bool for item in items)


def take_along_axis(x: Any, indices: Any, *, axis: int) -> Any:
    """X at `indices` along `axis`, which may be shorter than x along the others, as PyTorch's gather."""
    return x[_along(indices, axis)] if x.ndim else x.reshape(1)[indices]


def scatter_add(g: Any, indices: Any, *, axis: int, shape: Shape) -> Any:
    """Zeros of `shape` with g added at `indices` along `axis`."""
    result = np.zeros(shape, dtype=g.dtype)
    np.add.at(result if shape else result.reshape(1), _along(indices, axis) if shape else indices, g)
    return result


def put_along_axis(x: Any, indices: Any, values: Any, *, axis: int) -> Any:
    """A copy with `values` written at `indices` along `axis`; of repeated entries the last remains."""
    result = copy(x)
    if x.ndim:
        result[_along(indices, axis)] = values
    else:
        result.reshape(1)[indices] = values
    return result


def _along(indices: Any, axis: int) -> tuple[Any, ...]:
    """The key that indexes one axis with `indices` and the others with their own position."""
    if not indices.shape:  # a single position of the only axis
        return indices, Ellipsis
    key = list(np.ogrid[tuple(slice(size) for size in indices.shape)])
    key[axis] = indices
    return tuple(key)


def strided(x: Any, shape: Shape, strides: Shape, offset: int, like: tuple[Shape, Shape]) -> Any:
    """Look with another layout at x's memory, or, where x is not laid out as `like`, at a copy that is."""
    size = x.dtype.itemsize
    if x.shape == like[0] and x.strides == tuple(s * size for s in like[1]):
        first = as_strided(x, (2,), (offset * size,))[1:] if offset else x
        return as_strided(first, shape, tuple(s * size for s in strides))
    count, mine, other = _layouts(like, (shape, strides), offset)
    return (_spread(x, mine, count) / _counts(mine, count))[other].astype(x.dtype, copy=False)


def strided_add(g: Any, shape: Shape, strides: Shape, offset: int, like: tuple[Shape, Shape]) -> Any:
    """The transpose of `strided`: add up in the memory, then look at it as x does."""
    count, mine, other = _layouts(like, (shape, strides), offset)
    return (_spread(g, other, count) / _counts(mine, count))[mine].astype(g.dtype, copy=False)


def _layouts(one: tuple[Shape, Shape], other: tuple[Shape, Shape], offset: int) -> tuple[int, Any, Any]:
    """The size of the memory that two layouts span, and the place in it of every element of each."""
    (low, high), (low2, high2) = layout.span(*one), layout.span(*other)
    start, stop = builtins.min(low, offset + low2), builtins.max(high, offset + high2) + 1
    places = np.arange(stop - start)
    mine, theirs = (
        as_strided(places[first:], shape, tuple(s * places.itemsize for s in strides))
        for first, (shape, strides) in ((-start, one), (offset - start, other))
    )
    return places.size, mine, theirs


def _spread(x: Any, places: Any, count: int) -> Any:
    """Memory of `count` zeros with x added at its places."""
    memory = np.zeros(count, dtype=x.dtype)
    np.add.at(memory, places, x)
    return memory


def _counts(places: Any, count: int) -> Any:
    """How many elements share each place of the memory, at least 1: their values are averaged."""
    return np.maximum(np.bincount(places.reshape(-1), minlength=count), 1)


def windows(x: Any, window: Window) -> Any:
    """What a window sees that moves over the last axes: a look at x's memory, or at a copy framed by zeros."""
    lead = x.ndim - len(window.kernel)
    framed = _framed(x, window)
    inner = framed.strides[lead:]
    taps = (stride * step for stride, step in zip(inner, window.dilation, strict=True))
    places = (stride * step for stride, step in zip(inner, window.stride, strict=True))
    return as_strided(
        framed, (*x.shape[:lead], *window.kernel, *window.count), (*framed.strides[:lead], *taps, *places)
    )


def windows_add(g: Any, window: Window, shape: Shape) -> Any:
    """The transpose of `windows`: one addition for each place of the kernel."""
    lead = len(shape) - len(window.kernel)
    framed: Any = np.zeros((*shape[:lead], *window.extent), dtype=g.dtype)
    everywhere = (slice(None),) * len(window.count)
    for tap in np.ndindex(*window.kernel):
        framed[(Ellipsis, *window.places(tap))] += g[(Ellipsis, *tap, *everywhere)]
    if not builtins.any(window.before) and framed.shape == shape:
        return framed
    inside, seen = _overlap(shape[lead:], window)
    result = np.zeros(shape, dtype=g.dtype)
    result[inside] = framed[seen]
    return result


def _framed(x: Any, window: Window) -> Any:
    """X with zeros around it as far as the windows reach; x itself where they do not reach beyond it."""
    sizes = x.shape[x.ndim - len(window.kernel) :]
    if not builtins.any(window.before) and builtins.all(map(operator.ge, sizes, window.extent)):
        return x
    framed = np.zeros((*x.shape[: x.ndim - len(sizes)], *window.extent), dtype=x.dtype)
    inside, seen = _overlap(sizes, window)
    framed[seen] = x[inside]
    return framed


def _overlap(sizes: Shape, window: Window) -> tuple[Any, Any]:
    """Keys of the part of an array that its windows reach: in the array, and in what the windows reach over."""
    inside, seen = [], []
    for size, before, extent in zip(sizes, window.before, window.extent, strict=True):
        length = builtins.max(builtins.min(size, extent - before), 0)
        inside.append(slice(0, length))
        seen.append(slice(before, before + length))
    return (Ellipsis, *inside), (Ellipsis, *seen)


def _memory_of(x: Any) -> Any:
    """The array that owns the memory x looks at."""
    base = x
    while base is not None:
        x, base = (base if isinstance(base, np.ndarray) else x), getattr(base, "base", None)
    return x


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
        """The module itself."""
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
