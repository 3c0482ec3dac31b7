"""Where failed cases are kept and found again: ``.gradcheck/cases/`` and the corpus directory."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from gradcheck.case import Case, decode, is_self_contained
from gradcheck.failures import UsageError
from gradcheck.plugin.files import own


@dataclass(frozen=True, slots=True)
class Store:
    """Cases as small text files named by their short ids: the long id, then what it showed when it was kept.

    Attributes
    ----------
    cases : Path
        ``.gradcheck/cases``, written to.
    corpus : Path
        The directory of cases under version control, only read.
    """

    cases: Path
    corpus: Path

    def find(self, text: str) -> Case:
        """The case that a short or a long id names.

        Raises
        ------
        UsageError
            If there is none (with the nearest ids), or the id is damaged.
        """
        if is_self_contained(text):
            return decode(text)
        for directory in (self.cases, self.corpus):
            path = directory / f"{text}.txt"
            if text.isalnum() and path.is_file():
                return decode(path.read_text(encoding="utf-8").split("\n", 1)[0])
        raise UsageError(f"replay: unknown id {text!r} in {self.cases} and {self.corpus}; {self._hint(text)}")

    def _hint(self, text: str) -> str:
        known = sorted({path.stem for folder in (self.cases, self.corpus) for path in folder.glob("*.txt")})
        near = difflib.get_close_matches(text, known, n=3, cutoff=0.4)
        return f"did you mean {' or '.join(near)}?" if near else "the long id of the report needs no file"

    def keep(self, case: Case, report: str) -> None:
        """Write a case. The directory above carries its own .gitignore.

        Raises
        ------
        OSError
            Where nothing can be written.
        """
        own(self.cases.parent)
        self.cases.mkdir(exist_ok=True)
        (self.cases / f"{case.digest}.txt").write_text(f"{case.id}\n\n{report}\n", encoding="utf-8")
