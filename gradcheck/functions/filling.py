"""Draws the values of one tensor anew so that what held for every value seen holds again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck.functions.wishes import Interval
from gradcheck.numeric.differences import Floats
from gradcheck.observation.facts import Facts, facts_of, joined
from gradcheck.program import Array

# Draws before a wish is given up: rounding to the tensor's dtype can spoil one, a tie in float16 say.
_ATTEMPTS = 4
# Values remembered of a large tensor.
_REMEMBERED = 4096
# How near an integer a value may lie, since kinks lie there; and how far it is moved away.
_NEAR, _AWAY = 0.05, 0.13
# The part of entries that become exact zeros, or copies of an extreme one.
_ZEROS, _TIES = 0.35, 0.25
# Values nearer to one another than this, in units of the largest, are drawn again: a step should cross no tie.
_APART = 2.0**-9
# More values than this lie nearer to one another anyway.
_CROWD = 100


@dataclass(frozen=True, slots=True)
class Manner:
    """What is wished for beyond the facts.

    Attributes
    ----------
    scale : float
        A factor on the magnitudes seen.
    zeros : str
        Exact zeros: "" for none, "some", "row" (one slice of the last axis) or "all".
    ties : str
        Copies of one another: "" for none, else of the "largest" or the "smallest" entry, in every slice two at the
        least, as an extreme that is attained once shows no tie.
    """

    scale: float = 1.0
    zeros: str = ""
    ties: str = ""


def bounds(facts: Facts, domain: Interval | None) -> Interval:
    """Between which values may lie: in the domain said, else on the side of zero, or in [0, 1], where all values were.

    Zeros alone are on no side.
    """
    if domain is not None:
        return domain
    low, high = facts.low, facts.high
    if low > high or low == high == 0.0:
        return -math.inf, math.inf
    if low >= 0.0:
        return 0.0, 1.0 if high <= 1.0 else math.inf
    return -math.inf, 0.0 if high <= 0.0 else math.inf


def may_be_zero(facts: Facts) -> bool:
    """Whether zeros belong to what was seen: they were there, or lie between plain numbers of both signs."""
    is_plain = not (facts.is_integral or facts.is_symmetric)
    return facts.has_zeros or (facts.low < 0.0 < facts.high and is_plain)


def may_be_tied(facts: Facts) -> bool:
    """Whether equal values belong to what was seen: they were there, or nothing but chance kept plain numbers distinct.

    Integers that are distinct are places or names, numbers in strict order nodes or edges of bins.
    """
    is_plain = not (facts.is_integral or facts.is_symmetric or facts.order or facts.sums_to_one or facts.unit_norm)
    return not facts.is_distinct or is_plain


def keeps(facts: Facts, values: Array, domain: Interval | None = None, *, tied: bool = False) -> bool:
    """Whether the facts, sign and range among them, hold for these values too; `tied` ones need not be distinct.

    Where an axis that was normalised has size 1, its values are forced, and cannot be distinct.
    """
    found = facts_of(values)
    both = joined(facts, found)
    low, high = bounds(facts, domain)
    if found.low < low or found.high > high:
        return False
    normalised = (*facts.sums_to_one, *facts.unit_norm)
    is_forced = any(values.shape[axis] == 1 for axis in normalised)
    if domain is None and high == 1.0 and facts.high < 1.0 and found.high >= 1.0 and not normalised:
        return False
    return (
        both.is_finite >= facts.is_finite
        and both.has_zeros <= may_be_zero(facts)
        and both.is_integral >= facts.is_integral
        and (is_forced or tied or both.is_distinct >= facts.is_distinct)
        and both.is_symmetric >= facts.is_symmetric
        and both.order in (facts.order, facts.order or both.order)
        and {*facts.sums_to_one} <= {*both.sums_to_one}
        and {*facts.unit_norm} <= {*both.unit_norm}
    )


class Filler:
    """Draws values for one tensor.

    Parameters
    ----------
    seen : array
        The tensor of the observed call: floating or complex; its magnitudes and its dtype are taken over.
    facts : Facts
    domain : pair of floats or None
        Where values may lie; takes the place of the sign and range seen.
    """

    def __init__(self, seen: Array, facts: Facts, domain: Interval | None = None) -> None:
        self.seen = seen
        self.facts = facts
        self.domain = domain
        self._low, self._high = bounds(facts, domain)
        self._sizes = _magnitudes(seen)
        self._is_definite = facts.is_symmetric and _is_definite(seen)

    def bears(self, manner: Manner) -> bool:
        """Whether such values can be tried, as far as the facts go: magnitudes and ties."""
        facts = self.facts
        if manner.ties:
            # There are two entries at the least, and nothing speaks against it.
            return self.seen.size > 1 and ("is_distinct", 0) not in facts.open and may_be_tied(facts)
        if self.domain is not None or facts.sums_to_one or facts.unit_norm:
            return manner.scale == 1.0
        return manner.scale == 1.0 or (not facts.is_integral if manner.scale < 1.0 else self._high != 1.0)

    def draw(
        self, shape: tuple[int, ...], random: np.random.Generator, manner: Manner, expanded: Sequence[int] = ()
    ) -> Array | None:
        """Values of that shape that keep the facts; None where there are none of that manner.

        Parameters
        ----------
        shape : tuple of int
        random : Generator
        manner : Manner
        expanded : sequence of int
            Axes along which the values are the same place in memory.
        """
        facts = self.facts
        is_bound = bool(facts.sums_to_one or facts.unit_norm or facts.is_symmetric)
        if (0 in shape and is_bound) or (len(shape) < self.seen.ndim and (is_bound or facts.order)):
            return None  # nothing sums to one, nor is a matrix, nor in order
        base = tuple(1 if axis in expanded else n for axis, n in enumerate(shape))
        for _ in range(_ATTEMPTS):
            with np.errstate(all="ignore"):
                drawn = self._drawn(base, random, manner).astype(self.seen.dtype)
            values = np.broadcast_to(drawn, shape) if expanded else drawn
            if self.fits(values, manner):
                return values
        return None if manner != Manner() else self._rearranged(shape, random)

    def is_inside(self, values: Array) -> Any:
        """Which values lie strictly within the bounds."""
        return (self._low < values) & (values < self._high)

    def fits(self, values: Array, manner: Manner) -> bool:
        """Whether values are of that manner and keep the facts."""
        if manner.zeros and values.size:
            zeros = values == 0
            wanted = {"some": zeros.any(), "row": np.atleast_1d(zeros).all(axis=-1).any(), "all": zeros.all()}
            if not wanted[manner.zeros]:
                return False
        return keeps(self.facts, values, self.domain, tied=bool(manner.ties) and may_be_tied(self.facts))

    def _rearranged(self, shape: tuple[int, ...], random: np.random.Generator) -> Array | None:
        """The values seen, cut or repeated, their slices in another order where the facts bear it."""
        plain = resized(self.seen, shape)
        mixed = plain
        order = [random.permutation(n) for n in shape]
        if self.facts.is_symmetric:
            order[-1] = order[-2]
        for axis, places in enumerate(order):
            mixed = np.take(mixed, places, axis)
        return next((values for values in (mixed, plain) if keeps(self.facts, values, self.domain)), None)

    def _drawn(self, shape: tuple[int, ...], random: np.random.Generator, manner: Manner) -> Array:
        count = math.prod(shape)
        values: Array = self._numbers(count, random, manner.scale).reshape(shape)
        if self.seen.dtype.kind == "c":
            values = values + 1j * self._numbers(count, random, manner.scale).reshape(shape)
        _mark(values, random, manner, self.facts.is_distinct)
        return self._constrained(values, random)

    def _numbers(self, count: int, random: np.random.Generator, scale: float) -> Floats:
        if self.facts.is_integral:
            return self._integers(count, random, scale)
        found = self._fresh(count, random, scale)
        if count <= _CROWD:
            for _ in range(_ATTEMPTS):
                near = _crowded(found)
                if not near.size:
                    break
                found[near] = self._fresh(near.size, random, scale)
        elif self.facts.is_distinct:
            found *= 1.0 + 2.0**-9 * random.random(count)
            found = np.clip(found, self._low, self._high)
        return found

    def _fresh(self, count: int, random: np.random.Generator, scale: float) -> Floats:
        """Short decimals of magnitudes as seen, on the side of zero that was seen."""
        found = scale * random.choice(self._sizes, count) * 2.0 ** random.uniform(-0.5, 0.5, count)
        if self._low < 0.0:
            found *= -1.0 if self._high <= 0.0 else random.choice((-1.0, 1.0), count)
        found = off_integers(short(found), self._low, self._high)
        outside = (found <= self._low) | (found >= self._high) | (found == 0.0)
        if outside.any():
            low, high = self._span(scale)
            found[outside] = low + (high - low) * random.integers(20, 980, int(outside.sum())) / 1000.0
        return found

    def _span(self, scale: float) -> Interval:
        """A finite interval within the bounds, near the magnitudes seen."""
        reach = 3.0 * scale * float(self._sizes.max())
        low, high = max(self._low, -reach), min(self._high, reach)
        if low < high:
            return low, high
        if math.isfinite(self._low):
            return self._low, min(self._high, self._low + max(1.0, abs(self._low)))
        return self._high - max(1.0, abs(self._high)), self._high

    def _integers(self, count: int, random: np.random.Generator, scale: float) -> Floats:
        facts = self.facts
        low, high = (max(facts.low, self._low), min(facts.high, self._high)) if self.domain else (facts.low, facts.high)
        first = math.ceil(low * scale if low < 0 else low)
        last = max(math.floor(high * scale if high > 0 else high), first)
        if facts.is_distinct:
            last = max(last, first + count)
        if last - first > 2**20:
            choices = np.unique(np.rint(scale * np.append(self._sizes, np.sign(low) * self._sizes)))
        else:
            choices = np.arange(first, last + 1, dtype=np.float64)
        if not facts.has_zeros:
            choices = choices[choices != 0.0]
        if not choices.size:
            return np.full(count, math.nan)
        replace = not facts.is_distinct or count > choices.size
        return np.asarray(random.choice(choices, count, replace=replace), dtype=np.float64)

    def _constrained(self, values: Array, random: np.random.Generator) -> Array:
        """The values moved onto the sets on which the tensor was seen."""
        facts = self.facts
        if not facts.is_finite:
            before = resized(self.seen, values.shape)
            values = np.where(np.isfinite(before), values, before)
        if facts.is_symmetric and values.ndim > 1 and values.shape[-1] == values.shape[-2]:
            values = self._symmetric(values)
        if facts.order:
            values = np.sort(values, axis=-1)[..., :: facts.order]
        if facts.sums_to_one:
            return _probabilities(values, facts.sums_to_one[0], random, one_hot=facts.is_integral)
        if facts.unit_norm:
            return np.asarray(values / np.sqrt(np.square(values).sum(axis=facts.unit_norm[0], keepdims=True)))
        return values

    def _symmetric(self, values: Array) -> Array:
        """The upper triangle on both sides; a positive definite matrix is made so by its diagonal."""
        upper = np.triu(values)
        values = upper + np.swapaxes(np.triu(values, 1), -1, -2)
        if not self._is_definite:
            return values
        own = np.abs(np.diagonal(values, axis1=-2, axis2=-1))
        beside = np.abs(values).sum(axis=-1) - own
        places = np.arange(values.shape[-1])
        values[..., places, places] = beside + np.maximum(own, 0.125 * float(np.abs(values).max(initial=0.0)))
        return np.asarray(values / (1.125 * float(values.max()))) if self._high == 1.0 else values


def resized(values: Array, shape: Sequence[int]) -> Array:
    """The values cut, or repeated from the start, along each axis; an empty axis stays empty."""
    for axis, n in enumerate(shape):
        if n != values.shape[axis]:
            values = np.take(values, np.arange(n) % max(values.shape[axis], 1), axis)
    return values


def short(values: Floats) -> Floats:
    """Rounded to three significant decimals."""
    with np.errstate(divide="ignore"):
        exponent = np.where(values == 0.0, 0.0, np.floor(np.log10(np.abs(values))))
    # Powers of ten of either sign are divided by or multiplied with, whichever is exact.
    up, down = 10.0 ** np.maximum(2 - exponent, 0.0), 10.0 ** np.maximum(exponent - 2, 0.0)
    return np.asarray(np.rint(values * up / down) / up * down)


def off_integers(values: Floats, low: float, high: float) -> Floats:
    """Values near an integer other than zero moved aside, within the bounds."""
    nearest = np.rint(values)
    is_near = (np.abs(values - nearest) < _NEAR) & (nearest != 0.0) & (np.abs(nearest) < 100.0)
    outwards = nearest + np.sign(nearest) * _AWAY
    aside = np.where((outwards > low) & (outwards < high), outwards, nearest - np.sign(nearest) * _AWAY)
    return np.asarray(np.where(is_near, aside, values))


def _magnitudes(seen: Array) -> Floats:
    """Of the entries that are finite and not zero; 1 where there is none."""
    parts = np.concatenate([seen.real.reshape(-1), seen.imag.reshape(-1)]) if seen.dtype.kind == "c" else seen
    found = np.abs(parts.reshape(-1)[:: -(-max(seen.size, 1) // _REMEMBERED)].astype(np.float64))
    found = found[np.isfinite(found) & (found != 0.0)]
    return found if found.size else np.ones(1)


def _is_definite(seen: Array) -> bool:
    """Whether each of the symmetric matrices is positive definite."""
    try:
        np.linalg.cholesky(seen.astype(np.float64))
    except (np.linalg.LinAlgError, ValueError):
        return False
    return True


def _crowded(values: Floats) -> Any:
    """The places of values that lie near another one."""
    order = np.argsort(values)
    gaps = np.diff(values[order])
    return order[1:][gaps < _APART * float(np.abs(values).max(initial=0.0))]


def _mark(values: Array, random: np.random.Generator, manner: Manner, is_distinct: bool) -> None:
    """Write the zeros and ties that are wished for; of distinct values, one can be zero."""
    if not values.size:
        return
    flat = values.reshape(-1)
    if manner.ties:
        _tie(values, random, largest=manner.ties == "largest")
    if manner.zeros == "all":
        flat[:] = 0.0
    elif manner.zeros == "some":
        chosen = random.random(flat.size) < (0.0 if is_distinct else _ZEROS)
        chosen[random.integers(flat.size)] = True
        flat[chosen] = 0.0
    elif manner.zeros == "row" and values.ndim:
        rows = values.reshape(-1, values.shape[-1])
        rows[random.integers(len(rows))] = 0.0


def _tie(values: Array, random: np.random.Generator, *, largest: bool) -> None:
    """Copy one extreme value to two places of each slice of the last axis that has two, and to some others.

    The places are the same in all slices, so that slices of the other axes have ties too.
    """
    flat = values.reshape(-1)
    size = flat.real if values.dtype.kind != "c" else np.abs(flat)
    extreme = flat[int(size.argmax() if largest else size.argmin())]
    flat[random.random(flat.size) < _TIES] = extreme
    axis = next((axis for axis in reversed(range(values.ndim)) if values.shape[axis] > 1), None)
    if axis is not None:
        np.moveaxis(values, axis, 0)[random.permutation(values.shape[axis])[:2]] = extreme


def _probabilities(values: Array, axis: int, random: np.random.Generator, *, one_hot: bool) -> Array:
    if one_hot:
        chosen = random.integers(values.shape[axis], size=np.expand_dims(values.sum(axis=axis), axis).shape)
        places = np.moveaxis(np.arange(values.shape[axis]).reshape((-1,) + (1,) * (values.ndim - 1)), 0, axis)
        return np.asarray(places == chosen, dtype=np.float64)
    values = np.abs(values)
    return np.asarray(values / values.sum(axis=axis, keepdims=True))
