"""The derivative of a vector function along a line, with an estimate of its error: steps, tables, noise, branches.

Samples are taken at ``+-scale * 2**-e`` only, so that every level of effort reuses what the cheaper ones evaluated, and
every window of consecutive steps is a Richardson table of ratio two. Source of the tables: Richardson (1911), Ridders
(1982); of the noise from high differences: Hamming, *Introduction to Applied Numerical Analysis* (1971), chapter 6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gradcheck.numeric import rises

Floats = rises.Floats
Flags = rises.Flags
Curve = Callable[[float], Floats]

EPSILON = float(np.finfo(np.float64).eps)
# Round-off above this is that of a narrow precision: values carry too few digits for steps that are exact and small.
NARROW = 2.0**-40

KINK = "kink"
EDGE = "pole or domain edge"
NOISE = "noise"
NOT_FINITE = "not finite"

# Exponents of the steps: a short ladder where smooth functions of unit scale are resolved to about 1e-11, with two
# nearby steps that only measure round-off; then down to where a kink at 1e-4 is passed; then everything.
QUICK = (8, 9, 10)
NEARBY = (19, 18)
RUNS = (QUICK, tuple(range(6, 20)), tuple(range(2, 34)))
EFFORTS = len(RUNS)
# The same where values carry the digits of float32, and where they carry fewer: there noise leaves the largest steps
# alone, and tables of two steps.
FEW_DIGITS = 2.0**-18
NARROW_RUNS = (tuple(range(2, 14)), tuple(range(1, 17)), tuple(range(20)))
SHORT_RUNS = (tuple(range(1, 10)), tuple(range(12)), tuple(range(12)))

# Standard deviations of the measured noise that count as possible: the noise is measured from few samples. Found on
# tests/gradcheck/numeric/family.py, where the true error exceeds the last effort's estimate in under 1 of 1,000 draws.
DEVIATIONS = 8.0
# The difference of two tables of lower order, over this, is never undercut: it keeps a lucky coincidence of the two
# best tables from passing as accuracy. Smooth functions gain a factor of 2**10 and more between them.
CONVERGENCE = 64.0
# The same for the short ladder, whose third-best table is a plain difference quotient: there it gains 2**18.
QUICK_CONVERGENCE = 2.0**14

# Part of the function's size; float32 arithmetic stays below 1e-7. In a narrow precision, units of its round-off.
NOISY = 1e-6
NOISY_SPACINGS = 64.0
# How far the estimates of two windows may be exceeded before the one with the larger steps is dropped.
DOUBT = 1.5
# By how much one-sided derivatives must be better than the central one to be believed in its place.
BENT = 16.0
# The steps that count as large ones.
COARSE = 3
# The windows of smallest steps are never the answer: nothing could contradict them.
WITNESSES = 3


@dataclass(frozen=True, slots=True, eq=False)
class Derivative:
    """What the samples say about the derivative at 0; every array has one entry an output.

    Attributes
    ----------
    value, error : arrays
        Two-sided derivative (the one-sided one where the function exists on one side only) and its estimated error.
    left, right, left_error, right_error : arrays
        One-sided derivatives.
    smooth : array of bool
        Left and right agree within their estimates.
    second, second_error : arrays
        The same derivative from steps of which `value` used none.
    one_sided : array of bool
        The function exists on one side only.
    unresolved : array of bool
        No estimate is better than the derivative itself, and noise is not what spoils it (a pole, say).
    noisy : array of bool
        The noise is a sizeable part of the function itself: it may be a wave too fast for every step.
    finite : array of bool
        The function's value at 0 is finite.
    curvature : array
        Second derivative, roughly: how far a rounded argument shifts the derivative.
    slope : array
        How steeply the function changes over the largest steps: a derivative far below is zero to the eye.
    evaluations : int
        How often the function was called so far.
    """

    value: Floats
    error: Floats
    left: Floats
    right: Floats
    left_error: Floats
    right_error: Floats
    smooth: Flags
    second: Floats
    second_error: Floats
    one_sided: Flags
    unresolved: Flags
    noisy: Flags
    finite: Flags
    curvature: Floats
    slope: Floats
    evaluations: int

    def reason(self, among: Flags) -> str:
        """Why the outputs in the mask `among` cannot be judged, as one of the fixed phrases."""
        if not self.finite[among].all():
            return NOT_FINITE
        if self.one_sided[among].any():
            return EDGE
        if not self.smooth[among].all():
            return KINK
        return EDGE if self.unresolved[among].any() else NOISE


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Weights of a Richardson table over `size` steps of ratio two: best, next best and third, and their noise."""

    size: int
    weights: Floats
    spread: float

    @staticmethod
    def of(size: int, first: int, stride: int) -> _Table:
        """The table that removes the powers first, first + stride, ... of the step."""
        rows = np.zeros((3, size))
        for row, used in enumerate((size, size - 1, max(size - 2, 1))):
            weights = np.ones(1)
            for power in range(used - 1):
                ratio = 2.0 ** (first + stride * power)
                weights = (ratio * np.append(0.0, weights) - np.append(weights, 0.0)) / (ratio - 1.0)
            rows[row, size - used :] = weights
        # In units of noise / (first step of the window), for quotients of one difference each.
        spread = float(np.sqrt(np.sum((rows[0] * 2.0 ** np.arange(size)) ** 2)))
        return _Table(size, rows, spread)


