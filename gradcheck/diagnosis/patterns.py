"""What a gradient that is wrong all over has in common with the right one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gradcheck.diagnosis.slopes import Slopes
from gradcheck.mistake import Mistake
from gradcheck.numeric.differences import Floats
from gradcheck.program import Array

# A gradient off by a smaller part of its size, and by no constant factor, has lost digits: float32 has seven.
_LOST = 1e-5
# The part of the entries that are wrong up to which these are single ones.
_SINGLE = 0.5


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The usual mistake that a finding looks like (None where it looks like none), in words of its own.

    `extent` says how many entries of the gradient are wrong, where several are.
    """

    mistake: Mistake | None = None
    text: str = ""
    extent: str = ""


def factor(slopes: Slopes) -> float | None:
    """The number that the gradient is of the right one at all entries; None if there is none, or one entry only."""
    known = slopes.known
    right, found = slopes.numeric[known], slopes.found[known]
    fits = np.abs(right) > 0.0
    if not fits.any() or not np.isfinite(found).all():
        return None
    if np.count_nonzero(np.abs(right) > slopes.allowed()[known]) < 2 and slopes.point.size > 1:
        return None
    times = float(right @ found / (right @ right))
    gap = np.abs(found - times * right)
    allowed = max(1.0, abs(times)) * slopes.allowed(slopes.scale)[known]
    return times if (gap <= allowed).all() else None


def transposed(slopes: Slopes) -> bool:
    """Whether two axes of equal size are exchanged."""
    shape = slopes.point.shape
    gradient = slopes.analytic.reshape(shape)
    for i in range(len(shape)):
        for j in range(i):
            if shape[i] == shape[j] > 1:
                turned = np.swapaxes(gradient, i, j).reshape(-1)[slopes.places]
                if slopes.same_as(turned):
                    return True
    return False


def is_of_another(slopes: Slopes, others: Iterable[Slopes]) -> int | None:
    """The input whose gradient it is."""
    for other in others:
        same_shape = other.point.shape == slopes.point.shape and other.position != slopes.position
        if same_shape and np.array_equal(other.places, slopes.places) and other.same_as(slopes.found):
            return other.position
    return None


def conjugate(slopes: Slopes) -> bool:
    """Whether every imaginary part has the wrong sign, in an input that is a pair of real ones."""
    if not slopes.point.ndim or slopes.point.shape[-1] != 2 or slopes.point.size < 4:
        return False
    signs = np.where(slopes.places % 2 == 1, -1.0, 1.0)
    imaginary = slopes.known & (slopes.places % 2 == 1)
    return bool(np.any(slopes.numeric[imaginary] != 0.0) and slopes.same_as(signs * slopes.found))


def lost_precision(slopes: Slopes) -> bool:
    """Whether all that is wrong are late digits."""
    known = slopes.known
    gap = np.abs(slopes.found - slopes.numeric)[known]
    return bool(np.isfinite(gap).all() and gap.max(initial=0.0) <= _LOST * slopes.scale)


def lacks(slopes: Slopes, others: Sequence[tuple[str, Floats]]) -> str:
    """The name of the array that the missing part is a multiple of; "" if of none."""
    known = slopes.known
    missing = (slopes.numeric - slopes.found)[known]
    if len(missing) < 3:
        return ""
    for name, values in others:
        if values.shape != slopes.analytic.shape:
            continue
        part = values[slopes.places][known]
        size = float(part @ part)
        if size and np.all(np.abs(missing - (missing @ part) / size * part) <= slopes.allowed()[known]):
            return name
    return ""


def few(slopes: Slopes) -> bool:
    """Whether some entries are right (and not by being zero), and at most half are wrong."""
    wrong = slopes.wrong
    right = slopes.known & ~wrong & (np.abs(slopes.numeric) > 0.0)
    return bool(right.any() and wrong.sum() <= _SINGLE * slopes.known.sum())


def described(times: float, digits: int = 5) -> str:
    """``0.5 times the right one everywhere``: all digits where it is as near to 1 as that."""
    text = f"{times:.{digits}g}"
    near = abs(times - 1.0)
    if float(text) == 1.0 and near:
        text = f"1 {'+' if times > 1.0 else '-'} {near:.1g}"
    return f"{text} times the right one everywhere"


def sizes(inputs: Sequence[Array], k: int) -> list[tuple[int, str]]:
    """What a factor may be the number of: all entries, or those along an axis."""
    x = inputs[k]
    found = [
        (x.shape[axis], "rows" if x.ndim == 2 and not axis else f"entries along axis {axis}") for axis in range(x.ndim)
    ]
    found.append((x.size, "entries"))
    for j, other in enumerate(inputs):
        if j != k:
            found += [(other.shape[a], f"entries along axis {a} of x{j}") for a in range(other.ndim)]
            found.append((other.size, f"entries of x{j}"))
    return [(n, f"the number of {words}") for n, words in found if n > 1]
