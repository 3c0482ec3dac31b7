"""Users' tests under ``--gradcheck``: which test fails for what, whatever its own outcome, and how the run ends."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from gradcheck.plugin import judging
from tests.fakes import functions, ops
from tests.fakes.functions import HEADLINE
from tests.fakes.pytester import LOADED, Run

OPS = Path(ops.__file__).read_text(encoding="utf-8")
FAILED = {"failed": 1}


@pytest.fixture
def check(run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run pytest here with the fake check, in a repository that has `tests.fakes.ops` as its module."""
    monkeypatch.setattr(judging, "examine", functions.examine)
    pytester.makepyfile(ops=OPS)
    return lambda *args: run("--gradcheck", "--gradcheck-seed=7", *args)


@pytest.fixture
def check_apart(away_from_ci: None, pytester: pytest.Pytester) -> Run:
    """The same in processes of their own."""
    pytester.makeconftest(Path(functions.__file__).read_text(encoding="utf-8") + functions.INSTALL)
    pytester.makepyfile(ops=OPS)
    return lambda *args: pytester.runpytest_subprocess(*LOADED, "--gradcheck", "--gradcheck-seed=7", *args)


def lines(result: pytest.RunResult, text: str) -> list[str]:
    return [line for line in result.outlines if text in line]


def write(pytester: pytest.Pytester, text: str) -> None:
    pytester.makepyfile(test_own=f"import ops, pytest, unittest\n{text}")


# Which test fails --------------------------------------------------------------------------------------------------

