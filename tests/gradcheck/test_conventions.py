"""GC108: engines have the derivatives at kinks and ties that are declared for them, and a wrong one is found."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from gradcheck.checks import default_claims
from gradcheck.checks.claim import Subject
from gradcheck.checks.conventions import declared_conventions_hold
from gradcheck.engines import registry
from gradcheck.engines.base import Conventions
from gradcheck.engines.refengine import ReferenceEngine
from gradcheck.program import Input, Program, Ref, Step
from gradcheck.verdict import Verdict
from refengine import catalogue
from tests.gradcheck.test_opwise import abs_at_zero
from tools.mutants import Mutant, planted

KINKED = [op.name for op in catalogue.ops() if any(kink.shows_on_a_row for kink in op.kinks)]
X = np.array([0.3, 1.7])


def asked(op, engine="refengine", salt=b""):
    adapter = registry.engine(engine) if isinstance(engine, str) else engine
    if not adapter.supports(op):
        pytest.skip(f"{adapter.name} has no {op}")
    program = Program((Input(X),), (), (Step(op, (Ref("x", 0),)),), (Ref("v", 0),))
    subject = Subject(adapter, program.on(adapter), (X,), (True,), str(program), program=program)
    return declared_conventions_hold(replace(subject, salt=salt))


@contextmanager
def mutated(name, change):
    """The reference engine with a rule of one op changed: ``change(xp, g, *saved)`` of what it returned."""
    op = catalogue.get(name)
    right = op.rules[0][0]

    def rule(xp, g, *saved, **keywords):
        return change(xp, right(xp, g, *saved, **keywords), g, *saved)

    with planted(Mutant(op, 0, "at a kink", rule)):
        yield


@pytest.mark.parametrize("engine", ["refengine", "torch", "jax"])
@pytest.mark.parametrize("op", KINKED)
def test_every_declared_convention_holds(op, engine):
    pytest.importorskip(engine)
    found = [asked(op, engine, salt) for salt in ((b"a", b"b", b"c") if engine != "jax" else (b"a",))]
    assert not any(outcome.finding for outcome in found)
    assert not all(outcome.vacuous for outcome in found)


def test_another_derivative_at_a_kink_is_found_though_it_lies_between_both_sides():
    with abs_at_zero(0.5):
        found = asked("abs")
    assert found.verdict is Verdict.DISAGREE
    assert found.finding.code == "GC108"
    assert (found.finding.analytic, found.finding.numeric) == (0.5, 0.0)
    assert found.finding.detail == "abs at 0.0: the derivative is declared to be 0"
    assert "abs()" in found.finding.call


def test_all_of_a_tie_is_found_where_a_split_is_declared():
    with mutated("amax", lambda xp, result, g, out, x: xp.where(xp.equal(x, out), g, 0.0)):
        found = [asked("amax", salt=salt) for salt in (b"a", b"b", b"c")]
    assert any(outcome.verdict is Verdict.DISAGREE for outcome in found)
    assert "split evenly among equal entries" in next(o.finding.detail for o in found if o.finding)


def test_a_split_among_all_entries_is_found_where_some_are_equal():
    def shared(xp, result, g, out, x):
        return xp.zeros_like(x) + xp.sum(result) / x.size

    with mutated("amax", shared):
        found = [asked("amax", salt=bytes([k])) for k in range(6)]
    assert any(outcome.verdict is Verdict.DISAGREE for outcome in found)


def test_one_of_two_operands_that_takes_all_of_a_tie_is_found():
    with mutated("maximum", lambda xp, result, g, x, y: xp.where(xp.less(x, y), 0.0, g)):
        assert asked("maximum").verdict is Verdict.DISAGREE


def test_an_engine_s_own_declaration_takes_the_place_of_the_op_s():
    engine = ReferenceEngine()
    engine.conventions = Conventions(kinks={"relu": {0.0: 0.5}})
    found = asked("relu", engine)
    assert found.finding.detail == "relu at 0.0: the derivative is declared to be 0.5"
    assert asked("abs", engine).verdict is Verdict.AGREE


def test_a_declaration_that_there_is_no_derivative_is_one_too():
    engine = ReferenceEngine()
    engine.conventions = Conventions(kinks={"norm": {0.0: np.nan}})
    assert asked("norm", engine).verdict is Verdict.DISAGREE


def test_ops_without_kinks_and_other_subjects_are_vacuous():
    assert asked("exp").vacuous
    subject = Subject(registry.engine("refengine"), lambda x: x, (X,), (True,), "f(x)")
    assert declared_conventions_hold(subject).vacuous


def test_the_claim_is_one_of_the_property_suite():
    claim = default_claims().get("GC108")
    assert (claim.kind, claim.on_programs, claim.needs) == ("program", True, frozenset())
