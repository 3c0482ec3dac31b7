"""Runs one function on this engine and on PyTorch, and compares values, gradients and second derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import refengine

Function = Callable[..., Any]


def numbers(*shape: int, seed: int = 0) -> Any:
    """Distinct numbers in [-2, 2) that have no structure."""
    return np.random.default_rng([seed, *shape]).uniform(-2, 2, shape)


def positions(*shape: int, high: int, seed: int = 0) -> Any:
    """Indices below `high`, with repetitions."""
    return np.random.default_rng([seed, high, *shape]).integers(0, high, shape)


def expression(source: str) -> Function:
    """A function of a library ``lib`` and of tensors called x, y, z that is written as an expression."""
    return eval(f"lambda lib, x=None, y=None, z=None: {source}")  # type: ignore[no-any-return]


def outcome(lib: Any, function: Function, arrays: tuple[Any, ...], order: int) -> list[Any]:
    """The value, the gradient of each floating input, and the gradients of those; None where nothing flows."""
    tensors = [lib.tensor(array) for array in arrays]
    inputs = [tensor.requires_grad_() for tensor in tensors if tensor.is_floating_point() or tensor.is_complex()]
    out = function(lib, *tensors)
    found = [out]
    if order and inputs and out.requires_grad:
        vector = lib.tensor(numbers(*out.shape, seed=1)).to(out.dtype)
        grads = lib.autograd.grad(out, inputs, vector, create_graph=order > 1, allow_unused=True)
        found += grads
        again = [grad for grad in grads if grad is not None and grad.requires_grad]
        if order > 1 and again:
            vectors = [lib.tensor(numbers(*grad.shape, seed=2)).to(grad.dtype) for grad in again]
            found += lib.autograd.grad(again, inputs, vectors, allow_unused=True)
    return [None if value is None else _array(value.detach()) for value in found]


def _array(value: Any) -> Any:
    """The values; PyTorch conjugates lazily."""
    return (value.resolve_conj() if hasattr(value, "resolve_conj") else value).numpy()


def agree(function: Function, *arrays: Any, order: int = 2) -> None:
    """Raise unless ``function(lib, *tensors)`` gives the same here and in PyTorch; no gradient counts as zeros."""
    torch = pytest.importorskip("torch")
    mine, theirs = outcome(refengine, function, arrays, order), outcome(torch, function, arrays, order)
    for place in range(max(len(mine), len(theirs))):
        one, other = (found[place] if place < len(found) else None for found in (mine, theirs))
        if one is None and other is None:
            continue
        one = np.zeros_like(other) if one is None else one
        other = np.zeros_like(one) if other is None else other
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12, err_msg=f"result {place}")


def refused_alike(function: Function, *arrays: Any) -> None:
    """Raise unless both libraries refuse the call, ours with an error of the type that PyTorch raises."""
    torch = pytest.importorskip("torch")
    with pytest.raises(Exception) as theirs:
        function(torch, *[torch.tensor(array) for array in arrays])
    with pytest.raises(theirs.type):
        function(refengine, *[refengine.tensor(array) for array in arrays])
