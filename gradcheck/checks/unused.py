"""GC604: outputs that nobody uses count as if their cotangents were zero."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.checks.claim import Claim, Subject, disagreement
from gradcheck.checks.passes import dense, draw_like, filled, linearized, positions
from gradcheck.checks.roundoff import Yardstick
from gradcheck.checks.subsets import gradient_yardstick
from gradcheck.failures import Unsupported, named
from gradcheck.numeric.derivative import NOT_FINITE
from gradcheck.program import Array
from gradcheck.verdict import AGREED, VACUOUS, Outcome, Verdict

# With more outputs than this, each is used alone and each is left out; others are not tried.
_MOST = 6


def unused_outputs_count_as_zero(subject: Subject) -> Outcome:
    """The gradient of some outputs is that of all with zero cotangents for the others.

    A backward that asks not to be given zeros (``set_materialize_grads(False)``) gets None for what is not used.
    Where the pass raises with all outputs used, there is nothing to compare with.
    """
    inputs, plain = dense(subject)
    if len(plain) < 2 or not positions(subject):
        return VACUOUS
    generator = subject.generator("unused outputs")
    cotangents = draw_like(plain, generator)
    decided = False
    for used in _choices(len(plain)):
        zeroed = tuple(u if is_used else np.zeros_like(u) for u, is_used in zip(cotangents, used, strict=True))
        expected = gradient_yardstick(subject, inputs, zeroed, generator, "where all outputs are used")
        if not expected.is_finite:
            return Outcome(Verdict.INCONCLUSIVE, NOT_FINITE)
        outcome = _compared(subject, inputs, cotangents, used, expected)
        if outcome is not None:
            return outcome
        decided = decided or any(g.any() for g in expected.expected)
    return AGREED if decided else VACUOUS


def _choices(count: int) -> Iterator[tuple[bool, ...]]:
    """Each output alone, then each left out."""
    for k in range(min(count, _MOST)):
        yield tuple(n == k for n in range(count))
    if count > 2:
        for k in range(min(count, _MOST)):
            yield tuple(n != k for n in range(count))


def _compared(
    subject: Subject,
    inputs: tuple[Array, ...],
    cotangents: tuple[Array, ...],
    used: tuple[bool, ...],
    expected: Yardstick,
) -> Outcome | None:
    """What is wrong when only these outputs are used."""
    engine = subject.engine
    at = linearized(subject, inputs)
    chosen = [engine.tensor(u) if is_used else None for u, is_used in zip(cotangents, used, strict=True)]
    names = [f"output {k}" for k, is_used in enumerate(used) if is_used]
    only = f"where only {' and '.join(names)} {'is' if len(names) == 1 else 'are'} used"
    try:
        gradients = at.pull(chosen, is_last=True)
    except Unsupported:
        raise
    except Exception as error:  # whatever a user's function raises
        return disagreement(
            UNUSED_OUTPUTS_COUNT_AS_ZERO, subject, inputs=inputs, cotangents=cotangents, used=used, way="raised",
            detail=f"{only}, the backward pass raised {named(error)}",
        )  # fmt: skip
    found = expected.mismatch(filled(subject, inputs, gradients))
    if found is None:
        return None
    k = positions(subject)[found.array]
    return disagreement(
        UNUSED_OUTPUTS_COUNT_AS_ZERO, subject, inputs=inputs, cotangents=cotangents, used=used,
        position=k, entry=found.entry, analytic=found.actual, numeric=found.expected, error=found.bound,
        detail=f"{only}, the gradient of x{k} is not the one for zero cotangents of the others",
    )  # fmt: skip


UNUSED_OUTPUTS_COUNT_AS_ZERO = Claim(
    "unused_outputs_count_as_zero",
    "GC604",
    "A gradient where some outputs are not used is the one for zero cotangents of those.",
    unused_outputs_count_as_zero,
    on_programs=False,  # hardly an op of an engine's own has several outputs
)