_CENTRAL = _Table.of(4, 2, 2)
_SIDED = _Table.of(4, 1, 1)
_SHORT_CENTRAL = _Table.of(2, 2, 2)
_SHORT_SIDED = _Table.of(2, 1, 1)
_SIDE = np.array([1.0, -14.0, 56.0, -64.0])  # of f(h) - f(0) at h .. h/8: removes h, h**2 and h**3
_SIDE_NORM = float(np.sqrt(np.sum(_SIDE**2) + np.sum(_SIDE) ** 2))


def _quick_weights() -> tuple[Floats, float, float]:
    """The short ladder as one matrix over f(t) - f(0), rows below, and the noise of its central and one-sided tables.

    Columns are t > 0 (three steps, two nearby), then t < 0. Rows: the central table and its two differences; the same
    to the right and to the left; the second difference; three residuals that only round-off leaves, of unit deviation.
    """
    steps = 2.0 ** -np.array(QUICK, dtype=np.float64)
    central, sided = _Table.of(3, 2, 2), _Table.of(3, 1, 1)
    rows = np.zeros((13, 10))
    differences = np.array([[1.0, 0.0, 0.0], [1.0, -1.0, 0.0], [0.0, 1.0, -1.0]])
    rows[0:3, 0:3] = differences @ central.weights / (2.0 * steps)
    rows[0:3, 5:8] = -rows[0:3, 0:3]
    rows[3:6, 0:3] = differences @ sided.weights / steps
    rows[6:9, 5:8] = -rows[3:6, 0:3]
    rows[9, [2, 7]] = 1.0 / steps[2] ** 2
    rows[10] = [0, 0, 0, -2, 1, 0, 0, 0, 2, -1]  # third difference nearby
    rows[11] = [0, 0, 0, -4, 1, 0, 0, 0, -4, 1]  # fourth difference nearby
    rows[12] = [1, -20, 64, 0, 0, 1, -20, 64, 0, 0]  # even part: removes h**2 and h**4
    rows[10:] /= np.sqrt(np.sum(rows[10:] ** 2, axis=1) + np.sum(rows[10:], axis=1) ** 2)[:, None]
    return rows, central.spread / (np.sqrt(2.0) * steps[0]), np.sqrt(2.0) * sided.spread / steps[0]


_QUICK, _QUICK_NOISE, _QUICK_SIDED_NOISE = _quick_weights()
# Without the nearby steps: their columns and the two residuals over them.
_SHORTER = np.delete(np.delete(_QUICK, [3, 4, 8, 9], axis=1), [10, 11], axis=0)


