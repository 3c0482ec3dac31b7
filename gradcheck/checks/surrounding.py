"""Slopes of a function beside its point: where there is a derivative, and whether the gradient is right there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gradcheck.checks.evaluation import Evaluation
from gradcheck.checks.move import Move
from gradcheck.checks.viewpoint import Viewpoint, pulled
from gradcheck.failures import OFF_DOMAIN
from gradcheck.numeric.differences import Flags, Floats

# How far the neighbours are, in units of the entries' sizes, and how much shorter than that a step is: beside
# neighbours at 2**-16, a step of 2**-24 leaves 28 digits of 52, and neither comes near a kink of its own.
DISTANCES = (2.0**-10, 2.0**-16)
STEP = 2.0**-8
# The largest of three steps that show a kink: curvature is extrapolated away, 2**-38 of the values is round-off.
FIRST = 2.0**-12
# Round-offs of values that a difference may be off by.
ROUNDOFFS = 16.0
# Slopes that differ by a smaller part of the largest are the same: curvature moves them over the distance.
SAME = 2.0**-6
# Slopes nearby that differ from that at the point by a larger part of the disagreement cast doubt on it.
STEADY = 0.25
# Neighbours in which tied entries take each other's places, and those drawn freely.
PLACES, FREE = 12, 10


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """Derivatives of all outputs from the left and from the right, from few evaluations, and their estimated error."""

    left: Floats
    right: Floats
    error: Floats

    @property
    def middle(self) -> Floats:
        """The derivative, where there is one."""
        return (self.left + self.right) / 2.0


def sides(at: Viewpoint, move: Move) -> Sides:
    """Both one-sided derivatives along a move, from six evaluations: a short ladder takes a kink for noise."""
    curve = at.evaluation.along(move.directions, dense=move.dense)
    steps = FIRST * np.array([1.0, 0.5, 0.25])
    rows = np.array([curve(float(t)) for t in (*steps, *-steps)])
    at.evaluations += len(rows)
    with np.errstate(all="ignore"):
        secants = (rows - at.base) / np.array([*steps, *-steps])[:, None]
        finer = 2.0 * secants[[1, 2, 4, 5]] - secants[[0, 1, 3, 4]]
        size = np.maximum(np.abs(rows).max(axis=0), np.abs(at.base))
        error = np.maximum(np.abs(finer[1] - finer[0]), np.abs(finer[3] - finer[2]))
        error += ROUNDOFFS * at.evaluation.epsilon * size / steps[-1]
    return Sides(left=finer[3], right=finer[1], error=np.where(np.isfinite(error), error, np.inf))


@dataclass(slots=True, eq=False)
class Hull:
    """Between which slopes along one move an output's lie nearby, and how often the gradient was right there.

    Attributes
    ----------
    low, high : float
    size : float
        The largest slope seen.
    rights, wrongs : int
        Neighbours at which the output is differentiable, by what the gradient is there.
    error : float
        The largest estimate among them.
    """

    low: float = float("inf")
    high: float = float("-inf")
    size: float = 0.0
    rights: int = 0
    wrongs: int = 0
    error: float = 0.0
    reach: dict[float, float] = field(default_factory=dict)

    def add(self, slope: float, error: float, distance: float = 0.0) -> None:
        """One more slope."""
        self.low, self.high = min(self.low, slope), max(self.high, slope)
        self.size = max(self.size, abs(slope))
        self.error = max(self.error, error)
        self.reach[distance] = max(self.reach.get(distance, 0.0), abs(slope))

    @property
    def is_bounded(self) -> bool:
        """Whether slopes do not grow towards the point: a root has no generalized gradient at 0."""
        far, near = (self.reach.get(distance, 0.0) for distance in DISTANCES)
        return near <= 2.0 * far + self.error

    def outside(self, value: float) -> float:
        """How far a number is from the interval."""
        return max(self.low - value, value - self.high, 0.0)


def surround(at: Viewpoint, move: Move, output: int, sizes: dict[int, Floats], hull: Hull) -> Iterator[Hull]:
    """Add the slopes of one output at fresh points nearby, one point after the other.

    Parameters
    ----------
    at : Viewpoint
    move : Move
        The direction of the slopes.
    output : int
    sizes : dict of arrays
        How far a neighbour may be in each entry, in units of `DISTANCES`.
    hull : Hull
        What is known already.

    Yields
    ------
    Hull
        The one given, after each point.
    """
    for distance in DISTANCES:
        for offset in _offsets(at, move, sizes):
            inputs = at.evaluation.moved_inputs(offset, distance, dense=True)
            try:
                _look(at, at.evaluation.at(inputs), move, output, distance, hull)
            except OFF_DOMAIN:
                continue  # off the function's domain
            yield hull


def _look(at: Viewpoint, near: Evaluation, move: Move, output: int, distance: float, hull: Hull) -> None:
    if near.size != at.evaluation.size:
        return
    curve = near.along(move.directions, dense=True)
    h = STEP * distance
    here, right, left, closer_right, closer_left = (float(curve(t)[output]) for t in (0.0, h, -h, h / 2, -h / 2))
    at.evaluations += 6
    slope, closer = (right - left) / (2.0 * h), (closer_right - closer_left) / h
    error = abs(slope - closer) + ROUNDOFFS * near.epsilon * max(abs(here), abs(right), abs(left)) / h
    bend = abs((right - here) / h - (here - left) / h)
    if not np.isfinite(slope + error) or bend + error > SAME * max(abs(slope), hull.size) + 2.0 * error:
        return  # not differentiable here either, or too noisy to say
    unit = (np.arange(near.size) == output).astype(np.float64)
    terms = np.concatenate([(g * move.directions[k]).reshape(-1) for k, g in _own(near, unit, move).items()])
    size = max(abs(slope), float(np.sqrt(terms @ terms)))
    is_right = abs(float(terms.sum()) - slope) <= SAME * size + error
    hull.rights, hull.wrongs = hull.rights + is_right, hull.wrongs + (not is_right)
    hull.add(slope, error, distance)


def is_steady(at: Viewpoint, move: Move, u: Floats, numeric: float, gap: float) -> bool:
    """Whether slopes along a move hardly differ from point to point, as they do where there is a derivative.

    A median of three equal entries has a derivative along each line, and none: its slope nearby is that of whichever
    entry is in the middle. It is asked only where there are ties.

    Parameters
    ----------
    at : Viewpoint
    move : Move
    u : array
        Which outputs, and how much of each.
    numeric : float
        The slope at the point itself.
    gap : float
        What a slope nearby must differ by a small part of, to be the same.
    """
    sizes = {k: unit_sizes(at.evaluation.point(k)) for k in move.directions}
    if not ties(at.evaluation, list(sizes)):
        return True
    nearest = DISTANCES[-1]
    h = STEP * nearest
    for offset in _offsets(at, replace(move, dense=True), sizes):
        inputs = at.evaluation.moved_inputs(offset, nearest, dense=True)
        try:
            curve = at.evaluation.at(inputs).along(move.directions, dense=True)
            rise = curve(h) - curve(-h)
        except OFF_DOMAIN:
            continue  # off the function's domain
        at.evaluations += 3
        slope = float(u[u != 0.0] @ rise[u != 0.0]) / (2.0 * h) if rise.size == u.size else np.nan
        if abs(slope - numeric) > STEADY * abs(gap):
            return False
    return True


def unit_sizes(point: Any) -> Floats:
    """By what each entry moves: a power of two near its own size; a zero by the smallest, or 1."""
    size = np.abs(np.asarray(point, dtype=np.float64))
    size = np.where(np.isfinite(size), size, 0.0)
    smallest = float(np.where(size > 0.0, size, 1.0).min(initial=1.0))
    size = np.where(size > 0.0, size, smallest)
    return np.asarray(2.0 ** np.rint(np.log2(size)))


def _own(near: Evaluation, unit: Floats, move: Move) -> dict[int, Floats]:
    return {k: g for k, g in pulled(near, unit).items() if k in move.directions}


def _offsets(at: Viewpoint, move: Move, sizes: dict[int, Floats]) -> Iterator[dict[int, Floats]]:
    """Where neighbours lie: each tied entry once in each place among its equals; free ones; and along the move."""
    equals = ties(at.evaluation, list(sizes))
    places = _places(at.random, sizes, equals)
    count = min(PLACES, max((entries(flags) for flags in equals), default=1))
    for turn in range(count):
        yield {k: v * (2.0 * ((places[k] + turn / count) % 1.0) - 1.0) for k, v in sizes.items()}
    for number in range(FREE):
        free = {k: v * at.random.uniform(-1.0, 1.0, v.shape) for k, v in sizes.items()}
        sign = (0.0, 0.0, 1.0, -1.0)[number % 4]
        yield {k: sign * move.directions.get(k, 0.0) + (0.25 if sign else 1.0) * v for k, v in free.items()}


def _places(
    random: np.random.Generator, sizes: dict[int, Floats], equals: Sequence[dict[int, Flags]]
) -> dict[int, Floats]:
    """A place in [0, 1) for each entry; those of equal ones are as far apart as can be."""
    places = {k: random.random(v.shape) for k, v in sizes.items()}
    for flags in equals:
        order = random.permutation(entries(flags)) + random.uniform(0.1, 0.9)
        start = 0
        for k, own in flags.items():
            places[k][own] = order[start : start + int(own.sum())] / order.size
            start += int(own.sum())
    return places


def ties(evaluation: Evaluation, inputs: Sequence[int]) -> list[dict[int, Flags]]:
    """The entries of each value that occurs more than once in these inputs, the most frequent first."""
    points = {k: np.asarray(evaluation.point(k), dtype=np.float64) for k in inputs}
    everything = np.concatenate([x.reshape(-1) for x in points.values()])
    values, counts = np.unique(everything[np.isfinite(everything)], return_counts=True)
    often = sorted(zip(-counts[counts > 1], values[counts > 1], strict=True))
    return [{k: x == value for k, x in points.items()} for _, value in often]


def entries(flags: dict[int, Flags]) -> int:
    """How many there are."""
    return int(sum(own.sum() for own in flags.values()))
