"""GC107: gradients at kinks and ties are generalized ones, or not; right conventions and surrogates never alarm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import refengine as re
from gradcheck.arguments import as_subject
from gradcheck.checks.claim import Subject
from gradcheck.checks.gradient import vjp_matches_numeric
from gradcheck.checks.kinks import COMPOSED, is_one_rule, kinks_get_generalized_gradients
from gradcheck.checks.surrounding import Hull
from gradcheck.engines import registry
from gradcheck.program import Input, Program, Ref, Step
from gradcheck.verdict import Verdict
from refengine.autograd import Function
from tests.gradcheck.test_opwise import abs_at_zero

X = [[0.0, 1.0, -2.0], [3.0, 0.0, 0.5]]
TIED = [[1.0, 1.0, -2.0], [3.0, 3.0, 3.0]]
GENERIC = [[0.7, 1.3, -2.1], [3.2, -0.4, 0.55]]


def made(forward, backward):
    """A Function of one input."""

    class Made(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return forward(x)

        @staticmethod
        def backward(ctx, g):
            return backward(g, *ctx.saved_tensors)

    return Made.apply


def judged(function, values, *, seed=0, engine="refengine", is_rule=True):
    adapter = registry.engine(engine)
    inputs = tuple(adapter.tensor(np.asarray(x, dtype=np.float64)) for x in values)
    subject = as_subject(function, inputs, adapter, rtol=1e-6, seed=seed, name="f")
    return kinks_get_generalized_gradients(replace(subject, is_rule=is_rule))


def relu(at_zero):
    def backward(g, x):
        return g * re.where(x == 0.0, re.full_like(x, at_zero), (x > 0.0).to(x.dtype))

    return made(lambda x: x.relu(), backward)


def hits(x):
    return (x == x.amax(-1, keepdim=True)).to(x.dtype)


ALL_OF_A_TIE = made(lambda x: x.amax(-1), lambda g, x: g.unsqueeze(-1) * hits(x))
SPLIT = made(lambda x: x.amax(-1), lambda g, x: g.unsqueeze(-1) * hits(x) / hits(x).sum(-1, keepdim=True))
BOTH = Step("maximum", (Ref("x", 0), Ref("x", 1)))


@pytest.mark.parametrize("at_zero", [2.0, -1.0, 1.2, -0.3, 1e6])
def test_a_value_outside_the_slopes_of_both_sides_disagrees(at_zero):
    found = judged(relu(at_zero), [X])
    assert found.verdict is Verdict.DISAGREE
    assert (found.finding.code, found.finding.analytic) == ("GC107", at_zero)
    assert found.finding.numeric == pytest.approx(float(at_zero > 0.5), abs=1e-9)
    assert "slopes between 0 and 1 nearby" in found.finding.detail


@pytest.mark.parametrize("at_zero", [0.0, 0.3, 0.5, 1.0])
def test_every_value_between_the_slopes_agrees(at_zero):
    found = judged(relu(at_zero), [X])
    assert (found.verdict, found.vacuous) == (Verdict.AGREE, False)


@pytest.mark.parametrize("seed", range(5))
def test_all_of_a_tie_disagrees_and_its_right_twin_agrees(seed):
    found = judged(ALL_OF_A_TIE, [TIED], seed=seed)
    assert found.verdict is Verdict.DISAGREE
    assert "together" in found.finding.detail
    assert found.finding.numeric == pytest.approx(1.0)
    assert judged(SPLIT, [TIED], seed=seed).verdict is Verdict.AGREE


def test_outputs_are_judged_one_by_one():
    # Added up, 2 and -1 at two zeros lie between the slopes of the sum.
    at_zeros = re.tensor([2.0, -1.0], dtype=re.float64)
    wrong = made(lambda x: x.relu(), lambda g, x: g * re.where(x == 0.0, at_zeros, (x > 0.0).to(x.dtype)))
    assert judged(wrong, [[0.0, 0.0]]).verdict is Verdict.DISAGREE


def test_entries_of_two_inputs_tie_with_each_other():
    def both(x, y):
        return re.maximum(x, y)

    class Greedy(Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return re.maximum(x, y)

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            return g * (x >= y).to(g.dtype), g * (y >= x).to(g.dtype)

    values = [[1.0, 2.0, 0.5], [1.0, -2.0, 0.5]]
    assert judged(Greedy.apply, values).verdict is Verdict.DISAGREE
    assert judged(both, values).verdict is Verdict.AGREE


@pytest.mark.parametrize("function", [relu(2.0), ALL_OF_A_TIE, SPLIT], ids=["relu", "all of a tie", "split"])
def test_nothing_is_tested_where_there_is_no_kink(function):
    assert judged(function, [GENERIC]).vacuous


def test_a_smooth_function_at_zeros_and_ties_is_left_to_other_claims():
    assert judged(made(lambda x: x * x, lambda g, x: g), [TIED]).vacuous


def test_a_kink_at_no_special_value_is_seen():
    wrong = made(lambda x: (x - 0.37).relu(), lambda g, x: g * (2 * (x == 0.37).to(g.dtype) + (x > 0.37).to(g.dtype)))
    assert judged(wrong, [[0.37, 1.9]]).verdict is Verdict.DISAGREE
    assert judged(wrong, [[0.38, 1.9]]).vacuous


# What is meant to be another gradient, or has none ------------------------------------------------------------------

SURROGATES = {
    "straight through": made(lambda x: x.relu(), lambda g, x: 2.5 * g),
    "smoothed": made(lambda x: x.abs(), lambda g, x: 3.0 * g * (5.0 * x).tanh()),
    "leaking": made(lambda x: x.relu(), lambda g, x: g * (1.5 * (x >= 0.0).to(g.dtype) - 0.5)),
    "reversed": made(lambda x: x.relu(), lambda g, x: -g),
}
NO_GRADIENT = {
    "a step": made(lambda x: x.sign(), lambda g, x: 7.0 * g * (x == 0.0).to(g.dtype)),
    "a step with a slope": made(lambda x: x.floor() * x, lambda g, x: g * x.floor()),
    "a root": made(lambda x: x.abs().sqrt(), lambda g, x: g * 0.5 * x.sign() / (x.abs() + 1e-300).sqrt()),
    "a cube root": made(
        lambda x: x.sign() * x.abs() ** (1 / 3), lambda g, x: g / (3 * (x.abs() + (x == 0.0).to(g.dtype)) ** (2 / 3))
    ),
}


@pytest.mark.parametrize("name", [*SURROGATES, *NO_GRADIENT])
@pytest.mark.parametrize("values", [X, TIED, [0.0]], ids=["zeros", "ties", "one"])
def test_surrogates_steps_and_roots_raise_nothing(name, values):
    function = (SURROGATES | NO_GRADIENT)[name]
    assert judged(function, [values]).verdict is not Verdict.DISAGREE


def test_a_gradient_that_is_not_finite_at_a_kink_is_left_open():
    with np.errstate(invalid="ignore"):
        found = judged(made(lambda x: x.abs(), lambda g, x: g * x / x.abs()), [X])
    assert (found.verdict, found.reason) == (Verdict.INCONCLUSIVE, "not finite")


def test_what_conventions_of_several_ops_compose_to_is_no_failure():
    def composed(x):
        return x.relu() - (-x).relu() + 0.01 * x.abs()

    found = judged(composed, [X], is_rule=False)
    assert (found.verdict, found.reason) == (Verdict.INCONCLUSIVE, COMPOSED)


def test_the_apply_of_a_function_is_one_rule_and_a_lambda_is_none():
    assert is_one_rule(SPLIT)
    assert not is_one_rule(lambda x: SPLIT(x))
    jax = pytest.importorskip("jax")
    rule = jax.custom_vjp(lambda x: x)
    assert is_one_rule(rule)
    assert not is_one_rule(jax.jit(rule))


# Right conventions --------------------------------------------------------------------------------------------------


def functional():
    """PyTorch's functions."""
    import torch.nn.functional

    return torch.nn.functional


