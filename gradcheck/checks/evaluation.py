"""A subject at its point: the recorded forward, vector-Jacobian products, and the function along a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gradcheck.checks.claim import Subject, coarsest
from gradcheck.checks.line import BatchedLine, Line, can_batch
from gradcheck.numeric.differences import NARROW, Curve, Floats
from gradcheck.program import Array, Program

Sampled = Callable[[Sequence[Array]], Sequence[Array]]


class Evaluation:
    """One recorded forward of a subject; everything the oracle asks of its engine goes through here.

    Parameters
    ----------
    subject : Subject
    sample : callable or None
        Input arrays to output arrays, for the difference quotients; by default the function without recording.

    Attributes
    ----------
    moved : tuple of int
        The differentiable floating inputs that have entries.
    outputs : tuple of arrays
        The floating outputs.
    noise : float
        The round-off where it is more than that of the arrays' dtypes.
    epsilon : float
        The relative round-off of values and gradients.
    floor : array or float
        The round-off that each output has at least, where that is not `epsilon` times its size.
    """

    def __init__(self, subject: Subject, sample: Sampled | None = None) -> None:
        self.subject = subject
        self._given = sample
        self._sample = sample or self._plain
        engine = subject.engine
        wanted = [d and x.dtype.kind == "f" for x, d in zip(subject.inputs, subject.differentiable, strict=True)]
        self.moved = tuple(i for i, x in enumerate(subject.inputs) if wanted[i] and x.size)
        tensors = [engine.tensor(x, requires_grad=w) for x, w in zip(subject.inputs, wanted, strict=True)]
        is_moved = [w and bool(x.size) for x, w in zip(subject.inputs, wanted, strict=True)]
        self._linearized = engine.linearized(subject.function, tensors, is_moved)
        arrays = [engine.array(y) for y in self._linearized.outputs]
        self._is_floating = [a.dtype.kind == "f" for a in arrays]
        self.outputs = tuple(a for a in arrays if a.dtype.kind == "f")
        self.size = sum(a.size for a in self.outputs)
        self.noise = subject.noise
        self.epsilon = max(subject.epsilon, coarsest(self.outputs))
        self.floor: Floats | float = 0.0

    @property
    def is_narrow(self) -> bool:
        """Values carry too few digits for small steps."""
        return self.epsilon > NARROW

    def point(self, k: int) -> Array:
        """Input number `k`."""
        return self.subject.inputs[k]

    def cotangents(self, u: Floats) -> tuple[Array, ...]:
        """A flat cotangent as one for each output, in its dtype."""
        parts = zip(split(u, self.outputs), self.outputs, strict=True)
        return tuple(part.astype(values.dtype) for part, values in parts)

    def pullback(self, cotangent: Floats) -> dict[int, Array | None]:
        """J^T u for each moved input, as the engine gives it; None where it says that nothing is connected."""
        engine = self.subject.engine
        parts = iter(self.cotangents(cotangent))
        cotangents = [engine.tensor(next(parts)) if is_floating else None for is_floating in self._is_floating]
        found = self._linearized.pull(cotangents)
        return {k: None if g is None else engine.array(g) for k, g in zip(self.moved, found, strict=True)}

    def at(self, inputs: Sequence[Array]) -> Evaluation:
        """The same function at other inputs."""
        return Evaluation(self.at_inputs(inputs), self._given)

    def at_inputs(self, inputs: Sequence[Array]) -> Subject:
        """The subject at other inputs."""
        return replace(self.subject, inputs=tuple(inputs))

    def moved_inputs(self, directions: dict[int, Floats], step: float, *, dense: bool = False) -> tuple[Array, ...]:
        """The inputs at ``x + step * v``, with their strides unless `dense`."""
        inputs = list(self.subject.inputs)
        for k, v in directions.items():
            inputs[k] = _mover(inputs[k], v, dense)(step)
        return tuple(inputs)

    def along(self, directions: dict[int, Floats], *, dense: bool = False) -> Curve:
        """The flattened outputs at ``x + t * v``; inputs keep their strides unless `dense`.

        Parameters
        ----------
        directions : dict
            v for each input that moves. Where entries share memory, they must move alike (see `aliased`), or `dense`.
        dense : bool
            Lay the moved inputs out contiguously, so that entries that share memory can move apart.

        Raises nothing at t != 0: where the function refuses the point, or answers with other shapes, its value is NaN.
        """
        return self.curve(directions, self.size, dense=dense)

    def curve(self, directions: dict[int, Floats], size: int, *, dense: bool) -> Curve:
        """The function's own outputs, `size` of them, along a line."""
        subject = self.subject
        movers = {k: _mover(self.point(k), v, dense) for k, v in directions.items()}

        def sample(inputs: Sequence[Array]) -> Floats:
            return flat(self._sample(inputs))

        if self._given is not None or not can_batch(subject.engine, subject.program, broadcasts=subject.broadcasts):
            return Line(sample, subject.inputs, movers, size)
        return BatchedLine(
            sample, subject.inputs, movers, size,
            engine=subject.engine, function=subject.function,
            batch=subject.batches.of(subject.function), epsilon=self.epsilon, broadcasts=subject.broadcasts,
        )  # fmt: skip

    def _plain(self, inputs: Sequence[Array]) -> list[Array]:
        subject = self.subject
        engine = subject.engine
        with engine.no_grad():
            tensors = as_tuple(subject.function(*[engine.tensor(x) for x in inputs]))
        return [a for t in tensors if (a := engine.array(t)).dtype.kind == "f"]


