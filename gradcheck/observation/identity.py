"""When a class made again is the same Function: the body of a test, a fixture or a factory makes one each time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from types import CodeType, FunctionType
from typing import Any

Representative = Callable[[type], type]

_PLAIN = (bool, int, float, complex, str, bytes, type(None), CodeType)


def identity_of(function: type, representative: Representative) -> Hashable:
    """What two classes have in common exactly if neither can tell which one it is.

    The same code, closed over the same objects. Equal numbers and strings are the same, and so are classes that have
    one `representative`; all else is the same only if it is one object, so whoever keeps an identity keeps the class.
    """
    seen: dict[int, int] = {id(function): 0}
    bases = tuple(id(representative(base)) for base in function.__bases__)
    return function.__module__, function.__qualname__, bases, tuple(_attributes(function, representative, seen))


def _attributes(function: type, representative: Representative, seen: dict[int, int]) -> Iterator[Hashable]:
    for name, value in sorted(vars(function).items()):
        is_special = name.startswith("__") and name.endswith("__")
        # The library's own pendant of the class (its node in the graph) differs as the class does.
        if getattr(value, "_forward_cls", None) is function or (is_special and not isinstance(value, _PLAIN)):
            continue
        yield name, _same(value, representative, seen)


def _same(value: Any, representative: Representative, seen: dict[int, int]) -> Hashable:
    """Equal for two values that cannot be told from one another; `seen` numbers what refers to itself."""
    if isinstance(value, _PLAIN):
        return type(value), value
    if isinstance(value, tuple):
        return type(value), tuple(_same(item, representative, seen) for item in value)
    if isinstance(value, (staticmethod, classmethod)):
        return type(value), _same(value.__func__, representative, seen)
    if id(value) in seen:
        return "seen", seen[id(value)]
    if isinstance(value, type):
        return "class", id(representative(value))
    if isinstance(value, FunctionType):
        seen[id(value)] = len(seen)
        held = tuple(_cell(cell) for cell in value.__closure__ or ())
        named = tuple(sorted((value.__kwdefaults__ or {}).items()))
        parts = (held, value.__defaults__ or (), named)
        # The very code, since two lambdas of one line may have equal code.
        return id(value.__code__), _same(parts, representative, seen)
    return "object", id(value)


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return "nothing yet"
