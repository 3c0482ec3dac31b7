"""The ops that a graph may use, spelled for each library that runs it: NumPy, refengine, PyTorch, JAX, HIPS autograd.

An op takes its operands, which are tensors of at most one axis, and then its constant if it has one. NumPy's spelling
has no gradients; it is what graphs are drawn with, and the cheapest curve.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

NAMES = ("refengine", "torch", "jax", "autograd")
PACKAGES = {"refengine": "refengine", "torch": "torch", "jax": "jax", "autograd": "autograd"}

Op = Callable[..., Any]

# Spelled alike in refengine, PyTorch and NumPy's namespace but for the differences below.
_PLAIN = (
    "sin", "cos", "tanh", "exp", "expm1", "sinh", "cosh", "log", "log1p", "sqrt", "square", "reciprocal", "logaddexp",
    "maximum", "minimum", "abs",
)  # fmt: skip
_INVERSE = ("asin", "acos", "atan", "asinh", "acosh", "atanh", "atan2")


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """One library: its ops by name, how arrays become tensors and come back, and how a gradient is distorted.

    Attributes
    ----------
    name : str
    ops : mapping of str to callable
    tensor : callable
        A float64 array to a tensor (to a leaf that requires grad where the library has such).
    constant : callable
        An array to a tensor that is not differentiated.
    array : callable
        A tensor to an array.
    scaled : callable
        Factor to the identity whose gradient is multiplied by it.
    """

    name: str
    ops: Mapping[str, Op]
    tensor: Callable[[np.ndarray], Any]
    constant: Callable[[np.ndarray], Any]
    array: Callable[[Any], np.ndarray]
    scaled: Callable[[Any], Op]


def is_installed(name: str) -> bool:
    """Whether the library can be imported."""
    return importlib.util.find_spec(PACKAGES[name]) is not None


@cache
def library(name: str) -> Library:
    """The library of that name; imports it."""
    made: dict[str, Callable[[], Library]] = {
        "numpy": _numpy, "refengine": _refengine, "torch": _torch, "jax": _jax, "autograd": _autograd,
    }  # fmt: skip
    return made[name]()


def _common(xp: Any) -> dict[str, Op]:
    """What operators and indexing spell."""
    return {
        "add": lambda x, y: x + y,
        "sub": lambda x, y: x - y,
        "mul": lambda x, y: x * y,
        "div": lambda x, y: x / y,
        "scale": lambda x, c: x * c,
        "shift": lambda x, c: x + c,
        "power": lambda x, p: x**p,
        "pow": lambda x, y: x**y,
        "matvec": lambda x, c: c @ x,
    } | {name: getattr(xp, name) for name in _PLAIN}


def _torchlike(xp: Any, functional: Any) -> dict[str, Op]:
    """The ops in PyTorch's spelling."""
    return _common(xp) | {
        **{name: getattr(xp, name) for name in (*_INVERSE, "sigmoid", "erf", "erfc", "lgamma", "hypot", "xlogy")},
        "relu": functional.relu,
        "leaky_relu": functional.leaky_relu,
        "elu": functional.elu,
        "logsigmoid": functional.logsigmoid,
        "clamp": lambda x, c: xp.clamp(x, c[0], c[1]),
        "softmax": lambda x: xp.softmax(x, 0),
        "log_softmax": lambda x: xp.log_softmax(x, 0),
        "logsumexp": lambda x: xp.logsumexp(x, 0),
        "sum": lambda x: x.sum(),
        "mean": lambda x: x.mean(),
        "cumsum": lambda x: xp.cumsum(x, 0),
        "norm": lambda x: xp.norm(x),
        "amax": lambda x: xp.amax(x, 0),
        "amin": lambda x: xp.amin(x, 0),
    }


