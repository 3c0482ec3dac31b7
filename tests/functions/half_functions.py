"""Functions as they are written for half precision: plain, or with float32 inside; right, and wrong in two ways."""

from __future__ import annotations

from typing import Any

import torch

from tests.functions.observed import judge


def _layer_norm(x: Any, g: Any = None) -> Any:
    scale = (x.var(-1, unbiased=False, keepdim=True) + 1e-5).rsqrt()
    y = (x - x.mean(-1, keepdim=True)) * scale
    if g is None:
        return y
    return (g - g.mean(-1, keepdim=True) - y * (g * y).mean(-1, keepdim=True)) * scale


def _softmax(x: Any, g: Any = None) -> Any:
    y = x.softmax(-1)
    return y if g is None else y * (g - (g * y).sum(-1, keepdim=True))


def _gelu(x: Any, g: Any = None) -> Any:
    normal = 0.5 * (1.0 + torch.erf(x * 0.7071067811865476))
    return x * normal if g is None else g * (normal + x * torch.exp(-0.5 * x * x) * 0.3989422804014327)


def _tanh(x: Any, g: Any = None) -> Any:
    y = x.tanh()
    return y if g is None else g * (1.0 - y * y)


def _norm(x: Any, g: Any = None) -> Any:
    y = (x * x).sum(-1, keepdim=True).sqrt()
    return y if g is None else g * x / y


def _square(x: Any, g: Any = None) -> Any:
    return x * x if g is None else 2.0 * g * x


FORMULAS = {
    "layer norm": _layer_norm,
    "softmax": _softmax,
    "gelu": _gelu,
    "tanh": _tanh,
    "norm": _norm,
    "square": _square,
}
NAMES = tuple(FORMULAS)
KINDS = ("right", "2 %", "half alone")


def made(name: str, inside: bool, kind: str) -> Any:
    """``apply`` of a Function."""
    formula = FORMULAS[name]

    def off(dtype: Any) -> float:
        return 1.02 if kind == "2 %" or (kind == "half alone" and dtype.itemsize == 2) else 1.0

    class Made(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return formula(x.float()).to(x.dtype) if inside else formula(x)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            found = formula(x.float(), g.float()).to(x.dtype) if inside else formula(x, g)
            return found * off(x.dtype)

    return Made.apply


def judged(name: str, dtype: Any, inside: bool, kind: str, seed: int) -> Any:
    """The result for a call of it at a few ordinary numbers."""
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed)).to(dtype).requires_grad_()
    return judge(lambda: made(name, inside, kind)(x), seed=seed)
