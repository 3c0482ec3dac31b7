"""Read the code blocks of the README and the docs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^(?P<ticks>`{3,})(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=ticks)[ ]*$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\w+\.py)\n")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    Attributes
    ----------
    path : Path
    line : int
        Of its first line of text, from 1.
    language, text : str
    """

    path: Path
    line: int
    language: str
    text: str

    @property
    def file_name(self) -> str | None:
        """The name of the file that a block is, where its first line is a comment that names one."""
        found = _FILE.match(self.text)
        return found[1] if found else None

    @property
    def needs(self) -> list[str]:
        """The libraries that may be missing."""
        found = re.findall(r"^\s*(?:import|from) (torch|jax)\b|engine[= ](torch|jax)\b", self.text, re.MULTILINE)
        return sorted({imported or asked for imported, asked in found})

    @property
    def is_meant_to_fail(self) -> bool:
        """A test file that says ``# wrong:`` shows a mistake, and its tests must find it."""
        return "# wrong:" in self.text


def documents() -> list[Path]:
    """The README and every page of the docs."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(path: Path) -> list[Block]:
    """The fenced blocks of one page, in order."""
    text = path.read_text(encoding="utf-8")
    return [
        Block(path, text.count("\n", 0, match.start("text")) + 1, match["language"].strip(), match["text"])
        for match in _FENCE.finditer(text)
    ]
