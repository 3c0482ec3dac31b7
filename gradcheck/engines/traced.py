"""A function taken apart into calls of ops, each of which can be computed again from other values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from gradcheck.engines.base import Function
from gradcheck.program import Array

Arrays = tuple[Array, ...]
Key = tuple[str, int]
"""A value: ``("x1", 0)`` is the second input, ``("v3", 1)`` the second result of the fourth stage."""


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """One call of an op.

    Attributes
    ----------
    op : str
        refengine's name.
    operands : tuple of Key
        The values that it takes.
    run : callable
        The results' arrays, with their layouts, from the operands' arrays.
    """

    op: str
    operands: tuple[Key, ...]
    run: Callable[[Sequence[Array]], Arrays]


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """What a function computes, stage by stage.

    Attributes
    ----------
    constants : mapping from Key to array
        Values that come from elsewhere.
    stages : tuple of Stage
        Results of the stage at position k are ``("v{k}", 0)``, ``("v{k}", 1)``, ...
    outputs : tuple of Key
    """

    constants: Mapping[Key, Array]
    stages: tuple[Stage, ...]
    outputs: tuple[Key, ...]

    def replayed(self, inputs: Sequence[Array]) -> Arrays:
        """The outputs for other inputs."""
        values = dict(self.constants) | {("x" + str(k), 0): x for k, x in enumerate(inputs)}
        for k, stage in enumerate(self.stages):
            results = stage.run([values[key] for key in stage.operands])
            values |= {(f"v{k}", item): y for item, y in enumerate(results)}
        return tuple(values[key] for key in self.outputs)


@runtime_checkable
class Tracing(Protocol):
    """An engine that can list the ops that a function calls."""

    def traced(self, function: Function, tensors: Sequence[Any]) -> Traced | None:
        """`function` at `tensors`, taken apart; None where it writes to a tensor or pushes tangents.

        Whether all that the function does is among the calls is for the caller to try: what it computes from a
        tensor's numbers in another way stands here as a constant.
        """
        ...
