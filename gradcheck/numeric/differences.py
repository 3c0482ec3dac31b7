"""The derivative of a vector function along a line, with an estimate of its error: steps, tables, noise, branches.

Samples are taken at ``+-scale * 2**-e`` only, so that every level of effort reuses what the cheaper ones evaluated, and
every window of consecutive steps is a Richardson table of ratio two. Source of the tables: Richardson (1911), Ridders
(1982); of the noise from high differences: Hamming, *Introduction to Applied Numerical Analysis* (1971), chapter 6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gradcheck.numeric import rises, tables
from gradcheck.numeric.derivative import Derivative, Sums
from gradcheck.numeric.tables import CONVERGENCE, DEVIATIONS, Table, best_of, pick, windows

Floats = rises.Floats
Flags = rises.Flags
Curve = Callable[[float], Floats]
"""A float to a flat float64 array. It may have a method ``many(ts)``, which gives one row for each number in `ts`, or
None where it cannot."""

EPSILON = tables.EPSILON
# Round-off above this is that of a narrow precision: values carry too few digits for steps that are exact and small.
NARROW = 2.0**-40

# Exponents of the steps: a short ladder where smooth functions of unit scale are resolved to about 1e-11, with two
# nearby steps that only measure round-off; then down to where a kink at 1e-4 is passed; then everything.
QUICK = (8, 9, 10)
NEARBY = (19, 18)
RUNS = (QUICK, tuple(range(6, 20)), tuple(range(2, 34)), tuple(range(2, 50)), tuple(range(-10, 34)))
EFFORTS = 3
# The effort beyond, for lines of few entries that move by a power of two: their steps are exact down to 2**-51, and the
# edge of a domain at 1e-12 is passed.
DEEP = 3
# Where a function loses digits and hardly bends over the input's own size: beyond that size too, to 1,000 times.
WIDE = 4
# The same where values carry the digits of float32, and where they carry fewer: there noise leaves the largest steps
# alone, and tables of two steps.
FEW_DIGITS = 2.0**-18
NARROW_RUNS = (tuple(range(2, 14)), tuple(range(1, 17)), tuple(range(20)), tuple(range(20)), tuple(range(20)))
SHORT_RUNS = (tuple(range(1, 10)), tuple(range(12)), tuple(range(12)), tuple(range(12)), tuple(range(12)))

# The same for the short ladder, whose third-best table is a plain difference quotient: there it gains 2**18.
QUICK_CONVERGENCE = 2.0**14

# Part of the function's size; float32 arithmetic stays below 1e-7. In a narrow precision, units of its round-off.
NOISY = 1e-6
NOISY_SPACINGS = 64.0
# By how much one-sided derivatives must be better than the central one to be believed in its place.
BENT = 16.0
# How far the estimate of one side alone is trusted: half-integer powers are usual at edges, where each table gains
# little; x**1.5 at 0 asks for a factor of 4.
SIDE_DOUBT = 8.0
# The steps that count as large ones.
COARSE = 3
# Steps of another ladder that shares none with the first, in units of those.
BETWEEN = 0.75
# The spacing of the smallest numbers: what underflows has no fewer digits than that.
SPACING = 2.0**-1074
TINY = float(np.finfo(np.float64).tiny)
# A kink is here, and not nearby, where steps of at most 2**-22 (so many rows from the last) still show it.
HERE = 12
# Part of the bend that one-sided differences may be off by, in steps where noise is less than it.
HERE_PART = 0.25
# A kink nearby looks like noise itself: more than so many round-offs of the values nearby are not taken for it.
HERE_ROUNDOFFS = 64.0


@dataclass(frozen=True, slots=True, eq=False)
class _QuickSums:
    """Of the short ladder: its rows are sums already."""

    rows: Floats
    noise: Floats
    scale: float

    def total(self, u: Floats) -> tuple[float, float, float, float]:
        active = u != 0.0
        first = self.rows[:3, active] @ u[active]
        noise = float(np.sqrt(np.add.reduce((u * self.noise)[active] ** 2)))
        error = max(abs(first[1]), abs(first[2]) / QUICK_CONVERGENCE) + DEVIATIONS * _QUICK_NOISE * noise
        value = float(first[0]) / self.scale
        return value, float(error) / self.scale, value, float(np.inf)


@dataclass(frozen=True, slots=True, eq=False)
class _LongSums:
    """Of the longer ones: a table of the sums themselves, with the noise of independent terms."""

    quotients: Floats
    steps: Floats
    noise: Floats
    table: Table

    def total(self, u: Floats) -> tuple[float, float, float, float]:
        active = u != 0.0
        sums = self.quotients[:, active] @ u[active]
        noise = np.sqrt(np.add.reduce((u * self.noise)[:, active] ** 2, axis=1, keepdims=True))
        found = windows(sums[:, None], self.steps, noise, self.table, CONVERGENCE)
        (value, error), (second, second_error) = best_of(*found, apart=self.table.size)
        return float(value[0]), float(error[0]), float(second[0]), float(second_error[0])


@dataclass(frozen=True, slots=True, eq=False)
class _Doubled:
    """Of two ladders that share no step."""

    first: Sums
    other: Sums

    def total(self, u: Floats) -> tuple[float, float, float, float]:
        value, error, _, _ = self.first.total(u)
        second, second_error, _, _ = self.other.total(u)
        return value, error, second, second_error


_CENTRAL = Table.of(4, 2, 2)
_SIDED = Table.of(4, 1, 1)
_SHORT_CENTRAL = Table.of(2, 2, 2)
_SHORT_SIDED = Table.of(2, 1, 1)
_SIDE = np.array([1.0, -14.0, 56.0, -64.0])  # of f(h) - f(0) at h .. h/8: removes h, h**2 and h**3
_SIDE_NORM = float(np.sqrt(np.sum(_SIDE**2) + np.sum(_SIDE) ** 2))


def _quick_weights() -> tuple[Floats, float, float]:
    """The short ladder as one matrix over f(t) - f(0), rows below, and the noise of its central and one-sided tables.

    Columns are t > 0 (three steps, two nearby), then t < 0. Rows: the central table and its two differences; the same
    to the right and to the left; the second difference; three residuals that only round-off leaves, of unit deviation.
    """
    steps = 2.0 ** -np.array(QUICK, dtype=np.float64)
    central, sided = Table.of(3, 2, 2), Table.of(3, 1, 1)
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

    __slots__ = (
        "_between", "_epsilon", "_floor", "_found", "_minus", "_phi", "_plus", "_scale", "base", "evaluations", "noise",
    )  # fmt: skip

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
        self._between: Ladder | None = None
        self.evaluations = 0
        self.base = self.sample(0.0) if base is None else base

    def derivative(self, effort: int = 0) -> Derivative:
        """The derivative from the steps of `effort`: about 10 evaluations at 0, 30 at 1, 65 at 2, 100 at the others."""
        found = self._found.get(effort)
        if found is None:
            with np.errstate(all="ignore"):
                found = self._found[effort] = self._measured(effort)
        return found

    def doubled(self, effort: int) -> Derivative:
        """The same with as many steps between those, from which `second` comes: as good as the first, and independent.

        Of the steps of one ladder, those that the derivative did not use are worse by a power of ten.
        """
        found = self.derivative(effort)
        if self._between is None:
            self._between = Ladder(
                self._phi, scale=BETWEEN * self._scale, base=self.base, floor=self._floor, noise=self.noise,
                epsilon=self._epsilon,
            )  # fmt: skip
        before = self._between.evaluations
        other = self._between.derivative(effort)
        self.evaluations += self._between.evaluations - before
        sums = None if found.sums is None or other.sums is None else _Doubled(found.sums, other.sums)
        return replace(
            found, second=other.value, second_error=other.error, sums=sums, smooth=found.smooth & other.smooth,
            noisy=found.noisy | other.noisy, evaluations=self.evaluations,
        )  # fmt: skip

    def _measured(self, effort: int) -> Derivative:
        if self._epsilon > NARROW:
            return self._narrow(SHORT_RUNS[effort] if self._epsilon > FEW_DIGITS else NARROW_RUNS[effort])
        run = RUNS[effort]
        first = max(0, RUNS[EFFORTS - 1][0] - run[0])
        is_shorter = effort == 0 and self.noise is not None
        self._take(run if is_shorter else (*run, *NEARBY))
        if effort == 0:
            return self._quick(QUICK if is_shorter else (*QUICK, *NEARBY))
        plus, minus, steps = self._sides(run)
        if effort >= EFFORTS - 1:
            near = slice(first, first + len(RUNS[EFFORTS - 1]))
            least = self._least(plus[near], minus[near])
            for side in plus, minus:
                side[:, rises.jumps(side[near] - self.base, least)] = np.nan
        noise = self._noise(plus[first:], minus[first:])
        return _derivative(self.base, plus, minus, steps, noise, self.evaluations, first=first)

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
        missing = [exponent for exponent in exponents if exponent not in self._plus]
        if not missing:
            return
        steps = [self._scale * 2.0**-exponent for exponent in missing]
        rows = self._many([*steps, *(-step for step in steps)])
        self._plus.update(zip(missing, rows, strict=False))
        self._minus.update(zip(missing, rows[len(missing) :], strict=True))
        self.evaluations += 2 * len(missing)

    def _many(self, ts: list[float]) -> Sequence[Floats] | Floats:
        """The function at several points, at once where it can do that."""
        many = getattr(self._phi, "many", None)
        rows = None if many is None else many(ts)
        return [self._phi(t) for t in ts] if rows is None else np.asarray(rows, dtype=np.float64)

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
        noise = np.maximum(np.maximum(noise, EPSILON * largest + SPACING), self._floor)
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
            noisy=_is_noisy(noise, np.maximum.reduce(np.abs(samples))),
            finite=np.isfinite(self.base), curvature=size[9] / self._scale**2,
            slope=np.maximum.reduce(np.abs(rise)) * (2.0 ** QUICK[0] / self._scale), evaluations=self.evaluations,
            here=np.zeros(value.shape, dtype=np.bool_), sums=_QuickSums(found, noise, self._scale),
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
        return np.asarray(np.maximum(self._epsilon * largest + SPACING, self._floor))

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
        return np.maximum(measured, rises.quantum(np.concatenate([plus, minus]) - self.base, self.base))


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
    # What looks like noise may be a wave too fast for every step: no estimate can be had, and no verdict uses one.
    lost = found.noisy | found.unresolved
    # What does not move at all may have been rounded off beside the other outputs.
    still = np.where(found.value != 0.0, 0.0, EPSILON * float(np.max(np.abs(ladder.base), initial=0.0)) / scale)
    error, left, right = (
        np.where(lost, np.inf, np.maximum(e, still)) for e in (found.error, found.left_error, found.right_error)
    )
    return replace(found, error=error, left_error=left, right_error=right)


def _derivative(
    base: Floats,
    plus: Floats,
    minus: Floats,
    steps: Floats,
    noise: Floats,
    evaluations: int,
    *,
    is_short: bool = False,
    first: int = 0,
) -> Derivative:
    """Assemble the result from the samples of one run; `first` is the largest step of the input's own size.

    Larger ones count in central differences only: what is flat from there on, on one side, has a derivative here.
    """
    both, one = (_SHORT_CENTRAL, _SHORT_SIDED) if is_short else (_CENTRAL, _SIDED)
    # Further away the values may be larger than where the noise was measured, and their round-off with them.
    noises = np.fmax(noise, EPSILON * np.fmax(np.abs(plus), np.abs(minus)))
    sums = _LongSums((plus - minus) / (2.0 * steps[:, None]), steps, noises / np.sqrt(2.0), both)
    central = windows(sums.quotients, steps, sums.noise, both, CONVERGENCE)
    plus, minus, steps, noises = plus[first:], minus[first:], steps[first:], noises[first:]
    column = steps[:, None]
    rising = windows((plus - base) / column, steps, noises * np.sqrt(2.0), one, 1.0)
    falling = windows((base - minus) / column, steps, noises * np.sqrt(2.0), one, 1.0)
    (value, error), (second, second_error) = best_of(*central, apart=both.size)
    (right, right_error), again_right = best_of(*rising, apart=one.size)
    (left, left_error), again_left = best_of(*falling, apart=one.size)
    one_sided = np.isfinite(right_error) ^ np.isfinite(left_error)
    if one_sided.any():
        only, only_error = pick(np.isfinite(right_error), (right, right_error), (left, left_error))
        value, error = pick(one_sided, (only, SIDE_DOUBT * only_error), (value, error))
        again = pick(np.isfinite(right_error), again_right, again_left)
        second, second_error = pick(one_sided, again, (second, second_error))
    with np.errstate(all="ignore"):
        smooth = ~one_sided & (np.abs(left - right) <= left_error + right_error)
        # Where the curvature jumps (a squared relu), central differences gain little from smaller steps.
        middle, middle_error = (left + right) / 2.0, (left_error + right_error + np.abs(left - right)) / 2.0
        bent = smooth & (middle_error < error / BENT)
        value, error = pick(bent, (middle, middle_error), (value, error))
        again = (again_left[0] + again_right[0]) / 2.0, (again_left[1] + again_right[1]) / 2.0
        second, second_error = pick(bent, again, (second, second_error))
        # Beside a kink the side away from it can take steps that the two together cannot.
        least = _roundoff(base, plus, minus)
        for side, side_error, once_more, windowed in (
            (right, right_error, again_right, rising), (left, left_error, again_left, falling)
        ):  # fmt: skip
            far = smooth & (SIDE_DOUBT * BENT * side_error < error) & (np.abs(side - value) <= side_error + error)
            far &= _is_straight(*windowed, side, side_error, column, least)
            value, error = pick(far, (side, SIDE_DOUBT * side_error), (value, error))
            second, second_error = pick(far, once_more, (second, second_error))
        unresolved = _unresolved(value, error, noises[0], float(steps[0]))
    here = np.ones(value.shape, dtype=np.bool_)
    if len(steps) > HERE and not is_short:
        here = _is_here((plus - base) / column, (base - minus) / column, right, left, np.minimum(noise, least) / column)
    mild = 1 if is_short else min(8, len(steps) - 1)  # where neither truncation nor noise rules
    bend = (plus[mild] - 2.0 * base + minus[mild]) / steps[mild] ** 2
    return Derivative(
        value=value, error=error, left=left, right=right, left_error=left_error, right_error=right_error,
        smooth=smooth, second=second, second_error=second_error, one_sided=one_sided, unresolved=unresolved,
        noisy=_is_noisy(noise, np.fmax(np.fmax.reduce(np.abs(plus)), np.fmax.reduce(np.abs(minus)))),
        finite=np.isfinite(base), curvature=np.where(np.isfinite(bend), np.abs(bend), 0.0),
        slope=_slope(base, plus, minus, steps), evaluations=evaluations, here=here, sums=sums,
    )  # fmt: skip


def _roundoff(base: Floats, plus: Floats, minus: Floats) -> Floats:
    """More noise than this, near 0, is a kink nearby, which looks like it."""
    around = np.abs(np.concatenate([plus[-HERE:], minus[-HERE:], base[None]]))
    return np.asarray(HERE_ROUNDOFFS * EPSILON * np.where(np.isfinite(around), around, 0.0).max(axis=0))


def _is_straight(values: Floats, errors: Floats, side: Floats, error: Floats, steps: Floats, noise: Floats) -> Flags:
    """Whether smaller steps on one side say the same, as far as round-off lets them: no kink lies before the first."""
    allowed = SIDE_DOUBT * error + DEVIATIONS * _SIDED.spread * np.sqrt(2.0) * noise / steps[: len(values)]
    smaller = np.arange(len(values))[:, None] > errors.argmin(axis=0)
    return np.asarray((~smaller | (np.abs(values - side) <= allowed)).all(axis=0))


def _is_here(rising: Floats, falling: Floats, right: Floats, left: Floats, noise: Floats) -> Flags:
    """Whether the smallest steps in which a bend can be told from noise still show both one-sided derivatives."""
    with np.errstate(all="ignore"):
        allowed = HERE_PART * np.abs(right - left)
        clear = (DEVIATIONS * np.sqrt(2.0) * noise <= allowed)[-HERE:]
        off = np.maximum(np.abs(rising - right), np.abs(falling - left))[-HERE:]
    return np.asarray(clear.any(axis=0) & ~(clear & ~(off <= allowed)).any(axis=0))


def _is_noisy(noise: Floats, size: Floats) -> Flags:
    """Whether noise is a sizeable part of a function of that size; what underflows has few digits by right."""
    return np.asarray(noise > np.maximum(NOISY * size, TINY))


def _slope(base: Floats, plus: Floats, minus: Floats, steps: Floats) -> Floats:
    """The steepest secant over the largest steps; where the function is not finite it says nothing."""
    rise = np.abs(np.concatenate([plus[:COARSE] - base, minus[:COARSE] - base]))
    return np.asarray(np.where(np.isfinite(rise), rise, 0.0).max(axis=0) / steps[COARSE - 1])


def _unresolved(value: Floats, error: Floats, noise: Floats, step: float) -> Flags:
    """Where the error is as large as the derivative and far larger than noise over the largest step would make it."""
    return np.asarray(~(error <= 0.5 * np.abs(value) + 1e4 * noise / step), dtype=np.bool_)
