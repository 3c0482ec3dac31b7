"""The property suite as pytest items: when it runs, how it is selected, and that its ids work everywhere."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from tests.fakes.pytester import FEW, ONE, ONE_ID, Run
from tests.fakes.runner import FAILS, UNDECIDED

TEST = "def test_own(): pass\n"
OTHER = "refengine-cpu::gradients_accumulate[elementwise]"


def lines(result: pytest.RunResult, text: str) -> list[str]:
    return [line for line in result.outlines if text in line]


# What runs --------------------------------------------------------------------------------------------------------


def test_without_the_option_nothing_of_ours_runs(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TEST)
    result = run("-v")
    result.assert_outcomes(passed=1)
    assert lines(result, "gradcheck::") == []


def test_in_an_empty_directory_the_suite_runs_on_the_reference_engine(run: Run) -> None:
    result = run("--gradcheck", FEW, "-v")
    assert result.ret == 0
    assert lines(result, f"{ONE_ID} PASSED")
    result.stdout.fnmatch_lines(["gradcheck: engine refengine on cpu; profile dev; seed *"])


def test_tests_of_the_users_take_the_place_of_the_suite(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TEST)
    result = run("--gradcheck")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*the property suite was not run; name its engine: --gradcheck-engine=refengine"])


def test_a_path_takes_the_place_of_the_suite(run: Run, pytester: pytest.Pytester) -> None:
    pytester.mkdir("empty")
    assert run("--gradcheck", "empty").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_with_an_engine_named_both_run_and_the_suite_comes_last(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_z=TEST)
    result = run("--gradcheck", "--gradcheck-engine=refengine", FEW, "-v")
    ran = [line.split()[0] for line in lines(result, " PASSED")]
    assert ran[0] == "test_z.py::test_own"
    assert ONE_ID in ran[1:]


def test_an_engine_named_in_the_ini_file_counts(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeini(f"[pytest]\ngradcheck_engine = refengine\ngradcheck_max_examples = {FEW[-1]}\n")
    pytester.makepyfile(TEST)
    assert lines(run("--gradcheck", "-v"), f"{ONE_ID} PASSED")
    assert lines(run("-v"), ONE_ID) == []


def test_the_ini_twin_of_the_main_option_turns_it_on(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeini(f"[pytest]\ngradcheck = true\ngradcheck_profile = ci\ngradcheck_max_examples = {FEW[-1]}\n")
    result = run()
    result.stdout.fnmatch_lines(["gradcheck: engine refengine on cpu; profile ci; seed 0"])


@pytest.mark.parametrize("table", ["[pytest]", "[tool.pytest]"])
def test_ini_twins_have_types_in_toml_too(run: Run, pytester: pytest.Pytester, table: str) -> None:
    name = "pytest.toml" if table == "[pytest]" else "pyproject.toml"
    values = (
        "gradcheck = true",
        'gradcheck_engine = ["refengine"]',
        f"gradcheck_max_examples = {FEW[-1]}",
        "gradcheck_seed = 5",
    )
    pytester.path.joinpath(name).write_text("\n".join((table, *values)))
    run().stdout.fnmatch_lines(["gradcheck: engine refengine on cpu; profile dev; seed 5"])


def test_only_keeps_the_suite_and_the_tests_that_ask(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        def test_other(): pass
        def test_fixture(gradcheck): pass
        @pytest.mark.gradcheck(rtol=1e-4)
        def test_marker(): pass
        @pytest.mark.no_gradcheck
        def test_left_alone(gradcheck): pass
        """
    )
    result = run(
        "--gradcheck",
        "--gradcheck-only",
        "--gradcheck-engine=refengine",
        FEW,
        "-v",
        "-k",
        "test_ or elementwise and vjp",
    )
    ran = {line.split()[0].partition("::")[2] for line in lines(result, " PASSED")}
    assert {"test_fixture", "test_marker", ONE} <= ran
    assert not {"test_other", "test_left_alone"} & ran


