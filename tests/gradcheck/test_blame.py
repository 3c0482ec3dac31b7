"""Blame: a wrong rule is found and named in a program of several ops, and a right op is not."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.blame import blame
from gradcheck.checks import default_claims
from gradcheck.engines import registry
from gradcheck.program import Ref, Step
from gradcheck.runner import PROFILES, Bench, Target, run
from refengine import catalogue
from tests.gradcheck.test_opwise import forgetful, subject
from tools.mutants import mutants_of, planted

X, V0, V1 = Ref("x", 0), Ref("v", 0), Ref("v", 1)
CHAIN = (Step("exp", (X,)), Step("tanh", (V0,)), Step("mul", (V1, X)))
POINT = (0.3, -0.7, 0.9)
CLAIM = default_claims().get("vjp_matches_numeric")


def mutant(op, kind="scaled"):
    return next(m for m in mutants_of(catalogue.get(op)) if m.kind.startswith(kind))


@pytest.mark.parametrize(("op", "place"), [("exp", "v0"), ("tanh", "v1"), ("mul", "v2")])
@pytest.mark.parametrize("kind", ["scaled", "entry"])
def test_the_op_whose_rule_is_wrong_is_named(op, place, kind):
    with planted(mutant(op, kind)):
        words = blame(CLAIM, subject(*CHAIN, x=POINT))
    assert words == f"step {place}, {op}, breaks it alone, at the values that occurred"


def test_every_wrong_op_is_named():
    with planted(mutant("exp")), planted(mutant("tanh")):
        words = blame(CLAIM, subject(*CHAIN, x=POINT))
    assert words.count("breaks it alone") == 2


def test_right_ops_are_not_blamed():
    assert blame(CLAIM, subject(*CHAIN, x=POINT)) == ""


def test_a_single_step_needs_no_blame():
    with planted(mutant("exp")):
        assert blame(CLAIM, subject(CHAIN[0], x=POINT)) == ""


def test_a_wrong_rule_behind_an_in_place_step_is_named():
    steps = (Step("clone", (X,)), Step("exp", (V0,), inplace=True, view=True), Step("mul", (V0, X)))
    with planted(mutant("exp")):
        words = blame(CLAIM, subject(*steps, x=POINT))
    assert words.startswith("exp, as a step without in-place writes, breaks it alone")


def test_a_rule_that_is_not_linear_in_its_cotangent_is_named():
    claim = default_claims().get("backward_is_linear_in_cotangent")
    with planted(mutant("tanh", "absolute")):
        words = blame(claim, subject(*CHAIN, x=POINT))
    assert words == "step v1, tanh, breaks it alone, at the values that occurred"


def test_a_rule_that_raises_is_named():
    made = mutant("tanh")

    def raises(*_, **__):
        raise ZeroDivisionError("no slope")

    with planted(type(made)(made.op, made.position, "raises", raises)):
        words = blame(CLAIM, subject(*CHAIN, x=POINT))
    assert words == "step v1, tanh, breaks it alone, at the values that occurred"


def test_a_wrong_composition_of_right_ops_is_said_to_be_one():
    words = blame(CLAIM, forgetful(*CHAIN))
    assert words.startswith(
        "each op holds it alone, and what the engine makes of them does not (accumulation or views)"
    )


def test_the_suite_s_finding_names_the_op():
    # Right where tanh is within (-0.99995, 0.99995), so that the minimal program calls another op to come there.
    made = mutant("tanh")
    right = catalogue.get("tanh").rules[0][0]

    def rule(xp, g, *saved, **keywords):
        return right(xp, g, *saved, **keywords) * (1.0 + 1e-3 * (abs(saved[0]) > 0.99995))

    engine = registry.engine("refengine")
    bench = Bench(CLAIM, engine, engine, tuple(catalogue.get(name) for name in ("tanh", "exp", "mul")))
    events = []
    with planted(type(made)(made.op, made.position, "region", rule)), np.errstate(all="ignore"):
        run(Target("refengine", "cpu", CLAIM.name, "tanh"), bench, events.append, profile=PROFILES["ci"], seed=1)
    (found,) = [event.finding for event in events if hasattr(event, "finding")]
    assert found.call.count("\nv") == 2
    assert found.detail.startswith("step v1, tanh, breaks it alone, at the values that occurred")
