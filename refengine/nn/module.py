"""Module: parameters, buffers and submodules under names, with one mode and one `forward`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from refengine.autograd.graph import Handle
from refengine.autograd.modes import no_grad
from refengine.errors import ArgumentError, ShapeError
from refengine.nn.parameter import Parameter
from refengine.tensor import Tensor

Self = TypeVar("Self", bound="Module")
Held = dict[str, Any]


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` found to differ."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class ModuleAttributeError(ArgumentError, AttributeError):
    """An attribute that a module has not, or that cannot be set."""


class StateDictError(ShapeError):
    """A state that does not fit the module."""


class Module:
    """Base of all modules. A subclass calls ``super().__init__()``, sets its parts as attributes and defines `forward`.

    Attributes
    ----------
    training : bool
        Whether it is in training mode; see `train` and `eval`.

    Examples
    --------
    >>> import refengine as re
    >>> class Scale(re.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = re.nn.Parameter(re.tensor(2.0))
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> Scale()(re.tensor([1.0, 3.0])).tolist()
    [2.0, 6.0]
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]

    def __init__(self) -> None:
        own = self.__dict__
        own["training"] = True
        own["_parameters"], own["_buffers"], own["_modules"] = {}, {}, {}
        own["_not_saved"] = set()
        own["_forward_hooks"], own["_forward_pre_hooks"] = OrderedDict(), OrderedDict()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the result; every subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__}: define forward(self, ...)")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the hooks and `forward`."""
        for before in list(self._forward_pre_hooks.values()):
            replaced = before(self, args)
            if replaced is not None:
                args = replaced if isinstance(replaced, tuple) else (replaced,)
        result = self.forward(*args, **kwargs)
        for after in list(self._forward_hooks.values()):
            replaced = after(self, args, result)
            result = result if replaced is None else replaced
        return result

    # --- attributes: parts lie in three dicts, so that whoever swaps an entry there swaps it everywhere ------------

    def _holders(self) -> tuple[Held, ...]:
        if "_parameters" not in self.__dict__:
            raise ModuleAttributeError(f"{type(self).__name__}: call super().__init__() before setting parts")
        return (self._parameters, self._buffers, self._modules)

    def __getattr__(self, name: str) -> Any:
        for holder in ("_parameters", "_buffers", "_modules"):
            held = self.__dict__.get(holder, {})
            if name in held:
                return held[name]
        raise ModuleAttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self.register_module(name, value)
        elif name in self.__dict__.get("_buffers", ()):
            self.register_buffer(name, value, name not in self._not_saved)
        elif name in self.__dict__.get("_parameters", ()):
            self.register_parameter(name, value)
        elif name in self.__dict__.get("_modules", ()):
            self.register_module(name, value)
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        for held in self._holders():
            if name in held:
                del held[name]
                self._not_saved.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def _register(self, holder: Held, name: str, value: Any) -> None:
        if "." in name or not name:
            raise ModuleAttributeError(f"register: expected a name without dots, got {name!r}")
        for held in self._holders():
            if held is not holder:
                held.pop(name, None)
        self.__dict__.pop(name, None)
        holder[name] = value

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Make `param` a parameter called `name`; None keeps the name for none."""
        if param is not None and not isinstance(param, Parameter):
            raise ModuleAttributeError(f"{name}: expected a Parameter or None, got {type(param).__name__}")
        self._register(self._holders()[0], name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Make `tensor` part of the module's state without being a parameter; its state_dict has it if `persistent`."""
        if tensor is not None and not isinstance(tensor, Tensor):
            raise ModuleAttributeError(f"{name}: expected a Tensor or None, got {type(tensor).__name__}")
        self._register(self._holders()[1], name, tensor)
        (self._not_saved.discard if persistent else self._not_saved.add)(name)

    def register_module(self, name: str, module: Module | None) -> None:
        """Make `module` a submodule called `name`."""
        if module is not None and not isinstance(module, Module):
            raise ModuleAttributeError(f"{name}: expected a Module or None, got {type(module).__name__}")
        self._register(self._holders()[2], name, module)

    add_module = register_module

    # --- hooks --------------------------------------------------------------------------------------------------------

    def register_forward_pre_hook(self, hook: Callable[[Module, Any], Any]) -> Handle:
        """Call ``hook(module, args)`` before `forward`; what it returns replaces the arguments."""
        return Handle(self._forward_pre_hooks, hook)

    def register_forward_hook(self, hook: Callable[[Module, Any, Any], Any]) -> Handle:
        """Call ``hook(module, args, output)`` after `forward`; what it returns replaces the output."""
        return Handle(self._forward_hooks, hook)

    # --- walking the parts ------------------------------------------------------------------------------------------

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """Walk over the module and all below it, with dotted names; each once unless told otherwise."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            name, module = stack.pop()
            if remove_duplicate and id(module) in seen:
                continue
            seen.add(id(module))
            yield name, module
            below = [(_dotted(name, own), part) for own, part in module._modules.items() if part is not None]
            stack.extend(reversed(below))

    def modules(self) -> Iterator[Module]:
        """Walk over the module and all below it."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The submodules by name."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """The submodules."""
        return (module for _, module in self.named_children())

    def _named(self, holder: str, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = self.named_modules(prefix, remove_duplicate) if recurse else iter([(prefix, self)])
        for path, module in modules:
            for name, value in module.__dict__[holder].items():
                if value is not None and not (remove_duplicate and id(value) in seen):
                    seen.add(id(value))
                    yield _dotted(path, name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters, of submodules too if `recurse`, with dotted names; shared ones once unless told otherwise."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers with dotted names."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module with a dotted name; "" is this one."""
        module: Any = self
        for name in target.split(".") if target else ():
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise ModuleAttributeError(
                    f"get_submodule: {name!r} in {target!r} is no Module but {type(module).__name__}"
                )
        return module  # type: ignore[no-any-return]

    # --- changing all of it -----------------------------------------------------------------------------------------

    def train(self: Self, mode: bool = True) -> Self:
        """Set training mode here and below; returns the module."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self: Self) -> Self:
        """Leave training mode, here and below; returns the module."""
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Set `requires_grad` of every parameter; returns the module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Let go of every parameter's gradient, or fill it with zeros."""
        for parameter in self.parameters():
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad = parameter.grad.detach()
                parameter.grad.mul_(0.0)

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every module below, then on this one; returns the module."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def to(self: Self, *args: Any, dtype: Any = None, device: Any = None) -> Self:
        """Convert floating and complex parameters and buffers in place, keeping each Parameter's identity.

        Arguments are those of `Tensor.to`. Integer buffers keep their dtype. Returns the module.
        """

        def convert(tensor: Tensor) -> Tensor:
            target = tensor.to(*args, dtype=dtype, device=device)
            return target if tensor.dtype.is_differentiable else target.to(tensor.dtype)

        for module in self.modules():
            for parameter in module._parameters.values():
                if parameter is not None:
                    parameter.data = convert(parameter.data)
                    if parameter.grad is not None:
                        parameter.grad = convert(parameter.grad.detach())
            for name, buffer in module._buffers.items():
                module._buffers[name] = None if buffer is None else convert(buffer)
        return self

    def double(self: Self) -> Self:
        """Convert to float64."""
        return self.to(dtype="float64")

    def float(self: Self) -> Self:
        """Convert to float32."""
        return self.to(dtype="float32")

    def half(self: Self) -> Self:
        """Convert to float16."""
        return self.to(dtype="float16")

    def cpu(self: Self) -> Self:
        """Move to the CPU."""
        return self.to(device="cpu")

    # --- state ------------------------------------------------------------------------------------------------------

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> OrderedDict[str, Tensor]:
        """Every parameter and persistent buffer by dotted name, detached and sharing memory (not, with `keep_vars`)."""
        found: OrderedDict[str, Tensor] = OrderedDict()
        for path, module in self.named_modules(prefix.rstrip("."), remove_duplicate=False):
            for name, value in (*module._parameters.items(), *module._buffers.items()):
                if value is not None and name not in module._not_saved:
                    found[_dotted(path, name)] = value if keep_vars else value.detach()
        return found

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True) -> IncompatibleKeys:
        """Copy values into the parameters and persistent buffers.

        Raises
        ------
        StateDictError
            Where shapes differ, or, if `strict`, names are missing or unexpected. Nothing is copied then.
        """
        own = self.state_dict(keep_vars=True)
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        faults = [
            f"size mismatch for {name}: expected {tuple(own[name].shape)}, got {tuple(value.shape)}"
            for name, value in state_dict.items()
            if name in own and own[name].shape != value.shape
        ]
        if strict:
            faults += [f"missing key {name!r}" for name in missing] + [
                f"unexpected key {name!r}" for name in unexpected
            ]
        if faults:
            raise StateDictError(f"load_state_dict: the state does not fit {type(self).__name__}: {'; '.join(faults)}")
        with no_grad():
            for name, target in own.items():
                if name in state_dict:
                    target.copy_(state_dict[name].detach())
        return IncompatibleKeys(missing, unexpected)

    # --- printing ---------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What the repr says of the module itself."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = [f"({name}): {module!r}".replace("\n", "\n  ") for name, module in self._modules.items()]
        if not lines:
            return f"{type(self).__name__}({extra})"
        body = "".join(f"\n  {line}" for line in ([extra] if extra else []) + lines)
        return f"{type(self).__name__}({body}\n)"


def _dotted(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
