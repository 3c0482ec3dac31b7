"""Reads the pickle of a file without executing it: few opcodes, few globals, nothing else.

The opcodes are those that PyTorch's protocol 2 writes. A name is looked up in a table and never imported. What a file
may call is in the table (see `rebuilding`), or was named by the user (see `safe`).
"""

from __future__ import annotations

import struct
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter, OrderedDict
from collections.abc import Callable
from pickle import decode_long
from typing import Any, Final

from refengine.serialization import safe
from refengine.serialization.errors import RefusedError
from refengine.serialization.names import Global
from refengine.serialization.rebuilding import Rebuilder, checked_key, resolved

PROTOCOL: Final = 2
DICTS: Final = (dict, OrderedDict, Counter)
METADATA: Final = "_metadata"
"""The only attribute of an OrderedDict: PyTorch's state_dicts keep versions of modules there."""


class SafeUnpickler:
    """Makes what a pickle describes.

    Parameters
    ----------
    data : bytes
        The pickle.
    rebuilder : Rebuilder
        What it may call.
    """

    def __init__(self, data: bytes, rebuilder: Rebuilder) -> None:
        self._data, self._position = data, 0
        self._rebuilder = rebuilder
        self._names = {**safe.trusted(), **rebuilder.plain_names, **rebuilder.tensor_names}
        self._trusted = {id(value): value for value in safe.trusted().values()}
        self._stack: list[Any] = []
        self._outer: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """Read the pickle to its end.

        Raises
        ------
        RefusedError
            If it asks for what is not on the lists, or is no pickle.
        """
        if self._data[:2] != bytes((0x80, PROTOCOL)):
            raise RefusedError(f"load: expected a pickle of protocol {PROTOCOL}; save with PyTorch's default protocol")
        self._position = 2
        while (code := self._take(1)) != b".":
            act = OPCODES.get(code[0])
            if act is None:
                raise RefusedError(f"load: the opcode {code!r} is refused; PyTorch's files do not have it")
            act(self)
        if self._outer or len(self._stack) != 1 or self._position != len(self._data):
            raise RefusedError("load: the pickle does not end in one value")
        return self._stack[0]

    # --- reading ------------------------------------------------------------------------------------------------------

    def _take(self, count: int) -> bytes:
        start, self._position = self._position, self._position + count
        if self._position > len(self._data):
            raise RefusedError("load: the pickle ends too early")
        return self._data[start : self._position]

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _line(self) -> str:
        end = self._data.find(b"\n", self._position)
        if end < 0:
            raise RefusedError("load: the pickle ends too early")
        return _text(self._take(end + 1 - self._position)[:-1])

    def _pop(self) -> Any:
        if not self._stack:
            raise RefusedError("load: the pickle takes a value from an empty stack")
        return self._stack.pop()

    def _last(self) -> Any:
        if not self._stack:
            raise RefusedError("load: the pickle takes a value from an empty stack")
        return self._stack[-1]

    def _pop_marked(self) -> list[Any]:
        if not self._outer:
            raise RefusedError("load: the pickle takes values back to a mark that it never set")
        items, self._stack = self._stack, self._outer.pop()
        return items

    # --- values -------------------------------------------------------------------------------------------------------

    def _push(self, make: Callable[[], Any]) -> None:
        self._stack.append(make())

    def _push_number(self, form: str) -> None:
        self._stack.append(self._number(form))

    def _push_long(self) -> None:
        self._stack.append(decode_long(self._take(self._number("<B"))))

    def _push_text(self) -> None:
        self._stack.append(_text(self._take(self._number("<I"))))

    def _push_tuple(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._stack.append(tuple(reversed(items)))

    def _mark(self) -> None:
        self._outer.append(self._stack)
        self._stack = []

    def _push_marked_tuple(self) -> None:
        items = self._pop_marked()
        self._stack.append(tuple(items))

    def _put(self, form: str) -> None:
        self._memo[self._number(form)] = self._last()

    def _get(self, form: str) -> None:
        number = self._number(form)
        if number not in self._memo:
            raise RefusedError(f"load: the pickle recalls value {number}, which it never stored")
        self._stack.append(self._memo[number])

    # --- containers ---------------------------------------------------------------------------------------------------

    def _append(self, items: list[Any]) -> None:
        target = self._last()
        if type(target) is list:
            target.extend(items)
        elif self._is_trusted(type(target)) and hasattr(target, "append"):
            for item in items:
                target.append(item)
        else:
            raise RefusedError(f"load: expected a list to append to, got {type(target).__name__}")

    def _set_items(self, items: list[Any]) -> None:
        target = self._last()
        if type(target) not in DICTS and not (self._is_trusted(type(target)) and hasattr(target, "__setitem__")):
            raise RefusedError(f"load: expected a dict to set items of, got {type(target).__name__}")
        if len(items) % 2:
            raise RefusedError("load: the pickle sets a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[checked_key(key)] = value

    def _append_one(self) -> None:
        self._append([self._pop()])

    def _append_marked(self) -> None:
        self._append(self._pop_marked())

    def _set_one(self) -> None:
        value = self._pop()
        self._set_items([self._pop(), value])

    def _set_marked(self) -> None:
        self._set_items(self._pop_marked())

    # --- what could execute -------------------------------------------------------------------------------------------

    def _is_trusted(self, value: Any) -> bool:
        """Whether the user named it."""
        return id(value) in self._trusted

    def _global(self) -> None:
        """Look a name up; nothing is imported."""
        module, name = self._line(), self._line()
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        full = f"{module}.{name}"
        if full not in self._names or safe.is_blocked(full):
            raise refused_global(full)
        self._stack.append(resolved(self._names[full]))

    def _reduce(self) -> None:
        args, function = self._pop(), self._pop()
        if type(args) is not tuple:
            raise RefusedError(f"load: expected a tuple of arguments, got {type(args).__name__}")
        if type(function) is Global:
            self._stack.append(self._rebuilder.call(function, args))
        elif self._is_trusted(function):
            self._stack.append(function(*args))
        else:
            raise RefusedError(f"load: a call of {_described(function)} is refused")

    def _new(self) -> None:
        args, kind = self._pop(), self._pop()
        if type(args) is not tuple or not isinstance(kind, type) or not self._is_trusted(kind):
            raise RefusedError(f"load: making an object of {_described(kind)} is refused")
        self._stack.append(kind.__new__(kind, *args))

    def _build(self) -> None:
        state, target = self._pop(), self._last()
        if type(target) is OrderedDict:
            if type(state) is not dict or set(state) != {METADATA} or type(state[METADATA]) not in DICTS:
                raise RefusedError(f"load: an OrderedDict has no attributes but {METADATA}")
            target.__dict__[METADATA] = state[METADATA]
        elif self._is_trusted(type(target)):
            set_state(target, state)
        else:
            raise RefusedError(f"load: setting the state of {_described(type(target))} is refused")

    def _storage(self) -> None:
        self._stack.append(self._rebuilder.storage(self._pop()))


def set_state(target: Any, state: Any) -> None:
    """Set the state of an object as pickle does."""
    if hasattr(target, "__setstate__"):
        target.__setstate__(state)
        return
    slots = None
    if isinstance(state, tuple) and len(state) == 2:
        state, slots = state
    if not isinstance(state, (dict, type(None))) or not isinstance(slots, (dict, type(None))):
        raise RefusedError(f"load: expected a dict as state of {_described(type(target))}")
    if not all(isinstance(name, str) for name in (*(state or ()), *(slots or ()))):
        raise RefusedError(f"load: expected names in the state of {_described(type(target))}")
    if state:
        target.__dict__.update(state)
    for name, value in (slots or {}).items():
        setattr(target, name, value)


def _text(data: bytes) -> str:
    try:
        return str(data, "utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise RefusedError("load: the pickle has a text that is no UTF-8") from None


def _described(value: Any) -> str:
    """A class or function by name, anything else by its class."""
    return getattr(value, "__qualname__", None) or f"a {type(value).__name__}"


def refused_global(name: str) -> RefusedError:
    """The error that names a global."""
    shown = name if len(name) <= 100 and name.isprintable() else repr(name[:100])
    if safe.is_blocked(name):
        return RefusedError(f"load: the file asks for {shown}, which can run anything and is never loaded", shown)
    if name.partition(".")[0] == "torch":
        remedy = "which has no counterpart here; save a state_dict instead"
    else:
        remedy = (
            f"which is not on the list of what a safe load makes; if you trust it, name it: "
            f"serialization.add_safe_globals([{shown}]); if you trust all of the file: weights_only=False"
        )
    return RefusedError(f"load: the file asks for {shown}, {remedy}", shown)


Act = Callable[[SafeUnpickler], None]


def _opcodes() -> dict[int, Act]:
    """What is done for each opcode that is known."""
    unpickler = SafeUnpickler
    acts: dict[bytes, Act] = {
        b"N": lambda u: u._push(lambda: None),
        b"\x88": lambda u: u._push(lambda: True),
        b"\x89": lambda u: u._push(lambda: False),
        b")": lambda u: u._push(tuple),
        b"]": lambda u: u._push(list),
        b"}": lambda u: u._push(dict),
        b"J": lambda u: u._push_number("<i"),
        b"K": lambda u: u._push_number("<B"),
        b"M": lambda u: u._push_number("<H"),
        b"G": lambda u: u._push_number(">d"),
        b"\x85": lambda u: u._push_tuple(1),
        b"\x86": lambda u: u._push_tuple(2),
        b"\x87": lambda u: u._push_tuple(3),
        b"q": lambda u: u._put("<B"),
        b"r": lambda u: u._put("<I"),
        b"h": lambda u: u._get("<B"),
        b"j": lambda u: u._get("<I"),
        b"\x8a": unpickler._push_long,
        b"X": unpickler._push_text,
        b"(": unpickler._mark,
        b"t": unpickler._push_marked_tuple,
        b"a": unpickler._append_one,
        b"e": unpickler._append_marked,
        b"s": unpickler._set_one,
        b"u": unpickler._set_marked,
        b"c": unpickler._global,
        b"R": unpickler._reduce,
        b"\x81": unpickler._new,
        b"b": unpickler._build,
        b"Q": unpickler._storage,
    }
    return {code[0]: act for code, act in acts.items()}


OPCODES: Final = _opcodes()
