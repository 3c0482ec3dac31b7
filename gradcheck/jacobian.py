"""The whole Jacobian both ways, entry by entry; and a small block of it in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from gradcheck.checks import move as moves
from gradcheck.checks.claim import Check, Subject
from gradcheck.checks.confirmation import confirmed
from gradcheck.checks.culprit import Wrong
from gradcheck.checks.evaluation import Evaluation
from gradcheck.checks.gradient import VJP, finding, vjp_matches_numeric
from gradcheck.checks.move import Move
from gradcheck.checks.viewpoint import Viewpoint, pulled
from gradcheck.numeric.derivative import Derivative
from gradcheck.numeric.differences import EFFORTS, Flags, Floats
from gradcheck.program import Array
from gradcheck.verdict import Outcome, Verdict

# Entries of the analytic Jacobian that are held at once: 32 MB.
_HELD = 2**22
# Round-offs of a gradient that count as possible, in units of the largest entry of its column or row.
_ROUNDOFFS = 1024.0
# Columns whose worst entry is confirmed; where none of so many stands, none is taken to.
_CONFIRMED = 8
# Rows and columns of a block that is shown, and the width of a report's line.
SMALL, LARGE = 4, 6
_WIDTH = 104


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """What comparing every entry came to.

    Attributes
    ----------
    entries, wrong : int
        All entries of the Jacobian, and those that differ by more than the numerical one may be off.
    worst : Wrong or None
        The one that is most wrong, confirmed; None where none is.
    row : int
        Its place among the outputs, all in one.
    """

    entries: int
    wrong: int = 0
    worst: Wrong | None = None
    row: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Column:
    """One column in which some entries differ."""

    move: Move
    k: int
    i: int
    found: Derivative
    analytic: Floats
    wrong: Flags
    gap: float


def compared(subject: Subject) -> Table:
    """Compare all entries of the Jacobian with difference quotients, each with its own error estimate.

    Memory is bounded: at most 32 MB of the analytic Jacobian are held, and one column of the numerical one.
    """
    evaluation = Evaluation(subject)
    at = Viewpoint(evaluation, subject.generator("jacobian"), subject.resolution)
    columns = sum(evaluation.point(k).size for k in evaluation.moved)
    if not columns or not evaluation.size:
        return Table(0)
    rows = max(1, min(evaluation.size, _HELD // columns))
    wrong, kept = 0, list[_Column]()
    for start in range(0, evaluation.size, rows):
        for column in _differing(at, start, min(start + rows, evaluation.size)):
            wrong += int(column.wrong.sum())
            kept = sorted([*kept, column], key=lambda one: -one.gap)[:_CONFIRMED]
    total = columns * evaluation.size
    for column in kept:
        found = _confirmed(at, column)
        if found is not None:
            return Table(total, wrong, *found)
    return Table(total)


def _differing(at: Viewpoint, start: int, stop: int) -> Iterator[_Column]:
    """The columns, cut to some rows, in which entries differ at every effort."""
    evaluation = at.evaluation
    analytic = [_row(evaluation, j) for j in range(start, stop)]
    whole = moves.drawn(evaluation, at.random, evaluation.moved, dense=True)
    for k in evaluation.moved:
        gradient = np.array([row[k].reshape(-1) for row in analytic])
        for i in range(evaluation.point(k).size):
            move = moves.only(evaluation, whole, (np.array([k]), np.array([i])))
            step = float(move.directions[k].reshape(-1)[i])
            ladder = at.ladder(move)
            for effort in range(EFFORTS):
                found = at.measure(ladder, effort)
                wrong, gaps = _wrong(gradient[:, i], found, step, slice(start, stop), evaluation.epsilon)
                if not wrong.any():
                    break
            else:
                column = np.zeros(evaluation.size)
                column[start:stop] = gradient[:, i]
                mask = np.zeros(evaluation.size, dtype=bool)
                mask[start:stop] = wrong
                yield _Column(move, k, i, found, column, mask, float(np.max(gaps, where=wrong, initial=0.0)))


def _row(evaluation: Evaluation, j: int) -> dict[int, Floats]:
    unit = np.zeros(evaluation.size)
    unit[j] = 1.0
    return pulled(evaluation, unit)


def _wrong(analytic: Floats, found: Derivative, step: float, rows: slice, epsilon: float) -> tuple[Flags, Floats]:
    """Which entries differ by more than the estimated error, and by how much."""
    with np.errstate(all="ignore"):
        numeric, error = found.value[rows] / step, found.error[rows] / abs(step)
        gap = np.abs(analytic - numeric)
        gap = np.where(np.isfinite(analytic), gap, np.inf)
        known = found.smooth[rows] & np.isfinite(numeric) & np.isfinite(error)
        size = float(np.max(np.abs(numeric), where=known, initial=0.0))
        return known & ~(gap <= error + _ROUNDOFFS * epsilon * size), gap


def _confirmed(at: Viewpoint, column: _Column) -> tuple[Wrong, int] | None:
    """The column's worst entry, where it stands up to a second look; and its row."""
    step = float(column.move.directions[column.k].reshape(-1)[column.i])
    with np.errstate(all="ignore"):
        gap = np.where(column.wrong, np.abs(column.analytic - column.found.value / step), -1.0)
    j = int(np.where(np.isnan(gap), np.inf, gap).argmax())
    unit = np.zeros(at.evaluation.size)
    unit[j] = 1.0
    result = at.compare(column.found, column.move, unit, last=True)
    if result.verdict is Verdict.DISAGREE:
        result = confirmed(at, column.move, unit, result, column.found)
    if result.verdict is not Verdict.DISAGREE:
        return None
    shape = at.evaluation.point(column.k).shape
    made = Wrong(
        column.k, tuple(int(n) for n in np.unravel_index(column.i, shape)), float(column.analytic[j]),
        float(column.found.value[j]) / step, float(column.found.error[j]) / abs(step),
        f"derivative of output entry {j} of {at.evaluation.size}", at.evaluation.cotangents(unit),
    )  # fmt: skip
    return made, j