OUTCOMES = {
    "passes": ("def test_own(): ops.call()", FAILED),
    "fails": ("def test_own(): ops.call(); assert False", FAILED),
    "skips": ("def test_own(): ops.call(); pytest.skip('not now')", {"skipped": 1}),
    "skips in its setup": (
        "@pytest.fixture\ndef skips(): ops.call(); pytest.skip('not now')\ndef test_own(skips): pass",
        {"skipped": 1},
    ),
    "fails in its setup": (
        "@pytest.fixture\ndef fails(): ops.call(); assert False\ndef test_own(fails): pass",
        {"errors": 1},
    ),
    "fails in its teardown": (
        "@pytest.fixture\ndef fails(): yield; ops.call(); assert False\ndef test_own(fails): pass",
        {"passed": 1, "errors": 1},
    ),
    "calls in its setup": ("@pytest.fixture\ndef calls(): ops.call()\ndef test_own(calls): pass", FAILED),
    "calls in its teardown": (
        "@pytest.fixture\ndef calls(): yield; ops.call()\ndef test_own(calls): pass",
        {"passed": 1},
    ),
    "xfails by a call": ("def test_own(): ops.call(); pytest.xfail('known')", {"xfailed": 1}),
    "xfails by its marker": ("@pytest.mark.xfail\ndef test_own(): ops.call(); assert False", {"xfailed": 1}),
    "xpasses": ("@pytest.mark.xfail\ndef test_own(): ops.call()", {"xpassed": 1}),
    "xpasses strictly": ("@pytest.mark.xfail(strict=True)\ndef test_own(): ops.call()", FAILED),
    "is a TestCase that passes": ("class TestOwn(unittest.TestCase):\n    def test_own(self): ops.call()", FAILED),
    "is a TestCase that fails": (
        "class TestOwn(unittest.TestCase):\n    def test_own(self): ops.call(); self.assertEqual(1, 2)",
        FAILED,
    ),
    "is a TestCase that skips": (
        "class TestOwn(unittest.TestCase):\n    def test_own(self): ops.call(); self.skipTest('not now')",
        {"skipped": 1},
    ),
    "is a TestCase that fails as expected": (
        "class TestOwn(unittest.TestCase):\n    @unittest.expectedFailure\n"
        "    def test_own(self): ops.call(); self.assertEqual(1, 2)",
        {"xfailed": 1},
    ),
    "has subtests": ("def test_own(subtests):\n    with subtests.test(): ops.call()", FAILED),
    "is imported": ("ops.call()\ndef test_own(): pass", {"passed": 1}),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_test_with_an_outcome_of_its_own_keeps_it_and_the_run_fails(
    check: Run, pytester: pytest.Pytester, name: str
) -> None:
    text, expected = OUTCOMES[name]
    write(pytester, text)
    result = check()
    outcomes = result.parseoutcomes()
    outcomes.pop("subtests passed", None)
    assert outcomes == expected
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert len(lines(result, "  where     ops.py:41 in Wrong.backward")) == 1
    assert len(lines(result, "disagreed     ops:Wrong")) == 1 or len(lines(result, "disagreed    ops:Wrong")) == 1


def test_a_failure_is_our_report_and_its_first_line_the_short_summary(check: Run, pytester: pytest.Pytester) -> None:
    write(pytester, "def test_own(): ops.call()")
    result = check()
    result.stdout.fnmatch_lines(
        [
            "*___ test_own ___*",
            HEADLINE,
            "  where     ops.py:41 in Wrong.backward",
            "  again     pytest --gradcheck --gradcheck-seed=7 test_own.py::test_own",
            "  script    .gradcheck/repro/ops.Wrong-GC101.py",
            "*= gradcheck =*",
            "FAILED test_own.py::test_own - GC101 vjp_matches_numeric*",
        ]
    )
    assert lines(result, "printed by the check") == []


def test_what_is_printed_below_the_root_can_be_pasted_there(
    check: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini("[pytest]\npythonpath = .")
    below = pytester.mkdir("below")
    below.joinpath("test_own.py").write_text("import ops\ndef test_own(): ops.call()")
    monkeypatch.chdir(below)
    check().stdout.fnmatch_lines(
        [
            "  again     pytest --gradcheck --gradcheck-seed=7 test_own.py::test_own",
            "  script    ../.gradcheck/repro/ops.Wrong-GC101.py",
        ]
    )
    assert pytester.path.joinpath(".gradcheck", "repro", "ops.Wrong-GC101.py").is_file()


def test_short_forms_name_the_backward(check: Run, pytester: pytest.Pytester) -> None:
    write(pytester, "def test_own(): ops.call()")
    check("--tb=line").stdout.fnmatch_lines([f"*ops.py:41: {HEADLINE}"])


def test_only_the_first_test_that_calls_it_fails_at_whatever_input(check: Run, pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
@pytest.mark.parametrize("size", [2, 3])
def test_size(size): ops.call(size=size)
def test_dtype(): ops.Wrong.apply(ops.re.ones(2, 2, dtype=ops.re.float64, requires_grad=True))
def test_right(): ops.call(ops.Right)
""",
    )
    result = check("-v")
    result.assert_outcomes(failed=1, passed=3)
    assert lines(result, "test_size[2] FAILED")
    row = lines(result, "ops:Wrong  ")[-1]
    assert "called by test_own.py::test_size[2], test_own.py::test_size[3], test_own.py::test_dtype" in row


def test_what_no_test_shows_yet_fails_the_next_one_that_passes(check: Run, pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
ops.call()
@pytest.mark.xfail
def test_first(): ops.call(); assert False
def test_second(): ops.call(ops.Right)
def test_third(): ops.call()
def test_fourth(): ops.call()
""",
    )
    result = check("-v")
    result.assert_outcomes(xfailed=1, passed=2, failed=1)
    assert lines(result, "test_third FAILED")
    assert lines(result, "no failing test says so") == []


def test_two_wrong_functions_in_one_test_are_one_failure(check: Run, pytester: pytest.Pytester) -> None:
    write(pytester, "def test_own(): ops.call(); ops.call(ops.WrongToo)")
    result = check()
    assert result.parseoutcomes() == FAILED
    assert [len(lines(result, f"in {name}.backward")) for name in ("Wrong", "WrongToo")] == [1, 1]


def test_a_failing_test_gains_a_section(check: Run, pytester: pytest.Pytester) -> None:
    write(pytester, "def test_own(): ops.call(); assert 1 == 2")
    check().stdout.fnmatch_lines(["E * assert 1 == 2", "*- gradcheck -*", HEADLINE])


def test_a_test_under_no_gradcheck_is_not_observed(check: Run, pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
@pytest.fixture
def calls(): ops.call(); yield; ops.call(ops.WrongToo)
@pytest.mark.no_gradcheck
def test_left_alone(calls): ops.call()
def test_other(): ops.call(ops.Right)
""",
    )
    result = check()
    result.assert_outcomes(passed=2)
    assert result.ret == 0
    assert lines(result, "ops:Wrong")
    assert all("never called" in line for line in lines(result, "ops:Wrong"))


def test_collecting_checks_nothing(check: Run, pytester: pytest.Pytester) -> None:
    write(pytester, "ops.call()\ndef test_own(): pass")
    result = check("--collect-only")
    assert result.ret == 0
    assert lines(result, "gradcheck =") == []


# Reruns, -x, --lf, JUnit -------------------------------------------------------------------------------------------


def test_a_rerun_does_not_turn_it_green(check: Run, pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_rerunfailures")
    write(pytester, "def test_own(): ops.call()\ndef test_right(): ops.call(ops.Right)")
    result = check("--reruns=1")
    assert result.parseoutcomes() == {"failed": 1, "passed": 1, "rerun": 1}


def test_a_rerun_fails_even_where_it_does_not_call_again(check: Run, pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_rerunfailures")
    write(pytester, "called = []\ndef test_own():\n    if not called: called.append(ops.call())")
    assert check("--reruns=2").parseoutcomes() == {"failed": 1, "rerun": 2}


@pytest.mark.parametrize("option", ["-x", "--maxfail=1"])
def test_it_is_one_failure_towards_exit_first(check: Run, pytester: pytest.Pytester, option: str) -> None:
    write(pytester, "def test_a(): ops.call()\ndef test_b(): ops.call(ops.WrongToo)")
    result = check(option)
    assert result.parseoutcomes() == FAILED
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.ret == check("--maxfail=3").ret


def test_last_failed_runs_it_again(check: Run, pytester: pytest.Pytester) -> None:
    write(pytester, "def test_a(): ops.call(ops.Right)\ndef test_b(): ops.call()")
    check()
    result = check("--lf", "-v")
    assert result.parseoutcomes() == FAILED
    assert lines(result, "test_b FAILED")


def test_junit_counts_one_failure(check: Run, pytester: pytest.Pytester) -> None:
    write(pytester, "def test_own(): ops.call()")
    check("--junit-xml=out.xml")
    suite = next(ElementTree.parse(pytester.path / "out.xml").getroot().iter("testsuite"))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("1", "1", "0")
    failure = next(suite.iter("failure"))
    assert HEADLINE in str(failure.get("message"))
    assert "repro/ops.Wrong-GC101.py" in str(failure.text)


# Several workers ---------------------------------------------------------------------------------------------------


def test_workers_check_what_they_saw_and_the_controller_sums_up(check_apart: Run, pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    for name in "ab":
        pytester.makepyfile(
            **{f"test_{name}": "import ops\ndef test_wrong(): ops.call()\ndef test_right(): ops.call(ops.Right)"}
        )
    result = check_apart("-n2", "--dist=loadfile")
    result.assert_outcomes(failed=2, passed=2)
    rows = lines(result, "disagreed    ops:Wrong")
    assert len(rows) == 1
    assert "test_a.py::test_wrong" in rows[0]
    assert "test_b.py::test_wrong" in rows[0]
    assert len(lines(result, "not checked  ops:Unused")) == len(lines(result, "agreed       ops:Right")) == 1
    assert pytester.path.joinpath(".gradcheck", "repro", "ops.Wrong-GC101.py").is_file()


@pytest.mark.parametrize("body", ["ops.call(); pytest.skip('not now')", "ops.call(); pytest.xfail('known')"])
def test_a_disagreement_in_a_worker_that_no_test_shows_fails_the_run(
    check_apart: Run, pytester: pytest.Pytester, body: str
) -> None:
    pytest.importorskip("xdist")
    write(pytester, f"def test_own(): {body}")
    result = check_apart("-n2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["ops:Wrong is wrong, and no failing test says so:", f"  {HEADLINE}"])


# Nothing to check --------------------------------------------------------------------------------------------------


def test_a_run_with_nothing_to_check_fails_with_advice(check: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_own="def test_own(): pass")
    result = check()
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(
        ["gradcheck: nothing was checked: *", "*gradcheck_packages*", "*gradcheck_allow_empty*"]
    )


def test_a_run_with_nothing_to_check_may_be_allowed(check: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_own="def test_own(): pass")
    pytester.makeini("[pytest]\ngradcheck_allow_empty = true")
    result = check()
    assert result.ret == 0
    result.stdout.fnmatch_lines(["gradcheck: nothing was checked: *"])


def test_a_failed_test_is_what_a_run_with_nothing_to_check_ends_with(check: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_own="def test_own(): assert False")
    assert check().ret == pytest.ExitCode.TESTS_FAILED


def test_workers_with_nothing_to_check_fail_the_run(check_apart: Run, pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    pytester.makepyfile(test_own="def test_own(): pass")
    assert check_apart("-n2").ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize("name", ["import ops\ndef test_own(): ops.call(ops.Right)", "def test_own(gradcheck): pass"])
def test_a_function_or_the_fixture_is_something_to_check(check: Run, pytester: pytest.Pytester, name: str) -> None:
    pytester.makepyfile(test_own=name)
    assert check().ret == 0


# The summary -------------------------------------------------------------------------------------------------------


def test_the_summary_has_a_row_for_each_function(check: Run, pytester: pytest.Pytester) -> None:
    write(
        pytester,
        "def test_own():\n    for name in ('Right', 'Odd', 'Round', 'Raises', 'Exits'): ops.call(getattr(ops, name))",
    )
    result = check()
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "inconclusive  ops:Exits *the check ended with SystemExit: 3",
            "inconclusive  ops:Odd * a kink",
            "inconclusive  ops:Raises *the check ended with RuntimeError: the check itself",
            "deliberate    ops:Round *a kink",
            "agreed        ops:Right *to 1e-09 at 3 inputs",
            "not checked   ops:Unused *never called; ops.py:* in Unused.backward",
            "GC901 ops:Exits: 1 of 1 inputs were inconclusive (100%): the check ended with SystemExit: 3 (1)",
            "  the check itself came to no end: *",
            "GC901 ops:Odd: 2 of 3 inputs were inconclusive (67%)*",
            "    from ops import *",
            "        gradcheck(*.apply, x)  # with x of your own",
            "python *, pytest-gradcheck *, numpy *; seed 7; * s in checks",
        ]
    )


def test_a_script_is_written_where_version_control_does_not_look(check: Run, pytester: pytest.Pytester) -> None:
    write(pytester, "def test_own(): ops.call()")
    check()
    folder = pytester.path / ".gradcheck"
    assert folder.joinpath(".gitignore").read_text().splitlines()[-1] == "*"
    assert folder.joinpath("repro", "ops.Wrong-GC101.py").read_text() == "raise SystemExit(1)\n"


def test_a_script_that_cannot_be_written_costs_a_warning(check: Run, pytester: pytest.Pytester) -> None:
    write(pytester, "def test_own(): ops.call()")
    pytester.path.joinpath(".gradcheck").write_text("")
    result = check()
    assert result.parseoutcomes() == FAILED
    result.stdout.fnmatch_lines(["warning: the script ops.Wrong-GC101.py could not be written (*)"])
