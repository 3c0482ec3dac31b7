"""Whether a wrong gradient declares itself: the forward's own structure shows that the mismatch is meant."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from gradcheck.checks.claim import Subject
from gradcheck.checks.evaluation import Evaluation, as_tuple, flat, split
from gradcheck.checks.gradient import vjp_matches_numeric
from gradcheck.functions.sampling import SMALL, Curve, Row, Sampler
from gradcheck.functions.suggestion import relative_error
from gradcheck.numeric import directions
from gradcheck.numeric.differences import Flags, Floats
from gradcheck.verdict import Outcome, Verdict

# Rows of two lines, of twenty, that may lie across a jump, so that an entry seems to move though it nearly never does;
# and so many where precision asks for moves that are not small.
_CHANCE, _CHANCES = 1, 4
# Far enough to leave any range that looks like the whole line from near.
_WIDE = (-1e6, -1103.0, -37.1, -2.83, -1.19, 0.37, 1.19, 2.83, 37.1, 1103.0, 1e6)
# Random states that a comparison in the mean needs, and the bias, in standard errors, that is no chance any more.
_STATES, _BIAS = 8, 8.0
# What nobody asked for by hand.
_DEFAULT_RTOL = 1e-6
# What a plain difference quotient may miss of a slope.
_CURVATURE = 1e-6


class Kind(StrEnum):
    """Structures that declare a mismatch."""

    LOCALLY_CONSTANT = "locally constant"
    IDENTITY = "identity"
    CLAMP = "clamp"
    TOLERATED = "tolerated"
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Deliberate:
    """Why a mismatch is taken for meant; as text, its reason.

    Attributes
    ----------
    kind : Kind
        For ``RANDOM`` nothing is known: the gradient may be a right estimator or a wrong one.
    reason : str
        One sentence without a full stop.
    inputs : tuple of int
        The inputs whose gradients it explains; those of all others were found right.
    """

    kind: Kind
    reason: str
    inputs: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.reason


Explained = Mapping[int, Flags]
"""For each input, the entries of the outputs (laid end to end) towards which its gradient is as its author wished."""


def deliberate(subject: Subject, outcome: Outcome, *others: Callable[..., Any]) -> Deliberate | None:
    """Tell a mismatch that is meant from a mistake.

    Parameters
    ----------
    subject : Subject
        Each call of its function starts from the same random state.
    outcome : Outcome
        What `vjp_matches_numeric` said of it. No verdict ("noise") is explained too, where the forward is a staircase
        too fine for it.
    others : callables
        The subject's function, each from another random state. One tells whether the function is random; eight or
        more let its gradient be compared in the mean, where that is possible.

    Returns
    -------
    Deliberate or None
        None where the mismatch, or a part of it, is a mistake as far as can be known.

    Notes
    -----
    A relu and a round are told apart by how they leave a plateau: the one moves on, the other jumps. A gradient that
    ignores a relu's mask is a mistake, one that ignores the plateaus of a staircase is not.
    """
    finding = outcome.finding
    if outcome.verdict is Verdict.AGREE or (finding and (finding.analytic is None or finding.numeric is None)):
        return None  # the backward raised, or gave another shape
    # The claim looks for far smaller errors than a wider `rtol` asks it to: what is left of them is judged here.
    if finding and subject.rtol > _DEFAULT_RTOL and (error := relative_error(subject)) <= subject.rtol:
        reason = f"the gradient is off by {error:.1g} of its size, within rtol={subject.rtol:g}"
        return Deliberate(Kind.TOLERATED, reason, tuple(k for k, d in enumerate(subject.differentiable) if d))
    sampler = Sampler(subject)
    for find in (_identity, _staircase, _clamp) if finding else (_staircase,):
        explained, reason, kind = find(sampler)
        if explained and _is_wrong_in(explained, sampler, outcome) and _rest_agrees(subject, sampler, explained):
            return Deliberate(kind, reason, tuple(sorted(explained)))
    return _random(subject, sampler, others) if finding else None


def _is_wrong_in(explained: Explained, sampler: Sampler, outcome: Outcome) -> bool:
    """Whether it was one of these inputs that disagreed; without a verdict, whether there is a gradient at all."""
    if outcome.finding is not None:
        named = outcome.finding.argument
        return named is None or int(named[1:].split(",")[0]) in explained
    found = sampler.evaluation.pullback(directions.cotangent(sampler.random, sampler.evaluation.size))
    return any(g is not None and bool(g.any()) for k, g in found.items() if k in explained)


def _rest_agrees(subject: Subject, sampler: Sampler, explained: Explained) -> bool:
    """Whether what is left unexplained does not disagree."""
    moved = sampler.evaluation.moved
    plain = tuple(k in moved and k not in explained for k in range(len(subject.inputs)))
    checks = [replace(subject, differentiable=plain)] if any(plain) else []
    for k, entries in explained.items():
        if not entries.all():
            alone = tuple(i == k for i in range(len(subject.inputs)))
            held = _Masked(subject, sampler.evaluation, ~entries)
            checks.append(replace(subject, function=held, differentiable=alone))
    return not any(vjp_matches_numeric(check).verdict is Verdict.DISAGREE for check in checks)


class _Masked:
    """A function whose outputs are zero, and pass no cotangent on, but at the entries that are kept."""

    def __init__(self, subject: Subject, evaluation: Evaluation, kept: Flags) -> None:
        self._subject = subject
        masks = split(kept.astype(np.float64), evaluation.outputs)
        self._masks = [m.astype(y.dtype) for m, y in zip(masks, evaluation.outputs, strict=True)]

    def __call__(self, *tensors: Any) -> tuple[Any, ...]:
        engine = self._subject.engine
        outputs = [y for y in as_tuple(self._subject.function(*tensors)) if engine.kind(y) == "f"]
        # Other shapes than at the subject's point raise here, and a point that raises is left out.
        return tuple(y * engine.tensor(m) for y, m in zip(outputs, self._masks, strict=True))


# A forward that is the identity ------------------------------------------------------------------------------------


def _identity(sampler: Sampler) -> tuple[Explained, str, Kind]:
    """Outputs that equal an input. Where all do, inputs that are not used have the gradient their author wished."""
    evaluation = sampler.evaluation
    size, owner = evaluation.size, sampler.owner()
    # What is given back need not be differentiated: (values, where their gradient goes) is a common pair.
    inputs = [k for k, x in enumerate(evaluation.subject.inputs) if x.dtype.kind == "f" and x.size]
    points = _points(sampler, inputs, (-1103.0, -2.83, 1.19, 37.1))
    found: dict[int, Flags] = {}
    for k in inputs:
        for j, output in enumerate(evaluation.outputs):
            x = evaluation.point(k)
            # One entry's sum is that entry: only the same shape tells an identity then.
            if output.size != x.size or (x.size == 1 and output.shape != x.shape):
                continue
            if len(points) > 1 and all(np.array_equal(values[owner == j], at[k]) for at, values in points):
                found[k] = found.get(k, np.zeros(size, np.bool_)) | (owner == j)
    reason = f"the forward gives {_names(found)} back as it is, so only its backward can be what it is for"
    if found and np.logical_or.reduce(list(found.values())).all():
        return {k: np.ones(size, np.bool_) for k in evaluation.moved}, reason, Kind.IDENTITY
    return {k: entries for k, entries in found.items() if k in evaluation.moved}, reason, Kind.IDENTITY


def _points(sampler: Sampler, inputs: Sequence[int], places: Sequence[float]) -> list[tuple[dict[int, Floats], Floats]]:
    """Flattened inputs, and outputs there: as given, and along two lines on which they move; finite ones only."""
    evaluation = sampler.evaluation
    here = {k: flat([evaluation.point(k)]) for k in inputs}
    found = [(here, flat(evaluation.outputs))]
    for unit in (False, True):
        moves = {k: directions.direction(sampler.random, np.ones(x.shape) if unit else x) for k, x in here.items()}
        curve = sampler.curve({k: v.reshape(evaluation.point(k).shape) for k, v in moves.items()})
        for t in places:
            values = curve(t)
            if np.isfinite(values).all():
                # Rounded as the function is given it, in its own precision.
                at = {k: (x + t * moves[k]).astype(evaluation.point(k).dtype) for k, x in here.items()}
                found.append(({k: x.astype(np.float64) for k, x in at.items()}, values))
    return found


# A forward that is locally constant --------------------------------------------------------------------------------


def _staircase(sampler: Sampler) -> tuple[Explained, str, Kind]:
    """Outputs that stand still nearly everywhere and jump in between, and inputs along which such outputs jump too."""
    explained: dict[int, Flags] = {}
    evaluation = sampler.evaluation
    for k in evaluation.moved:
        steps = _steps(sampler, k)
        if steps.any():
            explained[k] = steps
    names = _names(explained)
    if explained:
        # The step size of a quantisation: its slope misses the jumps, and an author's gradient makes up for that.
        for k in set(evaluation.moved) - set(explained):
            if _breaks(sampler, sampler.lines(k)[0], (0.0, 0.4)):
                explained[k] = np.ones(evaluation.size, np.bool_)
    reason = f"the forward is constant in {names} but for jumps, so its slope is zero and its backward stands in for it"
    return explained, reason, Kind.LOCALLY_CONSTANT


def _steps(sampler: Sampler, k: int) -> Flags:
    """The entries of outputs that are staircases in input `k`."""
    size, owner = sampler.evaluation.size, sampler.owner()
    lines: list[tuple[Curve, list[Row]]] = []
    moving, allowed = np.zeros(size), _CHANCE if sampler.step == SMALL else _CHANCES
    for curve in sampler.lines(k):
        rows = sampler.rows(curve)
        lines.append((curve, rows))
        moving += np.sum([~row.flat for row in rows], axis=0) if rows else np.inf
        if (moving > allowed).all():
            break  # everything moves: most functions end here
    constant = moving <= allowed
    found = np.zeros(size, np.bool_)
    for j in range(len(sampler.evaluation.outputs)):
        part = constant & (owner == j)
        if part.any() and _leaps(sampler, lines, part):
            found |= part
    return found


def _leaps(sampler: Sampler, lines: Sequence[tuple[Curve, list[Row]]], part: Flags) -> bool:
    """Whether these outputs, constant wherever one looks, change by jumps, and do change."""
    seen = False
    for curve, rows in lines:
        pairs = list(itertools.pairwise(rows))
        changes = [(abs(b.values - a.values), part & ~sampler.same(a.values, b.values)) for a, b in pairs]
        found = [(float(change[i]), n, int(i)) for n, (change, far) in enumerate(changes) for i in np.flatnonzero(far)]
        known = sorted(one for one in found if np.isfinite(one[0]))
        if not known:
            continue
        # Neither the many steps of the largest change, nor what may be as small as it likes.
        _, n, entry = known[len(known) // 2]
        if not sampler.jumps(curve, (pairs[n][0].t, pairs[n][1].t), entry, flat=True):
            return False
        seen = True
    return seen


def _breaks(sampler: Sampler, curve: Curve, ends: tuple[float, float]) -> bool:
    """Whether an output jumps along the line."""
    h = sampler.step
    slopes = [(curve(t + h) - curve(t - h)) / (2.0 * h) for t in ends]
    missed = np.abs(curve(ends[1]) - curve(ends[0]) - 0.5 * (ends[1] - ends[0]) * (slopes[0] + slopes[1]))
    missed = np.where(np.isfinite(missed), missed, 0.0)
    if not missed.any():
        return False
    return sampler.jumps(curve, ends, int(missed.argmax()), flat=False)


# A forward that is a clamp -----------------------------------------------------------------------------------------


def _clamp(sampler: Sampler) -> tuple[Explained, str, Kind]:
    """An output that is an input held between bounds, with a gradient that is right inside them."""
    evaluation = sampler.evaluation
    if len(evaluation.outputs) == 1:
        for k in evaluation.moved:
            bounds = _bounds(sampler, k) if evaluation.point(k).shape == evaluation.outputs[0].shape else None
            if bounds is not None and _is_right_inside(sampler, k, *bounds):
                everywhere = {k: np.ones(evaluation.size, np.bool_)}
                return everywhere, f"the forward clamps x{k}, and its gradient is let through outside", Kind.CLAMP
    return {}, "", Kind.CLAMP


def _bounds(sampler: Sampler, k: int) -> tuple[Floats, Floats] | None:
    """The bounds of each entry, infinite where there is none; None where the forward is no clamp, or a relu."""
    points = _points(sampler, (k,), _WIDE)
    x = np.array([at[k] for at, _ in points])
    y = np.array([values for _, values in points])
    low = np.min(np.where(y > x, y, np.inf), axis=0)
    high = np.max(np.where(y < x, y, -np.inf), axis=0)
    has_low, has_high = np.isfinite(low), np.isfinite(high)
    # A bound that only some entries have is something else, as are bounds in the wrong order.
    if has_low.any() != has_low.all() or has_high.any() != has_high.all() or not (has_low | has_high).all():
        return None
    low, high = np.where(has_low, low, -np.inf), np.where(has_high, high, np.inf)
    if (low >= high).any() or not np.array_equal(y, np.clip(x, low, high)):
        return None
    is_relu = (not has_low.all() and not high.any()) or (not has_high.all() and not low.any())
    return None if is_relu else (low, high)


def _is_right_inside(sampler: Sampler, k: int, low: Floats, high: Floats) -> bool:
    """Whether the gradient is the cotangent inside the bounds, and outside that or less, with its sign."""
    evaluation = sampler.evaluation
    part = sampler.random.uniform(0.1, 0.9, low.shape)
    with np.errstate(all="ignore"):
        size = np.where(np.isfinite(low + high), high - low, 1.0 + np.abs(np.where(np.isfinite(low), low, high)))
        inside = np.where(np.isfinite(low), low + part * size, high - part * size)
    point = evaluation.point(k)
    inputs = list(evaluation.subject.inputs)
    inputs[k] = inside.reshape(point.shape).astype(point.dtype)
    allowed = max(evaluation.subject.rtol, 8.0 * sampler.precision)
    try:
        middle = evaluation.at(inputs)
    except Exception:  # off the domain of a stranger's function
        return False
    for at in (middle, evaluation):
        u = directions.cotangent(sampler.random, low.size)
        found = at.pullback(u)[k]
        ratio = np.zeros(u.shape) if found is None else flat([found]) / u
        x = flat([at.point(k)])
        is_inside = (x > low) & (x < high)
        if not np.where(is_inside, np.abs(ratio - 1.0) <= allowed, (ratio >= 0.0) & (ratio <= 1.0 + allowed)).all():
            return False
    return True


# A forward that draws random numbers -------------------------------------------------------------------------------


def _random(subject: Subject, sampler: Sampler, others: Sequence[Callable[..., Any]]) -> Deliberate | None:
    """Two random states give two results, and the gradient is not shown to be biased."""
    found = []
    for other in others:
        try:
            found.append(Sampler(replace(subject, function=other)))
        except Exception:  # a stranger's function, with random numbers it was not run with
            continue
    here = flat(sampler.evaluation.outputs)
    if not any(not np.array_equal(here, flat(one.evaluation.outputs), equal_nan=True) for one in found):
        return None
    if len(found) >= _STATES and _is_biased([sampler, *found]):
        return None
    reason = "random: the forward draws random numbers, and its gradient is not that of what it drew"
    return Deliberate(Kind.RANDOM, reason, sampler.evaluation.moved)


def _is_biased(states: Sequence[Sampler]) -> bool:
    """Whether gradients miss the slope in the mean over random states.

    The mean of slopes is the slope of the mean only where what was drawn does not jump as the inputs move.
    """
    first = states[0].evaluation
    size = first.size
    if any(state.evaluation.size != size or state.evaluation.moved != first.moved for state in states):
        return False
    u = directions.cotangent(states[0].random, size)
    for k in first.moved:
        v = directions.direction(states[0].random, first.point(k))
        misses, floor = [], 0.0
        for n, state in enumerate(states):
            curve = state.curve({k: v})
            if n < 2 and _breaks(state, curve, (0.0, 1.19)):
                return False
            h = state.step
            slope = float(u @ (curve(h) - curve(-h))) / (2.0 * h)
            gradient = state.evaluation.pullback(u)[k]
            misses.append((0.0 if gradient is None else float(np.sum(gradient * v))) - slope)
            rounding = 4.0 * state.precision / h * float(np.abs(u) @ np.abs(flat(state.evaluation.outputs)))
            floor = max(floor, rounding + _CURVATURE * abs(slope))
        spread = float(np.std(misses, ddof=1)) / np.sqrt(len(misses))
        if abs(float(np.mean(misses))) > _BIAS * spread + floor:
            return True
    return False


def _names(explained: Explained) -> str:
    return " and ".join(f"x{k}" for k in sorted(explained))
