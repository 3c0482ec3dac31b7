"""The recorded graph: nodes, their edges, saved values and hooks.

An edge is what a gradient is sent to: a `Node`, one output of a node that has several (`Output`), or a leaf tensor
itself. Nodes are numbered as they are made; an edge always leads to something older.
"""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, ClassVar, Final, Union

from refengine.errors import AutogradError, FreedGraphError, StaleSaveError
from refengine.state import state
from refengine.tensor import Tensor

numbers: Final = itertools.count(1)
"""Numbers of nodes, in the order of their making."""

FREED: Final = (None, None, -1)
"""Stands in `saved` once a backward pass has let the saved values go."""


class Hooks:
    """What is called when a gradient passes a node.

    Attributes
    ----------
    tensor : dict
        Output number -> hooks of the tensor that it made (`Tensor.register_hook`).
    retained : dict
        Output number -> weak reference to the tensor whose `grad` receives it (`Tensor.retain_grad`).
    before, after : OrderedDict
        `Node.register_prehook` and `Node.register_hook`.
    """

    __slots__ = ("after", "before", "retained", "tensor")

    def __init__(self) -> None:
        self.tensor: dict[int, OrderedDict[int, Callable[..., Any]]] = {}
        self.retained: dict[int, weakref.ref[Tensor]] = {}
        self.before: OrderedDict[int, Callable[..., Any]] = OrderedDict()
        self.after: OrderedDict[int, Callable[..., Any]] = OrderedDict()


