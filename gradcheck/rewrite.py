"""The functional rewrite: the same program without any in-place step.

A memory that is written to is followed as one base value and an index map for each tensor that looks at it: the map
holds, for each entry, its place in the base. The maps are found by running the program's own view steps on
``arange``. A write becomes the op out of place, then a scatter of the result into the base; whoever looks at the
memory afterwards takes its entries from the new base. The rewrite calls reshape, scatter, index_select and expand.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from gradcheck.program import Array, Caller, Program, Ref, Step, lookup, map_refs, refs

REWRITES = ("reshape", "scatter", "index_select", "expand")
"""The ops that a rewrite may call besides those of the program."""


class Viewer(Caller, Protocol):
    """What the view steps are run on."""

    def array(self, tensor: Any) -> Array:
        """A copy of the values."""
        ...

    def strides(self, tensor: Any) -> tuple[int, ...]:
        """Strides in elements."""
        ...


def functional(program: Program, engine: Viewer) -> Program:
    """The program with each in-place step, and what looks at its memory, rewritten into pure steps.

    Parameters
    ----------
    program : Program
    engine : Viewer
        Runs the program once, for the strides, and its view steps on index maps.

    Returns
    -------
    Program
        The same inputs and as many outputs, of equal values and equal gradients.
    """
    return _Rewrite(program, engine).program()


def memories(program: Program) -> dict[str, str]:
    """For each value of the program, by name, the first value that looks at the same memory."""
    roots = {f"x{number}": f"x{number}" for number in range(len(program.inputs))}
    for number, step in enumerate(program.steps):
        source = next(refs(step.args), None)
        own = f"v{number}"
        roots[own] = roots.get(source.name, source.name) if step.view and source is not None else own
    return roots


class _Memory:
    """A memory that is written to.

    Attributes
    ----------
    base : Ref
        Its current content, in the shape of the first tensor that looks at it.
    maps : dict
        For each tensor that looks at it, by name: the places of its entries in the base.
    current : dict
        For each such tensor, the ref that has its current values, as far as it is known.
    """

    __slots__ = ("base", "current", "maps", "shape", "strides")

    def __init__(self, base: Ref, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.base, self.shape, self.strides = base, shape, strides
        self.maps: dict[str, Array] = {}
        self.current: dict[str, Ref] = {}


class _Rewrite:
    def __init__(self, program: Program, engine: Viewer) -> None:
        self.old = program
        self.engine = engine
        self.steps: list[Step] = []
        self.constants = list(program.constants)
        self.renamed: dict[str, Ref] = {}
        self.trace: dict[str, Any] = {}
        self.memories = self._written()

    def program(self) -> Program:
        """The rewritten program."""
        for number, step in enumerate(self.old.steps):
            self._step(Ref("v", number), step)
        outputs = tuple(self._now(ref) for ref in self.old.outputs)
        return Program(self.old.inputs, tuple(self.constants), tuple(self.steps), outputs)

    def _written(self) -> dict[str, _Memory]:
        """The memory behind each name that looks at one that is written to."""
        roots = memories(self.old)
        written = dict.fromkeys(roots[f"v{number}"] for number, step in enumerate(self.old.steps) if step.inplace)
        if not written:
            return {}
        self.trace = self.old.trace(self.engine, [self.engine.tensor(given.values) for given in self.old.inputs])
        found: dict[str, _Memory] = {}
        for root in written:
            tensor = self.trace[root]
            memory = _Memory(Ref("v", int(root[1:])), tuple(tensor.shape), self.engine.strides(tensor))
            memory.maps[root] = np.arange(math.prod(memory.shape)).reshape(memory.shape)
            found |= {name: memory for name, own in roots.items() if own == root}
        return found

    def _step(self, own: Ref, step: Step) -> None:
        memory = self.memories.get(own.name)
        if memory is None or own.name in memory.maps:
            result = self._emit(step.op, *map_refs((step.args, step.kwargs), self._now), form=step.form)
            self.renamed[own.name] = result
            if memory is not None:
                memory.base = result
                memory.current[own.name] = result
        elif step.inplace:
            self._write(own, step, memory)
        else:
            memory.maps[own.name] = self._look(step, memory)

    def _look(self, step: Step, memory: _Memory) -> Array:
        """The index map of a view: the view step itself, run on places instead of values."""
        source = next(refs(step.args))
        span = 1 + sum((n - 1) * s for n, s in zip(memory.shape, memory.strides, strict=True) if n)
        places = np.zeros(max(span, 1))
        strides = [s * places.itemsize for s in memory.strides]
        laid = np.lib.stride_tricks.as_strided(places, memory.shape, strides)
        laid[...] = np.arange(laid.size).reshape(laid.shape)
        # The chain of views above, from the base on: only so does the engine see the strides that it saw.
        chain: list[Step] = [step]
        while source.name != next(iter(memory.maps)):
            above = self.old.steps[source.index]
            if not above.inplace:
                chain.append(above)
            source = next(refs(above.args))
        tensor = self.engine.tensor(laid)
        for view in reversed(chain):
            others, kwargs = map_refs((view.args[1:], view.kwargs), lambda ref: lookup(self.trace, ref))
            tensor = self.engine.call(view.op, (tensor, *others), kwargs)
        return self.engine.array(tensor).astype(np.int64)

    def _write(self, own: Ref, step: Step, memory: _Memory) -> None:
        target = next(refs(step.args))
        places = memory.maps[target.name]
        if step.op == "__setitem__":
            index = map_refs(step.args[1], lambda ref: lookup(self.trace, ref))
            places = self.engine.array(self.engine.call("__getitem__", (self.engine.tensor(places), index), {}))
            result = self._expanded(step.args[2], places.shape)
        elif step.op in ("copy", "fill", "zero"):
            result = self._expanded(step.args[1] if len(step.args) > 1 else 0.0, places.shape)
        else:
            result = self._emit(step.op, *map_refs((step.args, step.kwargs), self._now), form=step.form)
        memory.current.clear()
        if places.shape == memory.shape and (places.ravel() == np.arange(places.size)).all():
            memory.base = result
        else:
            flat = self._emit("reshape", (memory.base, (-1,)))
            source = self._emit("reshape", (result, (-1,)))
            scattered = self._emit("scatter", (flat, 0, self._constant(places.ravel()), source))
            memory.base = self._emit("reshape", (scattered, memory.shape))
        memory.maps[own.name] = memory.maps[target.name]
        if step.op != "__setitem__":
            memory.current[own.name] = memory.current[target.name] = result

    def _expanded(self, value: Any, shape: tuple[int, ...]) -> Ref:
        if isinstance(value, Ref):
            return self._emit("expand", (self._now(value), shape))
        return self._constant(np.full(shape, float(value)))

    def _now(self, ref: Ref) -> Ref:
        """The ref that has the current values of `ref`."""
        memory = self.memories.get(ref.name)
        if memory is None:
            new = self.renamed.get(ref.name, ref)
            return Ref(new.kind, new.index, ref.item)
        found = memory.current.get(ref.name)
        if found is None:
            found = memory.current[ref.name] = self._taken(memory, memory.maps[ref.name])
        return found

    def _taken(self, memory: _Memory, places: Array) -> Ref:
        """The entries of the base at `places`."""
        if places.shape == memory.shape and (places.ravel() == np.arange(places.size)).all():
            return memory.base
        flat = self._emit("reshape", (memory.base, (-1,)))
        taken = self._emit("index_select", (flat, 0, self._constant(places.ravel())))
        return self._emit("reshape", (taken, places.shape))

    def _constant(self, values: Array) -> Ref:
        self.constants.append(values)
        return Ref("c", len(self.constants) - 1)

    def _emit(self, op: str, args: tuple[Any, ...], kwargs: Any = None, *, form: str = "method") -> Ref:
        self.steps.append(Step(op, args, kwargs or {}, form=form))
        return Ref("v", len(self.steps) - 1)
