"""Module: parameters, buffers and submodules under names, with one mode and one `forward`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from refengine.errors import ArgumentError, RefengineError
from refengine.nn.hooks import Called
from refengine.nn.parameter import Buffer, Parameter
from refengine.nn.state import Stateful
from refengine.sharing import share
from refengine.tensor import Tensor

Self = TypeVar("Self", bound="Module")
Held = dict[str, Any]


class ModuleAttributeError(ArgumentError, AttributeError):
    """An attribute that a module has not, or that cannot be set."""


class PartNameError(RefengineError, KeyError):
    """A name that a part cannot have."""

    def __str__(self) -> str:
        return str(self.args[0])


class Module(Called, Stateful):
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
        self._without_hooks()
        self._without_state_hooks()

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
        own = self.__dict__
        for kind, holder, register in PARTS:
            if isinstance(value, kind):
                self._holders()
                self._make_way(own[holder], name)
                extra = (value.persistent,) if isinstance(value, Buffer) else ()
                getattr(self, register)(name, value, *extra)
                return
        if name in own.get("_buffers", ()):
            self.register_buffer(name, value, name not in self._not_saved)
        elif name in own.get("_parameters", ()):
            self.register_parameter(name, value)
        elif name in own.get("_modules", ()):
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
        if not isinstance(name, str):
            raise ModuleAttributeError(f"register: expected a str as name, got {name!r}")
        if "." in name or not name:
            raise PartNameError(f"register: expected a name without dots, got {name!r}")
        if name not in holder and hasattr(self, name):
            raise PartNameError(f"register: {name!r} is an attribute of {type(self).__name__} already; delete it first")
        holder[name] = value

    def _make_way(self, holder: Held, name: str) -> None:
        """Let an assignment take the name from whatever has it."""
        for held in self._holders():
            if held is not holder:
                held.pop(name, None)
        self.__dict__.pop(name, None)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Make `param` a parameter called `name`; None keeps the name for none."""
        holder = self._holders()[0]
        if param is not None and not isinstance(param, Parameter):
            raise ModuleAttributeError(f"{name}: expected a Parameter or None, got {type(param).__name__}")
        self._register(holder, name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Make `tensor` part of the module's state without being a parameter; its state_dict has it if `persistent`."""
        holder = self._holders()[1]
        if tensor is not None and not isinstance(tensor, Tensor):
            raise ModuleAttributeError(f"{name}: expected a Tensor or None, got {type(tensor).__name__}")
        self._register(holder, name, tensor)
        (self._not_saved.discard if persistent else self._not_saved.add)(name)

    def register_module(self, name: str, module: Module | None) -> None:
        """Make `module` a submodule called `name`."""
        holder = self._holders()[2]
        if module is not None and not isinstance(module, Module):
            raise ModuleAttributeError(f"{name}: expected a Module or None, got {type(module).__name__}")
        self._register(holder, name, module)

    def add_module(self, name: str, module: Module | None) -> None:
        """As `register_module`."""
        self.register_module(name, module)

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

    def set_submodule(self, target: str, module: Module) -> None:
        """Put a module in the place with a dotted name, whose owner is there."""
        path, _, name = target.rpartition(".")
        if not name:
            raise PartNameError("set_submodule: expected the name of a submodule, got an empty one")
        setattr(self.get_submodule(path), name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter with a dotted name."""
        return self._part(target, Parameter, "_parameters")  # type: ignore[no-any-return]

    def get_buffer(self, target: str) -> Tensor:
        """The buffer with a dotted name."""
        return self._part(target, Tensor, "_buffers")  # type: ignore[no-any-return]

    def _part(self, target: str, kind: type, holder: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        found = module.__dict__[holder].get(name)
        if not isinstance(found, kind):
            raise ModuleAttributeError(f"{type(module).__name__}: {name!r} in {target!r} is none of its {holder[1:]}")
        return found

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
                parameter.grad.zero_()

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every module below, then on this one; returns the module."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self: Self, fn: Callable[[Tensor], Tensor]) -> Self:
        """Replace the values of all parameters, their gradients and all buffers; parameters keep their identity."""
        for module in self.modules():
            for parameter in module._parameters.values():
                if parameter is not None:
                    grad, parameter.grad = parameter.grad, None
                    parameter.data = fn(parameter.data)
                    parameter.grad = None if grad is None else fn(grad.detach())
            for name, buffer in module._buffers.items():
                module._buffers[name] = None if buffer is None else fn(buffer)
        return self

    def to(self: Self, *args: Any, dtype: Any = None, device: Any = None) -> Self:
        """Convert floating and complex parameters and buffers in place, keeping each Parameter's identity.

        Arguments are those of `Tensor.to`. Integer buffers keep their dtype. Returns the module.
        """

        def convert(tensor: Tensor) -> Tensor:
            target = tensor.to(*args, dtype=dtype, device=device)
            return target if tensor.dtype.is_differentiable else target.to(tensor.dtype)

        return self._apply(convert)

    def type(self: Self, dst_type: Any) -> Self:
        """Convert all parameters and buffers, integers too; returns the module."""
        return self._apply(lambda tensor: tensor.to(dtype=dst_type))

    def share_memory(self: Self) -> Self:
        """Move parameters, their gradients and buffers to where other processes see them; returns the module."""
        grads = (parameter.grad for parameter in self.parameters() if parameter.grad is not None)
        share([*self.parameters(), *grads, *self.buffers()])
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

    # --- printing ---------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What the repr says of the module itself."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = [f"({name}): {module!r}".replace("\n", "\n  ") for name, module in self._modules.items()]
        if not lines and "\n" not in extra:
            return f"{type(self).__name__}({extra})"
        body = "".join(f"\n  {line}" for line in (extra.split("\n") if extra else []) + lines)
        return f"{type(self).__name__}({body}\n)"


PARTS = (
    (Parameter, "_parameters", "register_parameter"),
    (Buffer, "_buffers", "register_buffer"),
    (Module, "_modules", "register_module"),
)
"""What becomes a part of a module when it is set as an attribute."""


def _dotted(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
