"""Check many drawn programs with every claim, and write docs/acceptance.md: what was tried, and whether limits hold.

python tools/acceptance.py [refengine=2000 torch=500] [--seed N]

A *case* is one claim on one program. Programs are drawn around each group of ops in turn. Three quarters of them have
some in-place steps or none, and are checked with every claim but those about in-place steps; the others write in place
wherever they can, and are checked with every claim. The limits: no disagreement; inconclusive under 2 % over all and
under 20 % for any op; vacuous and skipped together at most 10 %; at least 30 non-vacuous agreements for each op that is
drawn.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import platform
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from gradcheck.case import Case  # noqa: E402
from gradcheck.checks import default_claims  # noqa: E402
from gradcheck.engines import registry  # noqa: E402
from gradcheck.engines.base import Capability, Engine  # noqa: E402
from gradcheck.events import CaseChecked, CaseSkipped, Event, Found, Tally, Target  # noqa: E402
from gradcheck.program import Program  # noqa: E402
from gradcheck.runner import Bench, Skipped, check_program  # noqa: E402
from gradcheck.strategies.programs import search  # noqa: E402
from gradcheck.verdict import AGREED, Outcome  # noqa: E402
from refengine import catalogue  # noqa: E402
from refengine.op import Op  # noqa: E402

PAGE = ROOT / "docs" / "acceptance.md"
INCONCLUSIVE, INCONCLUSIVE_OF_AN_OP, WITHOUT_CONTENT, AGREEMENTS = 0.02, 0.2, 0.1, 30


@dataclass(slots=True)
class Results:
    """What came of the programs drawn for one engine."""

    engine: str
    programs: int
    total: Tally = field(default_factory=Tally)
    claims: dict[str, Tally] = field(default_factory=dict)
    ops: dict[str, Tally] = field(default_factory=dict)
    findings: dict[str, list[str]] = field(default_factory=dict)

    def add(self, event: Event, ops: Iterable[str]) -> None:
        """Count one event, for its claim and for each of the program's ops."""
        if isinstance(event, Found):
            self.findings.setdefault(f"{event.finding.code}: {event.finding.detail}", []).append(event.case)
        for tally in (self.total, self.claims.setdefault(event.target.claim, Tally())):
            tally.add(event)
        for op in set(ops):
            self.ops.setdefault(op, Tally()).add(event)


def broken_limits(results: Results, ops: Iterable[str]) -> list[str]:
    """Every limit that does not hold, in words; `ops` are those that the engine has."""
    total, tried = results.total, results.total.tried + results.total.skipped
    empty = total.vacuous + total.skipped
    found = [f"{results.engine}: {what} ({len(cases)} times; {cases[0]})" for what, cases in results.findings.items()]
    if tried == 0:
        return [f"{results.engine}: no case was tried"]
    if total.inconclusive >= INCONCLUSIVE * tried:
        found.append(f"{results.engine}: {percent(total.inconclusive, tried)} inconclusive, expected under 2 %")
    if empty > WITHOUT_CONTENT * tried:
        found.append(f"{results.engine}: {percent(empty, tried)} vacuous or skipped, expected at most 10 %")
    for op in ops:
        tally = results.ops.get(op, Tally())
        if tally.inconclusive >= INCONCLUSIVE_OF_AN_OP * max(tally.tried, 1):
            found.append(
                f"{results.engine}, {op}: {percent(tally.inconclusive, tally.tried)} inconclusive, expected under 20 %"
            )
        if tally.agreed < AGREEMENTS:
            found.append(f"{results.engine}, {op}: {tally.agreed} agreements, expected at least {AGREEMENTS}")
    return found


