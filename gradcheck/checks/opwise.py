"""A program judged op by op: each step's own vector-Jacobian product, and whether the engine composes them rightly.

At a kink, right conventions of several ops need not add up to a derivative of the whole: ``relu(x) - relu(-x)`` is x,
and its gradient at 0 is 0 by right. What can be judged there is each op alone, at the values that occurred.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gradcheck.checks.claim import Subject
from gradcheck.checks.evaluation import Evaluation, split
from gradcheck.checks.laid import laid
from gradcheck.checks.oracle import Judgement, Oracle, Wrong
from gradcheck.checks.pushing import is_differentiable
from gradcheck.failures import OFF_DOMAIN, Unsupported
from gradcheck.numeric import directions
from gradcheck.numeric.derivative import NOT_FINITE
from gradcheck.numeric.differences import EPSILON, Floats
from gradcheck.program import Array, Input, Program, Ref, Step, lookup, map_refs, refs
from gradcheck.rewrite import functional
from gradcheck.verdict import Verdict

# The sweep's own round-off: the largest effect of so many repetitions whose parts are off by so many round-offs, times
# this; and at least so many round-offs of the gradient's largest entry. Over 600 drawn programs the two stay within a
# tenth of that.
PROBES = 3
ULPS = 4.0
SAFETY = 8.0
ROUNDOFFS = 64.0


@dataclass(frozen=True, slots=True, eq=False)
class Local:
    """One step of a program at the values that occurred.

    Attributes
    ----------
    number : int
        Of the step, in the program that was taken apart.
    op : str
    subject : Subject
        A program of this step alone. Its inputs are the operands that depend on the program's inputs.
    operands, results : tuple of Ref
        What the subject's inputs and floating outputs are in the program.
    """

    number: int
    op: str
    subject: Subject
    operands: tuple[Ref, ...]
    results: tuple[Ref, ...]

    def __str__(self) -> str:
        return f"step v{self.number}, {self.op},"


@dataclass(frozen=True, slots=True, eq=False)
class Apart:
    """A program taken apart: without in-place steps, and each step that a gradient passes through."""

    program: Program
    steps: tuple[Local, ...]
    is_rewritten: bool


@dataclass(frozen=True, slots=True, eq=False)
class Gap:
    """An entry of a gradient that is not what the ops' own products compose to."""

    argument: int
    entry: tuple[int, ...]
    whole: float
    composed: float
    allowed: float
    cotangents: tuple[Array, ...]


@dataclass(frozen=True, slots=True, eq=False)
class OpByOp:
    """The judgement of a program by its steps; `local` is the one that is wrong."""

    judgement: Judgement
    local: Local | None = None


def taken_apart(subject: Subject) -> Apart:
    """The steps of a subject's program, each as a subject of its own.

    Raises
    ------
    Unsupported
        If the subject is no program, or the engine lacks what its rewrite without in-place steps calls.
    """
    if subject.program is None:
        raise Unsupported("no program")
    engine = subject.engine
    program = replace(subject.program, inputs=_placed(subject))
    with engine.no_grad():
        is_rewritten = any(step.inplace for step in program.steps)
        if is_rewritten:
            program = functional(program, engine)
        if not all(engine.supports(op) for op in program.ops):
            raise Unsupported(f"{engine.name} lacks an op of the program without in-place steps")
        traced = program.trace(engine, [engine.tensor(given.values) for given in program.inputs])
    return Apart(program, tuple(_Splitter(subject, program, traced).locals()), is_rewritten)


def _placed(subject: Subject) -> tuple[Input, ...]:
    return tuple(Input(x, d) for x, d in zip(subject.inputs, subject.differentiable, strict=True))


