"""The oracle applied to a function's gradient, and to that one's: the gradient as a function of its own.

It is the same at every order. The gradient of ``x -> f(x)`` is a function of the inputs and of one cotangent for each
output; that function's gradient is one more of the kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradcheck.checks.claim import Claim, Subject
from gradcheck.checks.evaluation import Evaluation, Sampled, extent, flat, has_kinks, split
from gradcheck.checks.gradient import conclude, refusals_are_no_verdict
from gradcheck.checks.oracle import Oracle
from gradcheck.checks.projected import Projected
from gradcheck.engines.base import Capability
from gradcheck.numeric import directions
from gradcheck.numeric.derivative import NOT_FINITE
from gradcheck.program import Array
from gradcheck.verdict import VACUOUS, Outcome, Verdict

THIRD = (
    "third_order_matches_numeric",
    "GC109",
    "Differentiating the second derivative once more gives the numerical derivative of the second derivative.",
)


def order_matches_numeric(subject: Subject, claim: tuple[str, str, str], order: int) -> Outcome:
    """Compare derivatives of some order with numerical derivatives of those of the order before.

    Parameters
    ----------
    subject : Subject
    claim : tuple of str
        Name, code and sentence.
    order : int
        2 or more.

    Notes
    -----
    The numerical side differences the engine's own derivatives of the order before, so what is wrong at a lower order
    is not seen here. A gradient without a history counts as a constant.
    """
    random = subject.generator(claim[0])
    lifted = _lifted(_Lifted(subject), random)
    with refusals_are_no_verdict(subject):
        for _ in range(order - 2):
            lifted = lifted and _lifted(lifted, random)
        if lifted is None:
            return VACUOUS
        outcome = _judged(subject, lifted, claim, random)
        if outcome.vacuous or outcome.finding is not None:
            _meet_refusals(lifted)
    return outcome


def third_order_matches_numeric(subject: Subject) -> Outcome:
    """Apply the oracle to the function's second derivative, in the inputs and in both cotangents."""
    return order_matches_numeric(subject, THIRD, 3)


def in_words(claim: Claim) -> str:
    """What is wrong where a claim about second derivatives does not hold, as a warning says it."""
    if Capability.FORWARD_MODE in claim.needs:
        return "forward and reverse mode differ in the second derivative"
    return "the second derivative is wrong"


