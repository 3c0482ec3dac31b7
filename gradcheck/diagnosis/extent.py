"""How many entries of a gradient are wrong, and which come first, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradcheck.diagnosis.slopes import Slopes

# Entries that are named.
_NAMED = 4


def extent_of(wrong: Sequence[Slopes]) -> str:
    """``5 of 12 entries of the gradient of x0: [0], [1], [3], [4] and 1 more``; "" where no more than one is wrong.

    Parameters
    ----------
    wrong : sequence of Slopes
        Those of the inputs whose gradient is wrong somewhere.
    """
    if sum(int(np.count_nonzero(slopes.wrong)) for slopes in wrong) < 2:
        return ""
    return "; ".join(map(_of_input, wrong))


def _of_input(slopes: Slopes) -> str:
    places = slopes.places[slopes.wrong]
    measured, size = len(slopes.places), slopes.point.size
    head = f"{len(places)} of {measured} entries of the gradient of x{slopes.position}"
    head += f" ({measured} of {size:,} were looked at)" if measured < size else ""
    if len(places) == size:
        return head
    named = ", ".join(_index(slopes, int(place)) for place in places[:_NAMED])
    more = len(places) - _NAMED
    return f"{head}: {named}" + (f" and {more} more" if more > 0 else "")


def _index(slopes: Slopes, place: int) -> str:
    return str([int(n) for n in np.unravel_index(place, slopes.point.shape)])
