"""``mixed_modes_agree`` passes right rules of both modes, and fails a pair of which one is differentiated wrongly."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck
from gradcheck.checks.forward_mode import jvp_agrees_with_vjp
from gradcheck.checks.mixed import mixed_modes_agree
from gradcheck.engines.registry import engine
from gradcheck.failures import Unsupported
from tests.gradcheck.adapters import adapter_fixture, function, library_functions, subject

__all__ = ["adapter_fixture"]

X = np.array([[0.25, 1.25, -2.0], [3.0, -0.75, 0.5]])
Y = np.array([[0.5, 0.0], [-1.0, 2.0], [0.75, -0.25]])


def same(x):
    return x


def detached(x):
    return x.detach()


def cube(adapter, in_backward=same, in_jvp=same, factor=1.0):
    """The third power, each rule of which sees what the function given for it makes of x."""

    class Cube(adapter.library.autograd.Function):
        @staticmethod
        def forward(x):
            return x**3

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)
            ctx.save_for_forward(*inputs)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 3 * g * in_backward(x) ** 2

        @staticmethod
        def jvp(ctx, t):
            (x,) = ctx.saved_tensors
            return 3 * t * (x * in_jvp(x) * factor + x * x * (1 - factor))

    return Cube.apply


@pytest.mark.parametrize("name", ["square", "sums", "softmax", "view", "two"])
def test_right_functions_agree(adapter, name):
    outcome = mixed_modes_agree(subject(adapter, getattr(library_functions(adapter), name), X))
    assert (outcome.verdict, outcome.vacuous) == ("agree", name == "view"), outcome.finding


def test_a_right_function_of_two_inputs_agrees(adapter):
    outcome = mixed_modes_agree(subject(adapter, library_functions(adapter).product, X, Y))
    assert (outcome.verdict, outcome.vacuous) == ("agree", False)


def test_right_rules_agree(adapter):
    outcome = mixed_modes_agree(subject(adapter, cube(adapter), X))
    assert (outcome.verdict, outcome.vacuous) == ("agree", False)


@pytest.mark.parametrize(("in_backward", "in_jvp"), [(same, detached), (detached, same)], ids=["jvp", "backward"])
def test_a_rule_that_is_right_at_first_order_alone_disagrees(adapter, in_backward, in_jvp):
    wrong = subject(adapter, cube(adapter, in_backward, in_jvp), X)
    assert jvp_agrees_with_vjp(wrong).verdict == "agree"
    outcome = mixed_modes_agree(wrong)
    assert outcome.verdict == "disagree"
    assert outcome.finding.code == "GC106"
    assert outcome.finding.evidence.way == "reverse over forward"


def test_a_part_of_a_thousand_millionth_is_seen(adapter):
    outcome = mixed_modes_agree(subject(adapter, cube(adapter, in_jvp=detached, factor=1e-9), X))
    assert outcome.verdict == "disagree"


def test_the_finding_says_which_way_stands_alone(adapter):
    finding = mixed_modes_agree(subject(adapter, cube(adapter, in_jvp=detached), X)).finding
    assert finding.detail.startswith("the first value is by reverse over reverse, the second by reverse over forward; ")
    assert finding.detail.endswith(", as reverse over reverse")
    assert finding.numeric == pytest.approx(finding.analytic / 2)


def test_large_terms_that_cancel_are_no_disagreement(adapter):
    outcome = mixed_modes_agree(subject(adapter, lambda x: (x * x * 1e8 + x * x * x) - x * x * 1e8, X))
    assert outcome.verdict == "agree", outcome.finding


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("far", [4.5, 7.81, 12.56, 16.3, 21.9, 40.2, 301.7])
def test_a_saturated_gradient_is_no_disagreement(adapter, far, scale):
    logaddexp = adapter.library.logaddexp
    for near in (1.0, -0.46, 2.88):
        x, y = np.array(near / scale), np.array(far / scale)
        outcome = mixed_modes_agree(subject(adapter, lambda a, b: logaddexp(a * scale, b * scale) / scale, x, y))
        assert outcome.verdict == "agree", outcome.finding


def test_a_function_without_a_forward_rule_is_unsupported(adapter):
    with pytest.raises(Unsupported):
        mixed_modes_agree(subject(adapter, function(adapter, lambda x: x * x, lambda g, x: g * 2.0 * x), X))


def test_a_linear_function_is_vacuous(adapter):
    assert mixed_modes_agree(subject(adapter, lambda x: x * 3.0, X)).vacuous


def test_nan_is_inconclusive(adapter):
    assert mixed_modes_agree(subject(adapter, lambda x: x * x * float("nan"), X)).verdict == "inconclusive"


def test_nothing_to_differentiate_is_vacuous(adapter):
    assert mixed_modes_agree(subject(adapter, lambda x: x * x, np.zeros((0, 2)))).vacuous


def test_a_function_that_was_not_meant_for_it_gets_a_warning(adapter):
    wrong, x = cube(adapter, in_jvp=detached), adapter.tensor(X)
    report = gradcheck.check(wrong, x)
    assert report.ok
    assert any("GC106" in warning and "forward and reverse mode differ" in warning for warning in report.warnings)
    assert gradcheck.check(wrong, x, claims="GC106").verdict == "disagree"


def test_jax_is_judged_in_all_modes_that_it_has():
    jax = pytest.importorskip("jax")
    adapter = engine("jax")
    assert mixed_modes_agree(subject(adapter, lambda x: x * jax.numpy.exp(x), X)).verdict == "agree"

    @jax.custom_vjp
    def by_hand(x):
        return x**3

    by_hand.defvjp(lambda x: (x**3, x), lambda x, g: (3 * g * x**2,))
    outcome = mixed_modes_agree(subject(adapter, by_hand, X))
    assert (outcome.verdict, outcome.vacuous) == ("agree", False)

    @jax.custom_jvp
    def stopped(x):
        return x**3

    @stopped.defjvp
    def rule(primals, tangents):
        (x,), (t,) = primals, tangents
        return x**3, 3 * jax.lax.stop_gradient(x) ** 2 * t

    assert mixed_modes_agree(subject(adapter, stopped, X)).vacuous  # wrong in every mode alike
