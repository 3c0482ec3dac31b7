"""A function at one point for engines that record: leaves, the outputs' history, and backward passes over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gradcheck.engines.base import Function, Tape


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """A recorded forward pass: its outputs, and the leaves that gradients are asked for."""

    engine: Tape
    outputs: tuple[Any, ...]
    leaves: tuple[Any, ...]

    def pull(
        self, cotangents: Sequence[Any | None], *, create_graph: bool = False, is_last: bool = False
    ) -> tuple[Any | None, ...]:
        """J^T u by a backward pass over the record, from the outputs that have a cotangent and a history."""
        engine = self.engine
        pairs = zip(self.outputs, cotangents, strict=True)
        used = [(y, u) for y, u in pairs if u is not None and engine.requires_grad(y)]
        if not used:
            return (None,) * len(self.leaves)
        outputs, given = zip(*used, strict=True)
        return engine.grad(outputs, self.leaves, given, create_graph=create_graph, retain_graph=not is_last)


def recorded(engine: Tape, function: Function, tensors: Sequence[Any], wanted: Sequence[bool]) -> Recorded:
    """`function` at `tensors`, of which the wanted ones are leaves, or have a history that is not looked at."""
    result = function(*tensors)
    outputs = tuple(result) if isinstance(result, (tuple, list)) else (result,)
    return Recorded(engine, outputs, tuple(x for x, is_wanted in zip(tensors, wanted, strict=True) if is_wanted))
