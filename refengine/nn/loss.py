"""Losses as modules."""

from __future__ import annotations

from refengine.errors import ArgumentError
from refengine.nn import functional
from refengine.nn.module import Module
from refengine.tensor import Tensor

REDUCTIONS = ("none", "mean", "sum")


class _Loss(Module):
    """What all losses have: how the values of a batch become one.

    Raises
    ------
    ArgumentError
        If `reduction` is none of "none", "mean", "sum".
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ReductionError(f"reduction: expected one of {', '.join(REDUCTIONS)}, got {reduction!r}")
        self.reduction = reduction


class ReductionError(ArgumentError, ValueError):
    """A reduction that there is not."""


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
