"""From an analytic projection and a numerical derivative to agree, disagree or inconclusive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gradcheck.numeric.derivative import EDGE, KINK, NEAR_KINK, NOISE, NOT_FINITE, ONE_SIDED, Derivative
from gradcheck.numeric.differences import EPSILON, FEW_DIGITS, NARROW, TINY, Flags, Floats
from gradcheck.verdict import Verdict

# Round-offs of a backward pass that count as possible, in units of the sum of its terms' sizes. Ten-op programs of the
# grammar stay under 8.
ROUNDOFFS = 64.0
# How far beyond the estimate a difference must be to be called one. Where it is small against the resolution asked for,
# nobody asked and an estimate that is off by a little would be a false alarm.
MARGIN = 2.0
SMALL_MARGIN = 16.0
# The same where two derivatives that share no step both say it.
TWICE_MARGIN = 8.0
# Less than this part of the resolution asked for is no wrong formula: PyTorch's trigamma is right to 1e-9 only.
NEGLIGIBLE = 2e-3
# A numerical derivative whose error is under this part of the function's own size may pass for zero.
ZERO = 1e-9
# In a narrow precision, of relative round-off epsilon: round-offs of a backward pass in units of the root of the sum of
# its terms' squares, and what may pass for zero.
NARROW_ROUNDOFFS = 4.0
NARROW_ZERO = 2.0**10
HIGHEST_ZERO = 2.0**-5
# Relative precision that one-sided derivatives must have for the interval between them to mean anything.
SIDED_RTOL = 1e-4


@dataclass(frozen=True, slots=True)
class Comparison:
    """How one projection <u, J v> compares.

    Attributes
    ----------
    verdict : Verdict
    reason : str
        Why it is inconclusive, else "".
    analytic, numeric, error : float
        The two projections and the estimated error of their difference.
    scale : float
        The size of the derivative that the resolution refers to.
    zero : bool
        Both are zero as far as can be seen.
    """

    verdict: Verdict
    reason: str
    analytic: float
    numeric: float
    error: float
    scale: float
    zero: bool = False

    @property
    def resolution(self) -> float:
        """The relative size of an error that would still have been seen."""
        return self.error / self.scale if self.scale > 0.0 and not self.zero else 0.0

    def inconclusive(self, reason: str) -> Comparison:
        """The same numbers, from which nothing follows."""
        return replace(self, verdict=Verdict.INCONCLUSIVE, reason=reason, zero=False)


def compare(
    gradients: Floats,
    direction: Floats,
    cotangent: Floats,
    derivative: Derivative,
    *,
    natural: float,
    rtol: float,
    last: bool = False,
    single: bool = False,
    doubt: float = 0.0,
    epsilon: float = EPSILON,
    least: float = 0.0,
) -> Comparison:
    """Compare ``<J^T u, v>`` with ``<u, J v>``.

    Parameters
    ----------
    gradients, direction : arrays, shape (n,)
        J^T u and v, all moved entries one after the other.
    cotangent : array, shape (m,)
        u. Outputs where it is 0 are left out.
    derivative : Derivative
        J v, an entry an output.
    natural : float
        The size of u times the function: a derivative of less than its round-off is zero, as is one far below the
        slopes of the function nearby.
    rtol : float
        The resolution asked for.
    last : bool
        No better derivative will come: kinks are judged now.
    single : bool
        The function is one op, so that right conventions at a kink lie between its one-sided derivatives.
    doubt : float
        The measured round-off of the analytic side.
    epsilon : float
        The relative round-off of values and gradients. Above `NARROW`, a difference below `rtol` is no disagreement.
    least : float
        The scale of the derivative that this one is a part of.

    Notes
    -----
    *agree*: difference <= estimate <= rtol * scale. *disagree*: difference > estimate with a margin, left and right
    agree, and so do the derivatives from two disjoint ranges of steps. Everything else is inconclusive. The estimate
    counts truncation, measured noise over the step, and the round-off of the analytic side: of its sum, and of its
    point (an argument rounded by one part in 2**52 moves a derivative by the curvature).
    """
    terms = gradients[direction != 0.0] * direction[direction != 0.0]
    analytic = float(np.add.reduce(terms))
    active = cotangent != 0.0
    parts = cotangent[active] * derivative.value[active]
    size = np.abs(cotangent[active])
    numeric = float(np.add.reduce(parts))
    error = float(size @ derivative.error[active]) if active.any() else 0.0
    spread = float(size @ derivative.curvature[active]) if active.any() else 0.0
    if epsilon > NARROW:
        error += NARROW_ROUNDOFFS * epsilon * (_norm(terms) + spread) + doubt
    else:
        error += max(ROUNDOFFS * EPSILON * (float(np.add.reduce(np.abs(terms))) + spread), doubt)
    if last:
        # Only then: where the largest steps meet an explosion, everything is zero beside it.
        slope = derivative.slope[active]
        natural = max(natural, float(size @ np.where(np.isfinite(slope), slope, 0.0)))
    second = np.array([derivative.second, derivative.second_error])[:, active]
    numeric_again, doubt_again = float(cotangent[active] @ second[0]), float(size @ second[1])
    wide = numeric, error
    if size.size > 1 and derivative.sums is not None and derivative.smooth[active].all():
        total, total_error, again, again_error = derivative.sums.total(cotangent)
        extra = error - float(size @ derivative.error[active])
        if total_error + extra < error:
            numeric, error = total, total_error + extra
            numeric_again, doubt_again = again, again_error
    scale = max(_norm(parts), abs(numeric), least)
    if np.isfinite(analytic):
        scale = max(scale, _norm(terms), abs(analytic))
    made = _Judge(
        analytic,
        numeric,
        error,
        scale,
        natural,
        doubt,
        rtol,
        active,
        derivative,
        numeric_again,
        doubt_again,
        wide,
        epsilon,
    )
    if not np.isfinite(analytic):
        return made.not_finite(last and single)
    if derivative.smooth[active].all() and np.isfinite(error):
        return made.smooth(last)
    if last and np.isfinite(derivative.left_error[active] + derivative.right_error[active]).all():
        return made.kinked(cotangent, single)
    return made.edge(cotangent)


@dataclass(frozen=True, slots=True)
class _Judge:
    """The numbers of one comparison, and the verdicts they allow."""

    analytic: float
    numeric: float
    error: float
    scale: float
    natural: float
    doubt: float
    rtol: float
    active: Flags
    derivative: Derivative
    second: float
    second_error: float
    wide: tuple[float, float]
    epsilon: float = EPSILON

    def not_finite(self, at_kink: bool) -> Comparison:
        """A gradient that is infinite or NaN, where the derivative is known to be finite, is wrong."""
        sided = self.derivative.left_error + self.derivative.right_error
        known = at_kink and np.isfinite(sided[self.active]).all()
        known = (known or self.derivative.smooth[self.active].all()) and np.isfinite(self.numeric)
        # In few digits, what is large overflows by right.
        if (
            known
            and self.epsilon <= FEW_DIGITS
            and self.derivative.finite[self.active].all()
            and not self.derivative.unresolved[self.active].any()
        ):
            return self._end(Verdict.DISAGREE)
        return self._end(Verdict.INCONCLUSIVE, NOT_FINITE)

    def smooth(self, last: bool) -> Comparison:
        """Where left and right derivatives agree."""
        difference = abs(self.analytic - self.numeric)
        is_twice = abs(self.analytic - self.second) > TWICE_MARGIN * self.second_error
        margin = MARGIN if difference > self.rtol * self.scale else TWICE_MARGIN if is_twice else SMALL_MARGIN
        is_narrow = self.epsilon > NARROW
        if self._is_zero() and self.error > self.rtol * self.scale:
            return self._end(Verdict.AGREE, zero=True)
        if difference > max(margin * self.error, (1.0 if is_narrow else NEGLIGIBLE) * self.rtol * self.scale):
            if self._confirmed():
                return self._end(Verdict.DISAGREE)
            if difference > self.rtol * self.scale:
                return self._inconclusive()
        # A difference of several estimates asks for a better one; if none comes, the resolution decides.
        if max(self.error, difference) <= self.rtol * self.scale and (difference <= self.error or last):
            return self._end(Verdict.AGREE, zero=self.scale == 0.0)
        return self._inconclusive()

    def _is_zero(self) -> bool:
        """Both are, to the eye; what cancels is off by all its terms' round-off, and that need not be random."""
        roundoffs, zero = _zeros(self.epsilon)
        numeric, error = self.wide
        nothing = abs(self.analytic) <= max(roundoffs * self.epsilon * self.natural, self.doubt)
        return nothing and abs(numeric) <= error <= max(zero * self.natural, TINY, 2.0 * self.doubt)

    def kinked(self, cotangent: Floats, single: bool) -> Comparison:
        """Between the one-sided derivatives of each output everything is a generalized gradient."""
        u, found = cotangent[self.active], self.derivative
        left, right = u * found.left[self.active], u * found.right[self.active]
        bent = ~found.smooth[self.active]
        middle = u * found.value[self.active]
        low = float(np.add.reduce(np.where(bent, np.minimum(left, right), middle)))
        high = float(np.add.reduce(np.where(bent, np.maximum(left, right), middle)))
        sided = np.maximum(found.left_error[self.active], found.right_error[self.active])
        error = float(np.abs(u) @ np.where(bent, sided, found.error[self.active])) + self.rtol * self.scale
        outside = max(low - self.analytic, self.analytic - high)
        if error > max(SIDED_RTOL, 2.0 * self.rtol) * max(self.scale, abs(low), abs(high)):
            return self._end(Verdict.INCONCLUSIVE, KINK)
        if not found.here[self.active][bent].all():
            # A kink nearby: the derivative here is that of one side, and nothing in between.
            outside = min(abs(self.analytic - low), abs(self.analytic - high)) if bent.sum() == 1 else np.inf
            return self._end(Verdict.AGREE) if outside <= error else self._end(Verdict.INCONCLUSIVE, NEAR_KINK)
        if outside <= error:
            return self._end(Verdict.AGREE)
        trusted = single and outside > SMALL_MARGIN * error
        return self._end(Verdict.DISAGREE) if trusted else self._end(Verdict.INCONCLUSIVE, KINK)

    def edge(self, cotangent: Floats) -> Comparison:
        """One-sided or unknown: it can agree; that it does not is no proof."""
        sided = self.derivative.one_sided | self.derivative.smooth
        known = np.isfinite(self.error) and sided[self.active].all()
        difference = abs(self.analytic - self.numeric)
        if known and self.error <= self.rtol * self.scale and difference <= self.error:
            return self._end(Verdict.AGREE)
        if known and self.error <= SIDED_RTOL * self.scale and difference > SMALL_MARGIN * self.error:
            return self._end(Verdict.INCONCLUSIVE, ONE_SIDED)
        return self._inconclusive()

    def _confirmed(self) -> bool:
        """Steps that the derivative did not use say the same, and say it of the difference too."""
        if self.derivative.noisy[self.active].any():
            return False
        second, doubt = self.second, self.second_error
        if self.epsilon > NARROW:  # smaller steps show noise for the most part: another line must do
            is_nearer = 2.0 * abs(second - self.numeric) < abs(second - self.analytic)
            return abs(second - self.numeric) <= self.error + doubt and (is_nearer or self.epsilon > FEW_DIGITS)
        return abs(second - self.numeric) <= self.error + doubt and abs(second - self.analytic) > MARGIN * doubt

    def _inconclusive(self) -> Comparison:
        reason = self.derivative.reason(self.active) if self.active.any() else NOISE
        return self._end(Verdict.INCONCLUSIVE, EDGE if not np.isfinite(self.error) and reason == NOISE else reason)

    def _end(self, verdict: Verdict, reason: str = "", *, zero: bool = False) -> Comparison:
        return Comparison(verdict, reason, self.analytic, self.numeric, self.error, self.scale, zero)


