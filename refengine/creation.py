"""Makes new tensors: from Python and NumPy values, filled, evenly spaced, and shaped like others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from refengine import devices, dtypes, layout
from refengine.backends.base import Array, Backend
from refengine.errors import ArgumentError, DataError, LayoutError, RangeError, ShapeError
from refengine.tensor import Tensor, backend_at

__all__ = [
    "tensor",
    "as_tensor",
    "asarray",
    "from_numpy",
    "scalar_tensor",
    "zeros",
    "ones",
    "empty",
    "full",
    "eye",
    "arange",
    "linspace",
    "empty_like",
    "full_like",
    "zeros_like",
    "ones_like",
]

DType = dtypes.dtype | type | None
Device = devices.device | str | None
Number = bool | int | float | complex


# --- from values --------------------------------------------------------------------------------------------------


def tensor(data: Any, *, dtype: DType = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """Return a new leaf with a copy of `data`.

    Parameters
    ----------
    data : number, nested sequence, NumPy array or Tensor
        Python floats become the default dtype, ints int64, bools bool, complex numbers the default's complex dtype.
        NumPy values and tensors keep their dtype; mixed leaves are promoted.
    dtype : dtype, optional
        Convert to this instead.
    device : device or str, optional
        Where it lives; None is the CPU, or the device of a tensor given as `data`.
    requires_grad : bool
        Whether operations on it are recorded.

    Raises
    ------
    DataError
        If nested sequences differ in length, or hold what is no number or does not fit the dtype.
    DTypeError
        If there is no dtype for the values.

    Examples
    --------
    >>> import refengine as re
    >>> re.tensor([[1, 2], [3, 4]], dtype=re.float64)
    tensor([[1., 2.],
            [3., 4.]], dtype=refengine.float64)
    """
    if device is None and isinstance(data, Tensor):
        device = data.device
    return Tensor(_copied(_values(data, dtype), backend_at(device)), requires_grad=requires_grad)


def as_tensor(data: Any, dtype: DType = None, device: Device = None) -> Tensor:
    """Return `data` as a tensor without copying where that is possible: a tensor itself, a NumPy array's memory."""
    if isinstance(data, Tensor):
        return data.to(dtype=dtype, device=device)
    if isinstance(data, np.ndarray) and backend_at(device) is backend_at(None):
        return from_numpy(data).to(dtype=dtype)
    return tensor(data, dtype=dtype, device=device)


asarray = as_tensor


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """Return a tensor that shares the memory of a NumPy array; each sees what is written through the other.

    Raises
    ------
    ArgumentError
        If it is no NumPy array.
    LayoutError
        If a stride is negative or no multiple of the item size.
    DTypeError
        If there is no dtype for it.
    """
    if not isinstance(array, np.ndarray):
        raise ArgumentError(f"from_numpy: expected a numpy.ndarray, got {type(array).__name__}; use tensor(...)")
    dtypes.of(array.dtype)
    if any(stride < 0 or stride % array.itemsize for stride in array.strides) and array.size:
        raise LayoutError(
            f"from_numpy: expected non-negative strides in whole elements, got strides={array.strides}; copy the array"
        )
    return Tensor(np.asarray(array))


