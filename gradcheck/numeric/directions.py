"""Where to look: random directions and cotangents of both signs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gradcheck.numeric.differences import Floats

# Entries smaller than this part of the largest one move as if they had this size: small enough that a step seldom
# carries an entry across zero, large enough that every entry shows in the projection.
SMALLEST = 2.0**-4
# Entries below this part of the largest one, and not zero, are of another scale, where no ladder would see what happens
# at theirs: its smallest windows begin at 2**-27. They move by their own size.
OTHER_SCALE = 2.0**-20
# Magnitudes are integers of this range, over the power of two between them.
LEAST, MOST = 64, 256
# The probability that wrong entries cancel along every line.
MISSED = 1e-4


def lines(missed: float = MISSED) -> int:
    """How many lines leave a wrong gradient unseen with a probability of at most `missed`.

    One wrong entry is part of every projection, by at least a quarter of its error, and cannot be missed. Several
    cancel where one of them has just the magnitude that the others ask for: one in 192, if each of the errors is some
    hundreds of times what can be seen. Whether they do along one line is independent of the others.

    Raises
    ------
    ValueError
        If `missed` is not between 0 and 1.
    """
    if not 0.0 < missed < 1.0:
        raise ValueError(f"missed: expected a probability between 0 and 1, got {missed!r}")
    return max(1, int(np.ceil(np.log(missed) / -np.log(MOST - LEAST))))


def signs(random: np.random.Generator, size: int) -> Floats:
    """Ones of both signs in random order, as many of one as of the other (but for one)."""
    made = np.ones(size)
    made[: size // 2] = -1.0
    if size % 2 and random.random() < 0.5:
        made = -made
    random.shuffle(made)
    return made


def magnitudes(random: np.random.Generator, size: int) -> Floats:
    """Short binary fractions between a half and two: exact in every floating dtype, none of them zero."""
    return random.integers(LEAST, MOST, size=size) / 128.0


def direction(
    random: np.random.Generator, values: npt.NDArray[Any], *, few: bool = False, wide: bool = False
) -> Floats:
    """A direction that changes each entry of `values` by its own size, half of them downwards.

    Parameters
    ----------
    values : array
        The input. Entries below 1/16 of the largest are moved by that much, unless they are of another scale
        altogether; an all-zero input by about 1.
    few : bool
        By a power of two: steps are exact then where values have few digits.
    wide : bool
        Entries of another scale too are moved by a part of the largest.

    Returns
    -------
    array of float64 with the shape of `values`
    """
    size = np.abs(np.asarray(values, dtype=np.float64))
    size = np.where(np.isfinite(size), size, 0.0)
    largest = float(size.max(initial=0.0)) or 1.0
    # An exact zero says nothing of its scale; the largest entry's is as good a guess as any.
    own = np.zeros(size.shape, dtype=np.bool_) if wide else is_of_another_scale(size)
    size = np.where(size == 0.0, largest, np.where(own, size, np.maximum(size, SMALLEST * largest)))
    step = signs(random, size.size)
    step *= 2.0 ** random.integers(-1, 2, size=size.size) if few else magnitudes(random, size.size)
    # Steps of a few bits: x + t * v is then exact down to t = 2**-33. A direction whose last bits are rounded off in
    # the sum is another direction, by up to 2**-32 and at all small steps alike, which no noise measure sees.
    return np.asarray(step.reshape(size.shape) * 2.0 ** np.rint(np.log2(size)))


def is_of_another_scale(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which entries are so small beside the largest one that their scale must be another."""
    size = np.abs(np.asarray(values, dtype=np.float64))
    largest = float(np.max(np.where(np.isfinite(size), size, 0.0), initial=0.0))
    return np.asarray((size > 0.0) & (size < OTHER_SCALE * largest), dtype=np.bool_)


def cotangent(random: np.random.Generator, size: int) -> Floats:
    """A cotangent of `size` entries, half of them negative."""
    return signs(random, size) * magnitudes(random, size)


def opposite(random: np.random.Generator, first: Floats) -> Floats:
    """A second cotangent whose every entry has the other sign, so that each output sees both."""
    return np.asarray(-np.sign(first) * magnitudes(random, first.size))