def test_only_without_a_test_that_asks_runs_the_suite(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TEST)
    result = run("--gradcheck-only", FEW, "-v")
    assert lines(result, f"{ONE_ID} PASSED")
    assert lines(result, "test_own") == []


def test_each_engine_has_its_own_rows(run: Run) -> None:
    pytest.importorskip("torch")
    result = run("--gradcheck", "--gradcheck-engine=torch", "--gradcheck-engine=refengine", FEW, "-v")
    result.stdout.fnmatch_lines(["gradcheck: engines torch on cpu, refengine on cpu; *"])
    ran = [line.split("::")[1] for line in lines(result, " PASSED")]
    assert ran == sorted(ran, reverse=True)
    result.stdout.re_match_lines([r"torch-cpu +\d", r"  GC101 vjp_matches_numeric +\d", r"refengine-cpu +\d"])


def test_an_op_restricts_what_is_drawn(run: Run) -> None:
    result = run("--gradcheck", "--gradcheck-op=exp", "--gradcheck-op=sum", FEW, "-v")
    groups = {line.split("[")[1].split("]")[0] for line in lines(result, " PASSED")}
    assert groups == {"exp", "sum", "modules"}


# Selection --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "expected"), [("vjp_matches and elementwise", 1), ("refengine-cpu and modules", 3)]
)
def test_keywords_select_items(run: Run, expression: str, expected: int) -> None:
    run("--gradcheck", FEW, "-k", expression).assert_outcomes(passed=expected)


