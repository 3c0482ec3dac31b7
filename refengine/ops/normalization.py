"""Normalisation by mean and variance, and dropout."""

from __future__ import annotations

import math
from typing import Any

from refengine import layout, random
from refengine.autograd.modes import no_grad
from refengine.backends.base import Array, Namespace
from refengine.errors import ArgumentError, AutogradError, RangeError, ShapeError
from refengine.layout import Shape
from refengine.op import Composite, Op, Single
from refengine.spec import Call, Draw, Interval, Operand
from refengine.tensor import Tensor

MODERATE = Interval(-10.0, 10.0)


class Standardize(Single):
    """Return (x - mean) / sqrt(variance + eps) over `axis`, the variance without correction."""

    name = "_standardize"
    group = ""
    structure = "other"
    floating = True
    backward_name = "NativeLayerNormBackward0"

    def bind(self, shape: Shape, axis: Shape, eps: float) -> dict[str, Any]:
        return {"axis": axis, "eps": eps, "count": math.prod(shape[one] for one in axis) or 1}

    def forward(self, xp: Namespace, x: Array, *, axis: Shape, eps: float, count: int) -> Array:
        deviation, spread = self._moments(xp, x, axis, eps, count)
        return deviation / spread

    def vjp(self, xp: Namespace, g: Array, x: Array, *, axis: Shape, eps: float, count: int) -> Array:
        # The result is not saved, but worked out again, so that it may be written to in place, as in PyTorch.
        deviation, spread = self._moments(xp, x, axis, eps, count)
        out = deviation / spread
        along = xp.sum(g * out, axis=axis, keepdims=True) / count
        return (g - xp.sum(g, axis=axis, keepdims=True) / count - out * along) / spread

    def _moments(self, xp: Namespace, x: Array, axis: Shape, eps: float, count: int) -> tuple[Array, Array]:
        """The deviations from the mean, and sqrt(variance + eps)."""
        deviation = x - xp.sum(x, axis=axis, keepdims=True) / count
        return deviation, xp.sqrt(xp.sum(xp.square(deviation), axis=axis, keepdims=True) / count + eps)


