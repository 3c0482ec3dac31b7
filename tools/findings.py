"""Run released packages' own tests under --gradcheck, and write docs/findings.md: what was observed, checked, found.

python tools/findings.py [NAME ...] [--budget SECONDS] [--seed N]

Each package is installed at a fixed version into a virtual environment of its own, together with this project; PyTorch
and pytest are those of the interpreter that runs this file. Its tests are copied out of the release to a temporary
directory. Every alarm has a judgement by hand, in the page, between two marks: a rerun keeps it, and an alarm without
one makes this tool fail. With names, only their sections are written anew.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "findings.md"
TARGET = "FINDINGS_TARGET"
"""Where the run of pytest leaves what it found: this file is also the plugin that writes it."""
SECTION = re.compile(r"^<!-- package: (\S+) -->\n(.*?)^<!-- end of package -->\n", re.DOTALL | re.MULTILINE)
JUDGED = re.compile(r"^<!-- judged: (.+?) -->\n(.*?)\n<!-- end of judgement -->$", re.DOTALL | re.MULTILINE)
OPEN = "*Not judged yet.*"
LIMIT = 900
"""Seconds that a package's tests may take, its checks included."""


@dataclass(frozen=True, slots=True)
class Package:
    """A release with Functions in pure Python, and tests that call them.

    Attributes
    ----------
    name, version, licence : str
    module : str
        What ini ``gradcheck_packages`` names.
    tests : str
        Where its tests lie: in the source distribution, or below its installed module.
    selected : tuple of str
        What pytest is told to run.
    is_installed : bool
        The tests are installed with the package.
    requires : tuple of str
        What it or its tests need beyond its own requirements.
    is_alone : bool
        Its requirements are not installed: `requires` has those that these tests need.
    about : str
        What its Functions compute.
    """

    name: str
    version: str
    licence: str
    module: str
    tests: str
    selected: tuple[str, ...]
    is_installed: bool = False
    requires: tuple[str, ...] = ()
    is_alone: bool = False
    about: str = ""


PACKAGES = (
    Package(
        "entmax",
        "1.3",
        "MIT",
        "entmax",
        "entmax",
        ("test_losses.py", "test_mask.py", "test_root_finding.py", "test_topk.py"),
        is_installed=True,
        about="Sparse relatives of softmax, by sorting or by bisection, and their losses.",
    ),
    Package(
        "torch-interpol",
        "0.3.0",
        "MIT",
        "interpol",
        "interpol/tests",
        # Signals of one or two samples have no inside, and would be what is kept of each kind.
        ("-k", "device0 and (1- or 2-1 or 2-2) and not -3-device0 or identity and not -1] and not -2]"),
        about="Resampling of images by B-splines of orders 0 to 7, its transpose, and the splines' coefficients.",
    ),
    Package(
        "roma",
        "1.8.0",
        "BSD-3-Clause",
        "roma",
        "test",
        ("test/test_procrustes_derivatives.py", "test/test_mappings.py", "-k", "not compile and not convergence"),
        about="Rotations: the orthogonal Procrustes problem, with derivatives by hand in both modes.",
    ),
    Package(
        "norse",
        "1.1.0",
        "LGPL-3.0",
        "norse",
        "norse/torch/functional",
        (
            "test/test_threshold.py",
            "test/test_superspike.py",
            "test/test_heaviside.py",
            "test/test_spikes_to_times_decoder.py",
            "adjoint/test",
        ),
        requires=("h5py", "nir", "nirtorch"),
        is_alone=True,
        about="Spiking neurons: thresholds with surrogate gradients, and adjoint equations of their dynamics.",
    ),
)


# The plugin --------------------------------------------------------------------------------------------------------


