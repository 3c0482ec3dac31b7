"""Moves tensors into memory that other processes see, with everything that looks at the same memory."""

from __future__ import annotations

import ctypes
import gc
import sys
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np

from refengine.backends.numpy import BACKEND as NUMPY
from refengine.errors import DeviceError
from refengine.region import Region
from refengine.storage import Storage
from refengine.tensor import Tensor

Memory = tuple[int, int]


def share_memory_(self: Tensor) -> Tensor:
    """Move the memory to where other processes see it; returns the tensor itself, does nothing if it is there.

    All tensors that share the memory move with it. NumPy arrays that did so (`numpy()`, `from_numpy`) stay behind.

    Raises
    ------
    DeviceError
        If the tensor is not on the CPU.
    SharedMemoryError
        If memory or descriptors run out.
    """
    share([self])
    return self


def is_shared(self: Tensor) -> bool:
    """Whether other processes see the memory: after `share_memory_()`, or a journey through a queue or a pipe."""
    return self.storage.is_shared()


METHODS: dict[str, Callable[..., Any]] = {"share_memory_": share_memory_, "is_shared": is_shared}
"""What derive.py sets on Tensor beside the ops."""


def share(tensors: Iterable[Tensor]) -> None:
    """Move the memory of several tensors; one look at all live tensors serves them all."""
    moves: dict[Memory, Region] = {}
    alone: list[Tensor | Storage] = []
    for tensor in tensors:
        if on_host(tensor).storage.is_shared():
            continue
        memory = NUMPY.memory(tensor.array)
        if memory not in moves:
            moves[memory] = _copied(memory)
            if _references(tensor) == ALONE:
                alone += (tensor, tensor.storage)
    _move(alone if len(alone) == 2 * len(moves) else _all_live(), moves)


def on_host(tensor: Tensor) -> Tensor:
    """The tensor, whose memory can be shared.

    Raises
    ------
    DeviceError
        If it is not on the CPU.
    """
    if tensor.backend is not NUMPY:
        raise DeviceError(f"shared memory: expected a tensor on the CPU, got one on {tensor.device}; use cpu()")
    return tensor


def storage_in(region: Region) -> Storage:
    """The storage in a region: the one that tensors of this process have, or a new one."""
    found: Storage | None = region.storage() if region.storage is not None else None
    if found is None:
        found = Storage(_block(region), NUMPY)
        region.storage = weakref.ref(found)
    return found


def _block(region: Region) -> Any:
    """The whole of a region as bytes."""
    return np.ndarray((region.nbytes,), np.uint8, region)


def _copied(memory: Memory) -> Region:
    """A region with what lies in some memory."""
    address, size = memory
    region = Region.create(size)
    ctypes.memmove(NUMPY.address(_block(region)), address, size)
    return region


def _move(found: Iterable[Tensor | Storage], moves: dict[Memory, Region]) -> None:
    """Let storages and tensors that look at memory that moved look at where it is now."""
    blocks = {memory: _block(region) for memory, region in moves.items()}
    for item in found:
        array = item.array
        memory = NUMPY.memory(array)
        if memory in moves:
            offset = NUMPY.address(array) - memory[0]
            is_storage = isinstance(item, Storage)
            block = blocks[memory]
            item.array = block if is_storage else np.ndarray(array.shape, array.dtype, block, offset, array.strides)
            if is_storage and moves[memory].storage is None:
                moves[memory].storage = weakref.ref(item)


def _all_live() -> list[Tensor | Storage]:
    """Every tensor and storage on the host; takes tens of milliseconds, as all objects have to be looked at."""
    frozen = gc.get_freeze_count() > 0
    if frozen:  # what was frozen is not listed
        gc.unfreeze()
    found = [item for item in gc.get_objects() if issubclass(type(item), (Tensor, Storage))]
    if frozen:
        gc.freeze()
    return [item for item in found if type(getattr(item, "array", None)) is np.ndarray]


def _references(tensor: Tensor) -> tuple[int, int, bool]:
    """How many refer to the storage and to the array, and whether the array looks at another's memory."""
    array = tensor.array
    return sys.getrefcount(tensor.storage), sys.getrefcount(array), array.base is not None


ALONE: Final = _references(Tensor(np.zeros(1)))
"""The references of a tensor that nothing shares memory with. Measured, as interpreters count differently."""
