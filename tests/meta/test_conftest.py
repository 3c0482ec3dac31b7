"""Our own conftest does what it is there for: leaks fail, and an engine that is missing cannot hide."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

CONFTEST = Path(__file__).resolve().parents[2] / "conftest.py"


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """An empty project with our conftest."""
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    return pytester


def run(project: pytest.Pytester) -> pytest.RunResult:
    return project.runpytest_subprocess("-q", "-p", "no:cacheprovider")


LEAKS = {
    "errstate": "import numpy as np\nnp.seterr(divide='ignore')",
    "refengine grad mode": "import refengine as re\nre.set_grad_enabled(False)",
    "refengine default dtype": "import refengine as re\nre.set_default_dtype(re.float64)",
    "refengine level": "from refengine.autograd import forward_ad\nforward_ad.enter_dual_level()",
    "torch grad mode": "import torch\ntorch.set_grad_enabled(False)",
    "torch default dtype": "import torch\ntorch.set_default_dtype(torch.float64)",
    "torch level": "import torch\ntorch.autograd.forward_ad.enter_dual_level()",
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leaked_mode_fails_its_test_and_no_other(project: pytest.Pytester, leak: str) -> None:
    if leak.startswith("torch") and find_spec("torch") is None:
        pytest.skip("could not import 'torch'")  # importing it here would leave half of it: pytester unloads modules
    lines = LEAKS[leak].replace("\n", "\n    ")
    project.makepyfile(f"def test_leaks():\n    {lines}\n\ndef test_innocent():\n    pass\n")
    result = run(project)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*leaks global state: *", "ERROR *::test_leaks*"])


def test_a_mode_behind_a_context_manager_is_no_leak(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import numpy as np, refengine as re
        def test_clean():
            with np.errstate(all="ignore"), re.no_grad():
                pass
    """)
    run(project).assert_outcomes(passed=1)


@pytest.mark.parametrize("where", ["module", "test"])
def test_a_missing_engine_may_not_be_skipped_where_engines_are_required(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    skip = 'pytest.importorskip("no_such_engine")'
    lines = {"module": f"{skip}\ndef test_it(): pass", "test": f"def test_it():\n    {skip}"}
    project.makepyfile(f"import pytest\n{lines[where]}")
    monkeypatch.setenv("GRADCHECK_REQUIRE_ENGINES", "0")
    run(project).assert_outcomes(skipped=1)
    monkeypatch.setenv("GRADCHECK_REQUIRE_ENGINES", "1")
    result = run(project)
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*may not be skipped*", "*no_such_engine*"])


def test_another_skip_stays_a_skip(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADCHECK_REQUIRE_ENGINES", "1")
    project.makepyfile("import pytest\ndef test_it():\n    pytest.skip('on Windows only')")
    run(project).assert_outcomes(skipped=1)


def test_nightly_is_random_also_under_ci() -> None:
    assert not settings.get_profile("nightly").derandomize
    assert settings.get_profile("ci").derandomize
