"""The ops that networks are made of, as functions of tensors alone; each is declared in refengine/ops."""

from __future__ import annotations

from refengine import functions as ops
from refengine.errors import ShapeError
from refengine.functions import addmm
from refengine.functions import avg_pool2d as avg_pool2d
from refengine.functions import batch_norm as batch_norm
from refengine.functions import binary_cross_entropy as binary_cross_entropy
from refengine.functions import binary_cross_entropy_with_logits as binary_cross_entropy_with_logits
from refengine.functions import conv2d as conv2d
from refengine.functions import cross_entropy as cross_entropy
from refengine.functions import dropout as dropout
from refengine.functions import embedding as embedding
from refengine.functions import gelu as gelu
from refengine.functions import glu as glu
from refengine.functions import huber_loss as huber_loss
from refengine.functions import kl_div as kl_div
from refengine.functions import l1_loss as l1_loss
from refengine.functions import layer_norm as layer_norm
from refengine.functions import log_softmax as log_softmax
from refengine.functions import logsigmoid as logsigmoid
from refengine.functions import max_pool2d as max_pool2d
from refengine.functions import mse_loss as mse_loss
from refengine.functions import nll_loss as nll_loss
from refengine.functions import prelu as prelu
from refengine.functions import sigmoid as sigmoid
from refengine.functions import smooth_l1_loss as smooth_l1_loss
from refengine.functions import softmax as softmax
from refengine.functions import softmin as softmin
from refengine.functions import softplus as softplus
from refengine.functions import softsign as softsign
from refengine.functions import tanh as tanh
from refengine.tensor import Tensor


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``input @ weight.T + bias``.

    Parameters
    ----------
    input : Tensor, shape (..., in_features)
    weight : Tensor, shape (out_features, in_features) or (in_features,)
    bias : Tensor, shape (out_features,), optional

    Raises
    ------
    ShapeError
        If the last axis does not fit the weight.
    """
    if not input.ndim or weight.ndim not in (1, 2) or input.shape[-1] != weight.shape[-1]:
        raise ShapeError(
            "linear: expected an input of shape (..., in_features) and a weight of shape (out_features, in_features), "
            f"got {tuple(input.shape)} and {tuple(weight.shape)}"
        )
    if bias is not None and input.ndim == weight.ndim == 2:
        return addmm(bias, input, weight.t())
    product = input.matmul(weight.t())
    return product if bias is None else product + bias


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return max(x, 0), written into x if `inplace`."""
    return input.relu_() if inplace else ops.relu(input)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """Return min(max(x, 0), 6), written into x if `inplace`."""
    return input.relu6_() if inplace else ops.relu6(input)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return x / (1 + e**-x), written into x if `inplace`."""
    return input.silu_() if inplace else ops.silu(input)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return the self-normalizing scaled exponential linear unit, written into x if `inplace`."""
    return input.selu_() if inplace else ops.selu(input)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """Return x limited to [min_val, max_val], written into x if `inplace`."""
    return input.hardtanh_(min_val, max_val) if inplace else ops.hardtanh(input, min_val, max_val)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Return x where x > 0, else negative_slope * x, written into x if `inplace`."""
    return input.leaky_relu_(negative_slope) if inplace else ops.leaky_relu(input, negative_slope)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return x where x > 0, else alpha * (e**x - 1), written into x if `inplace`."""
    return input.elu_(alpha) if inplace else ops.elu(input, alpha)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return alpha * (e**(x / alpha) - 1) where x <= 0, else x, written into x if `inplace`."""
    return input.celu_(alpha) if inplace else ops.celu(input, alpha)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return x * tanh(log(1 + e**x)), written into x if `inplace`."""
    return input.mish_() if inplace else ops.mish(input)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return x times x / 6 + 1 / 2 limited to [0, 1], written into x if `inplace`."""
    return input.hardswish_() if inplace else ops.hardswish(input)
