"""GC201 and GC202 hold on right engines, and fail on planted mistakes; the functional rewrite is what it says."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from gradcheck.checks.claim import Subject
from gradcheck.checks.inplace import INPLACE_EQUALS_OUT_OF_PLACE, inplace_equals_out_of_place
from gradcheck.checks.stale import STALE_SAVE_RAISES, stale_save_raises
from gradcheck.engines import registry
from gradcheck.engines.base import Engine
from gradcheck.engines.refengine import ReferenceEngine
from gradcheck.failures import Unsupported
from gradcheck.grammar import RECORD, decode
from gradcheck.program import Input, Program, Ref, Step
from gradcheck.rewrite import functional
from gradcheck.verdict import Outcome, Verdict
from refengine import catalogue

ENGINE = ReferenceEngine()
X0, X1 = Ref("x", 0), Ref("x", 1)
V = [Ref("v", number) for number in range(8)]


def subject(program: Program, engine: Engine = ENGINE) -> Subject:
    return Subject(
        engine=engine,
        function=lambda *tensors: program.run(engine, tensors),
        inputs=tuple(given.values for given in program.inputs),
        differentiable=tuple(given.requires_grad for given in program.inputs),
        label=str(program),
        program=program,
        salt=b"".join(program.records),
    )


def program(*steps: Step, outputs: tuple[Ref, ...], inputs: int = 1) -> Program:
    values = np.array([[0.5, 1.5, 2.0], [-1.0, 0.25, 3.0]])
    return Program(tuple(Input(values + k) for k in range(inputs)), (), steps, outputs)


THROUGH_A_VIEW = program(
    Step("clone", (X0,)),
    Step("transpose", (V[0], 0, 1), view=True),
    Step("__getitem__", (V[1], slice(1, None)), view=True),
    Step("mul", (V[2], X1), inplace=True, view=True),
    Step("exp", (V[1],)),
    outputs=(V[3], V[4], V[0]),
    inputs=2,
)
THROUGH_A_VIEW = Program(
    (THROUGH_A_VIEW.inputs[0], Input(np.array([2.0, -0.5]))), (), THROUGH_A_VIEW.steps, THROUGH_A_VIEW.outputs
)


Call = Callable[..., Any]
Mistake = Callable[[Engine, Call, str, tuple[Any, ...], Mapping[str, Any]], Any]


def planted(name: str, mistake: Mistake) -> Engine:
    """The engine of this name with `mistake` in the place of every in-place form; it is given the right call."""
    pytest.importorskip(name)
    base: Any = type(registry.engine(name))

    class Planted(base):
        def call(self, op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, inplace: bool = False) -> Any:
            return mistake(self, super().call, op, args, kwargs) if inplace else super().call(op, args, kwargs)

    engine: Engine = Planted()
    return engine


def writes_without_history(
    engine: Engine, call: Call, op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """The values are right and the derivative of the op is left out."""
    with engine.no_grad():
        call(op, args, kwargs, inplace=True)
    return args[0]


def forgets_the_base(engine: Engine, call: Call, op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What is written into a view does not arrive in its base."""
    return call(op, args, kwargs)