def measure(engine: Engine, count: int, seed: int) -> Results:
    """Draw `count` programs and check each with the claims that are meant for it."""
    results = Results(engine.name, 0)
    groups = catalogue.groups()
    for number, group in enumerate(groups):
        own = (number + 1) * count // len(groups) - number * count // len(groups)
        for inplace, share in (("some", own - own // 4), ("always", own // 4)):
            if share:
                draw(results, engine, group, inplace, share, seed)
    return results


def draw(results: Results, engine: Engine, group: str, inplace: str, count: int, seed: int) -> None:
    """Draw programs around one group, and count what every claim says about each."""
    ops, executor = catalogue.ops(), registry.engine("refengine")
    claims = [
        c
        for c in default_claims().all(("function", "program"))
        if inplace == "always" or Capability.INPLACE not in c.needs
    ]
    benches = [Bench(claim, engine, executor, ops) for claim in claims]

    def check(program: Program) -> Outcome:
        results.programs += 1
        for bench in benches:
            target = Target(engine.name, engine.device, bench.claim.name, group)
            for event in events_of(check_program(bench, program), target, program, bench):
                results.add(event, program.ops)
        return AGREED

    search(
        check,
        ops=ops,
        executor=executor,
        group=group,
        inplace=inplace,
        max_examples=count,
        seed=seed_of(f"{seed} {group} {inplace}"),
        on_case=lambda program, outcome: None,
    )


def seed_of(text: str) -> int:
    """A seed for Hypothesis that is another one for each text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def events_of(outcome: Outcome, target: Target, program: Program, bench: Bench) -> list[Event]:
    """What the runner would have said of one case."""
    if isinstance(outcome, Skipped):
        return [CaseSkipped(target, outcome.reason)]
    events: list[Event] = [CaseChecked(target, outcome.verdict, program.ops, outcome.reason, outcome.vacuous)]
    if outcome.finding:
        events.append(Found(target, outcome.finding, Case(target, b"".join(program.records), bench.table).id))
    return events


def percent(part: int, whole: int) -> str:
    """A share as text."""
    return f"{100 * part / max(whole, 1):.1f} %"


def table(title: str, rows: Iterable[tuple[str, Tally]]) -> list[str]:
    """A Markdown table with one line for each tally."""
    heads = ("tried", "agreed", "inconclusive", "vacuous", "skipped", "disagreed")
    lines = [f"| {title} | {' | '.join(heads)} |", f"|---{'|--:' * len(heads)}|"]
    for name, tally in rows:
        lines.append(f"| {name} | {' | '.join(str(getattr(tally, head)) for head in heads)} |")
    return lines


def section(results: Results, ops: Sequence[str]) -> list[str]:
    """One engine's part of the page."""
    total = results.total
    reasons = "; ".join(f"{reason}: {count}" for reason, count in sorted(total.reasons.items(), key=lambda r: -r[1]))
    broken = broken_limits(results, ops)
    return [
        f"## {results.engine}: {results.programs:,} programs",
        "",
        *(("All limits hold.",) if not broken else [f"- **{line}**" for line in broken]),
        "",
        f"Reasons: {reasons or 'none'}.",
        "",
        *table("claim", [*results.claims.items(), ("**all**", total)]),
        "",
        *table("op", sorted((op, results.ops.get(op, Tally())) for op in ops)),
        "",
    ]


def page(parts: Sequence[tuple[Results, Sequence[str]]], seed: int) -> str:
    """The whole page."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "hypothesis", *optional(parts)))
    head = [
        "# Acceptance: drawn programs at length",
        "",
        f"Written by `python tools/acceptance.py` on {datetime.date.today()}, seed {seed}.",
        f"Python {platform.python_version()}, {versions}; {platform.machine()}, CPU.",
        "",
        "A case is one claim on one program. Vacuous: nothing was tested (no path from an input to an output, or a",
        "derivative that is zero everywhere). In the table of ops, a case counts for each op of its program.",
        "",
        "Never drawn, because they take no real tensors, or mean another thing in another layout: "
        + ", ".join(f"`{op.name}`" for op in catalogue.ops() if not is_drawn(op))
        + ". They are tested by hand.",
        "",
    ]
    return "\n".join(head + [line for results, ops in parts for line in section(results, ops)]).rstrip() + "\n"


def optional(parts: Sequence[tuple[Results, Sequence[str]]]) -> list[str]:
    """The libraries of the engines that were checked."""
    return [results.engine for results, _ in parts if results.engine != "refengine"]


def is_drawn(op: Op) -> bool:
    """Whether programs of real tensors call an op at all: some take only integers or complex numbers."""
    return any(op.accepts(shape) for shape in ((), (2,), (2, 2), (2, 1, 2)))


def main() -> None:
    """Measure the engines named, write the page, and fail where a limit does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*", default=["refengine=2000", "torch=500"], metavar="ENGINE=COUNT")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    parts: list[tuple[Results, Sequence[str]]] = []
    for wanted in options.programs:
        name, _, count = wanted.partition("=")
        engine = registry.engine(name)
        ops = [
            op.name
            for op in catalogue.ops()
            if is_drawn(op) and (engine.supports(op.name) or engine.supports(op.name, inplace=True))
        ]
        parts.append((measure(engine, int(count), options.seed), ops))
    PAGE.write_text(page(parts, options.seed), encoding="utf-8")
    broken = [line for results, ops in parts for line in broken_limits(results, ops)]
    if broken:
        raise SystemExit("\n".join(broken))


if __name__ == "__main__":
    main()
