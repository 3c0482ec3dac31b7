"""Runs the property suite: which targets there are, and how the cases of each are drawn, checked and shrunk."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gradcheck.beside import is_only_here
from gradcheck.blame import blame
from gradcheck.case import Case, fingerprint
from gradcheck.checks.claim import Claim, Claims, Subject, disagreement
from gradcheck.checks.module import module_subject
from gradcheck.checks.passes import values
from gradcheck.engines.base import Capability, Engine
from gradcheck.events import CaseChecked, CaseSkipped, Event, Finished, Found, Target
from gradcheck.failures import Unsupported, UsageError, named
from gradcheck.grammar import RECORD, decode
from gradcheck.plan import Declaration
from gradcheck.program import Program
from gradcheck.sharing import runner_of
from gradcheck.strategies.modules import search as search_modules
from gradcheck.strategies.programs import search as search_programs
from gradcheck.verdict import Outcome, Verdict

MODULES = "modules"
"""The group of the claims about modules, whose subjects are modules and not programs."""
VIEWS = frozenset({"view", "view_as"})
"""Ops that refuse where strides do not allow a view."""
# Seconds for a look beside a failure: a program takes a fraction of one.
_PATIENCE = 10.0
RAISED = ("GC902", "A drawn case runs forward and backward without an exception.")


@dataclass(frozen=True, slots=True)
class Profile:
    """How much is drawn.

    Attributes
    ----------
    name : str
    max_examples : int
        Cases a target.
    is_deterministic : bool
        The same cases in every run, unless a seed is given.
    is_strict : bool
        An op that is inconclusive too often fails the run (GC901), instead of being named in the summary only.
    """

    name: str
    max_examples: int
    is_deterministic: bool
    is_strict: bool


# 30 cases a target take about a minute for the whole suite on the reference engine, on one core of 2026.
PROFILES = {
    profile.name: profile
    for profile in (
        Profile("dev", 30, is_deterministic=False, is_strict=False),
        Profile("ci", 200, is_deterministic=True, is_strict=True),
        Profile("nightly", 2_000, is_deterministic=False, is_strict=True),
    )
}


@dataclass(frozen=True, slots=True)
class Skipped(Outcome):
    """The outcome of a case that could not be tried; `reason` says why."""


def targets(engines: Sequence[Engine], claims: Claims, groups: Sequence[str]) -> tuple[Target, ...]:
    """The items of the suite: engines as given, claims by code, groups as given; claims about modules have one group.

    A claim that an engine cannot meet has its targets too: they are skipped, with the capability that it lacks.
    """
    return tuple(
        Target(engine.name, engine.device, claim.name, group)
        for engine in engines
        for claim in claims.all()
        if claim.on_programs or claim.kind == "module"
        for group in ((MODULES,) if claim.kind == "module" else groups)
    )


def lacking(engine: Engine, claim: Claim) -> str:
    """The capabilities that `claim` needs and `engine` lacks, in words; "" where it has them all."""
    return ", ".join(sorted(need for need in claim.needs if need not in engine.capabilities))


@dataclass(frozen=True, slots=True)
class Bench:
    """What the cases of one target are tried with.

    Attributes
    ----------
    claim : Claim
    engine : Engine
        The one under test.
    executor : Engine
        What programs run on while they are decoded: the same programs for every engine.
    ops : tuple of declarations
        What programs are drawn from; the order gives the bytes their meaning.
    """

    claim: Claim
    engine: Engine
    executor: Engine
    ops: tuple[Declaration, ...]

    @property
    def table(self) -> str:
        """The fingerprint of the ops, which a case carries."""
        return fingerprint(() if self.claim.kind == "module" else [op.name for op in self.ops])

    @property
    def inplace(self) -> str:
        """Which steps write in place, as `decode` takes it."""
        if Capability.INPLACE not in self.engine.capabilities:
            return "never"
        return "always" if Capability.INPLACE in self.claim.needs else "some"


def run(target: Target, bench: Bench, emit: Callable[[Event], None], *, profile: Profile, seed: int) -> None:
    """Draw cases of one target until one disagrees or enough were tried; shrink what disagrees.

    Parameters
    ----------
    target : Target
        Its group may be the name of an op: programs are then drawn around this op.
    bench : Bench
    emit : callable
        Takes every event: a `CaseChecked` or `CaseSkipped` for each case drawn (not for those of shrinking), a `Found`
        for the shrunk failure, a `Finished` at the end.
    profile, seed
        How much, and which: every target has cases of its own, the same ones for the same seed.
    """
    start = time.perf_counter()
    own_seed = int.from_bytes(hashlib.blake2b(f"{seed} {target}".encode(), digest_size=8).digest(), "big")
    counter = _Counter(target, bench, emit)
    if bench.claim.kind == "module":
        failure = search_modules(
            lambda data: check_module(bench, data),
            max_examples=profile.max_examples,
            seed=own_seed,
            on_case=lambda data, outcome: counter.count((), outcome),
        )
    else:
        shrunk = search_programs(
            lambda program: check_program(bench, program),
            ops=bench.ops,
            executor=bench.executor,
            group=target.group,
            inplace=bench.inplace,
            max_examples=profile.max_examples,
            seed=own_seed,
            on_case=lambda program, outcome: counter.count(program.ops, outcome),
        )
        failure = shrunk and (b"".join(shrunk[0].records), _blamed(bench, *shrunk))
    if failure:
        counter.found(*failure)
    emit(Finished(target, time.perf_counter() - start))


def replay(case: Case, bench: Bench, emit: Callable[[Event], None]) -> None:
    """Check one recorded case again, with the events of `run`."""
    start = time.perf_counter()
    counter = _Counter(case.target, bench, emit)
    if bench.claim.kind == "module":
        outcome = check_module(bench, case.data)
        counter.count((), outcome)
    else:
        program = decode(
            records_of(case.data),
            bench.ops,
            executor=bench.executor,
            group=case.target.group,
            inplace=bench.inplace,
        )
        outcome = check_program(bench, program)
        counter.count(program.ops, outcome)
        outcome = _blamed(bench, program, outcome)
    if outcome.finding is not None:
        counter.found(case.data, outcome)
    emit(Finished(case.target, time.perf_counter() - start))


def require_same_ops(case: Case, bench: Bench) -> None:
    """Refuse a case whose bytes mean another program here.

    Raises
    ------
    UsageError
    """
    if case.table != bench.table:
        raise UsageError(
            f"replay: {case.digest} was drawn from another list of ops ({case.table}, here {bench.table}); "
            "it needs the version, and the registered ops, of the run that made it"
        )


def records_of(data: bytes) -> tuple[bytes, ...]:
    """The records that were joined."""
    return tuple(data[start : start + RECORD] for start in range(0, len(data), RECORD))


@dataclass(frozen=True, slots=True)
class _Counter:
    """From outcomes to the events of one target."""

    target: Target
    bench: Bench
    emit: Callable[[Event], None]

    def count(self, ops: tuple[str, ...], outcome: Outcome) -> None:
        if isinstance(outcome, Skipped):
            self.emit(CaseSkipped(self.target, outcome.reason))
        else:
            self.emit(CaseChecked(self.target, outcome.verdict, ops, outcome.reason, outcome.vacuous))

    def found(self, data: bytes, outcome: Outcome) -> None:
        assert outcome.finding is not None
        case = Case(self.target, data, self.bench.table)
        self.emit(Found(self.target, replace(outcome.finding, replay=case.digest), case.id))


def check_program(bench: Bench, program: Program) -> Outcome:
    """The claim on one program."""
    engine = bench.engine
    for step in program.steps:
        if not engine.supports(step.op, inplace=step.inplace):
            form = "in-place " if step.inplace else ""
            return Skipped(Verdict.INCONCLUSIVE, f"{engine.name} has no {form}{step.op}")
    subject = _subject(engine, program)
    refused = _refused_view(subject)
    return Skipped(Verdict.INCONCLUSIVE, refused) if refused else _guarded(bench.claim, subject)


def _subject(engine: Engine, program: Program) -> Subject:
    return Subject(
        engine=engine,
        function=runner_of(program, engine),
        inputs=tuple(given.values for given in program.inputs),
        differentiable=tuple(given.requires_grad for given in program.inputs),
        label=str(program),
        program=program,
        salt=b"".join(program.records),
    )


def _blamed(bench: Bench, program: Program, outcome: Outcome) -> Outcome:
    """The outcome with the op that is to blame in its finding, where there are several, and whether it is alone."""
    found = outcome.finding
    if found is None:
        return outcome
    subject = _subject(bench.engine, program)
    detail = "; ".join(text for text in (blame(bench.claim, subject), found.detail) if text)
    only_here = is_only_here(bench.claim, subject, found, _PATIENCE)
    return replace(outcome, finding=replace(found, detail=detail, only_here=only_here))


def _refused_view(subject: Subject) -> str:
    """Why the engine refuses a program with a view; "" where it does not. It may lay out its results as it likes."""
    engine = subject.engine
    if VIEWS.isdisjoint(subject.program.ops if subject.program else ()):
        return ""
    try:
        with engine.no_grad():
            values(subject, subject.inputs)
    except engine.refusals as error:
        words = str(error).lower()
        return f"{engine.name} cannot view its own layout of a result" if "stride" in words else ""
    except Exception:
        return ""  # for the claim to meet, and to report
    return ""


def check_module(bench: Bench, data: bytes) -> Outcome:
    """The claim on one module."""
    return _guarded(bench.claim, module_subject(bench.engine, data))


def _guarded(claim: Claim, subject: Subject) -> Outcome:
    """The outcome; a refusal is a skipped case, and any other exception a finding of its own code."""
    try:
        return claim.check(subject)
    except Unsupported as error:
        return Skipped(Verdict.INCONCLUSIVE, str(error))
    except Exception as error:
        outcome = disagreement(claim, subject, detail=named(error))
        assert outcome.finding is not None
        code, sentence = RAISED
        return replace(outcome, finding=replace(outcome.finding, code=code, sentence=sentence))
