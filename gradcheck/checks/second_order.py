"""Second order: the derivative of the gradient is the numerical derivative of the gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck.checks.claim import Subject
from gradcheck.checks.evaluation import Evaluation, extent, flat, has_kinks, split
from gradcheck.checks.gradient import conclude, refusals_are_no_verdict
from gradcheck.checks.oracle import Oracle
from gradcheck.checks.projected import Projected
from gradcheck.numeric import directions
from gradcheck.numeric.derivative import NOT_FINITE
from gradcheck.numeric.differences import Floats
from gradcheck.program import Array
from gradcheck.verdict import VACUOUS, Outcome, Verdict

SECOND = (
    "second_order_matches_numeric",
    "GC104",
    "Differentiating the gradient once more gives the numerical derivative of the gradient.",
)


def second_order_matches_numeric(subject: Subject) -> Outcome:
    """Apply the oracle to ``x, u -> J(x)^T u``, in the inputs and in the cotangent.

    The numerical side differences first-order gradients of the engine, so a wrong first order is not seen here. A first
    gradient without a history counts as a constant.
    """
    first = Evaluation(subject)
    if not first.moved or not first.size:
        return VACUOUS
    random = subject.generator(SECOND[0])
    cotangents = split(directions.cotangent(random, first.size), first.outputs)
    gradient = _Gradient(subject, first.moved)
    count = len(subject.inputs)
    lifted = replace(
        subject,
        function=gradient.recorded,
        inputs=(
            *subject.inputs,
            *(np.asarray(u, dtype=y.dtype) for u, y in zip(cotangents, first.outputs, strict=True)),
        ),
        differentiable=(*subject.differentiable, *(True for _ in cotangents)),
    )
    with refusals_are_no_verdict(subject):
        evaluation = Evaluation(lifted, gradient.sampled)
        if evaluation.is_narrow:
            evaluation = projected = Projected(lifted, random, gradient.sampled)
            if not projected.is_finite:
                return Outcome(Verdict.INCONCLUSIVE, NOT_FINITE)
        groups: list[tuple[int, ...]] = [(k,) for k in evaluation.moved if k < count]
        groups.append(tuple(k for k in evaluation.moved if k >= count))
        oracle = Oracle(
            evaluation, random, subject.resolution,
            groups=groups, floor=_floor(first, cotangents), kinked=has_kinks(subject.program),
        )  # fmt: skip
        outcome = conclude(lifted, SECOND, oracle.examine())
    if outcome.finding is None or outcome.finding.evidence is None:
        return outcome
    shown = outcome.finding.evidence
    evidence = replace(
        shown, inputs=subject.inputs, differentiable=subject.differentiable,
        cotangents=lifted.inputs[count:], second=shown.cotangents,
    )  # fmt: skip
    return replace(outcome, finding=replace(outcome.finding, evidence=evidence))


def _floor(first: Evaluation, cotangents: Sequence[Floats]) -> float:
    """Round-off that a gradient has at least: 1 - tanh(19)**2 is 0 or 2e-16 and does not move for small steps."""
    y = flat(first.outputs)
    size = float(np.max(np.where(np.isfinite(y), np.abs(y * flat(cotangents)), 0.0)))
    return 2.0 * first.epsilon * size / min(extent(first.point(k)) for k in first.moved)


class _Gradient:
    """The function ``inputs, cotangents -> gradients``, with and without a history."""

    def __init__(self, subject: Subject, moved: Sequence[int]) -> None:
        self._subject = subject
        self._moved = moved

    def recorded(self, *tensors: Any) -> tuple[Any, ...]:
        """The engine's tensors in, gradients with a history out."""
        return self._gradients(tensors, create_graph=True)

    def sampled(self, inputs: Sequence[Array]) -> list[Array]:
        """Arrays in, arrays out."""
        engine, subject = self._subject.engine, self._subject
        wanted = [k in self._moved for k in range(len(subject.inputs))]
        wanted += [False] * (len(inputs) - len(wanted))
        tensors = [engine.tensor(x, requires_grad=w) for x, w in zip(inputs, wanted, strict=True)]
        return [engine.array(g) for g in self._gradients(tensors, create_graph=False)]

    def _gradients(self, tensors: Sequence[Any], *, create_graph: bool) -> tuple[Any, ...]:
        engine, subject = self._subject.engine, self._subject
        count = len(subject.inputs)
        at = engine.linearized(subject.function, tensors[:count], [k in self._moved for k in range(count)])
        given = iter(tensors[count:])
        cotangents = [next(given) if engine.kind(y) == "f" else None for y in at.outputs]
        found = at.pull(cotangents, create_graph=create_graph, is_last=True)
        return tuple(
            engine.tensor(np.zeros(subject.inputs[k].shape, subject.inputs[k].dtype)) if g is None else g
            for k, g in zip(self._moved, found, strict=True)
        )
