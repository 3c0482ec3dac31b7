"""The harness computes what it says; nothing here asserts a time."""

from __future__ import annotations

import gc

import pytest

from benchmarks.harness import Benchmark, Spread, once, repeats, run


def test_a_spread_is_the_median_between_two_percentiles() -> None:
    assert Spread.of([float(value) for value in range(10, 0, -1)]) == Spread(1.0, 5.5, 9.0)


def test_a_spread_of_one_value_is_that_value() -> None:
    assert Spread.of([3.0]) == Spread(3.0, 3.0, 3.0)


def test_contestants_take_turns_and_each_goes_first() -> None:
    order: list[str] = []
    benchmark = Benchmark("b", "s", 1.0, "a", {name: lambda name=name: order.append(name) for name in "ab"})
    result = run(benchmark, rounds=4, seconds=0.0)
    assert order[-8:] == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert result.ratios["a"].median == 1.0 or result.times["a"].median == 0.0


def test_the_collector_is_back_after_a_failure() -> None:
    def fails() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        once(fails, 1)
    assert gc.isenabled()


def test_work_runs_at_least_once() -> None:
    assert repeats(lambda: sum(range(10_000)), 0.0) >= 1


def test_the_table_has_a_line_for_each_contestant() -> None:
    work = lambda: sum(range(20_000))  # noqa: E731
    table = run(Benchmark("b", "s", 1.0, "a", {"a": work, "c": work}), rounds=2, seconds=0.001).table()
    assert [line.split(" | ")[0] for line in table.splitlines()] == ["| b", "|---|---|---|", "| a", "| c"]
