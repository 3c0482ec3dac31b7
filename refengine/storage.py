"""One-dimensional memory and its version counter, shared by every tensor that looks at it."""

from __future__ import annotations

from refengine.backends.base import Array, Backend
from refengine.region import region_of


class Storage:
    """The memory behind one or more tensors.

    Attributes
    ----------
    array : array
        An array that keeps the memory alive.
    version : int
        How many times the memory was written to in place.
    """

    __slots__ = ("__weakref__", "array", "backend", "version")

    def __init__(self, array: Array, backend: Backend) -> None:
        self.array = array
        self.backend = backend
        self.version = 0

    def data_ptr(self) -> int:
        """The address of the memory."""
        return self.backend.memory(self.array)[0]

    def nbytes(self) -> int:
        """The size of the memory in bytes."""
        return self.backend.memory(self.array)[1]

    size = __len__ = nbytes

    def is_shared(self) -> bool:
        """Whether other processes can see the memory; see `Tensor.share_memory_`."""
        return region_of(self.array) is not None

    def __repr__(self) -> str:
        return f"<Storage of {self.nbytes()} bytes at 0x{self.data_ptr():x}, version {self.version}>"


CONSTANT = Storage(None, None)  # type: ignore[arg-type]
"""Stands for memory that nobody can write to: Python numbers and private copies saved for a backward pass."""
