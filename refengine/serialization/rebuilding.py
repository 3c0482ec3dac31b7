"""What a file may call: makes storages, tensors and a few plain values, from arguments that are checked one by one.

Everything here may be called with anything, in any order: the caller is the file.
"""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from refengine import devices, dtypes, layout
from refengine.backends.base import Array
from refengine.errors import ArgumentError
from refengine.nn.parameter import Buffer, Parameter
from refengine.serialization.archive import Archive
from refengine.serialization.errors import FormatError, RefusedError
from refengine.serialization.names import (
    OTHER_DTYPES,
    STORAGES,
    UNTYPED,
    Global,
    MissingDType,
    StorageType,
    known_dtype,
)
from refengine.storage import Storage
from refengine.tensor import Tensor, backend_of

Place = Callable[[Storage, str], Storage]
MAX_AXES: Final = 64
"""NumPy's limit."""
MAX_BYTES: Final = sys.maxsize
"""What a shape and a stride may span: NumPy counts in signed words."""
MAX_KEY: Final = 256
"""Parts of a tuple that is a key: hashing a tuple of tuples can take time exponential in its size in the file."""
PID: Final = (str, StorageType, str, str, int)
"""The types in a persistent id: "storage", type, key, device, number of elements."""
MAX_KEY_DIGITS: Final = 20
"""Keys of storages are counted, or, in older files, are addresses."""
MAX_LOCATION: Final = 100
"""Letters in the name of a device."""
COPIES: Final = 4
"""How many times the size of the pickle all calls together may copy: the bytes of a bytearray are copied twice, and
are in the pickle themselves. A file that copies one value again and again goes beyond."""
ENTRY: Final = 8
"""Bytes that an entry of a container counts for; in the pickle it has two at least, such as a reference to the memo."""
SPARE: Final = 4096
"""Bytes that every file may copy beyond, for None and True, which have one only."""
BUFFER: Final = "_is_buffer"
"""PyTorch's mark of a Buffer."""


@dataclass(slots=True)
class Stored:
    """A storage that was loaded.

    Attributes
    ----------
    kind, key, numel
        What the file says of it.
    native : bool
        Whether its bytes are in this machine's order, as they were or because they were swapped.
    looks : dict
        Its memory by dtype and whether conjugated and negated, with the storage that owns it.
    """

    storage: Storage
    kind: StorageType
    key: str
    numel: int
    native: bool
    looks: dict[tuple[dtypes.dtype, bool, bool], tuple[Storage, Array]] = field(default_factory=dict)


