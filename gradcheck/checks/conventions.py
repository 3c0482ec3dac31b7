"""GC108: at its kinks and ties, an op's gradient is the one that its declaration, or the engine's, promises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.checks.claim import Claim, Subject, disagreement
from gradcheck.checks.evaluation import Evaluation
from gradcheck.checks.gradient import refusals_are_no_verdict
from gradcheck.checks.move import Move
from gradcheck.checks.surrounding import Sides, sides
from gradcheck.checks.viewpoint import Viewpoint
from gradcheck.numeric.differences import EPSILON, Floats
from gradcheck.program import Array, Input, Program, Ref, Step
from gradcheck.verdict import AGREED, VACUOUS, Outcome

if TYPE_CHECKING:
    from refengine.op import Op
    from refengine.spec import Interval, Kink

# Calls tried at a tie, the one with the defaults among them; of norm's and clamp's, one in four lies on it.
CALLS = 4
# Derivatives from both sides that differ by so many estimates are those of a kink.
SURE = 4.0
# Round-offs that a declared number may be off by.
ROUNDOFFS = 64.0
TIE = 0.5
# Below and above it; no tie by size either.
APART = (-0.25, 1.5)
# Few sizes, as some engines compile for each.
SIZES = (2, 3)


def declared_conventions_hold(subject: Subject) -> Outcome:
    """Place an op of a program on the kinks that it declares, in calls of its own, and look at its gradient there.

    A number is promised for the default arguments, "split" for every call whose equal entries make a kink: each of them
    gets an equal part of the derivative along all of them.
    """
    declared = _declared()
    steps = [] if subject.program is None else [step for step in subject.program.steps if step.op in declared]
    if not steps:
        return VACUOUS
    random = subject.generator(DECLARED_CONVENTIONS_HOLD.name)
    step = steps[int(random.integers(len(steps)))]
    tried = 0
    with refusals_are_no_verdict(subject):
        for kink in declared[step.op].kinks:
            for placed in _placements(subject, declared[step.op], kink, step.form, random):
                found = _otherwise(placed, _promised(subject, step.op, kink))
                if found is not None:
                    return found
                tried += 1
    return AGREED if tried else VACUOUS


DECLARED_CONVENTIONS_HOLD = Claim(
    "declared_conventions_hold",
    "GC108",
    "At its kinks and ties, an op has the derivative that is declared.",
    declared_conventions_hold,
    kind="program",
)


@cache
def _declared() -> Mapping[str, Op]:
    """The ops that declare kinks."""
    from refengine import catalogue

    return {op.name: op for op in catalogue.ops() if any(kink.shows_on_a_row for kink in op.kinks)}


def _promised(subject: Subject, op: str, kink: Kink) -> float | str:
    """The derivative at a kink: the engine's own, where it declares one."""
    return subject.engine.conventions.kinks.get(op, {}).get(kink.at, kink.convention)


# Calls on a kink -------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Operand:
    """A tensor of the call."""

    values: Array
    ref: Ref
    is_contiguous: bool = True

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape)

    @property
    def ndim(self) -> int:
        return int(self.values.ndim)


@dataclass(eq=False)
class Same:
    """Gives an op the first operand's own value for every other operand, so that all entries that meet are equal."""

    operands: list[Operand]
    constants: list[Operand] = field(default_factory=list)

    def operand(self, draw: Any, shape: tuple[int, ...], domain: Interval, broadcast: bool) -> Any:
        values = np.full(shape, self.operands[0].values.reshape(-1)[0])
        self.operands.append(Operand(values, Ref("x", len(self.operands))))
        return self.operands[-1]

    def constant(self, values: Sequence[float], shape: tuple[int, ...], dtype: str) -> Any:
        made = np.array(values, dtype=dtype).reshape(shape)
        self.constants.append(Operand(made, Ref("c", len(self.constants))))
        return self.constants[-1]

    def known_mask(self, shape: tuple[int, ...]) -> Any:
        return None


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """A call on a kink: its point, its gradient for a cotangent of ones, and the entries that are on the kink."""

    at: Viewpoint
    op: str
    kink: Kink
    gradient: Floats
    tied: Floats

    def __str__(self) -> str:
        """``abs at 0.0``, ``amax at a tie``."""
        return f"{self.op} at {'a tie' if self.kink.at == 'tie' else self.kink.at}"

    def slopes(self, along: Floats) -> Sides:
        """The derivatives of the sum of the results, all inputs laid end to end moving along `along`."""
        directions, start = {}, 0
        for k in self.at.evaluation.moved:
            shape = self.at.evaluation.point(k).shape
            size = int(np.prod(shape))
            directions[k], start = along[start : start + size].reshape(shape), start + size
        found = sides(self.at, Move(directions, dense=True))
        return Sides(*(np.array([part.sum()]) for part in (found.left, found.right, found.error)))


