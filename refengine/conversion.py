"""The methods of Tensor that change dtype or device, and those that make new tensors like it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from refengine import creation, devices, dtypes
from refengine.creation import Device, DType
from refengine.errors import ArgumentError
from refengine.ops.shape import cast
from refengine.tensor import Tensor, backend_at


def to(
    self: Tensor, *args: Any, dtype: DType = None, device: Device = None, copy: bool = False, non_blocking: bool = False
) -> Tensor:
    """The tensor in another dtype, on another device, or both; itself where nothing changes and no copy is asked for.

    ``to(dtype)``, ``to(device)``, ``to(device, dtype)`` or ``to(other)``, which takes both from `other`.
    """
    for argument in args:
        if isinstance(argument, dtypes.dtype):
            dtype = argument
        elif isinstance(argument, (str, devices.device)):
            device = argument
        elif isinstance(argument, Tensor):
            dtype, device = argument.dtype, argument.device
        elif isinstance(argument, type):
            dtype = dtypes.of(argument)
        elif argument is not None and not isinstance(argument, bool):
            raise ArgumentError(f"to: expected a dtype, a device or a tensor, got {argument!r}")
    if device is not None and backend_at(device) is not self.backend:
        self = _moved(self, device)
    return cast(self, self.dtype if dtype is None else dtypes.of(dtype), copy=copy)


def _moved(tensor: Tensor, device: Device) -> Tensor:
    """A copy on another device. It is not recorded."""
    if tensor.requires_grad:
        raise ArgumentError("to: moving a tensor that requires grad between devices is not recorded; detach() it first")
    return Tensor(backend_at(device).array(tensor.backend.to_host(tensor.array)))


def cpu(self: Tensor) -> Tensor:
    """The tensor on the CPU; itself if it is there."""
    return to(self, device="cpu")


def type_as(self: Tensor, other: Tensor) -> Tensor:
    """The tensor in the dtype and on the device of another."""
    return to(self, other)


def _to_dtype(name: str, dtype: dtypes.dtype) -> Callable[[Tensor], Tensor]:
    def method(self: Tensor) -> Tensor:
        return to(self, dtype)

    method.__name__, method.__qualname__ = name, f"Tensor.{name}"
    method.__doc__ = f"The tensor as {dtype.name}; itself if it is that already."
    return method


def new_tensor(
    self: Tensor, data: Any, *, dtype: DType = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """A new leaf with a copy of `data`, in this tensor's dtype and on its device unless told otherwise."""
    return creation.tensor(data, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)


def new_zeros(
    self: Tensor, *size: Any, dtype: DType = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """Zeros in this tensor's dtype and on its device unless told otherwise."""
    return creation.zeros(*size, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)


def new_ones(
    self: Tensor, *size: Any, dtype: DType = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """Ones in this tensor's dtype and on its device unless told otherwise."""
    return creation.ones(*size, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)


def new_empty(
    self: Tensor, *size: Any, dtype: DType = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """Uninitialised, in this tensor's dtype and on its device unless told otherwise."""
    return creation.empty(*size, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)


def new_full(
    self: Tensor,
    size: Sequence[int],
    fill_value: Any,
    *,
    dtype: DType = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Filled with one value, in this tensor's dtype and on its device unless told otherwise."""
    return creation.full(
        size, fill_value, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad
    )


DTYPE_METHODS = {
    "double": dtypes.float64,
    "float": dtypes.float32,
    "half": dtypes.float16,
    "long": dtypes.int64,
    "int": dtypes.int32,
    "bool": dtypes.bool_,
    "cdouble": dtypes.complex128,
    "cfloat": dtypes.complex64,
}

METHODS: dict[str, Callable[..., Any]] = {
    "to": to,
    "cpu": cpu,
    "type_as": type_as,
    "new_tensor": new_tensor,
    "new_zeros": new_zeros,
    "new_ones": new_ones,
    "new_empty": new_empty,
    "new_full": new_full,
    **{name: _to_dtype(name, dtype) for name, dtype in DTYPE_METHODS.items()},
}
"""What derive.py sets on Tensor beside the ops."""
