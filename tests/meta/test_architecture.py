"""The import order of docs/architecture.md, enforced by reading the sources."""

from __future__ import annotations

import sys
from collections.abc import Callable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.meta.imports import Import, all_imports, modules

# Each layer may use itself and what stands above it here. A name covers its submodules unless a longer one is listed.
REFENGINE = (
    ("refengine.spec", "refengine.errors"),
    (
        "refengine.dtypes",
        "refengine.devices",
        "refengine.layout",
        "refengine.state",
        "refengine.backends",
        "refengine.region",
    ),
    ("refengine.storage", "refengine.methods"),
    ("refengine.tensor",),
    ("refengine.creation", "refengine.inspection", "refengine.printing", "refengine.random", "refengine.sharing"),
    ("refengine.autograd.graph",),
    (
        "refengine.autograd.engine",
        "refengine.autograd.modes",
        "refengine.autograd.inplace",
    ),
    ("refengine.recording", "refengine.operand"),
    ("refengine.op",),
    ("refengine.key", "refengine.reducing"),
    ("refengine.ops",),
    (
        "refengine.catalogue",
        "refengine.conversion",
        "refengine.derive",
        "refengine.fast",
        "refengine.functions",
        "refengine.listing",
        "refengine.namespace",
    ),
    (
        "refengine.autograd",
        "refengine.func",
        "refengine.nn",
        "refengine.optim",
        "refengine.serialization",
        "refengine.multiprocessing",
        "refengine.cuda",
    ),
    ("refengine",),
)
GRADCHECK = (
    ("gradcheck.verdict", "gradcheck.mistake"),
    ("gradcheck.events", "gradcheck.failures", "gradcheck.program", "gradcheck.case"),
    ("gradcheck.numeric",),
    ("gradcheck.engines",),
    (
        "gradcheck.material",
        "gradcheck.values",
        "gradcheck.drawing",
        "gradcheck.plan",
        "gradcheck.draft",
        "gradcheck.grammar",
        "gradcheck.rewrite",
        "gradcheck.sharing",
    ),
    ("gradcheck.checks",),
    ("gradcheck.diagnosis", "gradcheck.diagnose", "gradcheck.jacobian", "gradcheck.blame", "gradcheck.beside"),
    ("gradcheck.strategies",),
    ("gradcheck.runner",),
    ("gradcheck.report",),
    ("gradcheck.arguments", "gradcheck.minimal", "gradcheck.examination"),
    ("gradcheck.observation",),
    ("gradcheck.functions",),
    ("gradcheck.exploration",),
    ("gradcheck",),
    ("gradcheck.plugin",),
)
ORDERS = {"refengine": REFENGINE, "gradcheck": GRADCHECK}

# Where a library may be imported. What is not listed here, nor in the standard library, nor numpy, may not be at all.
HOMES: dict[str, tuple[str, ...]] = {
    "hypothesis": ("gradcheck.strategies",),
    "pytest": ("gradcheck.plugin", "pytest_gradcheck"),
    "_pytest": (),
    "cupy": ("refengine.backends.cupy",),
    "torch": ("gradcheck.engines.torch",),
    "jax": ("gradcheck.engines.jax",),
    "jaxlib": ("gradcheck.engines.jax",),
    "autograd": ("gradcheck.engines.autograd",),
    "mygrad": ("gradcheck.engines.mygrad",),
    "scipy": ("refengine", "gradcheck"),
}
OURS = frozenset({"refengine", "gradcheck", "pytest_gradcheck"})


def layer(name: str) -> int | None:
    """The layer of a module: its longest listed prefix; None for a module no layer names."""
    order = ORDERS[name.split(".")[0]]
    prefixes = {prefix: number for number, names in enumerate(order) for prefix in names}
    matching = [prefix for prefix in prefixes if is_inside(name, (prefix,))]
    best = max(matching, key=len)
    return prefixes[best] if best != name.split(".")[0] or name == best else None


