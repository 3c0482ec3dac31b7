"""The example that reads digits passes its own tests under ``pytest --gradcheck``, as its reader would run them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.docs.documents import ROOT

FOLDER = ROOT / "examples" / "digits"


def test_the_network_passes_its_tests_under_gradcheck() -> None:
    pytest.importorskip("sklearn")
    command = [sys.executable, "-m", "pytest", "--gradcheck", "-p", "no:cacheprovider"]
    # Counted budgets, so that a slow machine judges as much.
    done = subprocess.run(
        [*command, "--gradcheck-profile=ci"],
        cwd=FOLDER,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "agreed  digits:Swish" in done.stdout