class Ladder:
    """Samples of one function along one line, and the derivative they give at the effort asked for.

    Parameters
    ----------
    phi : callable
        Float to 1-d float64 array; all calls return the same length. ``x + t * v`` inside it should be exact for
        small powers of two, which a `v` of few bits sees to (see `directions.direction`).
    scale : float
        The distance over which the input changes by its own size; the largest step is a quarter of it.
    base : array or None
        ``phi(0)`` where it is known already.
    floor : array or float
        Noise that `phi` has at least, however little is seen of it.
    noise : array or None
        The noise of the function along another line through the same point: the short ladder then takes no nearby
        steps of its own.
    epsilon : float
        The relative round-off of the values. Above `NARROW`, all steps are large ones.

    Attributes
    ----------
    noise : array or None
        What the nearby steps of the short ladder showed, or what was given.
    """

    __slots__ = ("_epsilon", "_floor", "_found", "_minus", "_phi", "_plus", "_scale", "base", "evaluations", "noise")

    def __init__(
        self,
        phi: Curve,
        *,
        scale: float = 1.0,
        base: Floats | None = None,
        floor: Floats | float = 0.0,
        noise: Floats | None = None,
        epsilon: float = EPSILON,
    ) -> None:
        self._phi = phi
        self._epsilon = epsilon
        self._floor = floor
        self.noise = noise
        self._scale = scale
        self._plus: dict[int, Floats] = {}
        self._minus: dict[int, Floats] = {}
        self._found: dict[int, Derivative] = {}
        self.evaluations = 0
        self.base = self.sample(0.0) if base is None else base

    def derivative(self, effort: int = 0) -> Derivative:
        """The derivative from the steps of `effort` (0: about ten evaluations; 1: about 30; 2: about 65)."""
        found = self._found.get(effort)
        if found is None:
            with np.errstate(all="ignore"):
                found = self._found[effort] = self._measured(effort)
        return found

    def _measured(self, effort: int) -> Derivative:
        if self._epsilon > NARROW:
            return self._narrow(SHORT_RUNS[effort] if self._epsilon > FEW_DIGITS else NARROW_RUNS[effort])
        run = RUNS[effort]
        is_shorter = effort == 0 and self.noise is not None
        self._take(run if is_shorter else (*run, *NEARBY))
        if effort == 0:
            return self._quick(QUICK if is_shorter else (*QUICK, *NEARBY))
        plus, minus, steps = self._sides(run)
        if effort == EFFORTS - 1:
            for side in plus, minus:
                side[:, rises.jumps(side - self.base, self._least(plus, minus))] = np.nan
        return _derivative(self.base, plus, minus, steps, self._noise(plus, minus), self.evaluations)

    def _narrow(self, run: tuple[int, ...]) -> Derivative:
        """From large steps alone; what the narrow precision leaves as noise is known, and measured too."""
        self._take(run)
        plus, minus, steps = self._sides(run)
        least = self._least(plus, minus)
        noise = np.maximum(self._noise(plus, minus), least)
        found = _derivative(self.base, plus, minus, steps, noise, self.evaluations, is_short=self._epsilon > FEW_DIGITS)
        return replace(found, noisy=noise > NOISY_SPACINGS * least)

    def _take(self, exponents: Sequence[int]) -> None:
        """Sample both sides where that was not done."""
        for exponent in exponents:
            if exponent not in self._plus:
                step = self._scale * 2.0**-exponent
                self._plus[exponent] = self._phi(step)
                self._minus[exponent] = self._phi(-step)
                self.evaluations += 2

    def _sides(self, run: tuple[int, ...]) -> tuple[Floats, Floats, Floats]:
        """The samples above and below, and their steps."""
        plus = np.array([self._plus[e] for e in run])
        minus = np.array([self._minus[e] for e in run])
        return plus, minus, self._scale * 2.0 ** -np.array(run, dtype=np.float64)

    def _quick(self, exponents: tuple[int, ...]) -> Derivative:
        """The short ladder: everything is one small matrix product; what is not finite leaves it to the longer ones."""
        samples = np.array([self._plus[e] for e in exponents] + [self._minus[e] for e in exponents])
        rise = samples - self.base
        found = (_QUICK if self.noise is None else _SHORTER) @ rise
        size = np.abs(found)
        if self.noise is None:
            self.noise = np.sqrt((size[10] * size[10] + size[11] * size[11]) / 2.0)
        # The last residual is what the two nearby ones cannot be: along this line, and truncation too.
        noise = np.sqrt((2.0 * self.noise * self.noise + size[-1] * size[-1]) / 3.0)
        largest = np.maximum(np.maximum.reduce(np.abs(samples)), np.abs(self.base))
        noise = np.maximum(np.maximum(noise, EPSILON * largest), self._floor)
        error = np.maximum(size[1], size[2] / QUICK_CONVERGENCE) + (DEVIATIONS * _QUICK_NOISE) * noise
        sided = (DEVIATIONS * _QUICK_SIDED_NOISE) * noise
        right_error = np.maximum(size[4], size[5]) + sided
        left_error = np.maximum(size[7], size[8]) + sided
        error, right_error, left_error = (
            np.where(np.isfinite(e), e, np.inf) / self._scale for e in (error, right_error, left_error)
        )
        value, right, left = found[0] / self._scale, found[3] / self._scale, found[6] / self._scale
        return Derivative(
            value=value, error=error, left=left, right=right, left_error=left_error, right_error=right_error,
            smooth=np.abs(left - right) <= left_error + right_error,
            second=value, second_error=np.full_like(value, np.inf),
            one_sided=np.zeros(value.shape, dtype=np.bool_), unresolved=_unresolved(value, error, noise, self._scale),
            noisy=noise > NOISY * np.maximum.reduce(np.abs(samples)),
            finite=np.isfinite(self.base), curvature=size[9] / self._scale**2,
            slope=np.maximum.reduce(np.abs(rise)) * (2.0 ** QUICK[0] / self._scale), evaluations=self.evaluations,
        )  # fmt: skip

    def sample(self, t: float) -> Floats:
        """The function at `t`, counted."""
        self.evaluations += 1
        with np.errstate(all="ignore"):
            return self._phi(t)

    def _least(self, plus: Floats, minus: Floats) -> Floats:
        """One unit in the last place of the largest value on the way: less noise than that is luck."""
        largest = np.maximum(np.abs(np.where(np.isfinite(plus), plus, 0.0)).max(axis=0), np.abs(self.base))
        largest = np.maximum(largest, np.abs(np.where(np.isfinite(minus), minus, 0.0)).max(axis=0))
        return np.asarray(np.maximum(self._epsilon * largest, self._floor))

    def _noise(self, plus: Floats, minus: Floats) -> Floats:
        """Standard deviation of the round-off from one-sided differences over many small steps.

        They are one-sided and the median is taken so that a kink, here or nearby, is not mistaken for noise.
        """
        small = max(0, plus.shape[0] - 16)
        residuals = []
        for side in (plus[small:], minus[small:]):
            rise = side - self.base
            count = rise.shape[0] - 3
            residuals.append(sum(_SIDE[i] * rise[i : i + count] for i in range(4)))
        squares = (np.concatenate(residuals) / _SIDE_NORM) ** 2
        # Steps too small to move a rounded argument show no noise; they must not outvote those that do.
        quiet = squares == 0.0
        squares = np.where(quiet & (quiet.mean(axis=0) < 0.7), np.nan, squares)
        # 0.455: the median of the square of a standard normal variable. A side that does not exist says nothing.
        measured = np.maximum(np.sqrt(rises.median(squares) / 0.455), self._least(plus[small:], minus[small:]))
        if self._epsilon > NARROW:
            return np.asarray(measured)
        return np.maximum(measured, rises.quantum(np.concatenate([plus, minus]) - self.base))


