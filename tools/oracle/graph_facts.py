"""What is true of a graph's gradient in one library: whether it is right, and whether an error in it could be seen."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tools.oracle.graphs import WRONG, Graph
from tools.oracle.libraries import library

# A derivative of less than this part of the function's own size passes for zero, as docs/oracle.md says.
FLAT = 1e-9
# A right gradient is right to this part of the largest one of its output.
RIGHT = 1e-6
# An error of 1e-3 is one where at least half of it is left outside of what is allowed, and where the round-off of the
# library's own gradient is a tenth of it at most: that of a constant's gradient, 0, is all there is.
SEEN = 5e-4
OWN = 1e-4


def own_jacobian(graph: Graph, name: str) -> np.ndarray:
    """The library's gradients, a row for each output."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        rows = {"jax": _jax_rows, "autograd": _autograd_rows}.get(name, _taped_rows)(graph, name)
    return np.array([np.concatenate([np.asarray(part).reshape(-1) for part in row]) for row in rows])


def _taped_rows(graph: Graph, name: str) -> list[list[Any]]:
    lib, tensors = library(name), graph.tensors(name)
    out = graph.function(name)(*tensors).reshape(-1)
    rows = []
    for k in range(out.shape[0]):
        for x in tensors:
            x.grad = None
        out[k].backward(retain_graph=True)
        rows.append([np.zeros(x.shape) if x.grad is None else lib.array(x.grad) for x in tensors])
    return rows


def _jax_rows(graph: Graph, name: str) -> list[list[Any]]:
    import jax

    out, pull = jax.vjp(graph.function(name), *graph.tensors(name))
    return [list(pull(unit.reshape(out.shape))) for unit in np.eye(out.size)]


def _autograd_rows(graph: Graph, name: str) -> list[list[Any]]:
    from autograd import make_vjp

    run = graph.function(name)
    pull, out = make_vjp(lambda xs: run(*xs))(graph.tensors(name))
    return [list(pull(unit.reshape(np.shape(out)))) for unit in np.eye(np.size(out))]


def _hull(graph: Graph) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest right derivative, entry by entry: they differ at kinks."""
    right, left = graph.jacobian(1), graph.jacobian(-1)
    return np.minimum(left, right), np.maximum(left, right)


def _sizes(graph: Graph) -> np.ndarray:
    """How far each entry moves when it moves by its own size."""
    found = []
    for x in graph.inputs:
        largest = np.abs(x).max() or 1.0
        found.append(np.maximum(np.abs(x), largest / 16.0).reshape(-1))
    return np.concatenate(found)


def is_right(graph: Graph, name: str) -> bool:
    """Whether the library's gradient is the true one, up to round-off; at a kink: between the one-sided ones."""
    own, (low, high) = own_jacobian(graph, name), _hull(graph)
    values = np.abs(graph.values().astype(np.float64))[:, None]
    with np.errstate(all="ignore"):
        rows = np.max(np.where(np.isfinite(high), np.abs(high), 0.0), axis=1, keepdims=True, initial=0.0)
        slack = RIGHT * rows + FLAT * values / _sizes(graph)
        inside = (own >= low - slack) & (own <= high + slack)
    return bool((inside | (own == low) | (own == high)).all())


def shows(graph: Graph, name: str) -> bool:
    """Whether a gradient times 1 + 1e-3 is wrong, in an entry where the function is not flat to the eye."""
    own, (low, high) = own_jacobian(graph, name), _hull(graph)
    total = float(np.abs(graph.values().astype(np.float64)).sum())
    with np.errstate(all="ignore"):
        off = own * WRONG
        outside = np.maximum(low - off, off - high) > SEEN * np.abs(own)
        seen = np.abs(own) * _sizes(graph) > FLAT * total
        exact = np.maximum(low - own, own - high) <= OWN * np.abs(own)
    return bool((outside & seen & exact & np.isfinite(own)).any())