def _zeros(epsilon: float) -> tuple[float, float]:
    """What may pass for zero: round-offs of a gradient, and the part of the function's size that an error may be."""
    if epsilon <= NARROW:
        return ROUNDOFFS, ZERO
    return NARROW_ROUNDOFFS, min(NARROW_ZERO * epsilon, HIGHEST_ZERO)


def _norm(values: Floats) -> float:
    return float(np.sqrt(values @ values))


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What one line through all inputs shows, where everything on it agrees.

    Attributes
    ----------
    resolved : array of bool
        Groups of inputs for which the line is as telling as one of their own would be.
    zero : bool
        The derivative is zero in all groups.
    resolution : float
        The relative size of an error that would still have been seen, in a resolved group.
    """

    resolved: Flags
    zero: bool
    resolution: float


def survey(
    gradients: Sequence[Floats],
    direction: Floats,
    sizes: Sequence[int],
    cotangents: Sequence[Floats],
    derivative: Derivative,
    *,
    natural: Sequence[float],
    limit: float,
    epsilon: float = EPSILON,
) -> Survey | None:
    """Compare ``<J^T u, v>`` with ``<u, J v>`` for several u at once; None unless all agree at a smooth point.

    Parameters
    ----------
    gradients : sequence of arrays, shape (n,)
        J^T u for each of the cotangents.
    direction : array, shape (n,)
    sizes : sequence of int
        How many entries each group has; groups follow each other.
    cotangents : sequence of arrays, shape (m,)
    derivative : Derivative
    natural : sequence of float
        As in `compare`, for each cotangent.
    limit : float
        The error allowed, relative to the size of a group's part of the projection and per root of its entries.
    epsilon : float
        As in `compare`.
    """
    if not derivative.smooth.all():
        return None
    u = np.array(cotangents)
    size = np.abs(u)
    terms = np.array(gradients) * direction
    with np.errstate(all="ignore"):
        analytic = np.add.reduce(terms, axis=1)
        numeric = u @ derivative.value
        lengths = np.add.reduce(np.abs(terms), axis=1)
        error = size @ derivative.error + ROUNDOFFS * EPSILON * (lengths + size @ derivative.curvature)
        if epsilon > NARROW:
            norms = np.sqrt(np.add.reduce(terms * terms, axis=1))
            error += NARROW_ROUNDOFFS * epsilon * (norms + size @ derivative.curvature)
        wide, wide_error = numeric.copy(), error.copy()
        if u.shape[1] > 1 and derivative.sums is not None:
            for row, one in enumerate(u):
                total, total_error, _, _ = derivative.sums.total(one)
                extra = error[row] - size[row] @ derivative.error
                if total_error + extra < error[row]:
                    numeric[row], error[row] = total, total_error + extra
    starts = np.cumsum([0, *sizes[:-1]])
    scale = np.maximum(
        np.sqrt(np.add.reduceat(terms * terms, starts, axis=1)), np.abs(np.add.reduceat(terms, starts, axis=1))
    )
    resolved = ((error[:, None] <= limit * scale / np.sqrt(sizes)) & (scale > 0.0)).all(axis=0)
    least = np.asarray(natural)
    roundoffs, none = _zeros(epsilon)
    nothing = (np.abs(analytic) <= roundoffs * epsilon * least) & (np.abs(wide) <= wide_error)
    zero = bool((nothing & (wide_error <= np.maximum(none * least, TINY))).all())
    if not zero and not (np.abs(analytic - numeric) <= error).all():
        return None
    resolution = float((error / scale[:, resolved].min(axis=1)).max()) if resolved.any() else 0.0
    return Survey(resolved, zero, resolution)
