"""Reductions, extremes and running sums are PyTorch's, in value and gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import refengine
from refengine.errors import ArgumentError, DimensionError, DTypeError
from tests.refengine.support import Constant, agree, both_raise, case, layouts, normal, ours, torch, unique

X = normal(2, 3, 4)
ZEROS = np.array([[0.0, 2.0, 3.0, -4.0], [0.5, 0.0, 0.0, 2.0], [1.0, 2.0, -1.0, 3.0]])
TIES = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [-2.0, 1.0, -2.0]])
AXES = (None, 0, -1, (0, 2), (-1, 0, 1))
NORMS = (1, 2, 3, 1.5, 0.5, -2.0, math.inf, -math.inf)

OVER_AXES = [
    case(name, X, **({} if dim is None else {"dim": dim}), **({"keepdim": True} if keep and dim is not None else {}))
    for name in ("sum", "mean", "nansum", "amax", "amin", "var", "std", "norm")
    for dim in AXES
    for keep in (False, True)
    if not (keep and dim is None) and not (name == "norm" and dim == (-1, 0, 1))
]
ALONG = [
    case(name, x, dim)
    for name in ("prod", "max", "min", "cumsum", "cumprod", "logsumexp", "argmax", "argmin", "all", "any")
    for x, dims in ((X, (0, -1)), (np.array(1.5), (0, -1)), (TIES, (1,)), (ZEROS, (0, 1)))
    for dim in dims
]
WHOLE = [
    case(name, x)
    for name in ("sum", "mean", "prod", "max", "min", "amax", "amin", "norm", "argmax", "all", "any", "count_nonzero")
    for x in (X, np.array(-1.5), TIES, ZEROS)
]
SPECIAL = [
    *(case("norm", x, p, 1) for p in NORMS for x in (TIES, ZEROS)),
    *(case("norm", X, p, (0, 2), True) for p in NORMS),
    case("norm", X, "fro"),
    case("var", X, 0, correction=0),
    case("var", X, 0, False),
    case("var", X, False),
    case("var", X, unbiased=False),
    case("var", X, (0, 1), correction=1.5, keepdim=True),
    case("std", X, 1, correction=0),
    case("var", X[:1], 0),
    case("var", Constant(X), 1, correction=5),
    case("std", TIES, 1),
    case("var_mean", X),
    case("var_mean", X, 1, keepdim=True),
    case("prod", X, 1, True),
    case("logsumexp", X, (0, 2), True),
    case("logsumexp", X * 1000, 1),
    case("logsumexp", np.array([-math.inf, -math.inf]), 0),
    case("logsumexp", np.array([math.inf, 1.0]), 0),
    case("max", X, 1, True),
    case("max", X, dim=1, keepdim=True),
    case("max", X, normal(2, 3, 4, seed=5)),
    case("argmax", X, keepdim=True),
    case("argmin", X, 1, keepdim=True),
    case("count_nonzero", ZEROS, 0),
    case("nansum", np.array([[1.0, math.nan], [2.0, 3.0]]), 1),
    case("sum", np.array([math.inf, 1.0])),
    case("amax", np.array([1.0, math.nan])),
    case("sum", X, ()),
]
EMPTY = [
    *(case(name, np.zeros((2, 0))) for name in ("sum", "mean", "prod", "norm", "all", "any", "count_nonzero")),
    *(case(name, np.zeros((2, 0)), 1) for name in ("sum", "mean", "prod", "logsumexp", "cumsum", "cumprod", "all")),
    *(case(name, np.zeros((2, 0)), 0) for name in ("sum", "amax", "max", "argmax", "var", "cumprod", "prod")),
]


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
@pytest.mark.parametrize(("name", "args", "kwargs"), unique(OVER_AXES, ALONG, WHOLE, SPECIAL, EMPTY))
def test_value_and_gradient_are_those_of_pytorch(name: str, args: Any, kwargs: Any) -> None:
    agree(name, *args, **kwargs)


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        *(case(name, ZEROS, dim) for name in ("prod", "cumprod") for dim in (0, 1)),
        case("prod", ZEROS),
        case("prod", X),
        case("prod", X, 1),
        case("cumprod", X, 1),
        case("logsumexp", X, 1),
        case("var", X, 1),
        case("std", X, (0, 1)),
        case("norm", X, 2, 1),
        case("norm", X, 3, 1),
        case("norm", X, 1.5, (0, 1)),
        case("norm", X, math.inf, 1),
        case("amax", TIES, 1),
        case("max", X, 1),
        case("mean", X),
    ],
)
def test_second_order_is_that_of_pytorch(name: str, args: Any, kwargs: Any) -> None:
    agree(name, *args, second=True, **kwargs)


@pytest.mark.parametrize(
    "name", ["sum", "mean", "prod", "amax", "var", "norm", "logsumexp", "cumsum", "cumprod", "max"]
)
def test_strides_do_not_matter(name: str) -> None:
    for x in layouts(normal(3, 4)):
        agree(name, x, **({"dim": 1} if name != "norm" else {"p": 2, "dim": 1}))


@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
def test_in_place_form_has_the_same_value_and_gradient(name: str) -> None:
    agree(name, ZEROS, 1, inplace=True)


def test_third_derivative_of_a_product_with_zeros_is_exact() -> None:
    x = refengine.tensor([0.0, 0.0, 0.0, 5.0], dtype=refengine.float64, requires_grad=True)
    (first,) = refengine.autograd.grad(x.prod(), x, create_graph=True)
    (second,) = refengine.autograd.grad(first[0], x, create_graph=True)
    (third,) = refengine.autograd.grad(second[1], x)
    assert third.tolist() == [0.0, 0.0, 5.0, 0.0]


def test_the_second_derivative_of_a_norm_at_zero_is_finite() -> None:
    x = refengine.zeros(3, requires_grad=True)
    (first,) = refengine.autograd.grad(x.norm(), x, create_graph=True)
    (second,) = refengine.autograd.grad(first.sum(), x)
    assert [0.0] * 3 == first.tolist() == second.tolist()


def test_max_along_an_axis_returns_a_named_pair() -> None:
    found = refengine.tensor([[1.0, 3.0], [4.0, 2.0]]).max(dim=1)
    assert found.values.tolist() == [3.0, 4.0]
    assert found.indices.tolist() == [1, 0]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
@pytest.mark.parametrize("name", ["sum", "prod", "cumsum", "cumprod", "amax", "argmax", "count_nonzero", "all"])
def test_integers_give_pytorchs_dtype(name: str, dtype: str) -> None:
    if (dtype, name) in (("uint8", "all"), ("bool", "argmax")):
        pytest.skip("PyTorch keeps uint8 in all(), and has no argmax of bool")
    agree(name, np.array([[3, 0, 1], [1, 2, 5]]).astype(dtype), 1)


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "norm", "nansum"])
def test_dtype_is_that_of_the_result(name: str) -> None:
    result = getattr(refengine.tensor([1.5, 2.5]), name)(dtype=refengine.float64)
    assert refengine.float64 is result.dtype


def test_dtype_converts_before_it_sums() -> None:
    assert refengine.tensor([1.5, 2.5]).sum(dtype=refengine.int64).item() == 3
    assert refengine.tensor([1, 3]).mean(dtype=refengine.float64).item() == 2.0


def test_gradient_comes_back_in_the_dtype_of_the_input() -> None:
    x = refengine.tensor([1.5, 2.5], requires_grad=True)
    x.sum(dtype=refengine.float64).backward()
    assert refengine.float32 is x.grad.dtype


def test_complex_norm_and_sums_are_those_of_pytorch() -> None:
    z = normal(2, 3) + 1j * normal(2, 3, seed=4)
    for name, args in (
        ("sum", ()),
        ("mean", (1,)),
        ("prod", (1,)),
        ("cumsum", (1,)),
        ("cumprod", (1,)),
        ("norm", ()),
        ("norm", (1, 1)),
    ):
        agree(name, z, *args)


@pytest.mark.parametrize(
    ("error", "name", "args", "kwargs"),
    [
        (DimensionError, "sum", (X, 3), {}),
        (DimensionError, "amax", (np.zeros((0, 2)), 0), {}),
        (DimensionError, "max", (np.zeros((0, 2)), 0), {}),
        (DimensionError, "argmax", (np.zeros(0),), {}),
        (RuntimeError, "sum", (X, (0, 0)), {}),
        (DTypeError, "mean", (Constant([1, 2]),), {}),
        (DTypeError, "var", (Constant([1, 2]),), {}),
        (DTypeError, "norm", (Constant([1, 2]),), {}),
        (ArgumentError, "max", (X,), {"keepdim": True}),
        (ArgumentError, "logsumexp", (X,), {}),
        (DimensionError, "cumsum", (np.array(1.0), 1), {}),
        (ArgumentError, "cumsum", (X,), {}),
    ],
)
def test_wrong_arguments_raise_as_in_pytorch(error: type[Exception], name: str, args: Any, kwargs: Any) -> None:
    both_raise(name, error, *args, **kwargs)


def test_unbiased_and_correction_together_raise() -> None:
    with pytest.raises(ArgumentError, match="unbiased or correction"):
        ours("var")(refengine.tensor([1.0, 2.0]), 0, True, correction=1)


def test_the_extreme_of_a_tie_shares_and_of_an_axis_chooses() -> None:
    x = refengine.tensor([2.0, 2.0], requires_grad=True)
    (shared,) = refengine.autograd.grad(x.max(), x)
    (chosen,) = refengine.autograd.grad(x.max(0).values, x)
    assert (shared.tolist(), chosen.tolist()) == ([0.5, 0.5], [1.0, 0.0])
    y = torch.tensor([2.0, 2.0], requires_grad=True)
    assert shared.tolist() == torch.autograd.grad(y.max(), y)[0].tolist()
