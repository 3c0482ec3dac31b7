"""Declarations are true: each kink is a kink with the promised derivative, and each rule is right on its domain."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from gradcheck.checks import default_claims
from gradcheck.checks.conventions import Operand, Same
from gradcheck.drawing import RecordDraw
from gradcheck.engines import registry
from gradcheck.grammar import KINK, decode
from gradcheck.plan import own_share
from gradcheck.program import Array, Ref
from gradcheck.runner import Bench, Skipped, check_program
from gradcheck.verdict import Verdict
from refengine import catalogue
from refengine.op import Op
from refengine.spec import Call, Kink

ENGINE = registry.engine("refengine")
CLAIM = default_claims().get("vjp_matches_numeric")
CALLS, CASES = 200, 12
STEP = 1e-6
# One-sided differences over STEP are off by about STEP times the curvature, and by 1e-10 of round-off.
CLOSE = 1e-4
KINKS = [(op, kink) for op in catalogue.ops() for kink in op.kinks if kink.shows_on_a_row]
DRAWABLE = [
    op for op in catalogue.ops() if op.differentiable and not op.boolean and any(map(op.accepts, [(), (2,), (2, 2)]))
]


@dataclass
class Placed:
    """One call with its operands on a kink."""

    op: Op
    call: Call
    operands: list[Operand]

    def value(self, moved: Any, others: float = 0.0) -> float:
        """The sum of the results after the first operand, and the others, have moved."""
        return float(np.sum(ENGINE.array(self._run(moved, others)[0])))

    def slopes(self, along: Array) -> tuple[float, float]:
        """The derivatives from the left and from the right."""
        here = self.value(0.0)
        return (here - self.value(-STEP * along)) / STEP, (self.value(STEP * along) - here) / STEP

    def gradients(self) -> list[Array]:
        """What the rule returns for the sum of the results, an array for each operand that is differentiated."""
        out, tensors = self._run(0.0, 0.0)
        one = ENGINE.tensor(np.ones(tuple(out.shape)))
        found = ENGINE.grad((out,), tensors, (one,))
        return [np.zeros(tuple(x.shape)) if g is None else ENGINE.array(g) for x, g in zip(tensors, found, strict=True)]

    def _run(self, moved: Any, others: float) -> tuple[Any, list[Any]]:
        shifts = [moved, *[others] * (len(self.operands) - 1)]
        tensors = {
            id(x): ENGINE.tensor(x.values + shift, requires_grad=True)
            for x, shift in zip(self.operands, shifts, strict=True)
        }
        arguments = [tensors.get(id(leaf), leaf) for leaf in self.call.args]
        keywords = {name: tensors.get(id(leaf), leaf) for name, leaf in self.call.kwargs.items()}
        return ENGINE.call(self.op.name, tuple(arguments), keywords), list(tensors.values())


def placed(op: Op, kink: Kink) -> Iterator[Placed]:
    """Calls of the op on its kink; the first is the simplest, with the defaults."""
    generator = random.Random(f"{op.name} {kink.at}")
    for number in range(CALLS):
        size = 1 if number == 0 and kink.at != "tie" else 3
        x = Operand(np.full((size,), 0.5 if kink.at == "tie" else kink.at, dtype=np.float64), Ref("x", 0))
        source = Same([x])
        record = bytes(16) if number == 0 else generator.randbytes(16)
        call = op.sample(RecordDraw(record, 0, source), x)  # type: ignore[arg-type]
        yield Placed(op, call, source.operands)


def direction(kink: Kink) -> Array:
    """One that leaves a tie, or the kink in every entry."""
    return np.array([1.0, 0.0, 0.0]) if kink.at == "tie" else np.ones(3)


def is_kinked(one: Placed, kink: Kink) -> bool:
    """Whether the derivatives from both sides differ."""
    left, right = one.slopes(direction(kink)[: one.operands[0].values.size])
    return abs(left - right) > CLOSE * (1 + abs(left) + abs(right))


@pytest.mark.parametrize(("op", "kink"), KINKS, ids=lambda part: getattr(part, "name", None) or str(part.at))
def test_a_declared_kink_is_a_kink(op: Op, kink: Kink) -> None:
    assert any(is_kinked(one, kink) for one in placed(op, kink))


@pytest.mark.parametrize(("op", "kink"), KINKS, ids=lambda part: getattr(part, "name", None) or str(part.at))
def test_the_rule_returns_the_declared_derivative_at_a_kink(op: Op, kink: Kink) -> None:
    if kink.at != "tie":  # The promise is for the default parameters.
        (gradient, *_) = next(placed(op, kink)).gradients()
        np.testing.assert_allclose(gradient, float(kink.convention), rtol=1e-14)
        return
    kinked = [one for one in placed(op, kink) if is_kinked(one, kink)]
    for one in kinked:
        gradients = one.gradients()
        if kink.convention == "split":
            assert_split(one, gradients)
        else:
            np.testing.assert_allclose(gradients[0], float(kink.convention), rtol=1e-14)


def assert_split(one: Placed, gradients: list[Array]) -> None:
    """All tied entries have an equal share of the derivative along the tie, where the op is smooth."""
    shares = np.concatenate([g.reshape(-1) for g in gradients])
    along = (one.value(STEP, STEP) - one.value(0.0)) / STEP
    np.testing.assert_allclose(shares, along / shares.size, rtol=CLOSE)


@pytest.mark.parametrize("op", DRAWABLE, ids=lambda op: op.name)
def test_a_rule_is_the_numerical_derivative_on_the_declared_domain(op: Op) -> None:
    bench = Bench(CLAIM, ENGINE, ENGINE, catalogue.ops())
    generator = random.Random(op.name)
    unsure = 0
    for _ in range(CASES):
        step = bytearray(generator.randbytes(16))
        step[0], step[3] = step[0] % own_share(1), step[3] % KINK
        program = decode([generator.randbytes(16), bytes(step)], bench.ops, executor=ENGINE, group=op.name)
        outcome = check_program(bench, program)
        assert not isinstance(outcome, Skipped), outcome.reason
        assert outcome.verdict is not Verdict.DISAGREE, outcome.finding
        unsure += outcome.verdict is Verdict.INCONCLUSIVE and not outcome.vacuous
    assert unsure <= CASES // 4
