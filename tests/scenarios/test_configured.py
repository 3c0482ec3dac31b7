"""Repositories that configure pytest in ways of their own: warnings, layouts, doctests, subtests, JUnit reports."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from tests.scenarios.material import CUBE, HALF_SQUARE, call
from tests.scenarios.stranger import Stranger

torch = pytest.importorskip("torch")

X = "torch.tensor([0.5, -1.5, 2.0], requires_grad=True)"
APPLY = f"ops.Square.apply({X})"


@pytest.fixture
def both(stranger: Stranger) -> Stranger:
    """A repository with a right and a wrong Function, and a test for each."""
    stranger.package(HALF_SQUARE, CUBE)
    stranger.tests(call("Square"), call("Cube"))
    return stranger


def test_warnings_as_errors_are_about_the_users_code_alone(both: Stranger) -> None:
    both.ini("filterwarnings = error", "addopts = --strict-markers --strict-config")
    seen = both.run()
    assert (seen.outcomes, seen.failed, seen.code) == ({"failed": 1, "passed": 1}, ["test_square"], 1)
    assert "warning" not in seen.result.parseoutcomes()


def test_the_configuration_may_turn_it_on(both: Stranger) -> None:
    both.ini("gradcheck = true", "gradcheck_profile = ci", "gradcheck_budget = 10")
    seen = both.pytest()
    assert seen.failed == ["test_square"]


def test_sources_and_tests_may_lie_apart_and_be_imported_by_path(stranger: Stranger) -> None:
    stranger.ini("pythonpath = src", "addopts = --import-mode=importlib", "testpaths = tests")
    stranger.package(HALF_SQUARE, name="src/lib/ops.py")
    stranger.tests("from lib import ops", call("Square"), name="tests/deep/test_ops.py")
    seen = stranger.run()
    assert seen.failed == ["test_square"]
    seen.shows("src/lib/ops.py:* in Square.backward")
    assert seen.rows == {"lib.ops:Square": "disagreed"}


def test_a_list_of_tests_is_no_run(both: Stranger) -> None:
    seen = both.run("--collect-only", "-q")
    assert seen.code == 0
    assert "GC101" not in seen.text


def test_an_error_at_collection_stays_the_reason(both: Stranger) -> None:
    both.write("tests/test_broken.py", "import nothing_of_this_name")
    assert both.run().code == pytest.ExitCode.INTERRUPTED


def test_no_test_chosen_has_pytests_own_status(both: Stranger) -> None:
    assert both.run("-k", "nothing").code == pytest.ExitCode.NO_TESTS_COLLECTED


def test_tests_in_a_class_and_with_fixtures_fail_as_others(stranger: Stranger) -> None:
    stranger.package(HALF_SQUARE, CUBE)
    stranger.tests(
        f"""
        class TestOps:
            @pytest.fixture(params=[1, 2])
            def x(self, request): return {X} * request.param

            def test_square(self, x): ops.Square.apply(x).sum().backward()

            def test_cube(self, x): ops.Cube.apply(x).sum().backward()
        """
    )
    seen = stranger.run()
    assert (seen.outcomes, seen.failed) == ({"failed": 1, "passed": 3}, ["test_square[1]"])


def test_a_doctest_fails_as_a_test_does(stranger: Stranger) -> None:
    example = '"""Squares.\n\n>>> import torch\n>>> Square.apply(torch.tensor(2.0))\ntensor(4.)\n"""\n'
    stranger.package(HALF_SQUARE)
    path = stranger.path / "pkg" / "ops.py"
    path.write_text(example + path.read_text())
    seen = stranger.run("--doctest-modules", "pkg")
    assert (seen.outcomes, seen.code) == ({"failed": 1}, 1)
    seen.shows("GC101")


def test_a_call_in_a_subtest_fails_its_test_once(stranger: Stranger) -> None:
    stranger.package(HALF_SQUARE)
    stranger.tests(
        f"""
        def test_square(subtests):
            for n in range(3):
                with subtests.test(n=n):
                    {APPLY}
        """
    )
    seen = stranger.run()
    assert (seen.outcomes["failed"], seen.code) == (1, 1)
    assert seen.text.count("GC101 vjp_matches_numeric: ") == 1


def test_a_test_that_ends_the_run_ends_it(stranger: Stranger) -> None:
    stranger.package(HALF_SQUARE)
    stranger.tests(f"def test_square():\n    {APPLY}\n    pytest.exit('enough', returncode=4)")
    seen = stranger.run()
    assert seen.code == 4


def test_a_report_for_machines_holds_the_failure(both: Stranger) -> None:
    both.run("--junitxml=report.xml")
    cases = ElementTree.parse(both.path / "report.xml").iter("testcase")
    failures = {case.get("name"): case.find("failure") for case in cases}
    assert failures["test_cube"] is None
    assert failures["test_square"] is not None
    assert "GC101" in (failures["test_square"].text or "")


def test_a_run_from_below_the_root_finds_the_same(both: Stranger, monkeypatch: pytest.MonkeyPatch) -> None:
    both.ini()
    monkeypatch.chdir(both.path / "tests")
    seen = both.run()
    assert seen.failed == ["test_square"]
    assert (both.path / ".gradcheck" / "repro").is_dir()
    monkeypatch.chdir(both.path)


def test_the_seed_makes_two_runs_alike(both: Stranger) -> None:
    first, second = (both.run("--gradcheck-seed=5").failure("test_square") for _ in range(2))
    assert first == second


def test_a_default_dtype_of_the_users_is_kept(stranger: Stranger) -> None:
    stranger.package(CUBE, HALF_SQUARE)
    stranger.write(
        "conftest.py",
        """
        import pytest, torch

        @pytest.fixture(autouse=True)
        def double():
            torch.set_default_dtype(torch.float64)
            yield
            assert torch.get_default_dtype() == torch.float64
            torch.set_default_dtype(torch.float32)
        """,
    )
    stranger.tests(call("Cube"), call("Square"))
    seen = stranger.run()
    assert (seen.outcomes, seen.failed) == ({"failed": 1, "passed": 1}, ["test_square"])
