"""Gradients in float16 and bfloat16 against those in float64: means over points nearby, and what float32 predicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradcheck.checks.claim import Subject
from gradcheck.checks.passes import draw_like, pulled
from gradcheck.failures import Unsupported
from gradcheck.numeric.derivative import NOT_FINITE
from gradcheck.numeric.differences import Floats
from gradcheck.program import Array

# The spacing at 1 and the smallest positive number of each half precision.
HALVES = {"float16": (2.0**-10, 2.0**-24), "bfloat16": (2.0**-7, 2.0**-133)}
_SINGLE = 2.0**-23
# Points at which both precisions are compared. An error of three units in an entry, and one of 1 % in bfloat16 in all
# entries, show in the mean over so many; what is found is looked for at as many others.
_POINTS = 16
# Spacings by which each number moves between points at most, so that every rounding falls another way.
_STRAY = 3
# Standard errors of a mean that are granted. The confirmation squares what chance is left.
_SURE = 6.0
# Part of the round-off that float32 predicts and half precision does not scatter over the points: it stands still.
_STUCK = 2.0
# Round-offs granted in any case: a constant of the function is rounded once, the same way at every point. More where
# numbers have many digits, as long as it stays far below the 1 % that is looked for.
_LEAST, _MOST, _ENOUGH = 1.5, 4.0, 2.5e-3
# A move of a few spacings that changes an entry by more than this part is a kink or a tie, of which rounding decides.
_JUMP = 0.25
# Cotangents are larger by this at the second look, where numbers end early: what underflow did to a gradient goes then.
_LARGER = 16.0
# What underflow takes, half of 2**-24, is not so much after a factor of half a million.
_UNDERFLOWN = 2.0**-6


@dataclass(frozen=True, slots=True)
class Off:
    """A result in half precision that is off.

    Attributes
    ----------
    array : int
        Which: the outputs first, then the gradients.
    entry : tuple of int
    part : float
        How far off, relative to its size, in the mean over points nearby.
    is_uniform : bool
        It is the whole array that is off, where no entry alone might show it.
    narrow, wide, bound : float
        The entry in both precisions at `arrays`, and by how much it may be off.
    arrays : tuple of arrays
        Inputs and cotangents.
    """

    array: int
    entry: tuple[int, ...]
    part: float
    is_uniform: bool
    narrow: float
    wide: float
    bound: float
    arrays: tuple[Array, ...]


class OutOfRange(ArithmeticError):
    """Numbers of half precision end: at too few of the points nearby all results are finite, or digits underflow."""


@dataclass(frozen=True, slots=True, eq=False)
class Half:
    """One subject in half precision, in float32 and in float64.

    Attributes
    ----------
    subject : Subject
        Of float64 inputs.
    dtypes : tuple of str
        For each input its dtype in half precision; "" where it has none.
    outputs : int
        How many floating outputs it has.
    """

    subject: Subject
    dtypes: tuple[str, ...]
    outputs: int

    @property
    def coarsest(self) -> str:
        """The half precision among the dtypes that has the fewest digits."""
        return max((name for name in self.dtypes if name in HALVES), key=lambda name: HALVES[name][0])

    def off(self, arrays: Sequence[Array], generator: np.random.Generator) -> Off | None:
        """What is off, twice over; values before gradients.

        Raises
        ------
        OutOfRange
        Unsupported
            If the function refuses half precision, or float32.
        """
        look = self._looked(arrays, generator)
        blur = max(series.blur() for series in look.series[: self.outputs])
        # A constant that is rounded makes another function; what the values do not exclude is that.
        found = [off for off in look.wrong() if off.array < self.outputs or abs(off.part) > blur]
        if not found:
            return None
        others = (*arrays[: -self.outputs], *draw_like(arrays[-self.outputs :], generator))
        larger = _LARGER if self.coarsest == "float16" else 1.0
        try:
            again = self._looked((*others[: -self.outputs], *(larger * u for u in others[-self.outputs :])), generator)
        except OutOfRange:
            again = self._looked(others, generator)
        off = next((off for off in found if again.has(off)), None)
        if off is not None and again.amount(off) < _UNDERFLOWN and self._underflows(again.arrays):
            raise OutOfRange("underflow")
        return off

    def _underflows(self, arrays: tuple[Array, ...]) -> bool:
        """Whether numbers of float16 end: one that is smaller than the smallest normal one has lost digits, or all."""
        if self.coarsest != "float16":
            return False
        with self.subject.engine.underflows() as seen:
            self._in(self.dtypes, arrays)
        return bool(seen)

    def _looked(self, arrays: Sequence[Array], generator: np.random.Generator) -> _Look:
        """Both precisions at points nearby, and float32 beside float64 between them."""
        ratio = HALVES[self.coarsest][0] / _SINGLE
        names = (*self.dtypes, *(self.coarsest,) * self.outputs)
        whole = tuple(rounded(array, name) for array, name in zip(arrays, names, strict=True))
        singles = tuple("float32" if name else "" for name in self.dtypes)
        pairs: list[list[tuple[Floats, Floats, Floats]]] = []
        for number in range(_POINTS):
            near = _strayed(whole, names, generator) if number else whole
            between = _between(near, names, generator)
            try:
                wide, narrow = self._in(("",) * len(singles), near), self._in(self.dtypes, near)
                truth, single = self._in(("",) * len(singles), between), self._in(singles, between)
            except Unsupported:
                raise
            except Exception as error:  # a function may refuse what it was not written for
                if not number:
                    raise Unsupported(f"refuses {self.coarsest} ({type(error).__name__})") from error
                continue
            if len({tuple(a.shape for a in found) for found in (wide, narrow, truth, single)}) > 1:
                raise Unsupported("its shapes depend on the dtype")
            if all(np.isfinite(a).all() for a in (*wide, *narrow, *truth, *single)):
                columns = zip(wide, narrow, truth, single, strict=True)
                pairs.append([(w.ravel(), (n - w).ravel(), ratio * (s - t).ravel()) for w, n, t, s in columns])
            elif not number:
                raise OutOfRange(NOT_FINITE)
        if len(pairs) < _POINTS // 2:
            raise OutOfRange(NOT_FINITE)
        shapes = tuple(array.shape for array in wide)
        limits = HALVES[self.coarsest]
        series = [_series(rows, *limits) for rows in zip(*pairs, strict=True)]
        return _Look(series, shapes, whole)

    def _in(self, dtypes: Sequence[str], arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Values and gradients with inputs cast to `dtypes`, from float64 and to it."""
        subject, count = self.subject, len(dtypes)
        lowered = replace(subject, function=_lowered(subject, dtypes) if any(dtypes) else subject.function, noise=0.0)
        return pulled(lowered, arrays[:count], arrays[count:])