def differentiate(phi: Curve, *, scale: float = 1.0, wanted: float = 1e-9) -> Derivative:
    """The derivative of `phi` at 0, with more steps where the estimate is worse than `wanted` of the value.

    Parameters
    ----------
    phi : callable
        Float to 1-d float64 array.
    scale : float
        The distance over which the input changes by its own size.
    wanted : float
        Relative error at which the short ladder is good enough.

    Examples
    --------
    >>> import numpy as np
    >>> found = differentiate(lambda t: np.array([np.exp(t)]))
    >>> bool(abs(found.value[0] - 1.0) <= found.error[0] < 1e-9)
    True
    """
    ladder = Ladder(phi, scale=scale)
    found = ladder.derivative(0)
    for effort in range(1, EFFORTS):
        if found.smooth.all() and bool((found.error <= wanted * np.abs(found.value)).all()):
            break
        found = ladder.derivative(effort)
    return found


def _derivative(
    base: Floats,
    plus: Floats,
    minus: Floats,
    steps: Floats,
    noise: Floats,
    evaluations: int,
    *,
    is_short: bool = False,
) -> Derivative:
    """Assemble the result from the samples of one run."""
    column = steps[:, None]
    both, one = (_SHORT_CENTRAL, _SHORT_SIDED) if is_short else (_CENTRAL, _SIDED)
    central = _windows((plus - minus) / (2.0 * column), steps, noise / np.sqrt(2.0), both, CONVERGENCE)
    rising = _windows((plus - base) / column, steps, noise * np.sqrt(2.0), one, 1.0)
    falling = _windows((base - minus) / column, steps, noise * np.sqrt(2.0), one, 1.0)
    (value, error), (second, second_error) = _best(*central, apart=both.size)
    (right, right_error), again_right = _best(*rising, apart=one.size)
    (left, left_error), again_left = _best(*falling, apart=one.size)
    one_sided = np.isfinite(right_error) ^ np.isfinite(left_error)
    if one_sided.any():
        only, only_error = _pick(np.isfinite(right_error), (right, right_error), (left, left_error))
        # At an edge half-integer powers are usual, where each table gains little: x**1.5 at 0 asks for a factor of 4.
        value, error = _pick(one_sided, (only, 8.0 * only_error), (value, error))
        again = _pick(np.isfinite(right_error), again_right, again_left)
        second, second_error = _pick(one_sided, again, (second, second_error))
    with np.errstate(all="ignore"):
        smooth = ~one_sided & (np.abs(left - right) <= left_error + right_error)
        # Where the curvature jumps (a squared relu), central differences gain little from smaller steps.
        middle, middle_error = (left + right) / 2.0, (left_error + right_error + np.abs(left - right)) / 2.0
        bent = smooth & (middle_error < error / BENT)
        value, error = _pick(bent, (middle, middle_error), (value, error))
        again = (again_left[0] + again_right[0]) / 2.0, (again_left[1] + again_right[1]) / 2.0
        second, second_error = _pick(bent, again, (second, second_error))
        unresolved = _unresolved(value, error, noise, float(steps[0]))
    mild = 1 if is_short else min(8, len(steps) - 1)  # where neither truncation nor noise rules
    bend = (plus[mild] - 2.0 * base + minus[mild]) / steps[mild] ** 2
    return Derivative(
        value=value, error=error, left=left, right=right, left_error=left_error, right_error=right_error,
        smooth=smooth, second=second, second_error=second_error, one_sided=one_sided, unresolved=unresolved,
        noisy=noise > NOISY * np.fmax(np.fmax.reduce(np.abs(plus)), np.fmax.reduce(np.abs(minus))),
        finite=np.isfinite(base), curvature=np.where(np.isfinite(bend), np.abs(bend), 0.0),
        slope=_slope(base, plus, minus, steps), evaluations=evaluations,
    )  # fmt: skip


