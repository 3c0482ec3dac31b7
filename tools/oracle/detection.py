"""The smallest relative error that each checker sees, in all entries of a gradient and in one: ops, shapes, magnitudes.

An op's right gradient is multiplied by 1 + 10**-k, k by k. What counts is the smallest of these errors that is seen
together with every larger one down to it from where the search began.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tools.oracle.judges import DISAGREE, Answer, autograd_check_grads, jax_check_grads, ours, torch_gradcheck
from tools.oracle.libraries import Op, is_installed, library
from tools.oracle.pool import Asked, Task, spread

SHAPES: tuple[tuple[int, ...], ...] = ((), (3,), (32,), (4, 5), (32, 32))
MAGNITUDES = (1e-3, 1.0, 1e3)
PLACES = ("uniform", "one entry")
SMALLEST = 13

JUDGES = ("ours", "torch slow", "torch fast", "JAX", "autograd")
# Where the search begins: near what was found, so that few questions are asked.
STARTS = {"ours": 8, "torch slow": 3, "torch fast": 3, "JAX": 4, "autograd": 5}
LIBRARIES = {"ours": "torch", "torch slow": "torch", "torch fast": "torch", "JAX": "jax", "autograd": "autograd"}

# Saturated or overflowing at 1e3.
BOUNDED = ("exp", "tanh", "softmax", "log_softmax", "logsumexp")
POSITIVE = ("log", "sqrt")
# Constant, or not defined, for a tensor without axes.
SHAPED = ("softmax", "log_softmax", "layer_norm", "matvec", "cumsum")
PAIRED = ("mul", "div", "hypot", "atan2")
FLATTENED = ("softmax", "log_softmax", "logsumexp")
OPS = (
    "sin", "exp", "tanh", "log", "sqrt", "square", "reciprocal", "atan", "mul", "div", "hypot", "atan2", "sum", "mean",
    "cumsum", "norm", "matvec", "softmax", "log_softmax", "logsumexp", "layer_norm",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Caught:
    """One search.

    Attributes
    ----------
    judge, op : str
    shape : tuple of int
    magnitude : float
    place : str
        "uniform" or "one entry".
    error : float or None
        The smallest relative error seen; None: not even a factor of two.
    alarm : bool
        The right gradient was called wrong, so that nothing was searched.
    """

    judge: str
    op: str
    shape: tuple[int, ...]
    magnitude: float
    place: str
    error: float | None
    alarm: bool = False


def measure(asked: Asked, say: Callable[[str], None]) -> list[Caught]:
    """All searches, however many graphs were asked for."""
    tasks = [
        Task(f"{judge} {op} {shape}", searched, (judge, op, shape, magnitude, asked.seed))
        for judge in JUDGES
        if is_installed(LIBRARIES[judge])
        for shape in reversed(SHAPES)
        for op in OPS
        for magnitude in MAGNITUDES
        if is_sensible(op, shape, magnitude) and not is_long(judge, shape, magnitude)
    ]
    return [one for found in spread(tasks, asked.jobs, say) for one in found]


def is_sensible(op: str, shape: tuple[int, ...], magnitude: float) -> bool:
    """Whether the op has a derivative worth the name there."""
    return not (op in BOUNDED and magnitude > 1.0) and (bool(shape) or op not in SHAPED)


def is_long(judge: str, shape: tuple[int, ...], magnitude: float) -> bool:
    """Slow mode takes seconds for each question about 1,024 entries, and answers it alike at every magnitude."""
    return judge == "torch slow" and math.prod(shape) > 100 and magnitude != 1.0


def searched(judge: str, op: str, shape: tuple[int, ...], magnitude: float, seed: int) -> list[Caught]:
    """What one checker sees of one op, in both places."""
    inputs = point(op, shape, magnitude, seed)
    if asked(judge, op, inputs, None, seed).word == DISAGREE:
        return [Caught(judge, op, shape, magnitude, place, None, alarm=True) for place in PLACES]
    found = []
    for place in PLACES if math.prod(shape) > 1 else PLACES[:1]:

        def sees(k: int, place: str = place) -> bool:
            factor = distortion(place, inputs[0], 10.0**-k, seed)
            return asked(judge, op, inputs, factor, seed).word == DISAGREE

        found.append(Caught(judge, op, shape, magnitude, place, smallest(sees, STARTS[judge])))
    return found


def point(op: str, shape: tuple[int, ...], magnitude: float, seed: int) -> list[np.ndarray]:
    """Inputs of either sign where that may be, between half and twice the magnitude."""
    random = np.random.default_rng([seed, OPS.index(op), SHAPES.index(shape), MAGNITUDES.index(magnitude)])
    found = []
    for _ in range(2 if op in PAIRED else 1):
        signs = 1.0 if op in POSITIVE else random.choice([-1.0, 1.0], shape)
        found.append(np.asarray(magnitude * signs * random.uniform(0.5, 2.0, shape)))
    return found


def distortion(place: str, values: np.ndarray, error: float, seed: int) -> np.ndarray:
    """Factors for the gradient of the first input."""
    factor = np.ones(values.shape)
    if place == "uniform":
        return factor * (1.0 + error)
    factor.reshape(-1)[int(np.random.default_rng([seed, values.size]).integers(values.size))] = 1.0 + error
    return factor


def smallest(sees: Callable[[int], bool], start: int) -> float | None:
    """The smallest error 10**-k seen, from `start` downwards while they are seen, else upwards until one is."""
    k = start
    if sees(k):
        while k < SMALLEST and sees(k + 1):
            k += 1
        return float(10.0**-k)
    while k > 0:
        k -= 1
        if sees(k):
            return float(10.0**-k)
    return None


def asked(judge: str, op: str, inputs: list[np.ndarray], factor: np.ndarray | None, seed: int) -> Answer:
    """What a checker says of an op whose gradient is multiplied by `factor`."""
    lib = library(LIBRARIES[judge])
    function = distorted(lib.name, op, factor)
    tensors = [lib.tensor(x) for x in inputs]
    if judge == "ours":
        return ours(function, tensors, "torch", seed)
    if judge == "JAX":
        return jax_check_grads(function, tensors)
    if judge == "autograd":
        return autograd_check_grads(function, tensors, seed)
    return torch_gradcheck(function, tensors, fast_mode=judge == "torch fast")


def distorted(name: str, op: str, factor: np.ndarray | None) -> Callable[..., Any]:
    """The op in a library, the gradient of its first input off by a factor."""
    lib = library(name)
    run = _shaped(op, lib.ops, lib.constant)
    distort = (lambda x: x) if factor is None else lib.scaled(factor)
    return lambda x, *others: run(distort(x), *others)


def _shaped(op: str, ops: Any, constant: Callable[[np.ndarray], Any]) -> Op:
    """The op for tensors of any number of axes."""
    if op in FLATTENED:
        return lambda x: ops[op](x.reshape(-1))
    if op == "layer_norm":

        def layer_norm(x: Any) -> Any:
            centred = x - x.mean()
            return centred / ops["sqrt"]((centred * centred).mean() + 1e-12)

        return layer_norm
    if op == "matvec":
        weights = np.random.default_rng(0).standard_normal((4, 32))
        return lambda x: constant(weights[:, : x.shape[0]]) @ x
    return ops[op]  # type: ignore[no-any-return]
