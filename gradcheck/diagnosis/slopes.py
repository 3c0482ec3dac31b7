"""The gradient of one input by both means, at a few of its entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gradcheck.checks.claim import Subject
from gradcheck.checks.evaluation import Evaluation, flat
from gradcheck.numeric import directions
from gradcheck.numeric.differences import FEW_DIGITS, Flags, Floats, Ladder
from gradcheck.program import Array

# How far the error estimate of a slope may be exceeded, and the round-off of a gradient that counts as possible.
_ESTIMATES = 4.0
_ROUNDOFFS = 256.0
# A slope whose estimated error is a larger part of the largest one says nothing.
_VAGUE = 1e-4
_NARROW_VAGUE = 3e-2


@dataclass(frozen=True, slots=True, eq=False)
class Slopes:
    """The gradient of input `position` for one cotangent.

    Attributes
    ----------
    position : int
    point : array
        The input.
    places : array of int
        The entries (of the flattened input) whose slope was measured.
    analytic : array
        The gradient, flattened, at all entries.
    numeric, error : arrays
        The slopes at `places`, and what they may be off by.
    """

    position: int
    point: Array
    places: Array
    analytic: Floats
    numeric: Floats
    error: Floats

    @property
    def found(self) -> Floats:
        """The gradient at `places`."""
        return np.asarray(self.analytic[self.places])

    @property
    def scale(self) -> float:
        """The largest slope."""
        return float(np.max(np.abs(self.numeric), initial=0.0, where=np.isfinite(self.numeric)))

    @property
    def known(self) -> Flags:
        """Where the slope says something."""
        with np.errstate(all="ignore"):
            vague = _NARROW_VAGUE if self.point.dtype.itemsize < 8 else _VAGUE
            return np.isfinite(self.numeric) & (self.error <= vague * max(self.scale, 1e-300))

    def allowed(self, size: float | None = None) -> Floats:
        """How far equal numbers may be apart at `places`."""
        epsilon = float(np.finfo(self.point.dtype).eps)
        return np.asarray(_ESTIMATES * self.error + _ROUNDOFFS * epsilon * (self.scale if size is None else size))

    def same_as(self, values: Floats) -> bool:
        """Whether `values` (at `places`) are the slopes, as far as these are known."""
        known = self.known
        with np.errstate(all="ignore"):
            apart = np.abs(values - self.numeric)
            return bool(known.any() and np.all(np.where(known, apart <= self.allowed(), True)))

    @property
    def wrong(self) -> Flags:
        """Where the gradient is not the slope."""
        with np.errstate(all="ignore"):
            differs = self.known & ~(np.abs(self.found - self.numeric) <= self.allowed())
        return differs | (np.isfinite(self.numeric) & ~np.isfinite(self.found))

    @property
    def is_right(self) -> bool:
        """Whether the gradient is the slope, and is not zero all over."""
        known = self.known
        return bool(known.any() and not self.wrong.any() and np.abs(self.numeric[known]).max() > 0.0)


def measured(
    subject: Subject, inputs: Sequence[Array], u: Floats, position: int, places: Array | None = None, most: int = 48
) -> Slopes:
    """Both gradients of input `position` at `inputs`, the analytic one from a fresh record.

    Parameters
    ----------
    subject : Subject
    inputs : sequence of arrays
    u : array
        The cotangent, all outputs in one.
    position : int
    places : array of int or None
        Where slopes are measured; by default `most` entries all over the input.
    """
    evaluation = Evaluation(replace(subject, inputs=tuple(inputs)))
    point = evaluation.point(position)
    gradient = pulled(evaluation, u)[position]
    base = flat(evaluation.outputs)
    u = np.where(np.isfinite(base), u, 0.0)
    held = spread(point.size, most) if places is None else places
    steps = np.abs(directions.direction(subject.generator("diagnosis: steps"), point)).reshape(-1)
    numeric, error = np.zeros(len(held)), np.zeros(len(held))
    for row, place in enumerate(held):
        unit = np.zeros(point.size)
        unit[place] = steps[place]
        curve = evaluation.along({position: unit.reshape(point.shape)}, dense=True)
        found = Ladder(curve, base=base, epsilon=evaluation.epsilon).derivative(0)
        with np.errstate(all="ignore"):
            numeric[row] = _weighted(u, found.value) / steps[place]
            error[row] = _weighted(np.abs(u), np.asarray(found.error)) / steps[place]
    return Slopes(position, point, held, gradient, numeric, error)


def _weighted(u: Floats, values: Floats) -> float:
    active = u != 0.0
    return float(u[active] @ values[active])


def spread(size: int, most: int, also: Sequence[int] = ()) -> Array:
    """At most about `most` entries, evenly spread, the ends among them."""
    if size <= most:
        return np.arange(size)
    return np.unique([*np.linspace(0, size - 1, most).astype(int), *also])


def pulled(evaluation: Evaluation, u: Floats) -> dict[int, Floats]:
    """J^T u, flattened, in float64; None as zeros."""
    found = evaluation.pullback(u)
    return {
        k: np.zeros(evaluation.point(k).size) if g is None else np.asarray(g, dtype=np.float64).reshape(-1)
        for k, g in found.items()
    }


def is_coarse(subject: Subject) -> bool:
    """Whether numbers have too few digits for any pattern."""
    return subject.epsilon > FEW_DIGITS
