"""User-defined functions: a forward and a backward written by hand, recorded as one node."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from refengine.autograd import forward_ad
from refengine.autograd.graph import BaseNode, Output, edge_of, numbers
from refengine.autograd.inplace import rebase, refuse_forbidden
from refengine.autograd.modes import no_grad
from refengine.errors import ArgumentError, AutogradError, FreedGraphError, StaleSaveError, UnsupportedError
from refengine.state import state
from refengine.tensor import Tensor


class FunctionNode(BaseNode):
    """The context of one call, `ctx`, and its node in the graph.

    Attributes
    ----------
    needs_input_grad : tuple of bool
        For each argument of `apply`, whether it is a tensor that requires grad.
    """

    __slots__ = (
        "__dict__",
        "_dirty",
        "_forward_saved",
        "_freed",
        "_inputs",
        "_materialize",
        "_nondifferentiable",
        "_outputs",
        "_saved",
        "needs_input_grad",
        "outputs",
    )

    _forward_cls: ClassVar[type[Function]]

    def __init__(self, args: Sequence[Any]) -> None:
        self.hooks = None
        self.targets = ()
        self.seq = 0
        self.outputs = 0
        self.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        self._saved: tuple[Any, ...] = ()
        self._forward_saved: tuple[Tensor | None, ...] = ()
        self._dirty: tuple[Tensor, ...] = ()
        self._nondifferentiable: tuple[Tensor, ...] = ()
        self._materialize = True
        self._freed = False
        self._inputs = tuple((i, a.array.dtype) for i, a in enumerate(args) if isinstance(a, Tensor))
        self._outputs: tuple[Any, ...] = ()

    # --- what forward may call --------------------------------------------------------------------------------------

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for the backward pass; each is version-checked when it is read there."""
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, Tensor):
                raise ArgumentError(
                    f"save_for_backward: expected tensors or None, got {type(tensor).__name__}; keep other "
                    "values as attributes of ctx"
                )
        self._saved = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for `jvp`."""
        self._forward_saved = tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Say that forward wrote to these inputs in place and returns them."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say that these outputs have no gradient."""
        self._nondifferentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether an output that got no gradient gives backward zeros (the default) or None."""
        self._materialize = bool(value)

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What `save_for_backward` kept, checked.

        Raises
        ------
        StaleSaveError
            If one was modified in place since.
        FreedGraphError
            If a backward pass has let them go.
        """
        if not self._outputs and not self._freed:
            return self._saved if self._saved else self._forward_saved
        if self._freed:
            raise FreedGraphError(
                f"{self.name()}: trying to access saved tensors after they have been freed; pass "
                "retain_graph=True to the first backward"
            )
        return tuple(self._unpack(entry) for entry in self._saved)

    def _unpack(self, entry: Any) -> Tensor | None:
        if entry is None:
            return None
        tensor, version, number = entry
        storage = tensor.storage
        if storage.version != version:
            raise StaleSaveError(self.name(), storage.version, version, tuple(tensor.shape))
        if number < 0:
            return tensor  # type: ignore[no-any-return]
        result = Tensor(tensor.array, storage)
        result.node, result.tracked, result.extra = Output(self, number), True, tensor.extra
        return result

    # --- the node -----------------------------------------------------------------------------------------------------

    def name(self) -> str:
        """The Function's name and "Backward"."""
        return type(self).__name__

    def shape_of(self, number: int) -> tuple[int, ...]:
        """The shape of an output."""
        return tuple(self._outputs[number][0])

    def pull(self, grads: list[Any], xp: Any, create_graph: bool, keep: bool) -> tuple[Any, ...]:
        """Call the user's backward."""
        tensors: list[Tensor | None] = []
        for grad, (shape, dtype, backend) in zip(grads, self._outputs, strict=True):
            if grad is None:
                tensors.append(Tensor(backend.full(shape, 0, dtype)) if self._materialize else None)
            else:
                tensors.append(grad if isinstance(grad, Tensor) else Tensor(backend.wrap(grad)))
        results = self._forward_cls.backward(self, *tensors)
        found = self._checked(results if isinstance(results, tuple) else (results,), create_graph)
        if not keep and self._saved:
            self._saved, self._freed = (), True
        return found

    def _checked(self, results: tuple[Any, ...], create_graph: bool) -> tuple[Any, ...]:
        """One gradient for each tensor argument, of its dtype."""
        count = len(self.needs_input_grad)
        if len(results) < count or any(r is not None for r in results[count:]):
            raise AutogradError(
                f"{self.name()}: backward returned {len(results)} gradients, expected {count}, one for each "
                "argument of forward"
            )
        positions = {i for i, _ in self._inputs}
        for i, result in enumerate(results[:count]):
            if result is not None and i not in positions:
                raise AutogradError(
                    f"{self.name()}: backward returned a gradient other than None at position {i}, but that "
                    "argument is not a tensor"
                )
            if result is not None and not isinstance(result, Tensor):
                raise ArgumentError(
                    f"{self.name()}: expected a Tensor or None at position {i}, got {type(result).__name__}"
                )
        found: list[Any] = []
        for (i, dtype), edge in zip(self._inputs, self.targets, strict=True):
            result = results[i]
            if result is None or edge is None:
                found.append(None)
                continue
            if result.array.dtype != dtype:
                result = result.to(dtype)
            found.append(result if create_graph else result.array)
        return tuple(found)


