"""Which test carries what: every check of this process, the tests that call its Function, and those that show it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from gradcheck.plugin.files import DIRECTORY, script_name
from gradcheck.report.function import FunctionResult, Status
from gradcheck.report.summary import AT_IMPORT, Entry, Key

_FLAGS = ("isolate", "strict")
"""Options without which a failure may not be seen again, or not be survived."""


@dataclass(slots=True)
class Ledger:
    """The entries of this process by key, and by the tests that call them.

    Attributes
    ----------
    config : pytest.Config
        Says how ids and paths are to be written, seen from where pytest was started.
    seed : int
        Printed with every failure.
    entries : dict of Key to Entry
        In the order of the checks.
    """

    config: pytest.Config
    seed: int
    entries: dict[Key, Entry] = field(default_factory=dict)
    _by_test: dict[str, dict[Key, None]] = field(default_factory=dict)
    _unsent: dict[Key, None] = field(default_factory=dict)

    def add(self, result: FunctionResult, test: str, *, is_known: bool, is_open: bool = False) -> Entry:
        """Take in a result that came from what `test` called; `is_open` as in `Entry`."""
        if result.status is Status.DISAGREED:
            result = replace(result, report=self._text(result, test))
        new = Entry(result, is_known=is_known, is_open=is_open)
        entry = self.entries.setdefault(new.key, new)
        if entry is not new:
            entry.merge(new)
        self.call(entry, test)
        self._unsent[entry.key] = None
        return entry

    def call(self, entry: Entry, test: str) -> None:
        """Note that a test calls the Function of an entry."""
        if test not in entry.tests:
            entry.tests.append(test)
        if entry.result.status is Status.DISAGREED:
            self._by_test.setdefault(test, {})[entry.key] = None

    def of(self, test: str) -> list[Entry]:
        """The disagreements that are this test's to show: it calls them, and no other test shows them already."""
        entries = [self.entries[key] for key in self._by_test.get(test, ())]
        return [entry for entry in entries if not entry.carriers or test in entry.carriers]

    def carry(self, entries: Iterable[Entry], test: str) -> None:
        """Note that the report of a test shows these."""
        for entry in entries:
            if test not in entry.carriers:
                entry.carriers.append(test)
                self._unsent[entry.key] = None

    def unsent(self) -> list[dict[str, Any]]:
        """What is new since the last call, as plain data."""
        keys, self._unsent = self._unsent, {}
        return [self.entries[key].to_data() for key in keys]

    def all(self) -> list[dict[str, Any]]:
        """Everything, as plain data."""
        return [entry.to_data() for entry in self.entries.values()]

    def _text(self, result: FunctionResult, test: str) -> str:
        """The report, with how to see it again."""
        named = "" if test == AT_IMPORT else f" {shlex.quote(self._from_here(test))}"
        given = "".join(f" --gradcheck-{x}" for x in _FLAGS if getattr(self.config.option, f"gradcheck_{x}"))
        lines = [result.report, f"  again     pytest --gradcheck{given} --gradcheck-seed={self.seed}{named}"]
        if result.script:
            path = f"{DIRECTORY}/repro/{script_name(result.name, result.code)}"
            lines.append(f"  script    {self._from_here(path)}")
        elif result.script_problem:
            lines.append(f"  script    none: {result.script_problem}")
        return "\n".join(lines)

    def _from_here(self, text: str) -> str:
        """A path, or the id of a test, as it is typed where pytest was started: both begin at the root."""
        if self.config.invocation_params.dir == self.config.rootpath:
            return text
        path, *rest = text.split("::", 1)
        return "::".join((os.path.relpath(self.config.rootpath / path, self.config.invocation_params.dir), *rest))
