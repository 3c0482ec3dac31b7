"""`explore` does for any callable of any engine what a run does for one observed call, and says it in a report."""

from __future__ import annotations

import random

import numpy as np
import pytest

import gradcheck
import refengine as re
from gradcheck.failures import GradcheckFailure, UsageError

ROW = [0.5, -1.5, 0.25]
MATRIX = [[0.7, -1.3, 2.1], [0.4, 1.9, -0.6]]


class Square(re.autograd.Function):
    """x * x."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * g * x


class SquareOfTheSmall(Square):
    """Wrong above 3, where none of the inputs given is."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return re.where(x > 3.0, g * x, 2 * g * x)


class SquareAndCube(re.autograd.Function):
    """Two outputs, the second of which is marked as not differentiable by mistake."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        square, cube = x * x, x * x * x
        ctx.mark_non_differentiable(cube)
        return square, cube

    @staticmethod
    def backward(ctx, g, h):
        (x,) = ctx.saved_tensors
        return 2 * g * x + 3 * h * x * x


class SquareAndStatistic(SquareAndCube):
    """As it is meant: nobody wrote a gradient of the second."""

    @staticmethod
    def backward(ctx, g, _):
        (x,) = ctx.saved_tensors
        return 2 * g * x


def test_a_right_function_agrees_and_says_to_what():
    report = gradcheck.explore(Square.apply, re.tensor(MATRIX))
    assert report.verdict == "agree"
    assert 0.0 < report.resolution < 1e-6
    assert str(report).startswith("Square.apply(x0) on refengine-cpu: agree")


def test_a_mistake_that_shows_at_drawn_values_alone_is_found():
    inputs = re.tensor(MATRIX)
    assert gradcheck.check(SquareOfTheSmall.apply, inputs).ok
    report = gradcheck.explore(SquareOfTheSmall.apply, inputs)
    assert report.verdict == "disagree"
    (finding,) = report.failures
    assert finding.code == "GC101"
    assert "at drawn values only" in finding.detail
    assert finding.replay == "gradcheck.explore(SquareOfTheSmall.apply, x0, seed=0)"
    assert "in SquareOfTheSmall.backward" in finding.where


@pytest.mark.parametrize(
    "wrapped", [lambda x: SquareOfTheSmall.apply(x), lambda x: [SquareOfTheSmall.apply(x)]], ids=["plain", "in a list"]
)
def test_any_callable_is_explored_and_the_rule_behind_it_is_named(wrapped):
    report = gradcheck.explore(wrapped, re.tensor(MATRIX))
    assert report.verdict == "disagree"
    assert "in SquareOfTheSmall.backward" in report.failures[0].where


def test_a_failure_reads_in_at_most_25_lines():
    assert len(str(gradcheck.explore(SquareOfTheSmall.apply, re.tensor(MATRIX))).splitlines()) <= 25


def test_the_same_seed_finds_the_same():
    first, second = (gradcheck.explore(SquareOfTheSmall.apply, re.tensor(MATRIX), seed=3) for _ in range(2))
    assert str(first) == str(second)


def test_drawn_values_keep_to_the_domain():
    report = gradcheck.explore(SquareOfTheSmall.apply, re.tensor(MATRIX), domain=(-2.5, 2.5))
    assert report.verdict == "agree"


def test_an_output_marked_as_not_differentiable_though_backward_has_its_gradient_is_found():
    report = gradcheck.explore(SquareAndCube.apply, re.tensor(MATRIX))
    assert report.verdict == "disagree"
    assert "output 1, which forward marks as not differentiable" in report.failures[0].detail


def test_an_output_marked_as_not_differentiable_on_purpose_is_let_be():
    report = gradcheck.explore(SquareAndStatistic.apply, re.tensor(MATRIX))
    assert report.verdict == "agree"
    assert "1 floating outputs are marked as not differentiable" in report.warnings


def test_a_mismatch_that_is_meant_is_no_agreement_and_no_failure():
    class Reversed(Square):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            return -g

    report = gradcheck.explore(Reversed.apply, re.tensor(MATRIX))
    assert report.verdict == "inconclusive"
    assert "so only its backward can be what it is for" in report.inconclusive[0]
    assert gradcheck.explore(Reversed.apply, re.tensor(MATRIX), strict=True).verdict == "disagree"


def test_a_claim_of_which_nothing_is_demanded_must_hold_where_it_is_named():
    class Detached(Square):
        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 2 * g * x.detach()

    report = gradcheck.explore(Detached.apply, re.tensor(ROW))
    assert report.verdict == "agree"
    assert any("the second derivative is wrong" in text for text in report.warnings)
    named = gradcheck.explore(Detached.apply, re.tensor(ROW), claims=["GC104"])
    assert [finding.code for finding in named.failures] == ["GC104"]


def test_a_named_claim_that_cannot_be_judged_leaves_it_open():
    report = gradcheck.explore(Square.apply, re.tensor(ROW), claims=["jvp_agrees_with_vjp"])
    assert report.verdict == "inconclusive"
    assert report.inconclusive == ("GC102 jvp_agrees_with_vjp: could not be judged",)


def test_no_time_leaves_the_claims_that_are_always_asked():
    report = gradcheck.explore(Square.apply, re.tensor(ROW), seconds=0.0)
    assert report.verdict == "agree"
    assert any(text.startswith("cut by seconds=0: ") and "GC604" in text for text in report.warnings)


def test_assert_explore_raises_unless_it_agrees():
    assert gradcheck.assert_explore(Square.apply, re.tensor(ROW)).ok
    with pytest.raises(GradcheckFailure, match="SquareOfTheSmall") as caught:
        gradcheck.assert_explore(SquareOfTheSmall.apply, re.tensor(ROW))
    assert caught.value.report.failures


def test_an_exception_of_the_function_at_the_inputs_given_is_the_callers():
    def refusing(x):
        raise LookupError("not today")

    with pytest.raises(LookupError, match="not today"):
        gradcheck.explore(refusing, re.tensor(ROW))


def test_what_cannot_be_differentiated_is_a_usage_error():
    with pytest.raises(UsageError, match="expected a floating tensor"):
        gradcheck.explore(Square.apply, re.tensor([1, 2]))
    with pytest.raises(UsageError, match="unknown 'GC999'"):
        gradcheck.explore(Square.apply, re.tensor(ROW), claims=["GC999"])


def test_inputs_gradients_and_random_states_are_left_as_they_are():
    x = re.tensor(ROW, requires_grad=True)
    re.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    before = re.get_rng_state(), random.getstate(), np.random.get_state()

    def noisy(x):
        return x * (1.0 + 0.0 * random.random()) + 0.0 * re.rand(3).sum() + 0.0 * np.random.rand()

    gradcheck.explore(noisy, x)
    assert x.grad is None
    assert random.getstate() == before[1]
    assert np.random.get_state()[2] == before[2][2]
    assert np.array_equal(np.asarray(re.get_rng_state()), np.asarray(before[0]))


def test_the_list_that_a_function_closes_over_is_brought_back():
    calls = []

    def counted(x):
        calls.append(1)
        return x * x

    assert gradcheck.explore(counted, re.tensor(ROW)).ok
    assert calls == []


def test_a_staircase_at_one_drawn_size_excuses_no_other_input():
    class Normalised(re.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x / (x * x).sum(-1, keepdim=True).sqrt()

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            norm = (x * x).sum(-1, keepdim=True).sqrt()
            y = x / norm
            return (g - y * (g * y).sum(-1, keepdim=True)) / norm

    report = gradcheck.explore(Normalised.apply, re.tensor(MATRIX))
    assert report.verdict == "agree"


# JAX ---------------------------------------------------------------------------------------------------------------


def _jax_square(backward):
    jax = pytest.importorskip("jax")

    @jax.custom_vjp
    def square(x):
        return x * x

    square.defvjp(lambda x: (x * x, x), backward)
    return square


def test_a_custom_vjp_of_jax_is_explored():
    jnp = pytest.importorskip("jax.numpy")
    x = jnp.array(MATRIX)
    assert gradcheck.explore(_jax_square(lambda x, g: (2 * g * x,)), x).ok
    wrong = _jax_square(lambda x, g: (jnp.where(x > 3.0, g * x, 2 * g * x),))
    assert gradcheck.check(wrong, x).ok
    report = gradcheck.explore(wrong, x)
    assert [finding.code for finding in report.failures] == ["GC101"]
    assert report.failures[0].where.startswith("tests/functions/test_exploration.py:")


def test_types_of_jax_are_as_before_afterwards():
    jax = pytest.importorskip("jax")
    gradcheck.explore(_jax_square(lambda x, g: (2 * g * x,)), jax.numpy.array(ROW), seconds=0.0)
    assert not jax.config.jax_enable_x64


def test_the_second_derivative_of_a_jax_rule_is_a_warning_unless_it_is_named():
    jax = pytest.importorskip("jax")
    detached = _jax_square(lambda x, g: (2 * g * jax.lax.stop_gradient(x),))
    report = gradcheck.explore(detached, jax.numpy.array(ROW), claims=["GC104"])
    assert "GC104" in [finding.code for finding in report.failures]


# PyTorch -----------------------------------------------------------------------------------------------------------


def test_float32_inputs_of_torch_are_judged_in_float64():
    torch = pytest.importorskip("torch")
    report = gradcheck.explore(lambda x: x.exp().sum(-1), torch.tensor(MATRIX))
    assert report.ok
    assert report.resolution < 1e-7


def test_a_module_of_torch_keeps_its_gradients_and_buffers():
    torch = pytest.importorskip("torch")
    module = torch.nn.BatchNorm1d(3)
    before = module.running_mean.clone()
    gradcheck.explore(module, torch.tensor(MATRIX))
    assert torch.equal(module.running_mean, before)
    assert module.weight.grad is None
