"""Every planted mistake is found from one ordinary call, its twin never is, and the diagnosis mostly names its kind."""

from __future__ import annotations

from functools import cache

import pytest

from gradcheck.functions.wishes import Allowance
from tests.planted.harness import ENGINES, alarms, caught, everything, planted


@cache
def found_first(one):
    """What becomes of a mistake with the first seed."""
    return caught(one, seed=0)


# JAX compiles each operation for each shape, so that one mistake takes seconds: what only JAX has, and a few of the
# others; the whole list is measured for docs/oracle_table.md.
OF_JAX = frozenset(
    {
        "stopped", "tangent without its factor", "batched with the first", "wrong branch for a symbolic zero",
        "perturbed flag of another input", "factor", "masked at zero",
    }
)  # fmt: skip
TESTED = tuple(one for one in everything() if one.engine != "jax" or one.name in OF_JAX)
EACH = pytest.mark.parametrize("one", TESTED, ids=lambda one: f"{one.engine}-{one.name.replace(' ', '-')}")


@EACH
def test_the_mistake_is_found_by_a_claim_that_is_meant_for_it(one):
    found = found_first(one)
    assert found.caught, f"expected one of {sorted(one.codes)}, got {sorted(found.codes)}"


# A right function takes the whole of its allowance; all of it is measured for docs/oracle_table.md.
FEW = Allowance(seconds=None, evaluations=2_000)


@EACH
def test_the_right_twin_is_never_found(one):
    assert alarms(one, 1, None if one.engine == "jax" else FEW) == ()


@pytest.mark.parametrize("engine", ENGINES)
def test_names_are_unique_and_there_are_many_of_them(engine):
    pytest.importorskip(engine)
    names = [one.name for one in planted(engine)]
    assert len({*names}) == len(names) >= (40 if engine == "jax" else 60)
    assert engine != "jax" or {*names} >= OF_JAX


def test_the_diagnosis_names_the_kind_of_four_in_five():
    ours = planted("refengine")
    named = sum(found_first(one).mistake is one.mistake for one in ours)
    assert named >= 0.8 * len(ours)
