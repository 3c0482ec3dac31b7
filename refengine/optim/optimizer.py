"""What all optimizers have: groups of parameters with options, a state for each parameter, steps and hooks."""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any

from refengine.autograd.graph import Handle
from refengine.autograd.modes import enable_grad, no_grad
from refengine.errors import ArgumentError, RefengineError, UnsupportedError
from refengine.tensor import Tensor

Group = dict[str, Any]


class OptimizerError(RefengineError, ValueError):
    """Options or a state that an optimizer cannot have."""


class Optimizer:
    """Base of all optimizers. A subclass gives the defaults to ``super().__init__`` and defines `update`.

    Parameters
    ----------
    params : iterable
        Tensors, or (name, tensor) pairs, or dicts: groups with "params" and options of their own.
    defaults : dict
        The options of a group that does not say otherwise.

    Attributes
    ----------
    param_groups : list of dict
        The groups with all their options.
    state : dict
        What is remembered of each parameter.

    Raises
    ------
    OptimizerError
        If there is no parameter, one is no leaf, or one stands in two groups.
    ArgumentError
        If something is no tensor.
    """

    def __init__(self, params: Any, defaults: Group) -> None:
        if isinstance(params, Tensor):
            raise ArgumentError(
                "optimizer: expected an iterable of tensors or of dicts, got a Tensor; put it in a list"
            )
        self.defaults = defaults
        self.state: defaultdict[Tensor, Group] = defaultdict(dict)
        self.param_groups: list[Group] = []
        self._pre_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()
        self._post_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()
        given = list(params)
        if not given:
            raise OptimizerError("optimizer: expected at least one parameter, got an empty list")
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters with options of their own, such as layers that are to be trained from now on."""
        if not isinstance(param_group, dict):
            raise ArgumentError(f"add_param_group: expected a dict, got {type(param_group).__name__}")
        group = dict(param_group)
        found = _listed(group["params"])
        names = [one[0] for one in found if isinstance(one, tuple)]
        group["params"] = [one[1] if isinstance(one, tuple) else one for one in found]
        if names:
            group["param_names"] = names
        if len(names) not in (0, len(found)) or any(bool(names) != ("param_names" in g) for g in self.param_groups):
            raise OptimizerError("optimizer: expected all parameters with names, or none")
        for tensor in group["params"]:
            _check(tensor)
        for name, default in self.defaults.items():
            group.setdefault(name, default)
        self._check_distinct(group["params"])
        self.param_groups.append(group)

    def _check_distinct(self, tensors: list[Tensor]) -> None:
        """Raise where a parameter stands in two groups, warn where twice in one."""
        here = {id(tensor) for tensor in tensors}
        if len(here) != len(tensors):
            warnings.warn("optimizer: a parameter group holds the same parameter twice", UserWarning, stacklevel=4)
        if any(id(tensor) in here for group in self.param_groups for tensor in group["params"]):
            raise OptimizerError("optimizer: some parameters appear in more than one parameter group")

    # --- steps --------------------------------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every parameter that has a gradient.

        Parameters
        ----------
        closure : callable, optional
            Works out the loss and its gradients anew; its result is returned.
        """
        for before in list(self._pre_hooks.values()):
            before(self, () if closure is None else (closure,), {})
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                for param in group["params"]:
                    if param.grad is not None:
                        self._update(param, group)
        for after in list(self._post_hooks.values()):
            after(self, () if closure is None else (closure,), {})
        return loss

    def _update(self, param: Tensor, group: Group) -> None:
        """Move one parameter; what is remembered of it stays only if it is something."""
        state = self.state.get(param, {})
        self.update(param, param.grad, state, group)
        if state:
            self.state[param] = state

    def update(self, param: Tensor, grad: Any, state: Group, group: Group) -> None:
        """Move one parameter along its gradient; every subclass defines it, or `step`. Nothing is recorded."""
        raise NotImplementedError(f"{type(self).__name__}: define update(self, param, grad, state, group)")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Let go of every parameter's gradient, or fill it with zeros."""
        for param in chain.from_iterable(group["params"] for group in self.param_groups):
            if param.grad is not None:
                param.grad = None if set_to_none else param.grad.detach()
            if param.grad is not None:
                param.grad.zero_()

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call ``hook(optimizer, args, kwargs)`` before each step."""
        return Handle(self._pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call ``hook(optimizer, args, kwargs)`` after each step."""
        return Handle(self._post_hooks, hook)

    # --- state --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes: states by the number of their parameter, groups with numbers for "params"."""
        numbers = {id(tensor): number for number, tensor in enumerate(self._all())}
        groups = [group | {"params": [numbers[id(one)] for one in group["params"]]} for group in self.param_groups]
        state = {numbers.get(id(key), key): value for key, value in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over options and states; floating states get the dtype and device of their parameter.

        Raises
        ------
        OptimizerError
            If groups or numbers of parameters differ.
        """
        saved = [dict(group) for group in state_dict["param_groups"]]
        if len(saved) != len(self.param_groups):
            raise OptimizerError(
                f"load_state_dict: expected {len(self.param_groups)} parameter groups, got {len(saved)}"
            )
        for number, (mine, other) in enumerate(zip(self.param_groups, saved, strict=True)):
            if len(mine["params"]) != len(other["params"]):
                raise OptimizerError(
                    f"load_state_dict: expected {len(mine['params'])} parameters in group {number}, "
                    f"got {len(other['params'])}"
                )
        numbers = chain.from_iterable(group["params"] for group in saved)
        params = dict(zip(numbers, self._all(), strict=True))
        self.state = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in params:
                self.state[params[key]] = {name: _adapted(name, one, params[key]) for name, one in value.items()}
            else:
                self.state[key] = copy.deepcopy(value)
        self.param_groups = [
            copy.deepcopy({name: value for name, value in other.items() if name != "params"})
            | {"params": mine["params"]}
            for mine, other in zip(self.param_groups, saved, strict=True)
        ]

    def _all(self) -> list[Tensor]:
        """The parameters of all groups in order."""
        return [tensor for group in self.param_groups for tensor in group["params"]]

    def __deepcopy__(self, memo: dict[int, Any]) -> Optimizer:
        result = type(self).__new__(type(self))
        memo[id(self)] = result
        for name, value in self.__dict__.items():
            if name == "state":  # keys are copied as the groups' parameters are
                value = defaultdict(dict, {copy.deepcopy(k, memo): copy.deepcopy(v, memo) for k, v in value.items()})
            result.__dict__[name] = value if name == "state" else copy.deepcopy(value, memo)
        return result

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join(lines) + "\n)"


def _listed(params: Any) -> list[Any]:
    """The parameters of a group."""
    if isinstance(params, Tensor):
        return [params]
    if isinstance(params, (set, frozenset)):
        raise ArgumentError("optimizer: expected parameters in an order, got a set; use a list")
    return list(params)


def _check(tensor: Any) -> None:
    if not isinstance(tensor, Tensor):
        raise ArgumentError(f"optimizer: expected Tensors, got {type(tensor).__name__}")
    if not tensor.is_leaf and not tensor.retains_grad:
        raise OptimizerError("optimizer: can't optimize a non-leaf Tensor; optimize what it was computed from")


def _adapted(name: str, value: Any, param: Tensor) -> Any:
    """A saved value as the state of `param`; the count of steps keeps its dtype."""
    if not isinstance(value, Tensor):
        return copy.deepcopy(value)
    result = value.detach().clone()
    floating = param.is_floating_point() and name != "step"
    return result.to(dtype=param.dtype, device=param.device) if floating else result


def check_range(owner: str, is_right: Callable[[Any], bool], **options: Any) -> None:
    """Raise where an option is out of its range."""
    for name, value in options.items():
        number = value.item() if isinstance(value, Tensor) else value
        if not is_right(number):
            raise OptimizerError(f"{owner}: invalid {name}: {value}")


def speed_options(**asked: Any) -> Group:
    """PyTorch's options that choose an implementation and not the numbers: kept for the state, there is one here.

    Raises
    ------
    UnsupportedError
        If steps are to be recorded, captured or fused.
    """
    for name, value in asked.items():
        if value and name != "foreach":
            raise UnsupportedError(f"optimizer: {name}=True is not offered; leave it out")
    return asked


def values(params: Iterable[Any]) -> list[Any]:
    """The numbers behind options that may be tensors."""
    return [one.item() if isinstance(one, Tensor) else one for one in params]
