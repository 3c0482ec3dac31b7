"""What the engine benchmarks compute: each function once, for every library.

A workload takes a namespace and returns a function of tensors; the spellings are those that NumPy and PyTorch share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.peers import Function, constant, cross_entropy

Workload = Callable[[Any], Function]


def chain(blocks: int) -> Workload:
    """Five elementwise ops a block, bounded and smooth."""

    def of(library: Any) -> Function:
        sin, exp, tanh = library.sin, library.exp, library.tanh

        def function(x: Any) -> Any:
            for _ in range(blocks):
                x = tanh(exp(sin(x) * x) + x)
            return x.sum()

        return function

    return of


def polynomial(blocks: int) -> Workload:
    """Five ops a block on one number, of those that micrograd has."""

    def of(library: Any) -> Function:
        def function(x: Any) -> Any:
            y = x
            for _ in range(blocks):
                y = (y * x + 0.5) ** 2 * 0.25 + x
            return y

        return function

    return of


def perceptron(data: Any, labels: Any) -> Workload:
    """A hidden layer with tanh, and cross-entropy; differentiated in its parameters."""

    def of(library: Any) -> Function:
        tanh, x, wanted = library.tanh, constant(library, data), constant(library, labels)

        def function(w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
            return cross_entropy(library, tanh(x @ w1 + b1) @ w2 + b2, wanted)

        return function

    return of


def structured(rows: Any, blocks: int) -> Workload:
    """Fourteen ops a block that broadcast, reduce, index and reshape."""

    def of(library: Any) -> Function:
        tanh, chosen = library.tanh, constant(library, rows)

        def function(x: Any, b: Any, c: Any) -> Any:
            for _ in range(blocks):
                a = x * b
                t = tanh(a - a.mean(1).reshape(-1, 1))
                u = (t[:, ::2] * t[:, 1::2]).sum(0).reshape(-1, 1)
                x = (t[chosen] + u) * 0.5 + c
            return x.sum()

        return function

    return of


def fan_in(count: int) -> Workload:
    """One value that is used so many times."""

    def of(library: Any) -> Function:
        def function(x: Any) -> Any:
            h = library.sin(x)
            total = h
            for _ in range(count - 1):
                total = total + h
            return total.sum()

        return function

    return of


def leaves(library: Any) -> Function:
    """A sum over many leaves."""

    def function(first: Any, *others: Any) -> Any:
        total = first
        for one in others:
            total = total + one * one
        return total.sum()

    return function


def matmuls(count: int) -> Workload:
    """A product with the same matrix, again and again."""

    def of(library: Any) -> Function:
        def function(x: Any, w: Any) -> Any:
            for _ in range(count):
                x = x @ w
            return x.sum()

        return function

    return of


def writes(blocks: int) -> Workload:
    """Six ops a block: three views, and three writes in place."""

    def of(library: Any) -> Function:
        def function(x: Any) -> Any:
            y = x * 1.0
            for _ in range(blocks):
                even = y[::2]
                even *= 0.9
                y += x
                second = y.reshape(2, -1)[1]
                second *= 0.8
            return y.sum()

        return function

    return of
