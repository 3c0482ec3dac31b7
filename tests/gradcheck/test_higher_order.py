"""Third order: right functions agree; a rule that goes wrong there and not before is found, where it is asked for."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck
from gradcheck.checks import default_claims
from gradcheck.checks.higher_order import third_order_matches_numeric
from gradcheck.checks.second_order import second_order_matches_numeric
from gradcheck.engines.registry import engine
from gradcheck.failures import Unsupported
from tests.functions.observed import judge
from tests.gradcheck.adapters import adapter_fixture, function, library_functions, subject

__all__ = ["adapter_fixture"]

X = np.array([[0.0, 1.25, -2.0], [3.0, 0.0, 0.5]])
Y = np.array([[0.5, 0.0], [-1.0, 2.0], [0.75, -0.25]])


def quartic(adapter, kept):
    """The fourth power, whose second derivative is computed from what `kept` makes of x."""
    again = function(adapter, lambda g, x: 4 * g * x**3, lambda h, g, x: (4 * h * x**3, 12 * h * g * kept(x) ** 2))
    return function(adapter, lambda x: x**4, lambda g, x: again(g, x))


@pytest.mark.parametrize("name", ["square", "sums", "softmax", "view", "two"])
def test_right_functions_agree(adapter, name):
    outcome = third_order_matches_numeric(subject(adapter, getattr(library_functions(adapter), name), X))
    assert (outcome.verdict, outcome.vacuous) == ("agree", False), outcome.finding


def test_a_right_function_of_two_inputs_agrees(adapter):
    assert third_order_matches_numeric(subject(adapter, library_functions(adapter).product, X, Y)).verdict == "agree"


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_saturation_raises_no_alarm(adapter, name):
    outcome = third_order_matches_numeric(subject(adapter, getattr(adapter.library, name), np.array([19.0, -40.0])))
    assert outcome.verdict != "disagree", outcome.finding


def test_a_right_rule_of_three_orders_agrees(adapter):
    assert third_order_matches_numeric(subject(adapter, quartic(adapter, lambda x: x), X)).verdict == "agree"


@pytest.mark.parametrize("seed", range(3))
def test_a_rule_that_is_wrong_from_the_third_order_on_disagrees_there_alone(adapter, seed):
    wrong = subject(adapter, quartic(adapter, lambda x: x.detach()), X, salt=bytes([seed]))
    assert second_order_matches_numeric(wrong).verdict == "agree"
    outcome = third_order_matches_numeric(wrong)
    assert outcome.verdict == "disagree"
    assert outcome.finding.code == "GC109"


def test_the_evidence_has_the_inputs_and_cotangents_of_each_order(adapter):
    outcome = third_order_matches_numeric(subject(adapter, quartic(adapter, lambda x: x.detach()), X))
    shown = outcome.finding.evidence
    assert [a.shape for a in shown.inputs] == [X.shape]
    assert [a.shape for a in shown.cotangents] == [X.shape]
    assert [a.shape for a in shown.second] == [X.shape]
    assert [a.shape for a in shown.third] == [X.shape, X.shape]


def test_a_function_that_refuses_to_be_differentiated_again_is_unsupported():
    torch = pytest.importorskip("torch")

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            return g * 2

    with pytest.raises(Unsupported):
        third_order_matches_numeric(subject(engine("torch"), Once.apply, X))


def test_jax_is_judged_too():
    jax = pytest.importorskip("jax")
    adapter = engine("jax")
    assert third_order_matches_numeric(subject(adapter, lambda x: x * jax.numpy.exp(x), X)).verdict == "agree"

    @jax.custom_jvp
    def wrong(x):
        return x**4

    @wrong.defjvp
    def rule(primals, tangents):
        (x,), (t,) = primals, tangents
        return x**4, (x**4 + 4 * x**3 - again(x)) * t

    @jax.custom_jvp
    def again(x):
        return x**4

    @again.defjvp
    def again_rule(primals, tangents):
        (x,), (t,) = primals, tangents
        return x**4, (4 * x**3 + 12 * x**2 - 12 * jax.lax.stop_gradient(x) ** 2) * t

    assert third_order_matches_numeric(subject(adapter, wrong, X)).verdict == "disagree"


def test_nothing_to_differentiate_is_vacuous(adapter):
    assert third_order_matches_numeric(subject(adapter, lambda x: x * x, np.zeros((0, 2)))).vacuous


def test_a_linear_function_has_no_third_derivative_to_be_wrong(adapter):
    assert third_order_matches_numeric(subject(adapter, lambda x: x * 3, X)).verdict == "agree"


def test_it_is_asked_for_by_its_name_alone(adapter):
    wrong, x = quartic(adapter, lambda x: x.detach()), adapter.tensor(X)
    assert "GC109" not in {failure.code for failure in gradcheck.check(wrong, x).failures}
    assert gradcheck.check(wrong, x, claims="GC109").verdict == "disagree"
    assert not default_claims().get("GC109").by_default


def test_a_marker_asks_an_observed_function_for_it_by_name():
    torch = pytest.importorskip("torch")
    wrong = quartic(engine("torch"), lambda x: x.detach())
    x = torch.tensor(X, requires_grad=True)
    assert judge(lambda: wrong(x)).code == ""
    assert judge(lambda: wrong(x), claims=("GC109",)).code == "GC109"