@dataclass(frozen=True, slots=True, eq=False)
class _Series:
    """One array at all points: in float64, how far half precision is from it, and how far float32 says it may be."""

    wide: Floats
    off: Floats
    predicted: Floats
    epsilon: float
    tiny: float

    @property
    def is_jumpy(self) -> Any:
        """The entries that a few spacings change by a lot."""
        moved = np.abs(self.wide - self.wide[0]).max(axis=0)
        return moved > _JUMP * np.abs(self.wide[0])

    def bounds(self) -> Floats:
        """How far off the mean of each entry may be."""
        size = np.sqrt((self.wide**2).mean(axis=0))
        moved = np.abs(self.wide - self.wide[0]).max(axis=0)
        granted = _granted(self.epsilon) * size + 8.0 * self.tiny + np.where(self.is_jumpy, moved, 0.0)
        return np.asarray(granted + _chance(self.off, self.predicted))

    def by_entry(self) -> Floats:
        """How far off the mean of each entry is, in units of its bound."""
        return np.asarray(self.off.mean(axis=0) / self.bounds())

    def size(self, i: int) -> float:
        """How large an entry is."""
        return float(np.abs(self.wide[:, i]).mean())

    def in_all(self) -> tuple[float, float]:
        """By which part all entries together are off, and may be."""
        sure = ~self.is_jumpy
        weights = np.where(sure, self.bounds(), np.inf) ** -2.0 * self.wide[0]
        whole = float(weights @ self.wide[0])
        if not whole or np.count_nonzero(sure) < 2:
            return 0.0, np.inf
        off, predicted = self.off @ weights / whole, self.predicted @ weights / whole
        least = 8.0 * self.tiny * float(np.abs(weights).sum()) / whole
        return float(off.mean()), _granted(self.epsilon) + least + float(_chance(off, predicted))

    def blur(self) -> float:
        """How far off the array may be, and twice what it is, as a whole or in the entry that is known best."""
        size = np.abs(self.wide).mean(axis=0)
        known = size > 0.0
        entries = (self.bounds() + 2.0 * np.abs(self.off.mean(axis=0)))[known] / size[known]
        part, bound = self.in_all()
        return min(bound + 2.0 * abs(part), float(entries.min(initial=np.inf))) if known.any() else 0.0


