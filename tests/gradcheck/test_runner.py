"""The runner on real engines: the order of targets, reproducible draws, found faults that replay, honest counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gradcheck import runner
from gradcheck.case import decode
from gradcheck.checks import default_claims
from gradcheck.checks.claim import Claim, Claims, Subject
from gradcheck.engines.base import Capability
from gradcheck.engines.refengine import ReferenceEngine
from gradcheck.events import CaseChecked, CaseSkipped, Event, Finished, Found, Tally, Target
from gradcheck.failures import Unsupported, UsageError
from gradcheck.runner import Bench, Profile
from gradcheck.verdict import AGREED, Outcome
from refengine import catalogue

REFERENCE = ReferenceEngine()
OPS = catalogue.ops()
CLAIMS = default_claims()
FEW = Profile("few", 12, is_deterministic=True, is_strict=True)
MANY = Profile("many", 60, is_deterministic=True, is_strict=True)


class WrongExp(ReferenceEngine):
    """The derivative of exp is 0.1 % too large, and nothing else is wrong."""

    name = "wrong"

    def call(self, op: str, args: tuple[Any, ...], kwargs: Any, *, inplace: bool = False) -> Any:
        result = super().call(op, args, kwargs, inplace=inplace)
        if op == "exp" and result.requires_grad:
            result.register_hook(lambda g: g * 1.001)
        return result


class WithoutExp(ReferenceEngine):
    """Has no exp."""

    name = "without"

    def supports(self, op: str, *, inplace: bool = False) -> bool:
        return op != "exp" and super().supports(op, inplace=inplace)


def bench_of(engine: ReferenceEngine, claim: str | Claim = "vjp_matches_numeric") -> Bench:
    return Bench(CLAIMS.get(claim) if isinstance(claim, str) else claim, engine, REFERENCE, OPS)


def events_of(bench: Bench, group: str = "exp", profile: Profile = FEW, seed: int = 1) -> list[Event]:
    events: list[Event] = []
    target = Target(bench.engine.name, "cpu", bench.claim.name, group)
    runner.run(target, bench, events.append, profile=profile, seed=seed)
    return events


def judged(check: Callable[[Subject], Outcome], kind: str = "function") -> Claim:
    return Claim("judged", "GC998", "It is judged.", check, kind=kind)


def test_targets_come_by_engine_then_code_then_group() -> None:
    claims = Claims()
    for name, code, kind in (("b", "GC2", "function"), ("m", "GC3", "module"), ("a", "GC1", "program")):
        claims.register(Claim(name, code, "", lambda subject: AGREED, kind=kind))
    found = runner.targets((REFERENCE, WrongExp()), claims, ("y", "x"))
    assert [str(target) for target in found] == [
        f"{engine}-cpu::{rest}"
        for engine in ("refengine", "wrong")
        for rest in ("a[y]", "a[x]", "b[y]", "b[x]", "m[modules]")
    ]


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS.all() if claim.on_programs], ids=lambda claim: claim.name)
def test_every_claim_runs_on_drawn_cases(claim: Claim) -> None:
    group = "modules" if claim.kind == "module" else "elementwise"
    events = events_of(bench_of(REFERENCE, claim), group)
    checked = [event for event in events if isinstance(event, CaseChecked)]
    assert [event for event in events if isinstance(event, Found)] == []
    assert len(checked) == FEW.max_examples
    assert any(event.verdict == "agree" and not event.vacuous for event in checked)
    assert isinstance(events[-1], Finished)


def without_time(events: list[Event]) -> list[Event]:
    return [event for event in events if not isinstance(event, Finished)]


def test_the_same_seed_draws_the_same_cases_and_another_seed_others() -> None:
    bench = bench_of(REFERENCE, judged(lambda subject: AGREED))
    first, again, other = (without_time(events_of(bench, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_targets_of_one_seed_have_cases_of_their_own() -> None:
    bench = bench_of(REFERENCE, judged(lambda subject: AGREED))
    ops = [
        [event.ops for event in events_of(bench, group) if isinstance(event, CaseChecked)] for group in ("exp", "sum")
    ]
    assert ops[0] != ops[1]


def test_a_wrong_rule_is_found_shrunk_and_replayed() -> None:
    bench = bench_of(WrongExp())
    found = next(event for event in events_of(bench, profile=MANY) if isinstance(event, Found))
    assert found.finding.code == "GC101"
    case = decode(found.case)
    assert found.finding.replay == case.digest
    assert found.finding.call.count("\n") == 2, found.finding.call
    assert ".exp()" in found.finding.call
    events: list[Event] = []
    runner.replay(case, bench, events.append)
    assert [event for event in events if isinstance(event, Found)] == [found]


def test_drawing_ends_at_the_first_failure_and_shrinking_is_not_counted() -> None:
    tally = Tally()
    for event in events_of(bench_of(WrongExp()), profile=MANY):
        tally.add(event)
    assert tally.disagreed == 1
    assert tally.tried < MANY.max_examples
    assert tally.tried == tally.agreed + tally.vacuous + tally.inconclusive + 1


def test_an_op_that_the_engine_lacks_is_a_skipped_case() -> None:
    events = events_of(bench_of(WithoutExp(), judged(lambda subject: AGREED)))
    skipped = [event for event in events if isinstance(event, CaseSkipped)]
    assert {event.reason for event in skipped} <= {"without has no exp", "without has no in-place exp"}
    assert skipped
    assert not any("exp" in event.ops for event in events if isinstance(event, CaseChecked))


def test_a_refusal_is_a_skipped_case() -> None:
    def refuse(subject: Subject) -> Outcome:
        raise Unsupported("once differentiable")

    events = events_of(bench_of(REFERENCE, judged(refuse)))
    assert {event.reason for event in events if isinstance(event, CaseSkipped)} == {"once differentiable"}


@pytest.mark.parametrize(("kind", "group"), [("function", "exp"), ("module", "modules")])
def test_an_exception_is_a_finding_of_its_own_code(kind: str, group: str) -> None:
    def crash(subject: Subject) -> Outcome:
        raise RuntimeError("lost a tensor\nsomewhere")

    found = next(
        event for event in events_of(bench_of(REFERENCE, judged(crash, kind)), group) if isinstance(event, Found)
    )
    assert (found.finding.claim, found.finding.code) == ("judged", "GC902")
    assert found.finding.detail == "RuntimeError: lost a tensor"


def test_a_module_replays() -> None:
    def fail_on_two_layers(subject: Subject) -> Outcome:
        if "Sequential" in subject.label:
            raise RuntimeError("two layers")
        return AGREED

    bench = bench_of(REFERENCE, judged(fail_on_two_layers, "module"))
    found = next(event for event in events_of(bench, "modules", MANY) if isinstance(event, Found))
    events: list[Event] = []
    runner.replay(decode(found.case), bench, events.append)
    assert found in events


def test_what_an_engine_lacks_is_named() -> None:
    engine = ReferenceEngine()
    engine.capabilities = frozenset({Capability.STRIDES})
    claim = Claim("c", "GC1", "", lambda subject: AGREED, needs=frozenset({Capability.STRIDES, Capability.MODULES}))
    assert runner.lacking(engine, claim) == "modules"
    assert runner.lacking(REFERENCE, claim) == ""


def test_an_engine_without_in_place_steps_gets_none() -> None:
    engine = ReferenceEngine()
    engine.capabilities = frozenset(Capability) - {Capability.INPLACE}
    assert bench_of(engine).inplace == "never"
    assert bench_of(REFERENCE).inplace == "some"


def test_a_case_of_other_ops_is_refused() -> None:
    bench = bench_of(REFERENCE)
    case = decode(f"gc1/refengine-cpu/vjp_matches_numeric/exp/{bench.table}/eNoDAAAAAAE")
    runner.require_same_ops(case, bench)
    other = Bench(bench.claim, bench.engine, bench.executor, OPS[1:])
    with pytest.raises(UsageError, match="another list of ops"):
        runner.require_same_ops(case, other)
