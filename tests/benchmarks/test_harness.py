"""The harness computes what it says; nothing here asserts a time."""

from __future__ import annotations

import gc
import math
from functools import partial

import pytest

from benchmarks.harness import FEWEST, Benchmark, Prepared, Result, Spread, once, repeats, run


def test_a_spread_is_the_median_between_two_percentiles() -> None:
    assert Spread.of([float(value) for value in range(10, 0, -1)]) == Spread(1.0, 5.5, 9.0)


def test_a_spread_of_one_value_is_that_value() -> None:
    assert Spread.of([3.0]) == Spread(3.0, 3.0, 3.0)


def test_contestants_take_turns_and_each_goes_first() -> None:
    order: list[str] = []
    benchmark = Benchmark("b", "s", 1.0, "a", {name: partial(order.append, name) for name in "ab"})
    result = run(benchmark, rounds=4, seconds=0.0)
    assert order[-8:] == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert result.ratios["a"].median == 1.0 or result.times["a"].median == 0.0


def test_the_collector_is_back_after_a_failure() -> None:
    def fails() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        once(fails, 1)
    assert gc.isenabled()


def test_the_collector_stays_on_where_it_is_asked_for() -> None:
    seen: list[bool] = []
    once(lambda: seen.append(gc.isenabled()), 1, is_collected=True)
    once(lambda: seen.append(gc.isenabled()), 1)
    assert seen == [True, False]


def test_work_runs_at_least_once() -> None:
    assert repeats(lambda: sum(range(10_000)), 0.0)[0] >= 1


def test_what_is_prepared_is_made_anew_before_the_clock_starts() -> None:
    clock = iter(range(100))
    made: list[int] = []

    def prepare() -> list[int]:
        made.append(next(clock))
        return []

    work = Prepared(prepare, list.clear)
    # Each call reads the clock at its start and its end; preparing reads it too, and does not count.
    assert once(work, 3, clock=lambda: float(next(clock))) == 3.0
    assert len(made) == 3


def test_times_are_those_of_one_part() -> None:
    clock = iter(range(1_000_000))
    works = {"a": lambda: None, "b": lambda: None}
    benchmark = Benchmark("b", "s", 1.0, "a", works, {"b": 4.0}, clock=lambda: float(next(clock)))
    result = run(benchmark, rounds=3, seconds=1.0)
    assert result.times["a"].median == 1.0
    assert result.times["b"].median == 0.25
    assert result.ratio("a", "b").median == 4.0
    assert result.difference("a", "b").median == 0.75


def test_long_work_has_fewer_rounds_but_three() -> None:
    clock = iter(range(1_000_000))
    benchmark = Benchmark("b", "s", 1.0, "a", {"a": lambda: None}, clock=lambda: float(next(clock)))
    assert len(run(benchmark, rounds=31, seconds=1.0, limit=10.0).samples["a"]) == 10
    assert len(run(benchmark, rounds=31, seconds=1.0, limit=0.5).samples["a"]) == FEWEST
    assert len(run(benchmark, rounds=2, seconds=1.0, limit=0.5).samples["a"]) == 2


def test_a_clock_that_stands_still_does_not_divide_by_zero() -> None:
    result = Result("b", "s", 1.0, "a", {"a": [0.0], "b": [1.0]})
    assert result.ratios == {"a": Spread(1.0, 1.0, 1.0), "b": Spread(math.inf, math.inf, math.inf)}
