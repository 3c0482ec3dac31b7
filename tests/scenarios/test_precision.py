"""Functions that compute in single precision: right ones pass, wrong ones fail, a hidden loss of digits is named."""

from __future__ import annotations

import pytest

from tests.scenarios.material import CUBE, HALF_SQUARE, call, wrong
from tests.scenarios.stranger import Stranger

torch = pytest.importorskip("torch")

SINGLE = "torch.tensor([0.5, -1.5, 2.0], dtype=torch.float32, requires_grad=True)"
DOUBLE = "torch.tensor([0.5, -1.5, 2.0], dtype=torch.float64, requires_grad=True)"
REFUSING = wrong(
    CUBE,
    "ctx.save_for_backward(x)\n",
    'if x.dtype != torch.float32:\n            raise TypeError("float32 only")\n        ctx.save_for_backward(x)\n',
)
"""As kernels do that were written for one dtype."""
INSIDE = wrong(CUBE, "return x * x * x", "x = x.float()\n        return (x * x * x).double()")
INSIDE = wrong(INSIDE, "g * 3 * x * x", "(g.float() * 3 * x.float() * x.float()).double()")
LESS_INSIDE = INSIDE.replace(".double()", ".to(ctx.dtype)").replace(
    "(ctx, x):\n", "(ctx, x):\n        ctx.dtype = x.dtype\n"
)


def test_right_and_wrong_functions_in_single_precision(stranger: Stranger) -> None:
    stranger.package(CUBE, HALF_SQUARE)
    stranger.tests(call("Cube", SINGLE), call("Square", SINGLE))
    seen = stranger.run()
    assert seen.failed == ["test_square"]
    assert seen.rows["pkg.ops:Cube"] == "agreed"


def test_a_function_that_refuses_float64_is_judged_in_its_own_precision(stranger: Stranger) -> None:
    stranger.package(REFUSING)
    stranger.tests(call("Cube", SINGLE))
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 1}, 0)
    assert seen.rows == {"pkg.ops:Cube": "agreed"}


def test_a_wrong_one_that_refuses_float64_fails(stranger: Stranger) -> None:
    stranger.package(wrong(REFUSING, "g * 3", "g * 2"))
    stranger.tests(call("Cube", SINGLE))
    seen = stranger.run()
    assert seen.failed == ["test_cube"]
    assert "GC101" in "\n".join(seen.failure("test_cube"))


def test_less_precision_inside_than_outside_is_a_finding_of_its_own(stranger: Stranger) -> None:
    stranger.package(INSIDE)
    stranger.tests(call("Cube", DOUBLE))
    seen = stranger.run()
    assert seen.failed == ["test_cube"]
    text = "\n".join(seen.failure("test_cube"))
    assert "GC701" in text
    assert "GC101" not in text


def test_single_precision_inside_is_no_matter_where_it_is_asked_for(stranger: Stranger) -> None:
    stranger.package(LESS_INSIDE)
    stranger.tests(call("Cube", SINGLE))
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 1}, 0)
    assert seen.rows == {"pkg.ops:Cube": "agreed"}


def test_a_wrong_one_that_computes_in_single_precision_inside_fails(stranger: Stranger) -> None:
    stranger.package(wrong(LESS_INSIDE, "* 3 *", "* 2 *"))
    stranger.tests(call("Cube", SINGLE))
    seen = stranger.run()
    assert "GC101" in "\n".join(seen.failure("test_cube"))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_judged(stranger: Stranger, dtype: str) -> None:
    stranger.package(CUBE, HALF_SQUARE)
    x = f"torch.tensor([0.5, -1.5, 2.0], dtype=torch.{dtype}, requires_grad=True)"
    stranger.tests(call("Cube", x), call("Square", x))
    seen = stranger.run()
    assert seen.failed == ["test_square"]
    assert seen.rows["pkg.ops:Cube"] == "agreed"