def is_inside(name: str, packages: tuple[str, ...]) -> bool:
    """Whether a module is one of `packages` or lies in one."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def goes_up(found: Import) -> bool:
    """Whether an import inside one package reaches a later layer."""
    source, target = found.source.split(".")[0], found.target.split(".")[0]
    if found.is_typing or source != target or source not in ORDERS:
        return False
    here, there = layer(found.source), layer(found.target)
    return here is None or there is None or there > here


def wrong_direction(found: Import) -> bool:
    """Whether refengine reaches gradcheck, or either of them the entry module."""
    source, target = found.source.split(".")[0], found.target.split(".")[0]
    return (source == "refengine" and target in ("gradcheck", "pytest_gradcheck")) or (
        source == "gradcheck" and target == "pytest_gradcheck"
    )


def between_op_files(found: Import) -> bool:
    """Whether one topic of ops uses another."""
    topics = "refengine.ops."
    return found.source.startswith(topics) and found.target.startswith(topics) and found.source != found.target


def away_from_home(found: Import) -> bool:
    """Whether a library is imported outside its one place, or is not one that we use."""
    library = found.target.split(".")[0]
    if found.is_typing or library in OURS or library == "numpy" or library in sys.stdlib_module_names:
        return False
    return not is_inside(found.source, HOMES.get(library, ()))


def eager_scipy(found: Import) -> bool:
    """Whether loading a module imports scipy, which only special functions may pay for."""
    return found.target.split(".")[0] == "scipy" and not (found.is_lazy or found.is_typing)


def heavy_entry_point(found: Import) -> bool:
    """Whether the entry module, which every pytest run loads, loads more than the standard library and pytest."""
    library = found.target.split(".")[0]
    is_light = library == "pytest" or library in sys.stdlib_module_names
    return found.source == "pytest_gradcheck" and not (found.is_lazy or found.is_typing or is_light)


RULES = (goes_up, wrong_direction, between_op_files, away_from_home, eager_scipy, heavy_entry_point)
RuleOf = Callable[[Import], bool]


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    """Every import of the distribution."""
    return all_imports()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_import_breaks_the_rule(imports: list[Import], rule: RuleOf) -> None:
    assert [str(found) for found in imports if rule(found)] == []


def test_every_module_has_a_layer() -> None:
    names = [name for name in modules() if name != "pytest_gradcheck"]
    assert [name for name in names if layer(name) is None] == []


def test_modules_load_without_a_cycle(imports: list[Import]) -> None:
    graph: dict[str, set[str]] = {}
    for found in imports:
        if not (found.is_lazy or found.is_typing) and found.source != found.target:
            graph.setdefault(found.source, set()).add(found.target)
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"modules import each other: {' <- '.join(error.args[1])}")


def test_every_file_says_its_job_and_stays_readable() -> None:
    texts = {name: path.read_text(encoding="utf-8") for name, path in modules().items()}
    assert [name for name, text in texts.items() if text.strip() and not text.startswith(('"""', 'r"""'))] == []
    assert [name for name, text in texts.items() if text.count("\n") > 500] == []


@pytest.mark.parametrize(
    ("rule", "module", "text"),
    [
        (goes_up, "refengine/storage.py", "from refengine.tensor import Tensor"),
        (goes_up, "refengine/tensor.py", "def f():\n    from refengine import op"),
        (goes_up, "refengine/autograd/graph.py", "from . import engine"),
        (goes_up, "refengine/novel.py", "import refengine.spec"),
        (goes_up, "gradcheck/numeric/ladder.py", "from gradcheck.engines.base import Engine"),
        (goes_up, "gradcheck/checks/graph.py", "from gradcheck import check"),
        (wrong_direction, "refengine/op.py", "import gradcheck"),
        (between_op_files, "refengine/ops/loss.py", "from .reduction import Sum"),
        (away_from_home, "gradcheck/runner.py", "from hypothesis import given"),
        (away_from_home, "gradcheck/plugin/suite.py", "def f():\n    import hypothesis"),
        (away_from_home, "gradcheck/report/terminal.py", "import pytest"),
        (away_from_home, "gradcheck/engines/jax.py", "import torch"),
        (away_from_home, "refengine/backends/numpy.py", "import cupy"),
        (away_from_home, "refengine/ops/loss.py", "import requests"),
        (eager_scipy, "refengine/backends/numpy.py", "import scipy.special"),
        (heavy_entry_point, "pytest_gradcheck.py", "import numpy"),
        (heavy_entry_point, "pytest_gradcheck.py", "from gradcheck import events"),
    ],
)
def test_the_rule_catches_a_planted_import(tmp_path: Path, rule: RuleOf, module: str, text: str) -> None:
    for name in ("refengine/op.py", "refengine/autograd/engine.py", "refengine/ops/reduction.py", module):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if name == module else "")
    assert [found for found in all_imports(tmp_path) if rule(found)]


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("refengine/tensor.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from refengine.op import Op"),
        ("gradcheck/failures.py", "if TYPE_CHECKING:\n    from gradcheck.report.result import Report"),
        ("gradcheck/strategies/programs.py", "from hypothesis import strategies\nfrom gradcheck.grammar import decode"),
        ("gradcheck/plugin/suite.py", "import pytest\nfrom gradcheck.runner import run\nimport numpy"),
        ("refengine/backends/numpy.py", "def erf(x):\n    from scipy import special"),
        ("pytest_gradcheck.py", "import pytest\ndef f():\n    from gradcheck.plugin import suite"),
    ],
)
def test_the_rules_leave_a_right_import_alone(tmp_path: Path, module: str, text: str) -> None:
    path = tmp_path / module
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    assert [str(found) for found in all_imports(tmp_path) for rule in RULES if rule(found)] == []
