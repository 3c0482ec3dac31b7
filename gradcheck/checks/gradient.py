"""First-order claims: gradients are the numerical ones, and a backward pass is linear in its cotangent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck.checks import move as moves
from gradcheck.checks.claim import Subject, describe, listed
from gradcheck.checks.confirmation import NEARBY
from gradcheck.checks.evaluation import Evaluation, extent, flat, has_kinks
from gradcheck.checks.opwise import op_by_op
from gradcheck.checks.oracle import Judgement, Oracle, Wrong
from gradcheck.checks.passes import linearized, positions
from gradcheck.checks.projected import Projected
from gradcheck.failures import OFF_DOMAIN, Evidence, Finding, Unsupported, named
from gradcheck.numeric import directions
from gradcheck.numeric.derivative import EDGE, KINK, NEAR_KINK, NOT_FINITE, ONE_SIDED
from gradcheck.numeric.differences import FEW_DIGITS, Floats
from gradcheck.program import Array
from gradcheck.verdict import AGREED, VACUOUS, Outcome, Verdict

VJP = ("vjp_matches_numeric", "GC101", "The gradient is the numerical derivative, projected on random directions.")
LINEAR = ("backward_is_linear_in_cotangent", "GC103", "The backward pass is linear in the cotangent.")

# Where numbers have few digits, their range may be small too, and sums of round-offs are no small part of anything.
FEW_COMBINATIONS = ((-1.0, 0.0), (0.0, 0.0), (2.5, -1.5), (64.0, 3.0), (1.0 / 64.0, -1.0 / 64.0))
FEW_ROUNDOFFS = 16.0
# a * u + b * w for these: both signs, zero, and magnitudes that meet any threshold on the way.
COMBINATIONS = ((-1.0, 0.0), (0.0, 0.0), (2.5, -1.5), (1e6, 3.0), (1e-6, -1e-6))
# Round-offs of two backward passes that count as possible, in units of the gradient's largest entry.
LINEAR_ROUNDOFFS = 256.0
# How far the measured round-off of the backward pass itself may be exceeded.
LINEAR_NOISES = 32.0
# Smallest normal numbers that a result may be off by: below them there are few digits, or none.
FEWEST = 4.0


def vjp_matches_numeric(subject: Subject) -> Outcome:
    """Compare vector-Jacobian products with numerical derivatives along random directions.

    The shape and dtype of each gradient are checked too. None counts as zero and is compared as such. Inputs whose
    entries share memory are moved twice: once in their own layout, shared entries together, and once laid out
    densely, each entry on its own.
    """
    evaluation = Evaluation(subject)
    random = subject.generator(VJP[0])
    if not evaluation.moved or not evaluation.size:
        return _of_nothing(evaluation)
    u = directions.cotangent(random, evaluation.size)
    try:
        found = evaluation.pullback(u)
    except Unsupported:
        raise
    except Exception as error:
        return _raised(evaluation, u, error)
    misfit = _misfit(evaluation, u, found)
    if misfit is not None:
        return misfit
    program = subject.program
    single = program is not None and len(program.steps) == 1
    if evaluation.is_narrow or subject.is_summed:
        evaluation = projected = Projected(subject, random)
        if not projected.is_finite:
            return Outcome(Verdict.INCONCLUSIVE, NOT_FINITE)
    oracle = Oracle(
        evaluation, random, subject.resolution,
        single=single, strict_precision=program is None, kinked=not single and has_kinks(program),
    )  # fmt: skip
    judgement = oracle.examine()
    if program is not None and not single and judgement.reason in (KINK, NEAR_KINK, ONE_SIDED):
        return _op_by_op(subject, random, judgement)
    if program is None and judgement.reason in (KINK, NEAR_KINK, EDGE, ONE_SIDED):
        return _beside(subject, random) or conclude(subject, VJP, judgement)
    return conclude(subject, VJP, judgement)


def _beside(subject: Subject, random: np.random.Generator) -> Outcome | None:
    """What is wrong at fresh points on either side, where the point itself has a kink that leaves it open, or None.

    A gradient that is right beside a kink says nothing about the one at it.
    """
    at = Evaluation(subject)
    around = moves.drawn(at, random, at.moved, dense=True)
    for step in (NEARBY, -NEARBY):
        other = replace(subject, inputs=at.moved_inputs(around.directions, step, dense=True))
        try:
            judgement = Oracle(Evaluation(other), random, subject.resolution).examine()
        except OFF_DOMAIN:
            continue
        if judgement.wrong is not None:
            detail = f"at a fresh point beside the one asked about, which has a kink; {judgement.wrong.detail}"
            return conclude(other, VJP, replace(judgement, wrong=replace(judgement.wrong, detail=detail)))
    return None


def _op_by_op(subject: Subject, random: np.random.Generator, whole: Judgement) -> Outcome:
    """Where the kinks of several ops leave the whole open, each op and their composition may be judged."""
    found = op_by_op(subject, random)
    if found.judgement.verdict is Verdict.INCONCLUSIVE:
        return conclude(subject, VJP, whole)
    if found.local is None:
        return conclude(subject, VJP, found.judgement)
    outcome = conclude(found.local.subject, VJP, found.judgement)
    assert outcome.finding is not None
    detail = f"{found.local} alone is wrong at the values that occurred in the program; {outcome.finding.detail}"
    return replace(outcome, finding=replace(outcome.finding, detail=detail))


def _of_nothing(evaluation: Evaluation) -> Outcome:
    """Where no entry can be wrong, the backward pass must at least not raise: empty batches are ordinary."""
    subject = evaluation.subject
    if not evaluation.outputs or not any(subject.inputs[k].dtype.kind == "f" for k in positions(subject)):
        return VACUOUS
    u = np.ones(evaluation.size)
    at = linearized(subject, subject.inputs)
    tensors = [subject.engine.array(y) for y in at.outputs]
    ones = [subject.engine.tensor(np.ones(y.shape, y.dtype)) if y.dtype.kind == "f" else None for y in tensors]
    try:
        at.pull(ones, is_last=True)
    except Unsupported:
        raise
    except Exception as error:
        return _raised(evaluation, u, error)
    return VACUOUS


def backward_is_linear_in_cotangent(subject: Subject) -> Outcome:
    """Compare the gradient for a*u + b*w with a times that for u plus b times that for w, entry by entry."""
    evaluation = Evaluation(subject)
    if not evaluation.moved or not evaluation.size:
        return VACUOUS
    with refusals_are_no_verdict(subject):
        return _linear(subject, evaluation)


@contextmanager
def refusals_are_no_verdict(subject: Subject) -> Iterator[None]:
    """A backward pass that raises is for `vjp_matches_numeric` to report; other claims cannot be tried."""
    try:
        yield
    except Unsupported:
        raise
    except subject.engine.refusals as error:
        raise Unsupported(str(error)) from error


def _linear(subject: Subject, evaluation: Evaluation) -> Outcome:
    random = subject.generator(LINEAR[0])
    u = directions.cotangent(random, evaluation.size)
    w = directions.opposite(random, u) * np.where(random.random(u.size) < 0.5, 1.0, -0.5)
    of_u, of_w = _gradients(evaluation, u), _gradients(evaluation, w)
    known = {k: np.isfinite(of_u[k]) & np.isfinite(of_w[k]) for k in evaluation.moved}
    if not any(mask.any() for mask in known.values()):
        return Outcome(Verdict.INCONCLUSIVE, NOT_FINITE)
    # What a gradient's round-off is at least: an output's own, over the change of the input that it answers to.
    unit = float(np.max(np.abs(np.where(np.isfinite(flat(evaluation.outputs)), flat(evaluation.outputs), 0.0))))
    noise: dict[int, float] | None = None
    epsilon = evaluation.epsilon
    is_few = epsilon > FEW_DIGITS
    roundoff = (FEW_ROUNDOFFS if is_few else LINEAR_ROUNDOFFS) * epsilon
    for a, b in FEW_COMBINATIONS if is_few else COMBINATIONS:
        found = _gradients(evaluation, a * u + b * w)
        for k in evaluation.moved:
            with np.errstate(all="ignore"):
                expected = a * of_u[k] + b * of_w[k]
                size = float(np.max(np.where(known[k], np.abs(a * of_u[k]) + np.abs(b * of_w[k]), 0.0)))
                gap = np.where(known[k], np.abs(found[k] - expected), 0.0)
            gap = np.where(np.isnan(gap), np.inf, gap)
            if (gap <= roundoff * size).all():
                continue
            noise = noise or _backward_noise(evaluation, u, of_u)
            own = 2.0 * unit / extent(evaluation.point(k))
            allowed = roundoff * (size + (abs(a) + abs(b)) * own) + FEWEST * float(
                np.finfo(evaluation.point(k).dtype).tiny
            )
            allowed += LINEAR_NOISES * (abs(a) + abs(b)) * noise[k]
            if (gap > allowed).any():
                outcome = _not_linear(subject, k, gap, found[k], expected, allowed, (a, b))
                first, second = evaluation.cotangents(u), evaluation.cotangents(w)
                return _with_evidence(outcome, cotangents=first, second=second, factors=(a, b))
    if not any(of_u[k].any() or of_w[k].any() for k in evaluation.moved):
        return VACUOUS
    return AGREED


def _gradients(evaluation: Evaluation, cotangent: Floats) -> dict[int, Floats]:
    """J^T u in float64, None as zeros."""
    return {
        k: np.zeros(evaluation.point(k).shape) if g is None else np.asarray(g, dtype=np.float64)
        for k, g in evaluation.pullback(cotangent).items()
    }


def _backward_noise(evaluation: Evaluation, u: Floats, of_u: Mapping[int, Floats]) -> dict[int, float]:
    """Round-off of the backward pass, measured: how far slightly stretched cotangents miss the stretched gradient."""
    noise = dict.fromkeys(evaluation.moved, 0.0)
    # Thirds fill the last bits, which powers of two leave alone. A threshold or a sign is far from u and not seen.
    unit = max(1e-9, 16.0 * evaluation.epsilon)
    for stretch in (1.0 + unit / 3.0, 1.0 - 2.0 * unit / 3.0, 1.0 + 5.0 * unit / 7.0):
        for k, g in _gradients(evaluation, stretch * u).items():
            with np.errstate(all="ignore"):
                gap = np.abs(g - stretch * of_u[k])
            noise[k] = max(noise[k], float(np.max(np.where(np.isfinite(gap), gap, 0.0), initial=0.0)))
    return noise


def conclude(subject: Subject, claim: tuple[str, str, str], judgement: Judgement) -> Outcome:
    """The outcome of a judgement, with a finding where it disagrees."""
    if judgement.wrong is None:
        return Outcome(judgement.verdict, judgement.reason, vacuous=judgement.vacuous, resolution=judgement.resolution)
    return Outcome(Verdict.DISAGREE, finding=finding(subject, claim, judgement.wrong))


def finding(subject: Subject, claim: tuple[str, str, str], wrong: Wrong) -> Finding:
    """What a report prints about a wrong entry."""
    point = subject.inputs[wrong.argument]
    return Finding(
        *claim, engine=f"{subject.engine.name}-{subject.engine.device}", call=subject.label, where=subject.where,
        argument=describe(wrong.argument, point), entry=wrong.entry, values=listed(subject.inputs),
        analytic=wrong.analytic, numeric=wrong.numeric, error=wrong.error, detail=wrong.detail,
        evidence=Evidence(subject.inputs, subject.differentiable, wrong.cotangents, position=wrong.argument),
    )  # fmt: skip


def _with_evidence(outcome: Outcome, **changes: Any) -> Outcome:
    """The outcome with more in its finding's evidence."""
    made = outcome.finding
    assert made is not None
    assert made.evidence is not None
    return replace(outcome, finding=replace(made, evidence=replace(made.evidence, **changes)))


def _misfit(evaluation: Evaluation, u: Floats, gradients: Mapping[int, Array | None]) -> Outcome | None:
    """A gradient has the shape and the dtype of its input."""
    for k, g in gradients.items():
        point = evaluation.point(k)
        if g is not None and (g.shape != point.shape or g.dtype != point.dtype):
            detail = (
                f"gradient of x{k}: expected shape {point.shape} and dtype {point.dtype}, "
                f"got shape {g.shape} and dtype {g.dtype}"
            )
            outcome = _plain_finding(evaluation.subject, VJP, k, detail)
            return _with_evidence(outcome, way="misfit", cotangents=evaluation.cotangents(u))
    return None


def _raised(evaluation: Evaluation, u: Floats, error: Exception) -> Outcome:
    """A backward pass that raises after a good forward has no gradient; a refused in-place program proves nothing."""
    subject = evaluation.subject
    mutates = subject.program is not None and any(step.inplace for step in subject.program.steps)
    if mutates and isinstance(error, subject.engine.refusals):
        raise Unsupported(str(error)) from error
    moved = next(k for k, d in enumerate(subject.differentiable) if d)
    outcome = _plain_finding(subject, VJP, moved, f"the backward pass raised {named(error)}")
    return _with_evidence(outcome, way="raised", cotangents=evaluation.cotangents(u))


def _plain_finding(subject: Subject, claim: tuple[str, str, str], argument: int, detail: str) -> Outcome:
    made = Finding(
        *claim, engine=f"{subject.engine.name}-{subject.engine.device}", call=subject.label, where=subject.where,
        argument=describe(argument, subject.inputs[argument]), values=listed(subject.inputs), detail=detail,
        evidence=Evidence(subject.inputs, subject.differentiable, position=argument),
    )  # fmt: skip
    return Outcome(Verdict.DISAGREE, finding=made)


def _not_linear(
    subject: Subject, k: int, gap: Floats, found: Floats, expected: Floats, allowed: float, factors: tuple[float, float]
) -> Outcome:
    """The entry where linearity fails most: `analytic` is the gradient for a*u + b*w, `numeric` the combination."""
    i = int(gap.argmax())
    a, b = factors
    detail = f"gradient for {a:g}*u + {b:g}*w against {a:g} times that for u plus {b:g} times that for w"
    entry = tuple(int(n) for n in np.unravel_index(i, found.shape))
    wrong = Wrong(k, entry, float(found.reshape(-1)[i]), float(expected.reshape(-1)[i]), allowed, detail)
    return Outcome(Verdict.DISAGREE, finding=finding(subject, LINEAR, wrong))
