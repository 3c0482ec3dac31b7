"""From a gradient that is wrong to the likely mistake, in a few words."""

from __future__ import annotations

import numpy as np

from gradcheck.checks.claim import Subject
from gradcheck.checks.passes import contiguous, draw_like, positions, pulled, values
from gradcheck.numeric.differences import FEW_DIGITS, NARROW
from gradcheck.program import Array

# A larger gradient would take longer to difference than its pattern is worth.
_ENTRIES = 64
# Plain central differences are good to about 1e-9 here; what differs by less than this is taken for equal.
_SAME = 1e-5
_STEP = 1e-5
# The same in float32. What has fewer digits shows no pattern.
_NARROW_SAME = 1e-2
_NARROW_STEP = 2.0**-7


def diagnose(subject: Subject) -> str:
    """What the wrong gradient has in common with the right one, over all its entries.

    Parameters
    ----------
    subject : Subject
        One whose gradient is known to be wrong.

    Returns
    -------
    str
        "the gradient of x0 is 0.5 times the right one everywhere", "... is the transpose of the right one", "... is 0
        at 2 of 6 entries where it should not be"; "" where nothing so simple fits.
    """
    if subject.epsilon > FEW_DIGITS:
        return ""
    same = _NARROW_SAME if subject.epsilon > NARROW else _SAME
    inputs = tuple(contiguous(x) for x in subject.inputs)
    cotangents = draw_like(values(subject, inputs), subject.generator("diagnosis"))
    found = pulled(subject, inputs, cotangents)[len(cotangents) :]
    for k, gradient in zip(positions(subject), found, strict=True):
        if not 0 < inputs[k].size <= _ENTRIES or inputs[k].dtype.kind != "f":
            continue
        right, finer = (_differenced(subject, inputs, k, cotangents, part) for part in (1.0, 0.25))
        # Where a step crosses a jump, differences grow as it shrinks: nothing is like them.
        pattern = _pattern(gradient, right, same) if _same(right, finer, same * float(np.abs(right).max())) else ""
        if pattern:
            return f"the gradient of x{k} is {pattern}"
    return ""


def _differenced(
    subject: Subject, inputs: tuple[Array, ...], k: int, cotangents: tuple[Array, ...], part: float
) -> Array:
    """The gradient of <u, f> for input `k` by plain central differences, with a part of the usual step."""
    result = np.zeros(inputs[k].shape)
    step = part * (_NARROW_STEP if subject.epsilon > NARROW else _STEP)
    for entry in np.ndindex(result.shape):
        ends = []
        for way in (1.0, -1.0):
            moved = contiguous(inputs[k])
            moved[entry] += way * step
            outputs = values(subject, (*inputs[:k], moved, *inputs[k + 1 :]))
            ends.append(sum(float(np.sum(u * y, dtype=np.float64)) for u, y in zip(cotangents, outputs, strict=True)))
        result[entry] = (ends[0] - ends[1]) / (2.0 * step)
    return result


def _pattern(gradient: Array, right: Array, same: float) -> str:
    scale = float(np.abs(right).max())
    if not (np.isfinite(gradient).all() and np.isfinite(right).all()) or not scale:
        return ""
    wrong = np.abs(gradient - right) > same * scale
    if not wrong.any():
        return ""
    if gradient.ndim == 2 and gradient.shape[0] == gradient.shape[1] > 1 and _same(gradient.T, right, same * scale):
        return "the transpose of the right one"
    factor = float(np.sum(gradient * right) / np.sum(right * right))
    if np.count_nonzero(right) > 1 and _same(gradient, factor * right, same * scale):
        digits = 5 if same == _SAME else 2
        return f"{factor:.{digits}g} times the right one everywhere" if gradient.any() else "0 everywhere"
    if not gradient[wrong].any():
        return f"0 at {int(wrong.sum())} of {wrong.size} entries where it should not be"
    return ""


def _same(a: Array, b: Array, apart: float) -> bool:
    return bool((np.abs(a - b) <= apart).all())