def _numpylike(xp: Any, special: Any) -> dict[str, Op]:
    """The ops in NumPy's spelling; those that NumPy lacks are made of others."""
    return _common(xp) | {
        **{name: getattr(xp, name.replace("a", "arc", 1)) for name in _INVERSE},
        "sigmoid": special.expit,
        "erf": special.erf,
        "erfc": special.erfc,
        "lgamma": special.gammaln,
        "hypot": lambda x, y: xp.sqrt(x * x + y * y),
        "relu": lambda x: xp.maximum(x, 0.0),
        "leaky_relu": lambda x, slope: xp.where(x > 0.0, x, slope * x),
        "elu": lambda x, alpha: xp.where(x > 0.0, x, alpha * xp.expm1(xp.where(x > 0.0, 0.0, x))),
        "logsigmoid": lambda x: -xp.logaddexp(0.0, -x),
        "clamp": lambda x, c: xp.clip(x, c[0], c[1]),
        "softmax": lambda x: xp.exp(x - special.logsumexp(x)),
        "log_softmax": lambda x: x - special.logsumexp(x),
        "logsumexp": special.logsumexp,
        "sum": xp.sum,
        "mean": xp.mean,
        "cumsum": xp.cumsum,
        "norm": lambda x: xp.sqrt(xp.sum(x * x)),
        "amax": xp.max,
        "amin": xp.min,
    }


def _numpy() -> Library:
    import scipy.special as special

    def array(values: Any) -> np.ndarray:
        return np.asarray(values, dtype=np.float64)

    return Library(
        "numpy", _numpylike(np, special) | {"xlogy": special.xlogy}, array, array, array, lambda factor: array
    )


def _refengine() -> Library:
    import refengine
    from refengine.autograd import Function

    return Library(
        "refengine",
        _torchlike(refengine, refengine),
        lambda values: refengine.tensor(values).requires_grad_(),
        refengine.tensor,
        lambda tensor: np.asarray(tensor.detach().numpy()),
        lambda factor: _function(Function, factor, refengine.tensor),
    )


def _torch() -> Library:
    import torch

    torch.set_num_threads(1)

    def leaf(values: np.ndarray) -> Any:
        return torch.tensor(values, dtype=torch.float64).requires_grad_()

    return Library(
        "torch",
        _torchlike(torch, torch.nn.functional),
        leaf,
        lambda values: torch.tensor(values, dtype=torch.float64),
        lambda tensor: np.asarray(tensor.detach().numpy()),
        lambda factor: _function(torch.autograd.Function, factor, torch.tensor),
    )


def _function(base: Any, factor: Any, constant: Callable[[Any], Any]) -> Op:
    """The identity as a user-defined Function whose backward is off by a factor (a number or an array)."""
    off = factor if isinstance(factor, float) else constant(factor)

    def forward(ctx: Any, x: Any) -> Any:
        return x.clone()

    def backward(ctx: Any, g: Any) -> Any:
        return g * off

    made = type("Scaled", (base,), {"forward": staticmethod(forward), "backward": staticmethod(backward)})
    return made.apply  # type: ignore[attr-defined, no-any-return]


def _jax() -> Library:
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    import jax.scipy.special as special

    def scaled(factor: Any) -> Op:
        made = jax.custom_vjp(lambda x: x)
        made.defvjp(lambda x: (x, None), lambda _, g: (g * factor,))
        return made

    ops = _numpylike(jnp, special) | {
        "xlogy": special.xlogy,
        "hypot": jnp.hypot,
        "relu": jax.nn.relu,
        "leaky_relu": jax.nn.leaky_relu,
        "elu": jax.nn.elu,
        "logsigmoid": jax.nn.log_sigmoid,
        "softmax": jax.nn.softmax,
        "log_softmax": jax.nn.log_softmax,
        "norm": jnp.linalg.norm,
    }
    return Library("jax", ops, jnp.asarray, jnp.asarray, np.asarray, scaled)


def _autograd() -> Library:
    import autograd.numpy as anp
    import autograd.scipy.special as special
    from autograd.extend import defvjp, primitive

    def scaled(factor: Any) -> Op:
        made = primitive(lambda x: x * 1.0)
        defvjp(made, lambda out, x: lambda g: g * factor)
        return made  # type: ignore[no-any-return]

    def array(values: Any) -> np.ndarray:
        return np.array(values, dtype=np.float64)

    ops = _numpylike(anp, special) | {"xlogy": lambda x, y: x * anp.log(y)}
    return Library("autograd", ops, array, array, np.asarray, scaled)
