"""Matrix products, transposition and triangles, compared with PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import refengine
from tests.refengine.expressions import agree, numbers, refused_alike

PRODUCTS = [
    ((3,), (3,)),
    ((0,), (0,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3, 4)),
    ((1, 1), (1, 1)),
    ((2, 0), (0, 3)),
    ((0, 2), (2, 3)),
    ((5, 2, 3), (3, 4)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 2)),
    ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((1, 2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (4, 3, 2)),
    ((2, 1, 2, 3), (1, 4, 3, 2)),
    ((0, 2, 3), (3, 4)),
    ((2, 5, 2, 3), (3,)),
]


@pytest.mark.parametrize(("left", "right"), PRODUCTS)
def test_matmul_agrees_with_torch(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    agree(lambda lib, x, y: x @ y, numbers(*left), numbers(*right, seed=3))


@pytest.mark.parametrize(
    ("name", "left", "right"),
    [
        ("mm", (2, 3), (3, 4)),
        ("bmm", (5, 2, 3), (5, 3, 1)),
        ("mv", (2, 3), (3,)),
        ("dot", (4,), (4,)),
        ("outer", (2,), (3,)),
        ("outer", (0,), (3,)),
    ],
)
def test_named_products_agree_with_torch(name: str, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    agree(lambda lib, x, y: getattr(lib, name)(x, y), numbers(*left), numbers(*right, seed=3))
    agree(lambda lib, x, y: getattr(x, name)(y), numbers(*left), numbers(*right, seed=3))


@pytest.mark.parametrize(
    ("left", "right"),
    [((2, 3), (4, 3)), ((), (3,)), ((3,), ()), ((3,), (4,)), ((5, 2, 3), (4, 3, 2)), ((2, 3), (2,))],
)
def test_matmul_refuses_shapes_that_do_not_fit(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    refused_alike(lambda lib, x, y: x @ y, numbers(*left), numbers(*right))


@pytest.mark.parametrize(
    ("name", "left", "right"),
    [
        ("mm", (2, 3), (3,)),
        ("bmm", (2, 2, 3), (3, 3, 2)),
        ("mv", (3,), (3,)),
        ("dot", (2, 2), (2, 2)),
        ("outer", (2, 2), (2,)),
        ("mm", (2, 3), (2, 3)),
    ],
)
def test_named_products_refuse_other_ranks(name: str, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    refused_alike(lambda lib, x, y: getattr(lib, name)(x, y), numbers(*left), numbers(*right))


def test_products_promote_nothing() -> None:
    refused_alike(lambda lib, x, y: x @ y, numbers(2, 2), np.ones((2, 2), np.float32))


def test_matmul_of_a_matrix_with_itself_adds_both_gradients() -> None:
    agree(lambda lib, x: x @ x, numbers(3, 3))


def test_matmul_takes_views_and_an_expanded_cotangent() -> None:
    agree(lambda lib, x, y: (x.mT @ y[::2]).sum(), numbers(3, 2), numbers(6, 4))
    agree(lambda lib, x, y: x.expand(4, 3) @ y.t(), numbers(1, 3), numbers(2, 3))


def test_matmul_of_integers_and_of_complex_numbers() -> None:
    agree(lambda lib, x, y: x @ y, np.arange(6).reshape(2, 3), np.arange(3))
    agree(
        lambda lib, x, y: x @ y, numbers(2, 3) + 1j * numbers(2, 3, seed=4), numbers(3, 2) - 1j * numbers(3, 2, seed=5)
    )


@pytest.mark.parametrize("x", [(2, 3), (3,), (1, 3), (2, 1), (), (1, 1)])
@pytest.mark.parametrize("factors", [{}, {"beta": 2, "alpha": -0.5}, {"beta": 0}, {"alpha": 0}])
def test_addmm_agrees_with_torch(x: tuple[int, ...], factors: dict[str, Any]) -> None:
    agree(lambda lib, x, y, z: lib.addmm(x, y, z, **factors), numbers(*x), numbers(2, 4), numbers(4, 3))


def test_addmm_in_place_agrees_with_torch() -> None:
    agree(lambda lib, x, y, z: (x * 1).addmm_(y, z, beta=0.5, alpha=2), numbers(2, 3), numbers(2, 4), numbers(4, 3))


def test_addmm_without_x_does_not_read_it() -> None:
    agree(
        lambda lib, x, y, z: lib.addmm(x, y, z, beta=0), np.full((2, 2), np.nan), numbers(2, 2), numbers(2, 2), order=1
    )


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (4, 2), (2, 3, 3), (0, 3), (3, 0)])
@pytest.mark.parametrize("diagonal", [0, 1, -1, 5, -5])
@pytest.mark.parametrize("name", ["tril", "triu"])
def test_triangles_agree_with_torch(name: str, diagonal: int, shape: tuple[int, ...]) -> None:
    agree(lambda lib, x: getattr(lib, name)(x, diagonal), numbers(*shape))
    agree(lambda lib, x: getattr(x * x, f"{name}_")(diagonal=diagonal), numbers(*shape))


def test_triangles_refuse_a_vector() -> None:
    refused_alike(lambda lib, x: x.tril(), numbers(3))


def test_transposes_agree_with_torch() -> None:
    for shape in ((2, 3), (3,), ()):
        agree(lambda lib, x: x.t() * 2, numbers(*shape))
    agree(lambda lib, x: x.mT * 2, numbers(4, 2, 3))
    agree(lambda lib, x: x.T * 2, numbers(2, 3))
    agree(lambda lib, x: x.adjoint() * 2, numbers(4, 2, 3))
    agree(lambda lib, x: x.adjoint() * 2, numbers(2, 3) + 1j * numbers(2, 3))


def test_transposes_are_views() -> None:
    x = refengine.ones(2, 3)
    for view in (x.t(), x.mT, x.T, x.adjoint()):
        assert view.data_ptr() == x.data_ptr()
        assert view._base is x


def test_transposes_refuse_other_ranks() -> None:
    refused_alike(lambda lib, x: x.t(), numbers(2, 2, 2))
    refused_alike(lambda lib, x: x.mT, numbers(2))


def test_trace_agrees_with_torch() -> None:
    for shape in ((3, 3), (2, 4), (4, 2), (0, 2)):
        agree(lambda lib, x: lib.trace(x), numbers(*shape))
    refused_alike(lambda lib, x: x.trace(), numbers(2, 2, 2))


@pytest.mark.parametrize(
    ("left", "right", "name"),
    [((2, 3), (3, 2), "MmBackward0"), ((2, 3), (3,), "MvBackward0"), ((3,), (3,), "DotBackward0")],
)
def test_matmul_is_recorded_under_the_special_case(
    left: tuple[int, ...], right: tuple[int, ...], name: str, lib: Any
) -> None:
    x = lib.ones(left, requires_grad=True)
    assert (x @ lib.ones(right)).grad_fn.name() == name


def test_a_product_saves_only_what_the_other_factor_needs() -> None:
    x, y = refengine.ones(2, 2, requires_grad=True), refengine.ones(2, 2)
    out = x @ y
    x.detach().mul_(2)
    out.sum().backward()
    assert x.grad is not None
    out = x @ y
    y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an in-place"):
        out.sum().backward()
