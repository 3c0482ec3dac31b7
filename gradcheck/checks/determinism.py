"""GC605: from the same state, the same passes give the same numbers, to the last bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradcheck.checks.claim import Claim, Subject, disagreement
from gradcheck.checks.passes import draw_like, filled, linearized, positions
from gradcheck.engines.base import Linearized
from gradcheck.program import Array
from gradcheck.verdict import AGREED, VACUOUS, Outcome

# How often everything is repeated: a race that shows in half of the runs is missed once in eight.
_REPEATS = 3

FORWARD, BACKWARD, LATER = "forward", "backward", "later backward"
_SAID = {
    FORWARD: "the same forward pass gave other values when repeated",
    BACKWARD: "the same backward pass gave another gradient when repeated",
    LATER: "a second backward pass on the same graph gave another gradient than the first",
}


def passes_repeat(subject: Subject) -> Outcome:
    """Repeat the forward pass, the backward pass, and the backward pass on one graph.

    Every repetition starts from the same inputs, cotangents and random state. `Subject.nondet_tol` is granted, relative
    to the largest entry of each array.
    """
    engine = subject.engine
    first = linearized(subject, subject.inputs)
    outputs = tuple(engine.array(y) for y in first.outputs)
    if not any(y.size for y in outputs) or not any(subject.inputs[k].size for k in positions(subject)):
        return VACUOUS
    cotangents = draw_like(outputs, subject.generator("determinism"))
    state = engine.random_state()
    gradients = _pulled(subject, first, cotangents)
    for _ in range(_REPEATS):
        again = linearized(subject, subject.inputs)
        found = _differing(subject, outputs, [engine.array(y) for y in again.outputs], FORWARD, cotangents)
        found = found or _differing(subject, gradients, _pulled(subject, again, cotangents), BACKWARD, cotangents)
        if found is not None:
            return found
    engine.set_random_state(state)
    later = _again(subject, first, cotangents)
    found = None if later is None else _differing(subject, gradients, later, LATER, cotangents)
    if found is not None:
        return found
    return AGREED if any(g.any() for g in gradients) else VACUOUS


def not_repeating(outcome: Outcome) -> str:
    """Why nothing can be said of a function whose values or gradients change from run to run, else ""."""
    finding = outcome.finding
    if finding is None or finding.claim != PASSES_REPEAT.name or finding.evidence is None:
        return ""
    return "not deterministic" if finding.evidence.way in (FORWARD, BACKWARD) else ""


def _pulled(subject: Subject, at: Linearized, cotangents: Sequence[Array]) -> tuple[Array, ...]:
    return filled(subject, subject.inputs, at.pull([subject.engine.tensor(u) for u in cotangents]))


def _again(subject: Subject, at: Linearized, cotangents: Sequence[Array]) -> tuple[Array, ...] | None:
    """The gradient from a graph that was used already; None where that is refused, as it may be."""
    try:
        return _pulled(subject, at, cotangents)
    except Exception:  # whatever a user's backward raises once it has let go of what it kept
        return None


def _differing(
    subject: Subject, first: Sequence[Array], again: Sequence[Array], way: str, cotangents: tuple[Array, ...]
) -> Outcome | None:
    """The entry that differs most; a NaN where the first pass had one too is the same number here."""
    if [a.shape for a in first] != [a.shape for a in again]:
        shapes = f"shapes {[a.shape for a in first]} became {[a.shape for a in again]}"
        return disagreement(PASSES_REPEAT, subject, detail=f"{_SAID[way]}: {shapes}", way=way, cotangents=cotangents)
    for k, (a, b) in enumerate(zip(first, again, strict=True)):
        if not a.size:
            continue
        with np.errstate(all="ignore"):
            gap = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(b - a))
        gap = np.where(np.isnan(gap), np.inf, gap)
        allowed = subject.nondet_tol * float(np.max(np.abs(a), where=np.isfinite(a), initial=0.0))
        if (gap > allowed).any():
            return _found(subject, k, a, b, gap, allowed, way, cotangents)
    return None


def _found(
    subject: Subject,
    k: int,
    first: Array,
    again: Array,
    gap: Array,
    allowed: float,
    way: str,
    cotangents: tuple[Array, ...],
) -> Outcome:
    entry = tuple(int(i) for i in np.unravel_index(int(gap.argmax()), gap.shape))
    differing = gap[gap > allowed]
    scale = float(np.max(np.abs(first), where=np.isfinite(first), initial=0.0)) or 1.0
    detail = (
        f"{_SAID[way]}: {differing.size} of {gap.size} entries, by {float(differing.min()) / scale:.2g} to "
        f"{float(differing.max()) / scale:.2g} of the largest; nondet_tol would have to be as large"
    )
    is_value = way == FORWARD
    return disagreement(
        PASSES_REPEAT,
        subject,
        position=None if is_value else positions(subject)[k],
        entry=entry,
        analytic=again[entry].item(),
        numeric=first[entry].item(),
        error=allowed,
        detail=detail,
        way=way,
        cotangents=cotangents,
        output=k if is_value else None,
    )


PASSES_REPEAT = Claim(
    "passes_repeat",
    "GC605",
    "The same passes from the same state give the same numbers, to the last bit.",
    passes_repeat,
)
