"""The functions that checkers are measured on, in what NumPy, JAX, autograd, PyTorch and the reference engine share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.peers import Function, constant


@dataclass(frozen=True, slots=True)
class Checked:
    """One function at one size.

    Attributes
    ----------
    name : str
    size, outputs : int
        Numbers that go in and come out.
    of : callable
        From a namespace to a function of one tensor.
    point : array
    """

    name: str
    size: int
    outputs: int
    of: Callable[[Any], Function]
    point: npt.NDArray[np.float64]


def composite(size: int) -> Checked:
    """Ten ops, smooth everywhere; every output depends on every input."""
    weights = _random(size).standard_normal((size, size)) / np.sqrt(size)

    def of(library: Any) -> Function:
        sin, cos, exp, tanh, log = library.sin, library.cos, library.exp, library.tanh, library.log
        matrix = constant(library, weights)

        def function(x: Any) -> Any:
            waves = sin(x)
            mixed = tanh(matrix @ waves)
            logits = exp(mixed * waves) + cos(x)
            return logits - log(exp(logits).sum()) + mixed

        return function

    return Checked("10-op composite", size, size, of, _random(size).uniform(-2.0, 2.0, size))


def matmul(size: int) -> Checked:
    """A matrix of `size` numbers times a constant one, with two fifths as many results."""
    rows = {10: 2, 100: 10, 1_000: 25}[size]
    inner = size // rows
    columns = max(1, 2 * inner // 5)
    weights = _random(size).standard_normal((inner, columns))

    def of(library: Any) -> Function:
        matrix = constant(library, weights)
        return lambda x: x @ matrix

    return Checked("matmul", size, rows * columns, of, _random(size).uniform(-2.0, 2.0, (rows, inner)))


def layer_norm(size: int) -> Checked:
    """Rows brought to mean zero and variance one, then scaled and shifted."""
    rows, columns = _shape(size)
    gain, shift = _random(size).uniform(0.5, 1.5, (2, columns))

    def of(library: Any) -> Function:
        sqrt, scale, offset = library.sqrt, constant(library, gain), constant(library, shift)

        def function(x: Any) -> Any:
            centred = x - x.mean(1).reshape(rows, 1)
            variance = (centred * centred).mean(1).reshape(rows, 1)
            return centred / sqrt(variance + 1e-5) * scale + offset

        return function

    return Checked("layer norm", size, size, of, _random(size).uniform(-2.0, 2.0, (rows, columns)))


def cross_entropy(size: int) -> Checked:
    """Softmax cross-entropy of each row."""
    rows, columns = _shape(size)
    labels = _random(size).integers(columns, size=rows)
    one_hot = np.eye(columns)[labels]

    def of(library: Any) -> Function:
        log, exp, chosen = library.log, library.exp, constant(library, one_hot)
        return lambda x: log(exp(x).sum(1)) - (x * chosen).sum(1)

    return Checked("softmax cross-entropy", size, rows, of, _random(size).uniform(-2.0, 2.0, (rows, columns)))


FUNCTIONS = (composite, matmul, layer_norm, cross_entropy)


def _shape(size: int) -> tuple[int, int]:
    rows = max(1, size // 10)
    return rows, size // rows


def _random(size: int) -> np.random.Generator:
    return np.random.default_rng(size)
