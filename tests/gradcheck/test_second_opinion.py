"""A second opinion: numeric forward mode for programs and for refengine's functions, a complex step for others."""

from __future__ import annotations

import numpy as np
import pytest

import refengine as re
from gradcheck.checks import move as moves
from gradcheck.checks.claim import Subject
from gradcheck.checks.evaluation import Evaluation
from gradcheck.checks.second_opinion import tangents
from gradcheck.checks.viewpoint import Viewpoint
from gradcheck.engines import registry
from gradcheck.program import Input, Program, Ref, Step
from refengine.autograd import Function


def opinion(function, *inputs, engine="refengine", program=None, dense=False):
    """What is said, and the move along which."""
    subject = Subject(
        registry.engine(engine), function, inputs, (True,) * len(inputs), "f(x0)", program=program
    )  # fmt: skip
    random = np.random.default_rng(3)
    evaluation = Evaluation(subject)
    at = Viewpoint(evaluation, random, 1e-6)
    move = moves.drawn(evaluation, random, evaluation.moved, dense=dense)
    return tangents(at, move), move


X = np.array([[0.3, -1.2], [2.0, 0.7]])


@pytest.mark.parametrize("engine", ["refengine", "torch"])
@pytest.mark.parametrize("values", [X, X.T, np.broadcast_to(X[0], (3, 2))], ids=["plain", "transposed", "expanded"])
def test_an_analytic_function_gets_a_complex_step_in_every_layout(engine, values):
    pytest.importorskip(engine)
    found, move = opinion(lambda x: x.sin().exp(), values, engine=engine)
    expected = np.exp(np.sin(values)) * np.cos(values) * move.directions[0]
    assert np.abs(found.value - expected.ravel()).max() <= 1e-14
    assert found.error.max() <= 1e-12


def test_the_function_sees_the_strides_of_its_inputs():
    seen = set()

    def function(x):
        seen.add(x.stride())
        return x.sin()

    opinion(function, X.T)
    assert seen == {(1, 2)}


def test_inputs_that_stand_still_may_be_complex_too():
    found, move = opinion(lambda x, y: x @ y, X, X + 1.0)
    v, w = move.directions[0], move.directions[1]
    assert np.abs(found.value - (v @ (X + 1.0) + X @ w).ravel()).max() <= 1e-14


@pytest.mark.parametrize("name", ["abs", "floor"])
def test_where_ops_are_not_listed_a_function_that_is_not_analytic_gets_none(name):
    pytest.importorskip("torch")
    assert opinion(lambda x: getattr(x, name)() * 1.5, X, engine="torch")[0] is None


W = re.tensor([[1.5, -0.25], [0.5, 2.0]], dtype=re.float64)


@pytest.mark.parametrize("values", [X, X.T, np.broadcast_to(X[0], (3, 2))], ids=["plain", "transposed", "expanded"])
def test_a_function_of_refengine_that_is_not_analytic_is_looked_at_op_by_op(values):
    found, move = opinion(lambda x: (x.abs().sum(0) * 1.5) @ W, values)
    expected = ((np.sign(values) * move.directions[0]).sum(0) * 1.5) @ W.numpy()
    assert np.abs(found.value - expected).max() <= 1e-10
    assert (np.abs(found.value - expected) <= found.error).all()


class Magnitude(Function):
    """Its backward is not asked."""

    @staticmethod
    def forward(ctx, x, power):
        ctx.mark_non_differentiable(signs := x.sign())
        return x.abs() ** power, signs


def test_the_ops_inside_of_a_function_s_forward_are_seen():
    found, move = opinion(lambda x: Magnitude.apply(x, 3)[0], X)
    assert np.abs(found.value - (3.0 * X * np.abs(X) * move.directions[0]).ravel()).max() <= 1e-9


def through_numpy(x):
    return x.abs() * re.from_numpy(np.sin(x.detach().numpy()))


def by_a_number(x):
    return x.abs() * x[0, 0].item()


def by_a_branch(x):
    return x.abs() if float(x.sum()) == float(X.sum()) else x.abs() * 2.0


def in_place(x):
    return x.abs().mul_(2.0)


def at_random(x):
    return x.abs() * re.rand(2, 2, dtype=re.float64)


@pytest.mark.parametrize("function", [through_numpy, by_a_number, by_a_branch, in_place, at_random])
def test_what_its_ops_do_not_tell_wholly_gets_none(function):
    assert opinion(function, X)[0] is None


def test_a_program_is_looked_at_step_by_step():
    program = Program((Input(X),), (), (Step("abs", (Ref("x", 0),)),), (Ref("v", 0),))
    found, move = opinion(program.on(registry.engine("refengine")), X, program=program)
    assert np.abs(found.value - (np.sign(X) * move.directions[0]).ravel()).max() <= 1e-11


def test_float32_gets_none():
    assert opinion(lambda x: x.sin(), X.astype(np.float32))[0] is None


def test_what_is_analytic_around_the_point_counts_as_analytic():
    found, move = opinion(lambda x: x.relu() * 1.5, X)
    assert np.abs(found.value - (1.5 * (X > 0) * move.directions[0]).ravel()).max() <= 1e-14