class Function:
    """Base class of user-defined functions.

    Write ``forward(ctx, *args)``, or ``forward(*args)`` and ``setup_context(ctx, inputs, output)``, and
    ``backward(ctx, *grads)``; for forward mode, ``jvp(ctx, *tangents)``. Call it by `apply`.

    Examples
    --------
    >>> import refengine as re
    >>> class Double(re.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x * 2
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         return g * 2
    >>> x = re.tensor([1.0, 2.0], requires_grad=True)
    >>> Double.apply(x).sum().backward()
    >>> x.grad
    tensor([2., 2.])
    """

    _node: ClassVar[type[FunctionNode]] = FunctionNode

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._node = type(f"{cls.__name__}Backward", (FunctionNode,), {"__slots__": (), "_forward_cls": cls})

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """The computation."""
        raise UnsupportedError("Function: you must implement forward for a custom autograd.Function")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """What to keep; implement it where forward takes no ctx."""
        raise UnsupportedError("Function: setup_context is not implemented")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """The vector-Jacobian product."""
        raise UnsupportedError(
            "Function: you must implement backward for a custom autograd.Function to use it with backward mode"
        )

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """The Jacobian-vector product."""
        raise UnsupportedError(
            "Function: you must implement the jvp function for a custom autograd.Function to use it with forward mode"
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Call the function and record it."""
        ctx = cls._node(args)
        tangents = [forward_ad.tangent_of(a) if state.intercept and isinstance(a, Tensor) else None for a in args]
        # Tangents pass by the forward; its ops are part of a list of calls.
        before, state.intercept = state.intercept, int(state.calls is not None)
        try:
            output = _forward(cls, ctx, args, kwargs)
            outputs = output if isinstance(output, tuple) else (output,)
            recording = state.grad_enabled and any(ctx.needs_input_grad)
            outputs = _record(ctx, args, outputs, recording)
            if any(t is not None for t in tangents):
                _push(cls, ctx, tangents, outputs)
        finally:
            state.intercept = before
        return outputs if isinstance(output, tuple) else outputs[0]


def _forward(cls: type[Function], ctx: FunctionNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run forward, unrecorded."""
    with no_grad():
        if cls.setup_context is Function.setup_context:
            return cls.forward(ctx, *args, **kwargs)
        output = cls.forward(*args, **kwargs)
        cls.setup_context(ctx, args, output)
        return output


def _record(ctx: FunctionNode, args: tuple[Any, ...], outputs: tuple[Any, ...], recording: bool) -> tuple[Any, ...]:
    """Turn what forward returned into outputs of the node."""
    for tensor in ctx._dirty:
        refuse_forbidden(tensor, ctx.name(), recording)
    results = tuple(_fresh(out, args, ctx) if isinstance(out, Tensor) else out for out in outputs)
    if recording:
        ctx.targets = tuple(edge_of(a) for a in args if isinstance(a, Tensor))
        ctx.seq = next(numbers)
        ctx.outputs = len(results)
    _keep(ctx, outputs, results, recording)
    ctx._outputs = tuple(
        (tuple(r.shape), r.array.dtype, r.backend) if isinstance(r, Tensor) else ((), None, None) for r in results
    )
    if not recording:
        return results
    for number, (out, result) in enumerate(zip(outputs, results, strict=True)):
        if (
            not isinstance(result, Tensor)
            or not result.dtype.is_differentiable
            or any(out is t for t in ctx._nondifferentiable)
        ):
            continue
        if any(out is t for t in ctx._dirty) and result.view_of is not None:
            _rebase_view(ctx, args, result)
        else:
            result.node, result.tracked = Output(ctx, number), True
    return results


def _fresh(out: Tensor, args: tuple[Any, ...], ctx: FunctionNode) -> Tensor:
    """An output that is not one of the inputs, unless it was written to in place."""
    if any(out is t for t in ctx._dirty):
        return out
    if any(out is a for a in args):
        return Tensor(out.array, out.storage)
    out.view_of = None
    return out


def _rebase_view(ctx: FunctionNode, args: tuple[Any, ...], result: Tensor) -> None:
    """An input that is a view and was written to: its base gets the new history."""
    tensors = [a for a in args if isinstance(a, Tensor)]
    if ctx.outputs != 1 or tensors[0] is not result:
        raise UnsupportedError(
            f"{ctx.name()}: a view can be marked dirty only as first argument and single output; clone it first"
        )
    rebase(result, ctx)


def _keep(ctx: FunctionNode, outputs: tuple[Any, ...], results: tuple[Any, ...], recording: bool) -> None:
    """Replace what was saved by (tensor, version, output number or -1); an output is kept without its history."""
    kept: list[Any] = []
    for tensor in ctx._saved:
        if tensor is None:
            kept.append(None)
            continue
        number = next((i for i, out in enumerate(outputs) if out is tensor), -1) if recording else -1
        own = Tensor(tensor.array, tensor.storage) if number >= 0 else tensor
        kept.append((own, tensor.storage.version, number))
    ctx._saved = tuple(kept)


def _push(cls: type[Function], ctx: FunctionNode, tangents: list[Tensor | None], outputs: tuple[Any, ...]) -> None:
    """Call the user's jvp and let the outputs carry what it returns."""
    saved, ctx._saved = ctx._saved, tuple(None if t is None else (t, t.storage.version, -1) for t in ctx._forward_saved)
    try:
        found = cls.jvp(ctx, *tangents)
    finally:
        ctx._saved = saved
    values = found if isinstance(found, tuple) else (found,)
    for out, tangent in zip(outputs, values, strict=True):
        if isinstance(out, Tensor) and tangent is not None:
            forward_ad.set_tangent(out, tangent)
            for entry in ctx._saved:
                if entry is not None and entry[0].array is out.array:
                    forward_ad.set_tangent(entry[0], tangent)


class DelayedError(BaseNode):
    """Raises when a gradient reaches it: differentiating twice what is differentiable once."""

    __slots__ = ("_message", "_shape")

    def __init__(self, message: str, shape: tuple[int, ...], targets: tuple[Any, ...]) -> None:
        self.targets, self.seq, self.hooks = targets, next(numbers), None
        self._message, self._shape = message, shape

    def name(self) -> str:
        """PyTorch's name."""
        return "torch::autograd::Error"

    def shape_of(self, number: int) -> tuple[int, ...]:
        """As the gradient."""
        return self._shape

    def pull(self, grads: list[Any], xp: Any, create_graph: bool, keep: bool) -> tuple[Any, ...]:
        """Raise."""
        raise AutogradError(self._message)


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a backward that computes outside the graph: differentiating its result raises instead of being wrong."""

    @functools.wraps(backward)
    def wrapper(ctx: Any, *grads: Any) -> Any:
        with no_grad():
            results = backward(ctx, *grads)
        edges = tuple(edge_of(g) for g in grads if isinstance(g, Tensor) and g.requires_grad)
        if not state.grad_enabled or not edges:
            return results
        values = results if isinstance(results, tuple) else (results,)
        message = "trying to differentiate twice a function that was marked with @once_differentiable"
        wrapped = []
        for value in values:
            if isinstance(value, Tensor):
                own = Tensor(value.array, value.storage)
                own.node, own.tracked = DelayedError(message, tuple(value.shape), edges), True
                value = own
            wrapped.append(value)
        return tuple(wrapped) if isinstance(results, tuple) else wrapped[0]

    return wrapper
