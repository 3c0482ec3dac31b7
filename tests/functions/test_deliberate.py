"""Mismatches that are meant are told from mistakes: planted examples of each, in both engines."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.checks.gradient import vjp_matches_numeric
from gradcheck.functions.deliberate import Kind, deliberate
from gradcheck.verdict import Verdict
from tests.gradcheck.adapters import adapter_fixture, function, subject

__all__ = ["adapter_fixture"]

POINT = np.array([[0.3, -1.25, 2.1], [-0.45, 0.8, -3.3]])
SPECIAL = np.array([[0.0, -1.0, 0.5], [2.0, -0.25, 0.0]])
BOTH = pytest.mark.parametrize("x", [POINT, SPECIAL], ids=["plain", "special"])


def judged(adapter, forward, backward, *inputs, differentiable=None, others=()):
    """What is said of a mismatch; it is asked for only where the gradient does not agree."""
    made = subject(adapter, function(adapter, forward, backward), *inputs)
    if differentiable is not None:
        made = type(made)(adapter, made.function, made.inputs, differentiable, "f(x0)")
    outcome = vjp_matches_numeric(made)
    assert outcome.verdict is not Verdict.AGREE, outcome
    found = deliberate(made, outcome, *others)
    return None if found is None else (found.kind, found.inputs)


def inside(x, low, high):
    return ((x >= low) & (x <= high)).to(x.dtype)


def one_hot(adapter, x):
    return (x == x.max(-1, keepdim=True)[0]).to(x.dtype)


def positive(x):
    return (x > 0).to(x.dtype)


# Locally constant --------------------------------------------------------------------------------------------------

STAIRCASES = {
    "heaviside with a sigmoid surrogate": (positive, lambda g, x: g * x.sigmoid() * (1 - x.sigmoid())),
    "heaviside with a triangle": (positive, lambda g, x: g * (1 - x.abs()).clamp(min=0.0) * 0.3),
    "shifted heaviside": (lambda x: positive(x - 0.1), lambda g, x: g / (1 + (3.0 * x) ** 2)),
    "sign with hardtanh": (lambda x: x.sign(), lambda g, x: g * inside(x, -1, 1)),
    "round": (lambda x: x.round(), lambda g, x: g),
    "floor": (lambda x: x.floor(), lambda g, x: g),
    "round, written straight through": (lambda x: x + (x.round() - x).detach(), lambda g, x: g),
    "sign, written straight through": (lambda x: x + (x.sign() - x).detach(), lambda g, x: g),
    "fake quantisation with a clamp": (
        lambda x: (x / 0.25).round().clamp(-4, 3) * 0.25,
        lambda g, x: g * inside(x, -1, 0.75),
    ),
    "eight bits": (lambda x: (x / 0.026).round() * 0.026, lambda g, x: g),
    "many spikes summed": (lambda x: positive(x).sum(-1), lambda g, x: g.unsqueeze(-1) * x.sigmoid()),
}


@BOTH
@pytest.mark.parametrize("name", STAIRCASES)
def test_a_staircase_with_a_surrogate_is_deliberate(adapter, name, x):
    assert judged(adapter, *STAIRCASES[name], x) == (Kind.LOCALLY_CONSTANT, (0,))


def test_a_one_hot_maximum_is_deliberate(adapter):
    found = judged(adapter, lambda x: one_hot(adapter, x), lambda g, x: g * x.softmax(-1), POINT)
    assert found == (Kind.LOCALLY_CONSTANT, (0,))


def test_a_staircase_where_a_mask_says_so_and_the_identity_elsewhere_is_deliberate(adapter):
    mask = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    found = judged(
        adapter, lambda x, m: m * x.round() + (1 - m) * x, lambda g, x, m: (g, None), POINT, mask,
        differentiable=(True, False),
    )  # fmt: skip
    assert found == (Kind.LOCALLY_CONSTANT, (0,))


def test_a_staircase_beside_a_wrong_smooth_part_is_a_mistake(adapter):
    mask = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    found = judged(
        adapter, lambda x, m: m * x.round() + (1 - m) * x * x, lambda g, x, m: (g, None), POINT, mask,
        differentiable=(True, False),
    )  # fmt: skip
    assert found is None


def test_a_right_second_input_leaves_the_first_deliberate(adapter):
    found = judged(adapter, lambda x, y: x.floor() * y, lambda g, x, y: (g * y, g * x.floor()), POINT, POINT + 0.4)
    assert found == (Kind.LOCALLY_CONSTANT, (0,))


def test_a_wrong_second_input_is_a_mistake(adapter):
    assert judged(adapter, lambda x, y: x.floor() * y, lambda g, x, y: (g * y, g * x), POINT, POINT + 0.4) is None


def test_a_learned_step_size_is_deliberate(adapter):
    def forward(x, s):
        return (x / s).round().clamp(-8, 7) * s

    def backward(g, x, s):
        q = x / s
        within = inside(q, -8, 7)
        slope = within * (q.round() - q) + (1 - within) * q.round().clamp(-8, 7)
        return g * within, (g * slope).sum().reshape(s.shape) * 0.2

    found = judged(adapter, forward, backward, POINT, np.array([0.31]))
    assert found == (Kind.LOCALLY_CONSTANT, (0, 1))


# Identity ----------------------------------------------------------------------------------------------------------

IDENTITIES = {
    "reversal": (lambda x: x.view_as(x), lambda g, x: -0.7 * g),
    "scaling": (lambda x: x.clone(), lambda g, x: 0.1 * g),
    "clipping by value": (lambda x: x.clone(), lambda g, x: g.clamp(-0.6, 0.6)),
    "clipping by norm": (lambda x: x.clone(), lambda g, x: g * (0.5 / (g * g).sum().sqrt()).clamp(max=1.0)),
    "reshape": (lambda x: x.reshape(-1).clone(), lambda g, x: -g.reshape(x.shape)),
    "two outputs": (lambda x: (x.clone(), x.clone()), None),
}


@BOTH
@pytest.mark.parametrize("name", [name for name, (_, backward) in IDENTITIES.items() if backward])
def test_an_identity_that_changes_gradients_is_deliberate(adapter, name, x):
    assert judged(adapter, *IDENTITIES[name], x) == (Kind.IDENTITY, (0,))


def test_an_identity_that_feeds_an_input_it_ignores_is_deliberate(adapter):
    found = judged(adapter, lambda x, y: x.clone(), lambda g, x, y: (g, y * 0 + 1), POINT, np.array([1.5, 2.0]))
    assert found == (Kind.IDENTITY, (0, 1))


def test_values_of_one_input_with_the_gradient_to_another_are_deliberate(adapter):
    found = judged(
        adapter, lambda x, y: x.clone(), lambda g, x, y: (None, g), POINT, POINT * 2, differentiable=(False, True)
    )
    assert found == (Kind.IDENTITY, (1,))


def test_an_identity_beside_a_wrong_output_is_a_mistake(adapter):
    class Two(adapter.library.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.clone(), x * x

        @staticmethod
        def backward(ctx, g, h):
            (x,) = ctx.saved_tensors
            return -g + h * x

    made = subject(adapter, Two.apply, POINT)
    assert deliberate(made, vjp_matches_numeric(made)) is None


def test_an_identity_beside_a_right_output_is_deliberate(adapter):
    class Two(adapter.library.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.clone(), x * x

        @staticmethod
        def backward(ctx, g, h):
            (x,) = ctx.saved_tensors
            return -g + 2 * h * x

    made = subject(adapter, Two.apply, POINT)
    assert deliberate(made, vjp_matches_numeric(made)).kind is Kind.IDENTITY


# Clamp -------------------------------------------------------------------------------------------------------------

CLAMPS = {
    "two bounds": (lambda x: x.clamp(-1, 1), lambda g, x: g),
    "relu6": (lambda x: x.clamp(0, 6), lambda g, x: g),
    "a far bound": (lambda x: x.clamp(min=-0.9), lambda g, x: g),
    "a lower bound, upwards only": (
        lambda x: x.clamp(min=0.4),
        lambda g, x: g * (((x >= 0.4) | (g < 0)).to(x.dtype)),
    ),
}


@BOTH
@pytest.mark.parametrize("name", CLAMPS)
def test_a_clamp_that_lets_gradients_through_is_deliberate(adapter, name, x):
    assert judged(adapter, *CLAMPS[name], x) == (Kind.CLAMP, (0,))


def test_a_lower_bound_given_as_a_tensor_is_deliberate(adapter):
    library = adapter.library
    bound = np.array([0.5, -1.0, 0.25])
    found = judged(
        adapter, lambda x, b: library.maximum(x, b), lambda g, x, b: (g * ((x >= b) | (g < 0)).to(x.dtype), None),
        POINT, bound, differentiable=(True, False),
    )  # fmt: skip
    assert found == (Kind.CLAMP, (0,))


def test_a_learned_bound_with_a_right_gradient_is_deliberate(adapter):
    library = adapter.library

    def backward(g, x, a):
        return g, (g * (x > a).to(x.dtype)).sum().reshape(a.shape)

    found = judged(
        adapter, lambda x, a: library.minimum(x.clamp(min=-2.0), a), backward, POINT, np.array([0.7])
    )  # fmt: skip
    assert found == (Kind.CLAMP, (0,))


# Mistakes ----------------------------------------------------------------------------------------------------------

MISTAKES = {
    "relu without its mask": (lambda x: x.clamp(min=0.0), lambda g, x: g),
    "its mirror without its mask": (lambda x: x.clamp(max=0.0), lambda g, x: g),
    "abs that returns g": (lambda x: x.abs(), lambda g, x: g),
    "softsign that lacks a factor": (lambda x: x / (1 + x.abs()), lambda g, x: g / (1 + x.abs())),
    "leaky relu with its slopes swapped": (
        lambda x: x.clamp(min=0.0) + 0.1 * x.clamp(max=0.0),
        lambda g, x: g * (0.1 * positive(x) + 1 - positive(x)),
    ),
    "maximum routed to the minimum": (
        lambda x: x.max(-1, keepdim=True)[0],
        lambda g, x: g * (x == x.min(-1, keepdim=True)[0]).to(x.dtype),
    ),
    "nearly the identity": (lambda x: x * 1.0000001, lambda g, x: 0.5 * g),
    "a dead branch": (lambda x: x.exp() * positive(x) + 5.0 * (1 - positive(x)), lambda g, x: g * x.exp()),
    "hard sigmoid wrong inside": (lambda x: (x / 6 + 0.5).clamp(0, 1), lambda g, x: g * inside(x, -3, 3)),
    "clamp wrong inside": (lambda x: x.clamp(-1, 1), lambda g, x: 0.5 * g * inside(x, -1, 1)),
    "clamp with the wrong sign outside": (lambda x: x.clamp(-1, 1), lambda g, x: g * (2 * inside(x, -1, 1) - 1)),
    "constant for good": (lambda x: x * 0 + 1, lambda g, x: g),
    "a slope that is tiny": (lambda x: (x * 1e-20).tanh() + 1, lambda g, x: g),
    "a slope that underflows": (lambda x: (-((x * 1e3) ** 2)).exp(), lambda g, x: g),
    "a hard shrinkage": (lambda x: x * (x.abs() > 1).to(x.dtype), lambda g, x: g),
    "a sum": (lambda x: x.sum(), lambda g, x: g * x),
    "transposed": (lambda x: x.transpose(0, 1).clone(), lambda g, x: 2 * g.transpose(0, 1)),
}


@BOTH
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_not_excused(adapter, name, x):
    made = subject(adapter, function(adapter, *MISTAKES[name]), x)
    outcome = vjp_matches_numeric(made)
    # Where exact zeros make a point one-sided, the claim itself may have no verdict.
    assert outcome.verdict is not Verdict.DISAGREE or deliberate(made, outcome) is None


@pytest.mark.parametrize("name", MISTAKES)
def test_each_planted_mistake_disagrees_somewhere(adapter, name):
    made = subject(adapter, function(adapter, *MISTAKES[name]), POINT)
    if name not in ("a slope that underflows",):
        assert vjp_matches_numeric(made).verdict is Verdict.DISAGREE


def test_a_backward_that_raises_is_not_excused(adapter):
    def raises(g, x):
        raise ValueError("no")

    made = subject(adapter, function(adapter, lambda x: x.round(), raises), POINT)
    assert deliberate(made, vjp_matches_numeric(made)) is None


def test_a_gradient_of_another_shape_is_not_excused(adapter):
    made = subject(adapter, function(adapter, lambda x: x.clone(), lambda g, x: g.sum(0)), POINT)
    outcome = vjp_matches_numeric(made)
    assert outcome.verdict is not Verdict.DISAGREE or deliberate(made, outcome) is None


def test_rounding_to_half_precision_is_no_staircase():
    torch = pytest.importorskip("torch")
    from gradcheck.engines.registry import engine

    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        apply = function(engine("torch"), lambda x, d=dtype: x.to(d).to(x.dtype) * 2, lambda g, x: g)
        made = subject(engine("torch"), apply, POINT)
        other = subject(engine("torch"), function(engine("torch"), lambda x: 2 * x, lambda g, x: g), POINT)
        assert deliberate(made, vjp_matches_numeric(other)) is None


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_staircases_and_mistakes_are_told_apart_in_low_precision(adapter, dtype):
    x = POINT.astype(dtype)
    wrong = vjp_matches_numeric(subject(adapter, function(adapter, *MISTAKES["abs that returns g"]), POINT))
    for name in ("round", "sign with hardtanh", "heaviside with a sigmoid surrogate"):
        made = subject(adapter, function(adapter, *STAIRCASES[name]), x)
        assert deliberate(made, wrong).kind is Kind.LOCALLY_CONSTANT, name
    for name in ("relu without its mask", "abs that returns g", "softsign that lacks a factor"):
        assert deliberate(subject(adapter, function(adapter, *MISTAKES[name]), x), wrong) is None, name


# Random ------------------------------------------------------------------------------------------------------------


def drawing(adapter, forward, backward, count):
    """A function that draws from a fixed state, and the same from `count` other ones."""

    def at(seed):
        def seeded(*inputs):
            adapter.seed(seed)
            return apply(*inputs)

        return seeded

    class Draws(adapter.library.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            noise = adapter.library.rand(*x.shape).to(x.dtype)
            ctx.save_for_backward(x, noise)
            return forward(x, noise)

        @staticmethod
        def backward(ctx, g):
            return backward(g, *ctx.saved_tensors)

    apply = Draws.apply
    return subject(adapter, at(0), POINT), [at(seed) for seed in range(1, count + 1)]


RANDOM = {
    "weight noise that the gradient leaves out": (lambda x, n: x * (0.5 + n), lambda g, x, n: g),
    "a forward and a backward with their own noise": (lambda x, n: x * n, lambda g, x, n: g * 0.5),
}
BIASED = {
    "dropout that forgets to scale": (
        lambda x, n: x * (n > 0.4).to(x.dtype) / 0.6,
        lambda g, x, n: g * (n > 0.4).to(x.dtype),
    ),
    "noise with a wrong factor": (lambda x, n: x * x + n, lambda g, x, n: g * x),
}


@pytest.mark.parametrize("count", [1, 12])
@pytest.mark.parametrize("name", RANDOM)
def test_an_estimator_is_random(adapter, name, count):
    made, others = drawing(adapter, *RANDOM[name], count)
    found = deliberate(made, vjp_matches_numeric(made), *others)
    assert found is not None
    assert found.kind is Kind.RANDOM


@pytest.mark.parametrize("name", BIASED)
def test_a_biased_gradient_is_a_mistake_where_it_can_be_compared_in_the_mean(adapter, name):
    made, others = drawing(adapter, *BIASED[name], 12)
    assert deliberate(made, vjp_matches_numeric(made), *others) is None


def test_one_other_state_does_not_show_a_bias(adapter):
    made, others = drawing(adapter, *BIASED["dropout that forgets to scale"], 1)
    assert deliberate(made, vjp_matches_numeric(made), *others).kind is Kind.RANDOM


def test_dropout_with_its_own_mask_is_not_asked_for(adapter):
    forward, _ = BIASED["dropout that forgets to scale"]
    made, _ = drawing(adapter, forward, lambda g, x, n: g * (n > 0.4).to(x.dtype) / 0.6, 0)
    assert vjp_matches_numeric(made).verdict is Verdict.AGREE


def test_samples_by_threshold_are_locally_constant(adapter):
    made, others = drawing(adapter, lambda x, n: (n < x.sigmoid()).to(x.dtype), lambda g, x, n: g, 1)
    assert deliberate(made, vjp_matches_numeric(made), *others).kind is Kind.LOCALLY_CONSTANT


def test_a_gumbel_choice_is_locally_constant(adapter):
    made, others = drawing(
        adapter, lambda x, n: one_hot(adapter, x - (-n.log()).log()), lambda g, x, n: g * x.softmax(-1), 1
    )
    assert deliberate(made, vjp_matches_numeric(made), *others).kind is Kind.LOCALLY_CONSTANT


def test_a_score_function_estimator_is_deliberate(adapter):
    made, others = drawing(
        adapter,
        lambda x, n: ((n < x.sigmoid()).to(x.dtype) * 3.0).sum(),
        lambda g, x, n: g * 3.0 * ((n < x.sigmoid()).to(x.dtype) - x.sigmoid()),
        1,
    )
    assert deliberate(made, vjp_matches_numeric(made), *others) is not None


def test_a_mistake_without_random_numbers_stays_one_under_another_state(adapter):
    made = subject(adapter, function(adapter, *MISTAKES["abs that returns g"]), POINT)
    assert deliberate(made, vjp_matches_numeric(made), made.function) is None


@pytest.mark.parametrize("x", [np.zeros((2, 3)), np.ones(4), np.array([0.7]), np.array(1.3)], ids=str)
def test_uniform_and_small_inputs_are_judged_alike(adapter, x):
    wrong = vjp_matches_numeric(subject(adapter, function(adapter, *MISTAKES["abs that returns g"]), POINT))
    for table, expected in ((STAIRCASES, True), (MISTAKES, False)):
        for name in ("round", "sign with hardtanh", "relu without its mask", "a slope that is tiny"):
            if name in table:
                made = subject(adapter, function(adapter, *table[name]), x)
                assert (deliberate(made, wrong) is not None) is expected, name


def test_few_evaluations_are_spent(adapter):
    counts = []

    def counted(forward):
        def run(x):
            counts.append(1)
            return forward(x)

        return run

    for forward, backward in (STAIRCASES["round"], CLAMPS["two bounds"], IDENTITIES["reversal"]):
        made = subject(adapter, function(adapter, counted(forward), backward), POINT)
        outcome = vjp_matches_numeric(made)
        counts.clear()
        deliberate(made, outcome)
        assert len(counts) < 250
