"""The libraries that take part, each as one way from a function to its gradient.

A benchmark's function is written once, in what all of them have in common: from the library's namespace comes a
function of the library's tensors. Only this file knows how each library is asked. All but the reference engine are
optional.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.harness import Work

Function = Callable[..., Any]
"""Takes tensors of one library, returns one number as a tensor."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One library.

    Attributes
    ----------
    name : str
        As it is called in tables.
    module : str
        What is imported.
    namespace : callable
        Imports and prepares it; returns where `sin` and the like are.
    gradient : callable
        From a namespace, a function and arrays to work that returns the gradients, in the library's own arrays.
    second : callable or None
        The same for the gradient of the gradient's sum, in the first array; None where the library has none.
    asked : callable or None
        The first order by `autograd.grad`, where `gradient` is a pass that leaves gradients at the leaves.
    changes_in_place : bool
        Whether `x *= 2` may write to a view that is part of a graph.
    """

    name: str
    module: str
    namespace: Callable[[], Any]
    gradient: Callable[[Any, Function, Sequence[Any]], Work]
    second: Callable[[Any, Function, Sequence[Any]], Work] | None = None
    asked: Callable[[Any, Function, Sequence[Any]], Work] | None = None
    changes_in_place: bool = False

    @property
    def is_installed(self) -> bool:
        """Whether it can be imported."""
        return find_spec(self.module) is not None


def plain(value: Any) -> Any:
    """Any library's array as NumPy's."""
    return value.detach().numpy() if hasattr(value, "detach") else np.asarray(value)


def constant(namespace: Any, array: Any) -> Any:
    """An array that is not differentiated, as the library has it."""
    return namespace.from_numpy(np.array(array)) if hasattr(namespace, "from_numpy") else array


def detached(namespace: Any, tensor: Any) -> Any:
    """The same numbers, taken for a constant."""
    if hasattr(tensor, "detach"):
        return tensor.detach()
    if namespace.__name__.startswith("jax"):
        return importlib.import_module("jax.lax").stop_gradient(tensor)
    getval = importlib.import_module("autograd.tracer").getval
    while tensor is not (inner := getval(tensor)):  # a box for each order
        tensor = inner
    return tensor


def cross_entropy(namespace: Any, logits: Any, labels: Any) -> Any:
    """The mean over rows, by the library's own function where it has one."""
    if hasattr(namespace, "from_numpy"):
        return namespace.nn.functional.cross_entropy(logits, labels)
    if namespace.__name__ == "mygrad":
        return importlib.import_module("mygrad.nnet.losses").softmax_crossentropy(logits, labels)
    shifted = logits - namespace.max(logits, 1, keepdims=True)
    chosen = shifted[np.arange(len(labels)), labels]
    return namespace.mean(namespace.log(namespace.sum(namespace.exp(shifted), 1)) - chosen)


# PyTorch and what has its face --------------------------------------------------------------------------------------


def _refengine() -> Any:
    return importlib.import_module("refengine")


def _torch() -> Any:
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    return torch


def leaves(library: Any, arrays: Sequence[Any]) -> list[Any]:
    """Fresh leaves of a library that has PyTorch's face."""
    return [library.from_numpy(np.array(array)).requires_grad_() for array in arrays]


def _torchlike(library: Any, function: Function, arrays: Sequence[Any]) -> Work:
    given = leaves(library, arrays)

    def work() -> object:
        function(*given).backward()
        found = [one.grad for one in given]
        for one in given:
            one.grad = None
        return found

    return work


def _torchlike_asked(library: Any, function: Function, arrays: Sequence[Any]) -> Work:
    given = leaves(library, arrays)
    grad = library.autograd.grad
    return lambda: grad(function(*given), given)


def _torchlike_second(library: Any, function: Function, arrays: Sequence[Any]) -> Work:
    given = leaves(library, arrays)
    grad = library.autograd.grad

    def work() -> object:
        first = grad(function(*given), given, create_graph=True)[0]
        return grad(first.sum(), given[:1])

    return work


# NumPy's face, and functions of functions ---------------------------------------------------------------------------


def _autograd() -> Any:
    return importlib.import_module("autograd.numpy")


def _autograd_gradient(namespace: Any, function: Function, arrays: Sequence[Any]) -> Work:
    grad = importlib.import_module("autograd").grad
    gradient = grad(lambda *given: function(*given), tuple(range(len(arrays))))
    return lambda: gradient(*arrays)


def _autograd_second(namespace: Any, function: Function, arrays: Sequence[Any]) -> Work:
    grad = importlib.import_module("autograd").grad
    gradient = grad(lambda *given: function(*given))
    second = grad(lambda *given: namespace.sum(gradient(*given)))
    return lambda: (second(*arrays),)


def _jax() -> Any:
    # One thread, as everybody else: read when the backend starts.
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)
    return importlib.import_module("jax.numpy")


def _jax_gradient(namespace: Any, function: Function, arrays: Sequence[Any]) -> Work:
    jax = importlib.import_module("jax")
    places = tuple(range(len(arrays)))
    gradient = jax.jit(jax.grad(lambda *given: function(*given), places))
    given = [namespace.asarray(array) for array in arrays]
    return lambda: jax.block_until_ready(gradient(*given))


def _jax_second(namespace: Any, function: Function, arrays: Sequence[Any]) -> Work:
    jax = importlib.import_module("jax")
    first = jax.grad(lambda *given: function(*given))
    second = jax.jit(jax.grad(lambda *given: first(*given).sum()))
    given = [namespace.asarray(array) for array in arrays]
    return lambda: (jax.block_until_ready(second(*given)),)


# Libraries whose tensors keep their gradients -----------------------------------------------------------------------


def _mygrad() -> Any:
    return importlib.import_module("mygrad")


def _mygrad_gradient(namespace: Any, function: Function, arrays: Sequence[Any]) -> Work:
    given = [namespace.tensor(np.array(array)) for array in arrays]

    def work() -> object:
        function(*given).backward()
        return [one.grad for one in given]

    return work


def _micrograd() -> Any:
    # Its backward pass recurses once for each op of a chain.
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 20_000))
    return importlib.import_module("micrograd.engine")


def _micrograd_gradient(namespace: Any, function: Function, arrays: Sequence[Any]) -> Work:
    def work() -> object:
        given = [namespace.Value(float(array)) for array in arrays]
        function(*given).backward()
        return [one.grad for one in given]

    return work


REFENGINE = Peer(
    "refengine", "refengine", _refengine, _torchlike, _torchlike_second, _torchlike_asked, changes_in_place=True
)
TORCH = Peer("PyTorch", "torch", _torch, _torchlike, _torchlike_second, _torchlike_asked, changes_in_place=True)
AUTOGRAD = Peer("autograd", "autograd", _autograd, _autograd_gradient, _autograd_second)
MYGRAD = Peer("MyGrad", "mygrad", _mygrad, _mygrad_gradient, changes_in_place=True)
JAX = Peer("JAX jit", "jax", _jax, _jax_gradient, _jax_second)
MICROGRAD = Peer("micrograd", "micrograd", _micrograd, _micrograd_gradient)

PEERS = (REFENGINE, TORCH, AUTOGRAD, MYGRAD, JAX)
"""Those with arrays."""
EAGER = (REFENGINE, TORCH, AUTOGRAD, MYGRAD)
"""Those that do not compile first."""