class _Splitter:
    """From a program and its trace to its steps."""

    def __init__(self, subject: Subject, program: Program, traced: Mapping[str, object]) -> None:
        self._subject, self._program, self._traced = subject, program, traced
        self._live = {f"x{k}" for k, given in enumerate(program.inputs) if given.requires_grad}

    def locals(self) -> Iterator[Local]:
        """Each step that a gradient passes through."""
        for number, step in enumerate(self._program.steps):
            used = dict.fromkeys(refs((step.args, step.kwargs)))
            operands = tuple(ref for ref in used if ref.name in self._live and self._array(ref).dtype.kind == "f")
            results = self._results(number)
            if operands and results and is_differentiable(step.op):
                self._live.add(f"v{number}")
                yield self._local(number, step, tuple(used), operands, results)

    def _array(self, ref: Ref) -> Array:
        engine = self._subject.engine
        tensor = lookup(self._traced, ref)
        return laid(engine.array(tensor), engine.strides(tensor))

    def _results(self, number: int) -> tuple[Ref, ...]:
        found = self._traced[f"v{number}"]
        several = isinstance(found, (tuple, list))
        named = [Ref("v", number, i) for i in range(len(found))] if several else [Ref("v", number)]  # type: ignore[arg-type]
        return tuple(ref for ref in named if self._array(ref).dtype.kind == "f")

    def _local(
        self, number: int, step: Step, used: tuple[Ref, ...], operands: tuple[Ref, ...], results: tuple[Ref, ...]
    ) -> Local:
        others = [ref for ref in used if ref not in operands]
        names = {ref: Ref("x", k) for k, ref in enumerate(operands)} | {
            ref: Ref("c", k) for k, ref in enumerate(others)
        }
        args, kwargs = map_refs((step.args, step.kwargs), names.__getitem__)
        program = Program(
            inputs=tuple(Input(self._array(ref)) for ref in operands),
            constants=tuple(map(self._array, others)),
            steps=(replace(step, args=args, kwargs=kwargs),),
            outputs=tuple(Ref("v", 0, ref.item) for ref in results),
        )
        subject = replace(
            self._subject,
            function=program.on(self._subject.engine),
            inputs=tuple(given.values for given in program.inputs),
            differentiable=(True,) * len(operands),
            label=str(program),
            program=program,
            salt=self._subject.salt + number.to_bytes(4, "big"),
        )
        return Local(number, step.op, subject, operands, results)


# The judgement ---------------------------------------------------------------------------------------------------


def op_by_op(subject: Subject, random: np.random.Generator) -> OpByOp:
    """Judge each step at the values that occurred, and the composition of their products.

    Returns
    -------
    OpByOp
        *agree* where each step does and the engine's gradient is the composition up to round-off; *disagree* where one
        of them does not; else *inconclusive* with the first reason met.
    """
    try:
        apart = taken_apart(subject)
        found = [_judged(local, random) for local in apart.steps]
    except (Unsupported, *OFF_DOMAIN) as error:
        return OpByOp(Judgement(Verdict.INCONCLUSIVE, f"op by op: {type(error).__name__}"))
    for local, judgement in zip(apart.steps, found, strict=True):
        if judgement.verdict is Verdict.DISAGREE:
            return OpByOp(judgement, local)
    open_ones = [judgement for judgement in found if judgement.verdict is Verdict.INCONCLUSIVE]
    if open_ones:
        return OpByOp(open_ones[0])
    gap = composed_otherwise(subject, apart, random)
    if isinstance(gap, Gap):
        wrong = Wrong(
            gap.argument, gap.entry, gap.whole, gap.composed, gap.allowed,
            "each op is right on its own; their products composed are the second number", gap.cotangents,
        )  # fmt: skip
        return OpByOp(Judgement(Verdict.DISAGREE, wrong=wrong))
    if gap:
        return OpByOp(Judgement(Verdict.INCONCLUSIVE, gap))
    is_vacuous = all(judgement.vacuous for judgement in found)
    resolution = max((judgement.resolution for judgement in found), default=0.0)
    return OpByOp(Judgement(Verdict.AGREE, "op by op", vacuous=is_vacuous, resolution=resolution))


def _judged(local: Local, random: np.random.Generator) -> Judgement:
    subject = local.subject
    return Oracle(Evaluation(subject), random, subject.resolution, single=True).examine()


# The composition -------------------------------------------------------------------------------------------------


