"""Forwards and rules use nothing outside the vocabulary: drawn calls of every op, run over array_api_strict."""

from __future__ import annotations

import random

import numpy as np
import pytest

from gradcheck.engines import registry
from gradcheck.grammar import decode
from gradcheck.program import Program
from refengine import catalogue

pytest.importorskip("array_api_strict")

from tests.fakes import strict

strict.register()
CPU, STRICT = registry.engine("refengine"), registry.engine("refengine", "strict")
CASES = 25


def run(engine: registry.Engine, program: Program) -> list[np.ndarray]:
    """Values and gradients of a program."""
    inputs = [engine.tensor(x.values, requires_grad=x.requires_grad) for x in program.inputs]
    outputs = [out for out in program.run(engine, inputs) if engine.requires_grad(out)]
    values = [engine.array(out) for out in outputs]
    cotangents = [engine.tensor(np.cos(np.arange(v.size)).reshape(v.shape).astype(v.dtype)) for v in values]
    wanted = [x for x in inputs if engine.requires_grad(x)]
    gradients = engine.grad(outputs, wanted, cotangents) if outputs else ()
    return values + [np.zeros(0) if g is None else engine.array(g) for g in gradients]


@pytest.mark.parametrize("op", [op.name for op in catalogue.ops()])
def test_an_op_computes_the_same_over_the_strict_namespace(op: str) -> None:
    generator = random.Random(op)
    for _ in range(CASES):
        records = [generator.randbytes(16) for _ in range(generator.randint(2, 4))]
        program = decode(records, catalogue.ops(), executor=CPU, group=op)
        for expected, actual in zip(run(CPU, program), run(STRICT, program), strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12, err_msg=str(program))
