"""Every contestant runs once at a tiny size and agrees with the others; no time is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import checkers, checking, engine, large, peers, programs, startup
from benchmarks.functions import FUNCTIONS, composite
from benchmarks.harness import Work
from benchmarks.scale import FULL, QUICK, SMOKE

CASES = {case.name: case for case in engine.cases(SMOKE)}
ABSENT = replace(peers.TORCH, module="a_library_that_nobody_has")


@pytest.mark.parametrize("name", CASES)
def test_all_libraries_give_the_gradient_that_is_written_by_hand(name: str) -> None:
    case = CASES[name]
    benchmark = engine.benchmark(case)
    installed = {peer.name for peer in case.peers if peer.is_installed}
    assert benchmark.contestants.keys() - {engine.NUMPY} == installed
    assert benchmark.baseline in benchmark.contestants


def test_each_letter_is_there_in_quick_runs_too() -> None:
    for scale, letters in ((FULL, "abcdefghi"), (QUICK, "acdefghi"), (SMOKE, "abcdefghi")):
        assert {case.name[1] for case in engine.cases(scale)} == set(letters)


def test_a_wrong_gradient_is_noticed() -> None:
    works: dict[str, Work] = {"right": lambda: [np.ones(3)], "wrong": lambda: [np.array([1.0, 1.0, 1.001])]}
    with pytest.raises(AssertionError, match="wrong, gradient 0"):
        engine.require_same(works)


def test_a_missing_gradient_is_noticed() -> None:
    works: dict[str, Work] = {"right": lambda: [np.ones(3), np.ones(1)], "wrong": lambda: [np.ones(3)]}
    with pytest.raises(AssertionError, match="expected 2 gradients, got 1"):
        engine.require_same(works)


def test_a_library_that_is_not_installed_is_said_to_be_absent() -> None:
    case = next(iter(CASES.values()))
    benchmark = engine.benchmark(replace(case, peers=(peers.REFENGINE, ABSENT)))
    assert benchmark.absent == {"PyTorch": "not installed"}
    assert list(benchmark.contestants) == [engine.NUMPY, "refengine"]


def test_graphs_of_both_sizes_give_the_same_gradient_everywhere() -> None:
    passes, frees = large.benchmarks(SMOKE)
    assert passes.baseline in passes.contestants
    assert frees.is_collected
    for work in frees.contestants.values():
        work()


@pytest.mark.parametrize("checker", checkers.FIRST + checkers.SECOND, ids=lambda one: one.name)
def test_a_checker_accepts_what_is_right_and_refuses_what_is_wrong(checker: checkers.Checker) -> None:
    pytest.importorskip(checker.peer.module)
    checkers.require_sight(checker)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("size", checking.SIZES)
def test_every_library_computes_the_same_function(function: Any, size: int) -> None:
    checked = function(size)
    expected = checked.of(np)(checked.point)
    assert expected.size == checked.outputs
    assert checked.point.size == checked.size
    for peer in (peers.REFENGINE, peers.TORCH, peers.AUTOGRAD, peers.JAX):
        if peer.is_installed:
            library = peer.namespace()
            found = peers.plain(checked.of(library)(peers.constant(library, checked.point)))
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12, err_msg=peer.name)


def test_targets_about_checks_are_measured_in_quick_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, str]] = []

    def noted(checked: Any, order: str, all_checkers: Sequence[Any], scale: Any) -> Any:
        asked.append((checked.size, order))

    monkeypatch.setattr(checking, "benchmark", noted)
    list(checking.benchmarks(QUICK))
    assert asked == [(100, "first order"), (1_000, "first order"), (1_000, "first order"), (100, "second order")]


def test_numerical_jacobians_agree() -> None:
    assert "scipy.differentiate.jacobian" in checking.jacobians(composite(10)).contestants


def test_programs_are_counted_and_a_mistake_shrinks_to_one_call() -> None:
    throughput, _ = programs.benchmarks(SMOKE)
    assert throughput.parts[programs.CHECKED] > 0
    assert throughput.baseline == programs.CHECKED


def test_pytest_starts_with_the_plugin_blocked_off_and_on(tmp_path: Path) -> None:
    for benchmark in startup.benchmarks(tmp_path):
        for work in benchmark.contestants.values():
            work()
