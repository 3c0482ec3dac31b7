"""Modules that hold modules or parameters: in a row, in a list, under names."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, TypeVar

from refengine.errors import ArgumentError, DimensionError
from refengine.nn.module import Module
from refengine.nn.parameter import Parameter
from refengine.tensor import Tensor

Self = TypeVar("Self", bound="_Numbered")


class _Numbered(Module):
    """Modules in an order, under their numbers (or under names that they were given)."""

    def append(self: Self, module: Module) -> Self:
        """Put a module at the end; returns the container."""
        self.register_module(str(len(self)), module)
        return self

    def extend(self: Self, modules: Iterable[Module]) -> Self:
        """Put modules at the end; returns the container."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Any:
        """Put a module before the one at `index`."""
        parts: list[Any] = list(self._modules.values())
        if not -len(parts) <= index <= len(parts):
            raise DimensionError(f"{type(self).__name__}: index {index} is out of range for {len(parts)} modules")
        parts.insert(index + len(parts) if index < 0 else index, module)
        self._renumber(parts)
        return self

    def pop(self, key: int | slice) -> Any:
        """Take a module out; returns it."""
        found = self[key]
        del self[key]
        return found

    def _renumber(self, parts: Iterable[Any]) -> None:
        self._modules.clear()
        for number, module in enumerate(parts):
            self.register_module(str(number), module)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return (module for module in self._modules.values() if module is not None)

    def __getitem__(self, index: int | slice) -> Any:
        items = list(self._modules.items())
        return self._some(items[index]) if isinstance(index, slice) else items[_place(self, index)][1]

    def _some(self, items: list[tuple[str, Any]]) -> Any:
        """A container with some of the modules."""
        raise NotImplementedError

    def __setitem__(self, index: int, module: Module) -> None:
        name = list(self._modules)[_place(self, index)]
        setattr(self, name, module)

    def __delitem__(self, index: int | slice) -> None:
        parts: list[Any] = list(self._modules.items())
        removed = parts[index] if isinstance(index, slice) else [parts[_place(self, index)]]
        left = [item for item in parts if item not in removed]
        if all(name.isdigit() for name, _ in parts):
            self._renumber(module for _, module in left)
        else:
            self._modules = dict(left)


class Sequential(_Numbered):
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

    def _some(self, items: list[tuple[str, Any]]) -> Sequential:
        return type(self)(OrderedDict(items))

    def __add__(self, other: Any) -> Sequential:
        if not isinstance(other, Sequential):
            raise ArgumentError(f"Sequential: expected a Sequential to add, got {type(other).__name__}")
        return Sequential(*self, *other)

    def __iadd__(self, other: Any) -> Sequential:
        if not isinstance(other, Sequential):
            raise ArgumentError(f"Sequential: expected a Sequential to add, got {type(other).__name__}")
        return self.extend(other)


class ModuleList(_Numbered):
    """A list of modules that are all counted as parts. It has no `forward`."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())

    def insert(self, index: int, module: Module) -> None:
        """Put a module before the one at `index`."""
        super().insert(index, module)

    def _some(self, items: list[tuple[str, Any]]) -> ModuleList:
        return type(self)(module for _, module in items)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def __iadd__(self, modules: Iterable[Module]) -> ModuleList:
        return self.extend(modules)

    def __repr__(self) -> str:
        if not len(self):
            return f"{type(self).__name__}()"
        lines, start = [], 0
        for text, same in groupby(map(repr, self)):
            count = len(list(same))
            label = f"({start})" if count == 1 else f"({start}-{start + count - 1}): {count} x"
            lines.append(f"{label}{':' if count == 1 else ''} {text}".replace("\n", "\n  "))
            start += count
        body = "".join(f"\n  {line}" for line in lines)
        return f"{type(self).__name__}({body}\n)"


class ModuleDict(Module):
    """Modules under names, in the order of adding, that are all counted as parts. It has no `forward`."""

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def update(self, modules: Any) -> None:
        """Add modules from a dict, or from (name, module) pairs."""
        for name, module in _pairs("ModuleDict", modules):
            self[name] = module

    def clear(self) -> None:
        """Take out all."""
        self._modules.clear()

    def pop(self, key: str) -> Any:
        """Take a module out; returns it."""
        found = self[key]
        del self[key]
        return found

    def keys(self) -> Any:
        """The names."""
        return self._modules.keys()

    def items(self) -> Any:
        """The (name, module) pairs."""
        return self._modules.items()

    def values(self) -> Any:
        """The modules."""
        return self._modules.values()

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.register_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules


class ParameterList(Module):
    """A list of parameters that are all counted as parts; tensors become parameters, anything else stays as it is."""

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._size = 0
        self.extend(values or ())

    def append(self, value: Any) -> ParameterList:
        """Put a value at the end; returns the list."""
        self._size += 1
        self[self._size - 1] = value
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Put values at the end; returns the list."""
        if isinstance(values, Tensor):
            raise ArgumentError("ParameterList: expected an iterable of values, got a Tensor; use append")
        for value in list(values):
            self.append(value)
        return self

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return (self[number] for number in range(self._size))

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(self[number] for number in range(*index.indices(self._size)))
        return getattr(self, str(_place(self, index)))

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, str(_place(self, index)), as_parameter(value))

    def __iadd__(self, values: Iterable[Any]) -> ParameterList:
        return self.extend(values)

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.isdigit()]

    def extra_repr(self) -> str:
        return "\n".join(f"  ({number}): {_described(value)}" for number, value in enumerate(self))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise ParameterContainerError("ParameterList: it has parameters and computes nothing")


