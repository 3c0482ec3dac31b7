"""Where a gradient is wrong: at special values, for some sizes, in a region of values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradcheck.diagnosis import probes
from gradcheck.diagnosis.case import PROBED, Case
from gradcheck.diagnosis.patterns import Diagnosis
from gradcheck.diagnosis.slopes import Slopes, spread
from gradcheck.mistake import Mistake
from gradcheck.program import Array


def place_of_it(case: Case) -> Diagnosis | None:
    """Wrong at special values, for some sizes, in a region: right beside the point in one of these respects."""
    worst = case.wrong[0]
    k, inputs = worst.position, case.inputs
    places = _worst_places(worst)
    near = case.probed(probes.nearby(case.subject, inputs), k, places)
    if near is not None and near.is_right:
        what = probes.is_special(inputs)
        other = case.probed(probes.nearby(case.subject, inputs, side=-1.0), k, places)
        if what and (other is None or not other.wrong.any()):
            return Diagnosis(
                Mistake.SPECIAL, f"the gradient of x{k} is right for other values nearby, wrong for {what}"
            )
        return Diagnosis(Mistake.REGION, f"the gradient of x{k} is right for other values nearby")
    if not np.isfinite(worst.found).all():
        return Diagnosis(Mistake.OVERFLOW, f"the gradient of x{k} is not finite where the derivative is")
    return _by_size(case, worst) or _by_region(case, worst, places)


def _worst_places(slopes: Slopes) -> Array:
    """Some entries that are wrong."""
    wrong = slopes.places[slopes.wrong]
    return np.asarray(wrong[spread(len(wrong), PROBED)])


def _is_tail(slopes: Slopes) -> bool:
    """Whether all is wrong from some place on, in memory order or along an axis: what a size leaves out is."""
    known, wrong = slopes.known, slopes.wrong
    for at in (slopes.places, *np.unravel_index(slopes.places, slopes.point.shape)):
        if wrong[known & (at >= at[wrong].min())].all():
            return True
    return False


def _by_size(case: Case, worst: Slopes) -> Diagnosis | None:
    if worst.point.ndim and not _is_tail(worst):
        return None
    first, k = case.first, worst.position
    cut = probes.window(case.inputs, k, int(_worst_places(worst)[-1]))
    if cut is None and not (first is not None and _shapes(first.inputs) != _shapes(case.inputs)):
        return None
    text = f"the gradient of x{k} is wrong for shape {case.inputs[k].shape}"
    if cut is not None:
        inputs, entry = cut
        one = np.array([int(np.ravel_multi_index(entry, inputs[k].shape)) if entry else 0])
        found = case.probed(inputs, k, one)
        if found is not None and found.is_right and _is_right_at_generic(case, inputs, k, one):
            return Diagnosis(Mistake.SIZE, f"{text}, right for {inputs[k].shape}")
        return None
    if first is not None and case.inputs[k].shape != first.inputs[k].shape and worst.analytic.any():
        tame = tuple(np.resize(x, y.shape).astype(y.dtype) for x, y in zip(first.inputs, case.inputs, strict=True))
        found = case.probed(probes.nearby(case.subject, tame), k, _worst_places(worst))
        if found is not None and found.wrong.any():
            return Diagnosis(Mistake.SIZE, f"{text}, right for {first.inputs[k].shape}")
    return None


def _is_right_at_generic(case: Case, inputs: tuple[Array, ...], k: int, places: Array) -> bool:
    found = case.probed(probes.nearby(case.subject, inputs), k, places)
    return found is None or not found.wrong.any()


def _shapes(inputs: Sequence[Array]) -> list[tuple[int, ...]]:
    return [x.shape for x in inputs]


def _by_region(case: Case, worst: Slopes, places: Array) -> Diagnosis | None:
    k = worst.position
    if case.first is not None and _shapes(case.first.inputs) == _shapes(case.inputs):
        found = case.probed(probes.nearby(case.subject, case.first.inputs), k, places)
        if found is not None and found.is_right:
            return Diagnosis(Mistake.REGION, f"the gradient of x{k} is {_threshold(worst)}right at the first input")
    for name, inputs in probes.elsewhere(case.subject, case.inputs):
        found = case.probed(inputs, k, places)
        if (
            found is not None
            and found.is_right
            and len(found.places) == np.count_nonzero(found.known & (found.numeric != 0.0))
        ):
            return Diagnosis(Mistake.REGION, f"the gradient of x{k} is {_threshold(worst)}right {name}")
    return None


def _threshold(slopes: Slopes) -> str:
    """``wrong for values above 3, `` where the values tell right entries from wrong ones."""
    values = slopes.point.reshape(-1)[slopes.places]
    wrong = slopes.wrong
    right = slopes.known & ~wrong
    if not right.any():
        return "wrong here, "
    for word, sign in (("above", 1.0), ("below", -1.0)):
        if (sign * values[wrong]).min() > (sign * values[right]).max():
            return f"wrong for values {word} {sign * (sign * values[right]).max():.3g}, "
    return "wrong here, "
