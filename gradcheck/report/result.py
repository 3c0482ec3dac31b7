"""The result of checking one function, and how a finding reads."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field

from gradcheck.failures import Finding
from gradcheck.verdict import Outcome, Verdict

# A failure is read in a terminal, between other failures.
_MAX_LINES = 25
_WIDTH = 118
# Stands for a blank at which no line is broken.
_GLUE = "\u00a0"
# With the lines around it a failure has no more than that, unless it shows a program.
_VALUES = 5
# A block of the Jacobian is left out where a failure would have more lines with it.
_BLOCK = 7
_ROOM = 22
_DETAIL = 4
ONLY_HERE = "at this point only: beside it the gradients agree"
"""What is said of a failure at an exact zero, a tie or an edge."""


@dataclass(frozen=True, slots=True)
class Report:
    """What `gradcheck.check` found.

    Attributes
    ----------
    call : str
        What was checked, as source text.
    engine : str
        "torch-cpu", "refengine-cpu", ...
    verdict : Verdict
        "disagree" if a claim does not hold, else "inconclusive" if one that decides could not be judged or nothing
        was really tested, else "agree".
    outcomes : mapping of str to Outcome
        By the names of the claims that were judged.
    failures : tuple of Finding
        One for each claim that does not hold.
    inconclusive : tuple of str
        ``claim: reason`` for each claim that could not be judged.
    unsupported : tuple of str
        ``claim: reason`` for each claim whose means the function or the engine refuses.
    warnings : tuple of str
        What is no failure and yet should be known, a wrong second derivative that nobody asked for among it.
    """

    call: str
    engine: str
    verdict: Verdict
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    failures: tuple[Finding, ...] = ()
    inconclusive: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the verdict is "agree"."""
        return self.verdict is Verdict.AGREE

    @property
    def resolution(self) -> float:
        """The relative size of an error of the gradient that would still have been seen (GC101)."""
        outcome = self.outcomes.get("vjp_matches_numeric")
        return 0.0 if outcome is None or outcome.verdict is not Verdict.AGREE else outcome.resolution

    def __str__(self) -> str:
        """One line for an agreement; for a failure the first finding in full and the others in a line each."""
        held = sum(o.verdict is Verdict.AGREE and not o.vacuous for o in self.outcomes.values())
        lines = [f"{self.call} on {self.engine}: {self.verdict} ({held} of {len(self.outcomes)} claims hold)"]
        if self.ok and self.resolution:
            lines[0] = f"{lines[0][:-1]}; gradients agree to {self.resolution:.1g})"
        if self.failures:
            lines = [f"{self.call} on {self.engine} is wrong", *format_finding(self.failures[0]).splitlines()]
            lines += [f"also {f.code} {f.claim}: {f.detail or f.sentence}" for f in self.failures[1:]]
        for word, entries in (
            ("inconclusive", self.inconclusive),
            ("warning", self.warnings),
            ("unsupported", self.unsupported),
        ):
            lines += [f"{word}: {entry}" for entry in entries]
        if len(lines) > _MAX_LINES:
            lines[_MAX_LINES - 1 :] = [f"and {len(lines) - _MAX_LINES + 1} lines more in the report's attributes"]
        return "\n".join(_cut(line) for line in lines)


def format_finding(finding: Finding) -> str:
    """A finding as indented lines: the claim, the place, the verdict, both values, what is known, the call.

    Parameters
    ----------
    finding : Finding

    Returns
    -------
    str
        Ten to twenty lines without a final newline; a program's call may add as many as it has steps.
    """
    both = ("analytic", "numerical") if finding.code.startswith("GC1") else ("found", "expected")
    rows = [
        ("where", finding.where),
        ("verdict", _verdict(finding)),
        ("likely", finding.mistake and str(finding.mistake)),
        ("input", finding.argument),
        ("entry", None if finding.entry is None else str(list(finding.entry))),
        ("wrong", finding.extent),
        (both[0], None if finding.analytic is None else _number(finding.analytic)),
        (both[1], _with_error(finding)),
        ("detail", _ended(_wrapped(finding.detail), _DETAIL)),
        ("call", finding.call),
        ("values", _ended([_cut(line, _WIDTH - 12) for line in (finding.values or "").splitlines()], _VALUES)),
        ("engine", finding.engine),
        ("again", finding.replay and _again(finding.replay)),
    ]
    lines = [f"{finding.code} {finding.claim}: {finding.sentence}"]
    for word, text in rows:
        lines += _row(word, text)
    block = _row("jacobian", _ended(finding.block.splitlines(), _BLOCK))
    if len(lines) + len(block) < _ROOM:
        place = next((n for n, line in enumerate(lines) if line.startswith("  detail")), len(lines))
        lines[place:place] = block
    return "\n".join(lines)


def _row(word: str, text: str | None) -> list[str]:
    """What stands beside a word; nothing where there is nothing."""
    if not text:
        return []
    first, *more = _wrapped(text)
    return [f"  {word:<9} {first}", *(f"  {'':<9} {line}" for line in more)]


def _verdict(finding: Finding) -> str:
    """``disagree``, by how much more than the numerical value can be off, and whether at this point only."""
    word = _beyond(finding)
    return f"{word}, {ONLY_HERE}" if finding.only_here else word


def _beyond(finding: Finding) -> str:
    word = Verdict.DISAGREE.value
    if finding.analytic is None or finding.numeric is None or not finding.error:
        return word
    times = abs(finding.analytic - finding.numeric) / finding.error
    if not times >= 1.0:  # a value or its estimate is not finite
        return word
    return f"{word}, {'far beyond' if times >= 100.0 else f'{times:.0f} times'} the estimated error"


def _ended(lines: list[str], most: int) -> str:
    """At most so many lines, the last of which says what is missing."""
    if len(lines) > most:
        lines = [*lines[: most - 1], f"and {len(lines) - most + 1} lines more"]
    return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    """Lines that fit; indentation is kept, as a call may be a program, and shapes are not broken."""
    lines = []
    for line in text.splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        whole = re.sub(r"\([\d, ]+\)", lambda shape: shape[0].replace(" ", _GLUE), line.strip())
        whole = re.sub(r"(?<=\S) {2,}(?=\S)", lambda gap: _GLUE * len(gap[0]), whole)
        parts = textwrap.wrap(whole, _WIDTH - 12 - len(indent), break_on_hyphens=False) or [""]
        lines += [indent + part.replace(_GLUE, " ") for part in parts]
    return lines


def _again(replay: str) -> str:
    """A call is shown as it is; an id is given to pytest."""
    return replay if "(" in replay else f"pytest --gradcheck --gradcheck-replay={replay}"


def _with_error(finding: Finding) -> str | None:
    if finding.numeric is None:
        return None
    text = _number(finding.numeric)
    if finding.error is not None:
        text += f" ± {finding.error:.1g}" if math.isfinite(finding.error) else " (error unknown)"
    if finding.analytic is not None:
        gap = abs(finding.analytic - finding.numeric)
        text += f"   (they differ by {gap:.3g})"
    return text


def _number(value: complex | float) -> str:
    return f"{value:.12g}"


def _cut(line: str, width: int = _WIDTH) -> str:
    return line if len(line) <= width else line[: width - 1] + "…"
