"""How plugin tests run pytest: in this process with the fake suite, or in processes of their own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from gradcheck import runner
from tests.fakes import runner as fake

Run = Callable[..., pytest.RunResult]
IS_INSTALLED = any(point.name == "pytest_gradcheck" for point in entry_points(group="pytest11"))
# Loading it by entry point and by name would register it twice.
LOADED = () if IS_INSTALLED else ("-p", "pytest_gradcheck")
FEW = "--gradcheck-max-examples=4"
ONE = "refengine-cpu::vjp_matches_numeric[elementwise]"
"""An item of the suite, and its id."""
ONE_ID = f"gradcheck::{ONE}"


@pytest.fixture(scope="session")
def torch_stays() -> None:
    """PyTorch cannot be imported twice, and a run inside this process forgets the modules that it imported."""
    with suppress(ImportError):
        import torch  # noqa: F401


@pytest.fixture
def away_from_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of this run reaches the runs inside it."""
    for name in ("CI", "PYTEST_ADDOPTS", fake.FAILS, fake.UNDECIDED):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(torch_stays: None, away_from_ci: None, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run pytest here, with the fake suite."""
    monkeypatch.setattr(runner, "run", fake.run)
    monkeypatch.setattr(runner, "replay", fake.replay)
    return lambda *args: pytester.runpytest_inprocess(*LOADED, *args)


@pytest.fixture
def run_apart(away_from_ci: None, pytester: pytest.Pytester) -> Run:
    """Run pytest in a process of its own, with the fake suite in its conftest."""
    pytester.makeconftest(Path(fake.__file__).read_text(encoding="utf-8") + fake.INSTALL)
    return lambda *args: pytester.runpytest_subprocess(*LOADED, *args)


@pytest.fixture
def run_bare(away_from_ci: None, pytester: pytest.Pytester) -> Run:
    """Run pytest in a process of its own, with nothing replaced."""
    return lambda *args: pytester.runpytest_subprocess(*LOADED, *args)
