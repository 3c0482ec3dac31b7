"""Markdown as the page writes it: tables, paragraphs, shares."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """A table, its first column on the left, all else on the right."""
    lines = [f"| {' | '.join(heads)} |", f"|---{'|--:' * (len(heads) - 1)}|"]
    return lines + [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]


def prose(*lines: str) -> list[str]:
    """A paragraph."""
    return textwrap.wrap(" ".join(lines), 118, break_long_words=False, break_on_hyphens=False)


def share(part: int, whole: int) -> str:
    """A part in per cent; a dash of nothing."""
    return f"{100.0 * part / whole:.3g} %" if whole else "–"


def counted(part: int, whole: int) -> str:
    """A count, with its share where it is not zero."""
    return "0" if part == 0 else f"{part:,} ({share(part, whole)})"


def number(value: float) -> str:
    """Two or three digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100.0 else f"{value:.2g}"
