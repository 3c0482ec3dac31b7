"""The globals that a user trusts files to name, beside those that every file may."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from refengine.errors import ArgumentError

BLOCKED = frozenset({"os", "posix", "nt", "sys", "subprocess", "builtins.eval", "builtins.exec", "builtins.__import__"})
"""Modules, and functions of them, that no file gets whatever was added."""

_trusted: dict[str, Any] = {}


def add_safe_globals(safe_globals: Iterable[Any]) -> None:
    """Let files name these classes and functions in a safe load: they may make the classes and call the functions.

    Parameters
    ----------
    safe_globals : iterable
        Classes and functions, or pairs of one and the full name that a file has for it.

    Raises
    ------
    ArgumentError
        If one has no name, or is one that can run anything.
    """
    _trusted.update(_named(safe_globals))


def get_safe_globals() -> list[Any]:
    """What was added, as it was given to `add_safe_globals`."""
    return [value if name == _full_name(value) else (value, name) for name, value in _trusted.items()]


def clear_safe_globals() -> None:
    """Forget all that was added."""
    _trusted.clear()


@contextmanager
def safe_globals(safe_globals: Iterable[Any]) -> Iterator[None]:
    """Inside the block, files may name these too; see `add_safe_globals`."""
    before = dict(_trusted)
    _trusted.update(_named(safe_globals))
    try:
        yield
    finally:
        _trusted.clear()
        _trusted.update(before)


def trusted() -> dict[str, Any]:
    """What was added, by full name; a copy."""
    return dict(_trusted)


def is_blocked(name: str) -> bool:
    """Whether no file gets the global of that full name."""
    return name in BLOCKED or name.partition(".")[0] in BLOCKED


def _full_name(value: Any) -> str:
    return f"{getattr(value, '__module__', None)}.{getattr(value, '__qualname__', None)}"


def _named(values: Iterable[Any]) -> dict[str, Any]:
    """Classes and functions by full name."""
    found = {}
    for value in values:
        pair = value if isinstance(value, tuple) else (value, _full_name(value))
        if len(pair) != 2 or not isinstance(pair[1], str) or not callable(pair[0]):
            raise ArgumentError(
                f"add_safe_globals: expected a class or function, or a pair of one and its full name, got {value!r}"
            )
        if is_blocked(pair[1]) or is_blocked(_full_name(pair[0])):
            raise ArgumentError(f"add_safe_globals: {pair[1]} can run anything and is never loaded")
        found[pair[1]] = pair[0]
    return found
