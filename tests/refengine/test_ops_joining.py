"""Joining tensors, compared with PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.refengine.expressions import agree, expression, numbers, refused_alike


@pytest.mark.parametrize(
    ("shapes", "dim"),
    [
        ([(2,), (3,), (1,)], 0),
        ([(2, 3), (2, 1)], 1),
        ([(2, 3), (2, 1)], -1),
        ([(2, 3), (0, 3), (1, 3)], -2),
        ([(0,), (2, 3), (0,)], 1),
        ([(0,), (0,)], 0),
        ([(0, 2), (0, 2)], 0),
        ([(2, 3, 1), (2, 3, 2)], 2),
        ([(1, 2, 3)], 1),
    ],
)
def test_cat_agrees_with_torch(shapes: list[tuple[int, ...]], dim: int) -> None:
    agree(
        lambda lib, *xs: lib.cat([x * x for x in xs], dim), *[numbers(*shape, seed=i) for i, shape in enumerate(shapes)]
    )


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2, -3])
def test_stack_agrees_with_torch(dim: int) -> None:
    agree(lambda lib, *xs: lib.stack([x * x for x in xs], dim=dim), numbers(2, 3), numbers(2, 3, seed=1))


def test_stack_takes_scalars_and_empty_tensors() -> None:
    agree(lambda lib, *xs: lib.stack(xs), numbers(), numbers(seed=1))
    agree(lambda lib, *xs: lib.stack(xs, -1), numbers(0, 2), numbers(0, 2))


@pytest.mark.parametrize("name", ["cat", "concat", "concatenate", "stack"])
def test_one_tensor_may_be_joined_with_itself(name: str) -> None:
    agree(lambda lib, x: getattr(lib, name)((x, x * 2, x)), numbers(2, 2))


def test_joining_takes_views() -> None:
    agree(lambda lib, x, y: lib.cat([x.t(), y[::2], x.expand(2, 2, 2)[0]], 1), numbers(2, 2), numbers(4, 2))


def test_joining_promotes() -> None:
    agree(lambda lib, x, y: lib.cat([x, y]), np.arange(2), numbers(2))
    agree(lambda lib, x, y: lib.cat([x, y]), np.ones(2, np.float32), numbers(2))
    agree(lambda lib, x, y: lib.stack([x, y]), np.arange(2), np.ones(2, np.float32))


def test_only_those_that_need_a_gradient_get_one(lib: Any) -> None:
    x, y = lib.ones(2, requires_grad=True), lib.ones(2)
    lib.cat([y, x, y]).sum().backward()
    assert x.grad.tolist() == [1, 1]
    assert y.grad is None


@pytest.mark.parametrize(
    "call",
    [
        "lib.cat([x, y], 0)",
        "lib.cat([x, x], 2)",
        "lib.cat([x, x[0]], 0)",
        "lib.cat([x[0, 0], x[0, 0]])",
        "lib.stack([x, y])",
        "lib.stack([x, x], 3)",
        "lib.cat(x)",
    ],
)
def test_joining_refuses_what_does_not_fit(call: str) -> None:
    refused_alike(expression(call), numbers(2, 2), numbers(2, 3))