def entry_by_entry(subject: Subject) -> Outcome:
    """`vjp_matches_numeric`, and after it all entries of the Jacobian one by one."""
    outcome = vjp_matches_numeric(subject)
    shown = outcome.finding
    if shown is not None and (shown.evidence is None or shown.evidence.way):
        return outcome  # raised, or of another shape: there is no Jacobian
    table = compared(subject)
    if table.worst is None:
        return outcome
    made = finding(subject, VJP, table.worst)
    detail = f"{table.wrong} of {table.entries} entries of the Jacobian disagree; {made.detail}"
    block = shown_around(subject, table.worst.argument, table.worst.entry, table.row, LARGE)
    return Outcome(Verdict.DISAGREE, finding=replace(made, detail=detail, block=block))


MODES: dict[str, Check] = {"directions": vjp_matches_numeric, "full": entry_by_entry}
"""How the gradient is compared with the numerical derivative."""


# A block in words ----------------------------------------------------------------------------------------------------


def shown_around(subject: Subject, k: int, entry: tuple[int, ...], row: int | None = None, most: int = SMALL) -> str:
    """A block of the Jacobian around one entry of input `k`; "" where it says no more than that entry.

    Parameters
    ----------
    subject : Subject
    k, entry
        The input and its entry that is in the middle.
    row : int or None
        The output entry in the middle; by default that which differs most.
    most : int
        Rows and columns shown.

    Returns
    -------
    str
        ``dy/dx0 ...`` and a line for each row; ``0.5|1`` is 0.5 by the backward pass and 1 by differences.
    """
    evaluation = Evaluation(subject)
    if evaluation.is_narrow or k not in evaluation.moved:
        return ""
    point = evaluation.point(k)
    at = Viewpoint(evaluation, subject.generator("jacobian"), subject.resolution)
    columns = _window(int(np.ravel_multi_index(entry, point.shape)) if entry else 0, point.size, most)
    found = [_measured(at, k, i) for i in columns]
    numeric = np.array([value for value, _ in found]).T
    error = np.array([spread for _, spread in found]).T
    if row is None:
        row = _worst_row(evaluation, k, columns, numeric, error)
    rows = _window(row, evaluation.size, most)
    gradients = [_row(evaluation, j)[k].reshape(-1) for j in rows]
    analytic = np.array([[gradient[i] for i in columns] for gradient in gradients])
    return _text(k, rows, columns, analytic, numeric[rows], error[rows], evaluation)


def _window(place: int, size: int, most: int) -> list[int]:
    start = max(0, min(place - most // 2, size - most))
    return list(range(start, min(start + most, size)))


def _measured(at: Viewpoint, k: int, i: int) -> tuple[Floats, Floats]:
    evaluation = at.evaluation
    whole = moves.drawn(evaluation, at.random, (k,), dense=True)
    move = moves.only(evaluation, whole, (np.array([k]), np.array([i])))
    step = float(move.directions[k].reshape(-1)[i])
    found = at.measure(at.ladder(move), 1)
    # At a kink there is no one derivative to differ from.
    error = np.where(found.smooth, np.asarray(found.error), np.inf)
    return found.value / step, error / abs(step)


def _worst_row(evaluation: Evaluation, k: int, columns: list[int], numeric: Floats, error: Floats) -> int:
    """The output entry, of a few, whose derivatives differ most."""
    worst, place = -1.0, 0
    for j in range(min(evaluation.size, 8 * SMALL)):
        with np.errstate(all="ignore"):
            gap = np.abs(_row(evaluation, j)[k].reshape(-1)[columns] - numeric[j]) - error[j]
        largest = float(np.max(np.where(np.isnan(gap), np.inf, gap)))
        if largest > worst:
            worst, place = largest, j
    return place


def _text(
    k: int, rows: list[int], columns: list[int], analytic: Array, numeric: Array, error: Array, evaluation: Evaluation
) -> str:
    size = float(np.max(np.abs(numeric), where=np.isfinite(numeric), initial=0.0))
    with np.errstate(all="ignore"):
        wrong = ~(np.abs(analytic - numeric) <= error + _ROUNDOFFS * evaluation.epsilon * size)
    if analytic.size < 2 or not wrong.any():
        return ""
    cells = [
        [_cell(a, n, w) for a, n, w in zip(*line, strict=True)] for line in zip(analytic, numeric, wrong, strict=True)
    ]
    width = max(len(cell) for line in cells for cell in line) + 2
    fits = max(1, _WIDTH // width)
    largest = float(np.max(error, where=np.isfinite(error), initial=0.0))
    head = (
        f"outputs {_range(rows)} by entries {_range(columns[:fits])} of x{k}, analytic|numerical where they differ "
        f"(± {largest:.1g})"
    )
    return "\n".join([head, *("".join(cell.ljust(width) for cell in line[:fits]).rstrip() for line in cells)])


def _range(places: list[int]) -> str:
    return f"{places[0]} to {places[-1]}" if len(places) > 1 else f"{places[0]}"


def _cell(analytic: float, numeric: float, wrong: bool) -> str:
    """One number where both are the same, both with as many digits as tell them apart where they are not."""
    if not wrong:
        return f"{analytic:.3g}"
    for digits in range(3, 16):
        left, right = f"{analytic:.{digits}g}", f"{numeric:.{digits}g}"
        if left != right:
            break
    return f"{left}|{right}"
