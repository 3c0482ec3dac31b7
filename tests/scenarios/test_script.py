"""The script of a failure runs where there is nothing but the library of its engine, exits 1 and shows the same."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scenarios.material import GREEDY_DOUBLE, HALF_SQUARE, MEMORY_DOUBLE, TURNED_PRODUCT, call, named, wrong
from tests.scenarios.stranger import REFENGINE, Stranger

torch = pytest.importorskip("torch")

HIDDEN = ("gradcheck", "pytest", "_pytest", "hypothesis", "pkg", "scipy")
ALONE = """
import contextlib, io, json, runpy, sys

hidden, *paths = sys.argv[1:]
sys.modules.update(dict.fromkeys(hidden.split(",")))
ends = {}
for path in paths:
    code, said = 0, io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        code = end.code
    ends[path] = code, said.getvalue()
print(json.dumps(ends))
"""
"""Runs scripts one by one where some modules cannot be imported: exit status and output of each."""
MATRICES = ("torch.arange(4.0).reshape(2, 2)", "torch.tensor([[1.0, 2.0], [-1.0, 0.5]])")


def scripts(stranger: Stranger) -> list[Path]:
    """The scripts that a run left."""
    return sorted(stranger.path.glob(".gradcheck/repro/*.py"))


def ends(paths: list[Path], elsewhere: Path, *hidden: str) -> dict[str, tuple[int, str]]:
    """What became of scripts by their file names, away from the repository."""
    command = [sys.executable, "-I", "-c", ALONE, ",".join((*HIDDEN, *hidden)), *map(str, paths)]
    found = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return {Path(path).name: (code, said) for path, (code, said) in json.loads(found.stdout).items()}


def test_scripts_need_pytorch_alone_and_show_the_numbers_of_the_report(stranger: Stranger, tmp_path: Path) -> None:
    stranger.package(HALF_SQUARE, TURNED_PRODUCT, MEMORY_DOUBLE, named(GREEDY_DOUBLE, "Greedy"))
    stranger.tests(
        call("Square"),
        call("Product", *MATRICES),
        call("Double", "torch.arange(6.0).reshape(2, 3)"),
        call("Greedy"),
    )
    seen = stranger.run()
    assert len(seen.failed) == 4
    found = ends(scripts(stranger), tmp_path, "refengine")
    assert {*found} == {f"pkg.ops.{x}.py" for x in ("Square-GC101", "Product-GC101", "Double-GC301", "Greedy-GC203")}
    for test in seen.failed:
        text = "\n".join(seen.failure(test))
        code, said = found[re.findall(r"\.gradcheck/repro/(\S+)", text)[0]]
        assert code == 1, said
        for number in re.findall(r"^  (?:analytic|numerical|found|expected) +(\S+)", text, re.MULTILINE):
            assert number[:8] in said, (number, said)


def test_the_script_of_a_mended_function_exits_with_success(stranger: Stranger, tmp_path: Path) -> None:
    stranger.package(HALF_SQUARE, head=REFENGINE)
    stranger.tests(call("Square", "re.tensor([0.5, -1.5])"), head=REFENGINE)
    stranger.run()
    (script,) = scripts(stranger)
    mended = tmp_path / "mended.py"
    mended.write_text(wrong(script.read_text(), "g * x", "g * 2 * x"))
    found = ends([script, mended], tmp_path, "torch")
    assert (found[script.name][0], found["mended.py"][0]) == (1, 0), found


def test_the_directory_of_the_scripts_is_not_for_version_control(stranger: Stranger) -> None:
    stranger.package(HALF_SQUARE)
    stranger.tests(call("Square"))
    stranger.run()
    assert "*" in (stranger.path / ".gradcheck" / ".gitignore").read_text().split()
