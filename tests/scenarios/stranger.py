"""A repository as somebody who does not know us would have it, `pytest --gradcheck` on it, and what its owner reads."""

from __future__ import annotations

import gc
import re
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest

from tests.fakes.pytester import LOADED

# Counted evaluations, so that a test says the same on every machine, and few of them.
BUDGET = ("--gradcheck-profile=ci", "--gradcheck-budget=10")
ROW = re.compile(r"(agreed|disagreed|known|inconclusive|deliberate|surrogate|not checked) +([\w.]+:[\w.<>]+) *(.*)")
HEADER = re.compile(r"_{3,} (.*?) _{3,}")
TORCH = "import torch\nfrom torch.autograd import Function\n\n"
REFENGINE = "import refengine as re\nfrom refengine.autograd import Function\n\n"


@dataclass(frozen=True)
class Seen:
    """What a run showed.

    Attributes
    ----------
    result : RunResult
    modules : mapping of str to module
        The repository's own, as they were at the end of a run in this process.
    """

    result: pytest.RunResult
    modules: dict[str, ModuleType] = field(default_factory=dict)

    @property
    def code(self) -> int:
        """The exit status."""
        return int(self.result.ret)

    @property
    def text(self) -> str:
        """Everything printed."""
        return str(self.result.stdout)

    @property
    def outcomes(self) -> dict[str, int]:
        """Counts by outcome, without warnings."""
        return {word: n for word, n in self.result.parseoutcomes().items() if not word.startswith("warning")}

    @property
    def failed(self) -> list[str]:
        """The names of the tests that failed, in order of the short summary."""
        return [line.split()[1].rpartition("::")[2] for line in self.result.outlines if line.startswith("FAILED ")]

    @property
    def rows(self) -> dict[str, str]:
        """The summary's word for each Function."""
        return {match[2]: match[1] for match in map(ROW.fullmatch, self.result.outlines) if match}

    def row(self, name: str) -> str:
        """What the summary says of a Function beside the word."""
        return next(m[3] for m in map(ROW.fullmatch, self.result.outlines) if m and m[2] == name)

    def failure(self, test: str) -> list[str]:
        """The lines between the title of a test's failure and what follows it."""
        lines = self.result.outlines
        titles = [HEADER.fullmatch(line) for line in lines]
        start = next(i for i, title in enumerate(titles) if title and title[1] == test) + 1
        end = next(i for i in range(start, len(lines)) if titles[i] or lines[i].startswith("===="))
        return lines[start:end]

    def shows(self, *patterns: str) -> None:
        """Demand lines in this order, each with one of these texts."""
        self.result.stdout.fnmatch_lines([f"*{pattern}*" for pattern in patterns])

    def says(self, text: str) -> bool:
        """Whether a text stands anywhere, however it is broken into lines."""
        return text in " ".join(self.text.split())


class Keeper:
    """Keeps what a run in this process imported: libraries cannot all be imported twice, and pytester forgets them."""

    def __init__(self, root: Path, libraries: dict[str, ModuleType]) -> None:
        self.root = str(root)
        self.libraries = libraries
        self.own: dict[str, ModuleType] = {}

    def pytest_unconfigure(self) -> None:
        """Sort the modules."""
        for name, module in [*sys.modules.items()]:
            file = getattr(module, "__file__", None) or ""
            (self.own if file.startswith(self.root) else self.libraries)[name] = module


class Stranger:
    """Writes a repository and runs its tests."""

    def __init__(self, pytester: pytest.Pytester, libraries: dict[str, ModuleType]) -> None:
        self.libraries = libraries
        self.pytester = pytester
        self.path = pytester.path
        self.runs = 0

    def write(self, name: str, *texts: str) -> Path:
        """A file; directories on the way to a module become packages, but for ``tests``."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n\n".join(dedent(text).strip("\n") for text in texts) + "\n")
        return path

    def package(self, *classes: str, name: str = "pkg/ops.py", head: str = TORCH) -> None:
        """A module of Functions."""
        self.write(name, head, *classes)
        init = self.path / Path(name).parent / "__init__.py"
        init.touch()

    def tests(self, *texts: str, name: str = "tests/test_ops.py", head: str = TORCH) -> None:
        """A module of tests, which sees ``ops`` where there is one."""
        if (self.path / "pkg" / "ops.py").exists():
            head += "from pkg import ops\n"
        self.write(name, "import pytest\n" + head, *texts)

    def ini(self, *lines: str) -> None:
        """A configuration."""
        self.write("pytest.ini", "\n".join(("[pytest]", *lines)))

    def run(self, *arguments: str) -> Seen:
        """``pytest --gradcheck`` in this process."""
        return self.pytest("--gradcheck", *BUDGET, *arguments)

    def pytest(self, *arguments: str) -> Seen:
        """``pytest`` in this process."""
        if self.runs:
            gc.collect()  # the classes of the last run are in cycles; in a process of its own nobody would see them
        self.runs += 1
        keeper = Keeper(self.path, self.libraries)
        with warnings.catch_warnings():
            warnings.resetwarnings()  # that warnings are errors is a rule of our own tests
            result = self.pytester.runpytest_inprocess(
                *LOADED, *arguments, plugins=[keeper], no_reraise_ctrlc=True, syspathinsert=True
            )
        for name, module in self.libraries.items():
            sys.modules.setdefault(name, module)
        return Seen(result, keeper.own)

    def run_apart(self, *arguments: str) -> Seen:
        """``pytest --gradcheck`` in a process of its own."""
        return Seen(self.pytester.runpytest_subprocess(*LOADED, "--gradcheck", *BUDGET, *arguments))

    def count(self, seen: Seen, name: str) -> Any:
        """A number that the module of Functions keeps."""
        return getattr(seen.modules["pkg.ops"], name)
