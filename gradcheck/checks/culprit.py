"""From a confirmed disagreement to the entry that is most wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradcheck.checks.move import Entries, Move, moving, only
from gradcheck.checks.viewpoint import Viewpoint
from gradcheck.numeric.derivative import Derivative
from gradcheck.numeric.differences import DEEP, Floats
from gradcheck.numeric.verdict import Comparison
from gradcheck.program import Array
from gradcheck.verdict import Verdict

# Entries up to which a failing Jacobian is formed whole; beyond, halves are followed to the wrong entry.
WHOLE = 32
# A wrong entry is looked for one by one when as few are left.
FEW = 8
# Halves of more entries are told apart by the short ladder.
MANY = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Wrong:
    """A confirmed disagreement: the entry, its two derivatives for `cotangents`, and what else is known."""

    argument: int
    entry: tuple[int, ...]
    analytic: float
    numeric: float
    error: float
    detail: str = ""
    cotangents: tuple[Array, ...] = ()


def located(at: Viewpoint, move: Move, u: Floats, detail: str = "") -> Wrong:
    """The entry that is most wrong: from the whole Jacobian where it is small, else by following halves."""
    entries = moving(move)
    if entries[0].size <= WHOLE and at.evaluation.size <= WHOLE:
        found = _from_jacobian(at, list(zip(*(part.tolist() for part in entries), strict=True)), move, detail)
        if found is not None:
            return found
    while entries[0].size > FEW:
        half = entries[0].size // 2
        halves = [tuple(part[:half] for part in entries), tuple(part[half:] for part in entries)]
        entries = max(halves, key=lambda part: _gap(at, part, move, u)[0])  # type: ignore[arg-type,assignment]  # pairs
    single = [(k[None], i[None]) for k, i in zip(*entries, strict=True)]
    entry = max(single, key=lambda e: _gap(at, e, move, u)[0])
    _, here, step = _gap(at, entry, move, u)
    k, i = (int(part[0]) for part in entry)
    return Wrong(
        k, _index(at, k, i), here.analytic / step, here.numeric / step, here.error / abs(step),
        detail or "one projection on a random cotangent", at.evaluation.cotangents(u),
    )  # fmt: skip


def hunted(at: Viewpoint, move: Move, u: Floats) -> tuple[Move, Derivative, Comparison] | None:
    """The largest part of a move along which a difference that is small beside the whole disagrees.

    One entry of many that is wrong by the resolution asked for is below it in the projection. Halves are followed to
    where the difference stands out, in O(log n) ladders.
    """
    entries = moving(move)
    while entries[0].size > 1:
        half = entries[0].size // 2
        halves: list[Entries] = [(entries[0][:half], entries[1][:half]), (entries[0][half:], entries[1][half:])]
        entries = max(halves, key=lambda part: _gap(at, part, move, u)[0])
        part = only(at.evaluation, move, entries)
        found, result = at.settled(at.ladder(part), part, u)
        if result.verdict is Verdict.DISAGREE:
            return part, found, result
        if abs(result.analytic - result.numeric) <= result.error:
            return None
    return None


def _gap(at: Viewpoint, entries: Entries, move: Move, u: Floats) -> tuple[float, Comparison, float]:
    """Beyond how many estimates the two differ when only `entries` move; and the last one's step."""
    part = only(at.evaluation, move, entries)
    effort = DEEP if move.deep else 1 if entries[0].size <= MANY else 0
    result = at.compare(at.measure(at.ladder(part), effort), part, u, last=False)
    step = float(move.directions[int(entries[0][-1])].reshape(-1)[entries[1][-1]])
    gap = abs(result.analytic - result.numeric)
    return (gap / (result.error or 1e-300) if np.isfinite(gap) else np.inf), result, step


def _from_jacobian(at: Viewpoint, entries: Sequence[tuple[int, int]], move: Move, detail: str) -> Wrong | None:
    """The entry of the whole Jacobian that differs most; None if, entry by entry, nothing does."""
    rows = [at.gradient(unit) for unit in np.eye(at.evaluation.size)]
    worst: tuple[float, Wrong] | None = None
    for k, i in entries:
        part = only(at.evaluation, move, (np.array([k]), np.array([i])))
        step = float(part.directions[k].reshape(-1)[i])
        found = at.measure(at.ladder(part), DEEP if move.deep else 1)
        numeric, error = found.value / step, found.error / abs(step)
        analytic = np.array([row[k].reshape(-1)[i] for row in rows])
        with np.errstate(all="ignore"):
            gap = np.abs(analytic - numeric)
            gap = np.where(np.isfinite(analytic), np.where(gap > error, gap, 0.0), np.inf)
        j = int(gap.argmax())
        if gap[j] > 0.0 and (worst is None or gap[j] > worst[0]):
            where = detail or f"derivative of output entry {j} of {at.evaluation.size}"
            entry = Wrong(
                k, _index(at, k, i), float(analytic[j]), float(numeric[j]), float(error[j]),
                where, at.evaluation.cotangents(np.eye(at.evaluation.size)[j]),
            )  # fmt: skip
            worst = float(gap[j]), entry
    return None if worst is None else worst[1]


def _index(at: Viewpoint, k: int, i: int) -> tuple[int, ...]:
    return tuple(int(n) for n in np.unravel_index(i, at.evaluation.point(k).shape))
