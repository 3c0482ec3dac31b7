"""A function's values along a line: one point at a time, or many in one call of the engine where that is cheaper."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck.engines.base import Capability, Engine
from gradcheck.failures import OFF_DOMAIN
from gradcheck.numeric.differences import Floats
from gradcheck.program import Array

# With fewer points than this a batch does not pay. Measured on chains of 2 to 40 ops of 3 to 1,024 entries: under
# PyTorch's vmap 6 points cost as much as one by one, 28 cost a third to a tenth; under JAX's, which traces anew, 10 and
# a half to a seventh.
LEAST = 12
# Bytes of a chunk. Chunks of 1 to 4 MB are fastest; of 64 MB, up to 80 % slower.
CHUNK = 2**21
# Units of round-off by which a batch may differ from the same points one by one; its arithmetic has another order.
_ROUNDOFFS = 32.0

Mover = Callable[[float], Array]


@dataclass(slots=True, eq=False)
class Batch:
    """What is known of one function under vmap: that it refuses, or that it gives what it gives without."""

    is_refused: bool = False
    is_verified: bool = False


class Batches:
    """What is known of functions under vmap. It goes with a subject to other points: a refusal is for good."""

    def __init__(self) -> None:
        # By identity, with the function beside it, so that no other takes its place.
        self._known: dict[int, tuple[object, Batch]] = {}

    def of(self, function: object) -> Batch:
        """What is known of `function`."""
        return self._known.setdefault(id(function), (function, Batch()))[1]


class Line:
    """The flattened outputs of a function at ``x + t * v``.

    Parameters
    ----------
    sample : callable
        Input arrays to the flattened outputs.
    inputs : sequence of arrays
    movers : dict
        From t to the input, for each that moves.
    size : int
        How many outputs there are.
    """

    def __init__(
        self,
        sample: Callable[[Sequence[Array]], Floats],
        inputs: Sequence[Array],
        movers: dict[int, Mover],
        size: int,
    ) -> None:
        self._sample = sample
        self._inputs = list(inputs)
        self._movers = movers
        self._size = size

    def __call__(self, t: float) -> Floats:
        """The outputs at t; NaN where t is not 0 and the function refuses, or answers with other shapes."""
        for k, mover in self._movers.items():
            self._inputs[k] = mover(t)
        try:
            values = self._sample(self._inputs)
        except OFF_DOMAIN:
            if t == 0.0:
                raise
            return np.full(self._size, np.nan)
        return values if values.size == self._size else np.full(self._size, np.nan)


class BatchedLine(Line):
    """A line whose points can be asked for together: by vmap, or of a function that `broadcasts` over leading axes."""

    def __init__(
        self,
        sample: Callable[[Sequence[Array]], Floats],
        inputs: Sequence[Array],
        movers: dict[int, Mover],
        size: int,
        *,
        engine: Engine,
        function: Callable[..., Any],
        batch: Batch,
        epsilon: float,
        broadcasts: bool = False,
    ) -> None:
        super().__init__(sample, inputs, movers, size)
        self._engine = engine
        self._function = function
        self._batch = batch
        self._epsilon = epsilon
        self._broadcasts = broadcasts

    def many(self, ts: Sequence[float]) -> Floats:
        """The outputs at each of `ts`, a row for each; one by one where that is faster, or the function refuses."""
        points = [float(t) for t in ts]
        rows = self._together(points) if self._pays(len(points)) else None
        if rows is None:
            rows = np.empty((len(points), self._size))
            for row, t in zip(rows, points, strict=True):
                row[:] = self(t)
        return rows

    def _pays(self, count: int) -> bool:
        return not self._batch.is_refused and min(count, self._most()) >= LEAST

    def _most(self) -> int:
        """How many points make a chunk."""
        held = self._inputs if self._broadcasts else [self._inputs[k] for k in self._movers]
        entries = self._size + sum(x.size for x in held)
        return CHUNK // (8 * max(entries, 1))

    def _together(self, points: list[float]) -> Floats | None:
        """The rows in chunks; None where the engine refuses, or says something else than it does one by one."""
        batch, most = self._batch, self._most()
        try:
            if not batch.is_verified and not self._broadcasts and self._engine.keeps(self._function, self._inputs):
                # A tensor that vmap made must not be found by a later call.
                batch.is_refused = True
                return None
            chunks = [self._chunk(points[start : start + most]) for start in range(0, len(points), most)]
        except Exception:  # whatever a function raises that was not made for it
            batch.is_refused = True
            return None
        rows = np.concatenate(chunks)
        if not batch.is_verified:
            batch.is_verified = self._is_right(rows, points)
            batch.is_refused = not batch.is_verified
        return rows if batch.is_verified else None

    def _chunk(self, points: list[float]) -> Floats:
        engine = self._engine
        with warnings.catch_warnings(), engine.no_grad():
            warnings.simplefilter("ignore")
            outputs = self._all_stacked(points) if self._broadcasts else self._mapped(points)
            arrays = [a for y in outputs if (a := engine.array(y)).dtype.kind == "f"]
        flat = [np.asarray(a, dtype=np.float64).reshape(len(points), -1) for a in arrays]
        rows = np.concatenate(flat, axis=1)
        if rows.shape[1] != self._size:
            raise ValueError("shapes depend on values")
        return rows

    def _mapped(self, points: list[float]) -> Sequence[Any]:
        stacked = [
            np.stack([self._movers[k](t) for t in points]) if k in self._movers else x
            for k, x in enumerate(self._inputs)
        ]
        axes = [0 if k in self._movers else None for k in range(len(stacked))]
        return self._engine.vmap(self._function, [self._engine.tensor(x) for x in stacked], axes)

    def _all_stacked(self, points: list[float]) -> Sequence[Any]:
        """Each input with an axis of the points before its own, those that do not move among them."""
        columns = [[self._movers[k](t) if k in self._movers else x for t in points] for k, x in enumerate(self._inputs)]
        result = self._function(*[self._engine.tensor(np.stack(column)) for column in columns])
        return result if isinstance(result, (tuple, list)) else (result,)

    def _is_right(self, rows: Floats, points: list[float]) -> bool:
        """Whether the first and the last point have the values that they have alone: a rule for vmap may be wrong."""
        for place in (0, -1):
            alone = self(points[place])
            with np.errstate(all="ignore"):
                bound = _ROUNDOFFS * self._epsilon * np.max(np.abs(alone), initial=0.0, where=np.isfinite(alone))
                same = (np.abs(rows[place] - alone) <= bound) | (rows[place] == alone)
            if not (same | (np.isnan(alone) & np.isnan(rows[place]))).all():
                return False
        return True


class Mapped:
    """A curve whose values are those of another after `change`; many at once where the other gives them so."""

    def __init__(self, curve: Callable[[float], Floats], change: Callable[[Floats], Floats]) -> None:
        self._curve = curve
        self._change = change
        self._together = getattr(curve, "many", None)

    def __call__(self, t: float) -> Floats:
        """The value at t."""
        return self._change(self._curve(t))

    @property
    def many(self) -> Callable[[Sequence[float]], Floats] | None:
        """From points to a row for each; None where the curve has no such thing."""
        together = self._together
        return together and (lambda ts: np.array([self._change(row) for row in together(ts)]))


def can_batch(engine: Engine, program: object, *, broadcasts: bool = False) -> bool:
    """Whether points are worth asking for together: not in programs that may write to what is not batched."""
    if broadcasts:
        return True
    return Capability.VMAP in engine.capabilities and (program is None or Capability.INPLACE not in engine.capabilities)
