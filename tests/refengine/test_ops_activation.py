"""Activations are PyTorch's, in value, gradient and second order, at kinks and far out too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import refengine
from refengine.errors import ArgumentError, DimensionError, ShapeError
from tests.refengine.support import Constant, agree, both_raise, case, layouts, normal, unique

X = normal(3, 4) * 2
SPECIAL = np.array([0.0, -0.0, 6.0, -1.0, 1.0, 0.5, 30.0, -30.0, 90.0, -90.0, 800.0, -800.0, np.inf, -np.inf, np.nan])
FINITE = SPECIAL[:12]
NAMES = (
    "relu",
    "relu6",
    "hardtanh",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "logsigmoid",
)
VARIANTS = [
    case("hardtanh", X, -0.5, 0.25),
    case("hardtanh", X, max_val=2.0),
    case("leaky_relu", X, 0.3),
    case("leaky_relu", X, 0.0),
    case("leaky_relu", X, negative_slope=1.5),
    case("elu", X, 0.5),
    case("elu", X, alpha=2.0),
    case("gelu", X, approximate="tanh"),
    case("softplus", X, 2.0),
    case("softplus", X, beta=0.5, threshold=1.0),
    case("glu", X),
    case("glu", normal(4, 3), 0),
    case("softmin", X, 1),
]
ALONG = [
    case(name, x, dim)
    for name in ("softmax", "log_softmax")
    for x in (X, np.array(2.0), normal(2, 1, 3), np.zeros((2, 0)), np.array([[800.0, -800.0, 0.0], [1.0, 1.0, 1.0]]))
    for dim in (0, -1)
]


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    unique(
        [case(name, x) for name in NAMES for x in (X, np.array(0.5), np.zeros((0, 2)), FINITE)],
        [case(name, SPECIAL) for name in NAMES if name != "softsign"],  # whose gradient at infinity is NaN in PyTorch
        VARIANTS,
        ALONG,
    ),
)
def test_value_and_gradient_are_those_of_pytorch(name: str, args: Any, kwargs: Any) -> None:
    agree(name, *args, **kwargs)


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    unique(
        [case(name, x) for name in NAMES for x in (X, FINITE[5:])], VARIANTS, [c for c in ALONG if "[2,0]" not in c.id]
    ),
)
def test_second_order_is_that_of_pytorch(name: str, args: Any, kwargs: Any) -> None:
    agree(name, *args, second=True, **kwargs)


@pytest.mark.parametrize("name", ["relu", "sigmoid"])
def test_in_place_form_has_the_same_value_and_gradient(name: str) -> None:
    agree(name, X, inplace=True)


@pytest.mark.parametrize("name", ["relu", "sigmoid", "silu"])
def test_in_place_form_is_exact_on_every_op_that_has_one(name: str) -> None:
    x = refengine.from_numpy(X.copy())
    operation = getattr(refengine.nn.functional, name)
    expected = operation(x)
    result = getattr(x, f"{name}_")()
    assert result is x
    assert expected.tolist() == x.tolist()


@pytest.mark.parametrize("name", ["relu", "gelu", "softmax", "log_softmax", "glu"])
def test_strides_do_not_matter(name: str) -> None:
    for x in layouts(X):
        agree(name, x, **({"dim": -1} if name not in ("relu", "gelu") else {}))


@pytest.mark.parametrize("name", NAMES)
def test_float32_stays_float32(name: str) -> None:
    agree(name, X.clip(-3, 3).astype(np.float32), within=1e-4)


def test_relu_keeps_integers() -> None:
    agree("relu", Constant(np.array([-1, 0, 3])))


def test_softmax_converts_to_dtype_first() -> None:
    assert refengine.float64 is refengine.tensor([1, 2]).softmax(0, dtype=refengine.float64).dtype


@pytest.mark.parametrize(
    ("error", "name", "args", "kwargs"),
    [
        (NotImplementedError, "softmax", (Constant([1, 2]), 0), {}),
        (DimensionError, "softmax", (X, 2), {}),
        (DimensionError, "log_softmax", (X, -3), {}),
        (RuntimeError, "gelu", (X,), {"approximate": "cubic"}),
        (ShapeError, "glu", (normal(3, 3),), {}),
        (ShapeError, "glu", (np.array(1.0),), {}),
    ],
)
def test_wrong_arguments_raise_as_in_pytorch(error: type[Exception], name: str, args: Any, kwargs: Any) -> None:
    both_raise(name, error, *args, **kwargs)


def test_hardtanh_refuses_crossed_limits() -> None:
    with pytest.raises(ArgumentError, match="swap them"):
        refengine.nn.functional.hardtanh(refengine.tensor([1.0]), 1.0, -1.0)
