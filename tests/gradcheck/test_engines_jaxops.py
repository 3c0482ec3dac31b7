"""Each op of JAX's table is what refengine's op of that name is: drawn programs have the same values on both."""

from __future__ import annotations

import random

import numpy as np
import pytest

from gradcheck.engines.registry import engine
from gradcheck.failures import Unsupported
from gradcheck.grammar import RECORD, decode
from refengine import catalogue

pytest.importorskip("jax")

from gradcheck.engines.jaxops import OPS

DECLARED = catalogue.ops()
NAMES = sorted({op.name for op in DECLARED} & OPS.keys())
BRIDGES = {"complex", "view_as_real", "float", "to"}
PROGRAMS = 2


def drawn(name, seed):
    """Programs around one op, of ops that JAX has."""
    source = random.Random(f"{name} {seed}")
    known = [op for op in DECLARED if op.name in OPS]
    records = [source.randbytes(RECORD) for _ in range(3)]
    return decode(records, known, executor=engine("refengine"), group=name, inplace="never")


def outcomes(program, adapter):
    """What the program gives; None where it is refused."""
    try:
        return [adapter.array(y) for y in program.run(adapter, [adapter.tensor(x.values) for x in program.inputs])]
    except Unsupported:
        return None


@pytest.mark.parametrize("name", NAMES)
def test_the_op_has_the_values_of_refengine(name):
    reference, adapter = engine("refengine"), engine("jax")
    for seed in range(PROGRAMS):
        program = drawn(name, seed)
        expected, found = outcomes(program, reference), outcomes(program, adapter)
        for one, other in zip(expected, found or expected, strict=True):
            assert one.shape == other.shape, str(program)
            np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-12, err_msg=str(program))


def test_every_line_is_an_op_or_a_bridge():
    assert set(OPS) - {op.name for op in DECLARED} <= BRIDGES
