"""The derivative along a line: its estimate covers the truth, kinks and edges are told apart, noise is measured."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.numeric.derivative import EDGE, KINK, NOISE, NOT_FINITE
from gradcheck.numeric.differences import DEEP, EFFORTS, WIDE, Ladder, differentiate

LAST = EFFORTS - 1


def best(f, effort=LAST):
    return Ladder(lambda t: np.atleast_1d(np.asarray(f(np.float64(t)), dtype=np.float64))).derivative(effort)


def everywhere(found):
    return np.ones(found.value.shape, dtype=bool)


@pytest.mark.parametrize("group", ["smooth", "ill-scaled", "stiff", "near kink", "edge", "saturated"])
def test_estimate_covers_the_true_error(group):
    pytest.importorskip("mpmath")
    from tests.gradcheck.numeric.family import draw

    random = np.random.default_rng(20)
    exceeded = []
    for _ in range(100):
        case = draw(random, group)
        found = Ladder(case.curve).derivative(LAST)
        if found.smooth[0] and not abs(found.value[0] - case.truth()) <= found.error[0]:
            exceeded.append(case.name)
    assert exceeded == []


@pytest.mark.parametrize(
    ("group", "effort", "resolution"), [("smooth", 0, 1e-7), ("smooth", LAST, 1e-8), ("ill-scaled", 0, 1e-7)]
)
def test_estimate_is_small_where_the_function_is_smooth(group, effort, resolution):
    pytest.importorskip("mpmath")
    from tests.gradcheck.numeric.family import draw

    random = np.random.default_rng(21)
    relative = []
    for _ in range(60):
        case = draw(random, group)
        found = Ladder(case.curve).derivative(effort)
        relative.append(found.error[0] / abs(case.truth()))
    assert np.quantile(relative, 0.9) < resolution


def test_short_ladder_takes_eleven_evaluations():
    assert best(np.exp, effort=0).evaluations == 11


def test_efforts_reuse_the_samples_of_cheaper_ones():
    seen = []

    def phi(t):
        seen.append(t)
        return np.array([np.exp(t)])

    ladder = Ladder(phi)
    for effort in range(EFFORTS):
        ladder.derivative(effort)
    assert len(seen) == len(set(seen)) == ladder.evaluations


def test_relu_at_zero_has_two_derivatives():
    found = best(lambda t: max(t, 0.0))
    assert not found.smooth[0]
    assert (found.left[0], pytest.approx(found.right[0])) == (0.0, 1.0)
    assert found.reason(everywhere(found)) == KINK


@pytest.mark.parametrize("distance", [1e-1, 1e-3, 1e-5, 1e-7])
def test_kink_nearby_is_passed_by_smaller_steps(distance):
    found = best(lambda t: abs(t + distance) * 1.1)
    assert found.smooth[0]
    assert abs(found.value[0] - 1.1) <= found.error[0] <= 1e-4


def test_jump_on_one_side_leaves_the_other_sides_derivative():
    found = best(lambda t: 3.0 * t + (1.0 if t > 0 else 0.0))
    assert found.one_sided[0]
    assert found.value[0] == pytest.approx(3.0)


def test_function_that_ends_at_the_point_has_a_one_sided_derivative():
    found = best(lambda t: t * np.sqrt(t))
    assert found.one_sided[0]
    assert abs(found.value[0]) <= found.error[0] < 1e-2
    assert found.reason(everywhere(found)) == EDGE


@pytest.mark.parametrize("f", [lambda t: np.sqrt(np.abs(t)), np.cbrt], ids=["cusp", "upright"])
def test_infinite_slope_is_never_resolved(f):
    found = best(f)
    assert not found.smooth[0] or found.error[0] > 0.5 * abs(found.value[0])


def test_logarithm_close_to_its_edge_is_resolved():
    found = best(lambda t: np.log(1e-3 + t))
    assert abs(found.value[0] - 1e3) <= found.error[0] < 1e-5


def test_pole_across_the_steps_does_not_pass_for_a_derivative():
    found = best(lambda t: 1.0 / (t + 2e-5))
    assert abs(found.value[0] + 2.5e9) <= found.error[0] < 2.5e4


def test_infinite_value_is_named():
    found = best(lambda t: np.log(np.abs(t)))
    assert found.reason(everywhere(found)) == NOT_FINITE


def test_float32_inside_is_measured_as_noise():
    found = best(lambda t: np.float64(np.sin(np.float32(1.0 + t))))
    assert abs(found.value[0] - np.cos(1.0)) <= found.error[0]
    assert found.error[0] > 1e-7
    assert found.reason(everywhere(found)) == NOISE


@pytest.mark.parametrize("seed", range(20))
def test_added_noise_is_covered(seed):
    random = np.random.default_rng(seed)
    for effort in range(EFFORTS):
        found = best(lambda t: np.sin(1.0 + t) + 1e-9 * random.standard_normal(), effort)
        assert abs(found.value[0] - np.cos(1.0)) <= found.error[0]


def test_values_rounded_to_multiples_are_not_taken_for_flat():
    found = best(lambda t: np.rint((0.3 + 0.7 * t) * 2.0**20) / 2.0**20 if abs(t) > 1e-6 else 0.3)
    flat = best(lambda t: 1.0 - np.tanh(19.0 + 19.0 * t) ** 2)
    assert found.error[0] > 1e-9
    assert flat.error[0] > 1e-17


def test_constant_has_derivative_zero():
    found = best(lambda t: 3.0)
    assert found.value[0] == 0.0
    assert found.smooth[0]


def test_outputs_are_judged_one_by_one():
    found = best(lambda t: np.array([np.exp(t), abs(t), np.nan, np.sin(1e4 * t)]))
    assert list(found.smooth) == [True, False, False, True]
    assert found.value[[0, 3]] == pytest.approx([1.0, 1e4], rel=1e-6)


def test_second_estimate_shares_no_step_and_agrees():
    found = best(np.exp)
    assert found.second[0] != found.value[0]
    assert abs(found.second[0] - 1.0) <= found.second_error[0] < 1e-8


def test_scale_follows_the_input():
    tiny = differentiate(lambda t: np.array([np.sin(1e8 * t)]), scale=1e-8)
    assert abs(tiny.value[0] - 1e8) <= tiny.error[0] < 1.0
    assert tiny.evaluations == 11


def test_differentiate_tries_harder_only_where_needed():
    assert differentiate(lambda t: np.array([np.exp(t)])).evaluations == 11
    assert differentiate(lambda t: np.array([np.sin(300.0 * t + 1.0)])).evaluations > 11


def test_no_output_is_no_error():
    assert Ladder(lambda t: np.zeros(0)).derivative(0).value.size == 0


class Batched:
    """A curve that answers for many points at once, or that it cannot."""

    def __init__(self, able=True):
        self.able, self.calls = able, 0

    def __call__(self, t):
        self.calls += 1
        return np.array([np.sin(1.0 + t), np.abs(t), np.exp(3.0 * t)])

    def many(self, ts):
        return np.array([Batched()(t) for t in ts]) if self.able else None


@pytest.mark.parametrize("effort", [0, 1, 2, DEEP])
@pytest.mark.parametrize("able", [True, False])
def test_many_points_at_once_give_the_same_derivative(effort, able):
    batched, plain = Batched(able), Batched()
    one, other = Ladder(batched).derivative(effort), Ladder(lambda t: plain(t)).derivative(effort)
    for name in ("value", "error", "left", "right", "smooth", "second", "here"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert one.evaluations == other.evaluations
    assert batched.calls == (1 if able else plain.calls)


@pytest.mark.parametrize("effort", [0, 1, 2])
def test_sum_of_many_outputs_has_a_smaller_estimate_and_keeps_it(effort):
    exceeded = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        x, u = random.uniform(-2.0, 2.0, 300), random.choice([-1.0, 1.0], 300)
        found = Ladder(lambda t, x=x: 1.0 + 1e-3 * np.sin(x * (1.0 + t))).derivative(effort)
        value, error, _, _ = found.sums.total(u)
        assert error < 0.5 * (np.abs(u) @ found.error)
        exceeded += abs(value - u @ (1e-3 * x * np.cos(x))) > error
    assert exceeded == 0


@pytest.mark.parametrize("distance", [0.0, 1e-9, -1e-7, 1e-5])
def test_kink_here_is_told_from_one_nearby(distance):
    found = Ladder(lambda t: np.array([np.abs(t - distance)])).derivative(2)
    assert found.here[0] == (distance == 0.0) or found.smooth[0]


def test_wave_too_fast_for_every_step_has_no_estimate():
    found = differentiate(lambda t: np.array([np.sin(1.0 + 1e13 * t)]))
    assert np.isinf(found.error[0])


def test_steps_beyond_the_inputs_own_size_find_what_noise_hides():
    values = np.linspace(-1.0, 1.0, 33)

    def phi(t):
        return np.array([7.0 + np.log(np.sum(np.exp(1e-3 * (1.0 + t) * values)))])

    exact = 1e-3 * np.sum(values * np.exp(1e-3 * values)) / np.sum(np.exp(1e-3 * values))
    ladder = Ladder(phi)
    usual, wide = ladder.derivative(LAST), ladder.derivative(WIDE)
    assert wide.error[0] < 1e-2 * usual.error[0]
    assert abs(wide.value[0] - exact) <= wide.error[0]


@pytest.mark.parametrize("group", ["smooth", "ill-scaled", "saturated"])
@pytest.mark.parametrize("effort", [LAST, WIDE])
def test_second_derivative_of_a_doubled_ladder_is_right_and_as_good_as_the_first(group, effort):
    pytest.importorskip("mpmath")
    from tests.gradcheck.numeric.family import draw

    random = np.random.default_rng(22)
    worse = []
    for _ in range(40):
        case = draw(random, group)
        ladder = Ladder(case.curve)
        one, found = ladder.derivative(effort), ladder.doubled(effort)
        assert found.evaluations > one.evaluations
        assert not found.smooth[0] or abs(found.second[0] - case.truth()) <= found.second_error[0]
        worse.append(found.second_error[0] / found.error[0])
    assert np.median(worse) < 4.0
