"""What a user may ask for: the fixture, markers, PyTorch's own gradient check, a baseline, leaving Functions out."""

from __future__ import annotations

import pytest

from tests.scenarios.material import CUBE, DOUBLE, GREEDY_DOUBLE, HALF_SQUARE, MEMORY_DOUBLE, SQUARE, call, wrong
from tests.scenarios.stranger import Stranger

torch = pytest.importorskip("torch")

X = "torch.tensor([0.5, -1.5, 2.0], dtype=torch.float64, requires_grad=True)"
NEARLY_CUBE = wrong(CUBE, "g * 3 * x * x", "g * 3.00003 * x * x")
FAR_LOG = """
class Log(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.log()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return torch.where((x > 2.5) | (x < 0.4), 0.5 * g / x, g / x)
"""
"""Wrong beyond what its test gives it."""


# Fixture and markers -----------------------------------------------------------------------------------------------


def test_the_fixture_checks_what_it_is_given(stranger: Stranger) -> None:
    stranger.package(HALF_SQUARE, CUBE)
    stranger.tests(
        f"def test_square(gradcheck): gradcheck(ops.Square.apply, {X})",
        f"def test_cube(gradcheck): gradcheck(ops.Cube.apply, {X})",
    )
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"failed": 1, "passed": 1}, 1)
    assert seen.failed == ["test_square"]
    assert "GC101" in "\n".join(seen.failure("test_square"))


def test_a_marker_sets_the_tolerance(stranger: Stranger) -> None:
    stranger.package(NEARLY_CUBE)
    stranger.tests("@pytest.mark.gradcheck(rtol=1e-3)", call("Cube", X))
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 1}, 0)
    stranger.tests(call("Cube", X))
    assert stranger.run().failed == ["test_cube"]


def test_a_marker_sets_where_values_are_drawn(stranger: Stranger) -> None:
    log = call("Log", "torch.tensor([[1.0, 1.5], [2.0, 0.75]], dtype=torch.float64)")
    stranger.package(FAR_LOG)
    stranger.tests("@pytest.mark.gradcheck(domain=(0.5, 2.0))", log)
    assert stranger.run().outcomes == {"passed": 1}
    stranger.tests(log)
    seen = stranger.run()
    assert seen.failed == ["test_log"]
    assert "drawn" in "\n".join(seen.failure("test_log"))


def test_a_marker_that_makes_no_sense_fails_its_test_in_one_line(stranger: Stranger) -> None:
    stranger.package(CUBE)
    stranger.tests("@pytest.mark.gradcheck(rtl=1e-3)", call("Cube", X))
    seen = stranger.run()
    assert seen.code == 1
    seen.shows("unknown keyword 'rtl'")


def test_a_test_may_be_left_alone(stranger: Stranger) -> None:
    stranger.package(HALF_SQUARE, CUBE)
    stranger.tests("@pytest.mark.no_gradcheck", call("Square"), call("Cube"))
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 2}, 0)
    assert seen.rows == {"pkg.ops:Cube": "agreed", "pkg.ops:Square": "not checked"}


def test_a_function_may_be_left_out(stranger: Stranger) -> None:
    stranger.ini("gradcheck_ignore = pkg.ops:Square")
    stranger.package(HALF_SQUARE, CUBE)
    stranger.tests(call("Square"), call("Cube"))
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 2}, 0)
    assert seen.rows == {"pkg.ops:Cube": "agreed"}
    seen.shows("1 Function left out by gradcheck_ignore: pkg.ops:Square")


# The engine's own gradient check -----------------------------------------------------------------------------------


def test_what_is_given_to_the_gradient_check_of_pytorch_is_checked_in_full(stranger: Stranger) -> None:
    stranger.package(MEMORY_DOUBLE)
    x = "torch.arange(6.0, dtype=torch.float64).reshape(2, 3).requires_grad_()"
    stranger.tests(
        f"def test_double(): assert torch.autograd.gradcheck(lambda x: ops.Double.apply(x) * x, ({x},))",
    )
    assert stranger.pytest().outcomes == {"passed": 1}
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"failed": 1}, 1)
    assert "GC301" in "\n".join(seen.failure("test_double"))


def test_the_verdict_of_the_gradient_check_of_pytorch_stays_as_it_was(stranger: Stranger) -> None:
    stranger.package(CUBE, HALF_SQUARE)
    stranger.tests(
        f"""
        def test_cube():
            assert torch.autograd.gradcheck(ops.Cube.apply, ({X},)) is True

        def test_square():
            assert torch.autograd.gradcheck(ops.Square.apply, ({X},), raise_exception=False) is False
        """
    )
    seen = stranger.run()
    assert seen.failed == ["test_square"]
    assert seen.rows["pkg.ops:Cube"] == "agreed"


# A baseline --------------------------------------------------------------------------------------------------------

BASELINE = "--gradcheck-baseline=known.txt"


def test_known_failures_are_listed_and_fail_nothing_until_they_are_gone(stranger: Stranger) -> None:
    stranger.package(HALF_SQUARE, DOUBLE)
    stranger.tests(call("Square"), call("Double"))
    assert stranger.run(BASELINE, "--gradcheck-baseline-update").code == 0
    assert "pkg.ops:Square  GC101" in (stranger.path / "known.txt").read_text()

    known = stranger.run(BASELINE)
    assert (known.outcomes, known.code) == ({"passed": 2}, 0)
    assert known.rows["pkg.ops:Square"] == "known"

    stranger.package(HALF_SQUARE, GREEDY_DOUBLE)
    new = stranger.run(BASELINE)
    assert (new.failed, new.code) == (["test_double"], 1)

    stranger.package(SQUARE, DOUBLE)
    mended = stranger.run(BASELINE)
    assert (mended.outcomes, mended.code) == ({"passed": 2}, 0)
    mended.shows("pkg.ops:Square  GC101 * matched nothing")
    assert stranger.run(BASELINE, "--gradcheck-baseline-prune").code == 0
    assert "Square" not in (stranger.path / "known.txt").read_text()


def test_a_baseline_that_is_not_there_is_refused(stranger: Stranger) -> None:
    stranger.package(CUBE)
    stranger.tests(call("Cube"))
    seen = stranger.run(BASELINE)
    assert seen.code == pytest.ExitCode.USAGE_ERROR
