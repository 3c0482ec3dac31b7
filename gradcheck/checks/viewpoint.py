"""An evaluation and what is known at its point: values, gradients and their round-off, ladders, comparisons."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gradcheck.checks.evaluation import Evaluation, flat
from gradcheck.checks.move import Move
from gradcheck.checks.roundoff import highest_round_off, moved_by_ulps, rounded_to
from gradcheck.failures import OFF_DOMAIN
from gradcheck.numeric.derivative import Derivative
from gradcheck.numeric.differences import DEEP, EFFORTS, NARROW, WIDE, Flags, Floats, Ladder
from gradcheck.numeric.verdict import Comparison, compare
from gradcheck.program import Array
from gradcheck.verdict import Verdict

# The round-off of a gradient: the largest effect of so many moves of inputs and cotangent by a few ulps, times this.
_PROBES = 3
_SAFETY = 8.0
_ULPS = 4.0
# A number that was rounded beside one of the largest numbers is a multiple of so much of its last place at most.
_EMPTY = 16.0
# Where numbers have few digits, four of their spacings are no small move.
_NARROW_ULPS = 1.0
# What a move so many times as far changes so many times as much is steep and no jump, up to this part of an entry.
_GROWTH = 8.0
_STEEPEST = 0.01


@dataclass(slots=True, eq=False)
class Viewpoint:
    """What is asked at one point, each thing once.

    Parameters
    ----------
    evaluation : Evaluation
    random : numpy Generator
    rtol : float
        The resolution asked for.
    single : bool
        The function is one op (see `compare`).
    floor : float
        Noise that the outputs have at least.
    kinked : bool
        The function is made of several ops, one of them with kinks. At a kink, right rules give what may be wrong for
        the whole: ``relu(x) - relu(-x)`` is x, and its gradient at 0 is 0.

    Attributes
    ----------
    base : array
        The flattened outputs.
    finite : array of bool
        Where they are finite.
    evaluations : int
        Calls of the function so far.
    """

    evaluation: Evaluation
    random: np.random.Generator
    rtol: float
    single: bool = False
    floor: float = 0.0
    kinked: bool = False
    evaluations: int = 1
    base: Floats = field(init=False)
    finite: Flags = field(init=False)
    _gradients: dict[bytes, dict[int, Floats]] = field(default_factory=dict)
    _noises: dict[bytes, dict[int, Floats]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.base = self.evaluation.along({})(0.0)
        self.finite = np.isfinite(self.base)

    def ladder(self, move: Move, noise: Floats | None = None) -> Ladder:
        """Samples along a move; `noise` is the outputs' round-off where it is known already."""
        phi = self.evaluation.along(move.directions, dense=move.dense)
        epsilon = self.evaluation.epsilon
        return Ladder(phi, base=self.base, floor=self._least(), noise=noise, epsilon=epsilon)

    def _least(self) -> Floats | float:
        return np.maximum(self.floor, self.evaluation.floor) if self.evaluation.is_narrow else self.floor

    def measure(self, ladder: Ladder, effort: int, *, doubled: bool = False) -> Derivative:
        """The derivative, with its evaluations counted; `doubled` as in `Ladder.doubled`."""
        before = ladder.evaluations
        found = ladder.doubled(effort) if doubled else ladder.derivative(effort)
        self.evaluations += ladder.evaluations - before
        return found

    def gradient(self, u: Floats) -> dict[int, Floats]:
        """J^T u with None as zeros, in float64."""
        key = u.tobytes()
        found = self._gradients.get(key)
        if found is None:
            found = self._gradients[key] = pulled(self.evaluation, u)
        return found

    def doubt(self, move: Move, u: Floats) -> float:
        """How far the projection of the gradient on the move may be off by its own round-off, measured."""
        key = u.tobytes()
        noise = self._noises.get(key)
        if noise is None:
            noise = self._noises[key] = self._noise(u)
        return float(sum(np.sum(noise[k] * np.abs(v)) for k, v in move.directions.items()))

    def compare(
        self, found: Derivative, move: Move, u: Floats, *, last: bool, doubt: float = 0.0, least: float = 0.0
    ) -> Comparison:
        """How the gradient compares with a derivative along the move; `least` is the scale of what it is a part of."""
        gradient = self.gradient(u)
        g = flat([gradient[k] for k in move.directions])
        v = flat(list(move.directions.values()))
        with np.errstate(all="ignore"):
            return compare(
                g, v, u, found,
                natural=self.natural(u), rtol=self.rtol, last=last, single=self.single, doubt=doubt,
                epsilon=self.evaluation.epsilon, least=least,
            )  # fmt: skip

    def settled(self, ladder: Ladder, move: Move, u: Floats, *, doubt: float = 0.0) -> tuple[Derivative, Comparison]:
        """The last word on one line: where a difference is beyond the estimate and no more, all that can be had is.

        That are steps beyond the inputs' own sizes, where noise counts less, and as many steps again between those.
        """
        found = self.measure(ladder, DEEP if move.deep else EFFORTS - 1)
        result = self.compare(found, move, u, last=True, doubt=doubt)
        is_open = abs(result.analytic - result.numeric) > result.error and result.verdict is not Verdict.DISAGREE
        if not is_open or result.zero or self.evaluation.is_narrow or not found.smooth[u != 0.0].all():
            return found, result
        more = self.measure(ladder, WIDE, doubled=True)
        again = self.compare(more, move, u, last=True, doubt=doubt)
        is_closer = again.verdict is Verdict.AGREE and again.error <= result.error
        return (more, again) if is_closer or again.verdict is Verdict.DISAGREE else (found, result)

    def natural(self, u: Floats) -> float:
        """The size of the outputs, weighted by u."""
        size = np.maximum(np.where(self.finite, np.abs(self.base), 0.0), self._least() / self.evaluation.epsilon)
        return float(np.abs(u) @ size)

    def shifted(self, move: Move, step: float) -> Viewpoint | None:
        """The same function nearby; None where it is not defined there."""
        inputs = self.evaluation.moved_inputs(move.directions, step, dense=move.dense)
        try:
            evaluation = self.evaluation.at(inputs)
            if evaluation.size != self.evaluation.size:
                return None
            return Viewpoint(evaluation, self.random, self.rtol, floor=self.floor)
        except OFF_DOMAIN:
            return None

    def _noise(self, u: Floats) -> dict[int, Floats]:
        """Round-off of each entry of the gradient: how far a few ulps in inputs and cotangent move it.

        Equal values move together, so that a tie stays one, and apart, so that what cancels between them shows.
        """
        expected = self.gradient(u)
        noise = {k: np.zeros(g.shape) for k, g in expected.items()}
        arrays = (*self.evaluation.subject.inputs, u)
        magnitudes = [np.abs(a[np.isfinite(a)]) for a in (*arrays, *expected.values()) if a.dtype.kind == "f"]
        largest = max(float(m.max(initial=0.0)) for m in magnitudes)
        epsilon = self.evaluation.epsilon
        ulps = _NARROW_ULPS if epsilon > NARROW else _ULPS
        ceiling = highest_round_off(epsilon) * largest
        for probe in range(2 * _PROBES):
            seed = int(self.random.integers(2**32))
            gaps = self._gaps(arrays, expected, seed, ulps, probe < _PROBES)
            far: dict[int, Floats] = {}
            if any((gap > ceiling).any() for gap in gaps.values()):
                far = self._gaps(arrays, expected, seed, _GROWTH * ulps, probe < _PROBES)
            for k, gap in gaps.items():
                noise[k] = np.maximum(noise[k], _without_jumps(gap, far.get(k), expected[k], ceiling))
        if epsilon <= NARROW:
            noise = {
                k: np.maximum(gap, rounded_to(expected[k], _EMPTY * epsilon * largest)) for k, gap in noise.items()
            }
        return {k: _SAFETY * gap for k, gap in noise.items()}

    def _gaps(
        self, arrays: tuple[Array, ...], expected: dict[int, Floats], seed: int, ulps: float, ties_hold: bool
    ) -> dict[int, Floats]:
        """How far a few ulps move each entry of the gradient; nothing where the function is not defined there."""
        random = np.random.default_rng(seed)
        moved = moved_by_ulps(arrays, random, ulps, ties_hold=ties_hold, noise=self.evaluation.noise)
        try:
            found = pulled(self.evaluation.at(moved[:-1]), moved[-1])
        except OFF_DOMAIN:
            return {}
        with np.errstate(all="ignore"):
            return {k: np.abs(g - expected[k]) for k, g in found.items()}


def _without_jumps(gap: Floats, far: Floats | None, expected: Floats, ceiling: float) -> Floats:
    """Changes that are small, or grow with the move: near a pole a few ulps of the argument are much."""
    with np.errstate(all="ignore"):
        grows = np.zeros(gap.shape, dtype=np.bool_)
        if far is not None:
            grows = (far > 0.5 * _GROWTH * gap) & (far < 2.0 * _GROWTH * gap) & (gap < _STEEPEST * np.abs(expected))
        return np.asarray(np.where((gap <= ceiling) | grows, gap, 0.0))


def pulled(evaluation: Evaluation, cotangent: Floats) -> dict[int, Floats]:
    """J^T u in float64, None as zeros."""
    return {
        k: np.zeros(evaluation.point(k).shape) if g is None else np.asarray(g, dtype=np.float64)
        for k, g in evaluation.pullback(cotangent).items()
    }
