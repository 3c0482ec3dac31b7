"""Pure data about ops: where an op is smooth, how its arguments are drawn, what it is called elsewhere.

Declared once, in the op's class body; read by the catalogue, the docs and the test material. Imports nothing of
the engine, so that whoever reads declarations pays for no arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
INFINITY = float("inf")


@dataclass(frozen=True, slots=True)
class Interval:
    """Values an input may take where the op is smooth and well conditioned: ``low <= value <= high``.

    ``avoid`` are isolated points inside the interval (kinks, poles) that generic values keep away from by at
    least ``margin``; special values go there on purpose.
    """

    low: float = -INFINITY
    high: float = INFINITY
    avoid: tuple[float, ...] = ()
    margin: float = 1e-2


EVERYWHERE = Interval()


@dataclass(frozen=True, slots=True)
class Kink:
    """A place where an op is continuous and its derivative jumps, with the value promised there.

    Attributes
    ----------
    at : float or "tie"
        The input value, or "tie" where two entries (of both inputs, or along the reduced axis) are equal.
    convention : float, "split" or "first"
        The derivative the op declares there; "split" shares the cotangent evenly among the tied entries, "first" gives
        all of it to the first of them.
    """

    at: float | str
    convention: float | str = 0.0

    @property
    def shows_on_a_row(self) -> bool:
        """Whether a row of entries can be put on it; which of several is the first is a matter of more axes."""
        return self.convention != "first"


class Operand(Protocol):
    """A tensor of the program that is being drawn, as an op's `sample` sees it."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def is_contiguous(self) -> bool: ...


class Draw(Protocol):
    """What an op may ask while its arguments are drawn. Smaller bytes give the simpler answer, named first below."""

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high]; `low` is simplest."""
        ...

    def boolean(self) -> bool:
        """False is simplest."""
        ...

    def choice(self, options: Sequence[T]) -> T:
        """One of `options`; the first is simplest."""
        ...

    def real(self, low: float, high: float) -> float:
        """A short decimal in [low, high]."""
        ...

    def axis(self, ndim: int) -> int:
        """An axis in [-ndim, ndim - 1] (0 for a 0-d tensor), negative spellings included; 0 is simplest."""
        ...

    def axes(self, ndim: int) -> int | tuple[int, ...] | None:
        """Axes of a reduction as users write them: None, one axis, or an unordered tuple, negative ones included."""
        ...

    def operand(self, shape: tuple[int, ...], domain: Interval = EVERYWHERE, *, broadcast: bool = False) -> Operand:
        """Another differentiable tensor of the program: exactly `shape`, or anything that broadcasts with it.

        Taken from what exists if it fits `domain`, else made as a fresh input or constant.
        """
        ...

    def indices(self, shape: tuple[int, ...], high: int, *, distinct: bool = False) -> Operand:
        """A constant int64 tensor with entries in [0, high); unless `distinct`, some are repeated at a stated rate."""
        ...

    def mask(self, shape: tuple[int, ...]) -> Operand:
        """A constant bool tensor."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One call in PyTorch's spelling: ``args[0].name(*args[1:], **kwargs)``; of a function, ``name(*args, **kwargs)``.

    `args` is a tree of tuples and lists whose leaves are `Operand`s, numbers, None, Ellipsis, slices and strings.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
