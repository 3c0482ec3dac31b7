"""A line to look along: which entries of the inputs move, how far, and which of them must move alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gradcheck.checks.evaluation import Evaluation, aliased, shares_memory
from gradcheck.numeric import directions
from gradcheck.numeric.differences import FEW_DIGITS, Flags, Floats
from gradcheck.program import Array

Entries = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]
"""Entries of inputs: the numbers of the inputs, and the places in them, flattened."""


@dataclass(frozen=True, slots=True, eq=False)
class Move:
    """A direction for each input that moves.

    Attributes
    ----------
    directions : dict
        Input number to v, with the input's shape.
    dense : bool
        The inputs are laid out contiguously, so that entries that share memory can move apart.
    """

    directions: dict[int, Floats]
    dense: bool

    @property
    def entries(self) -> int:
        """How many entries there are in the inputs that move."""
        return sum(v.size for v in self.directions.values())

    @property
    def is_still(self) -> bool:
        """Nothing moves."""
        return not any(v.any() for v in self.directions.values())


def drawn(evaluation: Evaluation, random: np.random.Generator, group: Sequence[int], *, dense: bool) -> Move:
    """A random move of the inputs in `group`."""
    made = {k: _direction(evaluation, random, k) for k in group}
    if not dense:
        made = {k: _joined(evaluation.point(k), v) for k, v in made.items()}
    return Move(made, dense)


def masked(evaluation: Evaluation, move: Move, keep: dict[int, Flags]) -> Move:
    """The move without the entries that are not kept; entries that share memory stay together."""
    made = {k: _joined_mask(evaluation.point(k), v, keep[k], move.dense) for k, v in move.directions.items()}
    return Move(made, move.dense)


def fresh(evaluation: Evaluation, random: np.random.Generator, move: Move) -> Move:
    """Another random move of the same entries."""
    other = Move({k: _direction(evaluation, random, k) for k in move.directions}, move.dense)
    return masked(evaluation, other, {k: v != 0.0 for k, v in move.directions.items()})


def together(first: Move, second: Move) -> Move:
    """The sum of two moves of one layout."""
    made = dict(first.directions)
    for k, v in second.directions.items():
        made[k] = made[k] + v if k in made else v
    return Move(made, first.dense)


def only(evaluation: Evaluation, move: Move, entries: Entries) -> Move:
    """The move of a few entries.

    One entry of several that share memory can move alone only in a layout of its own.
    """
    made: dict[int, Floats] = {}
    inputs, places = entries
    for k in np.unique(inputs):
        own = places[inputs == k]
        part = made[int(k)] = np.zeros(evaluation.point(int(k)).shape)
        part.reshape(-1)[own] = move.directions[int(k)].reshape(-1)[own]
    return Move(made, dense=True)


def is_special(point: Array) -> Flags:
    """Where a value is an integer or occurs twice: the places where kinks, ties and poles usually are."""
    values, inverse, counts = np.unique(point, return_inverse=True, return_counts=True)
    special = (values == np.rint(values)) | (counts > 1)
    return np.asarray(special[inverse].reshape(point.shape), dtype=np.bool_)


def _direction(evaluation: Evaluation, random: np.random.Generator, k: int) -> Floats:
    return directions.direction(random, evaluation.point(k), few=evaluation.epsilon > FEW_DIGITS)


def _joined(point: Array, direction: Floats) -> Floats:
    return aliased(point, direction) if shares_memory(point) else direction


def _joined_mask(point: Array, direction: Floats, keep: Flags, dense: bool) -> Floats:
    kept = np.where(keep, direction, 0.0)
    if dense or not shares_memory(point):
        return kept
    return np.where(aliased(point, (~keep).astype(np.float64)) > 0.0, 0.0, _joined(point, direction))
