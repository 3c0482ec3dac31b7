"""Drawn programs catch a rule wrong by 1e-5, in every op; tools/mutants.py tries other mutations and seeds."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.runner import PROFILES
from refengine import catalogue
from refengine.op import Op
from tools.mutants import Mutant, is_caught, mutants_of, planted, reason

MUTANTS = [m for op in catalogue.ops() for m in mutants_of(op) if m.kind == "scaled" and reason(m) is None]


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_rule_scaled_by_one_part_in_100_000_is_caught(mutant: Mutant) -> None:
    with np.errstate(all="ignore"):
        assert is_caught(mutant, seed=0, examples=PROFILES["ci"].max_examples)


@pytest.mark.parametrize("op", ["exp", "mul", "sum", "matmul", "cat"])
def test_a_right_rule_is_not_caught(op: str) -> None:
    right: Op = catalogue.get(op)
    rule = right.rules[0][0]
    assert not is_caught(Mutant(right, 0, "none", rule), seed=0, examples=50)


def test_a_mutant_is_taken_out_again() -> None:
    op = catalogue.get("exp")
    before = op.rules
    with planted(next(mutants_of(op))):
        assert op.rules is not before
    assert op.rules is before


def test_dropping_terms_finds_both_sides_of_a_sum() -> None:
    kinds = [m.kind for m in mutants_of(catalogue.get("tan"))]
    assert "term out * out + 1 -> 1" in kinds
    assert "term out * out + 1 -> out * out" in kinds