def has_kinks(program: Program | None) -> bool:
    """Whether one of the program's ops declares kinks."""
    return program is not None and not _kinked_ops().isdisjoint(program.ops)


@cache
def _kinked_ops() -> frozenset[str]:
    from refengine import catalogue

    return frozenset(op.name for op in catalogue.ops() if op.kinks)


def as_tuple(result: Any) -> tuple[Any, ...]:
    """What a function returned, as a tuple."""
    return tuple(result) if isinstance(result, (tuple, list)) else (result,)


def flat(arrays: Sequence[Array]) -> Floats:
    """All entries, one array after the other, in float64."""
    if len(arrays) == 1:
        return np.asarray(arrays[0], dtype=np.float64).reshape(-1)
    return np.concatenate([np.asarray(a, dtype=np.float64).reshape(-1) for a in arrays]) if arrays else np.zeros(0)


def extent(values: Array) -> float:
    """The size of the largest finite entry, at most 1: the change over which round-off is expected to show."""
    size = np.abs(np.asarray(values, dtype=np.float64))
    return min(1.0, float(np.max(np.where(np.isfinite(size), size, 0.0), initial=0.0))) or 1.0


def split(values: Floats, like: Sequence[Array]) -> list[Floats]:
    """The inverse of `flat`."""
    parts, start = [], 0
    for array in like:
        parts.append(values[start : start + array.size].reshape(array.shape))
        start += array.size
    return parts


def shares_memory(values: Array) -> bool:
    """Whether two entries of the array are one place in memory (an expanded or overlapping input)."""
    if values.size < 2 or values.flags.c_contiguous or values.flags.f_contiguous:
        return False
    reach = 0
    for stride, count in sorted((abs(s), n) for s, n in zip(values.strides, values.shape, strict=True) if n > 1):
        if stride <= reach:
            return True
        reach += stride * (count - 1)
    return False


def aliased(values: Array, direction: Floats) -> Floats:
    """`direction` with entries that share memory moving alike."""
    _, places = _memory(values)
    buffer = np.zeros(int(places.max(initial=-1)) + 1)
    buffer[places] = direction
    return np.asarray(buffer[places])


def _memory(values: Array) -> tuple[Array, Any]:
    """The memory under an array, one-dimensional, and each entry's place in it."""
    size = values.itemsize
    forward = values[tuple(slice(None, None, -1) if s < 0 else slice(None) for s in values.strides)]
    span = 1 + sum((n - 1) * s // size for n, s in zip(forward.shape, forward.strides, strict=True))
    memory = as_strided(forward, (span,), (size,)).copy()
    places = np.zeros(values.shape, dtype=np.intp)
    for axis, (n, s) in enumerate(zip(values.shape, values.strides, strict=True)):
        steps = np.arange(n) * (s // size) if s >= 0 else np.arange(n)[::-1] * (-s // size)
        places += steps.reshape((n,) + (1,) * (values.ndim - axis - 1))
    return memory, places


def _mover(values: Array, direction: Floats, dense: bool) -> Callable[[float], Array]:
    """The function from t to ``values + t * direction`` with the layout of `values` (contiguous where `dense`)."""
    if dense or values.size == 0 or values.flags.c_contiguous or any(s % values.itemsize for s in values.strides):
        return lambda t: np.asarray(values + t * direction, dtype=values.dtype)
    memory, places = _memory(values)
    change = np.zeros(memory.size)
    change[places] = direction
    offset = int(places[(0,) * values.ndim]) * values.itemsize

    def moved(t: float) -> Array:
        buffer = (memory + t * change).astype(values.dtype, copy=False)
        return np.ndarray(values.shape, values.dtype, buffer, offset, values.strides)

    return moved
