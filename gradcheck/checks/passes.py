"""One forward or backward pass of a subject on arrays: values, vector-Jacobian products, cotangents to pull back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradcheck.checks.claim import Subject
from gradcheck.engines.base import Linearized
from gradcheck.failures import Unsupported
from gradcheck.program import Array


def contiguous(array: Array) -> Array:
    """A C-contiguous copy that owns its memory (``ascontiguousarray`` would make 0-d arrays 1-d)."""
    return np.array(array, order="C", copy=True)


def place(subject: Subject, inputs: Sequence[Array]) -> tuple[Any, ...]:
    """Fresh leaves of the engine with the values and layouts of `inputs`."""
    return tuple(
        subject.engine.tensor(values, requires_grad=is_wanted)
        for values, is_wanted in zip(inputs, subject.differentiable, strict=True)
    )


def run(subject: Subject, tensors: Sequence[Any]) -> tuple[Any, ...]:
    """The outputs at `tensors`, always as a tuple."""
    result = subject.function(*tensors)
    return tuple(result) if isinstance(result, (tuple, list)) else (result,)


def linearized(subject: Subject, inputs: Sequence[Array]) -> Linearized:
    """The function at fresh tensors with the values and layouts of `inputs`, to be differentiated."""
    return subject.engine.linearized(subject.function, place(subject, inputs), subject.differentiable)


def positions(subject: Subject) -> tuple[int, ...]:
    """The positions of the differentiated inputs."""
    return tuple(k for k, is_wanted in enumerate(subject.differentiable) if is_wanted)


def wanted(subject: Subject, tensors: Sequence[Any]) -> tuple[Any, ...]:
    """Those of `tensors` that are differentiated."""
    return tuple(tensors[k] for k in positions(subject))


def values(subject: Subject, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """The outputs' values at `inputs`."""
    return tuple(subject.engine.array(y) for y in run(subject, place(subject, inputs)))


def dense(subject: Subject) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Contiguous copies of the inputs, and the outputs' values there.

    Raises
    ------
    Unsupported
        If the function refuses them. Copied, a transposed input may have no view in the shape asked for, and what made
        a copy of it may be a look at a leaf, which a later step must not write to.
    """
    inputs = tuple(contiguous(x) for x in subject.inputs)
    try:
        return inputs, values(subject, inputs)
    except subject.engine.refusals as error:
        raise Unsupported(f"refuses contiguous inputs ({type(error).__name__})") from error


def pulled(subject: Subject, inputs: Sequence[Array], cotangents: Sequence[Array]) -> tuple[Array, ...]:
    """The outputs' values, then one gradient for each differentiated input (zeros where it is not connected)."""
    engine = subject.engine
    at = linearized(subject, inputs)
    found = at.pull([engine.tensor(u) for u in cotangents], is_last=True)
    return (*(engine.array(y) for y in at.outputs), *filled(subject, inputs, found))


def filled(subject: Subject, inputs: Sequence[Array], gradients: Sequence[Any | None]) -> tuple[Array, ...]:
    """Gradients as arrays; None, which says "not connected", as zeros."""
    return tuple(
        np.zeros(inputs[k].shape, inputs[k].dtype) if found is None else subject.engine.array(found)
        for k, found in zip(positions(subject), gradients, strict=True)
    )


def draw_like(arrays: Sequence[Array], generator: np.random.Generator) -> tuple[Array, ...]:
    """Random arrays of the shapes and dtypes of `arrays`: both signs, magnitudes in [1/2, 2], no entry near zero.

    An entry near zero would hide an error in what it multiplies.
    """
    return tuple(_signed(array, generator).astype(array.dtype) for array in arrays)


def _signed(array: Array, generator: np.random.Generator) -> Array:
    def part() -> Array:
        size = np.exp2(generator.uniform(-1.0, 1.0, array.shape))
        return np.asarray(size * generator.choice([-1.0, 1.0], array.shape))

    return part() + 1j * part() if array.dtype.kind == "c" else part()
