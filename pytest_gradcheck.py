"""The pytest entry point: options, markers, the fixture and the hook of registration, always there and costing nothing.

It imports neither `gradcheck` nor `refengine` until asked to, so that a plain pytest run pays for no array library.
PYTEST_DONT_REWRITE: this module has no assertion, and pytest would rewrite it at every start.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
SUITE_ID = re.compile(r"(?:.*[/\\])?gradcheck::.")
"""What a printed id of the property suite looks like, also from below the root directory."""

MARKERS = (
    "gradcheck(domain=None, rtol=1e-6, claims=(), nondet_tol=0.0): this test is about gradients, --gradcheck-only "
    "keeps it; under --gradcheck the autograd Functions that it is first to call are checked where `domain` (low, "
    "high) allows, until a relative error of `rtol` would be seen, with these claims (names or codes) among what must "
    "hold; repeated passes may differ by `nondet_tol`",
    "no_gradcheck: --gradcheck leaves this test alone, and --gradcheck-only drops it",
)
# option, how argparse stores it, the type of its ini twin, help
OPTIONS: tuple[tuple[str, dict[str, Any], Any, str], ...] = (
    ("gradcheck", {"action": "store_true"}, "bool", "check gradients: your tests and the property suite"),
    ("gradcheck-only", {"action": "store_true"}, "bool", "run the property suite and the tests that ask for gradcheck"),
    (
        "gradcheck-engine",
        {"action": "append", "metavar": "NAME"},
        "args",
        "run the property suite on this engine (repeatable)",
    ),
    (
        "gradcheck-profile",
        {"metavar": "NAME"},
        "string",
        "how much to draw: dev, ci (default where CI is set), nightly",
    ),
    ("gradcheck-max-examples", {"type": int, "metavar": "N"}, "int", "programs drawn for each item of the suite"),
    ("gradcheck-seed", {"type": int, "metavar": "N"}, "int", "draw the same programs as the run that printed it"),
    (
        "gradcheck-replay",
        {"action": "append", "metavar": "ID"},
        "args",
        "run one recorded case and nothing else (repeatable)",
    ),
    (
        "gradcheck-op",
        {"action": "append", "metavar": "NAME"},
        "args",
        "draw programs around this op only (repeatable)",
    ),
    (
        "gradcheck-budget",
        {"type": float, "metavar": "SECONDS"},
        "float",
        "time for checking what your tests call (20; a tenth of it a Function; profile ci counts 1,000 evaluations "
        "as a second)",
    ),
    ("gradcheck-strict", {"action": "store_true"}, "bool", "fail where a backward differs from its forward on purpose"),
    (
        "gradcheck-isolate",
        {"action": "store_true"},
        "bool",
        "check each Function in a child process: a crash or a hang is a failure like others",
    ),
    (
        "gradcheck-baseline",
        {"metavar": "FILE"},
        "string",
        "known failures, which fail no test (one a line: op, code, claim)",
    ),
    ("gradcheck-baseline-update", {"action": "store_true"}, "bool", "add what fails now to the known failures"),
    ("gradcheck-baseline-prune", {"action": "store_true"}, "bool", "drop the known failures that fail no more"),
    ("gradcheck-list", {"action": "store_true"}, "bool", "list engines, claims and ops, then exit"),
)
# ini values without an option: type, default, help
VALUES: tuple[tuple[str, Any, Any, str], ...] = (
    ("gradcheck_corpus", "string", "tests/corpus", "directory of kept cases that --gradcheck-replay looks into"),
    ("gradcheck_packages", "args", [], "installed packages whose Functions are checked as if they were your own"),
    ("gradcheck_ignore", "args", [], "Functions that are not checked, as pkg.mod:Class"),
    (
        "gradcheck_surrogate",
        "linelist",
        [],
        "Functions whose backward is another one on purpose, one a line: pkg.mod:Class = reason",
    ),
    ("gradcheck_allow_empty", "bool", False, "let a --gradcheck run pass that had nothing to check"),
)
NOTHING: dict[str, Any] = {"bool": False, "args": [], "string": None, "int": None, "float": None}


class Hooks:
    """What a conftest may implement."""

    @pytest.hookspec
    def pytest_gradcheck_register(self, registry: Any) -> None:
        """Add to what is known: ``registry.engines``, ``registry.claims`` and ``registry.ops`` each have `register`."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options and their ini twins."""
    group = parser.getgroup("gradcheck", "checking gradients (pytest-gradcheck)")
    for name, how, ini, text in OPTIONS:
        group.addoption(f"--{name}", help=text, **how)
        parser.addini(name.replace("-", "_"), text, type=ini, default=NOTHING[ini])
    for name, ini, default, text in VALUES:
        parser.addini(name, text, type=ini, default=default)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hook of registration."""
    pluginmanager.add_hookspecs(Hooks)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Start observing before a conftest binds an ``apply``, where that is asked for."""
    given = early_config.known_args_namespace
    asked = any(getattr(given, name) or early_config.getini(name) for name in ("gradcheck", "gradcheck_only"))
    if asked and not given.help and is_ours(origin_of_package()):
        with as_it_stands():
            from gradcheck.plugin import observing
        observing.observe(early_config)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers; load the rest where it is asked for."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    if is_asked_for(config):
        refuse_another_package()
        with as_it_stands():
            from gradcheck.plugin import session
        session.configure(config)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Answer ``--gradcheck-list``."""
    if not setting(config, "gradcheck_list"):
        return None
    refuse_another_package()
    with as_it_stands():
        from gradcheck.plugin import listing
    sys.stdout.write(listing.listing(config))
    return 0


@pytest.fixture(scope="session", name="gradcheck")
def _gradcheck(pytestconfig: pytest.Config) -> Callable[..., Any]:
    """Check one function in a test: ``gradcheck(fn, *inputs)`` fails unless its gradients are right."""
    try:
        refuse_another_package()
    except pytest.UsageError as error:
        pytest.fail(str(error), pytrace=False)
    with as_it_stands():
        from gradcheck import assert_check
        from gradcheck.plugin.registry import registry_of
    registry_of(pytestconfig)
    return assert_check


def setting(config: pytest.Config, name: str) -> Any:
    """An option, or its ini twin where the option is not given."""
    given = getattr(config.option, name)
    return config.getini(name) if given is None or given is False else given


def is_asked_for(config: pytest.Config) -> bool:
    """Whether this run is to check gradients."""
    asked = any(setting(config, name) for name in ("gradcheck", "gradcheck_only", "gradcheck_replay"))
    return asked or any(SUITE_ID.match(str(argument)) for argument in config.args)


@contextmanager
def as_it_stands() -> Iterator[None]:
    """Import without pytest's rewriting of asserts.

    It takes every module of a distribution with a pytest plugin for test code. Ours are many, and where no bytecode is
    kept, rewriting them doubles the time that a run needs to start.
    """
    rewriters = [finder for finder in sys.meta_path if type(finder).__module__ == "_pytest.assertion.rewrite"]
    for finder in rewriters:
        sys.meta_path.remove(finder)
    try:
        yield
    finally:
        sys.meta_path[:0] = rewriters


def refuse_another_package() -> None:
    """Say in one line what stands in the place of our package, if something does.

    Raises
    ------
    pytest.UsageError
        If a module of the user's own has the same name and comes first on the path.
    """
    found = origin_of_package()
    if not is_ours(found):
        raise pytest.UsageError(
            f"gradcheck: expected the package of pytest-gradcheck, got {found or 'a module without a file'}, "
            "which hides it; rename that module"
        )


def origin_of_package() -> str | None:
    """The file that ``import gradcheck`` loads, or has loaded."""
    loaded = sys.modules.get("gradcheck")
    spec = getattr(loaded, "__spec__", None) if loaded is not None else find_spec("gradcheck")
    return getattr(loaded, "__file__", None) or (spec.origin if spec else None)


def is_ours(origin: str | None) -> bool:
    """Whether that file is in the package beside this module."""
    return origin is not None and Path(origin).resolve().parent == HERE / "gradcheck"
