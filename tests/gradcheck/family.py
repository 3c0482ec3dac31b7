"""Functions with right and wrong backward passes, in methods that every engine's tensors have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck.program import Array

Rule = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Member:
    """One function: how inputs are drawn, the forward pass, the right backward pass and wrong ones by name."""

    name: str
    draw: Callable[[np.random.Generator], tuple[Array, ...]]
    forward: Rule
    right: Rule
    wrong: dict[str, Rule]


def made(base: type, forward: Rule, backward: Rule, name: str = "Made") -> Any:
    """A subclass of an engine's Function with these two passes."""

    def run(ctx: Any, *inputs: Any) -> Any:
        ctx.save_for_backward(*inputs)
        return forward(*inputs)

    def pull(ctx: Any, g: Any) -> Any:
        return backward(g, *ctx.saved_tensors)

    return type(name, (base,), {"forward": staticmethod(run), "backward": staticmethod(pull)})


def _one(*shape: int) -> Callable[[np.random.Generator], tuple[Array, ...]]:
    return lambda random: (random.standard_normal(shape),)


def _two(first: tuple[int, ...], second: tuple[int, ...]) -> Callable[[np.random.Generator], tuple[Array, ...]]:
    return lambda random: (random.standard_normal(first), random.standard_normal(second))


def _normalized(x: Any) -> tuple[Any, Any]:
    centred = x - x.mean(-1, keepdim=True)
    scale = ((centred * centred).mean(-1, keepdim=True) + 1e-5) ** -0.5
    return centred * scale, scale


def _layer_norm(g: Any, x: Any) -> Any:
    y, scale = _normalized(x)
    return (g - g.mean(-1, keepdim=True) - y * (g * y).mean(-1, keepdim=True)) * scale


def _layer_norm_without_a_term(g: Any, x: Any) -> Any:
    y, scale = _normalized(x)
    return (g - y * (g * y).mean(-1, keepdim=True)) * scale


def _layer_norm_a_constant_scale(g: Any, x: Any) -> Any:
    _, scale = _normalized(x)
    return (g - g.mean(-1, keepdim=True)) * scale


def _softmax(x: Any) -> Any:
    e = (x - x.detach().amax(-1, keepdim=True)).exp()
    return e / e.sum(-1, keepdim=True)


def _cross_entropy(x: Any, t: Any) -> Any:
    return -(_softmax(x).log() * t).sum(-1).mean()


def _cross_entropy_gradient(g: Any, x: Any, t: Any) -> tuple[Any, Any]:
    p = _softmax(x)
    rows = x.shape[0]
    return g * (p * t.sum(-1, keepdim=True) - t) / rows, -g * p.log() / rows


FAMILY = (
    Member(
        "square", _one(3, 4), lambda x: x * x, lambda g, x: 2 * g * x,
        {"factor": lambda g, x: g * x, "percent": lambda g, x: 2.02 * g * x},
    ),
    Member(
        "sine", _one(12), lambda x: x.sin(), lambda g, x: g * x.cos(),
        {"sign": lambda g, x: -g * x.cos(), "percent": lambda g, x: 1.01 * g * x.cos()},
    ),
    Member(
        "matmul", _two((3, 3), (3, 3)), lambda a, b: a @ b, lambda g, a, b: (g @ b.mT, a.mT @ g),
        {
            "transposed": lambda g, a, b: (g @ b, a.mT @ g),
            "swapped": lambda g, a, b: (g @ b.mT, (a.mT @ g).mT),
            "percent": lambda g, a, b: (g @ b.mT, 1.01 * (a.mT @ g)),
        },
    ),
    Member(
        "layer_norm", _one(4, 8), lambda x: _normalized(x)[0], _layer_norm,
        {"term": _layer_norm_without_a_term, "constant": _layer_norm_a_constant_scale},
    ),
    Member(
        "cross_entropy",
        lambda random: (random.standard_normal((5, 7)), np.eye(7)[random.integers(0, 7, 5)]),
        _cross_entropy, _cross_entropy_gradient,
        {"mean": lambda g, x, t: (5 * _cross_entropy_gradient(g, x, t)[0], _cross_entropy_gradient(g, x, t)[1])},
    ),
    Member(
        "relu", _one(4, 5), lambda x: x * (x > 0), lambda g, x: g * (x > 0),
        {"everything": lambda g, x: g * 1, "half": lambda g, x: 0.5 * g * (x > 0)},
    ),
    Member(
        "exp_of_sum", _one(3, 4), lambda x: x.sum(-1).exp(),
        lambda g, x: (g * x.sum(-1).exp())[:, None] + 0 * x,
        {"twice": lambda g, x: (2 * g * x.sum(-1).exp())[:, None] + 0 * x,
         "percent": lambda g, x: 1.01 * (g * x.sum(-1).exp())[:, None] + 0 * x},
    ),
    Member(
        "large",
        lambda random: (100.0 + random.standard_normal((2, 6)),),
        lambda x: x * x - x, lambda g, x: g * (2 * x - 1),
        {"half": lambda g, x: g * x},
    ),
)  # fmt: skip