class Handle:
    """Removes a hook again; usable as a context manager."""

    _ids: ClassVar = itertools.count()
    __slots__ = ("_hooks", "id")

    def __init__(self, hooks: OrderedDict[int, Any], hook: Any) -> None:
        self.id = next(Handle._ids)
        self._hooks = weakref.ref(hooks)
        hooks[self.id] = hook

    def remove(self) -> None:
        """Take the hook out; a second call does nothing."""
        hooks = self._hooks()
        if hooks is not None:
            hooks.pop(self.id, None)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class BaseNode:
    """One recorded operation.

    Attributes
    ----------
    targets : tuple
        One edge (or None) for each tensor input.
    number : int
        Which output an edge to this node means: 0.
    seq : int
        Its number in the order of making.
    hooks : Hooks or None
    """

    __slots__ = ("__weakref__", "hooks", "seq", "targets")

    number: ClassVar = 0
    outputs: int = 1
    targets: tuple[Edge | None, ...]
    seq: int
    hooks: Hooks | None

    @property
    def target(self) -> BaseNode:
        """The node an edge leads to: itself."""
        return self

    def name(self) -> str:
        """The name that PyTorch gives such a node."""
        raise NotImplementedError

    def pull(self, grads: list[Any], xp: Any, create_graph: bool, keep: bool) -> tuple[Any, ...]:
        """The gradient for each of `targets`, given one gradient (or None) for each output."""
        raise NotImplementedError

    def shape_of(self, number: int) -> tuple[int, ...]:
        """The shape of an output."""
        raise NotImplementedError

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """(node, output number) for each tensor input; (None, 0) where no gradient flows."""
        return tuple((None, 0) if edge is None else (function_of(edge), number_of(edge)) for edge in self.targets)

    def register_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call ``hook(grad_inputs, grad_outputs)`` after the node ran; what it returns replaces grad_inputs."""
        return Handle(self._made_hooks().after, hook)

    def register_prehook(self, hook: Callable[..., Any]) -> Handle:
        """Call ``hook(grad_outputs)`` before the node runs; what it returns replaces grad_outputs."""
        return Handle(self._made_hooks().before, hook)

    def _made_hooks(self) -> Hooks:
        if self.hooks is None:
            self.hooks = Hooks()
        return self.hooks

    def __repr__(self) -> str:
        return f"<{self.name()} object at 0x{id(self):x}>"


class Node(BaseNode):
    """A call of a declared op.

    Attributes
    ----------
    op : Op
        The declaration; its `rules` say how gradients are worked out.
    saved : tuple
        (value, storage, version) for each name in ``op.saves``, flattened; (None, CONSTANT, 0) where no rule needs it.
    params : tuple of dict, or None
        The keyword arguments of each rule.
    shape : tuple of int
        The shape of the result.
    tangents : list or None
        Where a call took part in forward mode: [level, the operands' tangents, the result's].
    """

    __slots__ = ("op", "params", "saved", "shape", "tangents")

    op: Any
    saved: tuple[Any, ...]
    params: Any
    shape: tuple[int, ...]
    tangents: list[Any] | None

    def name(self) -> str:
        """Such as "MulBackward0"."""
        return str(self.op.node_name)

    def shape_of(self, number: int) -> tuple[int, ...]:
        """The shape of the result."""
        return self.shape

    def unpack(self, create_graph: bool) -> tuple[Any, ...]:
        """The saved values, checked: arrays, or tensors with their history where the gradient's graph is wanted.

        Raises
        ------
        StaleSaveError
            If one of them was modified since it was saved.
        FreedGraphError
            If they were let go already.
        """
        saved = self.saved
        if saved is FREED:
            raise FreedGraphError(
                f"{self.name()}: trying to run backward through the graph a second time, but the saved "
                "values have been "
                "freed; pass retain_graph=True to the first backward"
            )
        values = []
        for i in range(0, len(saved), 3):
            value, storage, version = saved[i : i + 3]
            if storage.version != version:
                raise StaleSaveError(self.name(), storage.version, version, tuple(value.shape))
            values.append(self._with_history(value, storage, i // 3) if create_graph and storage is not None else value)
        return tuple(values)

    def _with_history(self, value: Any, storage: Any, position: int) -> Any:
        """A saved array as the tensor it was."""
        if value is None or not hasattr(value, "dtype"):
            return value
        source = self.op.saved_from[position]
        edge: Edge | None = self if source < 0 else self.targets[source]
        if isinstance(edge, Tensor):
            return edge if edge.array is value else _leaf_alias(value, storage, edge)
        result = Tensor(value, storage if storage.array is not None else None)
        result.node, result.tracked = edge, edge is not None
        if self.tangents is not None and self.tangents[0] is state.level:
            tangent = self.tangents[2] if source < 0 else self.tangents[1][source]
            if tangent is not None:
                result.extras().tangent = tangent
        return result

    def pull(self, grads: list[Any], xp: Any, create_graph: bool, keep: bool) -> tuple[Any, ...]:
        """Call the rule of each input that a gradient flows to."""
        values = self.unpack(create_graph)
        op, params = self.op, self.params
        result: list[Any] = []
        for i, edge in enumerate(self.targets):
            if edge is None:
                result.append(None)
                continue
            rule, picks = op.rules[i] if not op.variadic else op.rules[0]
            kwargs = {} if params is None else params[i]
            result.append(rule(xp, grads[0], *[values[p] for p in picks], **kwargs))
        if not keep and self.saved:
            self.saved = FREED
        return tuple(result)


def _leaf_alias(value: Any, storage: Any, leaf: Tensor) -> Tensor:
    """A tensor with the values saved from `leaf` (whose `.data` was replaced since), with gradients flowing to it."""
    result = Tensor(value, storage if storage.array is not None else None)
    result.node, result.tracked = LeafEdge(leaf), True
    return result


class LeafEdge(BaseNode):
    """Passes a gradient on to a leaf unchanged."""

    __slots__ = ("leaf",)

    def __init__(self, leaf: Tensor) -> None:
        self.leaf, self.targets, self.seq, self.hooks = leaf, (leaf,), next(numbers), None

    def name(self) -> str:
        """As a view of the leaf."""
        return "AliasBackward0"

    def shape_of(self, number: int) -> tuple[int, ...]:
        """The leaf's shape."""
        return tuple(self.leaf.shape)

    def pull(self, grads: list[Any], xp: Any, create_graph: bool, keep: bool) -> tuple[Any, ...]:
        """The gradient itself."""
        return (grads[0],)