def composed_otherwise(subject: Subject, apart: Apart, random: np.random.Generator) -> Gap | str:
    """Where the engine's gradient is not what the steps' own products compose to.

    Returns
    -------
    Gap, or str
        The worst entry; "" where they are the same up to round-off, and a reason where that cannot be said.
    """
    evaluation = Evaluation(subject)
    u = directions.cotangent(random, evaluation.size)
    whole = evaluation.pullback(u)
    sweep = _Sweep(apart, evaluation)
    composed = sweep.gradients(u)
    probes = [sweep.gradients(u, random) for _ in range(PROBES)]
    worst: Gap | None = None
    excess = 1.0
    for k in evaluation.moved:
        engine_s = np.zeros(evaluation.point(k).shape) if whole[k] is None else np.asarray(whole[k], dtype=np.float64)
        own = composed[k]
        if not (np.isfinite(engine_s).all() and np.isfinite(own).all()):
            return NOT_FINITE
        noise = np.max([np.abs(probe[k] - own) for probe in probes], axis=0)
        epsilon = max(EPSILON, evaluation.epsilon)
        allowed = SAFETY * noise + ROUNDOFFS * epsilon * np.max(np.abs(own)) + np.finfo(np.float64).tiny
        ratio = np.abs(engine_s - own) / allowed
        if not float(ratio.max()) <= excess:
            excess = float(ratio.max())
            entry = tuple(int(n) for n in np.unravel_index(int(ratio.argmax()), own.shape))
            numbers = float(engine_s[entry]), float(own[entry]), float(allowed[entry])
            worst = Gap(k, entry, *numbers, evaluation.cotangents(u))
    return worst or ""


class _Sweep:
    """Our own reverse sweep: the engine's product for each step alone, and our sums."""

    def __init__(self, apart: Apart, evaluation: Evaluation) -> None:
        self._apart, self._evaluation = apart, evaluation
        engine = self._engine = evaluation.subject.engine
        self._pulls = []
        for local in apart.steps:
            tensors = [engine.tensor(x, requires_grad=True) for x in local.subject.inputs]
            self._pulls.append(engine.linearized(local.subject.function, tensors, (True,) * len(tensors)))

    def gradients(self, u: Floats, random: np.random.Generator | None = None) -> dict[int, Floats]:
        """J^T u for the moved inputs; with `random`, every part is off by a few round-offs."""
        evaluation = self._evaluation
        held: dict[Ref, Floats] = {}
        for ref, part in zip(self._floating_outputs(), split(u, evaluation.outputs), strict=True):
            _add(held, ref, part)
        for local, pull in zip(reversed(self._apart.steps), reversed(self._pulls), strict=True):
            if not any(ref in held for ref in local.results):
                continue
            arrays = [self._engine.array(y) for y in pull.outputs]
            cotangents = [
                np.asarray(held.get(ref, np.zeros(y.shape)), dtype=y.dtype)
                for ref, y in zip(local.results, arrays, strict=True)
            ]
            found = pull.pull([self._engine.tensor(c) for c in cotangents])
            for ref, g in zip(local.operands, found, strict=True):
                if g is not None:
                    _add(held, ref, _stirred(self._engine.array(g), random, evaluation.epsilon))
        return {k: held.get(Ref("x", k), np.zeros(evaluation.point(k).shape)) for k in evaluation.moved}

    def _floating_outputs(self) -> Sequence[Ref]:
        """The program's floating outputs, as the steps' results and operands are named."""
        program = self._apart.program
        with self._engine.no_grad():
            values = program.trace(self._engine, [self._engine.tensor(given.values) for given in program.inputs])
        return [ref for ref in program.outputs if self._engine.kind(lookup(values, ref)) == "f"]


def _add(held: dict[Ref, Floats], ref: Ref, part: Array) -> None:
    own = np.asarray(part, dtype=np.float64)
    held[ref] = held[ref] + own if ref in held else own


def _stirred(values: Array, random: np.random.Generator | None, epsilon: float) -> Floats:
    own = np.asarray(values, dtype=np.float64)
    return own if random is None else own * (1.0 + ULPS * epsilon * random.choice([-1.0, 1.0], own.shape))