@dataclass(frozen=True, slots=True, eq=False)
class Gradient:
    """The function ``inputs, cotangents -> gradients`` of a subject, with and without a history.

    Attributes
    ----------
    of : Subject
        What it is the gradient of.
    moved : tuple of int
        The inputs that it is the gradient in.
    """

    of: Subject
    moved: tuple[int, ...]

    def recorded(self, *tensors: Any) -> tuple[Any, ...]:
        """The engine's tensors in, gradients with a history out; zeros where there is no gradient."""
        return self._gradients(tensors, create_graph=True)

    def sampled(self, inputs: Sequence[Array]) -> list[Array]:
        """Arrays in, arrays out."""
        engine = self.of.engine
        tensors = [engine.tensor(x, requires_grad=k in self.moved) for k, x in enumerate(inputs)]
        return [engine.array(g) for g in self._gradients(tensors, create_graph=False)]

    def _gradients(self, tensors: Sequence[Any], *, create_graph: bool) -> tuple[Any, ...]:
        engine, of = self.of.engine, self.of
        count = len(of.inputs)
        at = engine.linearized(of.function, tensors[:count], [k in self.moved for k in range(count)])
        given = iter(tensors[count:])
        cotangents = [next(given) if engine.kind(y) == "f" else None for y in at.outputs]
        found = at.pull(cotangents, create_graph=create_graph, is_last=True)
        return tuple(
            engine.tensor(np.zeros(of.inputs[k].shape, of.inputs[k].dtype)) if g is None else g
            for k, g in zip(self.moved, found, strict=True)
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Lifted:
    """A function, or its gradient as one, as a subject: it moves in the inputs, and in cotangents for each output.

    Attributes
    ----------
    subject : Subject
    floor : float
        Round-off that the values have at least.
    sampled : callable or None
        From arrays to arrays without a history, where that is another function than the subject's.
    levels : tuple of ranges
        Where the cotangents of each order stand among the inputs, those of the first one first.
    of : _Lifted or None
        What it is the gradient of.
    """

    subject: Subject
    floor: float = 0.0
    sampled: Sampled | None = None
    levels: tuple[range, ...] = ()
    of: _Lifted | None = None


def _lifted(of: _Lifted, random: np.random.Generator) -> _Lifted | None:
    """The gradient of a function; None where there is nothing to differentiate.

    1 - tanh(19)**2 is 0 or 2e-16, which small steps do not show: a gradient has at least the round-off of the function,
    over the change of the input that it answers to.
    """
    subject, first = of.subject, Evaluation(of.subject)
    if not first.moved or not first.size:
        return None
    cotangents = split(directions.cotangent(random, first.size), first.outputs)
    y, u = np.abs(flat(first.outputs)), np.abs(flat(cotangents))
    size = float(np.max(np.where(np.isfinite(y), y * u, 0.0)))
    floor = max(2.0 * first.epsilon * size, of.floor * float(u.max())) / min(
        extent(first.point(k)) for k in first.moved
    )
    given = tuple(np.asarray(u, dtype=y.dtype) for u, y in zip(cotangents, first.outputs, strict=True))
    gradient = Gradient(subject, first.moved)
    lifted = replace(
        subject,
        function=gradient.recorded,
        inputs=(*subject.inputs, *given),
        differentiable=(*subject.differentiable, *(True for _ in given)),
        program=None,  # what computes these outputs is no program
    )
    own = range(len(subject.inputs), len(lifted.inputs))
    return _Lifted(lifted, floor, gradient.sampled, (*of.levels, own), of)


def _judged(subject: Subject, lifted: _Lifted, claim: tuple[str, str, str], random: np.random.Generator) -> Outcome:
    """What the oracle says of a gradient function: each input is a group, and the cotangents of each order are one."""
    evaluation = Evaluation(lifted.subject, lifted.sampled)
    if evaluation.is_narrow:
        evaluation = projected = Projected(lifted.subject, random, lifted.sampled)
        if not projected.is_finite:
            return Outcome(Verdict.INCONCLUSIVE, NOT_FINITE)
    groups: list[tuple[int, ...]] = [(k,) for k in evaluation.moved if k < len(subject.inputs)]
    groups += [tuple(k for k in evaluation.moved if k in level) for level in lifted.levels]
    oracle = Oracle(
        evaluation, random, subject.resolution,
        groups=groups, floor=lifted.floor, kinked=has_kinks(subject.program),
    )  # fmt: skip
    outcome = conclude(lifted.subject, claim, oracle.examine())
    if outcome.finding is None or outcome.finding.evidence is None:
        return outcome
    shown = outcome.finding.evidence
    given = [tuple(lifted.subject.inputs[k] for k in level) for level in lifted.levels]
    first, second, third, *_ = *given, shown.cotangents, ()
    evidence = replace(
        shown, inputs=subject.inputs, differentiable=subject.differentiable,
        cotangents=first, second=second, third=third,
    )  # fmt: skip
    return replace(outcome, finding=replace(outcome.finding, evidence=evidence))


def _meet_refusals(lifted: _Lifted) -> None:
    """Let a rule refuse that a pass towards the inputs alone leaves out, as it leads to none of them.

    PyTorch's ``once_differentiable`` raises in the first pass over the whole record.
    """
    engine = lifted.subject.engine
    if lifted.of is None or Capability.ACCUMULATION not in engine.capabilities:
        return
    _meet_refusals(lifted.of)
    subject = lifted.subject
    outputs = subject.function(*(engine.tensor(x, requires_grad=x.dtype.kind == "f") for x in subject.inputs))
    engine.backward(outputs, [engine.tensor(np.ones_like(engine.array(y))) for y in outputs])


THIRD_ORDER_MATCHES_NUMERIC = Claim(
    *THIRD,
    third_order_matches_numeric,
    needs=frozenset({Capability.HIGHER_ORDER}),
    on_programs=False,
    by_default=False,
)