class Output:
    """An edge to one output of a node that has several."""

    __slots__ = ("number", "target")

    def __init__(self, target: BaseNode, number: int) -> None:
        self.target, self.number = target, number


class AccumulateGrad:
    """How a leaf appears in `next_functions`: the end of the graph, where `grad` is accumulated."""

    __slots__ = ("variable",)
    next_functions: ClassVar[tuple[Any, ...]] = ()

    def __init__(self, variable: Tensor) -> None:
        self.variable = variable

    def name(self) -> str:
        """PyTorch's name for it."""
        return "torch::autograd::AccumulateGrad"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccumulateGrad) and other.variable is self.variable

    def __hash__(self) -> int:
        return id(self.variable)

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at 0x{id(self.variable):x}>"


Edge = Union[BaseNode, Output, Tensor]  # noqa: UP007 - a forward reference at run time


def function_of(edge: Edge) -> Any:
    """The node of an edge, as `next_functions` shows it."""
    return AccumulateGrad(edge) if isinstance(edge, Tensor) else edge.target


def number_of(edge: Edge) -> int:
    """The output number of an edge."""
    return 0 if isinstance(edge, Tensor) else edge.number


def edge_of(tensor: Tensor) -> Edge | None:
    """Where the gradient of `tensor` is sent: its node, itself if it is a leaf that requires grad, or None."""
    tensor.sync()
    if not tensor.tracked:
        return None
    return tensor if tensor.node is None else tensor.node


def shape_at(edge: Edge) -> tuple[int, ...]:
    """The shape of the gradient that an edge takes."""
    if isinstance(edge, Tensor):
        return tuple(edge.array.shape)
    return edge.target.shape_of(edge.number)


def register_hook(tensor: Tensor, hook: Callable[[Tensor], Tensor | None]) -> Handle:
    """Call `hook` with the tensor's gradient each time it is computed; what it returns, if anything, replaces it."""
    edge = edge_of(tensor)
    if edge is None:
        raise AutogradError(
            "register_hook: cannot register a hook on a tensor that doesn't require gradient; set requires_grad"
        )
    if isinstance(edge, Tensor):
        return Handle(tensor.extras().hooks, hook)
    return Handle(edge.target._made_hooks().tensor.setdefault(edge.number, OrderedDict()), hook)


def register_post_accumulate_grad_hook(tensor: Tensor, hook: Callable[[Tensor], None]) -> Handle:
    """Call `hook` with the leaf each time its `grad` has been accumulated."""
    if not isinstance(edge_of(tensor), Tensor):
        raise AutogradError("register_post_accumulate_grad_hook: only a leaf that requires grad accumulates one")
    return Handle(tensor.extras().post_hooks, hook)


def retain_grad(tensor: Tensor) -> None:
    """Keep the gradient of a non-leaf in its `grad`; on a leaf it does nothing."""
    edge = edge_of(tensor)
    if edge is None:
        raise AutogradError("retain_grad: can't retain the gradient of a tensor that has requires_grad=False")
    if isinstance(edge, Tensor) or tensor.retains_grad:
        return
    tensor.extras().retains = True
    edge.target._made_hooks().retained[edge.number] = weakref.ref(tensor)


def move_retained(tensor: Tensor, old: Edge | None, new: BaseNode) -> None:
    """Let the gradient retained for `tensor` be that of the node an in-place operation gave it."""
    if old is None or isinstance(old, Tensor) or tensor.extra is None or not tensor.extra.retains:
        return
    hooks = old.target.hooks
    if hooks is not None and hooks.retained.get(old.number, lambda: None)() is tensor:
        del hooks.retained[old.number]
        new._made_hooks().retained[0] = weakref.ref(tensor)
