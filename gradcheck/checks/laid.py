"""Arrays in the layout of others: what a view step makes of a value depends on its strides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gradcheck.program import Array


def strides_of(values: Array) -> tuple[int, ...]:
    """Strides in elements."""
    return tuple(stride // values.itemsize for stride in values.strides)


def laid(values: Array, strides: Sequence[int]) -> Array:
    """The values with these strides (in elements); entries that are one place in memory must be equal."""
    if tuple(strides) == strides_of(values) or not values.size or any(stride < 0 for stride in strides):
        return values
    span = 1 + sum((n - 1) * s for n, s in zip(values.shape, strides, strict=True))
    memory = np.zeros(span, dtype=values.dtype)
    made = as_strided(memory, values.shape, [s * memory.itemsize for s in strides])
    made[...] = values
    return made
