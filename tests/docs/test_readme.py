"""The README shows the two commands that .ci/run runs, and a failure as it prints today."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.docs.documents import ROOT
from tools.readme_commands import commands


def test_the_failure_in_the_readme_is_what_prints() -> None:
    pytest.importorskip("torch")
    command = [sys.executable, str(ROOT / "tools" / "readme_failure.py"), "--check"]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_readme_has_one_command_for_the_suite_and_one_for_the_tests() -> None:
    found = commands((ROOT / "README.md").read_text(encoding="utf-8"))
    assert [command.rpartition(" && ")[2] for command in found] == ["pytest --gradcheck --gradcheck-only", "pytest"]
    assert all(command.startswith("python3 -m venv .venv && ") for command in found)


def test_no_command_installs_torch_without_a_version() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    lines = [line for line in script.splitlines() if "pip install" in line and "torch" in line]
    assert lines
    assert all("torch==" in line for line in lines)
