"""Convolution, pooling and embedding: values, gradients, second order and refusals are PyTorch's."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import refengine as re
from refengine.errors import ArgumentError, DTypeError, PositionError, RangeError, ShapeError, UnsupportedError
from refengine.layout import Window
from tests.refengine.support import Constant, agree, both_raise, case, close, layouts, normal

torch = pytest.importorskip("torch")

IMAGE, WEIGHT, BIAS = normal(2, 4, 6, 5), normal(6, 2, 3, 2), normal(6)
# Equal entries in every window, and a NaN.
TIED = np.round(normal(2, 3, 6, 5))
CONVOLUTIONS = [
    case("conv2d", normal(2, 3, 5, 4), normal(4, 3, 2, 3)),
    case("conv2d", IMAGE, WEIGHT, BIAS, groups=2),
    case("conv2d", IMAGE[0], WEIGHT, BIAS, groups=2),
    case("conv2d", IMAGE, WEIGHT, groups=2, stride=(1, 2), padding=2, dilation=(1, 2)),
    case("conv2d", IMAGE, WEIGHT, groups=2, stride=[2], padding=(0, 1)),
    case("conv2d", IMAGE, normal(8, 1, 1, 1), groups=4, padding="valid"),
    case("conv2d", IMAGE, normal(2, 4, 3, 3), normal(2), padding="same"),
    case("conv2d", IMAGE, normal(2, 4, 3, 3), padding="same", dilation=(1, 2)),
    case("conv2d", normal(1, 1, 2, 2), normal(1, 1, 1, 1), stride=3, padding=1),
    case("conv2d", normal(0, 2, 4, 4), normal(3, 2, 2, 2), normal(3)),
    case("conv2d", IMAGE.astype(np.float32), WEIGHT.astype(np.float32), groups=2),
]
POOLS = [
    case("max_pool2d", IMAGE, 2),
    case("max_pool2d", IMAGE[0], (3, 2), 1, 1),
    case("max_pool2d", IMAGE, [2, 3], stride=2, padding=1, ceil_mode=True),
    case("max_pool2d", IMAGE, 2, dilation=2, padding=1, ceil_mode=True),
    case("max_pool2d", TIED, 2, 1),
    case("max_pool2d", np.where(TIED == 1, np.nan, TIED), 3, 1, 1),
    case("max_pool2d", np.full((1, 1, 3, 3), -np.inf), 3, 1, 1),
    case("avg_pool2d", IMAGE, 2),
    case("avg_pool2d", IMAGE[0], (3, 2), 1, 1),
    case("avg_pool2d", IMAGE, 3, 1, padding=1, count_include_pad=False),
    case("avg_pool2d", IMAGE, (2, 3), stride=2, padding=1, ceil_mode=True),
    case("avg_pool2d", IMAGE, (2, 3), stride=2, padding=1, ceil_mode=True, count_include_pad=False),
    case("avg_pool2d", IMAGE, 3, divisor_override=-2),
]
ROWS, NAMED = normal(5, 3), Constant([[1, 2, 1], [0, 4, 4]])
EMBEDDINGS = [
    case("embedding", NAMED, ROWS),
    case("embedding", Constant(3), ROWS),
    case("embedding", Constant(np.zeros((2, 0), dtype=np.int64)), ROWS),
    case("embedding", Constant(np.array([1, 1], dtype=np.int32)), ROWS),
    case("embedding", NAMED, ROWS, padding_idx=-1),
    case("embedding", NAMED, ROWS, padding_idx=1, scale_grad_by_freq=True),
    case("embedding", NAMED, ROWS.astype(np.float32)),
]


@pytest.mark.parametrize(("name", "args", "kwargs"), [*CONVOLUTIONS, *POOLS, *EMBEDDINGS])
def test_values_and_derivatives_to_second_order_are_pytorchs(name: str, args: Any, kwargs: Any) -> None:
    single = any(getattr(a, "dtype", None) == np.float32 for a in args)
    agree(name, *args, second=not kwargs.get("scale_grad_by_freq"), within=2e-5 if single else 1e-10, **kwargs)


@pytest.mark.parametrize("x", layouts(IMAGE), ids=["contiguous", "reversed", "gaps"])
def test_every_layout_of_the_input_gives_the_same(x: Any) -> None:
    agree("conv2d", x, WEIGHT, groups=2, padding=1)
    agree("max_pool2d", x, 2, padding=1)
    agree("avg_pool2d", x, 2)


def test_an_even_kernel_is_padded_more_behind() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's, that it copies here
        agree("conv2d", IMAGE, normal(2, 4, 2, 4), padding="same")


def test_the_indices_of_the_maxima_are_pytorchs() -> None:
    for kwargs in ({"kernel_size": 2}, {"kernel_size": 3, "stride": 1, "padding": 1, "ceil_mode": True}):
        mine = re.nn.functional.max_pool2d(re.from_numpy(TIED), return_indices=True, **kwargs)
        their = torch.nn.functional.max_pool2d(torch.from_numpy(TIED), return_indices=True, **kwargs)
        for a, b in zip(mine, their, strict=True):
            close(a, b, str(kwargs))


def test_a_complex_convolution_has_pytorchs_gradients() -> None:
    complex_image, weight = IMAGE[:, :2] + 1j * IMAGE[:, 2:], normal(3, 2, 2, 2) * (1 - 2j)
    agree("conv2d", np.asarray(complex_image), weight)


def test_integers_are_pooled_too() -> None:
    values = np.arange(16).reshape(1, 4, 4)[:, ::-1]
    assert re.nn.functional.max_pool2d(re.tensor(values), 2).tolist() == [[[13, 15], [5, 7]]]


def test_a_saved_image_is_version_checked() -> None:
    x, w = re.tensor(IMAGE), re.tensor(WEIGHT, requires_grad=True)
    y = re.nn.functional.conv2d(x, w, groups=2)
    x.mul_(2)
    with pytest.raises(RuntimeError, match="ConvolutionBackward0"):
        y.sum().backward()


@pytest.mark.parametrize("norm_type", [2.0, 1.0])
def test_rows_that_are_too_long_are_shortened_in_place(norm_type: float) -> None:
    found = []
    for lib in (re, torch):
        weight = lib.tensor(ROWS)
        rows = lib.nn.functional.embedding(lib.tensor([[0, 2], [2, 3]]), weight, max_norm=1.0, norm_type=norm_type)
        found.append((rows, weight))
    for mine, their in zip(*found, strict=True):
        close(mine, their, f"norm_type={norm_type}")


@pytest.mark.parametrize(
    ("error", "args", "kwargs"),
    [
        (ShapeError, (IMAGE, WEIGHT), {}),
        (ShapeError, (IMAGE[0, 0], WEIGHT), {}),
        (ShapeError, (IMAGE, normal(3, 4, 7, 2)), {}),
        (ShapeError, (IMAGE, normal(2, 4, 2, 2), normal(3)), {}),
        (ShapeError, (IMAGE, normal(3, 2, 2, 2)), {"groups": 2}),
        (RangeError, (IMAGE, normal(2, 4, 2, 2)), {"stride": 0}),
        (RangeError, (IMAGE, normal(2, 4, 2, 2)), {"padding": -1}),
        (RangeError, (IMAGE, normal(2, 4, 2, 2)), {"padding": "same", "stride": 2}),
        (RangeError, (IMAGE, normal(2, 4, 2, 2)), {"padding": "full"}),
        (DTypeError, (IMAGE, normal(2, 4, 2, 2).astype(np.float32)), {}),
        (RangeError, (IMAGE, normal(2, 4, 2, 2)), {"groups": 0}),
    ],
)
def test_a_convolution_refuses_what_pytorch_refuses(error: Any, args: Any, kwargs: Any) -> None:
    both_raise("conv2d", error, *args, **kwargs)


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_pools_refuse_what_pytorch_refuses(name: str) -> None:
    both_raise(name, ShapeError, IMAGE, 2, padding=2)
    both_raise(name, ShapeError, IMAGE, 7)
    both_raise(name, ShapeError, IMAGE[0, 0], 2)
    both_raise(name, RangeError, IMAGE, 2, 0)
    with pytest.raises(ArgumentError, match="an int or two ints"):
        getattr(re.nn.functional, name)(re.tensor(IMAGE), 1.5)


def test_an_embedding_refuses_what_pytorch_refuses() -> None:
    both_raise("embedding", PositionError, Constant([5]), ROWS)
    both_raise("embedding", ShapeError, Constant([0]), ROWS[0])
    both_raise("embedding", RangeError, Constant([0]), ROWS, padding_idx=5)
    with pytest.raises(UnsupportedError):
        re.nn.functional.embedding(re.tensor([0]), re.tensor(ROWS), sparse=True)


def test_windows_and_their_sum_are_transposes() -> None:
    window = Window((2, 3), (2, 1), (1, 2), (1, 0), (3, 2))
    xp = re.tensor(0.0).backend.xp
    x, g = normal(2, 5, 4), normal(2, 2, 3, 3, 2)
    seen = xp.windows(x, window)
    assert seen.shape == g.shape
    np.testing.assert_allclose((seen * g).sum(), (x * xp.windows_add(g, window, x.shape)).sum(), rtol=1e-12)


def test_a_derivative_along_a_tangent_goes_through_a_network_of_them() -> None:
    from refengine.autograd import forward_ad

    x, t, w = re.tensor(IMAGE, requires_grad=True), re.tensor(normal(2, 4, 6, 5, seed=1)), re.tensor(WEIGHT)

    def net(image: Any) -> Any:
        functional = re.nn.functional
        return functional.max_pool2d(functional.avg_pool2d(functional.conv2d(image, w, groups=2), 2, 1), (2, 1))

    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(net(forward_ad.make_dual(x, t))).tangent
    u = re.tensor(normal(*tangent.shape, seed=2))
    (back,) = re.autograd.grad(net(x), [x], u)
    assert float((back * t).sum()) == pytest.approx(float((tangent * u).sum()), rel=1e-12)