def scalar_tensor(value: Number, *, dtype: DType = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """Return a 0-d tensor, of the default dtype unless told otherwise."""
    return tensor(value, dtype=dtype or dtypes.default(), device=device, requires_grad=requires_grad)


def _values(data: Any, dtype: DType) -> np.ndarray[Any, Any]:
    """The values on the host, with the dtype that `tensor` gives them."""
    if isinstance(data, Tensor):
        host = data.backend.to_host(data.array)
        return host if dtype is None else _cast(host, dtypes.of(dtype))
    if isinstance(data, (np.ndarray, np.generic)):
        return _cast(np.asarray(data), dtypes.of(data.dtype if dtype is None else dtype))
    leaves = list(_leaves(data))
    wanted = dtypes.of(dtype) if dtype is not None else _common(leaves)
    try:
        return _cast(np.array(_plain(data), dtype=None if _has_arrays(leaves) else wanted.numpy), wanted)
    except OverflowError as error:
        raise DataError(f"tensor: {error}; expected values that {wanted} can hold") from None
    except ValueError:
        raise DataError(f"tensor: expected equal lengths at every depth, got {_shortened(data)}") from None


def _copied(host: np.ndarray[Any, Any], backend: Backend) -> Array:
    """A dense copy with the axes in the order that the source has them in memory, as PyTorch makes it."""
    if host.flags.c_contiguous:
        return backend.array(host)
    order = sorted(range(host.ndim), key=lambda i: (-abs(host.strides[i]), i))
    return backend.xp.permute_dims(
        backend.array(host.transpose(order)), tuple(order.index(i) for i in range(host.ndim))
    )


def _cast(host: np.ndarray[Any, Any], wanted: dtypes.dtype) -> np.ndarray[Any, Any]:
    if host.dtype.kind == "c" and not wanted.is_complex:
        host = host.real
    return host.astype(wanted.numpy, copy=False)


def _leaves(data: Any) -> Iterator[Any]:
    """The numbers, arrays and tensors inside nested sequences."""
    if isinstance(data, (bool, int, float, complex, np.ndarray, np.generic, Tensor)):
        yield data
    elif isinstance(data, (str, bytes, dict, set)) or not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        what = f"{_shortened(data)} ({type(data).__name__})"
        raise DataError(f"tensor: expected numbers, sequences, NumPy arrays or tensors, got {what}")
    else:
        for item in data:
            yield from _leaves(item)


def _plain(data: Any) -> Any:
    """Nested sequences as lists, with tensors as their host arrays."""
    if isinstance(data, Tensor):
        return data.backend.to_host(data.array)
    if isinstance(data, (bool, int, float, complex, np.ndarray, np.generic)):
        return data
    return [_plain(item) for item in data]


def _has_arrays(leaves: list[Any]) -> bool:
    return any(isinstance(leaf, (np.ndarray, np.generic, Tensor)) for leaf in leaves)


def _common(leaves: list[Any]) -> dtypes.dtype:
    """The dtype that all leaves are promoted to."""
    found = {dtypes.of(leaf.dtype) if _has_arrays([leaf]) else dtypes.of_number(leaf) for leaf in leaves}
    if not found:
        return dtypes.default()
    result = found.pop()
    for other in found:
        result = dtypes.promote(result, other)
    return result


def _shortened(data: Any) -> str:
    text = repr(data)
    return text if len(text) <= 60 else f"{text[:57]}..."


# --- filled -------------------------------------------------------------------------------------------------------


def _filled(shape: layout.Shape, value: Number, dtype: dtypes.dtype, device: Device, requires_grad: bool) -> Tensor:
    if any(size < 0 for size in shape):
        raise ShapeError(f"size: expected sizes of at least 0, got {shape}")
    return Tensor(backend_at(device).full(shape, value, dtype.numpy), requires_grad=requires_grad)


def zeros(*size: Any, dtype: DType = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor of zeros; sizes are given one by one or as one sequence."""
    return _filled(layout.sizes(size), 0, _dtype(dtype), device, requires_grad)


def ones(*size: Any, dtype: DType = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor of ones; sizes are given one by one or as one sequence."""
    return _filled(layout.sizes(size), 1, _dtype(dtype), device, requires_grad)


def empty(*size: Any, dtype: DType = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor whose values are whatever the memory held."""
    shape = layout.sizes(size)
    if any(item < 0 for item in shape):
        raise ShapeError(f"size: expected sizes of at least 0, got {shape}")
    return Tensor(backend_at(device).empty(shape, _dtype(dtype).numpy), requires_grad=requires_grad)


def full(
    size: Sequence[int], fill_value: Any, *, dtype: DType = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """Return a tensor filled with one value, whose dtype follows from the value unless given."""
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    wanted = dtypes.of_number(value) if dtype is None else dtypes.of(dtype)
    return _filled(layout.sizes((size,)), value, wanted, device, requires_grad)


def _dtype(value: DType) -> dtypes.dtype:
    return dtypes.default() if value is None else dtypes.of(value)


def eye(
    n: int, m: int | None = None, *, dtype: DType = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """Return an (n, m) matrix with ones on the diagonal and zeros elsewhere; m is n unless given."""
    shape = layout.sizes((n, n if m is None else m))
    if min(shape) < 0:
        raise ShapeError(f"eye: expected sizes of at least 0, got {shape}")
    return Tensor(backend_at(device).array(np.eye(*shape, dtype=_dtype(dtype).numpy)), requires_grad=requires_grad)


# --- evenly spaced ------------------------------------------------------------------------------------------------


def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: DType = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return ``start, start + step, ...`` below `end`; with one argument, ``0, 1, ...`` below it.

    The dtype is int64 where all three are ints, else the default one.

    Raises
    ------
    RangeError
        If `step` is 0 or leads away from `end`.
    """
    start, end = (0, start) if end is None else (start, end)
    start, end, step = (v.item() if isinstance(v, Tensor) else v for v in (start, end, step))
    if step == 0:
        raise RangeError("arange: expected a step that is not 0, got step=0")
    if (end - start) * step < 0:
        raise RangeError(f"arange: expected a step from start to end, got start={start}, end={end}, step={step}")
    integers = all(isinstance(v, (int, np.integer)) for v in (start, end, step))
    count = -((start - end) // step) if integers else math.ceil((end - start) / step)
    wanted = (dtypes.int64 if integers else dtypes.default()) if dtype is None else dtypes.of(dtype)
    values = start + step * np.arange(count)
    return Tensor(backend_at(device).array(values, wanted.numpy), requires_grad=requires_grad)


def linspace(
    start: Any, end: Any, steps: int, *, dtype: DType = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """Return `steps` evenly spaced values from `start` to `end`, both included."""
    start, end = (v.item() if isinstance(v, Tensor) else v for v in (start, end))
    if steps < 0:
        raise RangeError(f"linspace: expected steps of at least 0, got steps={steps}")
    values = np.linspace(start, end, steps)
    return Tensor(backend_at(device).array(values, _dtype(dtype).numpy), requires_grad=requires_grad)


# --- like others --------------------------------------------------------------------------------------------------


def empty_like(
    input: Tensor, *, dtype: DType = None, device: Device = None, requires_grad: bool = False, memory_format: Any = None
) -> Tensor:
    """Return an uninitialised tensor with the shape of `input` and, unless given, its dtype, device and axes' order."""
    backend = input.backend if device is None else backend_at(device)
    wanted = input.dtype if dtype is None else dtypes.of(dtype)
    return Tensor(_empty_like(input, backend, wanted), requires_grad=requires_grad)


def _empty_like(x: Tensor, backend: Backend, dtype: dtypes.dtype) -> Array:
    """Dense memory with the axes in the order that `x` has them in memory, as PyTorch's preserve_format."""
    shape, strides = tuple(x.array.shape), x.backend.strides(x.array)
    if layout.is_contiguous(shape, strides):
        return backend.empty(shape, dtype.numpy)
    order = sorted(range(len(shape)), key=lambda i: (-strides[i], i))
    dense = backend.empty(tuple(shape[i] for i in order), dtype.numpy)
    return backend.xp.permute_dims(dense, tuple(order.index(i) for i in range(len(shape))))


def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: DType = None,
    device: Device = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return a tensor filled with one value, otherwise as `empty_like`."""
    result = empty_like(input, dtype=dtype, device=device)
    result.backend.assign(result.array, fill_value.item() if isinstance(fill_value, Tensor) else fill_value)
    return result.requires_grad_(requires_grad)


def zeros_like(
    input: Tensor, *, dtype: DType = None, device: Device = None, requires_grad: bool = False, memory_format: Any = None
) -> Tensor:
    """Return zeros, otherwise as `empty_like`."""
    return full_like(input, 0, dtype=dtype, device=device, requires_grad=requires_grad)


def ones_like(
    input: Tensor, *, dtype: DType = None, device: Device = None, requires_grad: bool = False, memory_format: Any = None
) -> Tensor:
    """Return ones, otherwise as `empty_like`."""
    return full_like(input, 1, dtype=dtype, device=device, requires_grad=requires_grad)