def _placements(subject: Subject, op: Op, kink: Kink, form: str, random: np.random.Generator) -> Iterator[_Placed]:
    """Calls of the op on its kink: with the defaults where a number is promised at a number, else several on a tie."""
    if kink.at != "tie":
        x = np.full(int(random.choice(SIZES)), float(kink.at))
        placed = _placed(subject, op, kink, form, bytes(16), x)
        if placed is not None:
            yield placed
        return
    for number in range(CALLS):
        record = random.bytes(16) if number else bytes(16)
        x = np.full(int(random.choice(SIZES)), TIE)
        if number % 2:
            x[-1] = float(random.choice(APART))
        placed = _placed(subject, op, kink, form, record, x)
        if placed is not None and _is_kinked(placed):
            yield placed


def _placed(subject: Subject, op: Op, kink: Kink, form: str, record: bytes, x: Array) -> _Placed | None:
    """One call; None where the op does not take it."""
    if not op.accepts(tuple(x.shape)):
        return None
    from gradcheck.drawing import RecordDraw  # which imports the reference engine

    source = Same([Operand(x, Ref("x", 0))])
    call = op.sample(RecordDraw(record, 0, source), source.operands[0])
    if len(source.operands) > 1 and not np.all(x == x.flat[0]):
        return None  # of several operands all entries are equal
    program = Program(
        inputs=tuple(Input(operand.values) for operand in source.operands),
        constants=tuple(constant.values for constant in source.constants),
        steps=(Step(op.name, _named(call.args), _named(dict(call.kwargs)), form=form),),
        outputs=(Ref("v", 0),),
    )
    own = replace(
        subject, function=program.on(subject.engine), inputs=tuple(given.values for given in program.inputs),
        differentiable=(True,) * len(program.inputs), label=str(program), program=program,
    )  # fmt: skip
    with np.errstate(all="ignore"):
        at = Viewpoint(Evaluation(own), own.generator(op.name), own.resolution)
        gradient = np.concatenate([g.reshape(-1) for g in at.gradient(np.ones(at.base.size)).values()])
    tied = np.concatenate([(given == x.flat[0]).reshape(-1) for given in own.inputs]).astype(np.float64)
    return _Placed(at, op.name, kink, gradient, tied)


def _named(tree: Any) -> Any:
    """The tree with the operands' names in their places."""
    if isinstance(tree, Operand):
        return tree.ref
    if isinstance(tree, dict):
        return {name: _named(leaf) for name, leaf in tree.items()}
    return type(tree)(_named(leaf) for leaf in tree) if isinstance(tree, (tuple, list)) else tree


def _is_kinked(placed: _Placed) -> bool:
    """Whether the derivatives from both sides differ where the first entry leaves the tie."""
    first = np.zeros(placed.tied.size)
    first[0] = 1.0
    found = placed.slopes(first)
    return bool((np.abs(found.left - found.right) > SURE * found.error).all())


# What the gradient is there ----------------------------------------------------------------------------------------


def _otherwise(placed: _Placed, promised: float | str) -> Outcome | None:
    """The disagreement with what is promised; None where the gradient is that."""
    evaluation = placed.at.evaluation
    count = evaluation.point(0).size
    if promised == "split":
        together = placed.slopes(placed.tied)
        expected = placed.tied * float(together.middle[0]) / placed.tied.sum()
        own, error = placed.gradient, float(together.error[0]) + _roundoff(expected)
        # What is below or above an extreme has nothing of it; another entry's part is not a matter of ties.
        on_kink = placed.tied > 0.0
    else:
        expected = np.full(count, float(promised))
        own, error = placed.gradient[:count], _roundoff(expected)
        on_kink = placed.tied[:count] > 0.0
    with np.errstate(invalid="ignore"):
        same = (np.abs(own - expected) <= error) | (np.isnan(own) & np.isnan(expected))
    wrong = np.flatnonzero(on_kink & ~same)
    return _disagreement(placed, promised, int(wrong[0]), own, expected, error) if wrong.size else None


def _roundoff(expected: Floats) -> float:
    return ROUNDOFFS * EPSILON * max(1.0, float(np.max(np.abs(np.nan_to_num(expected)), initial=0.0)))


def _disagreement(
    placed: _Placed, promised: float | str, place: int, own: Floats, expected: Floats, error: float
) -> Outcome:
    evaluation = placed.at.evaluation
    k, start = 0, 0
    while place >= start + evaluation.point(k).size:
        k, start = k + 1, start + evaluation.point(k).size
    entry = tuple(int(n) for n in np.unravel_index(place - start, evaluation.point(k).shape))
    words = "split evenly among equal entries" if promised == "split" else f"{promised:g}"
    return disagreement(
        DECLARED_CONVENTIONS_HOLD, evaluation.subject, position=k, entry=entry, analytic=float(own[place]),
        numeric=float(expected[place]), error=error,
        detail=f"{placed}: the derivative is declared to be {words}",
        cotangents=evaluation.cotangents(np.ones(evaluation.size)),
    )  # fmt: skip
