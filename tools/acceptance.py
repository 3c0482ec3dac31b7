"""Check many drawn programs with every claim, and write docs/acceptance.md: what was tried, and whether the limits hold.

python tools/acceptance.py [--programs refengine=2000 torch=500] [--seed N] [--check]

Every program is checked with every claim that holds for programs. A *case* is one claim on one program. The limits: no
disagreement; inconclusive under 2 % over all and under 20 % for any op; vacuous and skipped together at most 10 %; at
least 30 non-vacuous agreements for each op.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from gradcheck.checks import default_claims  # noqa: E402
from gradcheck.engines import default_engines  # noqa: E402
from gradcheck.events import CaseChecked, CaseSkipped, Event, Found, Tally  # noqa: E402
from refengine import catalogue  # noqa: E402

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
    findings: list[str] = field(default_factory=list)

    def add(self, event: Event, ops: Iterable[str]) -> None:
        """Count one event, for its claim and for each of the program's ops."""
        if isinstance(event, Found):
            self.findings.append(f"{event.finding.code} {event.target}: {event.case}")
        for tally in (self.total, self.claims.setdefault(event.target.claim, Tally())):
            tally.add(event)
        for op in set(ops):
            self.ops.setdefault(op, Tally()).add(event)


def broken_limits(results: Results, ops: Iterable[str]) -> list[str]:
    """Every limit that does not hold, in words; `ops` are those that the engine has."""
    total, cases = results.total, results.total.tried + results.total.skipped
    found = list(results.findings)
    if cases == 0:
        return [f"{results.engine}: no case was tried"]
    if total.inconclusive >= INCONCLUSIVE * cases:
        found.append(f"{results.engine}: {percent(total.inconclusive, cases)} inconclusive, expected under 2 %")
    if total.vacuous + total.skipped > WITHOUT_CONTENT * cases:
        found.append(
            f"{results.engine}: {percent(total.vacuous + total.skipped, cases)} vacuous or skipped, expected at most 10 %"
        )
    for op in ops:
        tally = results.ops.get(op, Tally())
        if tally.inconclusive >= INCONCLUSIVE_OF_AN_OP * max(tally.tried, 1):
            found.append(
                f"{results.engine}, {op}: {percent(tally.inconclusive, tally.tried)} inconclusive, expected under 20 %"
            )
        if tally.agreed < AGREEMENTS:
            found.append(f"{results.engine}, {op}: {tally.agreed} agreements, expected at least {AGREEMENTS}")
    return found


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
        f"Written by `python tools/acceptance.py` on {datetime.date.today()}, seed {seed}: Python {platform.python_version()},",
        f"{versions}; {platform.machine()}, CPU.",
        "",
        "A case is one claim on one program. Vacuous: nothing was tested (no path from an input to an output, or a derivative",
        "that is zero everywhere). In the table of ops, a case counts for each op of its program.",
        "",
    ]
    return "\n".join(head + [line for results, ops in parts for line in section(results, ops)]).rstrip() + "\n"


def optional(parts: Sequence[tuple[Results, Sequence[str]]]) -> list[str]:
    """The libraries of the engines that were checked."""
    return [results.engine for results, _ in parts if results.engine != "refengine"]
