"""Normalisation and dropout are PyTorch's, in value, gradient and what they do to their buffers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import refengine
from refengine.errors import RangeError
from tests.refengine.support import Constant, agree, both_raise, case, layouts, normal, ours, theirs, torch, unique

X = normal(4, 3)
IMAGES = normal(2, 3, 4, 2)
MEAN, VAR = Constant(normal(3)), Constant(normal(3) ** 2 + 0.1)
W, B = normal(3, seed=5), normal(3, seed=6)
LAYER = [
    case("layer_norm", X, (3,)),
    case("layer_norm", X, [4, 3], normal(4, 3, seed=1), normal(4, 3, seed=2), 0.1),
    case("layer_norm", X, (3,), W),
    case("layer_norm", X, (3,), bias=B),
    case("layer_norm", IMAGES, (4, 2), weight=normal(4, 2), bias=normal(4, 2, seed=3), eps=1e-3),
    case("layer_norm", np.ones((2, 3)), (3,)),
    case("layer_norm", normal(2, 1), (1,)),
]
BATCH = [
    case("batch_norm", x, mean, var, *rest, training=training, eps=eps)
    for x in (X, normal(2, 3, 4), IMAGES)
    for mean, var in ((None, None), (MEAN, VAR))
    for rest in ((), (W, B), (W,))
    for training in (True, False)
    for eps in (1e-5, 0.1)
    if training or mean is not None
]


@pytest.mark.parametrize(("name", "args", "kwargs"), unique(LAYER, BATCH))
def test_value_and_gradients_are_those_of_pytorch(name: str, args: Any, kwargs: Any) -> None:
    agree(name, *map(_fresh, args), within=1e-8, **kwargs)


@pytest.mark.parametrize(("name", "args", "kwargs"), unique(LAYER[:3], LAYER[4:5], BATCH[::5]))
def test_second_order_is_that_of_pytorch(name: str, args: Any, kwargs: Any) -> None:
    agree(name, *map(_fresh, args), second=True, within=1e-7, **kwargs)


def _fresh(value: Any) -> Any:
    """Buffers that no other test has moved."""
    return Constant(value.values.copy()) if isinstance(value, Constant) else value


def test_strides_do_not_matter() -> None:
    for x in layouts(IMAGES):
        agree("layer_norm", x, (4, 2), within=1e-8)
        agree("batch_norm", x, None, None, W, B, True, within=1e-8)


@pytest.mark.parametrize("momentum", [0.1, 0.3, 1.0, 0.0])
def test_training_moves_the_running_moments_as_pytorch_does(momentum: float) -> None:
    moved = []
    for library, call in ((refengine, ours("batch_norm")), (torch, theirs("batch_norm"))):
        mean, var = library.from_numpy(MEAN.values.copy()), library.from_numpy(VAR.values.copy())
        call(library.from_numpy(IMAGES).requires_grad_(), mean, var, training=True, momentum=momentum)
        assert not mean.requires_grad
        moved.append((mean.numpy(), var.numpy()))
    np.testing.assert_allclose(moved[0], moved[1], rtol=1e-12)


def test_evaluation_leaves_the_running_moments_alone() -> None:
    mean, var = refengine.from_numpy(MEAN.values.copy()), refengine.from_numpy(VAR.values.copy())
    ours("batch_norm")(refengine.from_numpy(X), mean, var)
    assert (mean._version, var._version) == (0, 0)


@pytest.mark.parametrize(
    ("error", "args", "kwargs"),
    [
        (ValueError, (normal(1, 3), None, None), {"training": True}),
        (RuntimeError, (X, None, None), {}),
        (RuntimeError, (X, Constant(normal(4)), VAR), {}),
    ],
)
def test_batch_norm_refuses_what_pytorch_refuses(error: type[Exception], args: Any, kwargs: Any) -> None:
    both_raise("batch_norm", error, *args, **kwargs)


def test_layer_norm_refuses_another_shape() -> None:
    both_raise("layer_norm", RuntimeError, X, (4,))
    both_raise("layer_norm", RuntimeError, X, (3,), normal(4))


@pytest.mark.parametrize("kwargs", [{"p": 0.0}, {"p": 1.0}, {"p": 0.5, "training": False}], ids=str)
def test_dropout_without_chance_is_that_of_pytorch(kwargs: Any) -> None:
    agree("dropout", X, **kwargs)


def test_dropout_scales_what_it_keeps_and_its_gradient_alike() -> None:
    refengine.manual_seed(3)
    x = refengine.ones(10_000, requires_grad=True)
    y = ours("dropout")(x, 0.25)
    y.sum().backward()
    assert {0.0, np.float32(1 / 0.75)} == set(y.detach().numpy().tolist()) | {np.float32(1 / 0.75)}
    assert y.tolist() == x.grad.tolist()
    assert abs(float((y == 0).double().mean()) - 0.25) < 0.02


def test_dropout_draws_from_the_default_generator() -> None:
    x = refengine.ones(100)
    masks = []
    for seed in (1, 1, 2):
        refengine.manual_seed(seed)
        masks.append(ours("dropout")(x, 0.5).tolist())
    assert masks[0] == masks[1] != masks[2]


def test_dropout_in_place_writes_into_the_tensor() -> None:
    x = refengine.ones(100)
    assert ours("dropout")(x, 0.5, True, True) is x
    assert {0.0, 2.0} == set(x.tolist())


@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_dropout_refuses_what_is_no_probability(p: float) -> None:
    assert "probability" in both_raise("dropout", RangeError, X, p)
