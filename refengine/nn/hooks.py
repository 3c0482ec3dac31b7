"""The call of a module, and the hooks around its forward and its backward."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from refengine.autograd.function import Function
from refengine.autograd.graph import Handle
from refengine.errors import AutogradError
from refengine.state import state
from refengine.tensor import Tensor


@dataclass(frozen=True, slots=True)
class Hook:
    """A hook around forward: what to call, whether with keyword arguments too, and whether even if forward raised."""

    call: Callable[..., Any]
    with_kwargs: bool = False
    always: bool = False

    def before(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
        """The arguments that forward gets after this hook."""
        if self.with_kwargs:
            found = self.call(module, args, kwargs)
            if found is None:
                return args, kwargs
            if not (isinstance(found, tuple) and len(found) == 2):
                raise AutogradError(f"forward pre-hook: expected None or a tuple (args, kwargs), got {found!r}")
            return found
        found = self.call(module, args)
        return args if found is None else found if isinstance(found, tuple) else (found,), kwargs

    def after(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
        """The result after this hook."""
        given = (module, args, kwargs, result) if self.with_kwargs else (module, args, result)
        found = self.call(*given)
        return result if found is None else found


class Called:
    """What a module has so that it can be called: `forward`, and hooks around it."""

    _forward_pre_hooks: OrderedDict[int, Hook]
    _forward_hooks: OrderedDict[int, Hook]
    _backward_pre_hooks: OrderedDict[int, Callable[..., Any]]
    _backward_hooks: OrderedDict[int, Callable[..., Any]]

    def _without_hooks(self) -> None:
        """Begin with no hooks."""
        for name in ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks"):
            self.__dict__[name] = OrderedDict()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the result; every subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__}: define forward(self, ...)")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the hooks and `forward`."""
        own = self.__dict__
        if not (
            own["_forward_hooks"] or own["_forward_pre_hooks"] or own["_backward_hooks"] or own["_backward_pre_hooks"]
        ):
            return self.forward(*args, **kwargs)
        waiting = {key: hook for key, hook in self._forward_hooks.items() if hook.always}
        try:
            return self._call_with_hooks(args, kwargs, waiting)
        except Exception:
            for hook in waiting.values():
                hook.after(self, args, kwargs, None)
            raise

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any], waiting: dict[int, Hook]) -> Any:
        for hook in list(self._forward_pre_hooks.values()):
            args, kwargs = hook.before(self, args, kwargs)
        backward = None
        if (self._backward_hooks or self._backward_pre_hooks) and state.grad_enabled:
            backward = BackwardCall(self, [*self._backward_pre_hooks.values()], [*self._backward_hooks.values()])
            args = backward.enter(args)
        result = self.forward(*args, **kwargs)
        for key, hook in list(self._forward_hooks.items()):
            waiting.pop(key, None)
            result = hook.after(self, args, kwargs, result)
        return result if backward is None else backward.leave(result)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> Handle:
        """Call ``hook(module, args)`` before `forward`; what it returns replaces the arguments.

        `with_kwargs`: ``hook(module, args, kwargs)``, which returns None or (args, kwargs). `prepend`: before others.
        """
        return _added(self._forward_pre_hooks, Hook(hook, with_kwargs), prepend)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> Handle:
        """Call ``hook(module, args, output)`` after `forward`; what it returns replaces the output.

        `with_kwargs`: ``hook(module, args, kwargs, output)``. `always_call`: with None as output if forward raised.
        """
        return _added(self._forward_hooks, Hook(hook, with_kwargs, always_call), prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> Handle:
        """Call ``hook(module, grad_output)`` when the gradients of all outputs are there; it may return others."""
        return _added(self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> Handle:
        """Call ``hook(module, grad_input, grad_output)`` when those of the positional inputs are; it may return others.

        Both are tuples, with None for what is no tensor or has no gradient. The module works on copies of its inputs,
        so that what it does in place does not reach them.
        """
        return _added(self._backward_hooks, hook, prepend)


def _added(hooks: OrderedDict[int, Any], hook: Any, prepend: bool) -> Handle:
    """Add a hook last, or first."""
    handle = Handle(hooks, hook)
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


class _Passage(Function):
    """Copies of tensors, made by one node, which sees all their gradients at once."""

    @staticmethod
    def forward(ctx: Any, *tensors: Any) -> tuple[Any, ...]:
        ctx.set_materialize_grads(False)
        return tuple(tensor.clone() for tensor in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        return grads


class BackwardCall:
    """The backward hooks of one call of a module: one node before it, one behind it, and what is told between them."""

    def __init__(self, module: Any, before: Sequence[Callable[..., Any]], after: Sequence[Callable[..., Any]]) -> None:
        self.module, self.before, self.after = module, before, after
        self.inputs, self.has_node = 0, False
        self.grad_outputs: tuple[Any, ...] | None = None

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, behind a node that tells the gradients of all."""
        self.inputs = len(args)
        passed, wanted, node = _passed(args)
        if node is not None and self.after:
            self.has_node = True
            node.register_hook(lambda grads, _: self._leave_backward(wanted, grads))
        return passed if self.has_node else args

    def leave(self, result: Any) -> Any:
        """The result, or a tuple of results, before a node that is told the gradients of all."""
        outputs = result if isinstance(result, tuple) else (result,)
        passed, wanted, node = _passed(outputs)
        if node is None:
            return result
        node.register_prehook(lambda grads: self._enter_backward(len(outputs), wanted, grads))
        if not isinstance(result, tuple):
            return passed[0]
        return type(result)(*passed) if hasattr(result, "_fields") else passed

    def _enter_backward(self, count: int, wanted: list[int], grads: Sequence[Any]) -> tuple[Any, ...]:
        """The gradients of the outputs are there."""
        full = _spread(count, wanted, grads)
        for hook in self.before:
            full = _replaced("pre-hook", full, hook(self.module, full))
        self.grad_outputs = full
        if not self.has_node:
            for hook in self.after:
                if hook(self.module, (None,) * self.inputs, full) is not None:
                    raise AutogradError("backward hook: no input requires grad, so there is nothing to replace")
        return tuple(full[i] for i in wanted)

    def _leave_backward(self, wanted: list[int], grads: Sequence[Any]) -> tuple[Any, ...]:
        """The gradients of the inputs are there."""
        if self.grad_outputs is None:  # a gradient that enters the module inside, as those of gradients do
            return tuple(grads)
        full = _spread(self.inputs, wanted, grads)
        for hook in self.after:
            full = _replaced("hook", full, hook(self.module, full, self.grad_outputs))
        self.grad_outputs = None
        return tuple(full[i] for i in wanted)


def _passed(values: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[int], Any]:
    """The values with those that require grad copied by one node, which ones these are, and the node (or None)."""
    wanted = [i for i, value in enumerate(values) if isinstance(value, Tensor) and value.requires_grad]
    if not wanted or not state.grad_enabled:
        return values, [], None
    copies = _Passage.apply(*(values[i] for i in wanted))
    made = dict(zip(wanted, copies, strict=True))
    return tuple(made.get(i, value) for i, value in enumerate(values)), wanted, copies[0].grad_fn


def _spread(count: int, wanted: list[int], grads: Sequence[Any]) -> tuple[Any, ...]:
    """The gradients in the places of what they belong to."""
    known = dict(zip(wanted, grads, strict=True))
    return tuple(known.get(i) for i in range(count))


def _replaced(what: str, now: tuple[Any, ...], found: Any) -> tuple[Any, ...]:
    """The gradients after a hook."""
    if found is None:
        return now
    other: tuple[Any, ...] = found if isinstance(found, tuple) else (found,)
    if len(other) != len(now):
        raise AutogradError(f"backward {what}: expected {len(now)} gradients or None, got {len(other)}")
    return other
