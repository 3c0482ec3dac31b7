"""How a disagreement goes with the rest of pytest: a test's own outcome, reruns, workers, -x, --lf, kinds of test."""

from __future__ import annotations

import pytest

from tests.scenarios.material import CUBE, DOUBLE, GREEDY_DOUBLE, HALF_SQUARE, SQUARE, call
from tests.scenarios.stranger import TORCH, Stranger

torch = pytest.importorskip("torch")

X = "torch.tensor([0.5, -1.5, 2.0], requires_grad=True)"
APPLY = f"ops.Square.apply({X})"


@pytest.fixture
def wrong(stranger: Stranger) -> Stranger:
    """A repository with one wrong Function among right ones."""
    stranger.package(HALF_SQUARE, CUBE)
    return stranger


# Outcomes of a test's own ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "lenient"])
def test_an_expected_failure_stays_one_and_the_run_fails(wrong: Stranger, strict: bool) -> None:
    wrong.tests(f"@pytest.mark.xfail(strict={strict})\ndef test_square():\n    {APPLY}\n    assert False")
    seen = wrong.run()
    assert (seen.outcomes, seen.code) == ({"xfailed": 1}, 1)
    seen.shows("GC101", "pkg/ops.py:* in Square.backward")


def test_an_expected_failure_that_passes_stays_one_and_the_run_fails(wrong: Stranger) -> None:
    wrong.tests(f"@pytest.mark.xfail(strict=False)\ndef test_square():\n    {APPLY}")
    seen = wrong.run()
    assert (seen.outcomes, seen.code) == ({"xpassed": 1}, 1)
    seen.shows("GC101")


def test_a_strict_expected_failure_that_passes_fails_as_ever(wrong: Stranger) -> None:
    wrong.tests(f"@pytest.mark.xfail(strict=True)\ndef test_square():\n    {APPLY}")
    seen = wrong.run()
    assert (seen.outcomes, seen.code) == ({"failed": 1}, 1)
    seen.shows("XPASS(strict)")
    assert "GC101" in seen.text


def test_a_skipped_test_stays_skipped_and_the_run_fails(wrong: Stranger) -> None:
    wrong.tests(f"def test_square():\n    {APPLY}\n    pytest.skip('later')")
    seen = wrong.run()
    assert (seen.outcomes, seen.code) == ({"skipped": 1}, 1)
    seen.shows("GC101", "pkg/ops.py:* in Square.backward")


def test_a_failing_test_keeps_its_failure_and_gains_a_section(wrong: Stranger) -> None:
    wrong.tests(f"def test_square():\n    {APPLY}\n    assert 1 == 2")
    seen = wrong.run()
    assert (seen.outcomes, seen.code) == ({"failed": 1}, 1)
    seen.shows("assert 1 == 2", "-- gradcheck --", "GC101")


def test_a_call_at_import_fails_the_run(wrong: Stranger) -> None:
    wrong.tests(APPLY, "def test_other(): pass")
    seen = wrong.run()
    assert (seen.outcomes, seen.code) == ({"passed": 1}, 1)
    seen.shows("GC101", "pkg/ops.py:* in Square.backward")
    assert "import" in seen.row("pkg.ops:Square")


def test_a_call_in_a_fixture_counts_for_the_test_being_set_up(wrong: Stranger) -> None:
    wrong.tests(
        f"@pytest.fixture(scope='module')\ndef value(): return {APPLY}",
        "def test_other(): pass\ndef test_first(value): pass\ndef test_second(value): pass",
    )
    assert wrong.run().failed == ["test_first"]


# Options of pytest's -----------------------------------------------------------------------------------------------


@pytest.fixture
def three(stranger: Stranger) -> Stranger:
    """Three tests of which the first and the second call a wrong Function each."""
    stranger.package(HALF_SQUARE, GREEDY_DOUBLE, CUBE)
    stranger.tests(call("Square"), call("Double"), call("Cube"))
    return stranger


def test_x_stops_after_the_first(three: Stranger) -> None:
    seen = three.run("-x")
    assert (seen.outcomes, seen.code) == ({"failed": 1}, 1)
    assert seen.failed == ["test_square"]


def test_maxfail_counts_one_failure_a_test(three: Stranger) -> None:
    seen = three.run("--maxfail=2")
    assert (seen.outcomes, seen.code) == ({"failed": 2}, 1)


def test_lf_runs_the_failed_ones_again_until_they_are_mended(three: Stranger) -> None:
    assert three.run("-p", "cacheprovider").outcomes == {"failed": 2, "passed": 1}
    again = three.run("--lf")
    assert "passed" not in again.outcomes
    assert again.failed == ["test_square", "test_double"]
    three.package(SQUARE, DOUBLE, CUBE)
    mended = three.run("--lf")
    assert (mended.outcomes["passed"], mended.code) == (2, 0)


def test_one_test_chosen_by_its_id_is_checked_alone(three: Stranger) -> None:
    seen = three.run("tests/test_ops.py::test_double")
    assert (seen.outcomes, seen.code) == ({"failed": 1}, 1)
    assert seen.rows["pkg.ops:Square"] == "not checked"


def test_a_rerun_does_not_turn_it_green(wrong: Stranger) -> None:
    pytest.importorskip("pytest_rerunfailures")
    wrong.tests(call("Square"), call("Cube"))
    seen = wrong.run("--reruns=1")
    assert (seen.outcomes, seen.code) == ({"failed": 1, "passed": 1, "rerun": 1}, 1)
    assert "GC101" in "\n".join(seen.failure("test_square"))


