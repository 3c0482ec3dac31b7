"""Losses are PyTorch's, in value, gradient and second order, with every reduction, weight and ignored class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import refengine
from refengine.errors import DimensionError, DTypeError, RangeError, ShapeError
from tests.refengine.support import Constant, agree, both_raise, case, layouts, normal, ours, unique

X, Y = normal(3, 4), normal(3, 4, seed=2)
PROBABILITIES = np.random.default_rng(1).uniform(size=(3, 4))
WEIGHT = Constant(np.array([0.5, 2.0, 1.0, 3.0, 0.25]))
SHAPES = ((5,), (3, 5), (3, 5, 2), (2, 5, 2, 3))


def _classes(shape: tuple[int, ...]) -> Constant:
    """Target classes for logits of shape (C,), (N, C) or (N, C, ...)."""
    sizes = shape[:1] + shape[2:] if len(shape) > 1 else ()
    return Constant(np.random.default_rng(shape).integers(0, 5, size=sizes))


PAIRS = [
    case(name, X, Y, **kwargs, **({} if reduction == "mean" else {"reduction": reduction}))
    for name, variants in (
        ("mse_loss", ({},)),
        ("l1_loss", ({},)),
        ("smooth_l1_loss", ({}, {"beta": 0.3}, {"beta": 2.0}, {"beta": 0.0})),
        ("huber_loss", ({}, {"delta": 0.3}, {"delta": 2.0})),
    )
    for kwargs in variants
    for reduction in ("mean", "sum", "none")
]
TIES = [case(name, X, X.copy()) for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")]
LOGITS = [
    case("binary_cross_entropy_with_logits", x, Constant(PROBABILITIES), reduction=reduction, **kwargs)
    for x in (X, X * 100)
    for reduction in ("mean", "sum", "none")
    for kwargs in ({}, {"weight": Constant(np.abs(Y))}, {"pos_weight": Constant(np.array([0.5, 1.0, 2.0, 3.0]))})
]
CLASSES = [
    case(name, normal(*shape), _classes(shape), reduction=reduction, **kwargs)
    for name, smoothings in (("nll_loss", ({},)), ("cross_entropy", ({}, {"label_smoothing": 0.3})))
    for shape in SHAPES
    for reduction in ("mean", "sum", "none")
    for smoothing in smoothings
    for kwargs in (
        smoothing,
        {"weight": WEIGHT, **smoothing},
        {"weight": WEIGHT, "ignore_index": 4, **smoothing},
    )
]
SOFT = [
    case(
        "cross_entropy", normal(*shape), np.random.default_rng(shape).uniform(size=shape), reduction=reduction, **kwargs
    )
    for shape in SHAPES
    for reduction in ("mean", "sum", "none")
    for kwargs in ({}, {"label_smoothing": 0.3}, {"weight": WEIGHT, "label_smoothing": 0.3})
]
DIVERGENCES = [
    case("kl_div", X, PROBABILITIES, reduction=reduction, log_target=logarithm)
    for reduction in ("sum", "none", "batchmean")
    for logarithm in (False, True)
]


@pytest.mark.parametrize(("name", "args", "kwargs"), unique(PAIRS, TIES, LOGITS, CLASSES, SOFT, DIVERGENCES))
def test_value_and_gradients_are_those_of_pytorch(name: str, args: Any, kwargs: Any) -> None:
    agree(name, *args, **kwargs)


@pytest.mark.parametrize(
    ("name", "args", "kwargs"), unique(PAIRS[::3], LOGITS[:3], CLASSES[::11], SOFT[::7], DIVERGENCES[:2])
)
def test_second_order_is_that_of_pytorch(name: str, args: Any, kwargs: Any) -> None:
    agree(name, *args, second=True, **kwargs)


def test_targets_of_the_loss_of_logits_have_their_gradient() -> None:
    agree("binary_cross_entropy_with_logits", X, PROBABILITIES, second=True)
    agree("binary_cross_entropy_with_logits", X, PROBABILITIES, pos_weight=Constant(np.full(4, 2.0)))


@pytest.mark.parametrize("name", ["nll_loss", "cross_entropy"])
def test_strides_do_not_matter(name: str) -> None:
    for x in layouts(normal(3, 5, 2)):
        agree(name, x, _classes((3, 5, 2)), weight=WEIGHT)


@pytest.mark.parametrize("name", ["nll_loss", "cross_entropy"])
def test_the_mean_is_nan_where_every_class_is_ignored(name: str) -> None:
    agree(name, normal(2, 5), Constant(np.array([1, 1])), ignore_index=1)
    agree(name, normal(2, 5), Constant(np.array([-100, -100])))
    agree(name, normal(2, 5), Constant(np.array([-100, 2])), reduction="sum")


def test_an_ignored_class_keeps_infinities_out() -> None:
    x = np.array([[-np.inf, 0.0], [-1.0, -2.0]])
    agree("nll_loss", x, Constant(np.array([0, 1])), ignore_index=0)


def test_the_loss_of_a_large_logit_is_exact() -> None:
    agree("binary_cross_entropy_with_logits", np.array([800.0, -800.0]), Constant(np.array([1.0, 0.0])))
    agree("cross_entropy", np.array([[800.0, -800.0]]), Constant(np.array([0])))


@pytest.mark.parametrize(
    ("error", "name", "args", "kwargs"),
    [
        (ValueError, "mse_loss", (X, Y), {"reduction": "median"}),
        (ValueError, "nll_loss", (normal(2, 5), Constant(np.array([1, 2, 3]))), {}),
        (DimensionError, "nll_loss", (normal(2, 5), Constant(np.array([1, 5]))), {}),
        (DimensionError, "cross_entropy", (normal(2, 5), Constant(np.array([1, -1]))), {}),
        (DTypeError, "nll_loss", (normal(2, 5), Constant(np.array([1.0, 2.0]))), {}),
        (ShapeError, "nll_loss", (normal(2, 5), Constant(np.array([1, 2])), Constant(np.ones(4))), {}),
        (RuntimeError, "cross_entropy", (normal(2, 5), Constant(np.array([1, 2]))), {"label_smoothing": 1.5}),
        (ValueError, "binary_cross_entropy_with_logits", (X, Constant(np.ones(4))), {}),
        (RuntimeError, "huber_loss", (X, Y), {"delta": 0.0}),
        (RuntimeError, "smooth_l1_loss", (X, Y), {"beta": -1.0}),
    ],
)
def test_wrong_arguments_raise_as_in_pytorch(error: type[Exception], name: str, args: Any, kwargs: Any) -> None:
    both_raise(name, error, *args, **kwargs)


def test_an_unknown_reduction_is_named_with_those_that_exist() -> None:
    with pytest.raises(RangeError, match="mean, sum, none"):
        ours("cross_entropy")(refengine.zeros(2, 3), refengine.tensor([0, 1]), reduction="median")