class Rebuilder:
    """Makes what one file describes.

    Parameters
    ----------
    archive : Archive
        Has the bytes.
    place : callable
        Takes a storage in the host's memory and the device that it was saved on; returns it where it is to be.
    budget : int or None
        The size of the pickle, which says how much calls may copy; None is without limit.
    """

    def __init__(self, archive: Archive, place: Place, budget: int | None) -> None:
        self._archive, self._place = archive, place
        self._budget = None if budget is None else COPIES * budget + SPARE
        self._by_key: dict[str, Stored] = {}
        self._by_storage: dict[int, Stored] = {}
        self.tensor_names = self._tensor_names()
        self.plain_names = {
            name: Global(name, call)
            for name, call in (
                ("collections.OrderedDict", self._ordered_dict),
                ("collections.Counter", self._counter),
                ("builtins.set", self._set),
                ("builtins.complex", self._complex),
                ("builtins.bytearray", self._bytearray),
                ("builtins.bytes", bytes_of_nothing),
                ("_codecs.encode", self._bytes),
            )
        }

    def _tensor_names(self) -> dict[str, Any]:
        """PyTorch's names, and what they are here."""
        calls = (
            ("torch.Size", self._size),
            ("torch.device", self._device),
            ("torch._utils._rebuild_tensor", self._tensor),
            ("torch._utils._rebuild_tensor_v2", self._tensor),
            ("torch._utils._rebuild_tensor_v3", self._tensor_of_dtype),
            ("torch._utils._rebuild_parameter", self._parameter),
            ("torch._utils._rebuild_parameter_with_state", self._parameter),
            ("torch._tensor._rebuild_from_type_v2", self._of_type),
        )
        return {
            **{name: Global(name, call) for name, call in calls},
            **{f"torch.{name}": StorageType(name, element) for name, element in STORAGES.items()},
            **{f"torch.{name}": MissingDType(name) for name in (*STORAGES.values(), *OTHER_DTYPES)},
            **{f"torch.{dtype.name}": dtype for dtype in dtypes.ALL},
            "torch.storage.UntypedStorage": UNTYPED,
            "torch.UntypedStorage": UNTYPED,
            "torch.Tensor": Tensor,
            "torch.nn.parameter.Parameter": Parameter,
        }

    # --- storages -----------------------------------------------------------------------------------------------------

    def storage(self, pid: Any) -> Storage:
        """The storage that a persistent id stands for."""
        if type(pid) is not tuple or tuple(map(type, pid)) != PID or pid[0] != "storage":
            raise RefusedError(f"load: expected the id of a storage, got {_shown(pid)}")
        _, kind, key, location, numel = pid
        if len(location) > MAX_LOCATION:
            raise RefusedError(f"load: expected the name of a device, got {_shown(location)}")
        if not (key.isascii() and key.isdecimal() and len(key) <= MAX_KEY_DIGITS):
            raise RefusedError(f"load: expected the number of a storage, got {_shown(key)}")
        known = self._by_key.get(key)
        if known is None:
            known = self._by_key[key] = self._read(kind, key, location, numel)
            self._by_storage[id(known.storage)] = known
        elif (known.kind, known.numel) != (kind, numel):
            raise FormatError(f"load: storage {key} is said to be of two types or sizes")
        return known.storage

    def _read(self, kind: StorageType, key: str, location: str, numel: int) -> Stored:
        """Read a storage, whose size the file has to have right."""
        dtype = kind.dtype()
        record = self._archive.find(f"data/{key}")
        if record.size // dtype.itemsize != numel:
            raise FormatError(
                f"load: storage {key} is said to have {_shown(numel)} elements of {dtype.itemsize} bytes, "
                f"and has {record.size} bytes"
            )
        memory = self._archive.array(record)
        swap = self._archive.byteorder != sys.byteorder and kind is not UNTYPED
        if swap:
            memory[: numel * dtype.itemsize].view(dtype.numpy).byteswap(inplace=True)
        placed: Any = self._place(Storage(memory, backend_of(memory)), location)
        if not isinstance(placed, Storage) or placed.array.shape != memory.shape or placed.nbytes() != memory.size:
            raise ArgumentError(
                f"map_location: expected the storage it was given, or a copy of it, got {type(placed).__name__}"
            )
        return Stored(placed, kind, key, numel, swap or self._archive.byteorder == sys.byteorder)

    def _look(self, stored: Stored, dtype: dtypes.dtype, conj: bool, neg: bool) -> tuple[Storage, Array]:
        """The memory of a storage as elements of a dtype; made once, so that what looks at it shares memory."""
        wanted = (dtype, conj, neg)
        if wanted not in stored.looks:
            storage, array = stored.storage, stored.storage.array
            array = array[: array.size // dtype.itemsize * dtype.itemsize].view(dtype.numpy)
            if dtype is dtypes.bool_ and bool((array.view(np.uint8) > 1).any()):
                raise FormatError(f"load: storage {stored.key} has bytes that are neither 0 nor 1 as bools")
            if conj or neg:
                xp = storage.backend.xp
                array = xp.conj(array) if conj else array
                array = xp.negative(array) if neg else array
                storage = Storage(array, storage.backend)
            stored.looks[wanted] = storage, array
        return stored.looks[wanted]

    # --- tensors ------------------------------------------------------------------------------------------------------

    def _tensor(
        self,
        storage: Any,
        offset: Any,
        size: Any,
        stride: Any,
        requires_grad: Any = False,
        hooks: Any = None,
        metadata: Any = None,
    ) -> Tensor:
        """A tensor over a storage of its dtype."""
        _check_hooks(hooks)
        return self._over(self._known(storage).kind.dtype(), storage, offset, size, stride, requires_grad, metadata)

    def _tensor_of_dtype(
        self,
        storage: Any,
        offset: Any,
        size: Any,
        stride: Any,
        requires_grad: Any,
        hooks: Any,
        dtype: Any,
        metadata: Any = None,
    ) -> Tensor:
        """A tensor over an untyped storage."""
        _check_hooks(hooks)
        if not isinstance(dtype, dtypes.dtype):
            raise RefusedError(f"load: expected a dtype, got {_shown(dtype)}")
        if not self._known(storage).native and dtype.itemsize > 1:
            raise FormatError("load: an untyped storage has another machine's byte order")
        return self._over(dtype, storage, offset, size, stride, requires_grad, metadata)

    def _known(self, storage: Any) -> Stored:
        found = self._by_storage.get(id(storage)) if isinstance(storage, Storage) else None
        if found is None:
            raise RefusedError(f"load: expected a storage of the file, got {_shown(storage)}")
        return found

    def _over(
        self, dtype: dtypes.dtype, storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, metadata: Any
    ) -> Tensor:
        """A tensor whose every element lies inside its storage."""
        flags = metadata or {}
        if type(flags) is not dict or not set(flags) <= {"conj", "neg"} or type(requires_grad) is not bool:
            raise RefusedError(f"load: expected a tensor's flags, got {_shown(metadata)}, {_shown(requires_grad)}")
        if requires_grad and not dtype.is_differentiable:
            raise FormatError(f"load: a tensor of dtype {dtype.name} is said to require grad")
        memory, flat = self._look(self._known(storage), dtype, bool(flags.get("conj")), bool(flags.get("neg")))
        count = int(flat.size)
        shape, strides, first = _checked_layout(size, stride, offset, count, dtype.itemsize)
        array = memory.backend.xp.strided(flat, shape, strides, first, ((count,), (1,)))
        return Tensor(array, memory, requires_grad)

    def _parameter(self, data: Any, requires_grad: Any, hooks: Any, state: Any = None) -> Parameter:
        """A parameter over a tensor's memory."""
        _check_hooks(hooks)
        if not isinstance(data, Tensor) or type(requires_grad) is not bool:
            raise RefusedError(f"load: expected a tensor for a parameter, got {_shown(data)}")
        if requires_grad and not data.dtype.is_differentiable:
            raise FormatError(f"load: a parameter of dtype {data.dtype.name} is said to require grad")
        result = Parameter(data, requires_grad)
        self._set_state(result, {} if state is None else state)
        return result

    def _of_type(self, make: Any, kind: Any, args: Any, state: Any) -> Tensor:
        """A tensor of a subclass, or with attributes."""
        if type(make) is not Global or not make.name.startswith("torch._utils.") or type(args) is not tuple:
            raise RefusedError(f"load: expected a function that makes tensors, got {_shown(make)}", _name(make))
        if not (isinstance(kind, type) and issubclass(kind, Tensor)):
            raise RefusedError(f"load: expected a class of tensors, got {_shown(kind)}", _name(kind))
        data = self.call(make, args)
        if not isinstance(data, Tensor):
            raise RefusedError(f"load: expected {make.name} to make a tensor")
        is_buffer = kind is Tensor and type(state) is dict and state.get(BUFFER) is True
        result: Tensor = data
        if type(data) is not kind or is_buffer:
            result = Buffer.__new__(Buffer) if is_buffer else kind.__new__(kind)
            Tensor.__init__(result, data.array, data.storage, data.requires_grad)
        self._set_state(result, {k: v for k, v in state.items() if k != BUFFER} if is_buffer else state)
        return result

    def _set_state(self, tensor: Tensor, state: Any) -> None:
        """Give a tensor its attributes, none of which may stand before what its class has."""
        if type(state) is not dict or not all(type(name) is str for name in state):
            raise RefusedError(f"load: expected the attributes of a tensor, got {_shown(state)}")
        self._charge(ENTRY * len(state))
        for name in state:
            if hasattr(type(tensor), name):
                raise RefusedError(f"load: the attribute {_shown(name)} of a tensor would hide its own")
        tensor.__dict__.update(state)

    # --- plain values -------------------------------------------------------------------------------------------------

    def call(self, function: Global, args: tuple[Any, ...]) -> Any:
        """Call what the file names with what it gives."""
        try:
            return function.call(*args)
        except TypeError as error:
            if isinstance(error, ArgumentError):
                raise
            raise RefusedError(f"load: {function.name} was given wrong arguments: {error}", function.name) from None

    def _charge(self, count: int) -> None:
        """Pay for bytes that are copied."""
        if self._budget is None:
            return
        self._budget -= count
        if self._budget < 0:
            raise RefusedError("load: the pickle copies its values again and again; a file of PyTorch's does not")

    def _size(self, sizes: Any) -> layout.Size:
        if type(sizes) is not tuple or not all(type(size) is int for size in sizes):
            raise RefusedError(f"load: expected sizes, got {_shown(sizes)}")
        self._charge(ENTRY * len(sizes))
        return layout.Size(sizes)

    def _device(self, kind: Any, index: Any = None) -> devices.device:
        if type(kind) is not str or type(index) not in (int, type(None)):
            raise RefusedError(f"load: expected a device, got {_shown(kind)}, {_shown(index)}")
        return devices.device(kind, index)

    def _ordered_dict(self, pairs: Any = ()) -> OrderedDict[Any, Any]:
        if type(pairs) not in (list, tuple):
            raise RefusedError(f"load: expected pairs for an OrderedDict, got {_shown(pairs)}")
        self._charge(2 * ENTRY * len(pairs))
        result: OrderedDict[Any, Any] = OrderedDict()
        for pair in pairs:
            if type(pair) not in (list, tuple) or len(pair) != 2:
                raise RefusedError(f"load: expected pairs for an OrderedDict, got {_shown(pair)}")
            result[checked_key(pair[0])] = pair[1]
        return result

    def _counter(self, counts: Any = None) -> Counter[Any]:
        if counts is not None and type(counts) is not dict:
            raise RefusedError(f"load: expected counts, got {_shown(counts)}")
        self._charge(ENTRY * len(counts or ()))
        return Counter(counts)

    def _set(self, items: Any = ()) -> set[Any]:
        if type(items) not in (list, tuple):
            raise RefusedError(f"load: expected the items of a set, got {_shown(items)}")
        self._charge(ENTRY * len(items))
        return {checked_key(item) for item in items}

    def _complex(self, real: Any, imag: Any) -> complex:
        if type(real) is not float or type(imag) is not float:
            raise RefusedError(f"load: expected the two parts of a complex number, got {_shown((real, imag))}")
        return complex(real, imag)

    def _bytes(self, text: Any, encoding: Any) -> bytes:
        """Bytes as protocol 2 writes them; no other codec is looked for."""
        if type(text) is not str or encoding not in ("latin1", "latin-1"):
            raise RefusedError(f"load: expected bytes as latin1, got {_shown(text)} as {_shown(encoding)}")
        self._charge(len(text))
        try:
            return text.encode("latin1")
        except UnicodeEncodeError:
            raise RefusedError(f"load: expected bytes as latin1, got {_shown(text)}") from None

    def _bytearray(self, data: Any = b"", encoding: Any = None) -> bytearray:
        if encoding is not None:
            data = self._bytes(data, encoding)
        if type(data) is not bytes:
            raise RefusedError(f"load: expected the bytes of a bytearray, got {_shown(data)}")
        self._charge(len(data))
        return bytearray(data)


def bytes_of_nothing() -> bytes:
    """How protocol 2 writes no bytes."""
    return b""


def checked_key(key: Any) -> Any:
    """A key of a dict or an item of a set, whose hash takes a bounded time."""
    waiting, seen = [key], 0
    while waiting:
        part = waiting.pop()
        seen += 1
        if isinstance(part, tuple) and seen + len(part) <= MAX_KEY:
            waiting.extend(part)
        elif isinstance(part, tuple) or type(part).__hash__ is None:
            raise RefusedError(f"load: expected a key of a dict or set, got {_shown(part)}")
    return key


def resolved(value: Any) -> Any:
    """What a name of PyTorch's stands for; a dtype that is not here is an error."""
    return known_dtype(value.name) if isinstance(value, MissingDType) else value


def _check_hooks(hooks: Any) -> None:
    """Raise where a file has hooks, which PyTorch does not save."""
    if type(hooks) not in (OrderedDict, type(None)) or hooks:
        raise RefusedError("load: the file has backward hooks, which are not loaded")


def _checked_layout(size: Any, stride: Any, offset: Any, count: int, itemsize: int) -> tuple[Any, Any, int]:
    """Shape, strides and offset of a tensor that stays inside a storage of `count` elements."""
    shape, strides = _ints(size), _ints(stride)
    if len(shape) != len(strides) or type(offset) is not int or offset < 0:
        raise FormatError(f"load: a tensor has shape {shape}, strides {strides} and offset {_shown(offset)}")
    span = itemsize
    for length, step in zip(shape, strides, strict=True):
        span *= max(length, 1)
        if span > MAX_BYTES or step * itemsize > MAX_BYTES:
            raise FormatError(f"load: a tensor of shape {shape} and strides {strides} is too large")
    if 0 in shape:
        return shape, layout.contiguous_strides(shape), min(offset, count)
    last = offset + layout.span(shape, strides)[1]
    if last >= count:
        raise FormatError(
            f"load: a tensor of shape {shape}, strides {strides} and offset {_shown(offset)} reaches beyond its "
            f"storage of {count} elements"
        )
    return shape, strides, offset


def _ints(values: Any) -> tuple[int, ...]:
    """Sizes or strides."""
    if not isinstance(values, tuple) or len(values) > MAX_AXES:
        raise FormatError(f"load: expected at most {MAX_AXES} sizes or strides, got {_shown(values)}")
    if not all(type(value) is int and 0 <= value <= MAX_BYTES for value in values):
        raise FormatError(f"load: expected sizes or strides from 0 to {MAX_BYTES}, got {_shown(values)}")
    return tuple(values)


def _name(value: Any) -> str | None:
    return getattr(value, "name", None) or getattr(value, "__qualname__", None)


def _shown(value: Any) -> str:
    """A value in a few words; nothing is written out that could be endless."""
    if isinstance(value, (str, bytes)):
        return repr(value[:60])
    if isinstance(value, int) and abs(value) > 1 << 64:
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, (int, float, type(None))):
        return repr(value)
    if isinstance(value, (Global, StorageType)):
        return value.name
    if isinstance(value, Collection):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
