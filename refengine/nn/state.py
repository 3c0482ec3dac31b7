"""The state of a module as a dict of tensors, and back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from refengine.autograd.graph import Handle
from refengine.autograd.modes import no_grad
from refengine.errors import ArgumentError, ShapeError
from refengine.nn.parameter import Parameter
from refengine.tensor import Tensor

EXTRA = "_extra_state"
"""PyTorch's name of what `get_extra_state` returns."""


class _Keys(NamedTuple):
    missing_keys: list[str]
    unexpected_keys: list[str]


class IncompatibleKeys(_Keys):
    """What `load_state_dict` found to differ."""

    __slots__ = ()

    def __repr__(self) -> str:
        return super().__repr__() if self.missing_keys or self.unexpected_keys else "<All keys matched successfully>"


class StateDictError(ShapeError):
    """A state that does not fit the module."""


class Stateful:
    """What a module has so that its state can be saved: parameters, persistent buffers, and more if it says so."""

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _not_saved: set[str]
    _state_hooks: dict[str, OrderedDict[int, Callable[..., Any]]]

    def _without_state_hooks(self) -> None:
        kinds = ("save_before", "save_after", "load_before", "load_after")
        self.__dict__["_state_hooks"] = {kind: OrderedDict() for kind in kinds}

    def get_extra_state(self) -> Any:
        """What else is to be saved; a subclass that defines it defines `set_extra_state` too."""
        raise NotImplementedError(f"{type(self).__name__}: define get_extra_state(self)")

    def set_extra_state(self, state: Any) -> None:
        """Take back what `get_extra_state` returned."""
        raise NotImplementedError(f"{type(self).__name__}: define set_extra_state(self, state)")

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call ``hook(module, prefix, keep_vars)`` before the module's state is written."""
        return Handle(self._state_hooks["save_before"], hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` after it was; it may change the dict in place."""
        return Handle(self._state_hooks["save_after"], hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call a hook before the module is compared with a copy of the state to load, which it may change.

        ``hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)``
        """
        return Handle(self._state_hooks["load_before"], hook)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call ``hook(module, incompatible_keys)`` after all was loaded; it may change both lists."""
        return Handle(self._state_hooks["load_after"], hook)

    def state_dict(
        self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> OrderedDict[str, Any]:
        """Every parameter and persistent buffer by dotted name, detached and sharing memory (not, with `keep_vars`).

        Names begin with `prefix`; they are added to `destination` if one is given.
        """
        found: OrderedDict[str, Any] = OrderedDict() if destination is None else destination
        for hook in list(self._state_hooks["save_before"].values()):
            hook(self, prefix, keep_vars)
        for name, value in own_state(self).items():
            found[prefix + name] = value if keep_vars or not isinstance(value, Tensor) else value.detach()
        for name, module in self.__dict__["_modules"].items():
            if module is not None:
                module.state_dict(destination=found, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in list(self._state_hooks["save_after"].values()):
            hook(self, found, prefix, {})
        return found

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy values into the parameters and persistent buffers, or, with `assign`, make them those.

        Raises
        ------
        StateDictError
            Where shapes differ, or, if `strict`, names are missing or unexpected. Nothing is copied then.
        """
        if not isinstance(state_dict, Mapping):
            raise ArgumentError(f"load_state_dict: expected a dict of tensors, got {type(state_dict).__name__}")
        given = dict(state_dict)
        missing: list[str] = []
        unexpected: list[str] = []
        faults: list[str] = []
        modules = list(self.named_modules(remove_duplicate=False))  # type: ignore[attr-defined]
        known: set[str] = set()
        for path, module in modules:
            prefix = f"{path}." if path else ""
            for hook in list(module._state_hooks["load_before"].values()):
                hook(module, given, prefix, {}, strict, missing, unexpected, faults)
            for name, target in own_state(module, to_load=True).items():
                known.add(prefix + name)
                if prefix + name in given:
                    faults += _misfit(prefix + name, target, given[prefix + name])
                else:
                    missing.append(prefix + name)
        unexpected += [name for name in given if name not in known]
        self._refuse(strict, missing, unexpected, faults)
        for path, module in modules:
            _take(module, f"{path}." if path else "", given, assign)
        keys = IncompatibleKeys(missing, unexpected)
        for _, module in modules:
            for hook in list(module._state_hooks["load_after"].values()):
                hook(module, keys)
        return keys

    def _refuse(self, strict: bool, missing: list[str], unexpected: list[str], faults: list[str]) -> None:
        """Raise if there is a fault."""
        if strict:
            faults = [*faults, *(f"missing key {name!r}" for name in missing)]
            faults += [f"unexpected key {name!r}" for name in unexpected]
        if faults:
            raise StateDictError(f"load_state_dict: the state does not fit {type(self).__name__}: {'; '.join(faults)}")


def own_state(module: Any, to_load: bool = False) -> dict[str, Any]:
    """What a module itself, without those below, has to save; with `to_load` no extra state is worked out."""
    held = {**module._parameters, **{n: b for n, b in module._buffers.items() if n not in module._not_saved}}
    found: dict[str, Any] = {name: value for name, value in held.items() if value is not None}
    if type(module).get_extra_state is not Stateful.get_extra_state:
        found[EXTRA] = None if to_load else module.get_extra_state()
    return found


def _misfit(name: str, target: Any, value: Any) -> list[str]:
    """Why a value does not go into its place."""
    if name.split(".")[-1] == EXTRA:
        return []
    if not isinstance(value, Tensor):
        return [f"{name}: expected a Tensor, got {type(value).__name__}"]
    if tuple(target.shape) != tuple(value.shape):
        return [f"size mismatch for {name}: expected {tuple(target.shape)}, got {tuple(value.shape)}"]
    return []


def _take(module: Any, prefix: str, given: Mapping[str, Any], assign: bool) -> None:
    """Put the values that belong to a module itself where they belong."""
    with no_grad():
        for name, target in own_state(module, to_load=True).items():
            if prefix + name not in given:
                continue
            value = given[prefix + name]
            if name == EXTRA:
                module.set_extra_state(value)
            elif not assign:
                target.copy_(value.detach())
            elif name in module._parameters:
                module._parameters[name] = (
                    value if isinstance(value, Parameter) else Parameter(value, requires_grad=target.requires_grad)
                )
            else:
                module._buffers[name] = value
