"""Memory that several processes see: a file without a name, mapped; what travels is its descriptor."""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
import threading
import weakref
from typing import Any, Final

from refengine.errors import DeviceError, UnsupportedError

RAM: Final = "/dev/shm"
"""Where an unlinked file costs no disk, on systems that have it but not `memfd_create`."""

_known: weakref.WeakValueDictionary[tuple[int, int], Region] = weakref.WeakValueDictionary()
"""Regions of this process by the identity of their file, so that memory that comes back is mapped once."""
_lock = threading.Lock()


class SharedMemoryError(DeviceError, OSError):
    """Memory that cannot be shared: no more of it, no more descriptors, or a descriptor of something else."""


class Region(mmap.mmap):
    """A mapped file without a name. When every process has let go of it, or has died, the system frees it.

    Attributes
    ----------
    descriptor : int
        Of the file; it is open as long as the region is there.
    key : tuple of int
        The device and number of the file: the same in every process.
    nbytes : int
        How much of it is memory of tensors: all of it, or 0.
    storage : weakref or None
        The storage that tensors of this process have in it.
    """

    descriptor: int
    key: tuple[int, int]
    nbytes: int
    storage: weakref.ref[Any] | None = None

    def fileno(self) -> int:
        """The descriptor by which other processes get at the memory."""
        return self.descriptor

    def about(self) -> tuple[int]:
        """What `received` needs to know beside the descriptor."""
        return (self.nbytes,)

    @classmethod
    def create(cls, size: int) -> Region:
        """A new region of `size` bytes, all zero, whose pages are there already.

        Raises
        ------
        SharedMemoryError
            If memory or descriptors run out.
        """
        if os.name != "posix":
            raise UnsupportedError("share_memory_: expected a system that passes descriptors (Linux, macOS, BSD)")
        descriptor = None
        try:
            descriptor = _nameless()
            os.ftruncate(descriptor, max(size, 1))  # an empty file cannot be mapped
            if hasattr(os, "posix_fallocate"):  # else a lack of memory is a SIGBUS at some later write
                os.posix_fallocate(descriptor, 0, max(size, 1))
            _seal(descriptor)
            return cls.received(descriptor, size)
        except OSError as error:
            if descriptor is not None and not isinstance(error, SharedMemoryError):
                os.close(descriptor)
            raise _explained(error, size) from error

    @classmethod
    def received(cls, descriptor: int, size: int) -> Region:
        """The region behind a descriptor, which becomes its own; the one that is there if it was mapped before.

        Raises
        ------
        SharedMemoryError
            If the file is smaller than `size`, or cannot be mapped.
        """
        try:
            about = os.fstat(descriptor)
            if about.st_size < size:
                raise SharedMemoryError(f"shared memory: expected a file of {size} bytes, got {about.st_size}")
            key = (about.st_dev, about.st_ino)
            with _lock:
                region = _known.get(key)
                if region is None:
                    region = _known[key] = cls._mapped(descriptor, size, key)
                    return region
        except OSError as error:
            os.close(descriptor)
            raise _explained(error, size) from error
        os.close(descriptor)
        return region

    @classmethod
    def _mapped(cls, descriptor: int, size: int, key: tuple[int, int]) -> Region:
        region = cls(descriptor, max(size, 1))
        region.descriptor, region.key, region.nbytes = descriptor, key, size
        # Not at exit: arrays may live longer than that, and the system closes it then anyway.
        weakref.finalize(region, os.close, descriptor).atexit = False
        return region


def _nameless() -> int:
    """A descriptor of an empty file that has no name, so that it lasts as long as somebody has it open."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("refengine", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile(dir=RAM if os.path.isdir(RAM) else None) as file:
        return os.dup(file.fileno())


def _seal(descriptor: int) -> None:
    """Fix the size where the system can: a file that shrinks kills those who read it."""
    import fcntl

    if hasattr(os, "memfd_create") and hasattr(fcntl, "F_ADD_SEALS"):
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)


def _explained(error: OSError, size: int) -> OSError:
    """The same error, with what can be done about it."""
    if isinstance(error, SharedMemoryError):
        return error
    remedy = {
        errno.EMFILE: "; each shared storage holds two descriptors: raise `ulimit -n`, or share fewer tensors",
        errno.ENFILE: "; each shared storage holds two descriptors, and the whole system has no more",
        errno.ENOSPC: "; there is no room for it",
        errno.ENOMEM: "; there is no room for it",
    }
    found = SharedMemoryError(f"shared memory of {size} bytes: {error.strerror}{remedy.get(error.errno or 0, '')}")
    found.errno = error.errno
    return found


def _new_lock() -> None:
    """In a child made by fork: another thread of the parent may have held the lock."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)


def region_of(array: Any) -> Region | None:
    """The region that an array lies in; None if its memory is not shared."""
    base = array
    while base is not None and not isinstance(base, Region):
        base = getattr(base, "base", None)
    return base
