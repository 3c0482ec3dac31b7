"""Arrays as inputs of a differentiable function: short decimals, special points, and every layout."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from gradcheck import material
from gradcheck.program import Array
from refengine.spec import EVERYWHERE, Interval


@st.composite
def arrays(
    draw: st.DrawFn,
    shape: tuple[int, ...] | None = None,
    *,
    domain: Interval = EVERYWHERE,
    contiguous: bool = False,
) -> Array:
    """Float64 arrays.

    Parameters
    ----------
    shape : tuple of int or None
        By default drawn: ranks 0 to 4, sizes 0, 1 and more, at most 64 elements.
    domain : Interval
        Where values lie, away from what it avoids. 40 % of the arrays hold special values (0, ±1, ½, 2) or ties.
    contiguous : bool
        Without it, 40 % of the arrays are transposed, have gaps or are expanded.

    Returns
    -------
    strategy of ndarray
    """
    shape_byte, layout, mode, seed = draw(st.binary(min_size=4, max_size=4))
    if shape is None:
        shape = material.SHAPES[shape_byte]
    values = material.numbers(math.prod(shape), domain, mode, seed, mode)
    return material.arranged(values, shape, 0 if contiguous else layout)
