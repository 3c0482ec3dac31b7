"""Losses of two tensors of one shape, with PyTorch's reductions."""

from __future__ import annotations

import math
from typing import Any

from refengine import layout
from refengine.backends.base import Array, Namespace
from refengine.errors import RangeError
from refengine.layout import Shape
from refengine.op import Binary, Composite, Op
from refengine.operand import as_operand
from refengine.reducing import REDUCTIONS, check_reduction, check_shape, reduce, reductions
from refengine.spec import Call, Draw, Interval, Kink, Operand
from refengine.tensor import Tensor

MODERATE = Interval(-10.0, 10.0)
PROBABILITY = Interval(0.05, 0.95)
LOWEST_LOG, SMALLEST_VARIANCE = -100.0, 1e-12
"""PyTorch documentation, torch.nn.BCELoss: logarithms are clamped, so that loss and gradient stay finite. The second
number is that of PyTorch's gradient, found by asking for it at 0.
"""


class _PairLoss(Op):
    """A function of the difference of two tensors, reduced: write `value` and its derivative, `slope`."""

    group = "loss"
    form = "function"
    inputs = ("x", "y")
    spelling = ("input", "target")
    floating = True
    domains = (MODERATE, MODERATE)

    def bind(self, x: Shape, y: Shape, *, reduction: str = "mean", **width: float) -> dict[str, Any]:
        shape = layout.broadcast(x, y)
        count = (math.prod(shape) or math.nan) if check_reduction(self.name, reduction) == "mean" else 1
        return {"reduction": reduction, "count": count, "shape": shape, "width": self.checked(**width)}

    def checked(self) -> float:
        """The width of the loss's quadratic part, if it has one."""
        return 0.0

    def value(self, xp: Namespace, d: Array, width: float) -> Array:
        """The loss of a difference."""
        raise NotImplementedError

    def slope(self, xp: Namespace, d: Array, width: float) -> Array:
        """Its derivative."""
        raise NotImplementedError

    def forward(self, xp: Namespace, x: Array, y: Array, *, reduction: str, count: float, width: float) -> Array:
        value = self.value(xp, x - y, width)
        return value if reduction == "none" else xp.sum(value) / count

    def vjp_x(self, xp: Namespace, g: Array, x: Array, y: Array, *, count: float, width: float) -> Array:
        return g / count * self.slope(xp, x - y, width)

    def vjp_y(self, xp: Namespace, g: Array, x: Array, y: Array, *, count: float, width: float) -> Array:
        return g / -count * self.slope(xp, x - y, width)

    def accepts(self, shape: Shape) -> bool:
        return 0 not in shape

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Every reduction."""
        return Call((x, draw.operand(tuple(x.shape), MODERATE)), reductions(draw))


class MseLoss(_PairLoss):
    """Return the squared differences of x and y, reduced."""

    elsewhere = {"torch": "nn.functional.mse_loss"}

    def value(self, xp: Namespace, d: Array, width: float) -> Array:
        return d * d

    def slope(self, xp: Namespace, d: Array, width: float) -> Array:
        return d * 2


class L1Loss(Composite):
    """Return the absolute differences of x and y, reduced. The derivative at equal entries is 0."""

    group = "loss"
    form = "function"
    inputs = ("x", "y")
    spelling = ("input", "target")
    structure = "other"
    domains = (MODERATE, MODERATE)
    kinks = (Kink("tie"),)
    elsewhere = {"torch": "nn.functional.l1_loss"}

    def compose(self, x: Tensor, y: Tensor, *, reduction: str = "mean") -> Tensor:
        check_reduction(self.name, reduction)
        return reduce((as_operand(x, self.name) - as_operand(y, self.name)).abs(), reduction)

    def accepts(self, shape: Shape) -> bool:
        return 0 not in shape

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Every reduction."""
        return Call((x, draw.operand(tuple(x.shape), MODERATE)), reductions(draw))


class SmoothL1Loss(_PairLoss):
    """Return d**2 / (2 * beta) where the difference |d| < beta, else |d| - beta / 2, reduced."""

    name = "smooth_l1_loss"
    elsewhere = {"torch": "nn.functional.smooth_l1_loss"}

    def checked(self, beta: float = 1.0) -> float:
        if beta < 0:
            raise RangeError(f"smooth_l1_loss: expected beta >= 0, got {beta=}")
        return float(beta)

    def value(self, xp: Namespace, d: Array, width: float) -> Array:
        size = xp.abs(d)
        return size if not width else xp.where(xp.less(size, width), d * d * (0.5 / width), size - width / 2)

    def slope(self, xp: Namespace, d: Array, width: float) -> Array:
        return xp.sign(d) if not width else xp.where(xp.less(xp.abs(d), width), d / width, xp.sign(d))

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Every reduction and several widths."""
        call = super().sample(draw, x)
        return Call(call.args, {**call.kwargs, **draw.choice(({}, {"beta": 2.0}, {"beta": 0.5}))})


class HuberLoss(SmoothL1Loss):
    """Return d**2 / 2 where the difference |d| <= delta, else delta * (|d| - delta / 2), reduced."""

    name = "huber_loss"
    elsewhere = {"torch": "nn.functional.huber_loss"}

    def checked(self, delta: float = 1.0) -> float:
        if delta <= 0:
            raise RangeError(f"huber_loss: expected delta > 0, got {delta=}")
        return float(delta)

    def value(self, xp: Namespace, d: Array, width: float) -> Array:
        return super().value(xp, d, width) * width

    def slope(self, xp: Namespace, d: Array, width: float) -> Array:
        return super().slope(xp, d, width) * width

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Every reduction and several widths."""
        call = _PairLoss.sample(self, draw, x)
        return Call(call.args, {**call.kwargs, **draw.choice(({}, {"delta": 2.0}, {"delta": 0.5}))})


