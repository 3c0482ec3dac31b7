"""Every code block of the README and the docs runs.

The ``python`` blocks of a page run from top to bottom in one namespace; one that starts with ``# test_x.py`` is a file
for pytest. Lines with a prompt are doctests. The ``sh`` blocks of the docs run in an empty directory; those of the
README install something, and .ci/run runs them.
"""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.documents import ROOT, Block, blocks, documents

RUNS = ("python", "sh")
SHOWS = ("text", "console", "mermaid", "{toctree}")


@pytest.mark.parametrize("page", documents(), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_page_runs(page: Path, tmp_path: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        for library in block.needs if block.language in RUNS else ():
            pytest.importorskip(library)
        if block.language == "python":
            run_python(block, namespace, tmp_path)
        elif block.language == "sh" and page.parent.name == "docs":
            run_shell(block, tmp_path)


@pytest.mark.parametrize("page", documents(), ids=lambda page: str(page.relative_to(ROOT)))
def test_no_block_escapes(page: Path) -> None:
    assert [block for block in blocks(page) if block.language not in (*RUNS, *SHOWS)] == []


def run_python(block: Block, namespace: dict[str, Any], folder: Path) -> None:
    if block.file_name:
        (folder / block.file_name).write_text(block.text, encoding="utf-8")
        if block.file_name.startswith("test_"):
            run_tests(block, folder)
    elif ">>> " in block.text:
        run_doctest(block, namespace)
    else:
        padding = "\n" * (block.line - 1)  # so that a traceback names the page's own line
        exec(compile(padding + block.text, str(block.path), "exec", dont_inherit=True), namespace)


def run_doctest(block: Block, namespace: dict[str, Any]) -> None:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    test = doctest.DocTestParser().get_doctest(block.text, namespace, block.path.name, str(block.path), block.line - 1)
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=flags).run(test, out=said.append, clear_globs=False)
    namespace.update(test.globs)
    assert result.failed == 0, "".join(said)


def run_tests(block: Block, folder: Path) -> None:
    assert block.file_name
    done = call([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", block.file_name], folder)
    expected = 1 if block.is_meant_to_fail else 0
    assert done.returncode == expected, f"{block.path}:{block.line}\n{done.stdout}{done.stderr}"


def run_shell(block: Block, folder: Path) -> None:
    done = call(["bash", "-euo", "pipefail", "-c", block.text], folder)
    assert done.returncode == 0, f"{block.path}:{block.line}\n{done.stdout}{done.stderr}"


def call(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run in a folder of the page's own, with this interpreter's programs first, and few examples a claim."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment["PYTHONPATH"] = str(ROOT)
    environment["PYTEST_ADDOPTS"] = "--gradcheck-max-examples=3"
    return subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False)


def test_a_wrong_block_fails_at_its_own_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Text.\n\n```python\nx = 1\nx / 0\n```\n")
    with pytest.raises(ZeroDivisionError) as caught:
        run_python(blocks(page)[0], {}, tmp_path)
    assert (str(caught.traceback[-1].path), caught.traceback[-1].lineno + 1) == (str(page), 5)


def test_a_wrong_doctest_fails(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\n>>> 1 + 1\n3\n```\n")
    with pytest.raises(AssertionError, match="Expected"):
        run_python(blocks(page)[0], {}, tmp_path)
