"""Batch normalization, with running statistics as buffers."""

from __future__ import annotations

from typing import ClassVar

from refengine import creation, dtypes
from refengine.creation import Device, DType
from refengine.errors import ShapeError
from refengine.nn import functional, init
from refengine.nn.module import Module
from refengine.nn.parameter import Parameter
from refengine.tensor import Tensor


class RankError(ShapeError, ValueError):
    """An input with too few or too many axes."""


class _BatchNorm(Module):
    """Normalizes each feature over the batch to mean 0 and variance 1, then scales and shifts.

    In training the batch's own statistics are used (variance without Bessel's correction) and the running ones move
    towards them by `momentum` (variance with it); in evaluation the running ones are used.

    Parameters
    ----------
    num_features : int
        C, the size of the second axis.
    eps : float
        Added to the variance.
    momentum : float or None
        None makes the running statistics a plain average of all batches.
    affine, bias : bool
        Whether there are a weight (ones at first) and, with it, a bias (zeros).
    track_running_stats : bool
        Without, the batch's statistics are used in evaluation too.
    """

    ranks: ClassVar[tuple[int, ...]] = ()
    momentum: float | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Device = None,
        dtype: DType = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        ones = creation.ones(num_features, device=device, dtype=dtype)
        zeros = creation.zeros_like(ones)
        self.register_parameter("weight", Parameter(ones) if affine else None)
        self.register_parameter("bias", Parameter(zeros) if affine and bias else None)
        count = creation.tensor(0, dtype=dtypes.int64, device=device)
        self.register_buffer("running_mean", creation.zeros_like(ones) if track_running_stats else None)
        self.register_buffer("running_var", creation.ones_like(ones) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", count if track_running_stats else None)

    def reset_running_stats(self) -> None:
        """Running mean to zeros, variance to ones, count to zero."""
        if self.num_batches_tracked is not None:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.constant_(self.num_batches_tracked, 0)

    def reset_parameters(self) -> None:
        """Weight to ones, bias to zeros, and `reset_running_stats`."""
        self.reset_running_stats()
        if self.affine:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The shape stays.

        Raises
        ------
        RankError
            If the input has another number of axes than it should.
        ChannelError
            If training sees one value a feature.
        """
        if x.ndim not in self.ranks:
            wanted = " or ".join(f"{rank}D" for rank in self.ranks)
            raise RankError(f"{type(self).__name__}: expected {wanted} input, got shape {tuple(x.shape)}")
        momentum = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            momentum = 1.0 / self.num_batches_tracked.item() if momentum is None else momentum
        uses_batch = self.training or self.running_mean is None
        tracked = not self.training or self.track_running_stats
        mean, var = (self.running_mean, self.running_var) if tracked else (None, None)
        return functional.batch_norm(
            x, mean, var, self.weight, self.bias, uses_batch, 0.0 if momentum is None else momentum, self.eps
        )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Normalizes each feature of (N, C) or (N, C, L) over all axes but the second; see `BatchNorm2d` for options."""

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Normalizes each channel of (N, C, H, W) over all axes but the second to mean 0 and variance 1, scales and shifts.

    In training the batch's own statistics are used and move the running ones by `momentum` (None: a plain average of
    all batches); in evaluation the running ones are used, or the batch's without `track_running_stats`. `eps` is added
    to the variance; `affine` gives a weight and, with `bias`, a bias.
    """

    ranks = (4,)
