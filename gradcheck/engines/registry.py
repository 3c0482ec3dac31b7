"""Which engines there are: explicit registration, construction by name, recognition by a tensor."""

from __future__ import annotations

import difflib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gradcheck.engines.base import Engine
from gradcheck.failures import UsageError

Factory = Callable[[str], Engine]


@dataclass(frozen=True, slots=True)
class Registration:
    """One engine: `library` is the module whose presence in `sys.modules` means that it is in use."""

    name: str
    library: str
    factory: Factory = field(repr=False)
    install: str = ""


@dataclass(slots=True)
class Engines:
    """The engines known to a run."""

    _by_name: dict[str, Registration] = field(default_factory=dict)

    def register(self, name: str, library: str, factory: Factory, install: str = "") -> None:
        """Add an engine; a second one of the same name raises.

        Parameters
        ----------
        name : str
            As users write it ("torch").
        library : str
            The top-level module that it adapts.
        factory : callable
            Takes a device, returns the adapter; may import the library.
        install : str
            The command that installs the library, for the message when it is missing.
        """
        if name in self._by_name:
            raise UsageError(f"engine: {name!r} is registered already")
        self._by_name[name] = Registration(name, library, factory, install or f"pip install {library}")

    def unregister(self, name: str) -> None:
        """Forget an engine that the run added."""
        del self._by_name[name]

    def names(self) -> tuple[str, ...]:
        """The registered names, in order of registration."""
        return tuple(self._by_name)

    def engine(self, name: str, device: str = "cpu") -> Engine:
        """The adapter called `name` on `device`.

        Raises
        ------
        UsageError
            If there is no such engine (with the nearest names), or its library is not installed (with the pip line).
        """
        known = self._by_name.get(name)
        if known is None:
            near = difflib.get_close_matches(name, self._by_name, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(self._by_name)}"
            raise UsageError(f"engine: unknown {name!r}; {hint}")
        missing = self.missing(name)
        if missing:
            raise UsageError(f"engine: {name!r} needs {known.library}, which is not installed; {missing}")
        return known.factory(device)

    def missing(self, name: str) -> str:
        """The command that installs the library of a registered engine; "" where it is installed."""
        known = self._by_name[name]
        is_here = known.library in sys.modules or importlib.util.find_spec(known.library) is not None
        return "" if is_here else known.install

    def recognise(self, values: Iterable[object]) -> Engine | None:
        """The engine whose tensors are among `values`, on their device; None where there is no tensor.

        Only libraries that are imported already are asked: a tensor cannot exist without its library.

        Raises
        ------
        UsageError
            If the tensors belong to several engines or devices.
        """
        loaded = [known.factory("cpu") for known in self._by_name.values() if known.library in sys.modules]
        found = {
            (adapter.name, adapter.device_of(value))
            for value in values
            for adapter in loaded
            if adapter.is_tensor(value)
        }
        if len(found) > 1:
            listed = ", ".join(sorted(f"{name} on {device}" for name, device in found))
            raise UsageError(f"inputs: expected tensors of one engine on one device, got {listed}")
        return self.engine(*found.pop()) if found else None


def _reference(device: str) -> Engine:
    from gradcheck.engines.refengine import ReferenceEngine

    return ReferenceEngine(device)


def _torch(device: str) -> Engine:
    from gradcheck.engines.torch import TorchEngine

    return TorchEngine(device)


def _jax(device: str) -> Engine:
    from gradcheck.engines.jax import JaxEngine

    return JaxEngine(device)


def default_engines() -> Engines:
    """The engines that come with the package."""
    engines = Engines()
    engines.register("refengine", "refengine", _reference)
    engines.register("torch", "torch", _torch, "pip install 'pytest-gradcheck[torch]'")
    engines.register("jax", "jax", _jax, "pip install 'pytest-gradcheck[jax]'")
    return engines


ENGINES = default_engines()
"""The engines of this process; a conftest adds its own through the plugin's registration hook."""

register = ENGINES.register
names = ENGINES.names
engine = ENGINES.engine
recognise = ENGINES.recognise
