"""Comparisons: right derivatives agree, wrong ones disagree, what cannot be known is inconclusive."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.numeric.derivative import KINK, NOISE
from gradcheck.numeric.differences import EFFORTS, Ladder
from gradcheck.numeric.verdict import compare
from gradcheck.verdict import Verdict


def judge(f, gradient, *, u=1.0, single=False, rtol=1e-6):
    """Compare the gradient of f: R^n -> R^m given as J (m, n), along the all-ones direction."""
    jacobian = np.atleast_2d(np.asarray(gradient, dtype=np.float64))
    cotangent = np.broadcast_to(np.asarray(u, dtype=np.float64), (jacobian.shape[0],))
    ladder = Ladder(lambda t: np.atleast_1d(np.asarray(f(np.float64(t)), dtype=np.float64)))
    natural = float(np.sum(np.abs(cotangent * np.where(np.isfinite(ladder.base), ladder.base, 0.0))))
    with np.errstate(all="ignore"):
        return compare(
            cotangent @ jacobian, np.ones(jacobian.shape[1]), cotangent, ladder.derivative(EFFORTS - 1),
            natural=natural, rtol=rtol, last=True, single=single,
        )  # fmt: skip


@pytest.mark.parametrize("group", ["smooth", "ill-scaled", "stiff", "near kink", "edge", "saturated"])
def test_right_derivatives_never_disagree_and_wrong_ones_never_agree(group):
    pytest.importorskip("mpmath")
    from tests.gradcheck.numeric.family import draw

    random = np.random.default_rng(22)
    alarms, missed = [], []
    for _ in range(85):
        case = draw(random, group)
        truth = case.truth()
        if judge(case.curve, truth).verdict is Verdict.DISAGREE:
            alarms.append(case.name)
        wrong = judge(case.curve, truth * (1 + 1e-5))
        # Closer than the smallest step, a kink is at the point, and its whole interval is right.
        smooth = Ladder(case.curve).derivative(EFFORTS - 1).smooth[0]
        if wrong.verdict is Verdict.AGREE and smooth and not wrong.zero:
            missed.append(case.name)
    assert (alarms, missed) == ([], [])


def test_relative_error_of_1e_5_in_a_smooth_function_disagrees():
    pytest.importorskip("mpmath")
    from tests.gradcheck.numeric.family import draw

    random = np.random.default_rng(23)
    verdicts = [judge(c.curve, c.truth() * (1 - 1e-5)).verdict for c in (draw(random, "smooth") for _ in range(60))]
    assert verdicts.count(Verdict.DISAGREE) == 60


def test_tiny_gradients_are_judged_relatively():
    assert judge(lambda t: 1e-8 * np.sin(1 + t), 1e-8 * np.cos(1.0)).verdict is Verdict.AGREE
    assert judge(lambda t: 1e-8 * np.sin(1 + t), 1.001e-8 * np.cos(1.0)).verdict is Verdict.DISAGREE
    assert judge(lambda t: 1e-8 * np.sin(1 + t), 0.0).verdict is Verdict.DISAGREE


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_between_the_one_sided_derivatives_everything_agrees(value):
    assert judge(lambda t: max(t, 0.0), value, single=True).verdict is Verdict.AGREE


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_outside_the_one_sided_derivatives_one_op_disagrees_and_several_are_inconclusive(value):
    assert judge(lambda t: max(t, 0.0), value, single=True).verdict is Verdict.DISAGREE
    several = judge(lambda t: max(t, 0.0), value)
    assert (several.verdict, several.reason) == (Verdict.INCONCLUSIVE, KINK)


@pytest.mark.parametrize("u", [1.0, -2.0])
def test_wrong_relu_away_from_zero_disagrees(u):
    assert judge(lambda t: max(0.7 + t, 0.0), 1.1, u=u).verdict is Verdict.DISAGREE
    assert judge(lambda t: max(0.7 + t, 0.0), 1.0, u=u).verdict is Verdict.AGREE


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_gradient_that_is_not_finite_disagrees_where_the_derivative_is(broken):
    assert judge(np.sin, broken).verdict is Verdict.DISAGREE
    assert judge(lambda t: t * t, broken).verdict is Verdict.DISAGREE
    assert judge(abs, broken, single=True).verdict is Verdict.DISAGREE


def test_nan_gradient_where_the_function_is_nan_is_inconclusive():
    assert judge(lambda t: np.nan, np.nan).verdict is Verdict.INCONCLUSIVE


def test_infinite_slope_is_inconclusive():
    assert judge(lambda t: np.sqrt(t), np.inf).verdict is Verdict.INCONCLUSIVE


def test_lost_digits_are_inconclusive_for_their_noise():
    found = judge(lambda t: np.float64(np.sin(np.float32(1.0 + t))), np.cos(1.0))
    assert (found.verdict, found.reason) == (Verdict.INCONCLUSIVE, NOISE)


def test_wave_faster_than_every_step_is_no_disagreement():
    assert judge(lambda t: np.sin(1e17 * (1.0 + t)), 1e17).verdict is Verdict.INCONCLUSIVE


def test_both_zero_is_marked():
    found = judge(lambda t: 3.0, 0.0)
    assert (found.verdict, found.zero) == (Verdict.AGREE, True)


def test_outputs_with_cotangent_zero_are_left_out():
    assert judge(lambda t: [np.sin(t), np.nan], [[1.0], [5.0]], u=[1.0, 0.0]).verdict is Verdict.AGREE
