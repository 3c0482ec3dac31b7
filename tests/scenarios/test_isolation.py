"""`--gradcheck-isolate`: a backward that crashes, hangs or exits is a finding, and takes nothing with it."""

from __future__ import annotations

import pytest

from gradcheck.functions import isolation
from gradcheck.plugin import judging
from tests.scenarios.material import CUBE, HALF_SQUARE, SQUARE, call, wrong
from tests.scenarios.stranger import Stranger

torch = pytest.importorskip("torch")
if not isolation.is_possible():
    pytest.skip("this system cannot fork", allow_module_level=True)

ENDINGS = {
    "exits": ("__import__('os')._exit(7)", "status 7"),
    "hangs": ("__import__('time').sleep(600)", "did not end"),
    "crashes": ("__import__('ctypes').string_at(0)", "SIGSEGV"),
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hanging check is given up soon."""
    monkeypatch.setattr(judging, "_LEAST_SECONDS", 2.0)


@pytest.mark.parametrize("how", ENDINGS)
def test_what_ends_its_process_is_a_finding(stranger: Stranger, capfd: pytest.CaptureFixture[str], how: str) -> None:
    statement, said = ENDINGS[how]
    stranger.package(wrong(SQUARE, "return g * 2 * x", f"return {statement}"), CUBE)
    stranger.tests(call("Square"), call("Cube"))
    seen = stranger.run("--gradcheck-isolate", "--gradcheck-budget=2")
    assert (seen.outcomes, seen.code) == ({"failed": 1, "passed": 1}, 1)
    assert seen.rows == {"pkg.ops:Square": "disagreed", "pkg.ops:Cube": "agreed"}
    text = "\n".join(seen.failure("test_square"))
    assert "Square" in text
    assert said in text
    assert "--gradcheck --gradcheck-isolate" in text
    assert "Fatal Python error" not in capfd.readouterr().err


def test_an_ordinary_mistake_reads_the_same(stranger: Stranger) -> None:
    stranger.package(HALF_SQUARE)
    stranger.tests(call("Square"))
    plain, isolated = ("\n".join(stranger.run(*x).failure("test_square")) for x in ((), ("--gradcheck-isolate",)))
    assert isolated.replace(" --gradcheck-isolate", "") == plain


def test_a_backward_that_raises_system_exit_needs_no_process_of_its_own(stranger: Stranger) -> None:
    stranger.package(wrong(SQUARE, "return g * 2 * x", "raise SystemExit(3)"), CUBE)
    stranger.tests(call("Square"), call("Cube"))
    seen = stranger.run()
    assert seen.outcomes.get("passed", 0) >= 1
    assert seen.rows["pkg.ops:Cube"] == "agreed"
