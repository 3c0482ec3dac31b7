"""What a backward does with the cotangent, and with what it keeps between passes; no slopes are needed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gradcheck.checks.evaluation import Evaluation
from gradcheck.checks.passes import place, run
from gradcheck.diagnosis import probes
from gradcheck.diagnosis.case import PROBED, Case, near
from gradcheck.diagnosis.patterns import Diagnosis
from gradcheck.diagnosis.slopes import measured, pulled, spread
from gradcheck.mistake import Mistake
from gradcheck.numeric import directions
from gradcheck.numeric.differences import Floats

# Sizes of the cotangent at which a threshold of a gradient is looked for: so close that some entries are on each side.
_SCALES = tuple(2.0**-e for e in range(0, 40, 2))
# By how much an axis grows to a size that no call had.
_NEW = 7


def cotangent(case: Case) -> Diagnosis | None:
    """Not linear in the cotangent: which way, from a handful of backward passes."""
    for k in case.moved:
        text = _nonlinearity(case, k)
        if text:
            if text.startswith("0 where"):
                return Diagnosis(Mistake.REGION, f"the gradient of x{k} is {text}")
            return Diagnosis(Mistake.COTANGENT, f"the gradient of x{k} {text}")
    return None


def _nonlinearity(case: Case, k: int) -> str:
    one, part = case.fresh(case.u, k), case.linear
    if not np.isfinite(one).all():
        return ""
    away, twice = case.fresh(-case.u, k), case.fresh(2.0 * case.u, k)
    if near(one, away, part) and one.any():
        return "is the same for every cotangent" if near(one, twice, part) else "ignores the cotangent's sign"
    is_odd, doubles = near(one, -away, part), near(2.0 * one, twice, part)
    if is_odd and doubles:
        large, small = case.fresh(1e6 * case.u, k), case.fresh(1e-6 * case.u, k)
        if not (near(1e6 * one, large, part) and near(1e-6 * one, small, part)):
            if _cuts_what_is_tiny(case, k, large / 1e6):
                return "0 where it is tiny"
            return "is another one for cotangents of 1e6 or 1e-6"
        halves = [np.where(np.arange(case.u.size) % 2 == odd, case.u, 0.0) for odd in (0, 1)]
        if case.u.size > 1 and not near(one, case.fresh(halves[0], k) + case.fresh(halves[1], k), max(part, 1e-8)):
            return "is not the sum of those for the cotangent's parts"
        return ""
    if doubles:
        return "for the negative of a cotangent is not the negative one"
    if near(np.abs(one), np.abs(twice), part):
        return "depends on the cotangent's sign alone"
    if _cuts_what_is_tiny(case, k, case.fresh(1e6 * case.u, k) / 1e6):
        return "0 where it is tiny"
    return "does not double with the cotangent" + ("" if is_odd else ", nor change its sign")


def _cuts_what_is_tiny(case: Case, k: int, whole: Floats) -> bool:
    """Whether entries are 0 below a size of the gradient, and not below a size of the cotangent; else as they are."""
    kept, cut, kept_u, cut_u = [], [], [], []
    for scale in _SCALES:
        found = case.fresh(scale * case.u, k) / scale
        is_cut = (found == 0.0) & (whole != 0.0)
        if not near(whole[~is_cut], found[~is_cut], case.linear):
            return False
        kept += [*scale * np.abs(whole[~is_cut])]
        cut += [*scale * np.abs(whole[is_cut])]
        if case.u.size == whole.size:
            kept_u += [*scale * np.abs(case.u[~is_cut])]
            cut_u += [*scale * np.abs(case.u[is_cut])]
    if not (kept and cut) or max(cut) > min(kept):
        return False
    return not cut_u or max(cut_u) > min(kept_u)


def keeps_state(case: Case) -> bool:
    """Whether a second pass over one record, or a forward at other numbers between record and pass, changes it."""
    at = case.recorded(case.inputs)
    first = pulled(at, case.u)
    with case.subject.engine.no_grad():
        other = replace(case.subject, inputs=probes.nearby(case.subject, case.inputs))
        run(other, place(other, other.inputs))
    second = pulled(at, case.u)
    return any(not near(first[k], second[k], case.linear) for k in case.moved)


def is_linear(case: Case, k: int) -> bool:
    """Whether the gradient is the sum of those of two parts, and that of a multiple is the multiple."""
    parts = [np.where(np.arange(case.u.size) % 2 == odd, case.u, 0.0) for odd in (0, 1)]
    whole = case.fresh(case.u, k)
    return near(whole, case.fresh(parts[0], k) + case.fresh(parts[1], k), case.linear) and near(
        -64.0 * whole, case.fresh(-64.0 * case.u, k), case.linear
    )


def stale(case: Case) -> Diagnosis | None:
    """Another shape's first call is right and its second one has the gradient of the first: something was kept."""
    slopes = case.wrong[0]
    k, random = slopes.position, case.subject.generator("diagnosis: stale")
    there = probes.nearby(case.subject, case.inputs)
    if not near(slopes.analytic, pulled(case.recorded(there), case.u)[k], case.linear):
        return None
    grown = tuple(np.resize(x, tuple(n + _NEW if n > 1 else n for n in x.shape)) for x in case.inputs)
    if grown[k].shape == case.inputs[k].shape:
        return None
    inputs = probes.nearby(case.subject, grown)
    u = directions.cotangent(random, Evaluation(replace(case.subject, inputs=inputs)).size)
    places = spread(inputs[k].size, PROBED)
    first = measured(case.subject, inputs, u, k, places)
    second = measured(case.subject, probes.nearby(case.subject, inputs), u, k, places)
    if first.is_right and second.wrong.any() and near(first.found, second.found, case.linear):
        return Diagnosis(Mistake.STATE, "the first call of a shape is right, later ones have its gradient")
    return None
