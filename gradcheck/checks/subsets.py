"""GC603: which inputs require grad does not change the gradients of those that do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from gradcheck.checks.claim import Claim, Subject, disagreement
from gradcheck.checks.passes import dense, draw_like, filled, linearized, positions, pulled
from gradcheck.checks.roundoff import Yardstick
from gradcheck.failures import Unsupported, named
from gradcheck.numeric.derivative import NOT_FINITE
from gradcheck.program import Array
from gradcheck.verdict import AGREED, VACUOUS, Outcome, Verdict

# With more inputs than this: each alone, each left out, and so many others.
_ALL = 4
_OTHERS = 3


def each_subset_gets_its_gradients(subject: Subject) -> Outcome:
    """Each input that requires grad gets the gradient it gets when all require grad, whatever the others do.

    Where all require grad and the pass raises, there is nothing to compare with: that is for `vjp_matches_numeric`.
    """
    whole = positions(subject)
    if len(whole) < 2:
        return VACUOUS
    inputs, plain = dense(subject)
    generator = subject.generator("subsets")
    cotangents = draw_like(plain, generator)
    expected = gradient_yardstick(subject, inputs, cotangents, generator, "where all inputs require grad")
    if not expected.is_finite:
        return Outcome(Verdict.INCONCLUSIVE, NOT_FINITE)
    for chosen in _subsets(whole, generator):
        outcome = _compared(subject, chosen, inputs, cotangents, expected)
        if outcome is not None:
            return outcome
    return AGREED if any(g.any() for g in expected.expected) else VACUOUS


def gradient_yardstick(
    subject: Subject,
    inputs: tuple[Array, ...],
    cotangents: tuple[Array, ...],
    generator: np.random.Generator,
    where: str,
) -> Yardstick:
    """The gradients for these cotangents, and what round-off can move them by.

    Raises
    ------
    Unsupported
        If the pass raises: there is nothing to compare with. `where` says in which case that is.
    """
    count, outputs = len(inputs), len(cotangents)
    try:
        return Yardstick(
            lambda arrays: pulled(subject, arrays[:count], arrays[count:])[outputs:], (*inputs, *cotangents),
            generator, cotangents=outputs, noise=subject.noise,
        )  # fmt: skip
    except Unsupported:
        raise
    except Exception as error:  # whatever a user's backward raises
        raise Unsupported(f"raises {type(error).__name__} {where}") from error


def _subsets(whole: tuple[int, ...], generator: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """Proper subsets, the smallest first; all of them where there are few."""
    if len(whole) <= _ALL:
        for size in range(1, len(whole)):
            yield from combinations(whole, size)
        return
    yield from ((k,) for k in whole)
    yield from (tuple(k for k in whole if k != left_out) for left_out in whole)
    for _ in range(_OTHERS):
        flags = generator.permutation(len(whole)) < generator.integers(2, len(whole) - 1)
        yield tuple(k for k, chosen in zip(whole, flags, strict=True) if chosen)


def _compared(
    subject: Subject,
    chosen: tuple[int, ...],
    inputs: tuple[Array, ...],
    cotangents: tuple[Array, ...],
    expected: Yardstick,
) -> Outcome | None:
    """What is wrong when only these inputs require grad."""
    part = replace(subject, differentiable=tuple(k in chosen for k in range(len(inputs))))
    only = f"where only {' and '.join(f'x{k}' for k in chosen)} {'requires' if len(chosen) == 1 else 'require'} grad"
    engine = subject.engine
    try:
        at = linearized(part, inputs)
    except engine.refusals as error:
        if subject.program is not None:  # an op refuses aloud what the grammar could not know
            return None
        return _raised(subject, part, inputs, cotangents, f"{only}, the forward pass raised {named(error)}")
    try:
        gradients = at.pull([engine.tensor(u) for u in cotangents], is_last=True)
    except Unsupported:
        raise
    except Exception as error:  # whatever a user's function raises
        return _raised(subject, part, inputs, cotangents, f"{only}, the backward pass raised {named(error)}")
    found = expected.mismatch(_with_expected(subject, part, filled(part, inputs, gradients), expected.expected))
    if found is None:
        return None
    k = positions(subject)[found.array]
    none = gradients[chosen.index(k)] is None
    return disagreement(
        EACH_SUBSET_GETS_ITS_GRADIENTS, subject, inputs=inputs, cotangents=cotangents, subset=part.differentiable,
        position=k, entry=found.entry, analytic=found.actual, numeric=found.expected, error=found.bound,
        detail=f"{only}, the gradient of x{k} is {'None' if none else 'not the one it has where all do'}",
    )  # fmt: skip


def _raised(
    subject: Subject, part: Subject, inputs: Sequence[Array], cotangents: Sequence[Array], detail: str
) -> Outcome:
    return disagreement(
        EACH_SUBSET_GETS_ITS_GRADIENTS, subject, inputs=inputs, detail=detail, cotangents=tuple(cotangents),
        way="raised", subset=part.differentiable,
    )  # fmt: skip


def _with_expected(
    subject: Subject, part: Subject, gradients: Sequence[Array], expected: Sequence[Array]
) -> tuple[Array, ...]:
    """The gradients of the part, with the expected ones in the place of those not asked for."""
    known: dict[int, Any] = dict(zip(positions(part), gradients, strict=True))
    return tuple(known.get(k, e) for k, e in zip(positions(subject), expected, strict=True))


EACH_SUBSET_GETS_ITS_GRADIENTS = Claim(
    "each_subset_gets_its_gradients",
    "GC603",
    "An input's gradient is the same whichever of the other inputs require grad.",
    each_subset_gets_its_gradients,
)
