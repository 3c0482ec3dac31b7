"""What held for every value seen of one tensor argument: what drawn values must keep, too."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one argument, over all the values seen.

    Attributes
    ----------
    low, high : float
        The smallest and the largest finite value; ``inf`` and ``-inf`` where there was none.
    has_zeros : bool
        An exact zero was among them, at least once.
    is_finite, is_integral, is_distinct : bool
        Each held for all values of each tensor seen (distinct: no value twice in one tensor).
    order : int
        1 where the last axis was ascending each time, -1 where descending, 0 where neither.
    sums_to_one, unit_norm : tuple of int
        The axes (negative numbers) along which each slice summed to 1, or had the Euclidean norm 1, each time.
    is_symmetric : bool
        The last two axes were equal in size and the matrices symmetric each time.
    """

    low: float
    high: float
    has_zeros: bool = False
    is_finite: bool = True
    is_integral: bool = False
    is_distinct: bool = False
    order: int = 0
    sums_to_one: tuple[int, ...] = ()
    unit_norm: tuple[int, ...] = ()
    is_symmetric: bool = False
