"""Losses of scores against classes, with PyTorch's reductions, weights and ignored classes."""

from __future__ import annotations

import math
from typing import Any

from refengine.backends.base import Array, Namespace
from refengine.dtypes import INTEGER
from refengine.errors import DimensionError, DTypeError, RangeError, ShapeError
from refengine.layout import Shape
from refengine.op import Composite, Op
from refengine.reducing import TargetError, check_reduction, reduce, reductions
from refengine.spec import Call, Draw, Interval, Operand
from refengine.tensor import Tensor

MODERATE = Interval(-10.0, 10.0)
PROBABILITY = Interval(0.05, 0.95)


class PickedLoss(Op):
    """Minus the entries of x at the target classes, weighted by class and reduced."""

    name = "_nll"
    group = ""
    inputs = ("x", "target", "weight")
    constants = ("target", "weight")
    structure = "linear"
    backward_name = "NllLossBackward0"

    def bind(self, x: Shape, target: Shape, weight: Shape, *, ignore_index: int, reduction: str) -> dict[str, Any]:
        axis = -1 if len(x) < 2 else 1 - len(x)
        kept = tuple(1 if i - len(x) == axis else size for i, size in enumerate(x))
        side = tuple(size if i - len(x) == axis else 1 for i, size in enumerate(x))
        return {
            "axis": axis, "kept": kept, "side": side, "shape": tuple(x), "ignore": ignore_index, "reduction": reduction,
            "result": tuple(target),
        }  # fmt: skip

    def convert(self, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        """As they are."""
        return operands

    def forward(
        self,
        xp: Namespace,
        x: Array,
        target: Array,
        weight: Array,
        *,
        axis: int,
        kept: Shape,
        side: Shape,
        shape: Shape,
        ignore: int,
        reduction: str,
        result: Shape,
    ) -> Array:
        classes, weights = self._picks(xp, target, weight, axis, kept, side, shape, ignore)
        known = xp.not_equal(weights, 0)
        loss = xp.where(known, xp.take_along_axis(x, classes, axis=axis) * -weights, 0.0)
        if reduction == "none":
            return xp.reshape(loss, result)
        return xp.sum(loss) / xp.sum(weights) if reduction == "mean" else xp.sum(loss)

    def vjp_x(
        self,
        xp: Namespace,
        g: Array,
        target: Array,
        weight: Array,
        *,
        axis: int,
        kept: Shape,
        side: Shape,
        shape: Shape,
        ignore: int,
        reduction: str,
    ) -> Array:
        classes, weights = self._picks(xp, target, weight, axis, kept, side, shape, ignore)
        ignored = xp.equal(weights, 0)
        share = xp.where(ignored, weights, weights / -xp.sum(weights)) if reduction == "mean" else -weights
        g = xp.reshape(g, kept) if reduction == "none" else g
        return xp.scatter_add(share * g, classes, axis=axis, shape=shape)

    def _picks(
        self,
        xp: Namespace,
        target: Array,
        weight: Array,
        axis: int,
        kept: Shape,
        side: Shape,
        shape: Shape,
        ignore: int,
    ) -> tuple[Array, Array]:
        """The target classes, 0 in place of what is ignored, and the weight of each, 0 where it is ignored."""
        target = xp.reshape(target, kept)
        ignored = xp.equal(target, ignore)
        classes = xp.where(ignored, xp.zeros_like(target), target)
        if xp.any(xp.logical_or(xp.less(classes, 0), xp.greater_equal(classes, shape[axis]))):
            raise DimensionError(
                f"nll_loss: a target class is out of bounds, expected classes in [0, {shape[axis] - 1}] or {ignore}"
            )
        weights = xp.take_along_axis(xp.broadcast_to(xp.reshape(weight, side), shape), classes, axis=axis)
        return classes, xp.where(ignored, xp.zeros_like(weights), weights)


class NllLoss(Composite):
    """Return minus the log-probabilities x, of shape (C,), (N, C) or (N, C, ...), at the target classes.

    Weighted by class; entries whose target is `ignore_index` count for nothing. The mean is over the weights, and NaN
    where all are ignored, with derivative 0.

    Raises
    ------
    TargetError
        If the target's shape is not x's without the axis of classes.
    DimensionError
        If a class is out of bounds.
    """

    group = "loss"
    form = "function"
    structure = "other"
    min_ndim = 1
    domains = (MODERATE,)
    elsewhere = {"torch": "nn.functional.nll_loss"}

    def compose(
        self, x: Tensor, target: Tensor, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> Tensor:
        check_reduction(self.name, reduction)
        shape = tuple(x.shape)
        axis = class_axis(x)
        if tuple(target.shape) != shape[:axis] + shape[axis + 1 :]:
            expected = shape[:axis] + shape[axis + 1 :]
            raise TargetError(
                f"nll_loss: expected a target of shape {expected} for x of shape {shape}, got {tuple(target.shape)}"
            )
        if target.dtype.category > INTEGER:
            raise DTypeError(
                f"nll_loss: expected a target of classes, dtype int64, got {target.dtype.name}; convert it with long()"
            )
        weight = Tensor(x.backend.full((shape[axis],), 1, x.array.dtype)) if weight is None else weight.detach()
        if tuple(weight.shape) != (shape[axis],):
            raise ShapeError(
                f"nll_loss: expected a weight for each of the {shape[axis]} classes, got shape {tuple(weight.shape)}"
            )
        return PICKED(x, target, weight, ignore_index=int(ignore_index), reduction=reduction)

    def accepts(self, shape: Shape) -> bool:
        return 1 <= len(shape) <= 4 and 0 not in shape

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Every reduction; a class is ignored where the result stays finite even if all are. Weights are constants."""
        kwargs = reductions(draw)
        if kwargs and draw.boolean():
            kwargs = {**kwargs, "ignore_index": 0}
        return Call((x, class_indices(draw, x)), kwargs)


def class_axis(x: Any) -> int:
    """The axis of classes of an input of shape (C,), (N, C) or (N, C, ...)."""
    if not x.ndim:
        raise ShapeError("loss: expected an input with an axis of classes, got a 0-d tensor")
    return 0 if x.ndim == 1 else 1


def class_indices(draw: Draw, x: Operand) -> Operand:
    """Targets that go with `x`."""
    axis = class_axis(x)
    return draw.indices(tuple(x.shape[:axis] + x.shape[axis + 1 :]), x.shape[axis])


class CrossEntropyLoss(Composite):
    """Return the cross entropy of logits x, of shape (C,), (N, C) or (N, C, ...), against classes or probabilities.

    Integer targets are classes, with `weight` and `ignore_index` as in `nll_loss`; floating ones of x's shape are
    probabilities, and the mean is over the batch then. `label_smoothing` mixes in the uniform distribution.
    """

    name = "cross_entropy"
    group = "loss"
    form = "function"
    structure = "other"
    min_ndim = 1
    domains = (MODERATE,)
    elsewhere = {"torch": "nn.functional.cross_entropy"}

    def compose(
        self,
        x: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> Tensor:
        check_reduction(self.name, reduction)
        if not 0.0 <= label_smoothing <= 1.0:
            raise SmoothingError(f"cross_entropy: expected label_smoothing in [0, 1], got {label_smoothing=}")
        logs = x.log_softmax(class_axis(x))
        if target.dtype.is_floating_point:
            return self._soft(logs, target, weight, reduction, label_smoothing)
        loss: Any = NLL(logs, target, weight, ignore_index, reduction)
        if not label_smoothing:
            return loss  # type: ignore[no-any-return]
        uniform = self._uniform(logs, target, weight, ignore_index, reduction)
        return loss * (1 - label_smoothing) + uniform * (label_smoothing / x.shape[class_axis(x)])  # type: ignore[no-any-return]

    def _soft(self, logs: Any, target: Any, weight: Any, reduction: str, smoothing: float) -> Tensor:
        """Against probabilities."""
        if tuple(target.shape) != tuple(logs.shape):
            raise TargetError(
                f"cross_entropy: expected probabilities of x's shape {tuple(logs.shape)}, got {tuple(target.shape)}"
            )
        axis = class_axis(logs)
        if smoothing:
            target = target * (1 - smoothing) + smoothing / logs.shape[axis]
        loss = -(_weighted(logs, weight, axis) * target).sum(axis)
        if reduction == "none":
            return loss  # type: ignore[no-any-return]
        return loss.sum() / (loss.numel() or math.nan) if reduction == "mean" else loss.sum()  # type: ignore[no-any-return]

    def _uniform(self, logs: Any, target: Any, weight: Any, ignore_index: int, reduction: str) -> Any:
        """Minus the sum over the classes, for label smoothing."""
        axis = class_axis(logs)
        known = (target != ignore_index).to(logs.dtype)
        loss = -_weighted(logs, weight, axis).sum(axis) * known
        if reduction != "mean":
            return reduce(loss, reduction)
        ones = logs.detach() * 0 - 1
        return loss.sum() / NLL(ones, target, weight, ignore_index, "sum").detach()

    def accepts(self, shape: Shape) -> bool:
        return 1 <= len(shape) <= 4 and 0 not in shape

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Classes or probabilities, every reduction, smoothing."""
        kwargs = reductions(draw)
        if draw.boolean():
            kwargs = {**kwargs, "label_smoothing": 0.2}
        if draw.boolean():
            return Call((x, draw.operand(tuple(x.shape), PROBABILITY)), kwargs)
        return Call((x, class_indices(draw, x)), kwargs)


class SmoothingError(RangeError):
    """A label smoothing outside [0, 1]."""


def _weighted(logs: Any, weight: Any, axis: int) -> Any:
    """Log-probabilities times the weights of their classes."""
    return logs if weight is None else logs * weight.reshape((-1,) + (1,) * (logs.ndim - axis - 1))


PICKED, NLL = PickedLoss(), NllLoss()

OPS: tuple[Op, ...] = (NLL, CrossEntropyLoss(), PICKED)
