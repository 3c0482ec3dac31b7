"""The summary of what users' tests call: one line a Function, why some were not checked, notes, versions. Text only."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from gradcheck.report.doubt import CODE, Doubt, doubt_of
from gradcheck.report.function import FunctionResult, Status

AT_IMPORT = "(import)"
"""What stands for a test where a Function was called while modules were imported."""
DECLARED = "declared: "
"""How the reason of a mismatch begins that somebody declared."""
WIDTH = 118
_CUT = "cut by the budget: "
_UNSUPPORTED = " unsupported"
_TESTS_SHOWN = 3
_NAMES_SHOWN = 3
_NOTES_SHOWN = 12
_UNCHECKED_SHOWN = 20
_WORST_FIRST = (Status.DISAGREED, Status.INCONCLUSIVE, Status.DELIBERATE, Status.AGREED, Status.UNCHECKED)
_DECIDED = frozenset({Status.AGREED, Status.DELIBERATE, Status.DISAGREED})

Key = tuple[str, str, str, str, str]


@dataclass(slots=True)
class Entry:
    """What one check came to, and the tests it concerns; it travels from a worker to the controller as plain data.

    Attributes
    ----------
    result : FunctionResult
    tests : list of str
        Ids of the tests that call the Function, in order; `AT_IMPORT` among them.
    carriers : list of str
        Those among them whose report shows the disagreement.
    is_known : bool
        The baseline has it.
    is_open : bool
        Nothing was seen at the call that was checked: what another call of the same signature came to counts instead.
    """

    result: FunctionResult
    tests: list[str] = field(default_factory=list)
    carriers: list[str] = field(default_factory=list)
    is_known: bool = False
    is_open: bool = False

    @property
    def key(self) -> Key:
        """What two processes that found the same agree in."""
        result = self.result
        return result.name, result.engine, result.signature, result.status, result.code

    @property
    def is_failure(self) -> bool:
        """Whether it disagreed and no baseline has it."""
        return self.result.status is Status.DISAGREED and not self.is_known

    @property
    def is_uncarried(self) -> bool:
        """Whether no test's failure shows a failure."""
        return self.is_failure and not self.carriers

    def merge(self, other: Entry) -> None:
        """Take over what the same check of another test, or in another process, has to say."""
        notes = (*self.result.notes, *(note for note in other.result.notes if note not in self.result.notes))
        self.result = replace(self.result, notes=notes)
        self.is_open = self.is_open and other.is_open
        self.tests += [test for test in other.tests if test not in self.tests]
        self.carriers += [test for test in other.carriers if test not in self.carriers]

    def to_data(self) -> dict[str, Any]:
        """As built-in types that JSON and execnet carry."""
        result = {name: _plain(value) for name, value in asdict(self.result).items()}
        return {
            "result": result,
            "tests": [*self.tests],
            "carriers": [*self.carriers],
            "known": self.is_known,
            "open": self.is_open,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Entry:
        """Back from `to_data`."""
        given: dict[str, Any] = {}
        given |= {name: tuple(value) if isinstance(value, list) else value for name, value in data["result"].items()}
        given["status"] = Status(given["status"])
        return cls(FunctionResult(**given), [*data["tests"]], [*data["carriers"]], data["known"], data["open"])


def _plain(value: Any) -> Any:
    """A field without NumPy's scalars, subclasses of str and tuples."""
    if isinstance(value, tuple):
        return [str(item) for item in value]
    for kind in (str, bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    return value.item()


@dataclass(frozen=True, slots=True)
class Defined:
    """A Function of the user's own code, called or not.

    Attributes
    ----------
    name, where : str
    calls : int
        How often it was called while it was observed.
    is_ignored : bool
        An ini value leaves it out.
    reason : str
        Why it could not be checked; "" where it could, or was never called.
    example : str
        A test to paste; "" where none is needed or known.
    """

    name: str
    where: str = ""
    calls: int = 0
    is_ignored: bool = False
    reason: str = ""
    example: str = ""

    def to_data(self) -> list[Any]:
        """As built-in types."""
        return [getattr(self, item.name) for item in fields(self)]

    @classmethod
    def from_data(cls, data: Sequence[Any]) -> Defined:
        """Back from `to_data`."""
        return cls(*data)


@dataclass(slots=True)
class Account:
    """What every process of a run found out about users' Functions.

    Attributes
    ----------
    entries : dict of Key to Entry
    defined : dict of str to Defined
    is_asked : bool
        A test asked for a check itself, by the fixture or by the engine's own gradient check.
    known_doubts : set of str
        The Functions that the baseline knows to be inconclusive too often.
    """

    entries: dict[Key, Entry] = field(default_factory=dict)
    defined: dict[str, Defined] = field(default_factory=dict)
    is_asked: bool = False
    known_doubts: set[str] = field(default_factory=set)

    def add(self, entry: Entry) -> bool:
        """Take in an entry; whether it is new."""
        known = self.entries.setdefault(entry.key, entry)
        if known is not entry:
            known.merge(entry)
        return known is entry

    def define(self, other: Defined) -> None:
        """Take in what one process knows of a Function."""
        known = self.defined.get(other.name, other)
        if known is not other:
            other = Defined(
                name=other.name,
                where=known.where or other.where,
                calls=known.calls + other.calls,
                is_ignored=known.is_ignored or other.is_ignored,
                reason=known.reason or other.reason,
                example=known.example or other.example,
            )
        self.defined[other.name] = other

    @property
    def has_checked(self) -> bool:
        """Whether anything was checked at all."""
        return self.is_asked or any(entry.result.status is not Status.UNCHECKED for entry in self.entries.values())

    def counting(self) -> list[Entry]:
        """The entries, without those that another call of the same signature decided."""
        decided = {e.key[:3] for e in self.entries.values() if e.result.status in _DECIDED}
        undecided = (Status.INCONCLUSIVE, Status.UNCHECKED)
        return [
            entry
            for entry in self.entries.values()
            if not (entry.is_open and entry.result.status in undecided and entry.key[:3] in decided)
        ]

    def doubts(self) -> list[Doubt]:
        """The Functions that were inconclusive too often (GC901)."""
        found = (doubt_of(name, [entry.result for entry in entries]) for name, entries in self.checks().items())
        return [doubt for doubt in found if doubt is not None]

    def unchecked(self) -> list[Defined]:
        """The Functions of the user's that no check looked at."""
        checked = {e.result.name for e in self.entries.values() if e.result.status is not Status.UNCHECKED}
        return [known for known in self.defined.values() if known.name not in checked and not known.is_ignored]

    def ignored(self) -> list[str]:
        """The names of those that an ini value leaves out."""
        return [known.name for known in self.defined.values() if known.is_ignored]

    def uncarried(self) -> list[Entry]:
        """The failures that no test shows."""
        return [entry for entry in self.entries.values() if entry.is_uncarried]

    def checks(self) -> dict[str, list[Entry]]:
        """What was checked, by Function; the worst Function first, and the worst signature first within one."""
        by_name: dict[str, list[Entry]] = {}
        for entry in self.counting():
            if entry.result.status is not Status.UNCHECKED:
                by_name.setdefault(entry.result.name, []).append(entry)
        for entries in by_name.values():
            entries.sort(key=_badness)
        return dict(sorted(by_name.items(), key=lambda pair: (*_badness(pair[1][0])[:2], pair[0])))


def _badness(entry: Entry) -> tuple[int, bool, float]:
    result = entry.result
    return _WORST_FIRST.index(result.status), entry.is_known, -result.resolution


# Lines --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the summary; `tone` is "bad", "odd" or ""."""

    text: str
    tone: str = ""


def lines(account: Account) -> list[Line]:
    """What there is to say about users' Functions."""
    found = [
        *_rows(account), *_doubts(account), *_without_carrier(account), *_notes(account), *_examples(account)
    ]  # fmt: skip
    ignored = account.ignored()
    if ignored:
        word = "Function" if len(ignored) == 1 else "Functions"
        found.append(Line(f"{len(ignored)} {word} left out by gradcheck_ignore: {_some(ignored)}"))
    return found


def _rows(account: Account) -> list[Line]:
    """One row a Function: its state, its name, what is to be said."""
    rows: list[tuple[str, str, str, str]] = []
    for name, entries in account.checks().items():
        word, text, tone = _state(entries)
        rows.append((word, name, text, tone))
    unchecked = account.unchecked()
    rows += [("not checked", known.name, _why_unchecked(known), "") for known in unchecked[:_UNCHECKED_SHOWN]]
    first = max((len(word) for word, *_ in rows), default=0)
    second = min(48, max((len(name) for _, name, *_ in rows), default=0))
    found = [Line(f"{word:<{first}}  {name:<{second}}  {text}".rstrip(), tone) for word, name, text, tone in rows]
    more = len(unchecked) - _UNCHECKED_SHOWN
    return [*found, Line(f"not checked, too: {more} Functions more")] if more > 0 else found


def _state(entries: Sequence[Entry]) -> tuple[str, str, str]:
    """State, text and tone of a Function: those of the worst of its signatures."""
    worst = entries[0]
    result = worst.result
    if result.status is Status.DISAGREED:
        concerned = list(dict.fromkeys(test for entry in entries for test in entry.tests))  # the worst's come first
        text = f"{result.code} {result.claim}; called by {_some(concerned, _TESTS_SHOWN)}"
        return ("known", text, "") if worst.is_known else ("disagreed", text, "bad")
    if result.status is Status.INCONCLUSIVE:
        return "inconclusive", result.reason, "odd"
    if result.status is Status.DELIBERATE:
        word = "surrogate" if result.reason.startswith(DECLARED) else "deliberate"
        return word, result.reason.removeprefix(DECLARED), ""
    agreed = [entry.result for entry in entries if entry.result.status is Status.AGREED]
    tried = sum(result.tried for result in agreed)
    inputs = f"{tried} input" + "s" * (tried != 1)
    kinds = f" of {len(agreed)} kinds" if len(agreed) > 1 else ""
    resolution = max(result.resolution for result in agreed)
    return "agreed", f"to {resolution:.1g} at {inputs}{kinds}" if resolution else f"at {inputs}{kinds}", ""


def _why_unchecked(known: Defined) -> str:
    reason = known.reason or ("never called" if not known.calls else "never called with a floating input")
    return f"{reason}; {known.where}" if known.where else reason


def _doubts(account: Account) -> Iterable[Line]:
    """A warning for each Function that was inconclusive too often, with what helps; those that are known in short."""
    for doubt in account.doubts():
        if doubt.name in account.known_doubts:
            yield Line(f"known: {doubt.name} {CODE}")
            continue
        yield from (Line(text, "odd") for text in textwrap.wrap(str(doubt), WIDTH, subsequent_indent="    "))
        yield from (Line(text) for text in _folded(doubt.remedy))


def _without_carrier(account: Account) -> list[Line]:
    """The failures that no test shows, in full: they fail the run, and are printed nowhere else."""
    found: list[Line] = []
    shown: set[tuple[str, str]] = set()
    for entry in account.uncarried():
        result = entry.result
        if (result.name, result.code) not in shown:
            shown.add((result.name, result.code))
            found.append(Line(f"{result.name} is wrong, and no failing test says so:", "bad"))
            found += [Line(f"  {line}") for line in result.report.splitlines()]
    return found


def _notes(account: Account) -> list[Line]:
    """The notes, each with the Functions that it is about."""
    about: dict[str, list[str]] = {}
    cut: dict[str, None] = {}
    for name, entries in account.checks().items():
        for note in dict.fromkeys(note for entry in entries for note in entry.result.notes):
            if note.startswith(_CUT):
                cut |= dict.fromkeys(note.removeprefix(_CUT).split(", "))
                note = _CUT
            about.setdefault(note, []).append(name)
    for entry in account.counting():
        result = entry.result
        if result.status is Status.UNCHECKED and result.name not in {known.name for known in account.unchecked()}:
            about.setdefault(f"a kind of input was not checked: {result.reason}", []).append(result.name)
    if cut:
        about[f"{_CUT}{', '.join(sorted(cut))}; --gradcheck-budget grants more"] = about.pop(_CUT)
    # What was not judged stands first, so that it is not among the notes that are left out; what most refuse, last.
    ordered = sorted(about.items(), key=lambda pair: (not pair[0].startswith(_CUT), pair[0].endswith(_UNSUPPORTED)))
    notes = [f"{_some(list(dict.fromkeys(names)), _NAMES_SHOWN)}: {note}" for note, names in ordered]
    if not notes:
        return []
    more = len(notes) - _NOTES_SHOWN
    tail = [f"  and {more} note{'s' * (more != 1)} more"] if more > 0 else []
    shown = [line for note in notes[:_NOTES_SHOWN] for line in _folded(note)]
    return [Line(text) for text in ("notes", *shown, *tail)]


def _examples(account: Account) -> list[Line]:
    """A test to paste, for the first Function that was not checked."""
    for known in account.unchecked():
        if known.example:
            return [
                Line("what is not checked needs a test that calls it, such as"),
                *map(Line, _indented(known.example)),
            ]
    return []


def _indented(text: str) -> Iterable[str]:
    return (f"    {line}".rstrip() for line in text.splitlines())


def example(module: str, qualname: str, parameters: Sequence[str]) -> str:
    """A small test of one Function, to be pasted; "" where it cannot be imported by its name."""
    if "<locals>" in qualname or not qualname or module == "__main__":
        return ""
    top = qualname.partition(".")[0]
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", qualname.rpartition(".")[2]).lower()
    arguments = ", ".join((f"{qualname}.apply", *parameters))
    given = f"  # with {_some(list(parameters), 6)} of your own" if parameters else ""
    return f"from {module} import {top}\n\ndef test_{name}(gradcheck):\n    gradcheck({arguments}){given}"


def versions(found: Mapping[str, str], seed: int, seconds: float) -> str:
    """``python 3.12.1, pytest-gradcheck 0.1.0, numpy 2.4.0; seed 7; 3.2 s in checks``."""
    return (
        f"{', '.join(f'{name} {version}' for name, version in found.items())}; seed {seed}; {seconds:.1f} s in checks"
    )


def _some(names: Sequence[str], count: int = _NAMES_SHOWN) -> str:
    more = len(names) - count
    return ", ".join(names[:count]) + (f" and {more} more" if more > 0 else "")


def _folded(note: str) -> list[str]:
    """A note in full: its advice stands at its end."""
    return textwrap.wrap(note, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
