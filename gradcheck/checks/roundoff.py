"""How far two results of the same mathematics may differ by round-off alone, measured on the function itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from gradcheck.checks.claim import coarsest
from gradcheck.numeric.differences import Floats
from gradcheck.program import Array

Computation = Callable[[tuple[Array, ...]], tuple[Array, ...]]

# Three moves of sqrt(n) ulps (n: the entries of the largest array, at least 16), the largest effect times this. The
# difference between the pairwise sum and a running one (forwards, backwards, shuffled) of 2 to 1,000 terms (mixed
# signs, one sign, magnitudes over e^±16, cancelling to 1e-9) took at most 0.55 of that bound in 40,000 sums.
_PROBES = 3
_SAFETY = 4.0
# Differences of equal values are exactly 0 while these move together, and round-off in another order. Moved apart, they
# show it; but where a tie decides (a maximum), they show a jump, which is not round-off and is far above this part of
# the largest magnitude (of more, where numbers have few digits: so many of their spacings, at most a part of it).
_CEILING = 1e-8
_CEILING_SPACINGS = 2.0**10
_HIGHEST_CEILING = 0.05
# A result that is nothing but what cancellation left (the deviations from the mean of equal values, say) has no scale
# of its own: it is that many ulps, or fewer, of the largest magnitude in sight. Constants inside the function do not
# move with the inputs, so no probe shows it.
_REMAINS = 64.0
# Where a backward pass cancels to 0, what is left is its own round-off, which may be far above that of its result.
# Cotangents stretched a little show it: thirds, sevenths and elevenths fill the last bits.
_STRETCHES = (1.0 / 3.0, -2.0 / 7.0, 1.0 / 11.0, -1.0 / 3.0, 3.0 / 7.0)
_STRETCH = 1e-9
_STRETCH_SPACINGS = 16.0

# What a claim grants that compares different ways through memory, where sums run in different orders: memory that is
# misread shows far above. Constants of the function do not move with the probes, and what cancels between them may grow
# (the deviations of equal values from their mean, over the root of batch_norm's eps).
ANOTHER_WAY = 2.0**12
# But no more than this part of the scale, which so many spacings of float16 are far above.
_ANY_WAY = 2.0**-3


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Where a result left the bound: which array, which entry, both values and the bound."""

    array: int
    entry: tuple[int, ...]
    actual: complex | float
    expected: complex | float
    bound: float


class NotFinite(ArithmeticError):
    """The expected result has NaN or infinity, so nothing can be compared with it."""


