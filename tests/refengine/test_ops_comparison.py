"""Comparison, logic, choice and clamping, compared with PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import refengine
from tests.refengine.expressions import agree, expression, numbers, refused_alike

SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.nan, np.inf, -np.inf, 2.5])
OTHER = np.array([0.0, 0.0, 2.0, -1.0, np.nan, np.inf, np.inf, 2.5])


@pytest.mark.parametrize(
    "name", ["eq", "ne", "lt", "le", "gt", "ge", "not_equal", "less", "less_equal", "greater", "greater_equal"]
)
def test_comparisons_agree_with_torch(name: str) -> None:
    agree(lambda lib, x, y: getattr(lib, name)(x, y), SPECIAL, OTHER)
    agree(lambda lib, x, y: getattr(x, name)(y), numbers(2, 1), numbers(3))
    agree(lambda lib, x: getattr(x, name)(1), SPECIAL)
    agree(lambda lib, x, y: getattr(x, name)(y), np.arange(3), SPECIAL[:3])
    agree(lambda lib, x: getattr(x, name)(1.5), np.arange(3))


@pytest.mark.parametrize("name", ["logical_and", "logical_or", "logical_xor"])
def test_logic_agrees_with_torch(name: str) -> None:
    agree(lambda lib, x, y: getattr(lib, name)(x, y), SPECIAL, OTHER)
    agree(lambda lib, x, y: getattr(x, name)(y), SPECIAL > 0, OTHER > 1)


@pytest.mark.parametrize("name", ["isnan", "isinf", "isfinite", "logical_not"])
def test_predicates_agree_with_torch(name: str) -> None:
    agree(lambda lib, x: getattr(lib, name)(x), SPECIAL)
    agree(lambda lib, x: getattr(lib, name)(x), np.arange(3))
    agree(lambda lib, x: getattr(lib, name)(x), numbers())


@pytest.mark.parametrize("call", ["x & y", "x | y", "x ^ y", "~x", "x & True", "x.bitwise_and(y)"])
def test_bits_agree_with_torch(call: str) -> None:
    agree(expression(call), SPECIAL > 0, OTHER > 1)
    if "True" not in call:
        agree(expression(call), np.arange(4), np.arange(4)[::-1].copy())


def test_bits_refuse_real_numbers() -> None:
    refused_alike(lambda lib, x: x & x, numbers(2))
    refused_alike(lambda lib, x: x.bitwise_not(), numbers(2))


@pytest.mark.parametrize(
    "call", ["x == y", "x != y", "x < y", "x <= y", "x > y", "x >= y", "x == 1", "1 < x", "0 >= x"]
)
def test_operators_agree_with_torch(call: str) -> None:
    agree(expression(call), SPECIAL, OTHER)


def test_comparison_results_are_never_differentiable(lib: Any) -> None:
    x = lib.ones(2, requires_grad=True)
    assert not (x > 0).requires_grad


@pytest.mark.parametrize(
    "options", [{}, {"rtol": 0.1}, {"atol": 0.6, "rtol": 0.0}, {"equal_nan": True}, {"rtol": 0.0, "atol": 0.0}], ids=str
)
def test_closeness_agrees_with_torch(options: dict[str, Any]) -> None:
    agree(lambda lib, x, y: lib.isclose(x, y, **options), SPECIAL, OTHER + np.array([0, 0.5, 0, 0.05, 0, 0, 0, 1e-7]))
    agree(lambda lib, x, y: lib.tensor(lib.allclose(x, y, **options)), SPECIAL, OTHER)


def test_equal_asks_for_shape_and_values(lib: Any) -> None:
    x = lib.tensor([1.0, 2.0])
    assert lib.equal(x, x.clone())
    assert x.equal(x * 1)
    assert not lib.equal(x, x[None])
    assert not lib.equal(x, x * 2)


@pytest.mark.parametrize(
    "shapes", [((3,), (3,), (3,)), ((2, 1), (3,), (1, 3)), ((), (2,), ()), ((2, 2), (), (2, 2)), ((0,), (0,), (1,))]
)
def test_where_agrees_with_torch(shapes: tuple[tuple[int, ...], ...]) -> None:
    condition, x, y = (numbers(*shape, seed=i) for i, shape in enumerate(shapes))
    agree(lambda lib, c, a, b: lib.where(c, a * a, b * b), condition > 0, x, y)


@pytest.mark.parametrize(
    "call",
    ["lib.where(x > 0, x, 2.0)", "lib.where(x > 0, 0, x)", "lib.where(x > 0, x, x * x)", "lib.where(x > 0, 1.0, 2.0)"],
)
def test_where_takes_numbers(call: str) -> None:
    agree(expression(call), numbers(4))


def test_where_promotes() -> None:
    agree(lambda lib, x, y: lib.where(x > 0, x, y), numbers(3), np.arange(3))
    agree(lambda lib, x, y: lib.where(y > 0, x, y), np.ones(3, np.float32), numbers(3))


def test_where_hides_what_is_not_chosen() -> None:
    with np.errstate(invalid="ignore"):
        agree(lambda lib, x: lib.where(x > 0, x.sqrt(), 0.0), np.array([1.0, -1.0, 4.0]), order=0)
        agree(
            lambda lib, x, y: lib.where(x > 0, x, y * float("inf")), np.array([1.0, 2.0]), np.array([3.0, 4.0]), order=1
        )


def test_where_refuses_a_condition_that_is_not_bool() -> None:
    refused_alike(lambda lib, x: lib.where(x, x, x), numbers(2))


def test_a_condition_that_was_modified_is_noticed(lib: Any) -> None:
    x, condition = lib.ones(2, requires_grad=True), lib.tensor([True, False])
    out = lib.where(condition, x, 0.0)
    condition.logical_not_() if hasattr(condition, "logical_not_") else condition.copy_(~condition)
    with pytest.raises(RuntimeError, match="modified by an in"):
        out.sum().backward()


CLAMPED = np.array([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0])


@pytest.mark.parametrize(
    "call",
    [
        "lib.clamp(x, -1, 1)",
        "x.clamp(-1.0, 1.0)",
        "x.clamp(min=-1)",
        "x.clamp(max=1)",
        "x.clamp(None, 0.5)",
        "x.clamp(1, -1)",
        "x.clip(0, 1)",
        "x.clamp_min(-1)",
        "x.clamp_max(0.5)",
        "lib.clamp_min(x, 0)",
        "lib.clamp_max(x, max=0)",
        "(x * 1).clamp_(-1, 1)",
        "(x * 1).clamp_min_(0)",
        "(x * 1).clamp_max_(0)",
        "x.clamp(min=float('nan'))",
    ],
)
def test_clamp_by_numbers_agrees_with_torch(call: str) -> None:
    agree(expression(call), CLAMPED)
    agree(expression(call), np.append(CLAMPED, [np.nan, np.inf]), order=1)


@pytest.mark.parametrize(
    "call",
    [
        "x.clamp(y, z)",
        "x.clamp(min=y)",
        "x.clamp(max=z)",
        "x.clamp(z, y)",
        "x.clamp(y[:1], z[0])",
        "x.clamp_min(y)",
        "lib.clamp_max(x, z)",
        "x[0].clamp(y, z)",
    ],
)
def test_clamp_by_tensors_agrees_with_torch(call: str) -> None:
    low, high = np.array([-1.0, -1.0, 0.0, 1.0, 2.0, -5.0]), np.array([0.0, -1.0, 0.0, 0.0, 3.0, 3.0])
    agree(expression(call), CLAMPED, low, high)


def test_clamp_of_integers_promotes() -> None:
    agree(lambda lib, x: x.clamp(1, 2), np.arange(4))
    agree(lambda lib, x: x.clamp(0.5, 2.5), np.arange(4))


@pytest.mark.parametrize(
    "call", ["x.clamp()", "x.clamp(1, 2, 3)", "x.clamp(None, None)", "x.clamp(least=1)", "x.clamp_min()"]
)
def test_clamp_refuses_other_arguments(call: str) -> None:
    with pytest.raises((TypeError, RuntimeError)):
        expression(call)(refengine, refengine.ones(2))
