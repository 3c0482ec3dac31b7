"""A wrong backward among right ones, in a repository with no configuration: who fails, and what its owner reads."""

from __future__ import annotations

import pytest

from tests.scenarios.material import (
    CUBE,
    DOUBLE,
    GREEDY_DOUBLE,
    HALF_SQUARE,
    MEMORY_DOUBLE,
    PRODUCT,
    SCALE,
    TURNED_PRODUCT,
    call,
    named,
)
from tests.scenarios.stranger import Stranger

torch = pytest.importorskip("torch")

MATRICES = (
    "(torch.arange(9.0).reshape(3, 3) / 7).requires_grad_()",
    "(torch.arange(9.0).reshape(3, 3) ** 2 / 50).requires_grad_()",
)
X = "torch.tensor([0.5, -1.5, 2.0], requires_grad=True)"


def test_only_the_test_that_first_calls_the_wrong_one_fails(stranger: Stranger) -> None:
    stranger.package(CUBE, SCALE, HALF_SQUARE, DOUBLE)
    stranger.tests(
        call("Cube"),
        call("Scale", X, "2.5"),
        call("Square"),
        f"def test_square_again():\n    ops.Square.apply({X}).sum().backward()",
        call("Double"),
        "def test_of_something_else(): pass",
    )
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 5, "failed": 1}, 1)
    assert seen.failed == ["test_square"]
    assert seen.rows == {
        "pkg.ops:Square": "disagreed",
        "pkg.ops:Cube": "agreed",
        "pkg.ops:Double": "agreed",
        "pkg.ops:Scale": "agreed",
    }
    assert "GC101" in seen.row("pkg.ops:Square")
    assert "test_square_again" in seen.row("pkg.ops:Square")


def test_a_failure_says_what_where_and_how_to_see_it_again(stranger: Stranger) -> None:
    stranger.package(CUBE, HALF_SQUARE)
    stranger.tests(call("Square"))
    seen = stranger.run("--gradcheck-seed=7")
    lines = seen.failure("test_square")
    assert len(lines) <= 25
    assert all(len(line) <= 120 for line in lines)
    text = "\n".join(lines)
    line = next(n for n, x in enumerate((stranger.path / "pkg" / "ops.py").read_text().splitlines(), 1) if "g * x" in x)
    assert "GC101" in text
    assert "Square.apply(" in text
    place = next(x for x in lines if "pkg/ops.py:" in x)
    assert "Square.backward" in place
    assert abs(int(place.split("pkg/ops.py:")[1].split()[0]) - line) <= 3
    assert "±" in text
    assert "--gradcheck-seed=7" in text
    assert "test_ops.py::test_square" in text
    assert ".gradcheck/repro/" in text
    assert "drawn" not in text


def test_a_missing_factor_is_recognised(stranger: Stranger) -> None:
    stranger.package(HALF_SQUARE)
    stranger.tests(call("Square"))
    text = " ".join(stranger.run().failure("test_square"))
    assert "GC101" in text
    assert "0.5 times" in text


def test_a_missing_transposition_is_recognised(stranger: Stranger) -> None:
    stranger.package(TURNED_PRODUCT, named(PRODUCT, "Right"))
    stranger.tests(call("Product", *MATRICES), call("Right", *MATRICES))
    seen = stranger.run()
    assert seen.failed == ["test_product"]
    text = " ".join(seen.failure("test_product"))
    assert "GC101" in text
    assert "transpose" in text


def test_a_strided_cotangent_read_as_contiguous_is_found(stranger: Stranger) -> None:
    stranger.package(MEMORY_DOUBLE)
    stranger.tests(call("Double", "torch.arange(6.0).reshape(2, 3).requires_grad_()"))
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"failed": 1}, 1)
    text = " ".join(seen.failure("test_double"))
    assert "GC301" in text
    assert "GC101" not in text


def test_a_cotangent_that_is_modified_is_found(stranger: Stranger) -> None:
    stranger.package(GREEDY_DOUBLE)
    stranger.tests(call("Double"))
    assert "GC203" in " ".join(stranger.run().failure("test_double"))


def test_a_call_without_requires_grad_is_enough(stranger: Stranger) -> None:
    stranger.package(HALF_SQUARE)
    stranger.tests(call("Square", "torch.tensor([0.5, -1.5])"))
    assert stranger.run().failed == ["test_square"]


def test_each_wrong_function_fails_the_test_that_calls_it_first(stranger: Stranger) -> None:
    stranger.package(HALF_SQUARE, GREEDY_DOUBLE)
    stranger.tests(call("Square"), call("Double"))
    seen = stranger.run()
    assert seen.failed == ["test_square", "test_double"]
    assert {*seen.rows.values()} == {"disagreed"}


def test_one_test_that_calls_two_wrong_ones_shows_both(stranger: Stranger) -> None:
    stranger.package(HALF_SQUARE, GREEDY_DOUBLE)
    stranger.tests(f"def test_both():\n    ops.Double.apply(ops.Square.apply({X}))")
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"failed": 1}, 1)
    text = "\n".join(seen.failure("test_both"))
    assert "GC101" in text
    assert "GC203" in text


def test_a_mistake_at_zero_only_is_found_where_zeros_were_seen(stranger: Stranger) -> None:
    stranger.package(
        """
        class Sinc(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return torch.where(x == 0, 1.0 + 0 * x, x.sin() / x) + 2 * x

            @staticmethod
            def backward(ctx, g):
                (x,) = ctx.saved_tensors
                return torch.where(x == 0, 0 * g, g * ((x.cos() - x.sin() / x) / x + 2))
        """
    )
    stranger.tests(call("Sinc", "torch.tensor([[0.0, 1.0], [0.5, -1.25]])"))
    assert "GC101" in " ".join(stranger.run().failure("test_sinc"))


def test_a_mistake_at_values_that_no_test_has_says_so(stranger: Stranger) -> None:
    stranger.package(
        """
        class Softplus(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return torch.nn.functional.softplus(x)

            @staticmethod
            def backward(ctx, g):
                (x,) = ctx.saved_tensors
                return torch.where(x.abs() < 0.1, g, g * x.sigmoid())
        """
    )
    stranger.tests(call("Softplus", "torch.tensor([[0.15, -1.5], [1.0, -0.5]])"))
    seen = stranger.run()
    assert seen.failed == ["test_softplus"]
    first = next(line for line in seen.failure("test_softplus") if line.strip())
    assert "drawn" in first


def test_a_cotangent_summed_over_the_batch_is_found(stranger: Stranger) -> None:
    stranger.package(
        """
        class Shift(Function):
            @staticmethod
            def forward(ctx, x):
                return x + 1

            @staticmethod
            def backward(ctx, g):
                return g.mean(0, keepdim=True).expand_as(g)
        """
    )
    stranger.tests(call("Shift", "torch.arange(6.0).reshape(3, 2).requires_grad_()"))
    assert stranger.run().failed == ["test_shift"]


def test_a_none_where_the_slope_is_not_zero_is_found(stranger: Stranger) -> None:
    stranger.package(PRODUCT.replace("x.T @ g", "x.T @ g if x.shape[0] != 2 else None"))
    stranger.tests(
        call("Product", "(torch.eye(2) + 0.5).requires_grad_()", "torch.arange(4.0).reshape(2, 2).requires_grad_()")
    )
    seen = stranger.run()
    assert seen.failed == ["test_product"]
