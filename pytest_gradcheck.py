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
    "gradcheck(...): this test is about gradients; --gradcheck-only keeps it",
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
    ("gradcheck-list", {"action": "store_true"}, "bool", "list engines, claims and ops, then exit"),
)
NOTHING: dict[str, Any] = {"bool": False, "args": [], "string": None, "int": None}


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
    parser.addini(
        "gradcheck_corpus", "directory of kept cases that --gradcheck-replay looks into", default="tests/corpus"
    )


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hook of registration."""
    pluginmanager.add_hookspecs(Hooks)


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
    loaded = sys.modules.get("gradcheck")
    spec = getattr(loaded, "__spec__", None) if loaded is not None else find_spec("gradcheck")
    origin = getattr(loaded, "__file__", None) or (spec.origin if spec else None)
    if origin is None or Path(origin).resolve().parent != HERE / "gradcheck":
        found = origin or "a module without a file"
        raise pytest.UsageError(
            f"gradcheck: expected the package of pytest-gradcheck, got {found}, which hides it; rename that module"
        )