def writes_past_the_version(
    engine: Engine, call: Call, op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """The change of a value after the forward pass goes unnoticed."""
    if op != "add":
        return call(op, args, kwargs, inplace=True)
    args[0].detach().numpy()[...] += 1.0
    return args[0]


BOTH = pytest.mark.parametrize("name", ["refengine", "torch"])


class RefusesEveryChange(ReferenceEngine):
    """Backward raises whenever anything was changed in place."""

    changed = False

    def call(self, op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, inplace: bool = False) -> Any:
        self.changed = inplace
        return super().call(op, args, kwargs, inplace=inplace)

    def grad(self, *args: Any, **kwargs: Any) -> Any:
        if self.changed:
            raise RuntimeError("something was changed")
        return super().grad(*args, **kwargs)


def test_the_rewrite_has_no_inplace_step_and_the_same_outputs() -> None:
    pure = functional(THROUGH_A_VIEW, ENGINE)
    assert not any(step.inplace for step in pure.steps)
    tensors = [ENGINE.tensor(given.values) for given in THROUGH_A_VIEW.inputs]
    expected = THROUGH_A_VIEW.run(ENGINE, tensors)
    for found, right in zip(pure.run(ENGINE, tensors), expected, strict=True):
        assert np.array_equal(ENGINE.array(found), ENGINE.array(right))


def test_a_program_without_inplace_steps_rewrites_to_itself() -> None:
    plain = program(Step("exp", (X0,)), Step("transpose", (V[0], 0, 1), view=True), outputs=(V[1],))
    assert str(functional(plain, ENGINE)) == str(plain)


@BOTH
def test_drawn_programs_equal_their_rewrite(name: str) -> None:
    pytest.importorskip(name)
    assert _verdicts(INPLACE_EQUALS_OUT_OF_PLACE.check, registry.engine(name)) >= 60


@BOTH
def test_drawn_programs_refuse_stale_saves(name: str) -> None:
    pytest.importorskip(name)
    assert _verdicts(STALE_SAVE_RAISES.check, registry.engine(name)) >= 60


def _verdicts(check: Any, engine: Engine) -> int:
    """How many of a hundred drawn programs agree and show something; none disagrees."""
    source = random.Random(5)
    ops = [op for op in catalogue.ops() if op.name not in ("floor_divide", "batch_norm")]
    agreed = 0
    for _ in range(100):
        records = [source.randbytes(RECORD) for _ in range(source.randint(2, 8))]
        drawn = decode(records, ops, executor=ENGINE, inplace="always")
        if not all(engine.supports(step.op, inplace=step.inplace) for step in drawn.steps):
            continue
        try:
            outcome: Outcome = check(subject(drawn, engine))
        except Unsupported:
            continue
        assert outcome.verdict is not Verdict.DISAGREE, (outcome.finding, str(drawn))
        agreed += outcome.verdict is Verdict.AGREE and not outcome.vacuous
    return agreed


@BOTH
@pytest.mark.parametrize("mistake", [writes_without_history, forgets_the_base])
def test_a_wrong_inplace_form_is_found(name: str, mistake: Mistake) -> None:
    wrong = planted(name, mistake)
    assert inplace_equals_out_of_place(subject(THROUGH_A_VIEW, registry.engine(name))).verdict is Verdict.AGREE
    found = inplace_equals_out_of_place(subject(THROUGH_A_VIEW, wrong))
    assert found.verdict is Verdict.DISAGREE
    assert found.finding is not None
    assert found.finding.code == "GC201"


def test_a_program_without_inplace_steps_says_nothing_about_them() -> None:
    assert inplace_equals_out_of_place(subject(program(Step("exp", (X0,)), outputs=(V[0],)))).vacuous


@BOTH
@pytest.mark.parametrize("op", ["exp", "tanh", "sin"])
def test_a_stale_save_that_goes_unnoticed_is_found(name: str, op: str) -> None:
    wrong = planted(name, writes_past_the_version)
    one = program(Step(op, (X0,)), Step("neg", (V[0],)), outputs=(V[1],))
    assert stale_save_raises(subject(one, registry.engine(name))).verdict is Verdict.AGREE
    found = stale_save_raises(subject(one, wrong))
    assert found.verdict is Verdict.DISAGREE
    assert found.finding is not None
    assert found.finding.code == "GC202"


def test_a_needless_refusal_is_found() -> None:
    linear = program(Step("neg", (X0,)), Step("sum", (V[0],)), outputs=(V[1],))
    assert stale_save_raises(subject(linear)).verdict is Verdict.AGREE
    found = stale_save_raises(subject(linear, RefusesEveryChange()))
    assert found.verdict is Verdict.DISAGREE
    assert found.finding is not None
    assert "no rule saves it" in found.finding.detail


def test_a_product_with_a_constant_does_not_have_to_refuse() -> None:
    scaled = program(Step("mul", (X0, 2.0)), outputs=(V[0],))
    assert stale_save_raises(subject(scaled)).verdict is Verdict.AGREE


def test_an_empty_program_is_vacuous() -> None:
    empty = Program((), (), (), ())
    assert stale_save_raises(subject(empty)).vacuous
    assert inplace_equals_out_of_place(subject(empty)).vacuous