class LayerNorm(Composite):
    """Return x standardised over its last axes, times `weight`, plus `bias`.

    Raises
    ------
    ShapeError
        If `normalized_shape` is not the end of x's shape.
    """

    group = "normalization"
    form = "function"
    structure = "other"
    min_ndim = 1
    domains = (MODERATE,)
    elsewhere = {"torch": "nn.functional.layer_norm"}

    def compose(
        self,
        x: Tensor,
        normalized_shape: Any,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> Tensor:
        wanted = layout.sizes((normalized_shape,))
        shape = tuple(x.shape)
        if not wanted or shape[-len(wanted) :] != wanted:
            raise ShapeError(f"layer_norm: expected a normalized_shape that ends x's shape {shape}, got {wanted}")
        for name, given in (("weight", weight), ("bias", bias)):
            if given is not None and tuple(given.shape) != wanted:
                raise ShapeError(f"layer_norm: expected {name} of shape {wanted}, got {tuple(given.shape)}")
        return affine(STANDARDIZE(x, tuple(range(-len(wanted), 0)), float(eps)), weight, bias)

    def accepts(self, shape: Shape) -> bool:
        return bool(shape) and shape[-1] > 1 and 0 not in shape

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Over one axis or more, with and without weight, bias and eps."""
        shape = tuple(x.shape[draw.integer(0, x.ndim - 1) :]) if draw.boolean() else (x.shape[-1],)
        return Call((x, shape), _affine_arguments(draw, shape))


class BatchNorm(Composite):
    """Return x standardised over all axes but the second, times `weight`, plus `bias`.

    In training the moments are x's own, and move the running ones (the variance with correction) by `momentum`, in
    place and unrecorded; otherwise they are the running ones, which are constants then.

    Raises
    ------
    ChannelError
        In training with one value a channel.
    """

    group = "normalization"
    form = "function"
    structure = "other"
    min_ndim = 2
    domains = (MODERATE,)
    elsewhere = {"torch": "nn.functional.batch_norm"}

    def compose(
        self,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        shape = tuple(x.shape)
        if len(shape) < 2:
            raise ShapeError(f"batch_norm: expected at least two dimensions, (N, C, ...), got shape {shape}")
        side = (shape[1],) + (1,) * (len(shape) - 2)
        _check_channels(shape[1], running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
        weight, bias = (None if given is None else given.reshape(side) for given in (weight, bias))
        if training:
            axis = tuple(i - len(shape) for i in range(len(shape)) if i != 1)
            _move(x, axis, running_mean, running_var, momentum)
            return affine(STANDARDIZE(x, axis, float(eps)), weight, bias)
        if running_mean is None or running_var is None:
            raise AutogradError(
                "batch_norm: expected running_mean and running_var where training=False, got None; pass training=True"
            )
        spread = (running_var + eps).sqrt().reshape(side)
        return affine((x - running_mean.reshape(side)) / spread, weight, bias)

    def accepts(self, shape: Shape) -> bool:
        return len(shape) >= 2 and 0 not in shape and math.prod(shape) >= 2 * shape[1]

    def sample(self, draw: Draw, x: Operand) -> Call:
        """In training; running moments are constants, and have their own tests."""
        return Call((x, None, None), {**_affine_arguments(draw, (x.shape[1],)), "training": True})


class ChannelError(ShapeError, ValueError):
    """No variance in a channel with a single value."""


def _check_channels(count: int, **given: Tensor | None) -> None:
    """One value a channel each."""
    for name, tensor in given.items():
        if tensor is not None and tuple(tensor.shape) != (count,):
            raise ShapeError(
                f"batch_norm: expected {name} of shape ({count},), one value a channel, got {tuple(tensor.shape)}"
            )


def _move(x: Tensor, axis: Shape, mean: Tensor | None, var: Tensor | None, momentum: float) -> None:
    """Move the running moments towards those of `x`."""
    count = math.prod(x.shape[one] for one in axis)
    if count == 1:
        raise ChannelError(
            f"batch_norm: expected more than 1 value per channel when training, got input size {tuple(x.shape)}"
        )
    with no_grad():
        for running, now in ((mean, "mean"), (var, "var")):
            if running is not None:
                running.copy_(running * (1 - momentum) + getattr(x, now)(axis) * momentum)


def affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """``x * weight + bias``, either of which may be missing."""
    result: Any = x if weight is None else x * weight
    return result if bias is None else result + bias  # type: ignore[no-any-return]


def _affine_arguments(draw: Draw, shape: Shape) -> dict[str, Any]:
    """Weight, bias or both, and eps."""
    kwargs: dict[str, Any] = {}
    if draw.boolean():
        kwargs["weight"] = draw.operand(shape, MODERATE)
    if draw.boolean():
        kwargs["bias"] = draw.operand(shape, MODERATE)
    if draw.boolean():
        kwargs["eps"] = 0.1
    return kwargs


class Dropout(Composite):
    """Return x with entries set to 0 with probability `p`, the others scaled by 1 / (1 - p); x itself outside training.

    The mask is drawn from `refengine.random`'s default generator and is a constant of the graph.

    Raises
    ------
    RangeError
        If p is not in [0, 1].
    """

    group = "normalization"
    form = "function"
    structure = "linear"
    elsewhere = {"torch": "nn.functional.dropout"}
    domains = (MODERATE,)

    def compose(self, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not isinstance(p, (int, float)):
            raise ArgumentError(f"dropout: expected p to be a number, got {p!r} ({type(p).__name__})")
        if not 0 <= p <= 1:
            raise RangeError(
                f"dropout: expected a probability p in [0, 1], got {p=}; p is the chance of an entry to be dropped"
            )
        if not training or p == 0 or not x.numel():
            return x
        kept = random.default_generator.numpy.random(tuple(x.shape)) >= p
        scale = 0.0 if p == 1 else 1 / (1 - p)
        mask = Tensor(x.backend.array(kept * scale, x.array.dtype))
        return x.mul_(mask) if inplace else x * mask

    def sample(self, draw: Draw, x: Operand) -> Call:
        """What is the same at every call: outside training, nothing dropped, all dropped."""
        return Call((x,), draw.choice(({"training": False}, {"p": 0.0}, {"p": 1.0})))


STANDARDIZE = Standardize()

OPS: tuple[Op, ...] = (LayerNorm(), BatchNorm(), Dropout(), STANDARDIZE)
