"""Make the call that fails small: shorter axes, rounder values, while the same claim still disagrees."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from gradcheck.checks.claim import Claim, Subject
from gradcheck.checks.passes import contiguous
from gradcheck.program import Array
from gradcheck.verdict import Outcome

# Enough for every axis and every input of the calls that people check; beyond it, the call found so far will do.
_TRIES = 60


def minimal(subject: Subject, claim: Claim, outcome: Outcome, *, seconds: float = 1.0) -> tuple[Subject, Outcome]:
    """The smallest subject found on which `claim` disagrees as it does on `subject`.

    Parameters
    ----------
    subject : Subject
    claim : Claim
    outcome : Outcome
        Of `claim` on `subject`: a disagreement.
    seconds : float
        No further candidate is tried after this long, as each runs the function many times.

    Returns
    -------
    Subject, Outcome
        With a finding of the same code. Where nothing smaller fails, what was given.
    """
    end = time.monotonic() + seconds
    tries = 0
    found = subject, outcome
    for shrink in (_shorter, _rounder):
        improved = True
        while improved:
            improved = False
            for inputs in shrink(found[0].inputs):
                if tries >= _TRIES or time.monotonic() > end:
                    return found
                tries += 1
                candidate = replace(subject, inputs=inputs)
                result = _tried(claim, candidate)
                if _same_failure(result, outcome):
                    found, improved = (candidate, result or outcome), True
                    break
    return found


def _tried(claim: Claim, subject: Subject) -> Outcome | None:
    try:
        return claim.check(subject)
    except Exception:  # whatever a user's function raises for inputs that it was not meant for
        return None


def _same_failure(result: Outcome | None, outcome: Outcome) -> bool:
    if result is None or result.finding is None or outcome.finding is None:
        return False
    new, old = result.finding, outcome.finding
    # A smaller input for which the backward raises, or raises something else, is another failure.
    is_like = (new.analytic is None) == (old.analytic is None) and _raised(new.detail) == _raised(old.detail)
    return new.code == old.code and is_like


def _raised(detail: str) -> str:
    """What was raised, whatever the sizes that it names; "" where nothing was."""
    return re.sub(r"\d+", "", detail) if " raised " in f" {detail}" else ""


def _shorter(inputs: tuple[Array, ...]) -> Iterator[tuple[Array, ...]]:
    """All axes of one size cut together, as they often belong together; then each axis of each input alone."""
    sizes = sorted({size for x in inputs for size in x.shape if size > 1}, reverse=True)
    for size in sizes:
        for kept in _cuts(size):
            yield tuple(_cut(x, [axis for axis, n in enumerate(x.shape) if n == size], kept) for x in inputs)
    for k, x in enumerate(inputs):
        for axis, size in enumerate(x.shape):
            for kept in _cuts(size):
                yield (*inputs[:k], _cut(x, [axis], kept), *inputs[k + 1 :])


def _cuts(size: int) -> Sequence[slice]:
    """The halves and single places to try for an axis: the simplest first."""
    if size < 2:
        return ()
    ends, half = (slice(0, 1), slice(size - 1, size)), size // 2
    return (*ends, slice(0, half), slice(half, size)) if size > 2 else ends


def _cut(x: Array, axes: Sequence[int], kept: slice) -> Array:
    index = tuple(kept if axis in axes else slice(None) for axis in range(x.ndim))
    return contiguous(x[index]) if axes else x


def _rounder(inputs: tuple[Array, ...]) -> Iterator[tuple[Array, ...]]:
    """All values rounded to integers, halves or tenths, of all inputs or of one."""
    for unit in (1.0, 0.5, 0.1):
        rounded = tuple(_rounded(x, unit) for x in inputs)
        changed = [k for k, x in enumerate(inputs) if not np.array_equal(x, rounded[k])]
        if changed:
            yield rounded
        if len(changed) > 1:
            for k in changed:
                yield (*inputs[:k], rounded[k], *inputs[k + 1 :])


def _rounded(x: Array, unit: float) -> Array:
    if x.dtype.kind != "f":
        return x
    steps = np.rint(x / unit)
    return contiguous(np.where(np.isfinite(x), np.round(steps * unit, 1) + 0.0, x))  # + 0.0: no -0.0
