"""The files written from the catalogue are what the catalogue says now."""

from __future__ import annotations

from pathlib import Path

import pytest

from refengine import listing

REMEDY = "run `python -m refengine.listing` and commit what it writes"


def test_generated_files_are_fresh() -> None:
    assert [path.name for path in listing.stale()] == [], REMEDY


def test_a_stale_file_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ops.md"
    monkeypatch.setattr(listing, "files", lambda: {path: "fresh\n"})
    assert listing.stale() == [path]
    assert listing.main(["--check"]) == 1
    assert not path.exists()
    path.write_text("old\n")
    assert listing.main([]) == 0
    assert path.read_text() == "fresh\n"
    assert listing.main(["--check"]) == 0
