"""Points beside the one that fails: near it, of tamer numbers, with fewer entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.checks.claim import Subject
from gradcheck.checks.passes import contiguous
from gradcheck.program import Array

# How far values are moved so that none stays zero, equal to another or an integer, and most stay on their side.
_NEAR = (0.03, 0.15)
# Entries of an axis that is cut.
_KEPT = 2


def nearby(subject: Subject, inputs: Sequence[Array], side: float = 1.0) -> tuple[Array, ...]:
    """Generic values near those given; with ``side=-1.0`` each on the other side of its own."""
    random = subject.generator("diagnosis: nearby")

    def moved(x: Array) -> Array:
        if x.dtype.kind != "f":
            return x
        size = np.where(np.isfinite(x) & (x != 0.0), np.abs(x), 0.0)
        change = random.uniform(*_NEAR, x.shape) * random.choice([-1.0, 1.0], x.shape)
        scale = float(np.median(size[size > 0.0])) if size.any() else 1.0
        return np.asarray(x + side * change * np.where(size > 0.0, size, min(scale, 1.0)), dtype=x.dtype)

    return tuple(moved(x) for x in inputs)


def is_special(inputs: Sequence[Array]) -> str:
    """Which values of the inputs no random number has; "" where none are."""
    words = []
    floating = [x for x in inputs if x.dtype.kind == "f" and x.size]
    if any((x == 0.0).any() for x in floating):
        words.append("exact zeros")
    if any(x.size > 1 and np.unique(x[x != 0.0]).size < np.count_nonzero(x) for x in floating):
        words.append("equal values")
    if not words and any(np.any(np.isfinite(x) & (x == np.rint(x))) for x in floating):
        words.append("integers")
    if any((~np.isfinite(x)).any() for x in floating):
        words.append("infinities or NaN")
    return " and ".join(words)


def elsewhere(subject: Subject, inputs: Sequence[Array]) -> Iterator[tuple[str, tuple[Array, ...]]]:
    """The same shapes with values of other regions, each with its name."""
    random = subject.generator("diagnosis: elsewhere")

    def filled(low: float, high: float, sign: int) -> tuple[Array, ...]:
        made = []
        for x in inputs:
            values = random.uniform(low, high, x.shape)
            signs = sign or random.choice([-1.0, 1.0], x.shape)
            made.append(np.asarray(values * signs, dtype=x.dtype) if x.dtype.kind == "f" else x)
        return tuple(made)

    yield "for values from 0.5 to 1.5", filled(0.5, 1.5, 1)
    yield "for values from -1.5 to -0.5", filled(0.5, 1.5, -1)
    yield "for values from -1.5 to 1.5", filled(0.25, 1.5, 0)
    yield "for values from 3 to 6", filled(3.0, 6.0, 1)
    yield "for values below 0.1", filled(0.01, 0.1, 0)


def window(inputs: Sequence[Array], k: int, place: int) -> tuple[tuple[Array, ...], tuple[int, ...]] | None:
    """The inputs cut to two entries along every longer axis, around one entry of input `k`, and where that one is now.

    Axes of one size are cut alike, as they often belong together. None where nothing is to be cut.
    """
    shape = inputs[k].shape
    entry = np.unravel_index(place, shape)
    cuts: dict[int, slice] = {}
    for size, i in zip(shape, entry, strict=True):
        if size > _KEPT and size not in cuts:
            start = min(max(int(i) - 1, 0), size - _KEPT)
            cuts[size] = slice(start, start + _KEPT)
    if not cuts:
        return None
    for x in inputs:
        for size in x.shape:
            if size > _KEPT:
                cuts.setdefault(size, slice(0, _KEPT))
    made = tuple(contiguous(x[tuple(cuts.get(n, slice(None)) for n in x.shape)]) for x in inputs)
    where = tuple(
        min(max(int(i) - cuts[n].start, 0), _KEPT - 1) if n in cuts else int(i)
        for n, i in zip(shape, entry, strict=True)
    )
    return made, where


def reversed_order(inputs: Sequence[Array]) -> tuple[Array, ...]:
    """The same values, each input in the opposite order."""
    return tuple(contiguous(x.reshape(-1)[::-1].reshape(x.shape)) if x.dtype.kind == "f" else x for x in inputs)
