"""Modules that hold modules."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

from refengine.errors import ArgumentError, DimensionError
from refengine.nn.module import Module


class Sequential(Module):
    """Applies modules one after the other. They are given one by one, or under names as one OrderedDict."""

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        named = modules[0] if len(modules) == 1 and isinstance(modules[0], OrderedDict) else None
        for name, module in named.items() if named is not None else enumerate(modules):
            self.register_module(str(name), module)

    def forward(self, x: Any) -> Any:
        """Feed each module with what the one before gave."""
        for module in self:
            x = module(x)
        return x

    def append(self, module: Module) -> Sequential:
        """Put a module at the end; returns the container."""
        self.register_module(str(len(self)), module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return (module for module in self._modules.values() if module is not None)

    def __getitem__(self, index: int | slice) -> Module:
        items = list(self._modules.items())
        if isinstance(index, slice):
            return type(self)(OrderedDict(items[index]))
        return _at(items, index, type(self).__name__)


class ModuleList(Module):
    """A list of modules that are all counted as parts."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> ModuleList:
        """Put a module at the end; returns the list."""
        self.register_module(str(len(self)), module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return (module for module in self._modules.values() if module is not None)

    def __getitem__(self, index: int) -> Module:
        return _at(list(self._modules.items()), index, type(self).__name__)


def _at(items: list[tuple[str, Module | None]], index: int, owner: str) -> Module:
    """The module at a place, counted from the end where negative."""
    if not isinstance(index, int):
        raise ArgumentError(f"{owner}: expected an int or a slice, got {index!r} ({type(index).__name__})")
    if not -len(items) <= index < len(items) or items[index][1] is None:
        raise DimensionError(f"{owner}: index {index} is out of range for {len(items)} modules")
    return items[index][1]  # type: ignore[return-value]
