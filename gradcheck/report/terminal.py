"""The summary in the terminal: a table of claims by what their cases came to, and what stands out. Text only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradcheck.events import CaseChecked, Event, Finished, Found, Tally, Target

COLUMNS = ("tried", "agreed", "disagreed", "inconclusive", "vacuous", "skipped")
"""The counts of a tally, as they stand in the table: those tried are the four after them."""
LEGEND = (
    "inconclusive: the numbers do not allow a verdict; vacuous: it agreed, but nothing was there to be wrong;",
    "skipped: not tried",
)
TOO_OFTEN = 0.2
"""The share of inconclusive cases of one op beyond which nothing can be said of it (GC901)."""
ENOUGH = 30
"""Cases of one op below which the share says nothing."""
_WORST_REASONS = 8


@dataclass(slots=True)
class Record:
    """What one item of the suite came to; it travels from a worker to the controller as plain data."""

    target: Target
    tally: Tally = field(default_factory=Tally)
    ops: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Cases by op, and how many of them were inconclusive."""
    seconds: float = 0.0
    found: Found | None = None
    """The failure itself; it does not travel, its `case` and `report` do."""
    case: str = ""
    report: str = ""
    known: str = ""
    """The code of a failure that the baseline has."""

    def add(self, event: Event) -> None:
        """Count one event."""
        self.tally.add(event)
        if isinstance(event, CaseChecked) and not event.vacuous:
            for op in set(event.ops):
                tried, undecided = self.ops.get(op, (0, 0))
                self.ops[op] = tried + 1, undecided + (event.verdict == "inconclusive")
        elif isinstance(event, Found):
            self.found, self.case = event, event.case
        elif isinstance(event, Finished):
            self.seconds = event.seconds

    def to_data(self) -> dict[str, Any]:
        """As built-in types that JSON and execnet carry."""
        target, tally = self.target, self.tally
        return {
            "target": [target.engine, target.device, target.claim, target.group],
            "counts": {name: getattr(tally, name) for name in COLUMNS},
            "reasons": dict(tally.reasons),
            "ops": {op: list(counts) for op, counts in self.ops.items()},
            "seconds": self.seconds,
            "case": self.case,
            "report": self.report,
            "known": self.known,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Record:
        """Back from `to_data`."""
        return cls(
            target=Target(*data["target"]),
            tally=Tally(**data["counts"], reasons=dict(data["reasons"])),
            ops={op: (tried, undecided) for op, (tried, undecided) in data["ops"].items()},
            seconds=data["seconds"],
            case=data["case"],
            report=data["report"],
            known=data["known"],
        )


def header(engines: Sequence[str], profile: str, seed: int) -> str:
    """The line at the start of a run."""
    word = "engine" if len(engines) == 1 else "engines"
    return f"gradcheck: {word} {', '.join(engines)}; profile {profile}; seed {seed}"


def table(records: Iterable[Record], codes: Mapping[str, str]) -> list[str]:
    """One row an engine and device, with the rows of its claims beneath; `codes` are the claims' codes by name."""
    rows: list[tuple[str, Tally | None]] = []
    places: dict[str, dict[str, list[Tally]]] = {}
    for record in records:
        claims = places.setdefault(record.target.place, {})
        claims.setdefault(record.target.claim, []).append(record.tally)
    for place, claims in places.items():
        rows.append((place, total(tally for tallies in claims.values() for tally in tallies)))
        ordered = sorted(claims, key=lambda claim: (codes.get(claim, ""), claim))
        rows += [(f"  {codes.get(claim, '')} {claim}", total(claims[claim])) for claim in ordered]
    width = max((len(name) for name, _ in rows), default=0)
    widths = {column: max(8, len(column) + 2) for column in COLUMNS}
    lines = [" " * width + "".join(f"{column:>{widths[column]}}" for column in COLUMNS)]
    for name, tally in rows:
        lines.append(name.ljust(width) + "".join(f"{getattr(tally, c):>{widths[c]},}" for c in COLUMNS))
    return [*lines, *LEGEND]


def total(tallies: Iterable[Tally]) -> Tally:
    """Several tallies added up."""
    found = Tally()
    for tally in tallies:
        for name in COLUMNS:
            setattr(found, name, getattr(found, name) + getattr(tally, name))
        for reason, count in tally.reasons.items():
            found.reasons[reason] = found.reasons.get(reason, 0) + count
    return found


def reasons(records: Iterable[Record]) -> list[str]:
    """Why cases were inconclusive or skipped, the most frequent reasons first; nothing where none was."""
    counted = total(record.tally for record in records).reasons
    ordered = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
    if not ordered:
        return []
    lines = ["why cases were inconclusive or skipped:"]
    lines += [f"  {count:>6,}  {reason}" for reason, count in ordered[:_WORST_REASONS]]
    rest = sum(count for _, count in ordered[_WORST_REASONS:])
    return [*lines, f"  {rest:>6,}  for other reasons"] if rest else lines


@dataclass(frozen=True, slots=True, order=True)
class Undecided:
    """An op that was inconclusive too often, on one engine."""

    place: str
    op: str
    undecided: int
    tried: int

    def __str__(self) -> str:
        share = f"{self.undecided / self.tried:.0%}"
        return f"GC901 {self.op} on {self.place}: {self.undecided} of {self.tried} cases were inconclusive ({share})"


def undecided_ops(records: Iterable[Record]) -> tuple[Undecided, ...]:
    """The ops with more than a fifth of their cases inconclusive in the whole run, where there were enough cases."""
    counts: dict[tuple[str, str], tuple[int, int]] = {}
    for record in records:
        for op, (tried, undecided) in record.ops.items():
            before = counts.get((record.target.place, op), (0, 0))
            counts[record.target.place, op] = before[0] + tried, before[1] + undecided
    return tuple(
        Undecided(place, op, undecided, tried)
        for (place, op), (tried, undecided) in sorted(counts.items())
        if tried >= ENOUGH and undecided > TOO_OFTEN * tried
    )
