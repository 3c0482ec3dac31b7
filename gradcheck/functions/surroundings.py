"""What a call of a user's Function may touch besides its arguments, kept as it was: modules, gradients, randomness."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np

from gradcheck.arguments import leaves
from gradcheck.engines.base import Capability, Engine
from gradcheck.observation.call import Call

# A Function reaches modules through an argument, its closure, or both; further away, nothing was found in practice.
_DEPTH = 4
# A container of more items holds data, not state.
_ITEMS = 1_000
# After so many calls, forward and backward, that drew no random number, a Function is taken for one that draws none.
_UNMOVED = 8


class Surroundings:
    """The state around one call, brought back before each evaluation and at the end.

    Buffers and training modes of the modules that the call can reach, gradients of the leaves it can reach, and every
    random state. What the Function does to them is not judged.

    Parameters
    ----------
    engine : Engine
    call : Call
    """

    def __init__(self, engine: Engine, call: Call) -> None:
        self._engine = engine
        self._call = call
        self._unmoved = 0
        reached = reachable(engine, call)
        self._keepers = [keeper for value in reached if (keeper := engine.keeper(value)) is not None]
        held = (_owner(call.function), *reached)
        self._attributes = [kept for value in held if (kept := _attributes_of(value)) is not None]

    def restore(self) -> None:
        """Everything as it was, and the random numbers as they were at the call."""
        for keeper in self._keepers:
            keeper()
        self._restore_random_numbers()

    def _restore_random_numbers(self) -> None:
        """Bring random numbers back, unless they never moved: setting them costs as much as a small Function."""
        state = self._call.random_state
        if state is None or self._unmoved >= _UNMOVED:
            return
        self._unmoved = self._unmoved + 1 if _is_same(self._engine.random_state(), state) else 0
        self._engine.set_random_state(state)

    @contextmanager
    def kept(self, seed: int) -> Iterator[None]:
        """Gradients on, the call's default dtype inside; all of the caller's own state comes back afterwards."""
        plain, legacy = random.getstate(), np.random.get_state()
        try:
            with self._engine.sandbox(seed), self._engine.default_dtype(self._call.default_dtype):
                yield
        finally:
            for keeper in (*self._attributes, *self._keepers):
                keeper()
            random.setstate(plain)
            np.random.set_state(legacy)


def _is_same(a: Any, b: Any) -> bool:
    """Whether two random states, tuples of numbers and arrays, are equal."""
    if isinstance(a, (tuple, list)):
        return type(a) is type(b) and len(a) == len(b) and all(map(_is_same, a, b))
    return bool(np.array_equal(np.asarray(a), np.asarray(b))) if hasattr(a, "shape") else bool(a == b)


def reachable(engine: Engine, call: Call) -> list[Any]:
    """What a call can reach through its arguments and its function's closures and globals: tensors, modules, functions.

    The copies of its own tensor arguments are left out, and arrays that cannot change.
    """
    copies = {id(x) for x in leaves(call.arguments) if engine.is_tensor(x)}
    can_change = Capability.INPLACE in engine.capabilities
    found: dict[int, Any] = {}
    waiting = [(value, 0) for value in (*call.arguments, *_entrances(call.function))]
    for value, depth in waiting:  # grows while it is walked
        if id(value) in found or id(value) in copies or depth > _DEPTH:
            continue
        if engine.is_tensor(value) and not can_change:
            continue
        found[id(value)] = value
        waiting += [(part, depth + 1) for part in _parts(value)]
    return list(found.values())


def _owner(function: Callable[..., Any]) -> Any:
    """The class that a method (``apply``) is bound to, or what was called itself."""
    owner = getattr(function, "__self__", None)
    return owner if inspect.isclass(owner) else function


def _entrances(function: Callable[..., Any]) -> Sequence[Any]:
    """What runs when it is called: the methods and attributes of a class, or the function itself."""
    owner = _owner(function)
    if not inspect.isclass(owner):
        return (owner,)
    methods = [getattr(owner, name) for name in ("forward", "backward") if hasattr(owner, name)]
    return (*map(inspect.unwrap, methods), *vars(owner).values())


def _parts(value: Any) -> Sequence[Any]:
    """What is behind a value: items of a container, what a function closes over or names."""
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        items = value.values() if isinstance(value, dict) else value
        return tuple(items) if len(value) <= _ITEMS else ()
    if isinstance(value, partial):
        return (value.func, *value.args, *value.keywords.values())
    if inspect.ismethod(value):
        return (value.__self__, value.__func__)
    if _is_plain_object(value):
        return tuple(vars(value).values())
    if inspect.isfunction(value):
        closed = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
        named = [value.__globals__[name] for name in value.__code__.co_names if name in value.__globals__]
        return (*closed, *(x for x in named if not inspect.ismodule(x) and not inspect.isclass(x)))
    return ()


def _is_plain_object(value: Any) -> bool:
    """An instance of a class written in Python, which keeps what it has in a dictionary."""
    return hasattr(value, "__dict__") and not (
        inspect.isclass(value) or inspect.ismodule(value) or inspect.isroutine(value)
    )


def _attributes_of(value: Any) -> Callable[[], None] | None:
    """What brings back the attributes of a class or an object, and the items of its lists and dictionaries."""
    if isinstance(value, (list, dict, set)):
        return _items_of(value) if len(value) <= _ITEMS else None
    if not (inspect.isclass(value) or _is_plain_object(value)):
        return None
    before = {name: held for name, held in vars(value).items() if not _is_code(held)}
    items = [_items_of(held) for held in before.values() if isinstance(held, (list, dict, set))]

    def keep() -> None:
        for name, held in before.items():
            if vars(value).get(name, value) is not held:
                with suppress(Exception):  # whatever an object does about its attributes
                    setattr(value, name, held)
        for restore in items:
            restore()

    return keep


def _items_of(value: Any) -> Callable[[], None]:
    before = value.copy()

    def keep() -> None:
        # Compared by identity: items may be tensors.
        if len(value) != len(before) or any(a is not b for a, b in zip(_flat(value), _flat(before), strict=True)):
            value.clear()
            value.extend(before) if isinstance(value, list) else value.update(before)

    return keep


def _flat(value: Any) -> tuple[Any, ...]:
    return tuple(x for pair in value.items() for x in pair) if isinstance(value, dict) else tuple(value)


def _is_code(value: Any) -> bool:
    return isinstance(value, (staticmethod, classmethod, property)) or inspect.isroutine(value)


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018  # reading an empty cell raises
    except ValueError:
        return False
    return True
