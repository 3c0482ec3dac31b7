"""What is not judged as a whole, judged in parts: output by output at a kink, and entry by entry at its own scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gradcheck.checks import move as moves
from gradcheck.checks.evaluation import flat
from gradcheck.checks.move import Entries, Move
from gradcheck.checks.viewpoint import Viewpoint
from gradcheck.numeric.derivative import Derivative
from gradcheck.numeric.differences import DEEP, EFFORTS, Flags, Floats
from gradcheck.numeric.verdict import Comparison
from gradcheck.verdict import Verdict

# Outputs at a kink that are judged one by one, and parts that a line is taken into.
MOST = 64
PARTS = 32
# From so many entries on, a part costs no more than its share of a difference quotient for each entry; a deep ladder
# takes a hundred evaluations.
MANY = 50
COST = 100
# After so many parts that stay open, the rest is left.
OPEN = 4


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One part, and how the gradient compares there."""

    move: Move
    cotangent: Floats
    found: Derivative
    result: Comparison


def by_output(at: Viewpoint, move: Move, u: Floats, found: Derivative, scale: float) -> Iterator[Piece]:
    """The outputs at a kink one by one, since intervals that are added up excuse too much; the others together."""
    bent = _bent(found) & (u != 0.0)
    for k in np.flatnonzero(bent)[:MOST]:
        unit = np.where(np.arange(u.size) == k, u, 0.0)
        yield Piece(move, unit, found, at.compare(found, move, unit, last=True, least=scale))
    rest = np.where(bent, 0.0, u)
    if rest.any():
        yield Piece(move, rest, found, at.compare(found, move, rest, last=True, least=scale))


def is_mixed(at: Viewpoint, move: Move, u: Floats, found: Derivative) -> bool:
    """Whether an output at a kink may have it from several entries: an interval excuses what is wrong in others."""
    special = sum(
        int((moves.is_special(at.evaluation.point(k)) & (v != 0.0)).sum()) for k, v in move.directions.items()
    )
    bent = int((_bent(found) & (u != 0.0)).sum())
    # As many outputs as entries: most probably one of each, where a kink excuses its own entry and no other.
    return move.entries > 1 and bent > 0 and (bent != special or special == 1)


def by_entry(at: Viewpoint, move: Move, u: Floats) -> Iterator[Piece]:
    """Each entry, or a few of like size together, moved at its own scale down to the smallest steps.

    What moves one entry by its own size may take another over everything that happens there. Entries where the
    gradient is not finite, and the derivative may be so too, are left out.
    """
    gradient = at.gradient(u)
    scale = _scale(gradient, moves.alone(at.evaluation, at.random, moves.moving(move)))
    for group in _groups(at, move):
        part = moves.alone(at.evaluation, at.random, group)
        ladder = at.ladder(part)
        pieces: list[Piece] = []
        for effort in (0, EFFORTS - 1, DEEP):
            found = at.measure(ladder, effort)
            if effort == 0:
                pieces = [Piece(part, u, found, at.compare(found, part, u, last=False, least=scale))]
            else:
                pieces = list(by_output(at, part, u, found, scale))
            if all(piece.result.verdict is Verdict.AGREE for piece in pieces):
                break
        is_finite = all(np.isfinite(gradient[k][part.directions[k] != 0.0]).all() for k in part.directions)
        yield from (p for p in pieces if is_finite or p.result.verdict is not Verdict.INCONCLUSIVE)


def joined(results: list[Comparison]) -> Comparison:
    """One comparison for all parts: open where one is, else the least telling."""
    still = [one for one in results if one.verdict is not Verdict.AGREE]
    telling = [one for one in results if not one.zero]
    return max(still or telling or results, key=lambda one: one.resolution)


def _scale(gradient: dict[int, Floats], move: Move) -> float:
    """The size of the projection of a gradient, by its terms."""
    terms = flat([gradient[k] * v for k, v in move.directions.items()])
    return float(np.sqrt(np.sum(terms[np.isfinite(terms)] ** 2)))


def _bent(found: Derivative) -> Flags:
    with np.errstate(all="ignore"):
        return np.asarray(~found.smooth & found.finite & np.isfinite(found.left_error + found.right_error))


def _groups(at: Viewpoint, move: Move) -> list[Entries]:
    """The moving entries, in order of their sizes, in as many parts as are worth their evaluations."""
    inputs, places = moves.moving(move)
    size = np.array([abs(at.evaluation.point(int(k)).reshape(-1)[i]) for k, i in zip(inputs, places, strict=True)])
    order = np.argsort(size, kind="stable")
    count = min(PARTS, inputs.size) if inputs.size < MANY else min(PARTS, max(1, 2 * inputs.size // COST))
    return [(inputs[part], places[part]) for part in np.array_split(order, count) if part.size]
