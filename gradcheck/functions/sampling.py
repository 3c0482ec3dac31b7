"""One input of a function moved along lines: where its outputs stand still, and whether they jump on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gradcheck.checks.claim import Subject
from gradcheck.checks.evaluation import Evaluation
from gradcheck.numeric import directions
from gradcheck.numeric.differences import Flags, Floats

Curve = Callable[[float], Floats]

# How far from the input to look, in units of the direction: no binary fractions, so that no value of a test is met.
FAR = (-7.1, -2.83, -1.19, -0.37, 0.37, 1.19, 2.83, 7.1)
# A small move: far above float32's spacing, so that what merely computes in float32 is seen to move.
SMALL = 2.0**-17
# In units of the precision: a small move at least, what counts as no change, and a jump (no rounding to half) at least.
_MOVES, _SAME, _JUMPS = 16.0, 2.0, 8.0
_COARSE = 2.0**-10
# The precision of bfloat16, the least that a cast may leave.
_BROAD = 2.0**-8
# Beyond this precision only what is equal to the last bit has not moved.
_EXACT = 2.0**-20


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A place on a line.

    Attributes
    ----------
    t : float
    values : array
        The outputs there, one array after the other.
    flat : array of bool
        Which of them a small further move leaves as they are.
    """

    t: float
    values: Floats
    flat: Flags


class Sampler:
    """Samples a subject.

    Attributes
    ----------
    evaluation : Evaluation
    precision : float
        The spacing of numbers at 1 in what the function computes in.
    """

    def __init__(self, subject: Subject) -> None:
        self.random = subject.generator("deliberate")
        with subject.engine.casts() as casts:
            self.evaluation = Evaluation(subject)
        arrays = [*self.evaluation.outputs, *(self.evaluation.point(k) for k in self.evaluation.moved)]
        own = max((float(np.finfo(a.dtype).eps) for a in arrays), default=2.0**-52)
        self.precision = max(own, _BROAD) if casts else own
        self.step = max(SMALL, _MOVES * self.precision)

    def lines(self, *inputs: int) -> tuple[Curve, Curve]:
        """Two lines on which these inputs move: by steps of their entries' own sizes, and by steps of about 1."""
        points = {k: self.evaluation.point(k) for k in inputs}
        own = {k: directions.direction(self.random, x) for k, x in points.items()}
        ones = {k: directions.direction(self.random, np.ones(x.shape)) for k, x in points.items()}
        return self.curve(own), self.curve(ones)

    def curve(self, moves: dict[int, Floats]) -> Curve:
        """The outputs along a line, in a layout that lets each entry move alone; NaN where the function raises."""
        along = self.evaluation.along(moves, dense=True)

        def phi(t: float) -> Floats:
            try:
                with np.errstate(all="ignore"):
                    return along(t)
            except Exception:  # a stranger's function raises what it likes outside its domain
                return np.full(self.evaluation.size, np.nan)

        return phi

    def rows(self, curve: Curve, places: Sequence[float] = FAR) -> list[Row]:
        """The line at both sides of the input and at `places`; those where nothing is finite are left out."""
        h = self.step
        found = []
        # The input itself may be the very place of a jump, a zero say: only what lies beside it counts.
        for t, way in ((0.0, -h), (0.0, h), *((t, h) for t in places)):
            near, beyond = curve(t + way), curve(t + 2.0 * way)
            if np.isfinite(near).any():
                found.append(Row(t + way, near, self.same(near, beyond)))
        return sorted(found, key=lambda row: row.t)

    def same(self, a: Floats, b: Floats) -> Flags:
        """Where two samples are equal, but for the rounding that ``x + (round(x) - x)`` leaves."""
        inputs = max((float(np.abs(self.evaluation.point(k)).max()) for k in self.evaluation.moved), default=0.0)
        allowed = _SAME * self.precision if self.precision < _EXACT else 0.0
        with np.errstate(all="ignore"):
            return np.asarray(np.abs(a - b) <= allowed * np.maximum(np.abs(a), inputs), dtype=np.bool_)

    def jumps(self, curve: Curve, ends: tuple[float, float], entry: int, *, flat: bool) -> bool:
        """Whether an output jumps between two places: halve, keep the half in which the slope misses more.

        A function without a jump misses ever less of its change. `flat`: its slope is known to be zero.
        """
        h = self.step
        halvings = round(0.6 * -np.log2(self.precision))

        def at(t: float) -> tuple[float, float, float]:
            y = curve(t)[entry]
            return t, float(y), 0.0 if flat else float((curve(t + h)[entry] - curve(t - h)[entry]) / (2.0 * h))

        def missed(left: tuple[float, float, float], right: tuple[float, float, float]) -> float:
            gap = right[1] - left[1] - 0.5 * (right[0] - left[0]) * (left[2] + right[2])
            return abs(gap) if np.isfinite(gap) else 0.0

        a, b = at(ends[0]), at(ends[1])
        first = missed(a, b)
        # A slope is measured over 2 h: on shorter intervals a jump would be mistaken for a slope.
        for _ in range(halvings):
            if not flat and b[0] - a[0] < 16.0 * h:
                break
            middle = at(0.5 * (a[0] + b[0]))
            a, b = (a, middle) if missed(a, middle) >= missed(middle, b) else (middle, b)
        last, shrunk = missed(a, b), (b[0] - a[0]) / (ends[1] - ends[0])
        scale = max(abs(a[1]), abs(b[1]), self._largest(entry))
        return last > first * np.sqrt(shrunk) and last > max(_COARSE, _JUMPS * self.precision) * scale

    def _largest(self, entry: int) -> float:
        """The largest value of the output that has this entry."""
        values = self.evaluation.outputs[self.owner()[entry]]
        return float(np.max(np.abs(np.where(np.isfinite(values), values, 0.0)), initial=0.0))

    def owner(self) -> Floats:
        """For each entry of the outputs laid end to end, the number of its output."""
        return np.repeat(np.arange(len(self.evaluation.outputs)), [y.size for y in self.evaluation.outputs])
