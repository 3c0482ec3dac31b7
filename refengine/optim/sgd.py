"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from refengine.optim.optimizer import Group, Optimizer, OptimizerError, check_range, speed_options, values
from refengine.tensor import Tensor


class SGD(Optimizer):
    """Moves parameters against the gradient, with momentum if wanted.

    Parameters
    ----------
    params : iterable
        Tensors, (name, tensor) pairs, or dicts with "params" and options.
    lr : float
        The length of a step.
    momentum, dampening : float
        The step is ``b = momentum * b + (1 - dampening) * g`` in place of the gradient g; b is g at first.
    weight_decay : float
        That part of the parameter is added to its gradient.
    nesterov : bool
        The step is ``g + momentum * b`` instead (Sutskever et al. 2013).
    maximize : bool
        Move with the gradient instead of against it.
    foreach, differentiable, fused
        PyTorch's choices of an implementation; there is one here.

    Raises
    ------
    OptimizerError
        If an option is out of its range.

    Examples
    --------
    >>> import refengine as re
    >>> x = re.tensor([4.0], requires_grad=True)
    >>> optimizer = re.optim.SGD([x], lr=0.25)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x.tolist()
    [2.0]
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_range("SGD", lambda value: value >= 0, lr=lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise OptimizerError("SGD: nesterov needs a momentum and no dampening")
        options = speed_options(foreach=foreach, differentiable=differentiable, fused=fused)
        own = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        super().__init__(params, {**own, "nesterov": nesterov, "maximize": maximize, **options})

    def update(self, param: Any, grad: Any, state: Group, group: Group) -> None:
        """One step of one parameter."""
        lr, weight_decay, momentum = values((group["lr"], group["weight_decay"], group["momentum"]))
        grad = -grad if group["maximize"] else grad
        if weight_decay:
            grad = grad + param * weight_decay
        if momentum:
            buffer = state.get("momentum_buffer")
            if buffer is None:
                buffer = state["momentum_buffer"] = grad.detach().clone()
            else:
                buffer.mul_(momentum).add_(grad * (1 - group["dampening"]))
            grad = grad + buffer * momentum if group["nesterov"] else buffer
        param.sub_(grad * lr)
