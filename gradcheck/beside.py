"""Whether a failure is at its one point only: beside it, where little else changes, nothing is wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from gradcheck.checks.claim import Check, Claim, Subject
from gradcheck.checks.confirmation import NEARBY
from gradcheck.checks.gradient import vjp_matches_numeric
from gradcheck.checks.passes import values
from gradcheck.failures import Finding
from gradcheck.program import Array
from gradcheck.verdict import Outcome, Verdict

# How far away the neighbours are, in units of the inputs' sizes, besides those as far as a confirmation looks, where a
# derivative can be measured beside a kink: close by, where a mistake that holds in a small region must show.
_CLOSE = 2.0**-20
# At least so many round-off units, that the neighbours are other points in few digits, too.
_LEAST_NEAR, _LEAST_CLOSE = 64.0, 4.0
# About gradients at a point: those at kinks are compared with the derivative beside them.
_OWN = frozenset({"GC101", "GC102", "GC103"})
_OF_KINKS = frozenset({"GC107", "GC108"})


def is_only_here(claim: Claim, subject: Subject, finding: Finding, seconds: float) -> bool:
    """Whether what fails at a point (an exact zero, a tie, an edge) holds on both sides of it.

    Parameters
    ----------
    claim : Claim
    subject : Subject
        Where it fails.
    finding : Finding
        What fails; where it says for which inputs, those are the point.
    seconds : float
        What this may take; without an answer by then, there is none.

    Returns
    -------
    bool
        True only where the claim was seen to hold beside the point, and failed at no point close to it.
    """
    if finding.code not in _OWN | _OF_KINKS or (finding.evidence is not None and finding.evidence.way):
        return False
    check: Check = vjp_matches_numeric if finding.code in _OF_KINKS else claim.check
    end = time.monotonic() + seconds
    has_agreed = False
    here = _at(subject, finding)
    for is_close, beside in _neighbours(here):
        if time.monotonic() > end:
            return False
        found = _outcome(check, beside) if _is_inside(here, beside) else None
        if found is None:
            continue
        if found.verdict is Verdict.DISAGREE or (found.verdict is Verdict.INCONCLUSIVE and not is_close):
            return False
        has_agreed = has_agreed or not is_close
    return has_agreed


def _at(subject: Subject, finding: Finding) -> Subject:
    """The subject where it fails: a claim may look at a kink of its own choice."""
    shown = () if finding.evidence is None else finding.evidence.inputs
    is_like = [x.shape for x in shown] == [x.shape for x in subject.inputs]
    return replace(subject, inputs=shown) if is_like else subject


def _neighbours(subject: Subject) -> Iterator[tuple[bool, Subject]]:
    """Points on both sides, all differentiated entries moved, each by its own step; whether they are close by."""
    epsilon = subject.epsilon
    random = subject.generator("beside")
    moves = [_move(x, random) if d else None for d, x in zip(subject.differentiable, subject.inputs, strict=True)]
    for step, is_close in ((max(NEARBY, _LEAST_NEAR * epsilon), False), (max(_CLOSE, _LEAST_CLOSE * epsilon), True)):
        for sign in (1.0, -1.0):
            yield is_close, replace(subject, inputs=_moved(subject.inputs, moves, sign * step))


def _moved(inputs: Sequence[Array], moves: Sequence[Array | None], step: float) -> tuple[Array, ...]:
    pairs = zip(inputs, moves, strict=True)
    return tuple(x if v is None else np.asarray(x + step * v, dtype=x.dtype) for x, v in pairs)


def _move(x: Array, random: np.random.Generator) -> Array | None:
    """A step for each entry, none zero and no two the same, in units of the input's size."""
    if x.dtype.kind != "f":
        return None
    sizes = np.abs(x[np.isfinite(x) & (x != 0.0)])
    scale = float(np.median(sizes)) if sizes.size else 1.0
    return np.asarray(scale * random.uniform(0.5, 1.0, x.shape) * random.choice([-1.0, 1.0], x.shape))


def _is_inside(subject: Subject, beside: Subject) -> bool:
    """Whether what is finite at the point is so beside it: else that is beyond the edge of the domain."""
    try:
        pairs = zip(values(subject, subject.inputs), values(beside, beside.inputs), strict=True)
        return all((np.isfinite(there) | ~np.isfinite(here)).all() for here, there in pairs)
    except Exception:  # whatever a user's forward raises beside its point
        return False


def _outcome(check: Check, subject: Subject) -> Outcome | None:
    """What is said of a point; None where the function refuses it."""
    try:
        return check(subject)
    except Exception:  # whatever a user's function raises beside its point
        return None
