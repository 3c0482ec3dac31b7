"""Numeric forward mode: it gives the ladder's derivative, sees kinks from both sides, and uses no derivative rule."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.checks import move as moves
from gradcheck.checks import numeric_forward as module
from gradcheck.checks.claim import Subject
from gradcheck.checks.evaluation import Evaluation
from gradcheck.checks.numeric_forward import numeric_forward
from gradcheck.checks.viewpoint import Viewpoint
from gradcheck.engines import registry
from gradcheck.grammar import RECORD, decode
from gradcheck.program import Input, Program, Ref, Step
from gradcheck.sharing import runner_of
from refengine import catalogue
from tools.mutants import mutants_of, planted

X, V0, V1 = Ref("x", 0), Ref("v", 0), Ref("v", 1)


def program_of(x, *steps, output=None):
    made = tuple(step if isinstance(step, Step) else Step(*step) for step in steps)
    return Program((Input(np.asarray(x, dtype=np.float64)),), (), made, (output or Ref("v", len(made) - 1),))


def pushed(program, v, engine="refengine"):
    inputs = [given.values for given in program.inputs]
    return numeric_forward(program, registry.engine(engine), inputs, {0: np.asarray(v)}, np.random.default_rng(0))


def drawn(count, seed=0, engine="refengine"):
    """Programs from random records, with a viewpoint and a move of all inputs."""
    random, executor = np.random.default_rng(seed), registry.engine("refengine")
    while count:
        records = tuple(random.bytes(RECORD) for _ in range(random.integers(1, 8)))
        program = decode(records, catalogue.ops(), executor=executor, group=None, inplace="some")
        own = registry.engine(engine)
        if not program.steps or not all(own.supports(step.op, inplace=step.inplace) for step in program.steps):
            continue
        subject = Subject(
            own, runner_of(program, own), tuple(given.values for given in program.inputs),
            tuple(given.requires_grad for given in program.inputs), str(program), program=program,
        )  # fmt: skip
        evaluation = Evaluation(subject)
        if evaluation.moved and evaluation.size:
            count -= 1
            at = Viewpoint(evaluation, random, 1e-6)
            yield program, at, moves.drawn(evaluation, random, evaluation.moved, dense=False)


@pytest.mark.parametrize("engine", ["refengine", "torch"])
def test_drawn_programs_get_the_ladder_s_derivative(engine):
    pytest.importorskip(engine)
    known = outputs = 0
    with np.errstate(all="ignore"):
        for program, at, move in drawn(40, seed=5, engine=engine):
            inputs = at.evaluation.moved_inputs(move.directions, 0.0)
            found = numeric_forward(program, at.evaluation.subject.engine, inputs, move.directions, at.random, at.base)
            ladder = at.ladder(move).derivative(2)
            outputs += at.base.size
            if found is None:
                continue
            both = np.isfinite(found.error + ladder.error) & found.smooth & ladder.smooth & ladder.finite
            known += int(np.isfinite(found.error).sum())
            gap = np.abs(found.value - ladder.value)
            assert (gap <= 2.0 * (found.error + ladder.error))[both].all(), str(program)
    assert known >= 0.9 * outputs


def test_an_analytic_chain_is_right_to_the_last_digits():
    x = np.array([0.3, -1.2, 2.0])
    found = pushed(program_of(x, ("sin", (X,)), ("exp", (V0,))), [1.0, 1.0, -2.0])
    expected = np.exp(np.sin(x)) * np.cos(x) * [1.0, 1.0, -2.0]
    assert np.abs(found.value - expected).max() <= 8 * np.finfo(float).eps
    assert (np.abs(found.value - expected) <= found.error).all()
    assert found.error.max() <= 1e-13


def test_no_rule_of_the_engine_is_used():
    x = np.array([0.3, -1.2, 2.0])
    program = program_of(x, ("sin", (X,)), ("softmax", (V0, 0)), ("mul", (V1, X)))
    right = pushed(program, [1.0, 0.5, -1.0]).value
    for op in ("sin", "softmax", "mul"):
        with planted(next(mutants_of(catalogue.get(op)))):
            assert (pushed(program, [1.0, 0.5, -1.0]).value == right).all()


def test_a_relu_at_zero_has_a_left_and_a_right_derivative():
    found = pushed(program_of([0.0, 1.0], ("relu", (X,))), [1.0, 1.0])
    assert found.smooth.tolist() == [False, True]
    assert np.allclose([found.left[0], found.right[0], found.value[1]], [0.0, 1.0, 1.0], rtol=0, atol=1e-12)


def test_kinks_that_cancel_leave_a_derivative():
    program = program_of(
        [0.0], ("relu", (X,)), ("neg", (X,)), ("relu", (V1,)), ("sub", (V0, Ref("v", 2)))
    )  # fmt: skip
    found = pushed(program, [1.0])
    assert found.smooth.all()
    assert abs(found.value[0] - 1.0) <= 1e-12


def test_a_maximum_of_equal_operands_takes_the_one_that_grows():
    program = program_of([1.0, 2.0], ("mul", (X, 3.0)), ("sub", (V0, 4.0)), ("maximum", (X, V1)))
    found = pushed(program, [1.0, 1.0])
    assert (round(found.left[1], 9), round(found.right[1], 9)) == (1.0, 3.0)


def test_in_place_steps_are_followed():
    program = program_of([0.5, 2.0], ("clone", (X,)), Step("exp", (V0,), inplace=True, view=True), ("mul", (V0, X)))
    found = pushed(program, [1.0, 1.0])
    expected = np.exp([0.5, 2.0]) * (1 + np.array([0.5, 2.0]))
    assert np.abs(found.value - expected).max() <= 1e-13


def test_layouts_are_kept_on_the_way():
    x = np.arange(6.0).reshape(2, 3).T + 0.5
    program = Program(
        (Input(x),), (), (Step("sin", (X,)), Step("t", (V0,)), Step("view", (V1, (6,)))), (Ref("v", 2),)
    )  # fmt: skip
    found = pushed(program, np.ones((3, 2)))
    assert np.abs(found.value - np.cos(x).T.ravel()).max() <= 1e-15


@pytest.mark.parametrize(("op", "declared"), [("exp", "linear"), ("exp", "multilinear"), ("abs", "analytic")])
def test_a_wrongly_declared_structure_is_noticed(monkeypatch, op, declared):
    right = pushed(program_of([0.7, 0.0], (op, (X,))), [1.0, 1.0])
    monkeypatch.setattr(module, "structure", lambda name: declared)
    found = pushed(program_of([0.7, 0.0], (op, (X,))), [1.0, 1.0])
    assert (found.smooth == right.smooth).all()
    assert (np.abs(found.right - right.right) <= found.right_error + right.right_error).all()
    assert found.smooth.tolist() == ([True, True] if op == "exp" else [True, False])


def test_a_jump_on_the_way_is_unknown():
    found = pushed(program_of([1.0, 1.5], ("floor", (X,)), ("mul", (V0, X))), [1.0, 1.0])
    assert np.isfinite(found.error).tolist() == [False, True]
    assert abs(found.value[1] - 1.0) <= 1e-12


def test_a_program_that_gives_other_outputs_is_refused():
    program = program_of([0.5], ("exp", (X,)))
    engine = registry.engine("refengine")
    args = (program, engine, [np.array([0.5])], {0: np.ones(1)}, np.random.default_rng(0))
    assert numeric_forward(*args, np.exp([0.5])) is not None
    assert numeric_forward(*args, np.array([2.0])) is None