@dataclass(slots=True)
class Yardstick:
    """The expected result of `compute` at `arrays`, and how much round-off can move it.

    The bound for an entry is sqrt(n) ulps of its array's largest magnitude, or, where the array is nothing but what
    cancellation left, of the largest magnitude in sight. Where that is exceeded, the computation is
    repeated with every input value moved by as many ulps, up or down at random: equal magnitudes together, so
    that ties and kinks stay where they are, and then apart. The result moves by about n * eps * sum|terms|. Results
    are also compared with those for cotangents stretched a little.

    Attributes
    ----------
    compute : callable
        From arrays to arrays.
    arrays : tuple of arrays
        Where it is computed: inputs, cotangents, directions.
    generator : numpy Generator
    cotangents : int
        How many arrays, at the end, are cotangents: each result is linear in them all, or does not depend on them.
    least : float
        Ulps of its array's largest magnitude that every bound has at least.
    noise : float
        The relative round-off of `compute`, where it is more than that of the arrays' dtypes.
    """

    compute: Computation
    arrays: tuple[Array, ...]
    generator: np.random.Generator
    cotangents: int = 0
    least: float = 0.0
    noise: float = 0.0
    expected: tuple[Array, ...] = field(init=False)
    _noise: tuple[Array, ...] | None = field(init=False, default=None)

    epsilon: float = field(init=False)
    """The relative round-off that counts: the coarsest of all arrays, or `noise`."""

    def __post_init__(self) -> None:
        self.expected = self.compute(self.arrays)
        self.epsilon = max(self.noise, coarsest((*self.arrays, *self.expected)))

    @property
    def is_finite(self) -> bool:
        """Whether every expected entry is finite: only then can `mismatch` judge."""
        return all(bool(np.isfinite(array).all()) for array in self.expected)

    def mismatch(self, actual: Sequence[Array], *, times: float = 1.0) -> Mismatch | None:
        """The worst entry of `actual` beyond the bound around `times` the expected result; None where there is none.

        Raises
        ------
        NotFinite
            If the expected result is not finite. A NaN in `actual` alone is a mismatch.
        """
        if not self.is_finite:
            raise NotFinite
        expected = [np.float64(times) * array for array in self.expected]
        if _worst(actual, expected, [abs(times) * bound for bound in self._tight()]) is None:
            return None
        return _worst(actual, expected, [abs(times) * bound for bound in self.bounds()])

    def blur(self) -> float:
        """The largest bound relative to its array's scale: an error below it would not be seen."""
        pairs = zip(self.bounds(), self.expected, strict=True)
        return max((float(b.max() / (np.abs(e).max() or 1.0)) for b, e in pairs if e.size), default=0.0)

    def _growth(self) -> float:
        return math.sqrt(max([16, *(array.size for array in self.arrays)]))

    def _tight(self) -> list[Array]:
        growth = self._growth()
        largest = max((float(np.abs(a).max()) for a in (*self.expected, *self._floating()) if a.size), default=0.0)
        scales = [float(np.abs(e).max()) if e.size else 0.0 for e in self.expected]
        found = []
        for e, scale in zip(self.expected, scales, strict=True):
            own = growth * (scale if scale > _REMAINS * self.epsilon * largest else largest)
            least = min(self.least * self.epsilon, _ANY_WAY) * scale
            found.append(np.full(e.shape, max(self.epsilon * own, least)))
        return found

    def bounds(self) -> list[Array]:
        """For each entry of the expected result, what round-off alone may change it by."""
        if self._noise is None:
            # A probe that left the domain says nothing; its NaN must not become a bound.
            together, apart = (self._moves(ties_hold) for ties_hold in (True, False))
            ceiling = highest_round_off(self.epsilon) * max(
                (float(np.abs(e).max()) for e in (*self.expected, *self._floating()) if e.size), default=0.0
            )
            moved = [np.maximum(a, np.where(b <= ceiling, b, 0.0)) for a, b in zip(together, apart, strict=True)]
            self._noise = tuple(np.maximum(m, s) for m, s in zip(moved, self._stretched(ceiling), strict=True))
        return [t + _SAFETY * noise for t, noise in zip(self._tight(), self._noise, strict=True)]

    def _moves(self, ties_hold: bool) -> list[Array]:
        """For each entry, the largest effect of a few moves; 0 where none can be told."""
        moved = [
            self.compute(
                moved_by_ulps(self.arrays, self.generator, self._growth(), ties_hold=ties_hold, noise=self.noise)
            )
            for _ in range(_PROBES)
        ]
        with np.errstate(over="ignore", invalid="ignore"):
            gaps = [np.max([np.abs(probe[k] - e) for probe in moved], axis=0) for k, e in enumerate(self.expected)]
        return [np.nan_to_num(gap, posinf=0.0) for gap in gaps]

    def _stretched(self, ceiling: float) -> list[float]:
        """For each result, the largest miss of any entry when the cotangents are stretched."""
        missed = [0.0] * len(self.expected)
        if not self.cotangents:
            return missed
        held, cotangents = self.arrays[: -self.cotangents], self.arrays[-self.cotangents :]
        unit = max(_STRETCH, _STRETCH_SPACINGS * self.epsilon)
        for stretch in (1.0 + part * unit for part in _STRETCHES):
            found = self.compute((*held, *((np.float64(stretch) * u).astype(u.dtype) for u in cotangents)))
            for k, (a, e) in enumerate(zip(found, self.expected, strict=True)):
                with np.errstate(over="ignore", invalid="ignore"):
                    gap = np.minimum(np.abs(a - np.float64(stretch) * e), np.abs(a - e))
                missed[k] = max(missed[k], float(np.max(gap, where=gap <= ceiling, initial=0.0)))
        return missed

    def _floating(self) -> list[Array]:
        return [array for array in self.arrays if array.dtype.kind in "fc"]


