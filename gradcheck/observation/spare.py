"""Which calls of a signature are kept beside its first one: the few that show most, where the first shows nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradcheck.observation.call import Call
from gradcheck.program import Array

SPARES = 2
"""Calls kept beside the first. Each costs a copy; with more, a Function that is open everywhere costs more checks."""
LARGEST = 2**20
"""Bytes of a call that is kept beside the first: a larger one shows no more than a part of it would."""
# Entries of a tensor that are looked at, and entries beyond which a larger tensor shows no more.
_GLANCE = 256
_ENOUGH = 1024


@dataclass(frozen=True, slots=True, order=True)
class Worth:
    """How much a call can show of a gradient, compared field by field.

    Attributes
    ----------
    is_finite : bool
        All values that were looked at are.
    telling : int
        The floating tensors that hold more than zeros.
    distinct : int
        Their different values, zero apart, as far as they were looked at.
    size : int
        Their entries, up to a bound.
    """

    is_finite: bool
    telling: int
    distinct: int
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class Spare:
    """A call that may be judged in the place of the first.

    Attributes
    ----------
    call : Call
    worth : Worth
    extent : int
        The bytes of its tensors.
    """

    call: Call
    worth: Worth
    extent: int


def worth_of(tensors: Sequence[Array]) -> Worth:
    """How much a call with these tensors, as arrays, can show."""
    floating = [_glance(x) for x in tensors if x.dtype.kind in "fc"]
    return Worth(
        is_finite=all(bool(np.isfinite(x).all()) for x in floating),
        telling=sum(bool(x.any()) for x in floating),
        distinct=sum(len(np.unique(x[x != 0])) for x in floating),
        size=sum(min(x.size, _ENOUGH) for x in tensors if x.dtype.kind in "fc"),
    )


def mark_of(tensors: Sequence[Array]) -> int:
    """A number that two calls share where their tensors have the same shapes and values, as far as is looked."""
    return hash(tuple((x.shape, x.dtype.str, _glance(x).tobytes()) for x in tensors))


def worst(spares: Sequence[Spare]) -> Spare:
    """The one that shows least."""
    return min(spares, key=lambda spare: spare.worth)


def best(spares: Sequence[Spare]) -> Spare:
    """The one that shows most; of equals the first."""
    return max(spares, key=lambda spare: spare.worth)


def _glance(x: Array) -> Array:
    """Entries spread evenly over a tensor."""
    return x.reshape(-1)[:: max(1, -(-x.size // _GLANCE))]
