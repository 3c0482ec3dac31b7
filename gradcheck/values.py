"""The values of a program while it is being drawn: what is known of each, and which of them share memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gradcheck import material
from gradcheck.program import Array, Caller, Ref

if TYPE_CHECKING:
    from refengine.spec import Interval


class Executor(Caller, Protocol):
    """What programs are decoded on: any engine will do. Nothing is recorded for a derivative."""

    def supports(self, op: str, *, inplace: bool = False) -> bool:
        """Whether it has op `op`, or its in-place form."""
        ...

    def array(self, tensor: Any) -> Array:
        """A copy of the values."""
        ...

    def strides(self, tensor: Any) -> tuple[int, ...]:
        """Strides in elements."""
        ...

    def version(self, tensor: Any) -> int:
        """The in-place version counter, shared by all views of one memory."""
        ...


class Storage:
    """One memory and the values that look at it.

    Attributes
    ----------
    root : Value
        The first of `members`, which sees all of it.
    is_writable : bool
        Neither an input nor a constant.
    is_kept : bool
        A derivative rule may have saved it, so writing to it could make a backward pass raise.
    is_written : bool
        An in-place step has changed it through another look than the root's.
    """

    __slots__ = ("is_kept", "is_writable", "is_written", "members")

    def __init__(self, is_writable: bool) -> None:
        self.members: list[Value] = []
        self.is_writable = is_writable
        self.is_kept = False
        self.is_written = False

    @property
    def root(self) -> Value:
        return self.members[0]


class Value:
    """One tensor of the program; an op's `sample` sees it as its Operand.

    Attributes
    ----------
    is_connected : bool
        Its derivative with respect to some input exists and is not zero everywhere by construction.
    is_used : bool
        A later step passes it on to a connected value.
    """

    __slots__ = (
        "_array",
        "_flat",
        "_high",
        "_low",
        "executor",
        "is_connected",
        "is_used",
        "ndim",
        "ref",
        "shape",
        "size",
        "storage",
        "tensor",
    )

    def __init__(self, executor: Executor, ref: Ref, tensor: Any, storage: Storage, is_connected: bool) -> None:
        self.executor, self.ref, self.tensor, self.storage = executor, ref, tensor, storage
        self.shape: material.Shape = tuple(tensor.shape)
        self.ndim = len(self.shape)
        self.size = math.prod(self.shape)
        self.is_connected = is_connected
        self.is_used = False
        self._flat: list[float] | None = None
        storage.members.append(self)

    def forget(self) -> None:
        """The memory has changed."""
        self._flat = None

    def _read(self) -> list[float]:
        self._array = self.executor.array(self.tensor)
        flat: list[float] = self._array.ravel().tolist()
        self._low, self._high = (min(flat), max(flat)) if flat else (0.0, 0.0)
        self._flat = flat
        return flat

    @property
    def array(self) -> Array:
        """A copy of the values."""
        if self._flat is None:
            self._read()
        return self._array

    @property
    def flat(self) -> list[float]:
        """The values in row-major order."""
        return self._read() if self._flat is None else self._flat

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest value."""
        if self._flat is None:
            self._read()
        return self._low, self._high

    @property
    def is_contiguous(self) -> bool:
        """Whether the layout is row-major without gaps."""
        expected = 1
        for n, stride in zip(reversed(self.shape), reversed(self.executor.strides(self.tensor)), strict=True):
            if n != 1 and stride != expected:
                return self.size == 0
            expected *= n
        return True

    @property
    def is_expanded(self) -> bool:
        """Whether two entries share one place in memory."""
        return is_expanded(self.shape, self.executor.strides(self.tensor))

    @property
    def is_finite(self) -> bool:
        """Whether all values are finite and within the bound of growth."""
        total = math.fsum(self.flat)
        low, high = self.range
        return math.isfinite(total) and max(-low, high) <= material.BOUND


def is_expanded(shape: material.Shape, strides: tuple[int, ...]) -> bool:
    """Whether two entries of a tensor share one place in memory."""
    return 0 not in shape and any(n > 1 and stride == 0 for n, stride in zip(shape, strides, strict=True))


def fits(value: Value, domain: Interval, at: tuple[float, ...] = ()) -> bool:
    """Whether all entries of `value` lie in the smooth part of `domain`; points `at` count as smooth."""
    low, high = value.range
    if not (domain.low <= low and high <= domain.high and max(-low, high) <= material.BOUND):
        return not value.size
    margin = domain.margin
    for point in domain.avoid:
        if (
            low - margin < point < high + margin
            and point not in at
            and any(abs(v - point) < margin for v in value.flat)
        ):
            return False
    return True


TIE = 9e-3
"""Entries nearer than this are a tie; drawn numbers have two decimals."""


def has_ties(value: Value) -> bool:
    """Whether two entries of `value` are near each other."""
    ordered = sorted(value.flat)
    return any(b - a < TIE for a, b in pairwise(ordered))


def tied(one: Array, other: Array | float) -> bool:
    """Whether entries of two arrays that meet in an elementwise op are near each other."""
    return bool((np.abs(one - other) < TIE).any())


def map_values(tree: Any, replace: Callable[[Value], Any]) -> Any:
    """The argument tree with each Value replaced."""
    if type(tree) is Value:
        return replace(tree)
    if isinstance(tree, (tuple, list)):
        return type(tree)(map_values(item, replace) for item in tree)
    return tree


def values_in(tree: Any) -> Iterator[Value]:
    """The Values in an argument tree, in order."""
    if type(tree) is Value:
        yield tree
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from values_in(item)