def moved_by_ulps(
    arrays: Sequence[Array],
    generator: np.random.Generator,
    ulps: float,
    *,
    ties_hold: bool = True,
    noise: float = 0.0,
) -> tuple[Array, ...]:
    """Each floating value moved by `ulps` ulps up or down; equal magnitudes move together if `ties_hold`.

    `noise` stands for an ulp where it is more than that.
    """
    magnitudes = [np.abs(a).ravel() for a in arrays if a.dtype.kind in "fc"]
    if not magnitudes:
        return tuple(arrays)
    known = np.unique(np.concatenate(magnitudes).astype(np.float64))
    signs = generator.choice([-1.0, 1.0], known.shape)

    def moved(array: Array) -> Array:
        if array.dtype.kind not in "fc" or not array.size:
            return array
        if ties_hold:
            sign = signs[np.searchsorted(known, np.abs(array).astype(np.float64))]
        else:
            sign = generator.choice([-1.0, 1.0], array.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray((array * (1.0 + ulps * max(_eps(array), noise) * sign)).astype(array.dtype))

    return tuple(moved(array) for array in arrays)


def highest_round_off(epsilon: float) -> float:
    """The part of the largest magnitude above which a change is a jump, and no round-off."""
    return max(_CEILING, min(_CEILING_SPACINGS * epsilon, _HIGHEST_CEILING))


def fills_float32(array: Array) -> bool:
    """Whether float32 numbers use more than 21 of their 24 bits, as all but one in eight do by chance.

    What cancellation leaves fits into float32 too, but is a multiple of one quantum: small numbers need few bits.
    """
    real = np.stack([array.real, array.imag]) if array.dtype.kind == "c" else array
    mantissa = np.ldexp(np.frexp(real[real != 0])[0], 21)
    return bool(mantissa.size) and bool(np.mean(mantissa != np.rint(mantissa)) > 0.5)


def _worst(actual: Sequence[Array], expected: Sequence[Array], bounds: Sequence[Array]) -> Mismatch | None:
    found: tuple[float, Mismatch] | None = None
    for k, (a, e, bound) in enumerate(zip(actual, expected, bounds, strict=True)):
        if a.shape != e.shape:
            return Mismatch(k, (), float("nan"), float("nan"), 0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            off = np.abs(a - e)
        beyond = ~(off <= bound)  # so that NaN is beyond
        if not beyond.any():
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            excess = np.where(beyond, np.where(np.isfinite(off), off / np.maximum(bound, 1e-300), np.inf), -1.0)
        entry = np.unravel_index(int(excess.argmax()), excess.shape)
        if found is None or excess[entry] > found[0]:
            at = tuple(int(i) for i in entry)
            found = float(excess[entry]), Mismatch(k, at, a[entry].item(), e[entry].item(), float(bound[entry]))
    return None if found is None else found[1]


def _eps(array: Array) -> float:
    return float(np.finfo(array.dtype).eps) if array.dtype.kind in "fc" else 0.0


def rounded_to(values: Floats, most: float) -> Floats:
    """To what multiples numbers were rounded that have empty last bits: ``(c + g) - g`` is one of g's last place.

    Such a number is the same for all g, so that moving the inputs does not show it. Multiples of more than `most` are
    those of ordinary short numbers; three empty bits are chance.
    """
    known = np.where(np.isfinite(values), values, 0.0)
    mantissa, exponent = np.frexp(known)
    digits = np.ldexp(np.abs(mantissa), 53).astype(np.int64)
    last = np.ldexp((digits & -digits).astype(np.float64), exponent - 53)
    return np.asarray(np.where((last > 4.0 * np.spacing(np.abs(known))) & (last <= most), last, 0.0))
