"""Judge a gradient by difference quotients: which directions to look along, how hard to try, what to leave out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gradcheck.checks import move as moves
from gradcheck.checks import parts
from gradcheck.checks.confirmation import confirmed
from gradcheck.checks.culprit import Wrong, hunted, located
from gradcheck.checks.evaluation import Evaluation, shares_memory
from gradcheck.checks.move import Move
from gradcheck.checks.parts import Piece
from gradcheck.checks.roundoff import fills_float32
from gradcheck.checks.second_opinion import tangents
from gradcheck.checks.viewpoint import Viewpoint
from gradcheck.numeric import directions
from gradcheck.numeric.derivative import KINK, NEAR_KINK, NOISE, NOT_FINITE, ONE_SIDED, Derivative
from gradcheck.numeric.differences import EFFORTS, EPSILON, Floats, Ladder
from gradcheck.numeric.verdict import ZERO, Comparison, Survey, survey
from gradcheck.verdict import Verdict

# Agreement ends the search for precision once one entry that is wrong by ten resolutions would have shown. An entry's
# part of a projection of n is about 1 / sqrt(n), that of the smallest, one of sixteen, so much less. Half a resolution
# is enough where the short ladder was not: what is left then is noise, and more steps gain little.
WEAKEST = 1.0 / 32.0
WEAK = 0.5
# Sizes for which the line along the gradient would take more evaluations than a difference quotient for each entry.
FEW, ENOUGH = 50, 100
# Lines along which all inputs move together.
LINES = directions.lines()
# So many different values that fit into float32 are no coincidence.
DISTINCT = 6

__all__ = ["Judgement", "Oracle", "Wrong"]


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """The end of one examination."""

    verdict: Verdict
    reason: str = ""
    wrong: Wrong | None = None
    vacuous: bool = False
    resolution: float = 0.0
    evaluations: int = 0


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
        Inputs that are judged together, each group at its own scale; by default each input is one.
    strict_precision : bool
        Float64 in and out with float32 in between is a disagreement.
    floor : float
        Noise that the outputs have at least.
    kinked : bool
        The function is made of several ops, one of them with kinks (see `Viewpoint`).
    """

    def __init__(
        self,
        evaluation: Evaluation,
        random: np.random.Generator,
        rtol: float,
        *,
        single: bool = False,
        groups: Sequence[tuple[int, ...]] | None = None,
        strict_precision: bool = False,
        floor: float = 0.0,
        kinked: bool = False,
    ) -> None:
        self.evaluation = evaluation
        self.random = random
        self.rtol = rtol
        self.strict_precision = strict_precision and not evaluation.is_narrow
        known = [tuple(k for k in group) for group in groups or () if group]
        self.groups = known or [(k,) for k in evaluation.moved]
        self.single, self.floor, self.kinked = single, floor, kinked
        self._noise: Floats | None = None
        self._is_hard = False
        self._suspect: Move | None = None

    def examine(self) -> Judgement:
        """Look along several directions with cotangents of both signs; the first confirmed disagreement ends it."""
        if not self.evaluation.moved or not self.evaluation.size:
            return Judgement(Verdict.AGREE, vacuous=True)
        at = self.at = Viewpoint(
            self.evaluation, self.random, self.rtol, single=self.single, floor=self.floor, kinked=self.kinked
        )
        if not at.finite.any():
            return Judgement(Verdict.INCONCLUSIVE, NOT_FINITE, evaluations=at.evaluations)
        first = directions.cotangent(self.random, self.evaluation.size)
        cotangents = [np.where(at.finite, u, 0.0) for u in (first, directions.opposite(self.random, first))]
        surveyed = self._surveyed(cotangents)
        seen: list[Comparison] = []
        for move in self._moves(cotangents, surveyed):
            ladder = at.ladder(move, self._noise)
            for u in cotangents:
                result = self._pair(ladder, move, u)
                if isinstance(result, Wrong):
                    return Judgement(Verdict.DISAGREE, wrong=result, evaluations=at.evaluations)
                seen.append(result)
        return self._judgement(seen, surveyed)

    def _moves(self, cotangents: Sequence[Floats], surveyed: Sequence[Survey]) -> Iterator[Move]:
        """The plan; what it does not move far; and the line along the gradient, where the survey's was of no use."""
        yield from self._plan(cotangents, surveyed)
        wide = moves.across(self.evaluation, self.random)
        if wide is not None:
            yield wide
        entries = sum(self.evaluation.point(k).size for k in self.evaluation.moved)
        if FEW <= entries < ENOUGH or not self.at.finite.all():
            return
        if self._suspect is not None:
            yield self._suspect
        elif self._is_hard:
            yield self._aligned(self._drawn(self.evaluation.moved, dense=True), cotangents[0])

    def _judgement(self, seen: Sequence[Comparison], surveyed: Sequence[Survey]) -> Judgement:
        reasons = [result.reason for result in seen if result.verdict is Verdict.INCONCLUSIVE]
        evaluations = self.at.evaluations
        if reasons or not (seen or surveyed):
            return Judgement(Verdict.INCONCLUSIVE, reasons[0] if reasons else NOT_FINITE, evaluations=evaluations)
        resolution = max([*(one.resolution for one in seen), *(one.resolution for one in surveyed)])
        vacuous = all(result.zero for result in seen) and not any(one.resolved.any() for one in surveyed)
        return Judgement(Verdict.AGREE, vacuous=vacuous, resolution=resolution, evaluations=evaluations)

    # Directions ------------------------------------------------------------------------------------------------

    def _surveyed(self, cotangents: Sequence[Floats]) -> list[Survey]:
        """All inputs together, along few lines: enough where everything agrees at each group's own scale.

        Only clean agreement counts. An empty list is no verdict: then each group is looked at on its own.
        """
        at = self.at
        if not at.finite.all():
            return []
        order = [k for group in self.groups for k in group]
        shares = any(shares_memory(self.evaluation.point(k)) for k in order)
        gradients = [np.concatenate([at.gradient(u)[k].reshape(-1) for k in order]) for u in cotangents]
        sizes = [sum(self.evaluation.point(k).size for k in group) for group in self.groups]
        found: list[Survey] = []
        for line in range(LINES):
            move = moves.drawn(self.evaluation, self.random, order, dense=shares and line > 0)
            if line:
                move = self._aligned(move, cotangents[0])
            ladder = at.ladder(move, self._noise)
            derivative = at.measure(ladder, 0)
            self._noise = ladder.noise
            v = np.concatenate([move.directions[k].reshape(-1) for k in order])
            one = survey(
                gradients, v, sizes, cotangents, derivative,
                natural=[at.natural(u) for u in cotangents], limit=WEAKEST * self.rtol,
                epsilon=self.evaluation.epsilon,
            )  # fmt: skip
            if one is None:
                self._noise = None  # what spoils one line need not touch another
                self._suspect = move if line else None
                return []
            found.append(one)
        return found

    def _plan(self, cotangents: Sequence[Floats], surveyed: Sequence[Survey]) -> list[Move]:
        """The lines to look along: groups that the survey did not resolve; without one, each group and all together."""
        evaluation = self.evaluation
        if surveyed:
            resolved = np.logical_and.reduce([one.resolved | one.zero for one in surveyed])
            left = [group for group, fine in zip(self.groups, resolved, strict=True) if not fine]
            if len(left) > 1 and self._is_flat([k for group in left for k in group], cotangents):
                return []
            return [self._drawn(group, dense=False) for group in left]
        groups = [*self.groups, evaluation.moved]
        made = [self._drawn(group, dense=False) for group in groups]
        # Entries that share memory move together in the first pass and apart in the last.
        if any(shares_memory(evaluation.point(k)) for k in evaluation.moved):
            made[-1] = self._drawn(groups[-1], dense=True)
        if not self.at.finite.all():
            made = [self._without_broken(move, cotangents) for move in made]
        return [move for move in made if not move.is_still]

    def _is_flat(self, inputs: Sequence[int], cotangents: Sequence[Floats]) -> bool:
        """Whether the derivative is zero where all of these inputs move at once."""
        move = self._drawn(inputs, dense=False)
        found = self.at.measure(self.at.ladder(move, self._noise), 0)
        results = [self.at.compare(found, move, u, last=False) for u in cotangents]
        return all(result.zero and result.verdict is Verdict.AGREE for result in results)

    def _drawn(self, group: Sequence[int], *, dense: bool) -> Move:
        return moves.drawn(self.evaluation, self.random, group, dense=dense)

    def _aligned(self, move: Move, u: Floats) -> Move:
        """The same entries, each as its gradient points."""
        return moves.aligned(self.evaluation, move, self.at.gradient(u))

    def _without_broken(self, move: Move, cotangents: Sequence[Floats]) -> Move:
        """Hold still what feeds an output that is not finite: 0 times an infinite derivative is NaN, by right."""
        good = {
            k: np.logical_and.reduce([np.isfinite(self.at.gradient(u)[k]) for u in cotangents]) for k in move.directions
        }
        return moves.masked(self.evaluation, move, good)

    # One direction, one cotangent ------------------------------------------------------------------------------

    def _pair(self, ladder: Ladder, move: Move, u: Floats) -> Comparison | Wrong:
        """Try harder until they agree; what does not end in agreement is confirmed, or looked at in parts."""
        agreed: Comparison | None = None
        for effort in range(EFFORTS - 1):
            found = self.at.measure(ladder, effort)
            result = self.at.compare(found, move, u, last=False)
            weakest = (WEAK if effort else WEAKEST) * self.rtol * result.scale / np.sqrt(move.entries)
            if result.verdict is Verdict.AGREE:
                if result.zero or result.error <= weakest:
                    return result
                agreed = result
        self._is_hard = True
        found, result = self.at.settled(ladder, move, u)
        if result.verdict is Verdict.DISAGREE:
            return self._confirmed(move, u, result, found)
        if result.verdict is Verdict.AGREE and found.smooth[u != 0.0].all():
            return self._pursued(move, u, result)
        if agreed is not None:
            return agreed
        if self.strict_precision and result.reason == NOISE and self._is_float32(ladder):
            return located(self.at, move, u, "float64 in and out, but the values are those of float32 arithmetic")
        return self._in_parts(move, u, found, result)

    def _pursued(self, move: Move, u: Floats, result: Comparison) -> Comparison | Wrong:
        """What agrees but for a difference of more than the estimate: one entry of many may be wrong."""
        if result.zero or abs(result.analytic - result.numeric) <= result.error or self.evaluation.is_narrow:
            return result
        part = hunted(self.at, move, u)
        wrong = None if part is None else self._confirmed(part[0], u, part[2], part[1])
        return wrong if isinstance(wrong, Wrong) else result

    def _confirmed(self, move: Move, u: Floats, result: Comparison, found: Derivative) -> Comparison | Wrong:
        if move.wide:
            decided = self._decided(parts.by_entry(self.at, move, u))
            return result.inconclusive(NOISE) if decided is None else decided
        result = confirmed(self.at, move, u, result, found)
        if result.verdict is Verdict.INCONCLUSIVE and result.reason == NOISE and not move.deep:
            decided = self._decided(parts.by_entry(self.at, move, u))
            return result if decided is None else decided
        return located(self.at, move, u) if result.verdict is Verdict.DISAGREE else result

    def _in_parts(self, move: Move, u: Floats, found: Derivative, result: Comparison) -> Comparison | Wrong:
        """Not judged as a whole: leave out the outputs and the entries where the derivative does not exist.

        What agrees without them agrees: where a derivative does not exist no gradient is wrong. Noise excuses nothing.
        """
        at = self.at
        blocked = False
        is_mixed = parts.is_mixed(at, move, u, found)
        by_entry = () if self.evaluation.is_narrow else parts.by_entry(at, move, u)  # few digits have but one scale
        for pieces in (parts.by_output(at, move, u, found, 0.0), by_entry):
            decided = self._decided(pieces)
            if isinstance(decided, Wrong):
                return decided
            if decided is not None and decided.verdict is Verdict.AGREE and not is_mixed:
                return decided
            is_mixed = False
            if decided is not None and decided.reason in (KINK, NEAR_KINK, ONE_SIDED):
                blocked, result = True, decided if result.verdict is Verdict.AGREE else result
        with np.errstate(all="ignore"):
            small = np.maximum(ZERO * np.maximum(np.abs(at.base), at.floor / EPSILON), 1e-4 * np.abs(found.value))
            small = np.maximum(small, self.rtol * np.abs(found.value))
            good = found.smooth & found.finite & ~found.noisy & (found.error <= small) & (u != 0.0)
        attempts: list[tuple[Move, Floats]] = []
        if good.any() and not good[u != 0.0].all():
            part = np.where(good, u, 0.0)
            attempts.append((self._unbroken(move, part), part))
        plain = self._plain(move, u)
        if plain is not None:
            attempts.append((plain, u))
        for other, part in attempts:
            found, partial = at.settled(at.ladder(other), other, part)
            if partial.verdict is Verdict.DISAGREE:
                wrong = self._confirmed(other, part, partial, found)
                if isinstance(wrong, Wrong):
                    return wrong
            elif partial.verdict is Verdict.AGREE and result.reason not in ("", NOISE) and not blocked:
                result = partial
        return self._seconded(move, u, result)

    def _seconded(self, move: Move, u: Floats, result: Comparison) -> Comparison:
        """A program's ops, one by one, where noise spoils the whole; an opaque function has nothing that excuses it."""
        if result.reason != NOISE or self.evaluation.subject.program is None:
            return result
        second = tangents(self.at, move)
        seen = None if second is None else self.at.compare(second, move, u, last=True)
        return seen if seen is not None and seen.verdict is Verdict.AGREE and not seen.zero else result

    def _decided(self, pieces: Iterable[Piece]) -> Comparison | Wrong | None:
        """What the parts establish; None if there is none that can be judged."""
        seen: list[Comparison] = []
        for piece in pieces:
            result: Comparison | Wrong = piece.result
            if piece.result.verdict is Verdict.DISAGREE:
                result = self._confirmed(piece.move, piece.cotangent, piece.result, piece.found)
            if isinstance(result, Wrong):
                return result
            seen.append(result)
            if sum(one.verdict is not Verdict.AGREE for one in seen) >= parts.OPEN:
                break
        return parts.joined(seen) if seen else None

    def _unbroken(self, move: Move, u: Floats) -> Move:
        """The move without the entries whose gradient is not finite."""
        gradient = self.at.gradient(u)
        return moves.masked(self.evaluation, move, {k: np.isfinite(gradient[k]) for k in move.directions})

    def _plain(self, move: Move, u: Floats) -> Move | None:
        """The move without special entries (zeros, integers, ties, broken gradients); None if nothing changes."""
        gradient = self.at.gradient(u)
        keep = {k: ~moves.is_special(self.evaluation.point(k)) & np.isfinite(gradient[k]) for k in move.directions}
        made = moves.masked(self.evaluation, move, keep)
        changed = any((made.directions[k] != v).any() for k, v in move.directions.items())
        return made if changed and not made.is_still else None

    def _is_float32(self, ladder: Ladder) -> bool:
        """Whether every value on the way fits into float32, though inputs and outputs are float64."""
        evaluation = self.evaluation
        arrays = [*evaluation.outputs, *(evaluation.point(k) for k in evaluation.moved)]
        if any(a.dtype != np.float64 for a in arrays):
            return False
        # At these points no bit of a moved entry is empty: float64 arithmetic on them does not fit into float32.
        values = np.array([ladder.sample(t / 300.0) for t in range(-DISTINCT, DISTINCT + 1) if t])
        self.at.evaluations += len(values)
        with np.errstate(all="ignore"):
            fits = np.isfinite(values).all() and (values.astype(np.float32) == values).all()
        # Zeros, integers, plateaus and what cancellation leaves fit by right; what else moves takes many values.
        return bool(fits) and len(np.unique(values[:, values.any(axis=0)])) > DISTINCT and fills_float32(values)