OPS = {
    "relu": lambda x: x.relu(),
    "abs": lambda x: x.abs(),
    "clamp": lambda x: x.clamp(-1.0, 1.0),
    "norm": lambda x: x.norm(dim=-1),
    "largest": lambda x: x.norm(float("inf"), dim=-1),
    "amax": lambda x: x.amax(-1),
    "max": lambda x: x.max(-1)[0],
    "range": lambda x: x.amax(-1) - x.amin(-1),
}
OF_TORCH = {
    "sort": lambda x: x.sort(-1)[0],
    "median": lambda x: x.median(),
    "topk": lambda x: x.topk(2, -1)[0],
    "sum of topk": lambda x: x.topk(2, -1)[0].sum(-1),
    "cummax": lambda x: x.cummax(-1)[0],
    "quantile": lambda x: x.quantile(0.3, dim=-1),
    "pool": lambda x: functional().max_pool1d(x[None], 2, 1),
    "hardtanh": lambda x: functional().hardtanh(x),
    "huber": lambda x: functional().huber_loss(x, x.detach() * 0.0),
    "singular values": lambda x: x.svd()[1],
}
POINTS = [X, TIED, np.zeros((2, 4)), np.ones((3, 5)), [[1.0, -1.0, 6.0, 0.5]]]


@pytest.mark.parametrize("values", POINTS, ids=["zeros", "ties", "all zero", "all one", "bounds"])
@pytest.mark.parametrize("engine", ["refengine", "torch"])
@pytest.mark.parametrize("name", OPS)
def test_an_engine_s_conventions_raise_nothing(name, engine, values):
    pytest.importorskip(engine)
    assert judged(OPS[name], [values], engine=engine).verdict is Verdict.AGREE


