"""A line to look along: which entries of the inputs move, how far, and which of them must move alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gradcheck.checks.evaluation import Evaluation, aliased, shares_memory
from gradcheck.numeric import directions
from gradcheck.numeric.differences import FEW_DIGITS, Flags, Floats
from gradcheck.program import Array

# By what a fresh move of few entries differs from the last one: exact still.
_FACTORS = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)

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
    deep : bool
        Each entry moves by its own size, by a power of two, so that the smallest steps are worth looking at.
    aligned : bool
        Each entry moves as its gradient points, so that what is wrong by one factor everywhere adds up.
    wide : bool
        The entries of another scale than the largest move as far as the others: agreement tells, and no more.
    """

    directions: dict[int, Floats]
    dense: bool
    deep: bool = False
    aligned: bool = False
    wide: bool = False

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


def across(evaluation: Evaluation, random: np.random.Generator) -> Move | None:
    """A wide move of all entries of another scale than their input's largest; None where there are none."""
    made: dict[int, Floats] = {}
    for k in evaluation.moved:
        point = evaluation.point(k)
        small = directions.is_of_another_scale(point)
        if small.any():
            few = evaluation.epsilon > FEW_DIGITS
            made[k] = np.where(small, directions.direction(random, point, few=few, wide=True), 0.0)
    return Move(made, dense=True, wide=True) if made else None


def masked(evaluation: Evaluation, move: Move, keep: dict[int, Flags]) -> Move:
    """The move without the entries that are not kept; entries that share memory stay together."""
    made = {k: _joined_mask(evaluation.point(k), v, keep[k], move.dense) for k, v in move.directions.items()}
    return replace(move, directions=made)


def fresh(evaluation: Evaluation, random: np.random.Generator, move: Move) -> Move:
    """Another random move of the same entries."""
    if move.deep:
        factors = {k: random.choice(_FACTORS, v.shape) for k, v in move.directions.items()}
        return replace(move, directions={k: v * factors[k] for k, v in move.directions.items()})
    other = replace(move, directions={k: _direction(evaluation, random, k) for k in move.directions})
    return masked(evaluation, other, {k: v != 0.0 for k, v in move.directions.items()})


def aligned(evaluation: Evaluation, move: Move, gradient: dict[int, Floats]) -> Move:
    """The move with the signs of a gradient."""
    made = {}
    for k, v in move.directions.items():
        own = np.where(gradient[k] * v < 0.0, -v, v)
        made[k] = own if move.dense else _joined(evaluation.point(k), own)
    return replace(move, directions=made, aligned=True)


def alone(evaluation: Evaluation, random: np.random.Generator, entries: Entries) -> Move:
    """A move of a few entries, each by its own size and exactly; a zero moves by the largest of its input."""
    made: dict[int, Floats] = {}
    inputs, places = entries
    for k in np.unique(inputs):
        own = places[inputs == k]
        values = np.abs(np.asarray(evaluation.point(int(k)), dtype=np.float64)).reshape(-1)
        values = np.where(np.isfinite(values), values, 0.0)
        size = np.where(values == 0.0, float(values.max(initial=0.0)) or 1.0, values)[own]
        part = made[int(k)] = np.zeros(evaluation.point(int(k)).shape)
        part.reshape(-1)[own] = directions.signs(random, own.size) * 2.0 ** np.rint(np.log2(size))
    return Move(made, dense=True, deep=True)


def moving(move: Move) -> Entries:
    """Every entry that moves."""
    places = {k: np.flatnonzero(v) for k, v in move.directions.items()}
    inputs = np.concatenate([np.full(p.size, k, dtype=np.intp) for k, p in places.items()])
    return inputs, np.concatenate(list(places.values()))


def together(first: Move, second: Move) -> Move:
    """The sum of two moves of one layout."""
    made = dict(first.directions)
    for k, v in second.directions.items():
        made[k] = made[k] + v if k in made else v
    return replace(first, directions=made)


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
    return replace(move, directions=made, dense=True)


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