class ParameterDict(Module):
    """Parameters under names, in the order in which they were added; tensors become parameters, the rest stays."""

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self._keys: dict[str, None] = {}
        if parameters is not None:
            self.update(parameters)

    def update(self, parameters: Any) -> None:
        """Add values from a dict, or from (name, value) pairs."""
        for name, value in _pairs("ParameterDict", parameters):
            self[name] = value

    def keys(self) -> Any:
        """The names."""
        return self._keys.keys()

    def items(self) -> Any:
        """The (name, value) pairs."""
        return [(key, self[key]) for key in self._keys]

    def values(self) -> Any:
        """The values."""
        return [self[key] for key in self._keys]

    def get(self, key: str, default: Any = None) -> Any:
        """The value of that name, or the default."""
        return getattr(self, key) if key in self._keys else default

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The value of that name, which becomes the default if there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: str) -> Any:
        """Take a value out; returns it."""
        found = self[key]
        del self[key]
        return found

    def clear(self) -> None:
        """Take out all."""
        for key in list(self._keys):
            del self[key]

    def __getitem__(self, key: str) -> Any:
        if key not in self._keys:
            raise KeyError(key)
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise ArgumentError(f"ParameterDict: expected a str as name, got {key!r}")
        if key not in self._keys and hasattr(self, key):
            raise KeyError(f"ParameterDict: {key!r} is an attribute of every ParameterDict; use another name")
        setattr(self, key, as_parameter(value))
        self._keys[key] = None

    def __delitem__(self, key: str) -> None:
        del self._keys[key]
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def extra_repr(self) -> str:
        return "\n".join(f"  ({key}): {_described(value)}" for key, value in self.items())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise ParameterContainerError("ParameterDict: it has parameters and computes nothing")


class ParameterContainerError(ArgumentError, RuntimeError):
    """A call of what cannot be called."""


def as_parameter(value: Any) -> Any:
    """A tensor as a parameter; anything else as it is."""
    return Parameter(value) if isinstance(value, Tensor) and not isinstance(value, Parameter) else value


def _described(value: Any) -> str:
    """A value in the repr of a container."""
    if not isinstance(value, Tensor):
        return f"Object of type: {type(value).__name__}"
    size = "x".join(map(str, value.shape))
    return f"{type(value).__name__} containing: [{value.dtype!r} of size {size}]"


def _pairs(owner: str, values: Any) -> Iterator[tuple[str, Any]]:
    """(name, value) pairs from a dict, another container, or pairs."""
    if isinstance(values, (Mapping, ModuleDict, ParameterDict)):
        yield from values.items()
        return
    try:
        pairs = [tuple(pair) for pair in values]
    except TypeError:
        raise ArgumentError(f"{owner}: expected a dict or (name, value) pairs, got {type(values).__name__}") from None
    if any(len(pair) != 2 for pair in pairs):
        raise ArgumentError(f"{owner}: expected (name, value) pairs")
    yield from pairs


def _place(owner: Any, index: int) -> int:
    """A place counted from the front."""
    if not hasattr(index, "__index__"):
        raise ArgumentError(f"{type(owner).__name__}: expected an int or a slice, got {index!r}")
    index = index.__index__()
    if not -len(owner) <= index < len(owner):
        raise DimensionError(f"{type(owner).__name__}: index {index} is out of range for {len(owner)} entries")
    return index % len(owner)
