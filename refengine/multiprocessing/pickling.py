"""Objects as bytes and descriptors: a tensor is pickled as where it lies in shared memory, never as its values."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.reduction import ForkingPickler
from typing import Any, Protocol

import numpy as np

from refengine.errors import AutogradError
from refengine.nn.parameter import Buffer, Parameter
from refengine.region import Region, SharedMemoryError, region_of
from refengine.sharing import on_host, share, storage_in
from refengine.tensor import Tensor


class Carried(Protocol):
    """What travels as a descriptor. Its class has ``received(descriptor, *about)``, and is told to `carry`."""

    def fileno(self) -> int:
        """The descriptor."""
        ...

    def about(self) -> tuple[Any, ...]:
        """What else the other side needs to know."""
        ...


_carried: set[type] = set()


@dataclass(frozen=True, slots=True)
class Message:
    """A pickled object.

    Attributes
    ----------
    payload : bytes
    carried : list
        What its descriptors belong to; they stay open as long as the message is there.
    """

    payload: bytes
    carried: list[Carried]


class SendError(AutogradError):
    """A tensor whose history cannot cross to another process."""


def reduced(tensor: Tensor) -> tuple[Any, ...]:
    """How to make the tensor again on the other side, in the same memory. It is moved to shared memory if need be.

    Raises
    ------
    SendError
        If it requires grad and is no leaf.
    DeviceError
        If it is not on the CPU.
    """
    if tensor.requires_grad and not tensor.is_leaf:
        raise SendError(
            f"multiprocessing: cannot send a tensor of shape {tuple(tensor.shape)} that requires grad and is no leaf: "
            f"its history ({tensor.grad_fn.name()}) does not cross processes; send detach() of it to send the values"
        )
    share([on_host(tensor)])
    array = tensor.array
    region = region_of(array)
    assert region is not None
    layout = (array.dtype, array.shape, array.strides, tensor.data_ptr() - tensor.storage.data_ptr())
    return _rebuilt, (type(tensor), region, layout, tensor.requires_grad, tensor.__dict__)


def _rebuilt(
    kind: type[Tensor], region: Region, layout: tuple[Any, ...], requires_grad: bool, attributes: dict[str, Any]
) -> Tensor:
    """What `reduced` describes."""
    dtype, shape, strides, offset = layout
    storage = storage_in(region)
    result = kind.__new__(kind)
    Tensor.__init__(result, np.ndarray(shape, dtype, storage.array, offset, strides), storage, requires_grad)
    result.__dict__.update(attributes)
    return result


class _Pickler(ForkingPickler):
    """Collects what is carried beside the bytes."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.carried: list[Carried] = []
        self._places: dict[int, int] = {}

    def persistent_id(self, obj: Any) -> Any:
        if type(obj) not in _carried:
            return None
        place = self._places.setdefault(id(obj), len(self.carried))
        if place == len(self.carried):
            self.carried.append(obj)
        return type(obj), place, obj.about()

    def reducer_override(self, obj: Any) -> Any:
        return reduced(obj) if isinstance(obj, Tensor) else NotImplemented


class _Unpickler(pickle.Unpickler):
    """Puts back what was carried: descriptors that are opened when they are met, or what they were opened as."""

    def __init__(self, payload: bytes, carried: list[Any]) -> None:
        super().__init__(io.BytesIO(payload))
        self._carried = carried

    def persistent_load(self, pid: Any) -> Any:
        kind, place, about = pid
        found = self._carried[place]
        if isinstance(found, int):
            self._carried[place] = None  # `received` owns it now
            found = self._carried[place] = kind.received(found, *about)
        return found


def pack(obj: Any) -> Message:
    """Pickle an object; every tensor in it is in shared memory afterwards."""
    file = io.BytesIO()
    pickler = _Pickler(file)
    pickler.dump(obj)
    return Message(file.getvalue(), pickler.carried)


def unpack(payload: bytes, carried: Sequence[Any]) -> Any:
    """The object of a message, given the descriptors that came with it, which are used or closed."""
    parts = list(carried)
    try:
        return _Unpickler(payload, parts).load()
    finally:
        for part in parts:
            if isinstance(part, int):
                os.close(part)


class Envelope:
    """An object inside of what the standard library pickles for a new process, packed as our own messages are."""

    def __init__(self, content: Any) -> None:
        self.content = content

    def __reduce__(self) -> Any:
        message = pack(self.content)
        return unpack, (message.payload, message.carried)


def _duplicated(carried: Any) -> Any:
    """For the standard library's own pickler: the descriptor goes to the new process, or is fetched from this one."""
    return _opened, (type(carried), reduction.DupFd(carried.fileno()), carried.about())


def _opened(kind: Any, duplicate: Any, about: tuple[Any, ...]) -> Any:
    try:
        descriptor = duplicate.detach()
    except (OSError, EOFError) as error:
        raise SharedMemoryError(
            f"shared memory: the process that sent it is gone ({type(error).__name__}: {error}); it has to live until "
            "the memory was received, or use the queues and pipes of refengine.multiprocessing, which carry it"
        ) from error
    return kind.received(descriptor, *about)


def carry(kind: type[Carried]) -> None:
    """Let objects of a class travel as their descriptor, by the standard library's queues and pipes too."""
    _carried.add(kind)
    ForkingPickler.register(kind, _duplicated)


def register(kind: type[Tensor]) -> None:
    """Let the standard library's own queues and pipes pass a subclass of Tensor by shared memory too; ours do so."""
    ForkingPickler.register(kind, reduced)


carry(Region)
for _kind in (Tensor, Parameter, Buffer):
    register(_kind)
