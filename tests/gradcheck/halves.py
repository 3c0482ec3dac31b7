"""Right functions, at which digits go in many ways, and mistakes that are made in half precision alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradcheck.arguments import as_subject
from gradcheck.checks.narrow import narrow_gradients_agree
from gradcheck.verdict import Outcome

MAGNITUDES = (1e-2, 1e-1, 1.0, 10.0, 100.0)

Rule = Callable[..., Any]


def _layer_norm(library: Any, x: Any, y: Any) -> Any:
    centred = x - x.mean(-1, keepdim=True)
    return centred / ((centred * centred).mean(-1, keepdim=True) + 1e-5).sqrt()


def _softmax(library: Any, x: Any, y: Any) -> Any:
    e = (x - x.detach().amax(-1, keepdim=True)).exp()
    return e / e.sum(-1, keepdim=True)


def _gelu(library: Any, x: Any, y: Any) -> Any:
    return 0.5 * x * (1.0 + (0.7978845608 * (x + 0.044715 * x * x * x)).tanh())


def _product(library: Any, x: Any, y: Any) -> Any:
    out = x[0] * 0.0 + 1.0
    for k in range(50):
        out = out * (1.0 + 0.1 * x[k % x.shape[0]] / (1.0 + x[k % x.shape[0]].abs()))
    return out


def _recurrence(library: Any, x: Any, y: Any) -> Any:
    state = x[0]
    for k in range(20):
        state = (0.9 * state + 0.3 * x[k % x.shape[0]]).tanh()
    return state


def _network(library: Any, x: Any, y: Any) -> Any:
    hidden = (x @ y.transpose(0, 1) + 0.1).relu()
    return (hidden @ y).tanh()


RIGHT: dict[str, Rule] = {
    "square": lambda lib, x, y: x * x,
    "cube": lambda lib, x, y: x * x * x - 2.0 * x,
    "matmul of 64": lambda lib, x, y: x.repeat(1, 8) @ y.repeat(1, 8).transpose(0, 1),
    "layer norm": _layer_norm,
    "layer norm of the library": lambda lib, x, y: lib.nn.functional.layer_norm(x, (8,)),
    "softmax": _softmax,
    "softmax of the library": lambda lib, x, y: lib.softmax(x, -1),
    "log softmax": lambda lib, x, y: lib.nn.functional.log_softmax(x, -1),
    "logsumexp": lambda lib, x, y: lib.logsumexp(x, -1),
    "logsumexp by hand": lambda lib, x, y: x.exp().sum(-1).log(),
    "gelu": _gelu,
    "gelu of the library": lambda lib, x, y: lib.nn.functional.gelu(x),
    "variance": lambda lib, x, y: x.var(-1),
    "variance by squares": lambda lib, x, y: (x * x).mean(-1) - x.mean(-1) ** 2,
    "cumsum": lambda lib, x, y: x.cumsum(-1),
    "norm": lambda lib, x, y: (x * x).sum(-1).sqrt(),
    "saturated tanh": lambda lib, x, y: (3.0 * x).tanh(),
    "tanh behind a factor": lambda lib, x, y: (100.0 * x).tanh(),
    "exp": lambda lib, x, y: x.exp(),
    "exp of sums": lambda lib, x, y: (0.1 * x.sum(-1)).exp(),
    "sigmoid": lambda lib, x, y: x.sigmoid(),
    "log": lambda lib, x, y: (x.abs() + 0.1).log(),
    "division of near values": lambda lib, x, y: (x - 0.99 * x) / (y.abs() + 0.5),
    "quotient": lambda lib, x, y: x / (y * y + 0.1),
    "product of 50": _product,
    "recurrence": _recurrence,
    "network": _network,
    "relu of what cancels": lambda lib, x, y: (x * 0.1 * 3.0 - x * 0.3).relu(),
    "maximum of matmul": lambda lib, x, y: (x @ y.transpose(0, 1)).amax(-1),
    "sine": lambda lib, x, y: x.sin() * y.cos(),
    "rsqrt": lambda lib, x, y: (x * x + 1e-3) ** -0.5,
    "fourth root of a fourth power": lambda lib, x, y: ((x * x) * (x * x)).sqrt().sqrt(),
    "softplus": lambda lib, x, y: lib.nn.functional.softplus(x),
    "cosine similarity": lambda lib, x, y: (x * y).sum(-1) / ((x * x).sum(-1) * (y * y).sum(-1) + 1e-4).sqrt(),
}


def _scaled(factor: float) -> Rule:
    return lambda g: g * factor


def _one_entry(factor: float) -> Rule:
    def rule(g: Any) -> Any:
        changed = g.clone()
        changed[(-1,) * g.ndim] = g[(-1,) * g.ndim] * factor
        return changed

    return rule


WRONG: dict[str, Rule] = {
    "3 %": _scaled(1.03),
    "-3 %": _scaled(0.97),
    "1 %": _scaled(1.01),
    "another branch": lambda g: g * g,
    "half of it": _scaled(0.5),
    "one entry by 3 %": _one_entry(1.03),
    "one entry by 10 %": _one_entry(1.1),
    "one entry": _one_entry(0.0),
}


def planted(library: Any, dtype: str, rule: Rule) -> Rule:
    """The identity, with another gradient in one dtype."""
    narrow = getattr(library, dtype)

    class Planted(library.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 1.0

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return rule(g) if g.dtype == narrow else g * 1.0

    applied: Rule = Planted.apply
    return applied


def judged(adapter: Any, name: str, dtype: str, magnitude: float, seed: int, wrong: str = "") -> Outcome:
    """What GC702 says of one of `RIGHT`, with one of `WRONG` planted before it, called in `dtype`."""
    library = adapter.library
    random = np.random.default_rng([seed, *name.encode()])
    inputs = [
        library.tensor((random.standard_normal((5, 8)) * magnitude).tolist(), dtype=getattr(library, dtype))
        for _ in range(2)
    ]
    before = planted(library, dtype, WRONG[wrong]) if wrong else (lambda x: x)

    def function(x: Any, y: Any) -> Any:
        return RIGHT[name](library, before(x), y)

    return narrow_gradients_agree(as_subject(function, inputs, adapter, rtol=1e-6, seed=seed, name="f"))
