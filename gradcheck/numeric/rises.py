"""What the rises of a function over small steps tell: jumps, multiples of one quantum, their median."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# A larger rise, alone, is no rounding error of anything of common size.
JUMP = 1e-9


def quantum(rise: Floats, values: Floats) -> Floats:
    """The smallest rise of outputs that move by multiples of it only, or by less than the `values` can show; else 0.

    Such a value was rounded where it was larger (1 - tanh(19)**2 is a multiple of 2**-53); small steps do not show it.
    """
    size = np.where(np.isfinite(rise), np.abs(rise), 0.0)
    moving = size > 0.0
    smallest = np.where(moving, size, np.inf).min(axis=0)
    # Smooth functions move at every step; a flat piece beside a kink moves by any amount once it is left.
    still = (moving.sum(axis=0) < size.shape[0] // 2) & moving.any(axis=0)
    if not still.any():
        return np.zeros(size.shape[1])
    multiples = size / np.where(still, smallest, 1.0)
    whole = (np.abs(multiples - np.rint(multiples)) <= 1e-9 * multiples).all(axis=0)
    # One rise alone is a jump that some steps cross (a comparison that flips), unless it is as small as round-off.
    lone = (multiples <= 1.5).all(axis=0) & (smallest > JUMP)
    whole &= ~lone
    whole |= smallest <= JUMP * np.max(np.abs(values), initial=0.0, where=np.isfinite(values))
    return np.where(still & whole, smallest, 0.0)


def jumps(rise: Floats, least: Floats) -> Flags:
    """Where a side of the longest run starts off by a jump: steps of 2**-26 to 2**-33 all rise alike, and 2**-15 about.

    The derivative on that side does not exist (the gradient of a relu, at 0).
    """
    last, mild = rise[-1], rise[-19]
    steady = (np.abs(rise[-8:] - last) <= 1e-3 * np.abs(last)).all(axis=0)
    return np.asarray(steady & (np.abs(mild - last) <= 0.5 * np.abs(last)) & (np.abs(last) > 1e3 * least))


def median(rows: Floats) -> Floats:
    """Median along the first axis of what is finite; 0 where nothing is."""
    ordered = np.sort(np.where(np.isfinite(rows), rows, np.inf), axis=0)
    count = np.isfinite(rows).sum(axis=0)
    middle = np.take_along_axis(ordered, np.maximum(count // 2, 0)[None].clip(max=rows.shape[0] - 1), axis=0)[0]
    return np.where(count > 0, middle, 0.0)
