"""Losses as modules."""

from __future__ import annotations

from typing import ClassVar

from refengine.nn import functional
from refengine.nn.module import Module
from refengine.reducing import REDUCTIONS, check_reduction
from refengine.tensor import Tensor


class _Loss(Module):
    """What all losses have: how the values of a batch become one.

    Raises
    ------
    RangeError
        If `reduction` is none of "none", "mean", "sum".
    """

    known: ClassVar[tuple[str, ...]] = REDUCTIONS

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = check_reduction(type(self).__name__, reduction, self.known)


class MSELoss(_Loss):
    """The squared difference; reduction is "mean", "sum" or "none"."""

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Shapes are equal."""
        return functional.mse_loss(x, target, reduction=self.reduction)


class L1Loss(_Loss):
    """The absolute difference; reduction is "mean", "sum" or "none"."""

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Shapes are equal."""
        return functional.l1_loss(x, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """d**2 / (2 * beta) where the difference |d| < beta, else |d| - beta / 2; reduction as MSELoss's."""

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Shapes are equal."""
        return functional.smooth_l1_loss(x, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """d**2 / 2 where the difference |d| <= delta, else delta * (|d| - delta / 2); reduction as MSELoss's."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Shapes are equal."""
        return functional.huber_loss(x, target, reduction=self.reduction, delta=self.delta)


class BCELoss(_Loss):
    """The cross entropy of probabilities against probabilities; apply sigmoid first, or use `BCEWithLogitsLoss`.

    Parameters
    ----------
    weight : Tensor, optional
        A factor of every entry, which broadcasts.
    reduction : str
        "mean", "sum" or "none".
    """

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Shapes are equal, entries between 0 and 1."""
        return functional.binary_cross_entropy(x, target, weight=self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """The cross entropy of sigmoid(x) against probabilities, without overflow.

    Parameters
    ----------
    weight : Tensor, optional
        A factor of every entry, which broadcasts.
    reduction : str
        "mean", "sum" or "none".
    pos_weight : Tensor, optional
        A factor of the part that the target weighs, one a class.
    """

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean", pos_weight: Tensor | None = None) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Shapes are equal; x is any number."""
        return functional.binary_cross_entropy_with_logits(
            x, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class KLDivLoss(_Loss):
    """The divergence target * (log(target) - x) of log-probabilities x from probabilities.

    Parameters
    ----------
    reduction : str
        "batchmean" (the divergence), "mean", "sum" or "none".
    log_target : bool
        Whether the target is log-probabilities too.
    """

    known = (*REDUCTIONS, "batchmean")

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Shapes are equal."""
        return functional.kl_div(x, target, reduction=self.reduction, log_target=self.log_target)


class NLLLoss(_Loss):
    """Minus the log-probability of the target class.

    Parameters
    ----------
    weight : Tensor, optional
        One factor a class; "mean" divides by their sum.
    ignore_index : int
        Targets of this value do not count.
    reduction : str
        "mean", "sum" or "none".
    """

    def __init__(self, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Log-probabilities (N, C, ...) and class indices (N, ...)."""
        return functional.nll_loss(x, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class CrossEntropyLoss(NLLLoss):
    """`NLLLoss` of log_softmax: takes unnormalised scores; targets are class indices or probabilities.

    Parameters
    ----------
    label_smoothing : float
        How much of each target is spread evenly over the classes; the others are NLLLoss's.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, ignore_index, reduction)
        self.label_smoothing = label_smoothing

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Scores (N, C, ...) and targets (N, ...) or (N, C, ...)."""
        return functional.cross_entropy(
            x,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )
