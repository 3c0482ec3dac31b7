"""The property suite over two workers: the same items, one seed, and one process that reports."""

from __future__ import annotations

import re

import pytest

from tests.fakes.pytester import FEW, ONE, ONE_ID, Run
from tests.fakes.runner import FAILS, UNDECIDED

pytest.importorskip("xdist")

SHORT = ("--gradcheck", FEW, "-n2", "-k", "gradients_accumulate or vjp_matches")


@pytest.mark.parametrize("mode", ["load", "loadfile", "loadscope", "worksteal", "each"])
def test_every_way_of_distribution_runs_the_suite_once_from_one_seed(run_apart: Run, mode: str) -> None:
    result = run_apart(*SHORT, f"--dist={mode}")
    assert result.ret == 0
    rows = re.findall(r"GC\d+ (\w+) +(\d+) +(\d+)", str(result.stdout))
    assert {name for name, _, _ in rows} == {"gradients_accumulate", "vjp_matches_numeric"}
    counts = {(int(tried), int(agreed)) for _, tried, agreed in rows}
    ran = result.parseoutcomes()["passed"] // (2 if mode == "each" else 1)
    assert counts == {(2 * ran, 2 * ran)}
    assert str(result.stdout).count("= gradcheck =") == 1
    assert len(set(re.findall(r"seed (\d+)", str(result.stdout)))) == 1


def test_a_failure_in_a_worker_is_reported_kept_and_fails_the_run(
    run_apart: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FAILS, ONE)
    result = run_apart(*SHORT)
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(["GC999 vjp_matches_numeric: The fake holds.", "FAILED gradcheck::*"])
    assert len(list(pytester.path.glob(".gradcheck/cases/*.txt"))) == 1


def test_a_printed_id_is_an_argument_and_what_is_inconclusive_too_often_fails_a_strict_run(
    run_apart: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile("def test_own(): pass")
    monkeypatch.setenv(UNDECIDED, ONE)
    result = run_apart(ONE_ID, "-n2", "--gradcheck-max-examples=40", "--gradcheck-profile=ci")
    result.stdout.fnmatch_lines(["GC901 exp on refengine-cpu: *"])
    assert result.parseoutcomes() == {"passed": 1}
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_bad_input_ends_before_a_worker_starts(run_apart: Run) -> None:
    result = run_apart("--gradcheck", "--gradcheck-engine=trch", "-n2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: engine: unknown 'trch'; did you mean torch?"])