def _series(rows: Sequence[tuple[Floats, Floats, Floats]], epsilon: float, tiny: float) -> _Series:
    wide, off, predicted = (np.array(part) for part in zip(*rows, strict=True))
    return _Series(wide, off, predicted, epsilon, tiny)


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """The series of all results."""

    series: list[_Series]
    shapes: tuple[tuple[int, ...], ...]
    arrays: tuple[Array, ...]

    def wrong(self) -> Iterator[Off]:
        """What is off beyond its bound: in each array the entry that is most so, then all of them together."""
        for k, series in enumerate(self.series):
            if not series.wide.shape[1]:
                continue
            parts = series.by_entry()
            i = int(np.abs(parts).argmax())
            if abs(parts[i]) > 1.0:
                yield self._off(
                    k, i, False, float(series.off[:, i].mean()) / max(series.size(i), series.tiny), series.bounds()[i]
                )
            part, bound = series.in_all()
            if abs(part) > bound:
                sizes = np.abs(series.wide[0])
                i = int((np.abs(series.off[0]) - bound * sizes).argmax())
                yield self._off(k, i, True, part, bound * float(sizes[i]))

    def has(self, other: Off) -> bool:
        """Whether what another look, with other cotangents, found is off here too."""
        series = self.series[other.array]
        if other.is_uniform:
            part, bound = series.in_all()
            return abs(part) > bound
        return bool(abs(series.by_entry()[self._flat(other)]) > 1.0)

    def _flat(self, off: Off) -> int:
        return int(np.ravel_multi_index(off.entry, self.shapes[off.array])) if off.entry else 0

    def amount(self, off: Off) -> float:
        """By how much, not by which part."""
        means = np.abs(self.series[off.array].off.mean(axis=0))
        return float(means.max() if off.is_uniform else means[self._flat(off)])

    def _off(self, k: int, i: int, is_uniform: bool, part: float, bound: float) -> Off:
        series = self.series[k]
        wide, off = float(series.wide[0, i]), float(series.off[0, i])
        entry = tuple(int(n) for n in np.unravel_index(i, self.shapes[k]))
        return Off(k, entry, part, is_uniform, wide + off, wide, float(bound), self.arrays)


def _granted(epsilon: float) -> float:
    unit = epsilon / 2.0
    return max(_LEAST * unit, min(_MOST * unit, _ENOUGH))


def _chance(off: Floats, predicted: Floats) -> Any:
    """What the mean over the points (the first axis) may be by round-off alone."""
    seen, said = off.std(axis=0), predicted.std(axis=0)
    stuck = np.sqrt(np.maximum(said**2 - seen**2, 0.0))
    return _SURE * np.maximum(seen, said) / np.sqrt(len(off)) + _STUCK * stuck + 2.0 * np.abs(predicted.mean(axis=0))


def _lowered(subject: Subject, dtypes: Sequence[str]) -> Callable[..., tuple[Any, ...]]:
    """The function with its inputs cast to narrower dtypes, and its floating outputs to float64."""
    engine = subject.engine

    def function(*tensors: Any) -> tuple[Any, ...]:
        given = [engine.cast(x, name) if name else x for x, name in zip(tensors, dtypes, strict=True)]
        result = subject.function(*given)
        outputs = tuple(result) if isinstance(result, (tuple, list)) else (result,)
        return tuple(engine.cast(y, "float64") if engine.kind(y) == "f" else y for y in outputs)

    return function


def in_each_half(inputs: Sequence[Array]) -> tuple[tuple[str, ...], ...]:
    """For `Subject.narrow`: all floating inputs in the one half precision, then in the other."""
    return tuple(tuple(name if x.dtype.kind == "f" else "" for x in inputs) for name in HALVES)


def rounded(array: Array, dtype: str) -> Array:
    """Numbers of float64 that the narrower dtype has too."""
    if array.dtype != np.float64 or not dtype or dtype == "float64":
        return array
    with np.errstate(over="ignore"):
        if dtype != "bfloat16":
            return np.asarray(array.astype(dtype).astype(np.float64))
        bits = array.astype(np.float32).view(np.uint32).astype(np.uint64)
        whole = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
        found = np.where(np.isfinite(array), whole.astype(np.uint32).view(np.float32), array)
        return np.asarray(found, dtype=np.float64)


def _strayed(arrays: Sequence[Array], dtypes: Sequence[str], generator: np.random.Generator) -> tuple[Array, ...]:
    """Every number moved by a few spacings of its dtype."""
    return _moved(arrays, dtypes, lambda shape: generator.integers(-_STRAY, _STRAY + 1, shape))


def _between(arrays: Sequence[Array], dtypes: Sequence[str], generator: np.random.Generator) -> tuple[Array, ...]:
    """Every number moved by less than a spacing of its dtype, to one that float32 has."""
    return _moved(arrays, dtypes, lambda shape: generator.uniform(-1.0, 1.0, shape), to="float32")


def _moved(
    arrays: Sequence[Array], dtypes: Sequence[str], spacings: Callable[[tuple[int, ...]], Array], to: str = ""
) -> tuple[Array, ...]:
    """Every number moved by so many spacings of its dtype, and rounded to that or another one."""
    return tuple(
        rounded(array * (1.0 + _spacing(dtype) * spacings(array.shape)), to or dtype)
        if array.dtype == np.float64 and dtype
        else array
        for array, dtype in zip(arrays, dtypes, strict=True)
    )


def _spacing(dtype: str) -> float:
    return HALVES[dtype][0] if dtype in HALVES else _SINGLE
