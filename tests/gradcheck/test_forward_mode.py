"""``jvp_agrees_with_vjp`` passes right pairs of rules and fails pairs of which one is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.checks.forward_mode import inner, jvp_agrees_with_vjp, pushed
from gradcheck.failures import Unsupported
from tests.gradcheck.adapters import adapter_fixture, function, library_functions, subject

__all__ = ["adapter_fixture"]

X = np.array([[0.0, 1.25, -2.0], [3.0, 0.0, 0.5]])
Y = np.array([[0.5, 0.0], [-1.0, 2.0], [0.75, -0.25]])


def sine(adapter, jvp_factor=1.0, vjp_factor=1.0):
    class Sine(adapter.library.autograd.Function):
        @staticmethod
        def forward(x):
            return x.sin()

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)
            ctx.save_for_forward(*inputs)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return vjp_factor * g * x.cos()

        @staticmethod
        def jvp(ctx, t):
            (x,) = ctx.saved_tensors
            return jvp_factor * t * x.cos()

    return Sine.apply


@pytest.mark.parametrize("name", ["square", "sums", "softmax", "view", "two"])
def test_right_functions_agree(adapter, name):
    outcome = jvp_agrees_with_vjp(subject(adapter, getattr(library_functions(adapter), name), X))
    assert (outcome.verdict, outcome.vacuous) == ("agree", False), outcome.finding


def test_a_right_function_of_two_inputs_agrees(adapter):
    assert jvp_agrees_with_vjp(subject(adapter, library_functions(adapter).product, X, Y)).verdict == "agree"


def test_right_rules_agree(adapter):
    assert jvp_agrees_with_vjp(subject(adapter, sine(adapter), X)).verdict == "agree"


@pytest.mark.parametrize(("jvp_factor", "vjp_factor"), [(-1.0, 1.0), (1.0, 1.0 + 1e-9), (0.0, 1.0), (1.0, 0.0)])
def test_a_wrong_rule_on_either_side_disagrees(adapter, jvp_factor, vjp_factor):
    outcome = jvp_agrees_with_vjp(subject(adapter, sine(adapter, jvp_factor, vjp_factor), X))
    assert outcome.verdict == "disagree"
    assert outcome.finding.code == "GC102"
    assert outcome.finding.analytic != outcome.finding.numeric


def test_the_same_mistake_on_both_sides_is_not_seen(adapter):
    assert jvp_agrees_with_vjp(subject(adapter, sine(adapter, 2.0, 2.0), X)).verdict == "agree"


def test_large_terms_that_cancel_are_no_disagreement(adapter):
    outcome = jvp_agrees_with_vjp(subject(adapter, lambda x: (x * 1e8 + x) - x * 1e8, X))
    assert outcome.verdict == "agree", outcome.finding


def test_a_function_without_a_forward_rule_is_unsupported(adapter):
    with pytest.raises(Unsupported):
        jvp_agrees_with_vjp(subject(adapter, function(adapter, lambda x: x * 2.0, lambda g, x: g * 2.0), X))


def test_a_constant_function_is_vacuous(adapter):
    assert jvp_agrees_with_vjp(subject(adapter, lambda x: x * 0.0, X)).vacuous


def test_nan_is_inconclusive(adapter):
    assert jvp_agrees_with_vjp(subject(adapter, lambda x: x * float("nan"), X)).verdict == "inconclusive"


def test_pushed_is_the_directional_derivative(adapter):
    (found,) = pushed(subject(adapter, lambda x: x * x, X), [X], [np.ones_like(X)])
    assert np.array_equal(found, 2 * X)


def test_inner_is_the_real_part_of_the_complex_product():
    assert inner([np.array([1j])], [np.array([1j])]) == 1.0
