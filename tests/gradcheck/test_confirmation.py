"""Before a disagreement is raised: round-off of the gradient and kinks excuse what they explain, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.checks.claim import Subject
from gradcheck.checks.gradient import vjp_matches_numeric
from gradcheck.checks.second_order import second_order_matches_numeric
from gradcheck.program import Input, Program, Ref, Step
from gradcheck.verdict import Verdict
from tests.fakes.closure import ClosureEngine, Rule
from tests.gradcheck.adapters import adapter_fixture, function, subject

__all__ = ["adapter_fixture"]
SALTS = [bytes([n]) for n in range(6)]
ZERO = np.array(0.0)


def judged(rule, x, salt=b""):
    return vjp_matches_numeric(Subject(ClosureEngine(), rule, (x,), (True,), "rule(x0)", salt=salt))


def tilted(x, slope=0.0, bend=1.0):
    """Nothing but cancellation, plus `slope` times the sum; its gradient is off by the factor `bend`."""
    weights = np.array([1.0, 3.0, -4.0]) * 1e3 / 3.0

    def forward(x):
        return (x - x)[0] + slope * x.sum()

    def backward(u, x):
        return bend * (slope * u[0] + (u[0] * weights).sum() + np.zeros(x.shape))

    return Rule(forward, backward)


@pytest.mark.parametrize("salt", SALTS)
def test_gradient_of_pure_cancellation_is_no_disagreement(adapter, salt):
    def normalized(x):
        batch = x.expand(2, 2, 2)
        return adapter.library.nn.functional.batch_norm(batch, None, None, training=True)

    found = vjp_matches_numeric(subject(adapter, normalized, np.array([[1.0], [-1.0]]), salt=salt))
    assert (found.verdict, found.vacuous) == (Verdict.AGREE, True)


@pytest.mark.parametrize("salt", SALTS)
def test_round_off_that_cancellation_leaves_is_no_disagreement(salt):
    assert judged(tilted(None), np.array([0.3, 0.7, -1.1]), salt).verdict is not Verdict.DISAGREE


@pytest.mark.parametrize("salt", SALTS)
@pytest.mark.parametrize("bend", [1.0 + 1e-5, 0.5])
def test_wrong_rule_beside_cancellation_disagrees(bend, salt):
    found = judged(tilted(None, slope=1.7, bend=bend), np.array([0.3, 0.7, -1.1]), salt)
    assert found.verdict is Verdict.DISAGREE


@pytest.mark.parametrize("special", [0.0, 1.0, -2.5])
@pytest.mark.parametrize("salt", SALTS)
def test_rule_that_is_wrong_at_one_value_only_disagrees(special, salt):
    rule = Rule(np.sin, lambda u, x: u[0] * np.where(x == special, 0.3, np.cos(x)))
    assert judged(rule, np.array([special, 0.4, 1.3]), salt).verdict is Verdict.DISAGREE


@pytest.mark.parametrize("salt", SALTS)
def test_kink_of_two_ops_that_a_lone_line_misses_is_no_disagreement(adapter, salt):
    functional = adapter.library.nn.functional
    at_the_tie = subject(adapter, lambda x, y: functional.mse_loss(functional.l1_loss(x, y), y), ZERO, ZERO, salt=salt)
    found = second_order_matches_numeric(at_the_tie)
    assert (found.verdict, found.reason) == (Verdict.INCONCLUSIVE, "kink")


@pytest.mark.parametrize("salt", SALTS)
def test_program_whose_kinks_cancel_is_no_disagreement(adapter, salt):
    x, v0, v1, v2 = Ref("x", 0), Ref("v", 0), Ref("v", 1), Ref("v", 2)
    steps = (Step("relu", (x,)), Step("neg", (x,)), Step("relu", (v1,)), Step("sub", (v0, v2)))
    program = Program((Input(np.zeros(1)),), (), steps, (Ref("v", 3),))
    at_zero = subject(adapter, lambda x: program.run(adapter, [x]), np.zeros(1), salt=salt, program=program)
    assert vjp_matches_numeric(at_zero).verdict is not Verdict.DISAGREE


@pytest.mark.parametrize("salt", SALTS)
def test_rule_that_is_wrong_beside_a_kink_of_its_program_disagrees(adapter, salt):
    wrong = function(adapter, lambda x: x.relu(), lambda g, x: 1.1 * g * (x > 0))
    found = vjp_matches_numeric(
        subject(adapter, lambda x: wrong(x).sum(), np.array([0.0, 0.73, -2.0, 1.41]), salt=salt)
    )
    assert found.verdict is Verdict.DISAGREE


@pytest.mark.parametrize("salt", SALTS)
def test_comparison_that_flips_nearby_hides_nothing(salt):
    def gated(x):
        return x * (np.abs(x - 0.45) <= 0.5504)

    right = Rule(gated, lambda u, x: u[0] * (np.abs(x - 0.45) <= 0.5504))
    wrong = Rule(gated, lambda u, x: u[0] * (np.abs(x - 0.45) <= 0.5504) * 1.00001)
    x = np.array([1.0, 0.3])
    assert [judged(rule, x, salt).verdict for rule in (right, wrong)] == [Verdict.AGREE, Verdict.DISAGREE]


@pytest.mark.parametrize("salt", SALTS)
def test_output_that_jumps_nearby_and_is_flat_here_has_no_derivative(salt):
    flat = Rule(lambda x: 19.44 * (x > 0.9996), lambda u, x: 0.0 * u[0])
    sloping = Rule(flat.forward, lambda u, x: 1e-3 * u[0])
    assert judged(flat, np.array([1.0, 0.3]), salt).verdict is Verdict.AGREE
    assert judged(sloping, np.array([1.0, 0.3]), salt).verdict is Verdict.DISAGREE


@pytest.mark.parametrize("salt", SALTS)
def test_kink_that_equal_entries_of_one_memory_stay_on_is_no_disagreement(adapter, salt):
    point = np.broadcast_to(np.array([-1.56]), (6,))
    spread = subject(adapter, lambda x: (-7.32 - x).std(correction=0.5), point, salt=salt)
    for claim in (vjp_matches_numeric, second_order_matches_numeric):
        assert claim(spread).verdict is not Verdict.DISAGREE


@pytest.mark.parametrize("salt", SALTS)
def test_rule_that_is_wrong_for_an_expanded_input_disagrees(adapter, salt):
    wrong = function(adapter, lambda x: x.exp(), lambda g, x: 1.00001 * g * x.exp())
    point = np.broadcast_to(np.array([0.3, -1.56]), (3, 2))
    assert vjp_matches_numeric(subject(adapter, wrong, point, salt=salt)).verdict is Verdict.DISAGREE
