"""A first call at which nothing can be seen hides no mistake that another call of the same kind shows."""

from __future__ import annotations

import pytest

from tests.scenarios.material import CUBE, HALF_SQUARE, SQUARE, wrong
from tests.scenarios.stranger import Stranger

torch = pytest.importorskip("torch")

ZERO = "torch.zeros(3, requires_grad=True)"
POINT = "torch.tensor([0.5, -1.5, 2.0], requires_grad=True)"

GATED = """
class Gated(Function):
    @staticmethod
    def forward(ctx, x, gate):
        ctx.save_for_backward(x, gate)
        return x * x * gate

    @staticmethod
    def backward(ctx, g):
        x, gate = ctx.saved_tensors
        return g * 2 * x * gate, None
"""
"""Its gate may be closed; drawn values leave what is not differentiated as it was."""
WRONG_GATED = wrong(GATED, "g * 2 * x", "g * x")
CLOSED, OPEN = "torch.zeros(3)", "torch.tensor([1.0, 0.0, 2.0])"

PICKY = """
class Picky(Function):
    @staticmethod
    def forward(ctx, x, limit):
        if (x.abs() > 1e3).any() or x.isnan().any():
            raise ValueError("too large")
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x, None
"""


NOWHERE = """
class Nowhere(Function):
    @staticmethod
    def forward(ctx, x):
        return (-1 - x * x).sqrt()

    @staticmethod
    def backward(ctx, g):
        return g
"""
"""Its values are no numbers."""


def gated(name: str, x: str, gate: str) -> str:
    return f"def test_{name}(): ops.Gated.apply({x}, {gate})"


def test_a_mistake_behind_a_vacuous_first_call_is_found_at_a_later_one_of_the_same_test(stranger: Stranger) -> None:
    stranger.package(WRONG_GATED)
    stranger.tests(f"def test_own():\n    for gate in ({CLOSED}, {OPEN}): ops.Gated.apply({POINT}, gate)")
    seen = stranger.run()
    assert seen.failed == ["test_own"]
    assert seen.rows == {"pkg.ops:Gated": "disagreed"}


def test_a_later_test_with_a_better_call_shows_the_mistake(stranger: Stranger) -> None:
    stranger.package(WRONG_GATED)
    stranger.tests(gated("closed", POINT, CLOSED), gated("open", POINT, OPEN))
    seen = stranger.run()
    assert seen.failed == ["test_open"]
    assert seen.rows == {"pkg.ops:Gated": "disagreed"}


def test_what_a_later_call_came_to_stands_in_the_summary_alone(stranger: Stranger) -> None:
    stranger.package(GATED)
    stranger.tests(gated("closed", POINT, CLOSED), gated("open", POINT, OPEN))
    seen = stranger.run()
    assert (seen.code, seen.rows) == (0, {"pkg.ops:Gated": "agreed"})
    assert not seen.says("GC901")


def test_a_marker_does_not_hide_what_a_later_call_came_to(stranger: Stranger) -> None:
    stranger.package(GATED)
    calls = f"for gate in ({CLOSED}, {OPEN}): ops.Gated.apply({POINT}, gate)"
    stranger.tests(f"@pytest.mark.gradcheck(rtol=1e-5)\ndef test_own():\n    {calls}")
    assert stranger.run().rows == {"pkg.ops:Gated": "agreed"}


def test_the_order_of_the_calls_makes_no_difference(stranger: Stranger) -> None:
    stranger.package(WRONG_GATED)
    stranger.tests(gated("open", POINT, OPEN), gated("closed", POINT, CLOSED))
    assert stranger.run().rows == {"pkg.ops:Gated": "disagreed"}


def test_where_all_calls_show_nothing_the_function_stays_inconclusive(stranger: Stranger) -> None:
    stranger.package(WRONG_GATED)
    stranger.tests(gated("closed", POINT, CLOSED), gated("closed_again", ZERO, CLOSED))
    seen = stranger.run()
    assert (seen.code, seen.rows) == (0, {"pkg.ops:Gated": "inconclusive"})


def test_a_first_call_that_raises_does_not_hide_the_others(stranger: Stranger) -> None:
    stranger.package(PICKY)
    stranger.tests(
        f"def test_refused():\n    with pytest.raises(ValueError): ops.Picky.apply({POINT} * 1e4, 3)",
        f"def test_taken(): ops.Picky.apply({POINT} * 1.0, 3)",
    )
    seen = stranger.run()
    assert seen.failed == ["test_taken"]
    assert not seen.says("a kind of input was not checked")


def test_a_right_function_is_not_checked_again_at_each_call(stranger: Stranger) -> None:
    counting = wrong(CUBE, "ctx.save_for_backward(x)", "global CALLS; CALLS += 1; ctx.save_for_backward(x)")
    stranger.package("CALLS = 0", counting)
    stranger.tests(f"def test_once(): ops.Cube.apply({POINT})")
    once = stranger.count(stranger.run(), "CALLS")
    stranger.tests(*(f"def test_{k}(): ops.Cube.apply({POINT} + {k})" for k in range(5)))
    assert stranger.count(stranger.run(), "CALLS") == once + 4


def test_a_function_that_is_open_everywhere_is_checked_a_few_times_only(stranger: Stranger) -> None:
    counting = wrong(
        GATED, "ctx.save_for_backward(x, gate)", "global CALLS; CALLS += 1; ctx.save_for_backward(x, gate)"
    )
    stranger.package("CALLS = 0", counting)
    stranger.tests(*(gated(f"{k}", f"{POINT} + {k}", CLOSED) for k in range(4)))
    few = stranger.count(stranger.run(), "CALLS")
    stranger.tests(*(gated(f"{k}", f"{POINT} + {k}", CLOSED) for k in range(14)))
    assert stranger.count(stranger.run(), "CALLS") == few + 10


def test_a_baseline_that_lists_it_keeps_a_doubt_to_a_line(stranger: Stranger) -> None:
    stranger.package(NOWHERE)
    stranger.tests(f"def test_own(): ops.Nowhere.apply({ZERO})")
    seen = stranger.run()
    seen.shows("GC901 pkg.ops:Nowhere: * inputs were inconclusive (100%): not finite (1)")
    known = ("--gradcheck-baseline=known.txt",)
    stranger.run(*known, "--gradcheck-baseline-update").shows("baseline: added pkg.ops:Nowhere  GC901")
    seen = stranger.run(*known)
    seen.shows("known: pkg.ops:Nowhere GC901")
    assert not seen.says("were inconclusive")


def test_workers_come_to_the_same_summary(stranger: Stranger) -> None:
    pytest.importorskip("xdist")
    stranger.package(GATED, SQUARE)
    stranger.tests(gated("closed", POINT, CLOSED), f"def test_square(): ops.Square.apply({POINT})")
    stranger.tests(gated("open", POINT, OPEN), name="tests/test_more.py")
    seen = stranger.run_apart("-n2", "--dist=loadfile")
    assert (seen.code, seen.rows) == (0, {"pkg.ops:Gated": "agreed", "pkg.ops:Square": "agreed"})


def test_a_mistake_that_the_first_call_shows_is_judged_there(stranger: Stranger) -> None:
    stranger.package(HALF_SQUARE)
    stranger.tests(f"def test_own():\n    for k in (1, 2, 3): ops.Square.apply({POINT} * k)")
    assert stranger.run().failed == ["test_own"]