def test_workers_report_once_with_the_tests_that_call_it(wrong: Stranger) -> None:
    pytest.importorskip("xdist")
    for part in ("one", "two"):
        wrong.tests(f"def test_{part}(): {APPLY}", call("Cube"), name=f"tests/test_{part}.py")
    wrong.tests(
        f"@pytest.mark.xfail\ndef test_marked():\n    ops.Greedy.apply({X})\n    assert 0", name="tests/test_z.py"
    )
    wrong.package(HALF_SQUARE, CUBE, GREEDY_DOUBLE.replace("Double", "Greedy"))
    seen = wrong.run_apart("-n2", "--dist=loadfile")
    assert seen.code == 1
    assert seen.outcomes["xfailed"] == 1
    assert seen.outcomes["failed"] in (1, 2)  # each worker checks what it saw
    assert seen.rows == {"pkg.ops:Square": "disagreed", "pkg.ops:Greedy": "disagreed", "pkg.ops:Cube": "agreed"}
    assert "test_one" in seen.row("pkg.ops:Square")
    assert "test_two" in seen.row("pkg.ops:Square")
    seen.shows("GC101", "GC203", "pkg/ops.py:* in Greedy.backward")
    assert seen.text.count("disagreed  pkg.ops:Square") == 1


# Other kinds of test -----------------------------------------------------------------------------------------------


def test_a_unittest_that_passes_fails_with_the_report(wrong: Stranger) -> None:
    wrong.tests(f"import unittest\nclass TestOps(unittest.TestCase):\n    def test_square(self): {APPLY}")
    seen = wrong.run()
    assert (seen.outcomes, seen.code) == ({"failed": 1}, 1)
    seen.shows("GC101")


def test_a_unittest_that_fails_keeps_its_failure(wrong: Stranger) -> None:
    wrong.tests(
        "import unittest",
        f"""
        class TestOps(unittest.TestCase):
            def test_square(self):
                {APPLY}
                self.assertEqual(1, 2)
        """,
    )
    seen = wrong.run()
    assert (seen.outcomes, seen.code) == ({"failed": 1}, 1)
    seen.shows("1 != 2", "GC101")


def test_a_unittest_that_skips_stays_skipped(wrong: Stranger) -> None:
    wrong.tests(
        "import unittest",
        f"""
        class TestOps(unittest.TestCase):
            def test_square(self):
                {APPLY}
                self.skipTest("later")

            def test_cube(self):
                ops.Cube.apply({X})
        """,
    )
    seen = wrong.run()
    assert (seen.outcomes, seen.code) == ({"skipped": 1, "passed": 1}, 1)
    seen.shows("GC101")


def test_a_unittest_that_sets_up_counts(wrong: Stranger) -> None:
    wrong.tests(
        "import unittest",
        f"""
        class TestOps(unittest.TestCase):
            def setUp(self):
                self.y = {APPLY}

            def test_one(self): pass

            def test_two(self): pass
        """,
    )
    assert wrong.run().failed == ["test_one"]


def test_a_property_test_fails_once(wrong: Stranger) -> None:
    wrong.tests(
        "from hypothesis import given, settings, strategies as st",
        """
        @settings(max_examples=10, deadline=None, database=None)
        @given(st.floats(-2, 2))
        def test_square(value):
            ops.Square.apply(torch.tensor([value, 0.5]))
            ops.Cube.apply(torch.tensor([value, 0.5]))
        """,
    )
    seen = wrong.run()
    assert (seen.outcomes, seen.code) == ({"failed": 1}, 1)
    assert "GC101" in "\n".join(seen.failure("test_square"))
    assert seen.rows["pkg.ops:Cube"] == "agreed"


def test_of_a_parametrised_test_the_first_fails(wrong: Stranger) -> None:
    wrong.tests(f"@pytest.mark.parametrize('n', [1, 2, 3])\ndef test_square(n): {APPLY}")
    seen = wrong.run()
    assert (seen.outcomes, seen.code) == ({"failed": 1, "passed": 2}, 1)
    assert seen.failed == ["test_square[1]"]


def test_a_test_that_changes_the_default_dtype_and_the_seed_finds_them_as_it_left_them(wrong: Stranger) -> None:
    wrong.tests(
        f"""
        STATE = []

        def test_first():
            torch.manual_seed(3)
            ops.Cube.apply({X})
            STATE.append(torch.get_rng_state())

        def test_second():
            assert torch.equal(torch.get_rng_state(), STATE[0])
            assert torch.is_grad_enabled()
            assert torch.get_default_dtype() == torch.float32
        """
    )
    seen = wrong.run()
    assert (seen.outcomes, seen.code) == ({"passed": 2}, 0)


# Nothing to check --------------------------------------------------------------------------------------------------


def test_a_run_with_nothing_to_check_has_a_status_of_its_own(stranger: Stranger) -> None:
    stranger.write("tests/test_other.py", "def test_other(): pass")
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 1}, pytest.ExitCode.NO_TESTS_COLLECTED)
    seen.shows("gradcheck_allow_empty")


def test_nothing_to_check_may_be_allowed(stranger: Stranger) -> None:
    stranger.ini("gradcheck_allow_empty = true")
    stranger.write("tests/test_other.py", "def test_other(): pass")
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 1}, 0)


def test_functions_that_no_test_calls_are_nothing_to_check(stranger: Stranger) -> None:
    stranger.package(HALF_SQUARE)
    stranger.write("tests/test_other.py", TORCH, "from pkg import ops\ndef test_other(): pass")
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 1}, pytest.ExitCode.NO_TESTS_COLLECTED)
    assert seen.rows == {"pkg.ops:Square": "not checked"}


def test_a_test_that_fails_is_not_hidden_by_nothing_to_check(stranger: Stranger) -> None:
    stranger.write("tests/test_other.py", "def test_other(): assert 0")
    assert stranger.run().code == 1
