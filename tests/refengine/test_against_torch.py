"""Programs drawn by our own grammar run alike on the reference engine and on PyTorch, but for what duel.KNOWN lists."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from gradcheck.engines import registry
from gradcheck.failures import Unsupported
from gradcheck.grammar import decode
from gradcheck.program import Program
from refengine import catalogue
from tests.refengine.duel import KNOWN, LEFT_OUT, Duel

pytest.importorskip("torch")

OURS, THEIRS = registry.engine("refengine"), registry.engine("torch")
OPS = tuple(op for op in catalogue.ops() if op.name not in LEFT_OUT)
CASES = 2
"""Programs around each op."""


def drawn(name: str, cases: int = CASES) -> Iterator[tuple[Program, random.Random]]:
    """Programs that PyTorch has all the ops of, the same each time."""
    generator = random.Random(name)
    for case in range(cases):
        records = [generator.randbytes(16) for _ in range(generator.randint(2, 7))]
        inplace = ("some", "always")[case % 2]
        program = decode(records, OPS, executor=OURS, group=name, inplace=inplace)
        if program.outputs and all(THEIRS.supports(step.op, inplace=step.inplace) for step in program.steps):
            yield program, generator


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("op", [op.name for op in OPS if op.group])
def test_a_drawn_program_runs_alike_on_pytorch(op: str) -> None:
    for program, generator in drawn(op):
        try:
            duel = Duel(OURS, THEIRS, program)
        except Unsupported:
            continue
        except RuntimeError as error:
            if "view size is not compatible" in str(error):  # PyTorch lays out fresh results in another order
                continue
            raise
        found = duel.unknown(duel.forward()) + duel.unknown(duel.derivatives())
        names = list(duel.ours.values)
        for recorded in (False, True):
            for name in generator.sample(names, min(2, len(names))):
                found += duel.unknown(duel.writes(name, recorded=recorded))
        assert found == [], f"{found}\n{program}"


def test_every_known_difference_is_about_a_declared_op() -> None:
    declared = {op.name for op in catalogue.ops()}
    assert {op for ops in KNOWN.values() for op in ops} | LEFT_OUT.keys() <= declared
