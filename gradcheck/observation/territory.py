"""Which code is the user's own: what lies under the root outside any environment, and the packages named."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

ENGINES = ("torch", "functorch", "refengine", "gradcheck")
"""Packages whose own Functions are never the user's, wherever they lie."""

# Installed packages, and the scripts that we write, which are tried out while users' classes are watched.
_FOREIGN = frozenset({"site-packages", "dist-packages", ".gradcheck"})
_ENVIRONMENT = ("pyvenv.cfg", "conda-meta")


class Territory:
    """The user's own code.

    Parameters
    ----------
    root : Path
        What lies below is the user's, unless it lies in a virtual environment or an installed package there. Where the
        root itself lies does not matter: an environment's directory may hold it.
    packages : tuple of str
        Modules that count as the user's wherever they lie, with all below them.
    """

    def __init__(self, root: Path, packages: tuple[str, ...] = ()) -> None:
        self._roots = _spellings(str(root))
        self._packages = packages
        self._has = lru_cache(maxsize=None)(self._looks_owned)

    def owns(self, function: type) -> bool:
        """Whether a class was written by the user."""
        module = function.__module__ or ""
        if any(module == package or module.startswith(f"{package}.") for package in self._packages):
            return True
        file = source_of(function)
        return file is not None and self.has(file)

    def has(self, file: str) -> bool:
        """Whether a source file is the user's."""
        return self._has(os.path.abspath(file))

    def _looks_owned(self, file: str) -> bool:
        paths = _spellings(file)
        if any(path.startswith(place) for path in paths for place in _places()):
            return False
        return any(_is_below(path, root) for path in paths for root in self._roots)


def source_of(function: type) -> str | None:
    """The file that a class is from: its module's, else that of its forward or backward."""
    file = getattr(sys.modules.get(function.__module__ or ""), "__file__", None)
    if file:
        return str(file)
    return next(_files(function), None)


def _files(function: type) -> Iterator[str]:
    for name in ("forward", "backward", "vjp"):
        method: Any = vars(function).get(name)
        code = getattr(getattr(method, "__func__", method), "__code__", None)
        if code is not None and os.path.isfile(code.co_filename):
            yield code.co_filename


def _spellings(path: str) -> tuple[str, ...]:
    """The path as given and with its links resolved."""
    return tuple(dict.fromkeys((os.path.abspath(path), os.path.realpath(path))))


def _places() -> Iterator[str]:
    """The directories of the engines, in both spellings."""
    for name in ENGINES:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file:
            for path in _spellings(os.path.dirname(file)):
                yield path + os.sep


def _is_below(path: str, root: str) -> bool:
    """Whether a file lies below `root`, with no environment and no installed package on the way."""
    prefix = root if root.endswith(os.sep) else root + os.sep
    if not path.startswith(prefix):
        return False
    here = root
    for part in path[len(prefix) :].split(os.sep)[:-1]:
        here = os.path.join(here, part)
        if part in _FOREIGN or any(os.path.exists(os.path.join(here, mark)) for mark in _ENVIRONMENT):
            return False
    return True
