"""The material of drawn programs: shapes, numbers, layouts and indices, each worked out from a few bytes.

Smaller bytes give simpler material. Every rate is a number of bytes out of 256, stated beside its table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.program import Array

if TYPE_CHECKING:
    from refengine.spec import Interval

Shape = tuple[int, ...]

LARGEST = 64
"""Elements of the largest value that is used further."""
BOUND = 1e3
"""Values beyond are not used further, so that no difference loses its digits."""

_SHAPES: tuple[tuple[Shape, int], ...] = (
    # Size 1 before size 2: shrinking walks to the front, and what fails at size 1 must not be stuck at size 2.
    ((), 14), ((1,), 12), ((2,), 33), ((3,), 34), ((1, 1), 3), ((1, 2), 6), ((2, 1), 8), ((2, 2), 14), ((2, 3), 30),
    ((3, 2), 16), ((1, 3), 10), ((3, 3), 10), ((4,), 8), ((1, 2, 2), 6), ((2, 2, 2), 6), ((2, 1, 3), 8),
    ((2, 3, 2), 10), ((2, 3, 4), 4), ((6,), 4), ((1, 1, 2, 1), 3), ((2, 2, 1, 2), 4), ((2, 2, 3, 2), 6),
    ((1, 2, 1, 3), 4), ((0,), 1), ((2, 0), 1), ((0, 3), 1),
)  # fmt: skip
SHAPES: tuple[Shape, ...] = tuple(shape for shape, rate in _SHAPES for _ in range(rate))
"""The shape of a fresh input, by byte: 1 % have an axis of size 0, a third one of size 1."""
FALLBACK_SHAPES: tuple[Shape, ...] = ((1,), (2,), (1, 1), (2, 2), (2, 3), (1, 2, 2), (2, 2, 3), (1, 2, 2, 3), ())
"""Tried in this order for an op that does not accept the drawn shape."""

SPECIALS = (0.0, 1.0, -1.0, 0.5, 2.0)
GENERIC, MIXED, INTEGERS, EQUAL = 152, 216, 236, 250
"""Values by byte: scattered (59 %), half specials (25 %), small integers (8 %), all equal (5 %), far apart (2 %)."""
CONTIGUOUS, TRANSPOSED, STRIDED = 152, 196, 228
"""Layouts by byte: contiguous (60 %), transposed (17 %), with gaps (12 %), expanded (11 %)."""
REPEATED, CONSTANT = 96, 224
"""Indices by byte: counting up, drawn with repetitions (50 %), all the same (12 %)."""


def _shuffled() -> tuple[float, ...]:
    """The fractions k/256 in a fixed scattered order that starts with round ones."""
    order = [192, 64, 160, 224, 32, 96]
    rest = [k for k in range(256) if k not in order]
    state = 12345
    for i in range(len(rest) - 1, 0, -1):  # Fisher and Yates, with the C standard's generator
        state = (1103515245 * state + 12345) % 2**31
        j = (state >> 8) % (i + 1)
        rest[i], rest[j] = rest[j], rest[i]
    return tuple(k / 256 for k in order + rest)


_FRACTIONS = _shuffled()


def scatter(count: int, seed: int, stride: int) -> list[float]:
    """`count` fractions in [0, 1) by a seed and a stride in [0, 256): pairwise different up to 256."""
    step = 2 * stride + 1
    return [_FRACTIONS[(seed + k * step) & 255] for k in range(count)]


def is_allowed(value: float, domain: Interval) -> bool:
    """Whether `value` lies in the smooth part of `domain`."""
    return domain.low <= value <= domain.high and all(abs(value - a) >= domain.margin for a in domain.avoid)


@lru_cache(maxsize=256)
def span(domain: Interval, wide: bool = False) -> tuple[float, float]:
    """Where generic values are drawn from: about [-2, 2], or [-8, 8] where `wide`, moved into `domain`."""
    half = 8.0 if wide else 2.0
    low = max(domain.low, min(-half, domain.high - 2 * half))
    high = min(domain.high, max(half, domain.low + 2 * half))
    return low, high


@lru_cache(maxsize=256)
def specials(domain: Interval) -> tuple[float, ...]:
    """The special values that `domain` allows."""
    return tuple(value for value in SPECIALS if is_allowed(value, domain))


@lru_cache(maxsize=256)
def kinks_of(domain: Interval, at: tuple[float, ...]) -> tuple[float, ...]:
    """The kinks that lie inside `domain`."""
    return tuple(value for value in at if domain.low <= value <= domain.high)


def numbers(count: int, domain: Interval, mode: int, seed: int, stride: int, at: tuple[float, ...] = ()) -> list[float]:
    """`count` short decimals in `domain`; `at` are points to visit, kinks among them."""
    low, high = span(domain, mode >= EQUAL and not at)
    fractions = scatter(count, seed, stride)
    if at:
        return [at[k % len(at)] if f < 0.5 else _generic(f, low, high, domain) for k, f in enumerate(fractions)]
    if GENERIC <= mode < EQUAL and count:
        choices = specials(domain)
        if mode >= INTEGERS and choices:
            return [choices[seed % len(choices)]] * count
        if mode >= MIXED:
            choices = tuple(float(n) for n in (0, 1, 2, -1, -2) if is_allowed(n, domain))
        if choices:
            every = mode >= MIXED
            found = [
                choices[int(f * 2048) % len(choices)] if every or f < 0.5 else _generic(f, low, high, domain)
                for f in fractions
            ]
            # So that a small seed brings a special value to the place that stays while the shape shrinks.
            found[0] = choices[seed % len(choices)]
            return found
    return [_generic(f, low, high, domain) for f in fractions]


def _generic(fraction: float, low: float, high: float, domain: Interval) -> float:
    value = round(low + fraction * (high - low), 2)
    if not low <= value <= high:
        value = low + fraction * (high - low)
    for point in domain.avoid:
        if abs(value - point) < 2 * domain.margin:
            away = 2 * domain.margin + 0.25
            value = point + away if point + away <= high else point - away
    return value


def spread(values: Sequence[float], domain: Interval) -> list[float]:
    """The same number of values in `domain`, at even distances in the order of `values`: no two are near each other."""
    low, high = span(domain, len(values) > 16)
    order = sorted(range(len(values)), key=values.__getitem__)
    found = list(values)
    for rank, k in enumerate(order):
        found[k] = _generic((rank + 0.5) / len(values), low, high, domain)
    return found


def arranged(values: list[float], shape: Shape, layout: int) -> Array:
    """An array of that shape in the layout that the byte asks for, where the shape has it."""
    plain = np.array(values, dtype=np.float64)
    if layout < CONTIGUOUS or plain.size == 0 or not shape:
        return plain if plain.shape == shape else plain.reshape(shape).copy()
    if layout < TRANSPOSED and len(shape) > 1:
        return plain.reshape(shape[::-1]).T
    if layout < STRIDED:
        wide = np.full((*shape[:-1], 2 * shape[-1]), 7.0)
        gapped = wide[..., 1::2] if layout & 1 else wide[..., ::2]
        gapped[...] = plain.reshape(shape)
        return gapped
    axes = [axis for axis, n in enumerate(shape) if n > 1]
    if not axes:
        return plain.reshape(shape)
    axis = axes[layout % len(axes)]
    single = (*shape[:axis], 1, *shape[axis + 1 :])
    return np.broadcast_to(plain[: math.prod(single)].reshape(single), shape)


def index_numbers(count: int, high: int, mode: int, seed: int) -> list[int]:
    """`count` indices below `high`."""
    if high <= 0 or mode < REPEATED:
        return [k % max(high, 1) for k in range(count)]
    if mode >= CONSTANT:
        return [seed % high] * count
    return [int(f * high) for f in scatter(count, seed, mode)]


@lru_cache(maxsize=1024)
def broadcastable(shape: Shape, into: bool = False) -> tuple[Shape, ...]:
    """Shapes that broadcast with `shape` to at most LARGEST elements, or to `shape` itself, which comes first."""
    found: list[Shape] = [shape]
    found += [(*shape[:axis], 1, *shape[axis + 1 :]) for axis, n in enumerate(shape) if n != 1]
    found += [(*shape[:axis], 2, *shape[axis + 1 :]) for axis, n in enumerate(shape) if n == 1]
    found += [shape[axis:] for axis in range(1, len(shape) + 1)]
    if len(shape) < 4:
        found += [(1, *shape), (2, *shape)]
    if len(shape) == 2:
        found.append((2, 1, shape[1]))
    size = {one: broadcast_size(shape, one) for one in found}
    return tuple(dict.fromkeys(s for s in found if 0 <= size[s] <= LARGEST and (not into or broadcasts_to(s, shape))))


def broadcasts_to(one: Shape, other: Shape) -> bool:
    """Whether an array of shape `one` can be written into one of shape `other`."""
    return len(one) <= len(other) and all(m in (1, n) for m, n in zip(reversed(one), reversed(other), strict=False))


@lru_cache(maxsize=4096)
def broadcast_size(one: Shape, other: Shape) -> int:
    """Elements of the broadcast result; -1 where the shapes do not broadcast."""
    size = 1
    for k in range(1, max(len(one), len(other)) + 1):
        m = one[-k] if k <= len(one) else 1
        n = other[-k] if k <= len(other) else 1
        if m != n and m != 1 and n != 1:
            return -1
        size *= n if m == 1 else m
    return size


def axis_at(byte: int, ndim: int) -> int:
    """One axis: counted from the front (half of the bytes) or from the back. A byte means the same for every rank."""
    place = (byte & 127) // 32 % ndim
    return place if byte < 128 else -1 - place


_NONE, _ONE = 56, 192
"""Axes of a reduction by byte: all (22 %), one (53 %), a tuple (25 %)."""


@lru_cache(maxsize=2048)
def axes_at(byte: int, ndim: int) -> int | tuple[int, ...] | None:
    """The axes of a reduction as a user may write them; a byte means much the same for every rank."""
    if byte < _NONE:
        return None
    if byte < _ONE:
        return axis_at((byte - _NONE) * 256 // (_ONE - _NONE), ndim)
    byte -= _ONE
    count = 1 + byte // 16 % ndim
    first = axis_at(16 * (byte % 16), ndim)
    found = [(first + k * (-1 if byte & 1 else 1)) % ndim for k in range(count)]
    return tuple(axis - ndim if (byte >> k) & 2 else axis for k, axis in enumerate(found))
