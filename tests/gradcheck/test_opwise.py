"""A program at a kink is judged op by op: right conventions agree, a wrong rule or a wrong sum disagrees."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from gradcheck.checks.claim import Subject
from gradcheck.checks.gradient import vjp_matches_numeric
from gradcheck.checks.opwise import Gap, composed_otherwise, op_by_op, taken_apart
from gradcheck.engines import registry
from gradcheck.engines.refengine import ReferenceEngine
from gradcheck.failures import Unsupported
from gradcheck.program import Input, Program, Ref, Step
from gradcheck.verdict import Verdict
from refengine import catalogue
from tests.gradcheck.test_numeric_forward import drawn
from tools.mutants import Mutant, mutants_of, planted

X, V0, V1, V2 = Ref("x", 0), Ref("v", 0), Ref("v", 1), Ref("v", 2)
CANCELLING = (Step("relu", (X,)), Step("neg", (X,)), Step("relu", (V1,)), Step("sub", (V0, V2)))
VANISHING = (Step("abs", (X,)), Step("neg", (X,)), Step("abs", (V1,)), Step("sub", (V0, V2)))


def subject(*steps, x=(0.0, 0.0, 1.0), engine=None):
    own = engine or registry.engine("refengine")
    program = Program((Input(np.array(x)),), (), steps, (Ref("v", len(steps) - 1),))
    values = tuple(given.values for given in program.inputs)
    return Subject(own, program.on(own), values, (True,), str(program), program=program)


@contextmanager
def abs_at_zero(value):
    """The reference engine with another convention of abs at 0."""
    op = catalogue.get("abs")
    right = op.rules[0][0]

    def rule(xp, g, *saved, **keywords):
        return xp.where(saved[0] == 0.0, g * value, right(xp, g, *saved, **keywords))

    with planted(Mutant(op, 0, "at zero", rule)):
        yield


def test_right_conventions_that_do_not_compose_agree():
    found = vjp_matches_numeric(subject(*CANCELLING))
    assert (found.verdict, found.reason, found.vacuous) == (Verdict.AGREE, "op by op", False)
    assert 0.0 < found.resolution <= 1e-6


@pytest.mark.parametrize("value", [-1.0, 0.5, 1.0])
def test_every_convention_between_left_and_right_agrees(value):
    with abs_at_zero(value):
        found = vjp_matches_numeric(subject(*VANISHING))
    assert (found.verdict, found.reason) == (Verdict.AGREE, "op by op")


@pytest.mark.parametrize("value", [-1.1, 1.1, 2.0])
def test_a_convention_outside_disagrees_and_the_op_is_named(value):
    with abs_at_zero(value):
        found = vjp_matches_numeric(subject(*VANISHING))
    assert found.verdict is Verdict.DISAGREE
    assert found.finding.detail.startswith("step v0, abs, alone is wrong")


def test_a_wrong_rule_beside_a_kink_disagrees():
    wrong = next(m for m in mutants_of(catalogue.get("neg")) if m.kind == "scaled")
    with planted(wrong):
        found = op_by_op(subject(*CANCELLING), np.random.default_rng(0))
    assert (found.judgement.verdict, found.local.op) == (Verdict.DISAGREE, "neg")


class Forgetful(ReferenceEngine):
    """Gives a gradient to whole programs that misses a part of it."""

    def linearized(self, function, tensors, wanted):
        at = super().linearized(function, tensors, wanted)
        is_whole = len(tensors) == 1 and getattr(function, "is_whole", False)
        return Halved(at) if is_whole else at


class Halved:
    def __init__(self, at):
        self.at, self.outputs = at, at.outputs

    def pull(self, cotangents, **keywords):
        return tuple(None if g is None else g * 0.5 for g in self.at.pull(cotangents, **keywords))


def forgetful(*steps):
    made = subject(*steps, engine=Forgetful())
    run = made.function

    def whole(*tensors):
        return run(*tensors)

    whole.is_whole = True
    return replace(made, function=whole)


def test_ops_that_are_right_and_composed_wrongly_disagree():
    found = vjp_matches_numeric(forgetful(*CANCELLING[:1], Step("mul", (V0, X)), Step("relu", (V1,))))
    assert found.verdict is Verdict.DISAGREE
    found = op_by_op(forgetful(*CANCELLING), np.random.default_rng(0))
    assert (found.judgement.verdict, found.local) == (Verdict.DISAGREE, None)
    assert found.judgement.wrong.analytic == 0.5 * found.judgement.wrong.numeric


@pytest.mark.parametrize("engine", ["refengine", "torch"])
def test_drawn_programs_compose_to_the_engine_s_gradient(engine):
    pytest.importorskip(engine)
    tried = 0
    with np.errstate(all="ignore"):
        for program, at, _ in drawn(40, seed=11, engine=engine):
            own = at.evaluation.subject
            try:
                gap = composed_otherwise(own, taken_apart(own), at.random)
            except Unsupported:  # a fault of the engine that is declared
                continue
            tried += 1
            assert not isinstance(gap, Gap), str(program)
    assert tried >= 35


def test_each_step_is_taken_at_the_values_and_layouts_that_occurred():
    x = np.arange(1.0, 7.0).reshape(2, 3)
    made = subject(Step("t", (X,)), Step("exp", (V0,)), Step("sum", (V1,), {"dim": 0}), x=x)
    steps = taken_apart(made).steps
    assert [local.op for local in steps] == ["t", "exp", "sum"]
    (values,) = steps[1].subject.inputs
    assert (values == x.T).all()
    assert values.strides == x.T.strides


def test_a_constant_operand_is_not_differentiated():
    made = subject(Step("floor_divide", (X, 2.0)), Step("mul", (X, V0)), x=(3.0, 5.0))
    (local,) = taken_apart(made).steps
    assert local.operands == (X,)
    assert [c.tolist() for c in local.subject.program.constants] == [[1.0, 2.0]]
