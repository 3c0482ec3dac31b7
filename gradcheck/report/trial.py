"""Runs a script in this process, to know how it ends before it is given out."""

from __future__ import annotations

import contextlib
import io
import math
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gradcheck.failures import named


@dataclass(frozen=True, slots=True)
class End:
    """How a script ended: its exit code, what it said, and the two values it compared."""

    code: int
    said: str
    found: float | None = None
    expected: float | None = None


def outcome(source: str, library: Any, root: Path) -> End:
    """Run a script here, as if it lay two levels below `root`."""
    said, namespace, code = io.StringIO(), dict[str, Any](), 0
    try:
        with kept(library), contextlib.redirect_stdout(said):
            executed(source, namespace, root)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except Exception as error:
        return End(-1, f"it raised {named(error)}")
    found, expected = namespace.get("found"), namespace.get("expected")
    numbers = (found, expected) if isinstance(found, float) and isinstance(expected, float) else (None, None)
    return End(code, "; ".join(said.getvalue().splitlines()), *numbers)


def near(a: float, b: complex | float, error: float) -> bool:
    """Whether a script's value is the finding's, as far as differences can tell."""
    gap = abs(a - b)
    return bool(gap <= max(1e-4 * abs(b), 10.0 * error)) or (not math.isfinite(a) and not math.isfinite(abs(b)))


def executed(source: str, namespace: dict[str, Any], root: Path) -> None:
    """Execute source as a module of its own, which code inside may look up by its name."""
    module = ModuleType("_stand_alone_script")
    module.__file__ = str(root / ".gradcheck" / "repro" / "script.py")
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, module.__file__, "exec", dont_inherit=True), vars(module))
    finally:
        namespace.update(vars(module))
        del sys.modules[module.__name__]


@contextlib.contextmanager
def kept(library: Any) -> Iterator[None]:
    """The library's default dtype, grad mode and random state, and the import path, as before afterwards."""
    dtype, state, path = library.get_default_dtype(), library.get_rng_state(), list(sys.path)
    try:
        with library.enable_grad(), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            library.set_default_dtype(library.float32)
            yield
    finally:
        library.set_default_dtype(dtype)
        library.set_rng_state(state)
        sys.path[:] = path
