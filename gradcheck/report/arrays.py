"""Arrays as the source text of a script: values, dtype and layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradcheck.program import Array, layout_text

_WIDTH = 110


def is_float(array: Array) -> bool:
    """Whether an array is of real floating numbers."""
    return array.dtype.kind == "f"


def returned(arrays: Sequence[Array]) -> list[str]:
    """The lines that return tensors with these values and layouts."""
    if not arrays:
        return ["    return []"]
    return ["    return [", *(f"        {line}" for array in arrays for line in _tensor(array)), "    ]"]


def _tensor(array: Array) -> list[str]:
    plain, layout = _laid_out(array)
    dtype = f"dtype=torch.{plain.dtype}"
    if not plain.size:
        return [f"torch.zeros({plain.shape}, {dtype}){layout},"]
    end = f", {dtype}){layout}{'.detach()' if layout else ''},"
    text = _values(plain)
    if len(text) + len(end) <= _WIDTH - 21 or not plain.ndim:
        return [f"torch.tensor({text}{end}"]
    rows = (
        [_values(row) for row in plain]
        if plain.ndim > 1
        else [_values(plain[k : k + 6])[1:-1] for k in range(0, plain.size, 6)]
    )
    return ["torch.tensor([", *(f"    {row}," for row in rows), f"]{end}"]


def _laid_out(array: Array) -> tuple[Array, str]:
    """Values without a layout, and the calls that give it. What lies between strided entries is NaN."""
    if any(s < 0 or s % array.itemsize for s in array.strides):
        return np.array(array, order="C"), ""
    plain, layout = layout_text(array)
    if "as_strided" not in layout:
        return plain, layout
    strides = tuple(s // array.itemsize for s in array.strides)
    span = 1 + sum((n - 1) * s for n, s in zip(array.shape, strides, strict=True))
    filler: Any = np.nan if is_float(array) else 0
    memory = np.full(span, filler, array.dtype)
    np.ndarray(array.shape, array.dtype, memory, 0, array.strides)[...] = array
    return memory, f".as_strided({array.shape}, {strides})"


def _values(array: Array) -> str:
    if array.ndim:
        return f"[{', '.join(_values(item) for item in array)}]"
    return str(array[()]) if array.dtype.kind == "f" else repr(array.item())
