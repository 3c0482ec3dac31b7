"""Writes the pickle of a file: tensors under PyTorch's names, their memory as numbered storages."""

from __future__ import annotations

import codecs
import ctypes
import io
import pickle
import warnings
from collections import OrderedDict
from typing import Any, Final

from refengine import devices, dtypes, layout
from refengine.backends.numpy import BACKEND as NUMPY
from refengine.errors import DeviceError
from refengine.nn.parameter import Buffer, Parameter
from refengine.serialization.errors import SaveError
from refengine.serialization.names import STORAGE_OF, UNTYPED, Foreign
from refengine.serialization.rebuilding import BUFFER
from refengine.serialization.unpickler import PROTOCOL
from refengine.storage import Storage
from refengine.tensor import Tensor

TENSOR: Final = Foreign("torch._utils", "_rebuild_tensor_v2")
PARAMETER: Final = Foreign("torch._utils", "_rebuild_parameter")
PARAMETER_WITH_STATE: Final = Foreign("torch._utils", "_rebuild_parameter_with_state")
OF_TYPE: Final = Foreign("torch._tensor", "_rebuild_from_type_v2")
TENSOR_CLASS: Final = Foreign("torch", "Tensor")
SIZE: Final = Foreign("torch", "Size")
DEVICE: Final = Foreign("torch", "device")
UNTYPED_STORAGE: Final = Foreign("torch.storage", UNTYPED.name)
PLAIN: Final = {"__reduce__": Tensor.__reduce__, "__reduce_ex__": object.__reduce_ex__}
"""What a class of tensors has that does not say itself how it is pickled."""
DTYPES: Final = {dtype: Foreign("torch", dtype.name) for dtype in dtypes.ALL}


class _Elements:
    """A storage as the memory of a tensor's elements."""

    __slots__ = ("dtype", "storage")

    def __init__(self, storage: Storage, dtype: dtypes.dtype) -> None:
        self.storage, self.dtype = storage, dtype


class TensorPickler(pickle._Pickler):
    """A pickler that knows tensors; its `storages` are the memory that goes with the pickle.

    It is the standard library's one in Python, since the one in C looks up every name that it writes.
    """

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, protocol=PROTOCOL)
        self._stream = stream
        self.storages: list[Storage] = []
        self._numbers: dict[tuple[int, int], int] = {}
        self._types: dict[int, dtypes.dtype] = {}

    def reducer_override(self, obj: Any) -> Any:
        """How an object is written that pickle would write otherwise."""
        kind = type(obj)
        if isinstance(obj, Tensor) and all(getattr(kind, name) is own for name, own in PLAIN.items()):
            return self._tensor(obj)
        if kind is layout.Size:
            return SIZE, (tuple(obj),)
        if kind is devices.device:
            return DEVICE, (obj.type,) if obj.index is None else (obj.type, obj.index)
        if kind is dtypes.dtype:
            return DTYPES[obj].name
        if kind is bytes and not obj:  # pickle would write bytes(), which PyTorch refuses
            return codecs.encode, ("", "latin1")
        return obj.name if kind is Foreign else NotImplemented

    def save_global(self, obj: Any, name: str | None = None) -> None:
        """Write a name; PyTorch's are written as they stand."""
        foreign = DTYPES.get(obj) if isinstance(obj, dtypes.dtype) else obj
        if not isinstance(foreign, Foreign):
            super().save_global(obj, name)  # type: ignore[misc]
            return
        self._stream.write(pickle.GLOBAL + f"{foreign.module}\n{foreign.name}\n".encode("ascii"))
        self.memoize(obj)  # type: ignore[attr-defined]

    def persistent_id(self, obj: Any) -> Any:
        """What stands for a storage."""
        if isinstance(obj, _Elements):
            return self._id(obj.storage, STORAGE_OF[obj.dtype], obj.dtype)
        return self._id(obj, UNTYPED_STORAGE, dtypes.uint8) if isinstance(obj, Storage) else None

    def _id(self, storage: Storage, name: Foreign, dtype: dtypes.dtype) -> tuple[Any, ...]:
        """The persistent id of a storage, the same for all who share its memory."""
        if storage.backend is not NUMPY:
            raise DeviceError(f"save: expected tensors on the CPU, got one on {storage.backend.name}; use cpu()")
        address, size = storage.data_ptr(), max(storage.nbytes(), 0)
        number = self._numbers.setdefault((address, size) if size else (-id(storage), 0), len(self.storages))
        if number == len(self.storages):
            self.storages.append(storage)
            self._types[number] = dtype
        if self._types[number] is not dtype:
            raise SaveError(
                f"save: the same memory is looked at as {self._types[number].name} and as {dtype.name}, which "
                "PyTorch's format has no room for; clone() one of the tensors"
            )
        return ("storage", name, str(number), "cpu", size // dtype.itemsize)

    def _tensor(self, tensor: Tensor) -> Any:
        """The call that makes a tensor again."""
        kind, state = type(tensor), tensor.__dict__
        hooks: OrderedDict[int, Any] = OrderedDict()  # an OrderedDict[...]() would carry its annotation into the file
        storage, dtype = tensor.untyped_storage(), tensor.dtype
        if tensor.backend is NUMPY and (tensor.data_ptr() - storage.data_ptr()) % dtype.itemsize:
            raise SaveError(f"save: a tensor does not begin at a whole {dtype.name} of its memory; clone() it")
        if tensor.extra is not None and tensor.extra.hooks:
            warnings.warn("save: the hooks of a tensor are not saved; register them again after load", stacklevel=2)
        requires_grad = tensor.requires_grad
        owned = requires_grad and kind is not Parameter
        size, stride = tuple(tensor.shape), tuple(tensor.stride())
        args = (_Elements(storage, dtype), tensor.storage_offset() if tensor.numel() else 0, size, stride, owned, hooks)
        if kind is Parameter:
            plain = _Plain(args)
            if state:
                return PARAMETER_WITH_STATE, (plain, requires_grad, hooks, state)
            return PARAMETER, (plain, requires_grad, hooks)
        if kind is Buffer:
            return OF_TYPE, (TENSOR, TENSOR_CLASS, args, {**state, BUFFER: True})
        if kind is Tensor and not state:
            return TENSOR, args
        return OF_TYPE, (TENSOR, TENSOR_CLASS if kind is Tensor else kind, args, state)


class _Plain:
    """The tensor that a parameter wraps."""

    __slots__ = ("args",)

    def __init__(self, args: tuple[Any, ...]) -> None:
        self.args = args

    def __reduce__(self) -> Any:
        return TENSOR, self.args


def pickled(obj: Any) -> tuple[bytes, list[Storage]]:
    """The pickle of an object and the memory of its tensors, in the order of their numbers.

    Raises
    ------
    SaveError
        If something in it cannot be pickled.
    """
    stream = io.BytesIO()
    pickler = TensorPickler(stream)
    try:
        pickler.dump(obj)
    except (pickle.PicklingError, RecursionError, AttributeError, TypeError) as error:
        if isinstance(error, SaveError):
            raise
        raise SaveError(f"save: {error}; save a state_dict, or what can be pickled") from error
    return stream.getvalue(), pickler.storages


def memory(storage: Storage) -> memoryview:
    """The bytes of a storage, without a copy."""
    size = storage.nbytes()
    return memoryview((ctypes.c_ubyte * size).from_address(storage.data_ptr()) if size > 0 else b"").cast("B")
