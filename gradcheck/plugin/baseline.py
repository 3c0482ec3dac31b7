"""Known failures: a text file with one entry a line, what matches an entry, what is added to it and dropped from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gradcheck.failures import UsageError
from gradcheck.plugin.files import write

_HEAD = "# Known failures of pytest-gradcheck, one a line: op, code, claim. What follows a # is a comment."
_COMMENT = re.compile(r"(^|\s)#.*")


@dataclass(frozen=True, slots=True, order=True)
class Known:
    """A known failure.

    Attributes
    ----------
    op : str
        A Function as ``pkg.ops:RowMax``, or an item of the property suite as ``torch-cpu::vjp_matches_numeric[shape]``.
    code, claim : str
    """

    op: str
    code: str
    claim: str

    def __str__(self) -> str:
        return f"{self.op}  {self.code}  {self.claim}"


@dataclass(slots=True)
class Baseline:
    """The known failures of a run, and which of them were met again.

    Attributes
    ----------
    path : Path or None
        The file; None where there is none, and in workers, which are sent the entries.
    entries : set of Known
    comments : dict of Known to str
        What stood behind an entry.
    heading : tuple of str
        The comments that stood on lines of their own.
    updates, prunes : bool
        What fails now is added; what matched nothing is dropped.
    matched, added : set of Known
    """

    path: Path | None = None
    entries: set[Known] = field(default_factory=set)
    comments: dict[Known, str] = field(default_factory=dict)
    heading: tuple[str, ...] = (_HEAD,)
    updates: bool = False
    prunes: bool = False
    matched: set[Known] = field(default_factory=set)
    added: set[Known] = field(default_factory=set)

    def knows(self, op: str, code: str, claim: str) -> bool:
        """Whether a failure is known; under ``-update`` it is from now on."""
        known = Known(op, code, claim)
        if self.updates and known not in self.entries:
            self.entries.add(known)
            self.added.add(known)
        if known in self.entries:
            self.matched.add(known)
        return known in self.entries

    def knows_all(self, op: str, failing: Iterable[str]) -> bool:
        """Whether everything that fails of an op, each as ``GC101 vjp_matches_numeric``, is known."""
        is_known = True
        for text in failing:  # to the end: each of them is to be marked as met
            code, _, claim = text.partition(" ")
            is_known = self.knows(op, code, claim) and is_known
        return is_known

    def stale(self, checked: Iterable[str]) -> list[Known]:
        """The entries that matched nothing though their op was checked."""
        names = frozenset(checked)
        return sorted(known for known in self.entries - self.matched if known.op in names)

    def save(self, checked: Iterable[str], is_gone: Callable[[str], bool]) -> list[Known]:
        """Write the file where something is to be added or dropped; what was dropped.

        Parameters
        ----------
        checked : iterable of str
            The ops that this run checked.
        is_gone : callable
            Whether an op that was not checked is known to exist no more.
        """
        gone = {known for known in self.entries - self.matched if is_gone(known.op)}
        dropped = sorted({*self.stale(checked), *gone}) if self.prunes else []
        if self.path is not None and (dropped or self.added or (self.updates and not self.path.exists())):
            self.entries -= {*dropped}
            write(self.path, self._text())
        return dropped

    def _text(self) -> str:
        lines = [*self.heading, *(f"{known}{self.comments.get(known, '')}" for known in sorted(self.entries))]
        return "\n".join(lines) + "\n"


def read(path: Path, *, updates: bool, prunes: bool) -> Baseline:
    """The baseline in a file, which may be missing where it is about to be written.

    Raises
    ------
    UsageError
        Where there is no file, or a line is no entry.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if updates:
            return Baseline(path, updates=updates, prunes=prunes)
        raise UsageError(
            f"--gradcheck-baseline: no file {str(path)!r}; --gradcheck-baseline-update writes it"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--gradcheck-baseline: {str(path)!r} cannot be read: {error}") from error
    found = Baseline(path, updates=updates, prunes=prunes, heading=())
    for number, line in enumerate(text.splitlines(), 1):
        _take(found, line, f"{path}:{number}")
    return found


def _take(found: Baseline, line: str, place: str) -> None:
    comment = _COMMENT.search(line)
    parts = _COMMENT.sub("", line).split()
    if not parts:
        found.heading += (line.strip(),) if comment else ()
        return
    if len(parts) != 3:
        raise UsageError(f"--gradcheck-baseline: {place}: expected an op, a code and a claim, got {line.strip()!r}")
    known = Known(*parts)
    found.entries.add(known)
    if comment:
        found.comments[known] = f"  {comment[0].strip()}"