def _slope(base: Floats, plus: Floats, minus: Floats, steps: Floats) -> Floats:
    """The steepest secant over the largest steps; where the function is not finite it says nothing."""
    rise = np.abs(np.concatenate([plus[:COARSE] - base, minus[:COARSE] - base]))
    return np.asarray(np.where(np.isfinite(rise), rise, 0.0).max(axis=0) / steps[COARSE - 1])


def _unresolved(value: Floats, error: Floats, noise: Floats, step: float) -> Flags:
    """Where the error is as large as the derivative and far larger than noise over the largest step would make it."""
    return np.asarray(~(error <= 0.5 * np.abs(value) + 1e4 * noise / step), dtype=np.bool_)


def _windows(quotients: Floats, steps: Floats, noise: Floats, table: _Table, gain: float) -> tuple[Floats, Floats]:
    """Value and error estimate of every window of consecutive steps, shape (windows, outputs)."""
    count = len(steps) - table.size + 1
    best, lower, lowest = (
        np.add.reduce([weight * quotients[i : i + count] for i, weight in enumerate(row) if weight])
        for row in table.weights
    )
    error = 2.0 * np.maximum(np.abs(best - lower), np.abs(lower - lowest) / gain)
    # Round-off of the values, as measured nearby, and of the arguments, which grows with the step.
    error = error + (DEVIATIONS * table.spread) * (noise / steps[:count, None] + EPSILON * np.abs(best))
    # The next window is a second opinion, independent of the table's own: it keeps coincidences out.
    error[:-1] += np.where(np.isfinite(best[1:]), np.abs(best[:-1] - best[1:]), 0.0)
    error = np.where(np.isfinite(best) & np.isfinite(error), error, np.inf)
    return best, np.where(_contradicted(best, error), np.inf, error)


def _contradicted(values: Floats, errors: Floats) -> Flags:
    """Windows that disagree with one of smaller steps: those are noisier, but no curve or kink hides between them."""
    low = np.where(np.isfinite(errors), values - DOUBT * errors, -np.inf)[::-1]
    high = np.where(np.isfinite(errors), values + DOUBT * errors, np.inf)[::-1]
    return np.asarray(np.maximum.accumulate(low, axis=0) > np.minimum.accumulate(high, axis=0))[::-1]


def _best(values: Floats, errors: Floats, apart: int) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """The window with the smallest estimate, and the best of those that share no step with it."""
    errors[-WITNESSES:] = np.inf
    first = errors.argmin(axis=0)
    near = np.abs(np.arange(len(values))[:, None] - first) < apart
    others = np.where(near, np.inf, errors)
    return _at(values, errors, first), _at(values, others, others.argmin(axis=0))


def _at(values: Floats, errors: Floats, window: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    columns = np.arange(values.shape[1])
    return values[window, columns], errors[window, columns]


def _pick(where: Flags, yes: tuple[Floats, Floats], no: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    return np.where(where, yes[0], no[0]), np.where(where, yes[1], no[1])
