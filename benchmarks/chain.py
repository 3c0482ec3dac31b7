"""An engine benchmark: forward and backward through a chain of 1,000 elementwise ops on 10 numbers.

Arrays are so small that only the overhead of an op counts. The contestants run the same chain: NumPy with the backward
pass written by hand, with every forward value kept as an engine must; the reference engine; PyTorch where it is
installed. Their gradients are compared before anything is measured.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.harness import Benchmark, Work

Array = npt.NDArray[np.float64]
BLOCKS = 200  # of five ops each
OPS = 5 * BLOCKS
START = np.linspace(-1.0, 1.0, 10)


def by_hand() -> Array:
    """The gradient of the sum of the chain's end, in bare NumPy."""
    saved = []
    x = START
    for _ in range(BLOCKS):
        a = np.sin(x)
        b = a * x
        c = np.exp(b)
        d = c + x
        y = np.tanh(d)
        saved.append((x, a, c, y))
        x = y
    g = np.ones_like(x)
    for x, a, c, y in reversed(saved):
        gd = g * (1.0 - y * y)
        gb = gd * c
        g = gd + gb * a + gb * x * np.cos(x)
    return g


def with_engine(library: Any, x: Any) -> Any:
    """The same with an engine that has PyTorch's face; `x` is a leaf."""
    y = x
    for _ in range(BLOCKS):
        y = library.tanh(library.exp(library.sin(y) * y) + y)
    (gradient,) = library.autograd.grad(y.sum(), (x,))
    return gradient


def contestants() -> dict[str, Work]:
    """Who takes part here."""
    import refengine

    leaf = refengine.from_numpy(START.copy()).requires_grad_()
    works: dict[str, Work] = {"NumPy by hand": by_hand, "refengine": lambda: with_engine(refengine, leaf)}
    if find_spec("torch"):
        import torch

        torch.set_num_threads(1)
        other = torch.from_numpy(START.copy()).requires_grad_()
        works["PyTorch"] = lambda: with_engine(torch, other)
    return works


def benchmark() -> Benchmark:
    """The comparison; raises where the gradients differ."""
    works = contestants()
    expected = by_hand()
    for name, work in works.items():
        actual: Any = work()
        actual = actual if name == "NumPy by hand" else actual.numpy()
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=0, err_msg=name)
    return Benchmark("chain of 1,000 small ops", "µs per op, both passes", 1e6 / OPS, "NumPy by hand", works)
