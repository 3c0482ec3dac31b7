"""Runs a program and watches that values share memory as they did where it was drawn: else it is another program.

Whether a reshape is a view or a copy depends on layouts, and engines lay out their results differently. Without an
in-place step nobody can tell; with one, the program would mean something else, and there is nothing to judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gradcheck.engines.base import Engine
from gradcheck.failures import Unsupported
from gradcheck.program import Array, Program
from gradcheck.rewrite import memories

SHARES_OTHERWISE = "other values share memory than where the program was drawn"


def runner_of(program: Program, engine: Engine) -> Callable[..., tuple[Any, ...]]:
    """The program as a function of the engine's tensors.

    The function raises `Unsupported` at an in-place step that changes other values than it did where the program was
    drawn. It looks once for every layout of the inputs, on which alone it depends.
    """
    run = program.on(engine)
    if not any(step.inplace for step in program.steps):
        return run
    roots = memories(program)
    watched: set[tuple[tuple[int, ...], ...]] = set()

    def watching(*tensors: Any) -> tuple[Any, ...]:
        layout = tuple(map(engine.strides, tensors))
        if layout in watched:
            return run(*tensors)
        outputs = program.run(_Watch(engine, roots, tensors), tensors)
        watched.add(layout)
        return outputs

    return watching


class _Watch:
    """An engine that looks at all values before and after an in-place step."""

    def __init__(self, engine: Engine, roots: Mapping[str, str], inputs: tuple[Any, ...]) -> None:
        self.engine = engine
        self.roots = roots
        self.values: dict[str, Any] = {f"x{number}": value for number, value in enumerate(inputs)}
        self.steps = 0

    def tensor(self, values: Array, *, requires_grad: bool = False) -> Any:
        """As the engine does."""
        return self.engine.tensor(values, requires_grad=requires_grad)

    def call(self, op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, inplace: bool = False) -> Any:
        """As the engine does."""
        own = f"v{self.steps}"
        self.steps += 1
        before = self._versions() if inplace else {}
        result = self.engine.call(op, args, kwargs, inplace=inplace)
        for name, version in before.items():
            if (self.engine.version(self.values[name]) != version) != (self.roots[name] == self.roots[own]):
                raise Unsupported(SHARES_OTHERWISE)
        self.values[own] = result
        return result

    def _versions(self) -> dict[str, int]:
        return {
            name: self.engine.version(value)
            for name, value in self.values.items()
            if not isinstance(value, (tuple, list))
        }
