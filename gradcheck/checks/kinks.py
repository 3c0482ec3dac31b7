"""GC107: at a kink or a tie, the gradient is a generalized one, no steeper along any direction than slopes nearby."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradcheck.checks.claim import Subject
from gradcheck.checks.evaluation import Evaluation, has_kinks
from gradcheck.checks.gradient import finding, refusals_are_no_verdict
from gradcheck.checks.move import Move, drawn, is_special, together
from gradcheck.checks.opwise import taken_apart
from gradcheck.checks.oracle import Wrong
from gradcheck.checks.surrounding import PLACES, SAME, Hull, entries, sides, surround, ties, unit_sizes
from gradcheck.checks.viewpoint import Viewpoint
from gradcheck.failures import OFF_DOMAIN, Finding, Unsupported
from gradcheck.numeric.derivative import KINK, NOT_FINITE
from gradcheck.numeric.differences import EFFORTS, Flags, Floats
from gradcheck.verdict import AGREED, VACUOUS, Outcome, Verdict

KINKS = (
    "kinks_get_generalized_gradients",
    "GC107",
    "At a kink, the gradient lies between the slopes nearby, along every direction.",
)

COMPOSED = "composition of kinks"
"""Right conventions of several ops need not compose to a generalized gradient."""

# Outputs with a kink, entries, groups of equal entries, and combinations that are looked at; and suspicions followed.
OUTPUTS, SINGLES, GROUPS, SPARSE, SUSPECTS = 16, 24, 6, 4, 6
# Beyond so much of its width a number is clearly outside an interval that was sampled: what a sample misses is a part
# of what there is. Where slopes are the two that the point itself has, and no others, nothing was missed.
CLEAR, SHARP = 0.5, 2.0**-6
# One-sided derivatives are known to this part, or there is no kink but something worse (a jump, a root).
KNOWN = 1e-4
# By how many estimates, and by which part, derivatives differ at a kink that is worth a look.
SURE, VISIBLE = 4.0, 2.0**-12
# Neighbours at which the gradient must be right.
LEAST = 6
# Fresh samples after which a gradient is still outside.
ROUNDS = 2


def kinks_get_generalized_gradients(subject: Subject) -> Outcome:
    """Compare the gradient along directions, output by output, with the slopes nearby where there is a derivative.

    Clarke's generalized gradient is the convex hull of what gradients nearby tend to. So along any direction the
    gradient lies between the lowest and the highest slope nearby. Where gradients nearby are not the derivatives, they
    are meant to be others, or `vjp_matches_numeric` says so. A program is judged op by op.
    """
    program = subject.program
    with refusals_are_no_verdict(subject):
        if program is None:
            return _judged(subject)
        if not has_kinks(program):
            return VACUOUS
        if len(program.steps) == 1:
            return _judged(subject) if has_special(subject) else VACUOUS
        return _op_by_op(subject)


def is_one_rule(function: Callable[..., Any]) -> bool:
    """Whether a callable is one function with a derivative rule of its own, so that a kink's gradient is its author's.

    It is the ``apply`` of a Function, or what ``jax.custom_vjp`` made.
    """
    owner = getattr(function, "__self__", None)
    return hasattr(function, "defvjp") or (isinstance(owner, type) and hasattr(owner, "backward"))


def _op_by_op(subject: Subject) -> Outcome:
    """Each op with kinks, at the values that occurred."""
    try:
        steps = [local for local in taken_apart(subject).steps if has_kinks(local.subject.program)]
        found = [(local, _judged(local.subject)) for local in steps if has_special(local.subject)]
    except (Unsupported, *OFF_DOMAIN):
        return VACUOUS  # for other claims to meet, and to report
    for local, outcome in found:
        if outcome.finding is not None:
            return replace(outcome, finding=replace(outcome.finding, detail=f"{local} {outcome.finding.detail}"))
    open_ones = [outcome for _, outcome in found if outcome.verdict is Verdict.INCONCLUSIVE]
    telling = [outcome for _, outcome in found if not outcome.vacuous]
    return (open_ones or telling or [VACUOUS])[0]


def has_special(subject: Subject) -> bool:
    """Whether there is an exact integer or a tie among what is differentiated, where nearly all kinks lie."""
    moved = [x.reshape(-1) for x, d in zip(subject.inputs, subject.differentiable, strict=True) if d]
    return bool(moved) and bool(is_special(np.concatenate(moved)).any())


def _judged(subject: Subject) -> Outcome:
    evaluation = Evaluation(subject)
    if not evaluation.moved or not evaluation.size or evaluation.is_narrow:
        return VACUOUS
    at = Viewpoint(evaluation, subject.generator(KINKS[0]), subject.resolution)
    bent = _bent(at)
    return _Kinks(at, bent).outcome(subject) if bent.any() else VACUOUS


def _bent(at: Viewpoint) -> Flags:
    """Outputs whose derivative is not linear: along a line, or, between special values, along two and their sum."""
    evaluation = at.evaluation
    one, other = (drawn(evaluation, at.random, evaluation.moved, dense=True) for _ in range(2))
    found = [sides(at, one)]
    if has_special(evaluation.subject):
        found += [sides(at, move) for move in (other, together(one, other))]
    error = sum(d.error for d in found)
    gaps = [d.right - d.left for d in found]
    if len(found) > 1:
        v, w, both = found
        gaps.append(both.middle - v.middle - w.middle)
    with np.errstate(all="ignore"):
        size = np.max([np.abs([d.left, d.right]).max(axis=0) for d in found], axis=0)
        bent = np.max(np.abs(gaps), axis=0) > SURE * error + VISIBLE * size
    return np.asarray(bent & np.isfinite(error) & at.finite)


@dataclass(frozen=True, slots=True, eq=False)
class _Suspect:
    """An output and a direction along which the gradient lies outside the slopes at the point itself."""

    move: Move
    output: int
    value: float
    excess: float


class _Kinks:
    """The outputs with a kink at one point."""

    def __init__(self, at: Viewpoint, bent: Flags) -> None:
        self.at = at
        found = np.flatnonzero(bent)
        self.outputs = np.sort(at.random.permutation(found)[:OUTPUTS])
        self.sizes = {k: unit_sizes(at.evaluation.point(k)) for k in at.evaluation.moved}
        self.ties = ties(at.evaluation, at.evaluation.moved)

    def outcome(self, subject: Subject) -> Outcome:
        """The first confirmed suspicion, else what is left open."""
        rows = {int(j): self.at.gradient((np.arange(self.at.base.size) == j).astype(np.float64)) for j in self.outputs}
        if not all(np.isfinite(g).all() for row in rows.values() for g in row.values()):
            return Outcome(Verdict.INCONCLUSIVE, NOT_FINITE)
        suspects = sorted(self._suspects(rows), key=lambda one: -one.excess)[:SUSPECTS]
        is_open = False
        for suspect in suspects:
            settled = self._settled(suspect)
            if isinstance(settled, Hull):
                if subject.program is None and not subject.is_rule:
                    return Outcome(Verdict.INCONCLUSIVE, COMPOSED)
                return Outcome(Verdict.DISAGREE, finding=self._finding(subject, suspect, settled))
            is_open = is_open or not settled
        return Outcome(Verdict.INCONCLUSIVE, KINK) if is_open else AGREED

    # Directions ------------------------------------------------------------------------------------------------

    def _moves(self) -> Iterator[Move]:
        """Single entries, equal entries together, and a few at a time."""
        at = self.at
        special = {k: is_special(np.asarray(at.evaluation.point(k))) for k in self.sizes}
        for flags in self.ties:
            special = {k: special[k] | flags[k] for k in special}
        if not entries(special):
            special = {k: np.ones(v.shape, np.bool_) for k, v in self.sizes.items()}
        places = [(k, int(i)) for k, own in special.items() for i in np.flatnonzero(own)]
        chosen = [places[i] for i in at.random.permutation(len(places))]
        for place in chosen[:SINGLES]:
            yield self._move([place], [1.0])
        for flags in self.ties[:GROUPS]:
            yield self._equals(flags)
        for _ in range(SPARSE if len(chosen) > 1 else 0):
            some = [chosen[i] for i in at.random.permutation(len(chosen))[: int(at.random.integers(2, 4))]]
            yield self._move(some, at.random.choice((-1.0, 1.0), len(some)).tolist())

    def _move(self, places: Sequence[tuple[int, int]], signs: Sequence[float]) -> Move:
        made = {k: np.zeros(self.sizes[k].shape) for k in sorted({k for k, _ in places})}
        for (k, i), sign in zip(places, signs, strict=True):
            made[k].reshape(-1)[i] = sign * self.sizes[k].reshape(-1)[i]
        return Move(made, dense=True, deep=True)

    def _equals(self, flags: dict[int, Flags]) -> Move:
        size = min(float(self.sizes[k][own].min()) for k, own in flags.items() if own.any())
        return Move({k: np.where(own, size, 0.0) for k, own in flags.items() if own.any()}, dense=True, deep=True)

    # Suspicions ------------------------------------------------------------------------------------------------

    def _suspects(self, rows: dict[int, dict[int, Floats]]) -> Iterator[_Suspect]:
        for move in self._moves():
            found = sides(self.at, move)
            for j, row in rows.items():
                terms = np.concatenate([(row[k] * v).reshape(-1) for k, v in move.directions.items()])
                value, size = float(terms.sum()), float(np.sqrt(terms @ terms))
                hull = _at_the_point(found.left[j], found.right[j], found.error[j])
                hull.size = max(hull.size, size)
                excess = hull.outside(value) - hull.error - SAME * hull.size
                if excess > SHARP * (hull.high - hull.low):
                    yield _Suspect(move, j, value, excess / (hull.size or 1.0))

    def _settled(self, suspect: _Suspect) -> Hull | bool:
        """The slopes that the gradient lies clearly outside of; else whether it is known to be inside."""
        found = self.at.measure(self.at.ladder(suspect.move), EFFORTS - 1)
        error = np.maximum(found.left_error, found.right_error)
        hull = _at_the_point(*(side[suspect.output] for side in (found.left, found.right, error)))
        is_here = bool(found.smooth[suspect.output] | found.here[suspect.output])
        if not is_here or not hull.error <= KNOWN * max(hull.size, abs(suspect.value)):
            return True  # no kink at this point: a jump, a root, a kink nearby
        own = hull.low, hull.high
        for _ in range(ROUNDS):
            for _ in surround(self.at, suspect.move, suspect.output, self.sizes, hull):
                if hull.outside(suspect.value) <= hull.error + SAME * hull.size:
                    return True
                if hull.wrongs > 1 or not hull.is_bounded:
                    return True  # for other claims to say: the gradient is another one nearby too
        is_known = hull.rights >= LEAST and not hull.wrongs and self._is_sampled(suspect.move, own)
        return hull if is_known and self._is_outside(hull, own, suspect) else False

    def _is_sampled(self, move: Move, own: tuple[float, float]) -> bool:
        """Whether neighbours tell: of many equal entries, none comes to each place, and a rank has a slope in one."""
        largest = max((entries(flags) for flags in self.ties), default=1)
        moving = int(sum(np.count_nonzero(v) for v in move.directions.values()))
        return largest <= PLACES or moving >= largest or own[1] - own[0] > 0.0

    def _is_outside(self, hull: Hull, own: tuple[float, float], suspect: _Suspect) -> bool:
        moving = sum(np.count_nonzero(v) for v in suspect.move.directions.values())
        blur = hull.error + SAME * max(hull.size, abs(suspect.value))
        is_whole = moving == 1 and hull.low >= own[0] - blur and hull.high <= own[1] + blur
        clear = (SHARP if is_whole else CLEAR) * (hull.high - hull.low)
        return hull.outside(suspect.value) > clear + blur

    def _finding(self, subject: Subject, suspect: _Suspect, hull: Hull) -> Finding:
        """What a report shows, and which way to move to see it."""
        wrong = self._wrong(suspect, hull)
        moving = suspect.move.directions
        step = abs(float(moving[wrong.argument][wrong.entry]))
        directions = tuple(
            np.asarray(moving[k] / step if k in moving else np.zeros(x.shape), x.dtype)
            for k, (x, d) in enumerate(zip(subject.inputs, subject.differentiable, strict=True))
            if d and x.dtype.kind in "fc"
        )
        made = finding(subject, KINKS, wrong)
        assert made.evidence is not None
        return replace(made, evidence=replace(made.evidence, directions=directions))

    def _wrong(self, suspect: _Suspect, hull: Hull) -> Wrong:
        """The projection of the gradient, and the nearest slope."""
        places = [(k, tuple(int(n) for n in i)) for k, v in suspect.move.directions.items() for i in np.argwhere(v)]
        k, entry = places[0]
        step = abs(float(suspect.move.directions[k][entry]))
        low, high, value = hull.low / step, hull.high / step, suspect.value / step
        unit = (np.arange(self.at.base.size) == suspect.output).astype(np.float64)
        nearest = low if value < low else high
        among = (
            f"between {low:.6g} and {high:.6g}" if high - low > SAME * (abs(low) + abs(high)) else f"at {nearest:.6g}"
        )
        along = f"along {_listed(places)}" + (" together" if len(places) > 1 else "")
        detail = (
            f"at a kink, {along}, output entry {suspect.output} of {unit.size} has slopes {among} nearby, where its "
            f"gradient is right; the gradient here gives {value:.6g}"
        )
        error = hull.error / step + SAME * abs(high - low)
        return Wrong(k, entry, value, nearest, error, detail, self.at.evaluation.cotangents(unit))


def _listed(places: Sequence[tuple[int, tuple[int, ...]]]) -> str:
    """``x0[0, 1] and x0[0, 2]``; many are counted."""
    if len(places) > 4:
        return f"{len(places)} entries"
    return " and ".join(f"x{k}{list(entry)}" if entry else f"x{k}" for k, entry in places)


def _at_the_point(left: float, right: float, error: float) -> Hull:
    """The one-sided derivatives."""
    hull = Hull()
    for slope in (left, right):
        hull.add(float(slope), float(error))
    return hull
