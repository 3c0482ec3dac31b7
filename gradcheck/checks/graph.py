"""GC601 and GC602: gradients add up, and graphs that live at the same time leave each other alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gradcheck.checks.claim import Claim, Subject, disagreement
from gradcheck.checks.passes import dense, draw_like, filled, linearized, place, positions, pulled, run, wanted
from gradcheck.checks.roundoff import Mismatch, Yardstick
from gradcheck.engines.base import Capability
from gradcheck.numeric.derivative import NOT_FINITE
from gradcheck.program import Array
from gradcheck.verdict import AGREED, VACUOUS, Outcome, Verdict

# The second graph's inputs are those of the first times this: the special points 0 stay, values stay in almost every
# domain, and saved values are not those of the first graph.
_OTHER = 63.0 / 64.0


def gradients_accumulate(subject: Subject) -> Outcome:
    """Backward adds to ``.grad``: once, again on the retained graph, and over two uses of the same input."""
    inputs, plain = dense(subject)
    generator = subject.generator("accumulate")
    first, second = (draw_like(plain, generator) for _ in range(2))
    alone = _gradients(subject, inputs, first, generator)
    both = _gradients(subject, inputs, first, generator, second)
    if not (alone.is_finite and both.is_finite):
        return Outcome(Verdict.INCONCLUSIVE, NOT_FINITE)
    for times, accumulated in enumerate(_backward_twice(subject, inputs, first), start=1):
        found = alone.mismatch(accumulated, times=times)
        if found is not None:
            what = "after one backward, .grad is not the gradient that autograd.grad returns"
            again = "after a second backward on the retained graph, .grad is not twice the gradient"
            way = {"way": ("first", "second")[times - 1], "cotangents": first}
            return _found(GRADIENTS_ACCUMULATE, subject, found, (what, again)[times - 1], inputs, **way)
    found = both.mismatch(_used_twice(subject, inputs, first, second))
    if found is not None:
        what = "with the same inputs used by two calls, .grad is not the sum of the calls' gradients"
        way = {"way": "two calls", "cotangents": first, "second": second}
        return _found(GRADIENTS_ACCUMULATE, subject, found, what, inputs, **way)
    return AGREED if any(g.any() for g in both.expected) else VACUOUS


def graphs_do_not_interfere(subject: Subject) -> Outcome:
    """Two graphs alive at once, run backward in the order they were made, each give the gradients they give alone."""
    inputs, plain = dense(subject)
    others = tuple(_other(x) if is_wanted else x for x, is_wanted in zip(inputs, subject.differentiable, strict=True))
    generator = subject.generator("two graphs")
    cotangents = draw_like(plain, generator)
    alone = [_gradients(subject, point, cotangents, generator) for point in (inputs, others)]
    if not all(expected.is_finite for expected in alone):
        return Outcome(Verdict.INCONCLUSIVE, NOT_FINITE)
    engine = subject.engine
    both = [linearized(subject, point) for point in (inputs, others)]
    if [y.shape for y in both[0].outputs] != [y.shape for y in both[1].outputs]:
        return Outcome(Verdict.INCONCLUSIVE, "shapes depend on values")
    for k, point in enumerate((inputs, others)):
        together = both[k].pull([engine.tensor(u) for u in cotangents], is_last=True)
        found = alone[k].mismatch(filled(subject, point, together))
        if found is not None:
            what = f"with two graphs alive, the gradient of the {('first', 'second')[k]} is not what it is alone"
            shown = {"way": ("first", "second")[k], "cotangents": cotangents, "others": (others, inputs)[k]}
            return _found(GRAPHS_DO_NOT_INTERFERE, subject, found, what, point, **shown)
    return AGREED if any(g.any() for expected in alone for g in expected.expected) else VACUOUS


def _gradients(
    subject: Subject,
    inputs: tuple[Array, ...],
    first: tuple[Array, ...],
    generator: np.random.Generator,
    second: tuple[Array, ...] = (),
) -> Yardstick:
    """The gradient for `first`, plus the one for `second`, each from a graph of its own."""
    count, outputs = len(inputs), len(first)

    def compute(arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        x, u, w = arrays[:count], arrays[count : count + outputs], arrays[count + outputs :]
        found = pulled(subject, x, u)[outputs:]
        if not w:
            return found
        return tuple(a + b for a, b in zip(found, pulled(subject, x, w)[outputs:], strict=True))

    count_cotangents = len(first) + len(second)
    return Yardstick(compute, (*inputs, *first, *second), generator, cotangents=count_cotangents, noise=subject.noise)


def _backward_twice(
    subject: Subject, inputs: Sequence[Array], cotangents: Sequence[Array]
) -> Iterator[tuple[Array, ...]]:
    """`.grad` after one backward, then after another on the same graph."""
    leaves = place(subject, inputs)
    outputs = run(subject, leaves)
    for retain in (True, False):
        subject.engine.backward(outputs, [subject.engine.tensor(u) for u in cotangents], retain_graph=retain)
        yield _accumulated(subject, inputs, leaves)


def _used_twice(
    subject: Subject, inputs: Sequence[Array], first: Sequence[Array], second: Sequence[Array]
) -> tuple[Array, ...]:
    """`.grad` after one backward over the outputs of two calls with the same leaves."""
    leaves = place(subject, inputs)
    outputs = (*run(subject, leaves), *run(subject, leaves))
    subject.engine.backward(outputs, [subject.engine.tensor(u) for u in (*first, *second)])
    return _accumulated(subject, inputs, leaves)


def _accumulated(subject: Subject, inputs: Sequence[Array], leaves: Sequence[Any]) -> tuple[Array, ...]:
    return filled(subject, inputs, [subject.engine.accumulated(leaf) for leaf in wanted(subject, leaves)])


def _other(values: Array) -> Array:
    return (values * _OTHER).astype(values.dtype)


def _found(
    claim: Claim, subject: Subject, found: Mismatch, detail: str, inputs: Sequence[Array], **evidence: Any
) -> Outcome:
    return disagreement(
        claim,
        subject,
        position=positions(subject)[found.array],
        entry=found.entry,
        analytic=found.actual,
        numeric=found.expected,
        error=found.bound,
        detail=detail,
        inputs=inputs,
        **evidence,
    )


GRADIENTS_ACCUMULATE = Claim(
    "gradients_accumulate",
    "GC601",
    "Backward adds to .grad: each use of an input and each run of a retained graph counts once.",
    gradients_accumulate,
    needs=frozenset({Capability.ACCUMULATION, Capability.TAPE}),
)

GRAPHS_DO_NOT_INTERFERE = Claim(
    "graphs_do_not_interfere",
    "GC602",
    "Two graphs alive at the same time give the gradients that each gives alone.",
    graphs_do_not_interfere,
)
