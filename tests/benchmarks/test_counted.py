"""What an op costs without a clock does not grow unnoticed."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace

import pytest

from benchmarks.counted import chain

# As measured on the chain of 1,000 small ops; a change that lowers a count lowers it here too. A call more in 20 ops is
# noticed; what a pass does once counts a few thousandths.
MOST = {
    "forward_calls": 2.45,
    "backward_calls": 1.47,
    "grad_calls": 10.3,
    "tracked": 4.42,
    "blocks": 6.05,
    "cyclic": 0.0,
}


@pytest.fixture(scope="module")
def counts() -> dict[str, float]:
    return asdict(chain())


@pytest.mark.parametrize("what", MOST)
def test_an_op_of_the_small_op_chain_costs_no_more_than_it_did(counts: dict[str, float], what: str) -> None:
    assert counts[what] <= MOST[what]


def test_every_count_has_its_limit(counts: dict[str, float]) -> None:
    assert counts.keys() == MOST.keys()


def test_counting_is_exact() -> None:
    one, other = chain(200), chain(200)
    # Blocks are exact but for what the interpreter itself keeps meanwhile.
    assert one.blocks == pytest.approx(other.blocks, abs=0.05)
    assert replace(one, blocks=other.blocks) == other


def test_who_profiles_stays_in_place() -> None:
    def profiler(*arguments: object) -> None:
        return None

    before = sys.getprofile()
    sys.setprofile(profiler)
    try:
        chain(50)
        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(before)
