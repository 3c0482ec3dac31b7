"""How a call becomes part of the graph: its bound parameters, its node, what it keeps, how a view knows its base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from refengine.autograd.graph import Node, numbers
from refengine.layout import Shape
from refengine.state import state
from refengine.storage import CONSTANT
from refengine.tensor import Tensor, View

UNSAVED = (None, CONSTANT, 0)
"""Stands in `Node.saved` for what no rule needs."""


class Bound:
    """The parameters of one call: keyword arguments of `forward`, and of each input's rule (None: none)."""

    __slots__ = ("forward", "rules")

    def __init__(self, forward: dict[str, Any], rules: tuple[dict[str, Any], ...] | None) -> None:
        self.forward, self.rules = forward, rules


def node_of(op: Any, edges: tuple[Any, ...], saved: tuple[Any, ...], bound: Bound, shape: Shape) -> Node:
    """The node of one recorded call."""
    node = object.__new__(Node)
    node.op = op
    node.targets = edges
    node.saved = saved
    node.params = bound.rules
    node.shape = shape
    node.hooks = None
    node.tangents = state.tangents
    node.seq = next(numbers)
    return node


def inputs_of(operands: Sequence[Any], arrays: Sequence[Any]) -> list[tuple[Any, Any, int]]:
    """(value, storage, version) of each operand now."""
    return [
        (array, o.storage, o.storage.version) if isinstance(o, Tensor) else (array, CONSTANT, 0)
        for o, array in zip(operands, arrays, strict=True)
    ]


def view_of(source: Tensor, op: Any, bound: Bound) -> View:
    """How the result of a view op looks at its base."""
    version, without = source.storage.version, not state.grad_enabled
    above = source.view_of
    if above is None:
        return View(source, ((op, bound),), version, without)
    view = View(above.base, (*above.chain, (op, bound)), version, without or above.without_grad)
    view.of_several = above.of_several
    return view
