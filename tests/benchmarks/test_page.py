"""The page shows every target, met or missed, and every contestant, present or absent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import page, store
from benchmarks.harness import Result, Spread
from benchmarks.scale import FULL, Scale
from benchmarks.targets import AT_LEAST, AT_MOST, TARGETS, Target, growth, ratio

CHAIN = Result(
    "(a) chain of 1,000 small ops", "µs per op, both passes", 1e6, "NumPy by hand",
    {"NumPy by hand": [1e-6, 2e-6, 1e-6], "refengine": [2e-6, 4e-6, 2e-6]}, {"PyTorch": "not installed"},
)  # fmt: skip


def test_a_target_is_met_on_its_side_only() -> None:
    most, least = (Target("", "(a)", ratio("refengine", "NumPy by hand"), sense, 2.1) for sense in (AT_MOST, AT_LEAST))
    found = most.found([CHAIN])
    assert found == Spread(2.0, 2.0, 2.0)
    assert most.is_met(found)
    assert not least.is_met(found)


def test_a_target_without_its_contestant_is_not_measured() -> None:
    assert Target("", "(a)", ratio("refengine", "PyTorch"), AT_MOST, 1.0).found([CHAIN]) is None


def test_growth_is_that_of_the_reference_engine() -> None:
    times = {"refengine, 1,000 ops": [1.0], "refengine, 1,000,000 ops": [3.0], "PyTorch, 1,000 ops": [9.0]}
    assert growth(Result("(j)", "", 1.0, "", times)).median == 3.0


def test_the_table_has_a_row_for_each_target() -> None:
    lines = page.target_table([CHAIN])
    assert len(lines) == len(TARGETS) + 2
    assert lines[2].endswith("| ≤ 2.1 | 2 (2 to 2) | met |")
    assert lines[3].endswith(f"| {page.UNMEASURED} |  |")


def test_a_missed_target_says_by_how_much() -> None:
    slow = Result(CHAIN.name, "", 1.0, "NumPy by hand", {"NumPy by hand": [1.0], "refengine": [4.2]})
    assert "| missed by a factor of 2" in page.target_table([slow])[2]


def test_a_missed_target_says_why() -> None:
    target = Target("what", "(a)", ratio("refengine", "NumPy by hand"), AT_MOST, 1.0, reason="it is slow")
    assert page.target_row(target, [CHAIN])[-1] == "missed by a factor of 2: it is slow"
    assert page.target_row(replace(target, limit=2.0), [CHAIN])[-1] == "met"


def test_a_full_run_saves_its_parts_and_writes_the_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(scale: Scale, say: object) -> list[Result]:
        assert scale is FULL
        return [CHAIN]

    monkeypatch.setattr("benchmarks.engine.measure", measure)
    written = tmp_path / "page.md"
    command.main(["run", "--only", "engine", "--data", str(tmp_path), "--page", str(written)])
    text = written.read_text(encoding="utf-8")
    assert "| refengine | 2 (2 to 4) | 2 (2 to 2) |" in text
    assert "Absent: PyTorch: not installed." in text
    assert "numpy " in text
    assert all(target.what in text for target in TARGETS)
    assert "met" in capsys.readouterr().out
    saved = store.load(tmp_path, "engine")
    assert saved is not None
    assert page.results_of([saved]) == [CHAIN]


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(SystemExit, match="expected some of engine"):
        command.main(["run", "--only", "nonsense"])
