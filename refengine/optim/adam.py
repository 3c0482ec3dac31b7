"""Adam and AdamW: steps scaled by running moments of the gradient."""

from __future__ import annotations

import math
from typing import Any

from refengine import creation, dtypes
from refengine.errors import UnsupportedError
from refengine.optim.optimizer import Group, Optimizer, check_range, speed_options, values
from refengine.tensor import Tensor


class Adam(Optimizer):
    """Moves each entry of a parameter by about `lr`, whatever its gradient's size (Kingma and Ba 2015, algorithm 1).

    Parameters
    ----------
    params : iterable
        Tensors, (name, tensor) pairs, or dicts with "params" and options.
    lr : float
        The size of a step.
    betas : (float, float)
        What is kept of the running means of the gradient and of its square at each step.
    eps : float
        Added to the root of the second moment.
    weight_decay : float
        That part of the parameter is added to its gradient, or, with `decoupled_weight_decay`, taken off the parameter
        times `lr`.
    amsgrad : bool
        Use the largest second moment so far (Reddi et al. 2018).
    maximize : bool
        Move with the gradient instead of against it.
    foreach, capturable, differentiable, fused
        PyTorch's choices of an implementation; there is one here.

    Raises
    ------
    OptimizerError
        If an option is out of its range.
    UnsupportedError
        At a step of complex parameters.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        name = type(self).__name__
        check_range(name, lambda value: value >= 0, lr=lr, eps=eps, weight_decay=weight_decay)
        check_range(name, lambda value: 0 <= value < 1, beta1=betas[0], beta2=betas[1])
        options = speed_options(foreach=foreach, capturable=capturable, differentiable=differentiable, fused=fused)
        own = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        super().__init__(
            params, {**own, "maximize": maximize, **options, "decoupled_weight_decay": decoupled_weight_decay}
        )

    def update(self, param: Any, grad: Any, state: Group, group: Group) -> None:
        """One step of one parameter."""
        if param.is_complex():
            raise UnsupportedError(f"{type(self).__name__}: complex parameters are not offered; use SGD")
        if not state:
            self._begin(param, state, group)
        lr, weight_decay, beta1, beta2 = values((group["lr"], group["weight_decay"], *group["betas"]))
        state["step"].add_(1)
        grad = -grad if group["maximize"] else grad
        if weight_decay and group["decoupled_weight_decay"]:
            param.mul_(1 - lr * weight_decay)
        elif weight_decay:
            grad = grad + param * weight_decay
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean.add_((grad - mean) * (1 - beta1))
        square.mul_(beta2).add_(grad * grad * (1 - beta2))
        if group["amsgrad"]:
            square = state["max_exp_avg_sq"].copy_(state["max_exp_avg_sq"].maximum(square))
        count = state["step"].item()
        spread = square.sqrt() / math.sqrt(1 - beta2**count) + group["eps"]
        param.sub_(mean / spread * (lr / (1 - beta1**count)))

    def _begin(self, param: Any, state: Group, group: Group) -> None:
        """Moments of zero."""
        wide = dtypes.default() is dtypes.float64
        state["step"] = creation.tensor(0.0, dtype=dtypes.float64 if wide else dtypes.float32)
        state["exp_avg"] = creation.zeros_like(param)
        state["exp_avg_sq"] = creation.zeros_like(param)
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = creation.zeros_like(param)


class AdamW(Adam):
    """Adam whose weight decay is not part of the gradient (Loshchilov and Hutter 2019); options as Adam's."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )
