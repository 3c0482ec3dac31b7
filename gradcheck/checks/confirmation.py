"""What must hold before a difference is called a disagreement: it is no round-off, no kink, and seen twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gradcheck.checks.move import Move, aligned, alone, drawn, fresh, moving, together
from gradcheck.checks.second_opinion import tangents
from gradcheck.checks.surrounding import is_steady
from gradcheck.checks.viewpoint import Viewpoint
from gradcheck.numeric.derivative import KINK, NOISE, Derivative
from gradcheck.numeric.differences import DEEP, EFFORTS, Floats
from gradcheck.numeric.directions import magnitudes
from gradcheck.numeric.verdict import Comparison
from gradcheck.verdict import Verdict

# Where a function is differentiable, the derivative along v + w is that along v plus that along w, up to so many
# estimates.
MARGIN = 2.0
# How far away the neighbours are, in units of the inputs' sizes, and how many must show what a kink may excuse.
NEARBY = 2.0**-9
NEIGHBOURS = 2
# Where that leaves the domain: ties are broken there too.
CLOSE = 2.0**-40
LAST = EFFORTS - 1


def confirmed(at: Viewpoint, move: Move, u: Floats, result: Comparison, found: Derivative) -> Comparison:
    """A disagreement that stands, or what is left of it.

    Parameters
    ----------
    at : Viewpoint
    move, u
        Where it was seen.
    result : Comparison
        The disagreement.
    found : Derivative
        The derivative along `move` that it was seen in.
    """
    result = at.compare(found, move, u, last=True, doubt=at.doubt(move, u))
    if result.verdict is not Verdict.DISAGREE:
        return result
    other = fresh(at.evaluation, at.random, move)
    if move.aligned:
        other = aligned(at.evaluation, other, at.gradient(u))
    _, again = at.settled(at.ladder(other), other, u, doubt=at.doubt(other, u))
    if again.verdict is Verdict.AGREE and abs(result.analytic - result.numeric) <= at.rtol * result.scale:
        return again
    if again.verdict is not Verdict.DISAGREE:
        return result.inconclusive(again.reason or NOISE)
    # The verdict on one op at its kink rests on one-sided derivatives already.
    is_smooth = bool(found.smooth[u != 0.0].all())
    is_sure = is_smooth and not at.kinked and _is_differentiable(at, move, u)
    is_sure = is_sure and is_steady(at, move, u, result.numeric, result.analytic - result.numeric)
    if is_smooth and not is_sure and not _is_wrong_nearby(at, move, u):
        return result.inconclusive(KINK)
    if is_smooth and _is_contradicted(at, move, u, found):
        return result.inconclusive(NOISE)
    return result


def _is_contradicted(at: Viewpoint, move: Move, u: Floats, found: Derivative) -> bool:
    """Whether a method that shares nothing with the ladder finds the gradient right: then one of the two errs."""
    second = tangents(at, move, found)
    if second is None or not np.isfinite(second.error[u != 0.0]).all():
        return False
    return at.compare(second, move, u, last=True, doubt=at.doubt(move, u)).verdict is Verdict.AGREE


def _last(move: Move) -> int:
    return DEEP if move.deep else LAST


def _around(at: Viewpoint, move: Move) -> Move:
    """A move of all inputs, at the scale of `move`; entries that share memory move apart."""
    around = drawn(at.evaluation, at.random, at.evaluation.moved, dense=True)
    return alone(at.evaluation, at.random, moving(around)) if move.deep else around


def _apart(at: Viewpoint, move: Move) -> Move:
    """The move with each entry by its own factor: equal entries that move alike are a tie there too."""
    made = {k: v * magnitudes(at.random, v.size).reshape(v.shape) for k, v in move.directions.items()}
    return replace(move, directions=made)


def _is_differentiable(at: Viewpoint, move: Move, u: Floats) -> bool:
    """Whether the outputs in u have a linear derivative: along v, along a w that moves all inputs, and along v + w.

    A derivative from left and right along one line is none: ``|x - y| * sign(x - y)`` has one at ties along x alone.
    """
    # As long as entries that share memory are equal, the kink of their deviation stays unseen.
    around = _around(at, move)
    along = Move(move.directions, dense=True)
    v, w, both = (at.measure(at.ladder(m), _last(move)) for m in (along, around, together(along, around)))
    active = u != 0.0
    if not all((d.smooth & d.finite)[active].all() for d in (v, w, both)):
        return False
    with np.errstate(all="ignore"):
        bend = np.abs(both.value - v.value - w.value)[active]
        return bool((bend <= MARGIN * (both.error + v.error + w.error)[active]).all())


def _is_wrong_nearby(at: Viewpoint, move: Move, u: Floats) -> bool:
    """Whether points nearby, which no kink passes through, show the disagreement too."""
    for _ in range(NEIGHBOURS):
        around = _apart(at, _around(at, move))
        near = at.shifted(around, NEARBY)
        if move.deep and (near is None or not near.finite[u != 0.0].all()):
            near = at.shifted(around, CLOSE)
        if near is None or not near.finite[u != 0.0].all():
            return False
        found = near.measure(near.ladder(move), _last(move))
        result = near.compare(found, move, u, last=True)
        if result.verdict is Verdict.DISAGREE:
            result = near.compare(found, move, u, last=True, doubt=near.doubt(move, u))
        at.evaluations += near.evaluations
        if result.verdict is not Verdict.DISAGREE:
            return False
    return True
