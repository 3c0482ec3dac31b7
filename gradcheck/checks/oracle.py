"""Judge a gradient by difference quotients: which directions, how hard to try, what to confirm, what to report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gradcheck.checks.evaluation import Evaluation, aliased, flat, shares_memory
from gradcheck.checks.roundoff import fills_float32
from gradcheck.numeric import directions
from gradcheck.numeric.differences import EFFORTS, EPSILON, NOISE, NOT_FINITE, Derivative, Flags, Floats, Ladder
from gradcheck.numeric.verdict import ZERO, Comparison, compare
from gradcheck.program import Array
from gradcheck.verdict import Verdict

# Entries up to which a failing Jacobian is formed whole; beyond, halves are followed to the wrong entry.
WHOLE = 32
# Agreement ends the search for precision once one entry that is wrong by ten resolutions would have shown. An entry's
# part of a projection of n is about 1 / sqrt(n), that of the smallest, one of sixteen, so much less.
WEAKEST = 0.5
# So many different values that fit into float32 are no coincidence.
DISTINCT = 6
# A wrong entry is looked for one by one when as few are left.
FEW = 8


@dataclass(frozen=True, slots=True, eq=False)
class Wrong:
    """A confirmed disagreement: the entry, its two derivatives, and what else is known."""

    argument: int
    entry: tuple[int, ...]
    analytic: float
    numeric: float
    error: float
    detail: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """The end of one examination."""

    verdict: Verdict
    reason: str = ""
    wrong: Wrong | None = None
    vacuous: bool = False
    resolution: float = 0.0
    evaluations: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Move:
    """One line to look along: a direction for each input that moves."""

    directions: dict[int, Floats]
    dense: bool


@dataclass(slots=True, eq=False)
class Oracle:
    """Examines one evaluation.

    Parameters
    ----------
    evaluation : Evaluation
    random : numpy Generator
    rtol : float
        The resolution asked for.
    single : bool
        The function is one op (see `compare`).
    groups : sequence of tuples of int, or None
        Inputs that move together; by default each alone, and all together where there are several.
    strict_precision : bool
        Float64 in and out with float32 in between is a disagreement.
    floor : float
        Noise that the outputs have at least.
    """

    evaluation: Evaluation
    random: np.random.Generator
    rtol: float
    single: bool = False
    groups: Sequence[tuple[int, ...]] | None = None
    strict_precision: bool = False
    floor: float = 0.0
    evaluations: int = 0
    _gradients: dict[bytes, dict[int, Floats]] = field(default_factory=dict)
    _finite: Flags = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    _base: Floats = field(default_factory=lambda: np.zeros(0))

    def examine(self) -> Judgement:
        """Look along several directions with cotangents of both signs; the first confirmed disagreement ends it."""
        if not self.evaluation.moved or not self.evaluation.size:
            return Judgement(Verdict.AGREE, vacuous=True)
        self._base = self.evaluation.along({})(0.0)
        self.evaluations += 1
        self._finite = np.isfinite(self._base)
        if not self._finite.any():
            return Judgement(Verdict.INCONCLUSIVE, NOT_FINITE, evaluations=self.evaluations)
        first = directions.cotangent(self.random, self.evaluation.size)
        cotangents = [np.where(self._finite, u, 0.0) for u in (first, directions.opposite(self.random, first))]
        reasons: list[str] = []
        seen: list[Comparison] = []
        for move in self._plan(cotangents):
            ladder = self._ladder(move)
            for u in cotangents:
                result = self._pair(ladder, move, u)
                if isinstance(result, Wrong):
                    return Judgement(Verdict.DISAGREE, wrong=result, evaluations=self.evaluations)
                seen.append(result)
                if result.verdict is Verdict.INCONCLUSIVE:
                    reasons.append(result.reason)
        if reasons or not seen:
            return Judgement(Verdict.INCONCLUSIVE, reasons[0] if reasons else NOT_FINITE, evaluations=self.evaluations)
        resolution = max(result.resolution for result in seen)
        vacuous = all(result.zero for result in seen)
        return Judgement(Verdict.AGREE, vacuous=vacuous, resolution=resolution, evaluations=self.evaluations)

    # Directions ------------------------------------------------------------------------------------------------

    def _plan(self, cotangents: Sequence[Floats]) -> list[_Move]:
        """The lines to look along: each group twice if it is the only one, else once, and then all together."""
        moved = self.evaluation.moved
        groups: list[tuple[int, ...]] = list(self.groups) if self.groups is not None else [(k,) for k in moved]
        groups.append(moved)
        moves = [self._move(group, dense=False) for group in groups]
        # Entries that share memory move together in the first pass and apart in the last.
        if any(shares_memory(self.evaluation.point(k)) for k in moved):
            moves[-1] = self._move(groups[-1], dense=True)
        if not self._finite.all():
            moves = [self._without_broken(move, cotangents) for move in moves]
        return [move for move in moves if any(v.any() for v in move.directions.values())]

    def _move(self, group: Sequence[int], *, dense: bool) -> _Move:
        made = {k: directions.direction(self.random, self.evaluation.point(k)) for k in group}
        if not dense:
            made = {k: _joined(self.evaluation.point(k), v) for k, v in made.items()}
        return _Move(made, dense)

    def _without_broken(self, move: _Move, cotangents: Sequence[Floats]) -> _Move:
        """Hold still what feeds an output that is not finite: 0 times an infinite derivative is NaN, by right."""
        kept = {}
        for k, v in move.directions.items():
            good = np.logical_and.reduce([np.isfinite(self._gradient(u)[k]) for u in cotangents])
            kept[k] = _joined_mask(self.evaluation.point(k), v, good, move.dense)
        return _Move(kept, move.dense)

    def _ladder(self, move: _Move) -> Ladder:
        phi = self.evaluation.along(move.directions, dense=move.dense)
        return Ladder(phi, base=self._base, floor=self.floor)

    # Gradients -------------------------------------------------------------------------------------------------

    def _gradient(self, u: Floats) -> dict[int, Floats]:
        """J^T u with None as zeros, in float64."""
        key = u.tobytes()
        found = self._gradients.get(key)
        if found is None:
            found = {
                k: np.zeros(self.evaluation.point(k).shape) if g is None else np.asarray(g, dtype=np.float64)
                for k, g in self.evaluation.pullback(u).items()
            }
            self._gradients[key] = found
        return found

    def _compare(self, found: Derivative, move: _Move, u: Floats, *, last: bool) -> Comparison:
        gradient = self._gradient(u)
        g = flat([gradient[k] for k in move.directions])
        v = flat(list(move.directions.values()))
        with np.errstate(all="ignore"):
            size = np.maximum(np.where(self._finite, np.abs(self._base), 0.0), self.floor / EPSILON)
            natural = float(np.add.reduce(np.abs(u) * size))
            return compare(g, v, u, found, natural=natural, rtol=self.rtol, last=last, single=self.single)

    def _measure(self, ladder: Ladder, effort: int) -> Derivative:
        before = ladder.evaluations
        found = ladder.derivative(effort)
        self.evaluations += ladder.evaluations - before
        return found

    # One direction, one cotangent ------------------------------------------------------------------------------

    def _pair(self, ladder: Ladder, move: _Move, u: Floats) -> Comparison | Wrong:
        """Try harder until they agree; what does not end in agreement is confirmed, or looked at in parts."""
        agreed: Comparison | None = None
        for effort in range(EFFORTS):
            found = self._measure(ladder, effort)
            result = self._compare(found, move, u, last=effort == EFFORTS - 1)
            fine = result.zero or result.error <= WEAKEST * self.rtol * result.scale / np.sqrt(_entries(move))
            if result.verdict is Verdict.AGREE and effort < EFFORTS - 1:
                if fine or effort > 0:
                    return result
                agreed = result
        if result.verdict is Verdict.DISAGREE:
            return self._confirm(move, u, result)
        if result.verdict is Verdict.AGREE and found.smooth[u != 0.0].all():
            return result
        if agreed is not None:
            return agreed
        if self.strict_precision and result.reason == NOISE and self._is_float32(ladder):
            return self._locate(move, u, result, "float64 in and out, but the values are those of float32 arithmetic")
        return self._in_parts(move, u, found, result)

    def _confirm(self, move: _Move, u: Floats, result: Comparison) -> Comparison | Wrong:
        """A disagreement must be seen along a fresh direction too, unless it comes from special entries alone."""
        fresh = self._fresh(move)
        found = self._measure(self._ladder(fresh), EFFORTS - 1)
        again = self._compare(found, fresh, u, last=True)
        within = abs(result.analytic - result.numeric) <= self.rtol * result.scale
        if again.verdict is Verdict.AGREE and within:
            return again
        if again.verdict is not Verdict.DISAGREE:
            return Comparison(
                Verdict.INCONCLUSIVE, again.reason or NOISE, result.analytic, result.numeric, result.error, result.scale
            )
        return self._locate(move, u, result)

    def _fresh(self, move: _Move) -> _Move:
        """Another direction over the same entries."""
        made = {}
        for k, v in move.directions.items():
            other = directions.direction(self.random, self.evaluation.point(k))
            made[k] = _joined_mask(self.evaluation.point(k), other, v != 0.0, move.dense)
        return _Move(made, move.dense)

    def _in_parts(self, move: _Move, u: Floats, found: Derivative, result: Comparison) -> Comparison | Wrong:
        """Not judged as a whole: leave out the outputs and the entries where the derivative does not exist.

        What agrees without them agrees: where a derivative does not exist no gradient is wrong. Noise excuses nothing.
        """
        with np.errstate(all="ignore"):
            small = np.maximum(ZERO * np.maximum(np.abs(self._base), self.floor / EPSILON), 1e-4 * np.abs(found.value))
            good = found.smooth & found.finite & (found.error <= small) & (u != 0.0)
        attempts: list[tuple[_Move, Floats]] = []
        if good.any() and not good[u != 0.0].all():
            part = np.where(good, u, 0.0)
            attempts.append((self._unbroken(move, part), part))
        plain = self._plain(move, u)
        if plain is not None:
            attempts.append((plain, u))
        for other, part in attempts:
            found = self._measure(self._ladder(other), EFFORTS - 1)
            partial = self._compare(found, other, part, last=True)
            if partial.verdict is Verdict.DISAGREE:
                confirmed = self._confirm(other, part, partial)
                if isinstance(confirmed, Wrong):
                    return confirmed
            elif partial.verdict is Verdict.AGREE and result.reason not in ("", NOISE):
                result = partial
        return result

    def _unbroken(self, move: _Move, u: Floats) -> _Move:
        """The move without the entries whose gradient is not finite."""
        gradient = self._gradient(u)
        made = {
            k: _joined_mask(self.evaluation.point(k), v, np.isfinite(gradient[k]), move.dense)
            for k, v in move.directions.items()
        }
        return _Move(made, move.dense)

    def _plain(self, move: _Move, u: Floats) -> _Move | None:
        """The move without special entries (zeros, integers, ties, broken gradients); None if nothing changes."""
        gradient = self._gradient(u)
        made = {}
        for k, v in move.directions.items():
            point = self.evaluation.point(k)
            made[k] = _joined_mask(point, v, ~_special(point) & np.isfinite(gradient[k]), move.dense)
        changed = any((made[k] != v).any() for k, v in move.directions.items())
        return _Move(made, move.dense) if changed and any(v.any() for v in made.values()) else None

    def _is_float32(self, ladder: Ladder) -> bool:
        """Whether every value on the way fits into float32, though inputs and outputs are float64."""
        evaluation = self.evaluation
        arrays = [*evaluation.outputs, *(evaluation.point(k) for k in evaluation.moved)]
        if any(a.dtype != np.float64 for a in arrays):
            return False
        # At these points no bit of a moved entry is empty: float64 arithmetic on them does not fit into float32.
        values = np.array([ladder.sample(t / 300.0) for t in range(-DISTINCT, DISTINCT + 1) if t])
        self.evaluations += len(values)
        with np.errstate(all="ignore"):
            fits = np.isfinite(values).all() and (values.astype(np.float32) == values).all()
        # Zeros, integers, plateaus and what cancellation leaves fit by right; what else moves takes many values.
        return bool(fits) and len(np.unique(values[:, values.any(axis=0)])) > DISTINCT and fills_float32(values)

    # Where it is wrong -----------------------------------------------------------------------------------------

    def _locate(self, move: _Move, u: Floats, result: Comparison, detail: str = "") -> Wrong:
        """The entry that is most wrong: from the whole Jacobian where it is small, else by following halves."""
        entries = [(k, int(i)) for k, v in move.directions.items() for i in np.flatnonzero(v)]
        if len(entries) <= WHOLE and self.evaluation.size <= WHOLE:
            found = self._from_jacobian(entries, move, detail)
            if found is not None:
                return found
        while len(entries) > FEW:
            half = len(entries) // 2
            entries = max((entries[:half], entries[half:]), key=lambda part: self._gap(part, move, u)[0])
        entry = max(entries, key=lambda e: self._gap([e], move, u)[0])
        _, found_here, step = self._gap([entry], move, u)
        return Wrong(
            entry[0], self._index(*entry), found_here.analytic / step, found_here.numeric / step,
            found_here.error / abs(step), detail or "one projection on a random cotangent",
        )  # fmt: skip

    def _gap(self, entries: Sequence[tuple[int, int]], move: _Move, u: Floats) -> tuple[float, Comparison, float]:
        """Beyond how many estimates the two differ when only `entries` move; and the last one's step."""
        part = self._only(entries, move)
        found = self._measure(self._ladder(part), 1)
        result = self._compare(found, part, u, last=False)
        step = float(move.directions[entries[-1][0]].reshape(-1)[entries[-1][1]])
        gap = abs(result.analytic - result.numeric)
        return (gap / (result.error or 1e-300) if np.isfinite(gap) else np.inf), result, step

    def _only(self, entries: Sequence[tuple[int, int]], move: _Move) -> _Move:
        made: dict[int, Floats] = {}
        for k, i in entries:
            made.setdefault(k, np.zeros(self.evaluation.point(k).shape)).reshape(-1)[i] = move.directions[k].reshape(
                -1
            )[i]
        # One entry of several that share memory can move alone only in a layout of its own.
        return _Move(made, dense=True)

    def _from_jacobian(self, entries: Sequence[tuple[int, int]], move: _Move, detail: str) -> Wrong | None:
        """The entry of the whole Jacobian that differs most; None if, entry by entry, nothing does."""
        rows = [self._gradient(unit) for unit in np.eye(self.evaluation.size)]
        worst: tuple[float, Wrong] | None = None
        for k, i in entries:
            part = self._only([(k, i)], move)
            step = float(part.directions[k].reshape(-1)[i])
            found = self._measure(self._ladder(part), 1)
            numeric, error = found.value / step, found.error / abs(step)
            analytic = np.array([row[k].reshape(-1)[i] for row in rows])
            with np.errstate(all="ignore"):
                gap = np.abs(analytic - numeric)
                gap = np.where(np.isfinite(analytic), np.where(gap > error, gap, 0.0), np.inf)
            j = int(gap.argmax())
            if gap[j] > 0.0 and (worst is None or gap[j] > worst[0]):
                where = detail or f"derivative of output entry {j} of {self.evaluation.size}"
                entry = Wrong(k, self._index(k, i), float(analytic[j]), float(numeric[j]), float(error[j]), where)
                worst = float(gap[j]), entry
        return None if worst is None else worst[1]

    def _index(self, k: int, i: int) -> tuple[int, ...]:
        return tuple(int(n) for n in np.unravel_index(i, self.evaluation.point(k).shape))


def _entries(move: _Move) -> int:
    return sum(v.size for v in move.directions.values())


def _joined(point: Array, direction: Floats) -> Floats:
    return aliased(point, direction) if shares_memory(point) else direction


def _joined_mask(point: Array, direction: Floats, keep: Flags, dense: bool) -> Floats:
    """`direction` where `keep`; entries that share memory stay together."""
    masked = np.where(keep, direction, 0.0)
    if dense or not shares_memory(point):
        return masked
    return np.where(aliased(point, (~keep).astype(np.float64)) > 0.0, 0.0, _joined(point, direction))


def _special(point: Array) -> Flags:
    """Where a value is an integer or occurs twice: the places where kinks, ties and poles usually are."""
    values, inverse, counts = np.unique(point, return_inverse=True, return_counts=True)
    special = (values == np.rint(values)) | (counts > 1)
    return np.asarray(special[inverse].reshape(point.shape), dtype=np.bool_)
