"""First-order claims: right rules agree, wrong ones disagree and are named, what tests nothing is vacuous."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

from gradcheck.checks.claim import Subject
from gradcheck.checks.gradient import backward_is_linear_in_cotangent, vjp_matches_numeric
from gradcheck.verdict import Verdict
from tests.fakes.closure import ClosureEngine, Rule

SPECIAL = np.array([0.0, 1.0, -2.0, 0.0, 0.73])


def sine(bend=lambda u, x, g: g):
    """The sine with a backward that `bend` distorts."""
    return Rule(np.sin, lambda u, x: bend(u[0], x, u[0] * np.cos(x)))


def subject(rule, *inputs, differentiable=None, salt=b"", rtol=1e-6):
    return Subject(
        ClosureEngine(), rule, inputs, differentiable or (True,) * len(inputs), "rule(x0)", salt=salt, rtol=rtol
    )


def points(seed, *shape):
    return np.round(np.random.default_rng(seed).uniform(-3.0, 3.0, size=shape), 3)


def first_changed(factor):
    """Multiply one entry in the middle."""

    def bend(u, x, g):
        g = np.array(g)
        g.reshape(-1)[g.size // 2] *= factor
        return g

    return bend


LAYOUTS = {
    "contiguous": points(0, 3, 4),
    "transposed": points(1, 4, 3).T,
    "gaps": points(2, 3, 8)[:, ::2],
    "reversed": points(3, 6)[::-1],
    "expanded": np.broadcast_to(points(4, 4), (3, 4)),
    "overlapping": as_strided(points(5, 5), (3, 3), (8, 8)),
    "scalar": np.array(0.7),
    "lone": points(6, 1),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_right_rule_agrees_in_every_layout(layout):
    found = vjp_matches_numeric(subject(sine(), LAYOUTS[layout]))
    assert (found.verdict, found.vacuous) == (Verdict.AGREE, False)
    assert 0.0 < found.resolution < 1e-6


@pytest.mark.parametrize("layout", LAYOUTS)
def test_wrong_factor_disagrees_in_every_layout(layout):
    found = vjp_matches_numeric(subject(sine(lambda u, x, g: g * (1 + 1e-5)), LAYOUTS[layout]))
    assert found.verdict is Verdict.DISAGREE


def test_engine_sees_the_strides_of_the_input_at_every_step():
    seen = set()

    def forward(x):
        seen.add(x.strides)
        return np.sin(x)

    values = points(1, 4, 3).T
    vjp_matches_numeric(subject(Rule(forward, lambda u, x: u[0] * np.cos(x)), values))
    assert seen == {values.strides}


def test_expanded_input_whose_gradient_is_right_only_in_sum_disagrees():
    values = np.broadcast_to(points(4, 4), (3, 4))
    rule = sine(lambda u, x, g: np.stack([g.sum(axis=0), 0 * g[0], 0 * g[0]]))
    assert vjp_matches_numeric(subject(rule, values)).verdict is Verdict.DISAGREE


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("factor", [0.0, 1 + 1e-5, 1 - 1e-5, -1.0])
def test_one_wrong_entry_among_1024_disagrees_and_is_named(factor, seed):
    rule = sine(first_changed(factor))
    x = points(seed, 1024)
    found = vjp_matches_numeric(subject(rule, x, salt=bytes([seed])))
    assert found.verdict is Verdict.DISAGREE
    assert found.finding.entry == (512,)
    assert found.finding.analytic == pytest.approx(factor * found.finding.numeric, rel=1e-7, abs=1e-9)


def test_finding_names_everything():
    found = vjp_matches_numeric(subject(sine(first_changed(1.5)), points(0, 2, 3))).finding
    assert (found.claim, found.code) == ("vjp_matches_numeric", "GC101")
    assert found.call == "rule(x0)"
    assert found.engine == "closure-cpu"
    assert found.argument == "x0, shape (2, 3), float64, strides (3, 1)"
    assert found.entry == (1, 0)
    assert found.analytic == pytest.approx(1.5 * found.numeric)
    assert 0.0 < found.error < 1e-6
    assert "x0 = " in found.values


def test_second_of_two_inputs_is_named():
    rule = Rule(lambda x, y: x * y, lambda u, x, y: (u[0] * y, 1.01 * u[0] * x))
    found = vjp_matches_numeric(subject(rule, points(0, 3), points(1, 3)))
    assert found.finding.argument.startswith("x1")


@pytest.mark.parametrize(
    "bend",
    [
        lambda u, x, g: np.abs(g),
        lambda u, x, g: np.abs(u) * np.cos(x),
        lambda u, x, g: np.cos(x),
        lambda u, x, g: -g,
        lambda u, x, g: np.where(np.arange(g.size) == 2, np.nan, g),
        lambda u, x, g: None,
        lambda u, x, g: g.astype(np.float32).astype(np.float64),
        lambda u, x, g: np.where(x == 0.0, 0.0, g),
        lambda u, x, g: g[::-1],
    ],
    ids=["abs", "abs of cotangent", "no cotangent", "sign", "nan", "none", "float32", "zero at zero", "reversed"],
)
@pytest.mark.parametrize("seed", range(3))
def test_wrong_backward_disagrees(bend, seed):
    found = vjp_matches_numeric(subject(sine(bend), SPECIAL, salt=bytes([seed])))
    assert found.verdict is Verdict.DISAGREE


@pytest.mark.parametrize("tiny", [1e-8, 1e-30])
def test_gradient_of_tiny_scale_is_judged_relatively(tiny):
    right = Rule(lambda x: tiny * np.sin(x), lambda u, x: tiny * u[0] * np.cos(x))
    wrong = Rule(lambda x: tiny * np.sin(x), lambda u, x: tiny * u[0] * np.cos(x) * (1 + 1e-5))
    zero = Rule(lambda x: tiny * np.sin(x), lambda u, x: 0.0 * u[0])
    verdicts = [vjp_matches_numeric(subject(rule, points(0, 4))).verdict for rule in (right, wrong, zero)]
    assert verdicts == [Verdict.AGREE, Verdict.DISAGREE, Verdict.DISAGREE]


KINKED = {
    "relu": (lambda x: np.maximum(x, 0.0), lambda u, x: u[0] * (x > 0.0)),
    "abs": (np.abs, lambda u, x: u[0] * np.sign(x)),
    "amax": (np.max, lambda u, x: u[0] * (x == x.max()) / (x == x.max()).sum()),
    "clamp": (lambda x: np.clip(x, -1.0, 1.0), lambda u, x: u[0] * (np.abs(x) <= 1.0)),
    "sum of relu": (lambda x: np.maximum(x, 0.0).sum(), lambda u, x: u[0] * (x > 0.0)),
    "norm": (lambda x: np.sqrt((x * x).sum()), lambda u, x: u[0] * x / max(np.sqrt((x * x).sum()), 1e-300)),
}
AT_KINKS = (SPECIAL, np.zeros(3), np.array([1.0, 1.0, -0.5]), np.array(0.0), np.array([0.0, 0.25, 1.0, -1.0]))


@pytest.mark.parametrize("name", KINKED)
@pytest.mark.parametrize("x", AT_KINKS, ids=["special", "zeros", "ties", "0-d", "edges"])
def test_right_rule_with_kinks_at_the_point_raises_no_alarm(name, x):
    found = vjp_matches_numeric(subject(Rule(*KINKED[name]), x))
    assert found.verdict is Verdict.AGREE


@pytest.mark.parametrize("name", ["relu", "abs", "clamp", "sum of relu", "norm"])
def test_wrong_rule_with_kinks_at_the_point_disagrees_for_what_is_smooth(name):
    forward, backward = KINKED[name]
    found = vjp_matches_numeric(subject(Rule(forward, lambda u, x: 1.1 * backward(u, x)), SPECIAL))
    assert found.verdict is Verdict.DISAGREE


@pytest.mark.parametrize("x", [np.array([0.0, 1.0, 2.5]), np.array([1e-9, 3.0])], ids=["at", "near"])
@pytest.mark.parametrize(
    ("forward", "slope"),
    [(np.log, lambda x: 1.0 / x), (np.sqrt, lambda x: 0.5 / np.sqrt(x))],
    ids=["log", "sqrt"],
)
def test_edge_of_the_domain_raises_no_alarm_and_hides_no_error(forward, slope, x):
    right = vjp_matches_numeric(subject(Rule(forward, lambda u, x: u[0] * slope(x)), x))
    wrong = vjp_matches_numeric(subject(Rule(forward, lambda u, x: 1.001 * u[0] * slope(x)), x))
    assert right.verdict is not Verdict.DISAGREE
    assert wrong.verdict is Verdict.DISAGREE


def test_saturated_tanh_raises_no_alarm():
    rule = Rule(np.tanh, lambda u, x: u[0] * (1.0 - np.tanh(x) ** 2))
    for value in (5.0, 12.0, 19.0, 25.0):
        assert vjp_matches_numeric(subject(rule, np.array([value, -value]))).verdict is not Verdict.DISAGREE


def test_float32_inside_disagrees_and_says_so():
    rule = Rule(
        lambda x: np.sin(x.astype(np.float32)).astype(np.float64),
        lambda u, x: (u[0].astype(np.float32) * np.cos(x.astype(np.float32))).astype(np.float64),
    )
    found = vjp_matches_numeric(subject(rule, SPECIAL))
    assert found.verdict is Verdict.DISAGREE
    assert "float32" in found.finding.detail


def test_noise_is_inconclusive():
    random = np.random.default_rng(0)
    rule = Rule(lambda x: np.sin(x) + 1e-6 * random.standard_normal(x.shape), lambda u, x: u[0] * np.cos(x))
    found = vjp_matches_numeric(subject(rule, points(0, 4)))
    assert (found.verdict, found.reason) == (Verdict.INCONCLUSIVE, "noise")


@pytest.mark.parametrize(
    "case",
    [
        (sine(), (np.zeros((0, 3)),), (True,)),
        (sine(), (points(0, 3),), (False,)),
        (Rule(lambda x: np.ones(2), lambda u, x: None), (points(0, 3),), (True,)),
        (Rule(lambda x: np.ones(2), lambda u, x: np.zeros(3), connected=False), (points(0, 3),), (True,)),
        (Rule(lambda x: (), lambda u, x: None), (points(0, 3),), (True,)),
        (Rule(lambda x: np.argmax(x), lambda u, x: None), (points(0, 3),), (True,)),
    ],
    ids=["empty", "no gradient wanted", "constant", "disconnected", "no output", "integer output"],
)
def test_what_tests_nothing_is_vacuous(case):
    rule, inputs, differentiable = case
    found = vjp_matches_numeric(subject(rule, *inputs, differentiable=differentiable))
    assert (found.verdict, found.vacuous) == (Verdict.AGREE, True)


def test_silent_detachment_disagrees():
    rule = Rule(np.sin, lambda u, x: u[0] * np.cos(x), connected=False)
    assert vjp_matches_numeric(subject(rule, points(0, 3))).verdict is Verdict.DISAGREE


def test_gradient_with_a_shape_or_dtype_of_its_own_disagrees():
    wide = Rule(lambda x, y: x * y, lambda u, x, y: (u[0] * y, u[0] * x))
    found = vjp_matches_numeric(subject(wide, points(0, 2, 3), points(1, 3)))
    assert "shape (3,)" in found.finding.detail
    low = sine(lambda u, x, g: g.astype(np.float32))
    assert "float32" in vjp_matches_numeric(subject(low, points(0, 3))).finding.detail


def test_backward_that_raises_disagrees_with_its_message():
    def broken(u, x):
        raise ValueError("operands could not be broadcast")

    found = vjp_matches_numeric(subject(Rule(np.sin, broken), points(0, 3)))
    assert "operands could not be broadcast" in found.finding.detail


def test_several_outputs_are_judged_together():
    right = Rule(lambda x: (np.sin(x), x.sum()), lambda u, x: u[0] * np.cos(x) + u[1])
    lost = Rule(lambda x: (np.sin(x), x.sum()), lambda u, x: u[0] * np.cos(x))
    assert vjp_matches_numeric(subject(right, points(0, 3))).verdict is Verdict.AGREE
    assert vjp_matches_numeric(subject(lost, points(0, 3))).verdict is Verdict.DISAGREE


def test_integer_inputs_are_held_still():
    rule = Rule(lambda x, i: x[i], lambda u, x, i: (np.bincount(i, u[0], x.size), None))
    assert vjp_matches_numeric(subject(rule, points(0, 3), np.array([2, 0, 0]))).verdict is Verdict.AGREE


def test_smooth_function_costs_two_short_ladders():
    rule = sine()
    vjp_matches_numeric(subject(rule, points(0, 10)))
    # Two ladders of ten, the point itself, the recorded forward; the fake engine runs it again for each backward.
    assert rule.calls <= 2 * 10 + 2 + 3


def test_same_salt_gives_the_same_outcome():
    made = [vjp_matches_numeric(subject(sine(first_changed(2.0)), points(0, 40), salt=b"7")) for _ in range(2)]
    assert made[0] == made[1]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1e-6, 1e-3, 1.0, 1e3, 1e6]), st.integers(1, 6))
def test_right_products_of_any_scale_agree_and_wrong_ones_do_not(seed, size, count):
    x, y = points(seed, count) * size, points(seed + 1, count)
    right = Rule(lambda x, y: x * np.sin(y), lambda u, x, y: (u[0] * np.sin(y), u[0] * x * np.cos(y)))
    wrong = Rule(right.forward, lambda u, x, y: (u[0] * np.sin(y), u[0] * x * np.cos(y) * (1 - 1e-5)))
    assert vjp_matches_numeric(subject(right, x, y)).verdict is Verdict.AGREE
    found = vjp_matches_numeric(subject(wrong, x, y))
    assert found.verdict is Verdict.DISAGREE or not (x * np.cos(y)).any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_right_backward_is_linear(layout):
    found = backward_is_linear_in_cotangent(subject(sine(), LAYOUTS[layout]))
    assert (found.verdict, found.vacuous) == (Verdict.AGREE, False)


@pytest.mark.parametrize(
    "bend",
    [
        lambda u, x, g: np.abs(g),
        lambda u, x, g: np.abs(u) * np.cos(x),
        lambda u, x, g: np.cos(x),
        lambda u, x, g: np.clip(g, -1.0, 1.0),
        lambda u, x, g: np.where(np.abs(g) < 1e-5, 0.0, g),
        lambda u, x, g: g + 1e-9,
        lambda u, x, g: np.sign(u) * np.cos(x),
        lambda u, x, g: u * u * np.cos(x),
        lambda u, x, g: g if u.sum() > 0 else 0.999 * g,
    ],
    ids=["abs", "abs of u", "ignores u", "clips", "drops small", "adds", "sign", "square", "branches"],
)
def test_backward_that_is_not_linear_disagrees(bend):
    found = backward_is_linear_in_cotangent(subject(sine(bend), points(0, 4)))
    assert found.verdict is Verdict.DISAGREE
    assert found.finding.code == "GC103"


def test_backward_that_is_all_cancellation_raises_no_alarm():
    def softmax(x):
        e = np.exp(x - x.max())
        return e / e.sum()

    rule = Rule(lambda x: softmax(x).sum(), lambda u, x: softmax(x) * (u[0] - (u[0] * softmax(x)).sum()))
    for seed in range(20):
        found = backward_is_linear_in_cotangent(subject(rule, points(seed, 4), salt=bytes([seed])))
        assert found.verdict is Verdict.AGREE


def test_disconnected_backward_is_vacuously_linear():
    rule = Rule(np.sin, lambda u, x: u[0], connected=False)
    assert backward_is_linear_in_cotangent(subject(rule, points(0, 3))).vacuous


@pytest.mark.parametrize("shape", [(3,), (32, 32)])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_a_hundred_millionth_in_all_entries_disagrees(shape, size):
    x = size * points(0, *shape)
    rule = Rule(np.arctan, lambda u, x: u[0] * (1.0 + 2e-8) / (1.0 + x * x))
    assert vjp_matches_numeric(subject(rule, x)).verdict is Verdict.DISAGREE


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weight", [1.0, 0.2])
def test_a_millionth_in_one_entry_of_1024_disagrees_and_is_named(seed, weight):
    x, weights = points(seed, 1024), np.ones(1024)
    weights[512] = weight  # below the others in every projection
    rule = Rule(lambda x: weights * np.exp(x), lambda u, x: first_changed(1.0 + 2e-6)(u, x, u[0] * weights * np.exp(x)))
    found = vjp_matches_numeric(subject(rule, x, salt=bytes([seed])))
    assert found.verdict is Verdict.DISAGREE
    assert found.finding.entry == (512,)


@pytest.mark.parametrize("seed", range(5))
def test_entries_of_other_scales_are_judged_at_theirs(seed):
    factors = 10.0 ** np.array([-6.0, 0.0, 6.0, -3.0])
    x = np.array([0.7, -1.1, 0.4, 1.9]) * factors
    right = Rule(lambda x: np.sin(x / factors).sum(), lambda u, x: u[0] * np.cos(x / factors) / factors)
    wrong = Rule(right.forward, lambda u, x: right.backward(u, x) * np.array([1.001, 1.0, 1.0, 1.0]))
    found = [vjp_matches_numeric(subject(rule, x, salt=bytes([seed]))).verdict for rule in (right, wrong)]
    assert found == [Verdict.AGREE, Verdict.DISAGREE]


@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("seed", range(3))
def test_edge_at_any_distance_is_judged(distance, seed):
    x = np.array([1.0 - distance, -0.3, distance - 1.0])
    right = Rule(np.arcsin, lambda u, x: u[0] / np.sqrt((1.0 - x) * (1.0 + x)))
    wrong = Rule(np.arcsin, lambda u, x: 1.001 * u[0] / np.sqrt((1.0 - x) * (1.0 + x)))
    found = [vjp_matches_numeric(subject(rule, x, salt=bytes([seed]))).verdict for rule in (right, wrong)]
    assert found == [Verdict.AGREE, Verdict.DISAGREE]


@pytest.mark.parametrize("distance", [1e-9, 1e-7, 1e-4])
def test_gradient_between_those_of_both_sides_of_a_kink_nearby_is_wrong(distance):
    right = Rule(lambda x: np.abs(x - 1.0), lambda u, x: u[0] * np.sign(x - 1.0))
    wrong = Rule(right.forward, lambda u, x: 0.999 * right.backward(u, x))
    x = np.array([1.0 + distance, 1.0 - distance, 0.3])
    assert vjp_matches_numeric(subject(right, x)).verdict is Verdict.AGREE
    assert vjp_matches_numeric(subject(wrong, x)).verdict is Verdict.DISAGREE


@pytest.mark.parametrize("x", [[1.5, 1.5, 2.2, -1.0], [-1.0, -2.6], [1.5]])
def test_gradient_that_is_wrong_beside_a_kink_is_wrong_at_a_fresh_point_which_the_finding_has(x):
    right = Rule(lambda x: np.clip(x, -1.0, 1.5), lambda u, x: u[0] * ((x >= -1.0) & (x <= 1.5)))
    wrong = Rule(right.forward, lambda u, x: 1.001 * right.backward(u, x))
    assert vjp_matches_numeric(subject(right, np.array(x))).finding is None
    found = vjp_matches_numeric(subject(wrong, np.array(x))).finding
    assert "beside the one asked about" in found.detail
    moved = found.evidence.inputs[0]
    assert 0.0 < np.abs(moved - x).max() < 0.01
    assert found.analytic == pytest.approx(1.001)
    assert found.numeric == pytest.approx(1.0)


@pytest.mark.parametrize("x", [[0.0, 1.0], [0.0], [2.0, 0.0, 0.0]])
def test_gradient_at_an_edge_that_is_not_the_derivative_from_inside_never_agrees(x):
    right = Rule(lambda x: x * np.sqrt(x), lambda u, x: 1.5 * u[0] * np.sqrt(x))
    wrong = Rule(right.forward, lambda u, x: 1.5 * u[0] * np.sqrt(x) + u[0] * (x == 0.0))
    assert vjp_matches_numeric(subject(right, np.array(x))).verdict is not Verdict.DISAGREE
    found = vjp_matches_numeric(subject(wrong, np.array(x)))
    assert found.verdict is Verdict.INCONCLUSIVE


def test_gradient_that_is_wrong_at_a_kink_alone_never_agrees():
    rule = Rule(lambda x: np.clip(x, -1.0, 1.5), lambda u, x: u[0] * ((x >= -1.0) & (x <= 1.5)) * (1.0 + (x == -1.0)))
    assert vjp_matches_numeric(subject(rule, np.array([-1.0, -2.6]))).verdict is not Verdict.AGREE


@pytest.mark.parametrize("shape", [(0,), (0, 3)])
def test_backward_that_raises_for_an_empty_input_disagrees(shape):
    def refused(u, x, g):
        raise ValueError("nothing to reduce")

    found = vjp_matches_numeric(subject(sine(refused), np.zeros(shape)))
    assert found.verdict is Verdict.DISAGREE
    assert "nothing to reduce" in found.finding.detail
    assert vjp_matches_numeric(subject(sine(), np.zeros(shape))).vacuous


def test_gradient_that_was_rounded_beside_a_term_that_cancels_raises_no_alarm():
    def backward(u, c, x):
        return (u[0] * c + u[0]) - u[0]  # the sum loses what is below the last place of the larger term

    rule = Rule(lambda x: 1.8757973684022393e-08 * x, lambda u, x: backward(u, 1.8757973684022393e-08, x))
    for seed in range(5):
        assert vjp_matches_numeric(subject(rule, np.array([1.137]), salt=bytes([seed]))).finding is None
