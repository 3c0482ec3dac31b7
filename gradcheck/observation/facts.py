"""What held for every value seen of one tensor argument: what drawn values must keep, too."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck.program import Array

Open = tuple[str, int]
"""A fact by its name and axis (0 where it has none) on which the values were too few or too alike to bear."""

# Round-offs of a normalised slice, in units of the dtype's times the root of its length. Softmax and division by a
# norm, in float32, float16 and bfloat16, stayed below 1 from 2 to 10^5 entries. Much more would take (1, 0, 1/4),
# which is exact in bfloat16, for a unit vector.
_ROUNDOFFS = 4.0
# A matrix product with its own transpose rounds its two halves differently, by more than a sum of its length.
_SYMMETRY_ROUNDOFFS = 16.0
# Entries that decide most questions before the rest is looked at.
_GLANCE = 256
# Entries sorted at most, for distinctness: evenly spread ones of a larger tensor.
_SORTED = 2**17


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one argument, over all the values seen.

    Attributes
    ----------
    low, high : float
        The smallest and the largest finite value (of either part, for complex ones); ``inf`` and ``-inf`` where there
        was none.
    has_zeros : bool
        An exact zero was among them, at least once.
    is_finite, is_integral, is_distinct : bool
        Each held for all values of each tensor seen (distinct: no value twice in one tensor).
    order : int
        1 where the last axis was ascending each time, -1 where descending, 0 where neither.
    sums_to_one, unit_norm : tuple of int
        The axes (negative numbers) along which each slice was non-negative and summed to 1, or had the Euclidean norm
        1, each time.
    is_symmetric : bool
        The last two axes were equal in size and the matrices symmetric each time.
    open : frozenset
        The facts that no tensor seen could prove or disprove: an axis of size 1 whose one value is 1, a matrix that is
        diagonal or a multiple of ones, one value alone. They are not claimed, and `joined` leaves them to the other
        tensors.
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
    open: frozenset[Open] = frozenset()


def facts_of(values: Array) -> Facts:
    """What holds for the values of one tensor.

    Parameters
    ----------
    values : array
        In the dtype they came in, which sets the tolerances; bfloat16 ones as float32. The narrowest dtype that holds
        all the values counts, so that a bfloat16 softmax raised to float64 is still recognised.

    Notes
    -----
    One pass over a tensor that has none of the facts, a few where they hold: a glance at one slice comes first.
    """
    values = np.asarray(values)
    parts = values if values.dtype.kind != "c" else np.stack([values.real, values.imag])
    low, high, is_finite = _range(parts)
    open_: set[Open] = set()
    is_real = values.dtype.kind == "f"
    norms = _Norms(values, low, is_finite) if is_real else None
    return Facts(
        low=low,
        high=high,
        has_zeros=low <= 0.0 <= high and bool((values == 0).any()),
        is_finite=is_finite,
        is_integral=_kept(_is_integral(parts), "is_integral", open_),
        is_distinct=_kept(_is_distinct(values), "is_distinct", open_),
        order=_order(values, open_) if values.dtype.kind in "fiu" else 0,
        sums_to_one=_axes("sums_to_one", values.ndim, norms.sums_to_one, open_) if norms else (),
        unit_norm=_axes("unit_norm", values.ndim, norms.has_unit_norm, open_) if norms else (),
        is_symmetric=is_real and _kept(_is_symmetric(values), "is_symmetric", open_),
        open=frozenset(open_),
    )


def joined(a: Facts, b: Facts) -> Facts:
    """What held both times: ranges widened, and a fact on which one of the two is silent left to the other."""

    def held(name: str, axis: int, in_a: bool, in_b: bool) -> bool:
        silent_a, silent_b = (name, axis) in a.open, (name, axis) in b.open
        return (in_a or silent_a) and (in_b or silent_b) and not (silent_a and silent_b)

    def axes(name: str, in_a: tuple[int, ...], in_b: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(k for k in sorted({*in_a, *in_b}, reverse=True) if held(name, k, k in in_a, k in in_b))

    order = a.order or b.order
    return Facts(
        low=min(a.low, b.low),
        high=max(a.high, b.high),
        has_zeros=a.has_zeros or b.has_zeros,
        is_finite=a.is_finite and b.is_finite,
        is_integral=held("is_integral", 0, a.is_integral, b.is_integral),
        is_distinct=held("is_distinct", 0, a.is_distinct, b.is_distinct),
        order=order if order and held("order", 0, a.order == order, b.order == order) else 0,
        sums_to_one=axes("sums_to_one", a.sums_to_one, b.sums_to_one),
        unit_norm=axes("unit_norm", a.unit_norm, b.unit_norm),
        is_symmetric=held("is_symmetric", 0, a.is_symmetric, b.is_symmetric),
        open=a.open & b.open,
    )


def precision_of(values: Array) -> float:
    """The round-off unit of the narrowest floating dtype, bfloat16 among them, that holds all the values."""
    if values.dtype == np.float64:
        if not _survives(values, np.float32):
            return float(np.finfo(np.float64).eps)
        values = values.astype(np.float32)
    if values.dtype == np.float32:
        if not (np.ascontiguousarray(values).view(np.uint32) & 0xFFFF).any():
            return 2.0**-7
        return 2.0**-10 if _survives(values, np.float16) else 2.0**-23
    return float(np.finfo(values.dtype).eps)


def _survives(values: Array, dtype: Any) -> bool:
    glance = values.reshape(-1)[:_GLANCE]
    with np.errstate(over="ignore"):
        return bool((glance.astype(dtype) == glance).all() and (values.astype(dtype) == values).all())


def _kept(verdict: bool | None, name: str, open_: set[Open], axis: int = 0) -> bool:
    """A verdict of three values as one of two; the third is noted among the open facts."""
    if verdict is None:
        open_.add((name, axis))
    return bool(verdict)


def _axes(name: str, ndim: int, holds: Callable[[int], bool | None], open_: set[Open]) -> tuple[int, ...]:
    return tuple(axis for axis in range(-1, -ndim - 1, -1) if _kept(holds(axis), name, open_, axis))


def _range(values: Array) -> tuple[float, float, bool]:
    """The smallest and the largest finite value, and whether all are finite."""
    if not values.size:
        return math.inf, -math.inf, True
    with np.errstate(invalid="ignore"):
        low, high = float(values.min()), float(values.max())
    if math.isfinite(low) and math.isfinite(high):
        return low, high, True
    mask = np.isfinite(values)
    return (
        float(np.min(values, initial=np.inf, where=mask)),
        float(np.max(values, initial=-np.inf, where=mask)),
        False,
    )


def _is_integral(values: Array) -> bool | None:
    if values.dtype.kind != "f":
        return True
    flat = values.reshape(-1)
    glance = flat[:_GLANCE]
    if not (glance == np.rint(glance)).all() or not (flat == np.rint(flat)).all():
        return False
    # Weights start as ones: a constant does not tell a count from a number.
    return None if (flat == flat[:1]).all() else True


def _is_distinct(values: Array) -> bool | None:
    flat = values.reshape(-1)
    if flat.size < 2:
        return None
    if flat.size > _GLANCE and _repeats(flat[:_GLANCE]):
        return False
    return not _repeats(flat[:: -(-flat.size // _SORTED)])


def _repeats(flat: Array) -> bool:
    ordered = np.sort(flat)
    return bool((ordered[1:] == ordered[:-1]).any())


def _order(values: Array, open_: set[Open]) -> int:
    """1 for an ascending last axis, -1 for a descending one, 0 for neither; slices of equal values are silent."""
    if values.size == 0 or values.ndim == 0 or values.shape[-1] < 2:
        open_.add(("order", 0))
        return 0
    glance = values.reshape(-1, values.shape[-1])[:1]
    for looked_at in (glance, values):
        before, after = looked_at[..., :-1], looked_at[..., 1:]
        rises, falls = bool((before <= after).all()), bool((before >= after).all())
        if not rises and not falls:
            return 0
    if rises and falls:
        open_.add(("order", 0))
        return 0
    return 1 if rises else -1


def _is_symmetric(values: Array) -> bool | None:
    if values.ndim < 2 or values.shape[-1] != values.shape[-2]:
        return False
    n = values.shape[-1]
    if n < 2 or not values.size:
        return None
    first = values.reshape(-1, n, n)[0]
    for row, column in ((first[0], first[:, 0]), (values, np.swapaxes(values, -1, -2))):
        # Exactly equal first: infinities are so, and their difference is not a number.
        if not (row == column).all():
            with np.errstate(all="ignore"):
                gap, size = np.abs(row - column), float(np.max(np.abs(values)))
            if (
                not math.isfinite(size)
                or not (gap <= _SYMMETRY_ROUNDOFFS * precision_of(values) * math.sqrt(n) * size).all()
            ):
                return False
    off_diagonal = values[..., ~np.eye(n, dtype=bool)]
    is_telling = off_diagonal.any() and not (values == values[..., :1, :1]).all()
    return True if is_telling else None


class _Norms:
    """Sums and norms of one floating tensor along each axis; the round-off unit is worked out once, when needed."""

    def __init__(self, values: Array, low: float, is_finite: bool) -> None:
        self._values = values
        self._is_probable = is_finite and low >= 0.0
        self._is_finite = is_finite
        self._unit: float | None = None

    def sums_to_one(self, axis: int) -> bool | None:
        if not self._values.size:
            return None
        return self._is_one(axis, lambda x: x) if self._is_probable else False

    def has_unit_norm(self, axis: int) -> bool | None:
        if not self._values.size:
            return None
        return self._is_one(axis, lambda x: np.square(x, dtype=np.float64)) if self._is_finite else False

    def _is_one(self, axis: int, of: Callable[[Array], Array]) -> bool | None:
        values = self._values
        lane = values[tuple(slice(None) if k == axis % values.ndim else 0 for k in range(values.ndim))]
        for lanes, along in ((lane, 0), (values, axis)):
            sums = of(lanes).sum(axis=along, dtype=np.float64)
            worst = float(np.abs(sums - 1.0).max())
            # The widest tolerance first: the round-off unit costs more than one slice's sum.
            if not worst <= self._tolerance(lane.size, 2.0**-7) or not worst <= self._tolerance(lane.size):
                return False
        # A single (0, ..., 1, ..., 0) is what anybody types; several are labels.
        is_trivial = lane.size == 1 or (lane.size == values.size and np.count_nonzero(lane) == 1)
        return None if is_trivial else True

    def _tolerance(self, count: int, unit: float | None = None) -> float:
        if unit is None:
            unit = self._unit = self._unit or precision_of(self._values)
        return _ROUNDOFFS * unit * math.sqrt(count)