def pytest_sessionfinish(session: Any) -> None:
    """Leave what gradcheck found of the package's Functions where the tool asks for it."""
    found = session.config.pluginmanager.get_plugin("gradcheck-session")
    target = os.environ.get(TARGET)
    if found is not None and target:
        account = found.account
        data = {
            "entries": [{"result": asdict(entry.result), "tests": entry.tests} for entry in account.entries.values()],
            "unchecked": [[known.name, known.calls, known.reason] for known in account.unchecked()],
        }
        Path(target).write_text(json.dumps(data), encoding="utf-8")


# One package -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Run:
    """What came of one package's tests."""

    package: Package
    command: str
    seconds: float
    closing: str
    entries: list[dict[str, Any]] = field(default_factory=list)
    unchecked: list[list[Any]] = field(default_factory=list)

    def by_function(self) -> dict[str, list[dict[str, Any]]]:
        """The results of each Function that was checked, sorted by name."""
        found: dict[str, list[dict[str, Any]]] = {}
        for entry in sorted(self.entries, key=lambda entry: str(entry["result"]["name"])):
            if entry["result"]["status"] != "not checked":
                found.setdefault(entry["result"]["name"], []).append(entry)
        return found

    def alarms(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """The disagreements, those of one Function and code together, under the name of their judgement."""
        for name, entries in self.by_function().items():
            wrong = [entry for entry in entries if entry["result"]["status"] == "disagreed"]
            for code in sorted({entry["result"]["code"] for entry in wrong}):
                yield f"{name} {code}", [entry for entry in wrong if entry["result"]["code"] == code]


def call(command: Sequence[str | Path], **how: Any) -> subprocess.CompletedProcess[str]:
    """Run a command; its output is text."""
    return subprocess.run([*map(str, command)], text=True, capture_output=True, **how)


def environment(folder: Path, package: Package) -> Path:
    """A virtual environment with the package and this project; gives its interpreter."""
    call([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    place = call([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True).stdout.strip()
    # Torch is large, and the release that is at hand is the one to try: what the running interpreter has is seen.
    lines = [f"import site; site.addsitedir({path!r})" for path in sorted(paths)]
    Path(place, "~outer.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    install = [python, "-m", "pip", "install", "--quiet"]
    alone = ["--no-deps"] if package.is_alone else []
    for what in ([*alone, f"{package.name}=={package.version}"], [*package.requires], ["--no-deps", str(ROOT)]):
        if what:
            done = call([*install, *what])
            if done.returncode:
                raise SystemExit(f"{package.name}: pip install {' '.join(what)} failed\n{done.stderr}")
    return python


def tests_of(package: Package, python: Path, folder: Path) -> Path:
    """The package's tests alone, below a new directory; gives the directory to run in."""
    target = folder / "tests"
    if package.is_installed:
        code = f"import importlib.util as u; print(u.find_spec({package.tests!r}).submodule_search_locations[0])"
        source = Path(call([python, "-c", code], check=True).stdout.strip())
        target.mkdir()
        for path in source.glob("test_*.py"):
            shutil.copy(path, target)
        return target
    download = ["download", "--quiet", "--no-deps", "--no-binary", package.name, "--dest", folder / "sdist"]
    call([python, "-m", "pip", *download, f"{package.name}=={package.version}"], check=True)
    (archive,) = (folder / "sdist").glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "sdist", filter="data")
    (top,) = (path for path in (folder / "sdist").iterdir() if path.is_dir())
    return copied(top / package.tests, target)


def copied(source: Path, target: Path) -> Path:
    """Copy test files, and nothing else of a package: a copy of its modules would stand for the installed ones.

    A directory of tests named ``test`` that imports itself by that name keeps it; its modules are tests' own helpers.
    """
    if source.name == "test" and (source / "__init__.py").exists():
        shutil.copytree(source, target / "test")
        return target
    for path in source.rglob("*.py"):
        if path.name.startswith("test_") or path.name == "conftest.py":
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    return target


def run(package: Package, budget: float, seed: int) -> Run:
    """Install one package, and run its tests under --gradcheck."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        python = environment(folder / "env", package)
        tests = tests_of(package, python, folder)
        (tests / "pytest.ini").write_text(f"[pytest]\ngradcheck_packages = {package.module}\n", encoding="utf-8")
        (folder / "plugin").mkdir()
        shutil.copy(__file__, folder / "plugin")
        said = [*package.selected, "--gradcheck", f"--gradcheck-budget={budget:g}", f"--gradcheck-seed={seed}"]
        ours = ("PYTEST_", "CI", "PYTHON", "BUILD_NUMBER")
        variables = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        variables |= {"PYTHONPATH": str(folder / "plugin"), TARGET: str(folder / "found.json"), "OMP_NUM_THREADS": "1"}
        begun = time.perf_counter()
        flags = ["-p", "no:cacheprovider", "-p", "findings", "--tb=short"]
        done = call([python, "-m", "pytest", *flags, *said], cwd=tests, env=variables, timeout=LIMIT)
        seconds = time.perf_counter() - begun
        if not (folder / "found.json").exists():
            raise SystemExit(f"{package.name}: pytest ended with {done.returncode}\n{done.stdout}{done.stderr}")
        data = json.loads(without_paths((folder / "found.json").read_text(encoding="utf-8"), folder))
    closing = re.sub(r" in [\d.]+s.*", "", done.stdout.rstrip().splitlines()[-1].strip("= "))
    shown = " ".join(f'"{word}"' if " " in word else word for word in said)
    return Run(package, f"python -m pytest {shown}", seconds, closing, data["entries"], data["unchecked"])


def without_paths(text: str, folder: Path) -> str:
    """The text without the places where things happened to lie."""
    text = re.sub(rf"(?:\.\./)*(?:{re.escape(str(folder))}/)?env/lib/python[\d.]+/site-packages/", "", text)
    return text.replace(f"{folder}/tests/", "").replace(f"{folder}/", "")


# The page ----------------------------------------------------------------------------------------------------------


def section(found: Run, judged: dict[str, str]) -> list[str]:
    """What the page says of one package."""
    package = found.package
    functions = found.by_function()
    source = "installed with it" if package.is_installed else f"`{package.tests}` of its source distribution"
    lines = [
        f"<!-- package: {package.name} -->",
        f"## {package.name} {package.version}",
        "",
        f"{package.about} {package.licence}. Its tests are {source}. On {datetime.date.today()}, Python"
        f" {platform.python_version()}, torch {version('torch')}, numpy {version('numpy')}:",
        "",
        "```console",
        *([f"$ pip install --no-deps {package.name}=={package.version}"] if package.is_alone else []),
        *(["$ pip install " + " ".join(package.requires)] if package.requires else []),
        *([] if package.is_alone else [f"$ pip install {package.name}=={package.version}"]),
        f'$ printf "[pytest]\\ngradcheck_packages = {package.module}\\n" > pytest.ini',
        f"$ {found.command}",
        "```",
        "",
        f"{found.closing}; {len(functions)} Functions checked;"
        f" {checks(found):.0f} s of {found.seconds:.0f} s were spent in checks.",
        "",
        "| Function | kinds | inputs | outcome |",
        "|---|--:|--:|---|",
        *(row(name, entries) for name, entries in functions.items()),
        *(f"| `{name}` | | | not checked: {reason or 'never called'} |" for name, _, reason in sorted(found.unchecked)),
        "",
        *notes(functions),
    ]
    for key, entries in found.alarms():
        lines += alarm(key, entries, judged.get(key, OPEN))
    return [*lines, "<!-- end of package -->"]


def checks(found: Run) -> float:
    """Seconds spent in checks."""
    return sum(float(entry["result"]["seconds"]) for entry in found.entries)


def row(name: str, entries: Sequence[dict[str, Any]]) -> str:
    """One line of a package's table."""
    results = [entry["result"] for entry in entries]
    tried = sum(result["tried"] for result in results)
    outcomes: dict[str, int] = {}
    for result in results:
        text = result["status"]
        if text == "disagreed":
            text = f"**disagreed**: {', '.join(result['failing']) or result['code']}"
        elif result["reason"]:
            text += f": {result['reason']}"
        outcomes[text] = outcomes.get(text, 0) + 1
    said = "; ".join(text + (f" ({count})" if len(outcomes) > 1 else "") for text, count in outcomes.items())
    return f"| `{name}` | {len(results)} | {tried} | {cell(said)} |"


def cell(text: str) -> str:
    """Text that ends no cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def notes(functions: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The notes that say more than what is unsupported, was cut or stayed open, each once."""
    about: dict[str, list[str]] = {}
    for name, entries in functions.items():
        for note in dict.fromkeys(note for entry in entries for note in entry["result"]["notes"]):
            text = re.sub(r" \(drawn: .*\)$", "", note)
            text = re.sub(r" \([^()]* instead of [^()]*\)|; [^;]+ instead of [^;]+", "", text)
            if not re.match(r"cut by|unsupported|GC\d+ (unsupported|inconclusive)|GC\d+ \w+: [\w ]+$", text):
                about.setdefault(text, []).append(f"`{name.rpartition(':')[2]}`")
    lines = [f"- {', '.join(dict.fromkeys(names))}: {note}" for note, names in about.items()]
    return ["Notes:", "", *lines, ""] if lines else []


def alarm(key: str, entries: Sequence[dict[str, Any]], judgement: str) -> list[str]:
    """One disagreement, its report, and what a person thinks of it."""
    result = entries[0]["result"]
    tests = list(dict.fromkeys(test for entry in entries for test in entry["tests"]))
    more = f" and {len(tests) - 2} more" if len(tests) > 2 else ""
    return [
        f"### {key}",
        "",
        f"{len(entries)} kind{'s' * (len(entries) > 1)} of input;"
        f" called by {', '.join(f'`{test}`' for test in tests[:2])}{more}.",
        "",
        "```text",
        *result["report"].splitlines(),
        "```",
        "",
        f"<!-- judged: {key} -->",
        judgement,
        "<!-- end of judgement -->",
        "",
    ]


HEAD = """\
# Findings in released packages

Written by `python tools/findings.py`. It runs the tests of released packages under `--gradcheck`, with the package
named in ini `gradcheck_packages`, and lists what became of each `torch.autograd.Function` that they call. *Kinds* are
the kinds of input that were checked (dtypes, ranks, which tensors require grad, options); *inputs* are those tried,
from the tests and drawn. What was cut by the budget, unsupported or left open beyond the gradient is not repeated here.
Every alarm was judged by hand; the judgement stands below it.
"""


def page(sections: Iterable[str]) -> str:
    """The whole page."""
    return "\n".join([HEAD, *sections]).rstrip() + "\n"


def main() -> None:
    """Run the packages named, or all; write their sections; fail where an alarm is not judged."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(package.name for package in PACKAGES))
    parser.add_argument("--budget", type=float, default=60, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    unknown = set(options.names) - {package.name for package in PACKAGES}
    if unknown:
        parser.error(f"no such package: {', '.join(sorted(unknown))}")
    before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    judged = dict(JUDGED.findall(before))
    written = {
        name: f"<!-- package: {name} -->\n{text}<!-- end of package -->\n" for name, text in SECTION.findall(before)
    }
    for package in PACKAGES:
        if not options.names or package.name in options.names:
            written[package.name] = "\n".join(section(run(package, options.budget, options.seed), judged)) + "\n"
            PAGE.write_text(page(written[p.name] for p in PACKAGES if p.name in written), encoding="utf-8")
    after = dict(JUDGED.findall(PAGE.read_text(encoding="utf-8")))
    lost = [f"judged, and no longer found: {key}" for key in judged if key not in after]
    left = [f"not judged: {key}" for key, text in after.items() if text == OPEN]
    if left or lost:
        raise SystemExit("\n".join([*left, *lost]))


if __name__ == "__main__":
    main()
