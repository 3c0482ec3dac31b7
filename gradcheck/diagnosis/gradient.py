"""Why a gradient is not the derivative: the simplest usual mistake that explains what is measured at the point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gradcheck.checks.claim import Subject
from gradcheck.checks.evaluation import flat
from gradcheck.checks.layout import transposed as laid_transposed
from gradcheck.diagnosis import patterns, probes
from gradcheck.diagnosis.case import PROBED, Case
from gradcheck.diagnosis.cotangent import cotangent, is_linear, keeps_state, stale
from gradcheck.diagnosis.extent import extent_of
from gradcheck.diagnosis.patterns import Diagnosis
from gradcheck.diagnosis.place import place_of_it
from gradcheck.diagnosis.slopes import Slopes, is_coarse, measured, pulled, spread
from gradcheck.failures import Finding
from gradcheck.mistake import Mistake
from gradcheck.program import Array


def gradient_mistake(subject: Subject, finding: Finding, first: Subject | None = None) -> Diagnosis:
    """The simplest mistake that explains why `vjp_matches_numeric` fails."""
    evidence = finding.evidence
    if evidence is not None and evidence.way in ("raised", "misfit"):
        return Diagnosis(Mistake.FORM, "")
    if is_coarse(subject):
        return Diagnosis()
    case = Case(subject, finding, first)
    if not case.wrong:
        return _right_alone(case)
    made = next((made for look in _LOOKS if (made := look(case)) is not None), Diagnosis())
    return replace(made, extent=extent_of(case.wrong))


def _right_alone(case: Case) -> Diagnosis:
    """Right from a fresh record of contiguous inputs, for a usual cotangent: what is around it is wrong."""
    if keeps_state(case):
        return Diagnosis(Mistake.STATE, "the gradient is right in the first backward pass only")
    if any(not x.flags.c_contiguous for x in case.subject.inputs):
        return Diagnosis(Mistake.LAYOUT, "the gradient is right for contiguous inputs")
    for k in case.moved:
        if not is_linear(case, k):
            return Diagnosis(Mistake.COTANGENT, f"the gradient of x{k} is right for some cotangents only")
    return Diagnosis()


# All over ------------------------------------------------------------------------------------------------------------


def simple(case: Case) -> Diagnosis | None:
    """A factor, a sign, zero, transposed, conjugate, of another input."""
    for slopes in case.wrong:
        made = _simple(case, slopes)
        if made is not None:
            return made
    return None


def _simple(case: Case, slopes: Slopes) -> Diagnosis | None:
    k = slopes.position
    of = f"the gradient of x{k} is"
    if not slopes.analytic.any():
        return Diagnosis(Mistake.ZERO, f"{of} 0 everywhere")
    if not np.isfinite(slopes.found).all():
        return None
    if patterns.conjugate(slopes) or _conjugates(case, k):
        return Diagnosis(Mistake.CONJUGATE, f"{of} the conjugate of the right one")
    times = patterns.factor(slopes)
    if times is not None and _holds(case, slopes):
        mistake = Mistake.SIGN if abs(times + 1.0) <= 1e-4 else Mistake.FACTOR
        digits = 5 if case.subject.epsilon < 1e-12 else 2
        return Diagnosis(mistake, f"{of} {patterns.described(times, digits)}{_which(case, k, times)}")
    if patterns.transposed(slopes):
        return Diagnosis(Mistake.TRANSPOSED, f"{of} the transpose of the right one")
    other = patterns.is_of_another(slopes, case.slopes.values())
    if other is not None:
        return Diagnosis(Mistake.SWAPPED, f"{of} that of x{other}")
    if patterns.lost_precision(slopes):
        return Diagnosis(Mistake.PRECISION, f"{of} right in its first digits only")
    return None


def _conjugates(case: Case, k: int) -> bool:
    """Whether it is the right one for the conjugate of the cotangent (complex tensors are pairs of real ones)."""
    slopes = case.slopes[k]
    outputs = case.evaluation.outputs
    if slopes.point.ndim == 0 or slopes.point.shape[-1] != 2:
        return False
    if not any(y.ndim and y.shape[-1] == 2 for y in outputs):
        return False
    signs = flat([np.where(np.arange(y.size).reshape(y.shape) % 2, -1.0, 1.0) if y.ndim and y.shape[-1] == 2
                  else np.ones(y.shape) for y in outputs])  # fmt: skip
    gradient = case.fresh(signs * case.u, k)[slopes.places]
    return slopes.same_as(gradient) or slopes.same_as(np.where(slopes.places % 2, -1.0, 1.0) * gradient)


def _holds(case: Case, slopes: Slopes) -> bool:
    """Whether a factor of one entry is that of another point too: one number fits any other."""
    if slopes.point.size > 1 and np.count_nonzero(slopes.numeric) > 1:
        return True
    there = case.probed(probes.nearby(case.subject, case.inputs), slopes.position, slopes.places)
    if there is None:
        return False
    here, other = (float(s.found[0] / s.numeric[0]) if s.numeric[0] else np.nan for s in (slopes, there))
    return bool(abs(here - other) <= 1e-6 * abs(here))


def _which(case: Case, k: int, times: float) -> str:
    """``: the number of rows``, where the factor is a size and changes with it."""
    for n, words in patterns.sizes(case.inputs, k):
        for value, before in ((float(n), ""), (1.0 / n, "one over ")):
            if abs(times - value) <= 1e-6 * value and n > 2 and _changes(case, k, times):
                return f": {before}{words}"
    return ""


def _changes(case: Case, k: int, times: float) -> bool:
    cut = probes.window(case.inputs, k, 0)
    if cut is None:
        return False
    found = case.probed(cut[0], k, np.arange(cut[0][k].size))
    other = None if found is None else patterns.factor(found)
    return other is not None and abs(other - times) > 1e-6 * abs(times)


# Some entries, or parts ----------------------------------------------------------------------------------------------


def broadcast(case: Case) -> Diagnosis | None:
    """Right for a part of the output along an axis: the rest of a broadcast or reduced axis is left out."""
    for slopes in case.wrong:
        for y, start in _outputs(case):
            for axis in range(y.ndim):
                if y.shape[axis] > 1 and _is_missing(case, slopes, y, start, axis):
                    text = f"the gradient of x{slopes.position} uses one place of the output's axis {axis} only"
                    return Diagnosis(Mistake.BROADCAST, text)
    return None


def _outputs(case: Case) -> list[tuple[Array, int]]:
    starts = np.cumsum([0, *(y.size for y in case.evaluation.outputs)])
    return [(y, int(start)) for y, start in zip(case.evaluation.outputs, starts, strict=False)]


def _is_missing(case: Case, slopes: Slopes, y: Array, start: int, axis: int) -> bool:
    """Whether the gradient is right for cotangents of the first (or last) place along `axis`, and 0 for the others."""
    k = slopes.position
    for kept in (0, y.shape[axis] - 1):
        mask = np.zeros(y.shape, dtype=bool)
        mask[(slice(None),) * axis + (kept,)] = True
        part = np.zeros(case.u.size)
        part[start : start + y.size] = np.where(mask.reshape(-1), case.u[start : start + y.size], 0.0)
        rest = np.where(part != 0.0, 0.0, case.u)
        if case.fresh(rest, k).any():
            continue
        places = slopes.places[spread(len(slopes.places), PROBED)]
        if measured(case.subject, case.inputs, part, k, places).is_right:
            missed = measured(case.subject, case.inputs, rest, k, places)
            return bool(np.count_nonzero(missed.numeric[missed.known]) > 1 or missed.point.size == 1)
    return False


def entries(case: Case) -> Diagnosis | None:
    """Right at most entries: single ones are wrong, at places or for values."""
    for slopes in case.wrong:
        if not patterns.few(slopes):
            continue
        k, wrong = slopes.position, slopes.wrong
        zeros = "" if slopes.found[wrong].any() else "0 "
        count = f"{int(wrong.sum())} of {len(wrong)} entries"
        text = f"the gradient of x{k} is {zeros or 'wrong '}at {count}"
        text += " where it should not be" if zeros else ""
        there = case.probed(probes.reversed_order(case.inputs), k, slopes.places)
        if there is not None and not np.array_equal(there.wrong, wrong) and there.known.all():
            mirrored = np.array_equal(there.wrong[::-1], wrong)
            if mirrored:
                return Diagnosis(Mistake.REGION, f"{text}; it follows their values")
        return Diagnosis(Mistake.ENTRY, text)
    return None


def term(case: Case) -> Diagnosis | None:
    """Nothing simpler fits: a term is missing or too many, of which something may be known."""
    slopes = case.wrong[0]
    k = slopes.position
    others = [(f"a multiple of the gradient of x{j}", g) for j, g in pulled(case.recorded(case.inputs), case.u).items()
              if j != k]  # fmt: skip
    others.append(("the same number at every entry", np.ones(slopes.analytic.size)))
    others.append((f"a multiple of x{k}", np.asarray(case.inputs[k], dtype=np.float64).reshape(-1)))
    name = patterns.lacks(slopes, others)
    return Diagnosis(Mistake.TERM, f"what the gradient of x{k} lacks is {name}" if name else "")


def layout(case: Case) -> Diagnosis | None:
    """Right for inputs that lie transposed in memory: it reads them in that order."""
    if not any(x.ndim > 1 for x in case.inputs):
        return None
    turned = tuple(laid_transposed(x) for x in case.inputs)
    for slopes in case.wrong:
        found = pulled(case.recorded(turned), case.u)[slopes.position]
        if slopes.same_as(found[slopes.places]):
            return Diagnosis(Mistake.LAYOUT, "the gradient is right for inputs that lie transposed in memory")
    return None


_LOOKS: tuple[Callable[[Case], Diagnosis | None], ...] = (
    cotangent, stale, place_of_it, simple, broadcast, layout, entries, term,
)  # fmt: skip
