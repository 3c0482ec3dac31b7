"""What our own tests share: Hypothesis profiles, the device, a leak check of global modes, no silent engine skips."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester"]

# Hypothesis loads a profile of its own under CI, and one registered without `parent` would inherit it.
_DEFAULT = settings.get_profile("default")
settings.register_profile("dev", parent=_DEFAULT, deadline=None)
settings.register_profile(
    "ci", parent=_DEFAULT, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("nightly", parent=_DEFAULT, deadline=None, derandomize=False, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))

DEVICES = os.environ.get("GRADCHECK_TEST_DEVICES", "cpu").split(",")
REQUIRE_ENGINES = os.environ.get("GRADCHECK_REQUIRE_ENGINES", "") not in ("", "0")

LIBRARIES = ("refengine", "torch")

# How a global mode stands in a library that was only just imported.
_FRESH: dict[str, Any] = {
    "grad mode": True,
    "inference mode": False,
    "default dtype": "float32",
    "forward-AD level": -1,
    "anomaly mode": False,
}
_FRESH_ERRORS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


@pytest.fixture(scope="session", params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    """Where refengine's tensors live; session-scoped, so that tests under `@given` may use it."""
    return str(request.param)


def modes_of(library: Any) -> dict[str, Any]:
    """The global modes of refengine or torch, which share their names."""
    if library is None:
        return dict(_FRESH)
    return {
        "grad mode": library.is_grad_enabled(),
        "inference mode": getattr(library, "is_inference_mode_enabled", bool)(),
        "default dtype": str(library.get_default_dtype()).rpartition(".")[2],
        "forward-AD level": library.autograd.forward_ad._current_level,
        "anomaly mode": getattr(library, "is_anomaly_enabled", bool)(),
    }


def global_modes() -> dict[str, Any]:
    """Every global mode a test could leave changed. Imports nothing: what is not loaded stands as after its import."""
    modes = {f"{name}: {mode}": value for name in LIBRARIES for mode, value in modes_of(_loaded(name)).items()}
    numpy = _loaded("numpy")
    errors = numpy.geterr() if numpy else _FRESH_ERRORS
    return modes | {f"numpy: {kind}": value for kind, value in errors.items()}


def _loaded(name: str) -> Any:
    return sys.modules.get(name)


def restore(modes: dict[str, Any]) -> None:
    """Set back what one test changed, so that only this test fails."""
    for name in LIBRARIES:
        library = _loaded(name)
        if library is not None:
            library.set_grad_enabled(modes[f"{name}: grad mode"])
            library.set_default_dtype(getattr(library, modes[f"{name}: default dtype"]))
            library.autograd.forward_ad._current_level = modes[f"{name}: forward-AD level"]
    numpy = _loaded("numpy")
    if numpy:
        numpy.seterr(**{key[7:]: value for key, value in modes.items() if key.startswith("numpy: ")})


@pytest.fixture(autouse=True)
def global_modes_stay() -> Iterator[None]:
    """Fail the test that leaves a global mode changed."""
    before = global_modes()
    yield
    after = global_modes()
    changed = [f"{mode} was {before[mode]}, is {value}" for mode, value in after.items() if before[mode] != value]
    if changed:
        restore(before)
        pytest.fail(f"the test leaks global state: {'; '.join(changed)}")


def _hides_an_engine(report: pytest.TestReport | pytest.CollectReport) -> bool:
    if not (REQUIRE_ENGINES and report.skipped and isinstance(report.longrepr, tuple)):
        return False
    return re.search(r"could not import|not installed", report.longrepr[2]) is not None


def _refuse(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    report.outcome = "failed"
    report.longrepr = f"GRADCHECK_REQUIRE_ENGINES is set, so this may not be skipped.\n{reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under GRADCHECK_REQUIRE_ENGINES, fail a test that skips itself for want of a library."""
    report = yield
    if _hides_an_engine(report):
        _refuse(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Do the same for a whole module."""
    report = yield
    if _hides_an_engine(report):
        _refuse(report)
    return report
