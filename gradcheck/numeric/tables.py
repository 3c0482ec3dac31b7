"""Richardson tables over windows of consecutive steps of ratio two: values, error estimates, and which one is best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gradcheck.numeric.rises import Flags, Floats

EPSILON = float(np.finfo(np.float64).eps)

# Standard deviations of the measured noise that count as possible: the noise is measured from few samples. Found on
# tests/gradcheck/numeric/family.py, where the true error exceeds the last effort's estimate in under 1 of 1,000 draws.
DEVIATIONS = 8.0
# The difference of two tables of lower order, over this, is never undercut: it keeps a lucky coincidence of the two
# best tables from passing as accuracy. Smooth functions gain a factor of 2**10 and more between them.
CONVERGENCE = 64.0
# How far the estimates of two windows may be exceeded before the one with the larger steps is dropped.
DOUBT = 1.5
# By how much the estimates of windows next to a dropped one count more.
STRADDLES = 4.0
# The windows of smallest steps are never the answer: nothing could contradict them.
WITNESSES = 3


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Weights of a Richardson table over `size` steps of ratio two: best, next best and third, and their noise."""

    size: int
    weights: Floats
    spread: float

    @staticmethod
    def of(size: int, first: int, stride: int) -> Table:
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
        return Table(size, rows, spread)


def windows(quotients: Floats, steps: Floats, noise: Floats, table: Table, gain: float) -> tuple[Floats, Floats]:
    """Value and error estimate of each window of consecutive steps, shape (windows, outputs); noise is as quotients."""
    count = len(steps) - table.size + 1
    best, lower, lowest = (
        np.add.reduce([weight * quotients[i : i + count] for i, weight in enumerate(row) if weight])
        for row in table.weights
    )
    error = 2.0 * np.maximum(np.abs(best - lower), np.abs(lower - lowest) / gain)
    # Round-off of the values, as measured nearby, and of the arguments, which grows with the step.
    error = error + (DEVIATIONS * table.spread) * (noise[:count] / steps[:count, None] + EPSILON * np.abs(best))
    # The next window is a second opinion, independent of the table's own: it keeps coincidences out.
    error[:-1] += np.where(np.isfinite(best[1:]), np.abs(best[:-1] - best[1:]), 0.0)
    error = np.where(np.isfinite(best) & np.isfinite(error), error, np.inf)
    wrong = _contradicted(best, error) & np.isfinite(error)
    # Beside a window with a kink in it there is one with a part of that in it, too little to be contradicted.
    beside = np.zeros_like(wrong)
    for k in range(1, table.size + 1):
        beside[k:] |= wrong[:-k]
    return best, np.where(wrong, np.inf, np.where(beside, STRADDLES * error, error))


def _contradicted(values: Floats, errors: Floats) -> Flags:
    """Windows that disagree with one of smaller steps: those are noisier, but no curve or kink hides between them."""
    low = np.where(np.isfinite(errors), values - DOUBT * errors, -np.inf)[::-1]
    high = np.where(np.isfinite(errors), values + DOUBT * errors, np.inf)[::-1]
    return np.asarray(np.maximum.accumulate(low, axis=0) > np.minimum.accumulate(high, axis=0))[::-1]


def best_of(values: Floats, errors: Floats, apart: int) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """The window with the smallest estimate, and the best of those that share no step with it."""
    errors[-WITNESSES:] = np.inf
    first = errors.argmin(axis=0)
    near = np.abs(np.arange(len(values))[:, None] - first) < apart
    others = np.where(near, np.inf, errors)
    return _at(values, errors, first), _at(values, others, others.argmin(axis=0))


def _at(values: Floats, errors: Floats, window: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    columns = np.arange(values.shape[1])
    return values[window, columns], errors[window, columns]


def pick(where: Flags, yes: tuple[Floats, Floats], no: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """Values and errors of one of two, output by output."""
    return np.where(where, yes[0], no[0]), np.where(where, yes[1], no[1])
