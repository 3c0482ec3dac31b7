"""The ops that networks are made of, as functions of tensors alone; each is declared in refengine/ops."""

from __future__ import annotations

from refengine.errors import ShapeError
from refengine.functions import addmm
from refengine.functions import avg_pool2d as avg_pool2d
from refengine.functions import batch_norm as batch_norm
from refengine.functions import binary_cross_entropy as binary_cross_entropy
from refengine.functions import binary_cross_entropy_with_logits as binary_cross_entropy_with_logits
from refengine.functions import conv2d as conv2d
from refengine.functions import cross_entropy as cross_entropy
from refengine.functions import dropout as dropout
from refengine.functions import elu as elu
from refengine.functions import embedding as embedding
from refengine.functions import gelu as gelu
from refengine.functions import glu as glu
from refengine.functions import hardtanh as hardtanh
from refengine.functions import huber_loss as huber_loss
from refengine.functions import kl_div as kl_div
from refengine.functions import l1_loss as l1_loss
from refengine.functions import layer_norm as layer_norm
from refengine.functions import leaky_relu as leaky_relu
from refengine.functions import log_softmax as log_softmax
from refengine.functions import logsigmoid as logsigmoid
from refengine.functions import max_pool2d as max_pool2d
from refengine.functions import mse_loss as mse_loss
from refengine.functions import nll_loss as nll_loss
from refengine.functions import relu as relu
from refengine.functions import relu6 as relu6
from refengine.functions import selu as selu
from refengine.functions import sigmoid as sigmoid
from refengine.functions import silu as silu
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