@pytest.mark.parametrize("values", POINTS, ids=["zeros", "ties", "all zero", "all one", "bounds"])
@pytest.mark.parametrize("name", OF_TORCH)
def test_ranks_and_pools_raise_nothing(name, values):
    pytest.importorskip("torch")
    for seed in range(2):
        assert judged(OF_TORCH[name], [values], engine="torch", seed=seed).verdict is not Verdict.DISAGREE


def test_jax_s_conventions_raise_nothing():
    jnp = pytest.importorskip("jax").numpy
    functions = (
        jnp.abs,
        lambda x: jnp.maximum(x, 0.0),
        lambda x: jnp.max(x, -1),
        jnp.sort,
        jnp.median,
        jnp.linalg.norm,
    )
    for function in functions:
        for values in (X, TIED, np.zeros((2, 3))):
            assert judged(function, [values], engine="jax").verdict is not Verdict.DISAGREE


# Programs -----------------------------------------------------------------------------------------------------------


def program_of(*steps, inputs=((0.0, 0.0, 1.0),)):
    engine = registry.engine("refengine")
    program = Program(tuple(Input(np.array(x)) for x in inputs), (), steps, (Ref("v", len(steps) - 1),))
    values = tuple(given.values for given in program.inputs)
    return Subject(engine, program.on(engine), values, (True,) * len(values), str(program), program=program)


SUM = (Step("abs", (Ref("x", 0),)), Step("neg", (Ref("x", 0),)), Step("abs", (Ref("v", 1),)))


def test_an_op_of_a_program_is_judged_at_the_values_that_occurred():
    with abs_at_zero(1.5):
        found = kinks_get_generalized_gradients(program_of(*SUM, Step("sub", (Ref("v", 0), Ref("v", 2)))))
    assert found.verdict is Verdict.DISAGREE
    assert found.finding.detail.startswith("step v0, abs, at a kink")
    assert kinks_get_generalized_gradients(program_of(*SUM)).verdict is Verdict.AGREE


def test_a_program_of_one_op_is_judged_whole():
    with abs_at_zero(-1.5):
        assert kinks_get_generalized_gradients(program_of(SUM[0])).verdict is Verdict.DISAGREE
    found = kinks_get_generalized_gradients(program_of(BOTH, inputs=((1.0, 2.0), (1.0, 0.5))))
    assert (found.verdict, found.vacuous) == (Verdict.AGREE, False)


def test_a_program_without_kinks_costs_nothing(monkeypatch):
    monkeypatch.setattr("gradcheck.checks.kinks.Evaluation", None)
    assert kinks_get_generalized_gradients(program_of(Step("exp", (Ref("x", 0),)))).vacuous
    assert kinks_get_generalized_gradients(program_of(SUM[0], inputs=((0.3, 1.7),))).vacuous


def test_slopes_that_grow_towards_the_point_have_no_hull():
    hull = Hull()
    hull.add(10.0, 0.0, 2.0**-10)
    assert hull.is_bounded
    hull.add(80.0, 0.0, 2.0**-16)
    assert not hull.is_bounded
    assert (hull.outside(90.0), hull.outside(5.0), hull.outside(40.0)) == (10.0, 5.0, 0.0)


# Ties, where a function has a derivative along each line and none in all -------------------------------------------


def middle_of_three(g, x):
    """All of the gradient to the entry in the middle, the first of equal ones in its place."""
    found = np.zeros(tuple(x.shape))
    np.put_along_axis(found, np.argsort(x.detach().numpy(), -1, kind="stable")[..., 1:2], 1.0, -1)
    return g.unsqueeze(-1) * re.tensor(found)


MEDIAN = made(lambda x: x.sum(-1) - x.amax(-1) - x.amin(-1), middle_of_three)
ZERO_AT_TIES = made(lambda x: (x + 1.0) ** 3, lambda g, x: 3.0 * g * (x + 1.0) ** 2 * (x != x.amax()).to(g.dtype))


@pytest.mark.parametrize("seed", range(4))
def test_a_median_of_equal_entries_has_no_derivative_to_be_wrong_about(seed):
    for values in ([[-1.0, -1.0, -1.0]], [[-1.0, -1.0, -1.0], [0.5, 2.0, 0.5]]):
        assert gradient_of(MEDIAN, values, seed).finding is None
        assert judged(MEDIAN, [values], seed=seed).finding is None


def test_a_gradient_that_is_wrong_where_values_are_equal_is_one_all_the_same():
    assert gradient_of(ZERO_AT_TIES, [[0.3, 1.5, 1.5], [1.5, -0.2, 0.7]], 0).verdict is Verdict.DISAGREE


def gradient_of(function, values, seed):
    adapter = registry.engine("refengine")
    inputs = (adapter.tensor(np.asarray(values, dtype=np.float64)),)
    return vjp_matches_numeric(as_subject(function, inputs, adapter, rtol=1e-6, seed=seed, name="f"))
