"""The public strategies: what they draw, how they print, and the search that shrinks."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from gradcheck.engines.refengine import ReferenceEngine
from gradcheck.failures import Finding
from gradcheck.program import Program
from gradcheck.strategies import arrays, programs
from gradcheck.strategies.programs import search
from gradcheck.strategies.search import find as search_cases
from gradcheck.verdict import AGREED, Outcome, Verdict
from refengine import catalogue
from refengine.spec import Interval

ENGINE = ReferenceEngine()


def failing(code: str = "GC000") -> Outcome:
    return Outcome(Verdict.DISAGREE, finding=Finding("planted", code, "planted", "refengine-cpu", "planted"))


def collected(seed: int, count: int = 100) -> list[Program]:
    cases: list[Program] = []
    search(
        lambda program: AGREED,
        ops=catalogue.ops(),
        executor=ENGINE,
        max_examples=count,
        seed=seed,
        on_case=lambda program, outcome: cases.append(program),
    )
    return cases


@given(programs())
@settings(max_examples=30)
def test_a_drawn_program_is_printed_as_source_and_never_as_bytes(program: Program) -> None:
    assert "out = (" in repr(program)
    assert "\\x" not in repr(program)


def test_a_failing_test_shows_the_program() -> None:
    @given(programs())
    @settings(database=None)
    def test(program: Program) -> None:
        assert not program.steps

    with pytest.raises(AssertionError) as caught:
        test()
    notes = "\n".join(caught.value.__notes__)
    assert "x0 = tensor(1.0, requires_grad=True)" in notes
    assert "out = (v0,)" in notes
    assert "b'" not in notes


def test_max_steps_bounds_the_records() -> None:
    smallest = find(programs(max_steps=2), lambda program: len(program.records) == 3, settings=settings(database=None))
    assert len(smallest.records) == 3
    with pytest.raises(ValueError, match="max_steps=0"):
        programs(max_steps=0)


def test_half_of_the_programs_have_four_steps_or_more() -> None:
    assert statistics.median(len(program.steps) for program in collected(0, 300)) >= 4


def test_the_same_seed_draws_the_same_programs() -> None:
    assert list(map(str, collected(7))) == list(map(str, collected(7)))


def test_records_are_not_repeated_between_programs() -> None:
    drawn = [record for program in collected(1, 200) for record in program.records[1:]]
    assert len(set(drawn)) > 0.9 * len(drawn)


@given(arrays())
def test_arrays_have_short_decimals_and_every_rank(values: np.ndarray) -> None:  # type: ignore[type-arg]
    assert values.ndim <= 4
    assert np.array_equal(values, np.round(values, 2))


@given(arrays((3, 4), domain=Interval(0.5, 2.0), contiguous=True))
def test_arrays_take_a_shape_a_domain_and_a_layout(values: np.ndarray) -> None:  # type: ignore[type-arg]
    assert values.shape == (3, 4)
    assert values.flags.c_contiguous
    assert ((values >= 0.5) & (values <= 2.0)).all()


def test_the_search_tells_each_case_up_to_the_first_failure() -> None:
    told: list[int] = []
    found = search_cases(
        st.integers(0, 1000),
        lambda number: failing() if number > 500 else AGREED,
        max_examples=100,
        seed=3,
        on_case=lambda number, outcome: told.append(number),
    )
    assert found is not None
    assert found[0] == 501
    assert [number > 500 for number in told] == [False] * (len(told) - 1) + [True]


def test_the_search_keeps_to_the_first_failures_code() -> None:
    found = search_cases(
        st.integers(0, 1000),
        lambda number: failing("GC001") if number > 500 else failing("GC002") if number > 0 else AGREED,
        max_examples=100,
        seed=3,
        on_case=lambda number, outcome: None,
    )
    assert found is not None
    assert found[1].finding is not None
    assert found[0] == {"GC001": 501, "GC002": 1}[found[1].finding.code]


def test_the_search_never_shrinks_into_an_inconclusive_case() -> None:
    inconclusive = Outcome(Verdict.INCONCLUSIVE, "kink")
    found = search_cases(
        st.integers(0, 1000),
        lambda number: AGREED if number < 10 else inconclusive if number < 100 else failing(),
        max_examples=100,
        seed=0,
        on_case=lambda number, outcome: None,
    )
    assert found is not None
    assert found[0] == 100


def test_the_search_finds_nothing_where_nothing_fails() -> None:
    nothing = search_cases(
        st.integers(), lambda number: AGREED, max_examples=20, seed=0, on_case=lambda n, outcome: None
    )
    assert nothing is None


def test_an_exception_of_the_check_is_not_swallowed() -> None:
    def check(number: int) -> Outcome:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        search_cases(st.integers(), check, max_examples=20, seed=0, on_case=lambda number, outcome: None)
