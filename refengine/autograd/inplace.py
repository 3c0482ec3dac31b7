"""The rules of in-place operations, and how they rewrite history.

An in-place operation on a tensor makes it the result of the new node. On a view it is the base that gets a new node
(`CopySlices`): the operation applied to the view's part, everything else passed through; the view's own place in the
graph, and that of every other view, is worked out anew from the base when it is next looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refengine import layout
from refengine.autograd.graph import BaseNode, Edge, edge_of, move_retained, numbers
from refengine.errors import FreedGraphError, InplaceError
from refengine.state import state
from refengine.tensor import REPLAY, Tensor, View


def refuse_forbidden(tensor: Tensor, name: str, recording: bool) -> None:
    """Raise where an in-place operation on `tensor` is not allowed.

    Parameters
    ----------
    tensor : Tensor
        What would be written to.
    name : str
        The operation, for the message.
    recording : bool
        Whether it would become part of the graph.

    Raises
    ------
    InplaceError
        On a leaf that requires grad, a view of one, a view made while gradients were off or as one of several, or on
        expanded memory.
    """
    if layout.overlaps(tensor.array.shape, tensor.backend.strides(tensor.array)):
        raise InplaceError(
            f"{name}: unsupported operation: more than one element of the written-to tensor refers to a single memory "
            f"location (shape {tuple(tensor.shape)}, stride {tensor.stride()}); clone() it first"
        )
    if not state.grad_enabled:
        return
    view = tensor.view_of
    if tensor.tracked and tensor.node is None:
        raise InplaceError(
            f"{name}: a leaf Variable that requires grad is being used in an in-place operation; use "
            "no_grad() or clone it"
        )
    if view is None:
        return
    if view.base.tracked and view.base.node is None:
        raise InplaceError(
            f"{name}: a view of a leaf Variable that requires grad is being used in an in-place "
            "operation; clone the leaf"
        )
    if view.of_several and (recording or view.base.tracked):
        raise InplaceError(
            f"{name}: this view is an output of a function that returns multiple views, such as unbind, "
            "split or chunk; such "
            "outputs may not be modified in place; index the tensor instead, or clone the view"
        )
    if view.without_grad and (recording or view.base.tracked):
        raise InplaceError(
            f"{name}: a view was created in no_grad mode and is being modified in place with grad mode "
            "enabled; make the view "
            "outside no_grad"
        )


def rebase(tensor: Tensor, node: BaseNode) -> None:
    """Make `node`, whose first input was the old value, what made `tensor`, whose memory has just been written to."""
    view = tensor.view_of
    if view is None:
        move_retained(tensor, tensor.node, node)
        tensor.node, tensor.tracked = node, True
        return
    base = view.base
    old = edge_of(base)
    copy = CopySlices(node, view.chain, old, tuple(base.array.shape))
    move_retained(base, old, copy)
    base.node, base.tracked = copy, True
    before = tensor.node
    replay(tensor, view)
    if tensor.node is not None:
        move_retained(tensor, before, tensor.node)


def replay(tensor: Tensor, view: View) -> None:
    """Work out a view's node anew from its base's."""
    view.version = tensor.storage.version
    base = view.base
    if not base.tracked:
        return
    before, intercept = state.grad_enabled, state.intercept
    state.grad_enabled, state.intercept = True, 0
    try:
        again = follow(base, view.chain)
    finally:
        state.grad_enabled, state.intercept = before, intercept
    move_retained(tensor, tensor.node, again.node)
    tensor.node, tensor.tracked = again.node, True


def follow(base: Tensor, chain: tuple[Any, ...]) -> Tensor:
    """Apply a chain of view ops to a tensor."""
    result = base
    for op, bound in chain:
        result = op.run((result,), bound)
    return result


class CopySlices(BaseNode):
    """An operation applied to a part of a tensor, the rest passed through.

    Attributes
    ----------
    inner : BaseNode or None
        The operation that was applied to the part.
    chain : tuple
        The view ops that lead from the whole to the part.
    """

    __slots__ = ("chain", "inner", "shape")

    def __init__(self, inner: BaseNode, chain: tuple[Any, ...], base: Edge | None, shape: tuple[int, ...]) -> None:
        self.inner: BaseNode | None = inner
        self.chain, self.shape = chain, shape
        self.targets = (base, *inner.targets[1:])
        self.seq = next(numbers)
        self.hooks = None

    def name(self) -> str:
        """PyTorch's name."""
        return "torch::autograd::CopySlices"

    def __repr__(self) -> str:
        return f"<CopySlices object at 0x{id(self):x}>"

    def shape_of(self, number: int) -> tuple[int, ...]:
        """The whole's shape."""
        return self.shape

    def pull(self, grads: list[Any], xp: Any, create_graph: bool, keep: bool) -> tuple[Any, ...]:
        """The part's gradient goes through the operation, the rest to the base as it is.

        What the operation saved is let go with this node, not with the operation's own: a second derivative may come
        back to that one directly.
        """
        whole, inner = grads[0], self.inner
        if inner is None:
            raise FreedGraphError(
                f"{self.name()}: trying to run backward through the graph a second time; pass "
                "retain_graph=True to the first backward"
            )
        part = whole
        for op, bound in self.chain:
            part = op.forward(xp, part, **bound.forward)
        results = inner.pull([part], xp, create_graph, True)
        if not keep:
            self.inner = None
        if self.targets[0] is None:
            return (None, *results[1:])
        return (self._put(whole, results[0], part, xp), *results[1:])

    def _put(self, whole: Any, grad: Any, part: Any, xp: Any) -> Any:
        """The whole's gradient with the part's replaced by what reached the part's old value (nothing: zero)."""
        mask = xp.ones_like(part) if grad is None else xp.broadcast_to(xp.ones_like(part), part.shape)
        covered = self._back(mask, whole, xp)
        placed = xp.zeros_like(whole) if grad is None else self._back(xp.broadcast_to(grad, part.shape), whole, xp)
        return xp.where(xp.greater(covered, 0), placed, whole)

    def _back(self, part: Any, whole: Any, xp: Any) -> Any:
        """The transpose of the chain of views."""
        steps: list[Callable[[Any], Any]] = []
        for op, bound in self.chain:
            rule, _ = op.rules[0]
            kwargs = {} if bound.rules is None else bound.rules[0]
            steps.append(lambda g, rule=rule, kwargs=kwargs: rule(xp, g, **kwargs))  # type: ignore[misc]
        for step in reversed(steps):
            part = step(part)
        return part


REPLAY.append(replay)
