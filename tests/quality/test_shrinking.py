"""Shrinking ends at the exact minimal program, for planted engine faults and several seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from gradcheck.checks import default_claims
from gradcheck.checks.claim import Subject
from gradcheck.engines.refengine import ReferenceEngine
from gradcheck.failures import Finding
from gradcheck.program import Array, Program
from gradcheck.strategies.programs import search
from gradcheck.verdict import AGREED, Outcome, Verdict
from refengine import catalogue

SEEDS = range(6)
# A list of its own, so that an op added to the catalogue does not change what these tests draw.
NAMES = (
    "neg", "exp", "sin", "square", "add", "mul", "sum", "mean", "unsqueeze", "transpose", "clone", "cat",
    "index_select", "matmul",
)  # fmt: skip
OPS = tuple(catalogue.get(name) for name in NAMES)
RIGHT = ReferenceEngine()

Fault = Callable[["Faulty", str, tuple[Any, ...], Mapping[str, Any]], bool]


class Faulty(ReferenceEngine):
    """The reference engine, with a wrong gradient (and right values) wherever `fault` says so."""

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self.fault = fault
        self.transposed: list[Any] = []

    def call(self, op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, inplace: bool = False) -> Any:
        is_wrong = not inplace and self.fault(self, op, args, kwargs)
        result = super().call(op, args, kwargs, inplace=inplace)
        if op == "transpose":
            self.transposed.append(result)
        return result + 0.25 * (result - result.detach()) if is_wrong else result


def exp(engine: Faulty, op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    return op == "exp"


def sum_over_the_last_axis(engine: Faulty, op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    return op == "sum" and kwargs.get("dim") == -1


def mul_that_broadcasts_its_second_operand(
    engine: Faulty, op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> bool:
    return op == "mul" and engine.is_tensor(args[1]) and args[1].ndim < args[0].ndim


def sin_of_an_input_with_an_exact_zero(
    engine: Faulty, op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> bool:
    return op == "sin" and args[0].is_leaf and bool((engine.array(args[0]) == 0).any())


def index_select_with_repetition(engine: Faulty, op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    return op == "index_select" and len(set(engine.array(args[2]).ravel().tolist())) < args[2].numel()


def matmul_after_transpose(engine: Faulty, op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    return op == "matmul" and any(args[0] is one or args[1] is one for one in engine.transposed)


MINIMAL: dict[Fault, list[str]] = {
    exp: [
        "x0 = tensor(1.0, requires_grad=True)",
        "v0 = x0.exp()",
        "out = (v0,)",
    ],
    sum_over_the_last_axis: [
        "x0 = tensor([1.0], requires_grad=True)",
        "v0 = x0.sum(dim=-1)",
        "out = (v0,)",
    ],
    mul_that_broadcasts_its_second_operand: [
        "x0 = tensor([1.0], requires_grad=True)",
        "x1 = tensor(1.0, requires_grad=True)",
        "v0 = x0.mul(x1)",
        "out = (v0,)",
    ],
    sin_of_an_input_with_an_exact_zero: [
        "x0 = tensor(0.0, requires_grad=True)",
        "v0 = x0.sin()",
        "out = (v0,)",
    ],
    index_select_with_repetition: [
        "x0 = tensor([1.0], requires_grad=True)",
        "c0 = tensor([0, 0])",
        "v0 = x0.index_select(0, c0)",
        "out = (v0,)",
    ],
    matmul_after_transpose: [
        "x0 = tensor([1.0], requires_grad=True)",
        "x1 = tensor([[1.0, -1.0]], requires_grad=True)",
        "v0 = x0.transpose(0, 0)",
        "v1 = v0.matmul(x1)",
        "out = (v1,)",
    ],
}


def gradients(engine: ReferenceEngine, program: Program) -> list[Array]:
    leaves = [engine.tensor(given.values, requires_grad=True) for given in program.inputs]
    outputs = program.run(engine, leaves)
    found = engine.grad(outputs, leaves, [engine.tensor(np.ones(tuple(y.shape))) for y in outputs])
    return [np.zeros(tuple(x.shape)) if g is None else engine.array(g) for x, g in zip(leaves, found, strict=True)]


def differs_from_the_right_engine(engine: Faulty) -> Callable[[Program], Outcome]:
    """A check that costs little: the right engine is the oracle."""

    def check(program: Program) -> Outcome:
        engine.transposed.clear()
        pairs = zip(gradients(engine, program), gradients(RIGHT, program), strict=True)
        if all(np.allclose(found, right, equal_nan=True) for found, right in pairs):
            return AGREED
        return Outcome(Verdict.DISAGREE, finding=Finding("planted", "GC000", "planted", "planted", str(program)))

    return check


def differs_from_the_numerical_derivative(engine: Faulty) -> Callable[[Program], Outcome]:
    claim = default_claims().get("vjp_matches_numeric")

    def check(program: Program) -> Outcome:
        engine.transposed.clear()
        return claim.check(
            Subject(
                engine=engine,
                function=lambda *tensors: program.run(engine, tensors),
                inputs=tuple(given.values for given in program.inputs),
                differentiable=(True,) * len(program.inputs),
                label=str(program),
                program=program,
                salt=b"".join(program.records),
            )
        )

    return check


def minimal(check: Callable[[Program], Outcome], seed: int) -> list[str]:
    """The lines of the program that the search ends with."""
    found = search(check, ops=OPS, executor=RIGHT, max_examples=500, seed=seed, on_case=lambda program, outcome: None)
    assert found is not None
    program, outcome = found
    assert outcome.verdict is Verdict.DISAGREE
    return str(program).splitlines()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", MINIMAL, ids=lambda fault: fault.__name__)
def test_shrinking_ends_at_the_minimal_program(fault: Fault, seed: int) -> None:
    assert minimal(differs_from_the_right_engine(Faulty(fault)), seed) == MINIMAL[fault]


@pytest.mark.parametrize("fault", [exp, sum_over_the_last_axis], ids=lambda fault: fault.__name__)
def test_shrinking_ends_at_the_minimal_program_of_the_numerical_claim(fault: Fault) -> None:
    assert minimal(differs_from_the_numerical_derivative(Faulty(fault)), seed=0) == MINIMAL[fault]
