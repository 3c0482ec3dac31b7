"""The start-up benchmarks: what a run of pytest costs with the plugin blocked, installed and asked for.

Each contestant is a process of its own over one empty test; its CPU time is what counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path

from benchmarks.harness import Benchmark, Result, Work, of_children, run
from benchmarks.scale import Scale

NONE, OFF, ON = "pytest, plugin blocked", "plugin installed and off", "plugin on, suite collected"
NOTHING, LIBRARIES = "python", "python, NumPy and Hypothesis imported"
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
PLUGIN = "pytest_gradcheck"
# A difference of milliseconds between processes of half a second: one round would show their noise alone.
FEWEST = 5


def measure(scale: Scale, say: Callable[[str], None]) -> list[Result]:
    """Both, in an empty directory that is gone afterwards."""
    results = []
    with tempfile.TemporaryDirectory() as place:
        for benchmark in benchmarks(Path(place)):
            result = run(benchmark, **scale.how | {"fewest": FEWEST})
            say(f"{benchmark.name}: {', '.join(f'{name} {time}' for name, time in result.times.items())} ms")
            results.append(result)
    return results


def benchmarks(place: Path) -> Iterator[Benchmark]:
    """Of pytest; and of the imports that a plugin could cost."""
    (place / "test_empty.py").write_text("def test_empty():\n    pass\n", encoding="utf-8")
    works = {NONE: _process(place, *PYTEST, "-p", f"no:{PLUGIN}")}
    absent = {}
    if any(one.name == PLUGIN for one in entry_points(group="pytest11")):
        works[OFF] = _process(place, *PYTEST)
        works[ON] = _process(place, *PYTEST, "--gradcheck", "--collect-only")
    else:
        absent = dict.fromkeys((OFF, ON), "the package is not installed (pip install -e .)")
    yield Benchmark("start-up of pytest", "ms", 1e3, NONE, works, absent=absent, clock=of_children)
    works = {NOTHING: _process(place, "-c", "pass"), LIBRARIES: _process(place, "-c", "import hypothesis, numpy")}
    yield Benchmark("imports", "ms", 1e3, NOTHING, works, clock=of_children)


def _process(place: Path, *arguments: str) -> Work:
    """A run of Python there, with its compiled files kept there, as they are kept for users."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
    environment["PYTHONPYCACHEPREFIX"] = str(place / "compiled")

    def work() -> None:
        _succeed([sys.executable, *arguments], place, environment)

    return work


def _succeed(command: Sequence[str], place: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: expected exit status 0, got {done.returncode}\n{done.stdout}")