def test_last_failed_runs_the_failed_item_beside_a_failed_test(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile("def test_bad(): assert False\ndef test_good(): pass")
    monkeypatch.setenv(FAILS, ONE)
    arguments = ("--gradcheck", "--gradcheck-engine=refengine", FEW)
    assert run(*arguments).parseoutcomes()["failed"] == 2
    result = run(*arguments, "--lf", "-v")
    result.assert_outcomes(failed=2)
    assert lines(result, f"{ONE_ID} FAILED")


def test_exit_first_stops_at_a_failed_item(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FAILS, f"{ONE} {OTHER}")
    result = run("--gradcheck", FEW, "-x")
    assert result.parseoutcomes()["failed"] == 1
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_printed_id_is_an_argument(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TEST)
    result = run(ONE_ID, FEW, "-v")
    result.assert_outcomes(passed=1)
    assert lines(result, f"{ONE_ID} PASSED")


def test_a_printed_id_stands_beside_other_arguments(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_file=TEST)
    run(ONE_ID, "test_file.py", f"gradcheck::{OTHER}", FEW).assert_outcomes(passed=3)


def test_a_printed_id_works_beside_a_directory_of_that_name(run: Run, pytester: pytest.Pytester) -> None:
    pytester.mkdir("gradcheck").joinpath("test_inside.py").write_text(TEST)
    run(ONE_ID, FEW).assert_outcomes(passed=1)
    run("--gradcheck", "gradcheck/test_inside.py::test_own").assert_outcomes(passed=1)


def test_an_id_printed_below_the_root_is_an_argument(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini("[pytest]")
    monkeypatch.chdir(pytester.mkdir("below"))
    printed = lines(run("--gradcheck", FEW, "-v"), ONE)[0].split()[0]
    run(printed, FEW).assert_outcomes(passed=1)


def test_the_first_part_of_an_id_selects_all_below_it(run: Run) -> None:
    result = run("gradcheck::refengine-cpu::vjp_matches_numeric", FEW, "-v")
    assert {line.split("::")[2].split("[")[0] for line in lines(result, " PASSED")} == {"vjp_matches_numeric"}


def test_an_id_of_an_op_draws_around_it(run: Run) -> None:
    run("gradcheck::refengine-cpu::vjp_matches_numeric[exp]", FEW).assert_outcomes(passed=1)


def test_an_id_names_its_engine_whatever_the_ini_file_names(run: Run, pytester: pytest.Pytester) -> None:
    pytest.importorskip("torch")
    pytester.makeini("[pytest]\ngradcheck_engine = refengine\n")
    run("gradcheck::torch-cpu::vjp_matches_numeric[elementwise]", FEW).assert_outcomes(passed=1)


# Results ----------------------------------------------------------------------------------------------------------


def test_junit_has_one_case_an_item(run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FAILS, ONE)
    run("--gradcheck", FEW, "--junit-xml=out.xml")
    cases = {
        (case.get("classname"), case.get("name")): case
        for case in ElementTree.parse(pytester.path / "out.xml").getroot().iter("testcase")
    }
    failure = cases["gradcheck.refengine-cpu", "vjp_matches_numeric[elementwise]"].find("failure")
    assert failure is not None
    assert "GC999" in str(failure.text)
    assert cases["gradcheck.refengine-cpu", "gradients_accumulate[elementwise]"].find("failure") is None


def test_a_failure_reads_as_our_report_without_a_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FAILS, ONE)
    result = run("--gradcheck", FEW)
    result.stdout.fnmatch_lines(
        [
            "*___ refengine-cpu::vjp_matches_numeric[[]elementwise[]] ___*",
            "GC999 vjp_matches_numeric: The fake holds.",
            "*pytest --gradcheck --gradcheck-replay=*",
            "*pytest --gradcheck --gradcheck-replay=gc1/refengine-cpu/vjp_matches_numeric/elementwise/*",
        ]
    )
    assert lines(result, "Traceback") == []
    assert lines(result, "suite.py") == []


def test_the_table_counts_cases_by_claim(run: Run) -> None:
    result = run("--gradcheck", FEW, "-k", "vjp_matches and elementwise")
    result.stdout.re_match_lines(
        [
            r" +tried +agreed +disagreed +inconclusive +vacuous +skipped",
            r"refengine-cpu +4 +4 +0 +0 +0 +1",
            r"  GC101 vjp_matches_numeric +4 +4 +0 +0 +0 +1",
        ]
    )


def test_a_seed_draws_again_what_it_drew(run: Run) -> None:
    result = run("--gradcheck", FEW, "--gradcheck-seed=0", "-k", "vjp")
    result.stdout.fnmatch_lines(["gradcheck: *; seed 0", "*profile dev, seed 0"])


def test_profile_ci_is_the_default_where_ci_is_set(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "1")
    run("--gradcheck", FEW, "-k", "vjp").stdout.fnmatch_lines(["gradcheck: *; profile ci; seed 0"])


def test_profile_nightly_never_repeats_itself_even_where_ci_is_set(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "1")
    seeds = {lines(run(ONE_ID, FEW, "--gradcheck-profile=nightly"), "gradcheck: ")[0] for _ in range(2)}
    assert len(seeds) == 2


def test_ids_are_printed_without_running(run: Run) -> None:
    result = run("--gradcheck", "--collect-only", "-q")
    assert lines(result, ONE_ID) == [ONE_ID]
    assert lines(result, "tried") == lines(result, "was not run") == []


def test_an_op_that_is_inconclusive_too_often_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UNDECIDED, ONE)
    named = "GC901 exp on refengine-cpu: 20 of 40 cases were inconclusive (50%)"
    for profile, code in (("dev", 0), ("ci", 1)):
        result = run(ONE_ID, "--gradcheck-max-examples=40", f"--gradcheck-profile={profile}")
        result.stdout.fnmatch_lines([named])
        assert result.ret == code


def test_few_inconclusive_cases_name_no_op(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UNDECIDED, ONE)
    result = run(ONE_ID, "--gradcheck-max-examples=20", "--gradcheck-profile=ci")
    assert lines(result, "GC901") == []
    assert result.ret == 0


def test_a_rerun_counts_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pytest_rerunfailures")
    monkeypatch.setenv(FAILS, ONE)
    result = run(ONE_ID, FEW, "--reruns=1")
    result.stdout.re_match_lines([r"refengine-cpu +4 +4"])
