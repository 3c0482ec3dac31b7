"""Being called once a module has been imported by whoever wants it, without importing it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class Awaited:
    """Calls back after a module's body has run: at once if it has, else when somebody imports it.

    A finder at the front of ``sys.meta_path``. It asks the finders behind it, and lets the loader found for that one
    module call back.

    Parameters
    ----------
    name : str
        The module's full name.
    callback : callable
        Takes the module; called once at most.
    """

    def __init__(self, name: str, callback: Callable[[ModuleType], None]) -> None:
        self._name = name
        self._callback = callback

    def start(self) -> None:
        """Call back now, or wait for the import."""
        module = sys.modules.get(self._name)
        if module is not None:
            self._callback(module)
        else:
            sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """Wait no longer."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        """The spec that the other finders give for the awaited module; None for all others."""
        if name != self._name or self not in sys.meta_path:
            return None
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            find = getattr(finder, "find_spec", None)
            if find is None:
                continue
            spec: ModuleSpec | None = find(name, path, target)
            if spec is not None:
                self._watch(spec.loader)
                return spec
        return None

    def _watch(self, loader: Any) -> None:
        """Put a callback behind the loader's ``exec_module``, on this loader and for one import."""
        execute = getattr(loader, "exec_module", None)
        if execute is None or not hasattr(loader, "__dict__"):
            return

        def exec_module(module: ModuleType) -> None:
            execute(module)
            if module.__name__ == self._name and self in sys.meta_path:
                vars(loader).pop("exec_module", None)
                self.stop()
                self._callback(module)

        loader.exec_module = exec_module
