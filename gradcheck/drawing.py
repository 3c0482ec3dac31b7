"""The Draw protocol of the op declarations over the bytes of one record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

from gradcheck import material
from gradcheck.values import Value
from refengine.spec import EVERYWHERE, Interval

T = TypeVar("T")

_ROUND = (1.0, 2.0, 0.5, -1.0, 3.0, -0.5, 1.5, -2.0, 0.25, 0.0)
_ROUND_RATE = 96
"""Of 256 bytes, those that draw a round number."""


class Source(Protocol):
    """Where operands come from: the program that is being drawn."""

    def operand(self, draw: RecordDraw, shape: material.Shape, domain: Interval, broadcast: bool) -> Value:
        """An operand that exists, or a fresh one."""
        ...

    def constant(self, values: Sequence[float], shape: material.Shape, dtype: str) -> Value:
        """A fresh constant."""
        ...

    def known_mask(self, shape: material.Shape) -> Value | None:
        """The newest bool value of that shape."""
        ...


class RecordDraw:
    """Reads a record from byte `start` on; past its end every byte is 0, the simplest."""

    __slots__ = ("_at", "_source", "record")

    def __init__(self, record: bytes, start: int, source: Source) -> None:
        self.record, self._at, self._source = record, start, source

    def byte(self) -> int:
        """The next byte."""
        at = self._at
        self._at = at + 1
        return self.record[at] if at < len(self.record) else 0

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high]; `low` is simplest."""
        width = high - low + 1
        if width <= 1:
            return low
        if width > 256:
            return low + (self.byte() | self.byte() << 8) % width
        return low + self.byte() * width // 256

    def boolean(self) -> bool:
        """False is simplest."""
        return self.byte() >= 128

    def choice(self, options: Sequence[T]) -> T:
        """One of `options`; the first is simplest."""
        return options[self.integer(0, len(options) - 1)]

    def real(self, low: float, high: float) -> float:
        """A short decimal in [low, high]; a round one first."""
        byte = self.byte()
        if byte < _ROUND_RATE:
            round_ones = [value for value in _ROUND if low <= value <= high]
            if round_ones:
                return round_ones[byte * len(round_ones) // _ROUND_RATE]
        if not (math.isfinite(low) and math.isfinite(high)):
            low, high = material.span(Interval(low, high))
        value = low + (high - low) * ((byte * 37) % 256) / 255
        return min(max(round(value, 2), low), high)

    def axis(self, ndim: int) -> int:
        """An axis in [-ndim, ndim - 1]; 0 is simplest."""
        return material.axis_at(self.byte(), ndim) if ndim else 0

    def axes(self, ndim: int) -> int | tuple[int, ...] | None:
        """None, one axis, or an unordered tuple."""
        return material.axes_at(self.byte(), ndim) if ndim else None

    def operand(self, shape: material.Shape, domain: Interval = EVERYWHERE, *, broadcast: bool = False) -> Value:
        """Another tensor of the program."""
        return self._source.operand(self, tuple(shape), domain, broadcast)

    def indices(self, shape: material.Shape, high: int, *, distinct: bool = False) -> Value:
        """A constant int64 tensor with entries in [0, high); unless `distinct`, half of them may repeat."""
        count = math.prod(shape)
        mode, seed = (self.byte(), self.byte()) if count and not distinct else (0, 0)
        return self._source.constant(material.index_numbers(count, high, mode, seed), shape, "int64")

    def mask(self, shape: material.Shape) -> Value:
        """A bool tensor: a comparison's result of that shape where there is one, else a constant."""
        seed = self.byte()
        known = self._source.known_mask(shape) if seed < 128 else None
        if known is not None:
            return known
        if seed >= 240:
            return self._source.constant([seed & 1] * math.prod(shape), shape, "bool")
        return self._source.constant([f < 0.5 for f in material.scatter(math.prod(shape), seed, seed)], shape, "bool")
