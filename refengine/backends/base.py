"""The protocol between the engine and an array library.

`Namespace` is the closed vocabulary of forward computations and derivative rules: the Python array API standard's
functions, in its spelling, plus the extensions listed in `EXTENSIONS`. `Backend` is what the engine itself needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from refengine.layout import Shape, Window

Array = Any
"""A strided array (``numpy.ndarray``, ``cupy.ndarray``), or a Tensor where a rule runs in the engine's namespace."""

UNARY: Final = (
    "negative", "abs", "sign", "exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "square", "reciprocal",
    "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
    "floor", "ceil", "round", "trunc", "isnan", "isinf", "isfinite", "logical_not", "bitwise_not",
    "conj", "real", "imag",
    "erf", "erfc", "expit", "lgamma", "digamma", "trigamma",
)  # fmt: skip
BINARY: Final = (
    "add", "subtract", "multiply", "divide", "pow", "maximum", "minimum", "atan2", "hypot", "logaddexp",
    "remainder", "fmod", "floor_divide", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
    "logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor",
)  # fmt: skip
REDUCTIONS: Final = ("sum", "prod", "max", "min", "any", "all", "argmax", "argmin")
EXTENSIONS: Final = (
    "erf", "erfc", "expit", "lgamma", "digamma", "trigamma", "sum_to", "index", "index_add", "index_put",
    "take_along_axis", "scatter_add", "put_along_axis", "strided", "strided_add", "diagonal", "dense", "kernel",
    "copy_dense", "polygamma", "windows", "windows_add",
)  # fmt: skip


class Namespace(Protocol):
    """What `forward` and the rules may call on ``xp``. Elementwise functions broadcast; shapes and axes are tuples.

    Elementwise functions (UNARY, BINARY) and REDUCTIONS (``axis=None | int | tuple, keepdims=False``) are plain
    callables; the rest is spelled out here.
    """

    def __getattr__(self, name: str) -> Callable[..., Array]: ...

    def where(self, condition: Array, x: Array, y: Array) -> Array: ...
    def copy(self, x: Array) -> Array:
        """A row-major copy."""
        ...

    def copy_dense(self, x: Array) -> Array:
        """Extension. A copy without gaps and with the axes in the same order in memory."""
        ...

    def astype(self, x: Array, dtype: Any) -> Array: ...
    def matmul(self, x: Array, y: Array) -> Array: ...
    def cumulative_sum(self, x: Array, *, axis: int) -> Array: ...
    def cumulative_prod(self, x: Array, *, axis: int) -> Array: ...
    def reshape(self, x: Array, shape: Shape) -> Array:
        """A view where strides allow, else a copy."""
        ...

    def permute_dims(self, x: Array, axes: Shape) -> Array:
        """A view; axes may be negative."""
        ...

    def broadcast_to(self, x: Array, shape: Shape) -> Array:
        """A view with stride 0 along what is new."""
        ...

    def flip(self, x: Array, *, axis: Shape) -> Array:
        """A copy, where the standard allows a view, with the axes in the same order in memory."""
        ...

    def roll(self, x: Array, shift: Shape, *, axis: Shape) -> Array:
        """A row-major copy."""
        ...

    def concat(self, arrays: list[Array], *, axis: int) -> Array: ...
    def stack(self, arrays: list[Array], *, axis: int) -> Array: ...
    def tril(self, x: Array, *, k: int) -> Array: ...
    def triu(self, x: Array, *, k: int) -> Array: ...
    def zeros(self, shape: Shape, dtype: Any) -> Array: ...
    def zeros_like(self, x: Array) -> Array: ...
    def ones_like(self, x: Array) -> Array: ...

    def sum_to(self, x: Array, shape: Shape) -> Array:
        """Extension. The transpose of broadcasting: sum over what was expanded from `shape`."""
        ...

    def polygamma(self, x: Array, *, order: int) -> Array:
        """Extension. The derivative of that order of digamma, for x > 0."""
        ...

    def index(self, x: Array, key: Any) -> Array:
        """Extension. ``x[key]``, basic (a view) or advanced."""
        ...

    def index_add(self, g: Array, key: Any, shape: Shape) -> Array:
        """Extension. The transpose of `index`: zeros of `shape` with `g` added at `key`, repeated entries included."""
        ...

    def index_put(self, x: Array, key: Any, values: Any) -> Array:
        """Extension. A copy of x with `values` (or a number) written at `key`; the last of repeated entries stays."""
        ...

    def take_along_axis(self, x: Array, indices: Array, *, axis: int) -> Array:
        """As in the standard, but along the other axes `indices` may be shorter than x, and nothing broadcasts."""
        ...

    def scatter_add(self, g: Array, indices: Array, *, axis: int, shape: Shape) -> Array:
        """Extension. The transpose of `take_along_axis`."""
        ...

    def put_along_axis(self, x: Array, indices: Array, values: Any, *, axis: int) -> Array:
        """Extension. A copy of x with `values` written where `take_along_axis` would read."""
        ...

    def strided(self, x: Array, shape: Shape, strides: Shape, offset: int, like: tuple[Shape, Shape]) -> Array:
        """Extension. Look with another layout at the memory of an x laid out as `like` (shape, strides).

        Strides and the offset from x's first element are in elements. A view where x is laid out so, else a copy.
        """
        ...

    def strided_add(self, g: Array, shape: Shape, strides: Shape, offset: int, like: tuple[Shape, Shape]) -> Array:
        """Extension. The transpose of `strided`; elements of x that share memory share the gradient evenly."""
        ...

    def windows(self, x: Array, window: Window) -> Array:
        """Extension. What a window sees that moves over the last axes: (..., *window.kernel, *window.count).

        Outside of x are zeros. May share x's memory, and its own elements share memory with each other.
        """
        ...

    def windows_add(self, g: Array, window: Window, shape: Shape) -> Array:
        """Extension. The transpose of `windows`: a new array of `shape` to which all that windows see is added."""
        ...

    def dense(self, x: Array) -> Array:
        """Extension. x itself, or a copy where axes have stride 0, which a matrix product is slow on."""
        ...

    def diagonal(self, x: Array, *, offset: int) -> Array:
        """Extension. A view of the diagonal of the last two axes, as last axis."""
        ...


class Backend(Protocol):
    """An array library on one kind of device."""

    @property
    def name(self) -> str:
        """The type of device, such as "cpu"."""
        ...

    @property
    def xp(self) -> Namespace:
        """The namespace."""
        ...

    @property
    def array_type(self) -> type:
        """The type of the arrays."""
        ...

    def array(self, values: Any, dtype: Any = None) -> Array:
        """A new array from host values (nested lists, numbers, NumPy arrays); always a copy."""
        ...

    def wrap(self, value: Any) -> Array:
        """A 0-d array from the scalar that some functions of the library return."""
        ...

    def to_host(self, x: Array) -> Any:
        """The values as a NumPy array; a view where the memory is the host's."""
        ...

    def empty(self, shape: Shape, dtype: Any) -> Array: ...
    def full(self, shape: Shape, value: Any, dtype: Any) -> Array: ...
    def copy(self, x: Array) -> Array:
        """A row-major copy."""
        ...

    def assign(self, x: Array, value: Array) -> None:
        """``x[...] = value`` with broadcasting and casting, in x's memory."""
        ...

    def strides(self, x: Array) -> Shape:
        """In elements."""
        ...

    def address(self, x: Array) -> int:
        """The address of the first element."""
        ...

    def memory(self, x: Array) -> tuple[int, int]:
        """Address and size in bytes of the block of memory that x looks at."""
        ...
