"""`load`: opens a file, decides where storages go, and has the pickle read."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from refengine import devices
from refengine.errors import ArgumentError, DeviceError
from refengine.serialization.archive import Archive
from refengine.serialization.errors import SavingArgumentError
from refengine.serialization.rebuilding import Place, Rebuilder, resolved
from refengine.serialization.unpickler import SafeUnpickler, refused_global
from refengine.storage import Storage
from refengine.tensor import backend_at

MapLocation = str | devices.device | Mapping[str, str] | Callable[[Storage, str], Storage | None] | None


def load(f: Any, map_location: MapLocation = None, *, weights_only: bool = True, mmap: bool | None = None) -> Any:
    """Load what `save`, or PyTorch's `torch.save`, wrote.

    Parameters
    ----------
    f : str, path or binary file
        A file object can be read and sought.
    map_location : str, device, dict or callable, optional
        Where tensors go: a device for all; by the device they were saved on; or
        ``map_location(storage, location)``, which returns the storage, a copy of it, or None. The default is the device
        that they were saved on.
    weights_only : bool
        Whether only tensors, plain values, and what `add_safe_globals` named may be made. Without it, the file is a
        program that is run: load so only what you would run.
    mmap : bool, optional
        Whether the memory of tensors is the file's, read when it is looked at and never written back. `f` is a path
        then. Checksums of storages are not looked at, and the file has to stay as it is.

    Returns
    -------
    object
        What was saved. Tensors that shared memory share memory.

    Raises
    ------
    FormatError
        If the file is damaged, or of another format.
    RefusedError
        If it asks for what a safe load does not do; it names the global.
    DTypeError, DeviceError
        If a dtype or device of the file is not here.

    Examples
    --------
    >>> import io
    >>> import refengine as re
    >>> file = io.BytesIO()
    >>> re.save({"w": re.ones(2)}, file)
    >>> re.load(file)
    {'w': tensor([1., 1.])}
    """
    with _opened(f, bool(mmap)) as stream:
        archive = Archive(stream, bool(mmap))
        data = archive.read(archive.find("data.pkl"))
        place = _place(map_location)
        if not weights_only:
            return FullUnpickler(data, Rebuilder(archive, place, None)).load()
        return SafeUnpickler(data, Rebuilder(archive, place, len(data))).load()


class FullUnpickler(pickle.Unpickler):
    """Pickle's own unpickler, which runs whatever the file says, with PyTorch's tensors made tensors here."""

    def __init__(self, data: bytes, rebuilder: Rebuilder) -> None:
        super().__init__(io.BytesIO(data))
        self._rebuilder = rebuilder

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """The object of a name; PyTorch itself is never imported."""
        if module_name.partition(".")[0] != "torch":
            return super().find_class(module_name, global_name)
        full = f"{module_name}.{global_name}"
        if full not in self._rebuilder.tensor_names:
            raise refused_global(full)
        return resolved(self._rebuilder.tensor_names[full])

    def persistent_load(self, pid: Any) -> Any:
        """The storage of a persistent id."""
        return self._rebuilder.storage(pid)


@contextmanager
def _opened(f: Any, mapped: bool) -> Iterator[Any]:
    """The file to read."""
    if isinstance(f, (str, os.PathLike)):
        with open(f, "rb") as stream:
            yield stream
        return
    if mapped:
        raise SavingArgumentError(f"load: expected a path with mmap=True, got {type(f).__name__}")
    if not (hasattr(f, "read") and hasattr(f, "seek")):
        raise SavingArgumentError(f"load: expected a path or a binary file that can be sought, got {type(f).__name__}")
    yield f


def _place(map_location: MapLocation) -> Place:
    """Where a storage in the host's memory goes, by the device it was saved on."""
    if map_location is None:
        return _moved
    if isinstance(map_location, (str, devices.device)):
        return lambda storage, location: _moved(storage, str(map_location))
    if isinstance(map_location, Mapping):
        return lambda storage, location: _moved(storage, str(map_location.get(location, location)))
    if not callable(map_location):
        raise ArgumentError(f"map_location: expected a device, a dict or a callable, got {type(map_location).__name__}")

    def place(storage: Storage, location: str) -> Storage:
        found = map_location(storage, location)
        return _moved(storage, location) if found is None else found

    return place


def _moved(storage: Storage, location: str) -> Storage:
    """A storage on the device of that name."""
    try:
        backend = backend_at(location)
    except DeviceError as error:
        raise DeviceError(
            f"load: a tensor was saved on {location[:60]!r} ({error}); map_location='cpu' loads it"
        ) from None
    if backend is storage.backend:
        return storage
    array = backend.array(storage.backend.to_host(storage.array))
    return Storage(array, backend)