class CrossEntropyOfPair(Binary):
    """Return the loss of a probability x against a probability y, -y * log(x) - (1 - y) * log(1 - x), logs clamped."""

    name = "_binary_cross_entropy"
    group = ""
    floating = True
    inplace = False
    backward_name = "BinaryCrossEntropyBackward0"

    def forward(self, xp: Namespace, x: Array, y: Array) -> Array:
        return (y - 1) * xp.maximum(xp.log1p(-x), LOWEST_LOG) - y * xp.maximum(xp.log(x), LOWEST_LOG)

    def vjp_x(self, xp: Namespace, g: Array, x: Array, y: Array) -> Array:
        return g * (x - y) / xp.maximum(x * (1 - x), SMALLEST_VARIANCE)

    def vjp_y(self, xp: Namespace, g: Array, x: Array) -> Array:
        return g * (xp.log1p(-x) - xp.log(x))


class BinaryCrossEntropy(Composite):
    """Return the loss of probabilities x against probabilities `target`, times `weight`, reduced.

    Logarithms count as -100 below that, and the derivative at 0 and 1 is finite.

    Raises
    ------
    TargetError
        If the target's shape is not x's.
    RangeError
        If an entry of x lies outside [0, 1].
    """

    group = "loss"
    form = "function"
    structure = "other"
    domains = (PROBABILITY, PROBABILITY)
    elsewhere = {"torch": "nn.functional.binary_cross_entropy"}

    def compose(self, x: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean") -> Tensor:
        check_reduction(self.name, reduction)
        check_shape(self.name, x, target)
        host = x.backend.to_host(x.array)
        if not ((host >= 0) & (host <= 1)).all():
            raise RangeError(
                "binary_cross_entropy: expected every entry of x between 0 and 1; apply sigmoid first, or use "
                "binary_cross_entropy_with_logits"
            )
        loss: Any = OF_PAIR(x, target)
        return reduce(loss if weight is None else loss * weight, reduction)

    def accepts(self, shape: Shape) -> bool:
        return 0 not in shape

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Every reduction. Weights are constants, and have their own tests."""
        return Call((x, draw.operand(tuple(x.shape), PROBABILITY)), reductions(draw))


class Logistic(Binary):
    """Return the loss of a logit x against a probability y, -y * log(sigmoid(x)) - (1 - y) * log(1 - sigmoid(x))."""

    name = "_logistic"
    group = ""
    floating = True
    inplace = False
    backward_name = "BinaryCrossEntropyWithLogitsBackward0"

    def forward(self, xp: Namespace, x: Array, y: Array) -> Array:
        return xp.maximum(x, 0) - x * y + xp.log1p(xp.exp(-xp.abs(x)))

    def vjp_x(self, xp: Namespace, g: Array, x: Array, y: Array) -> Array:
        return g * (xp.expit(x) - y)

    def vjp_y(self, xp: Namespace, g: Array, x: Array) -> Array:
        return -g * x


class BinaryCrossEntropyWithLogits(Composite):
    """Return the loss of logits x against probabilities `target`, reduced.

    `weight` is a factor of every entry, `pos_weight` one of the part that the target weighs.
    """

    group = "loss"
    form = "function"
    structure = "other"
    domains = (MODERATE, PROBABILITY)
    elsewhere = {"torch": "nn.functional.binary_cross_entropy_with_logits"}

    def compose(
        self,
        x: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> Tensor:
        check_reduction(self.name, reduction)
        check_shape(self.name, x, target)
        loss: Any = LOGISTIC(x, target)
        if pos_weight is not None:
            loss = loss + (pos_weight - 1) * target * LOGISTIC(x, 1)
        return reduce(loss if weight is None else loss * weight, reduction)

    def accepts(self, shape: Shape) -> bool:
        return 0 not in shape

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Every reduction. Weights are constants, and have their own tests."""
        return Call((x, draw.operand(tuple(x.shape), PROBABILITY)), reductions(draw))


class KlDiv(Composite):
    """Return target * (log(target) - x) for log-probabilities x, reduced; `log_target`: the target is one too."""

    group = "loss"
    form = "function"
    structure = "other"
    domains = (MODERATE, PROBABILITY)
    elsewhere = {"torch": "nn.functional.kl_div"}

    def compose(self, x: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Tensor:
        check_reduction(self.name, reduction, (*REDUCTIONS, "batchmean"))
        loss = target.exp() * (target - x) if log_target else target.xlogy(target) - target * x
        if reduction == "batchmean":
            return loss.sum() / x.shape[0]  # type: ignore[no-any-return]
        return reduce(loss, reduction)

    def accepts(self, shape: Shape) -> bool:
        return 0 not in shape

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Every reduction, both kinds of target."""
        kwargs: dict[str, Any] = {"reduction": draw.choice(("sum", "none", "batchmean") if x.ndim else ("sum", "none"))}
        if draw.boolean():
            kwargs = {**kwargs, "log_target": True}
        return Call((x, draw.operand(tuple(x.shape), PROBABILITY)), kwargs)


LOGISTIC, OF_PAIR = Logistic(), CrossEntropyOfPair()

OPS: tuple[Op, ...] = (
    MseLoss(), L1Loss(), SmoothL1Loss(), HuberLoss(), BinaryCrossEntropy(), BinaryCrossEntropyWithLogits(), KlDiv(),
    LOGISTIC, OF_PAIR,
)  # fmt: skip
