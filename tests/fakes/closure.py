"""An engine of one op: a forward and a backward over NumPy arrays, so that claims can be tested with any wrong rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck.engines.recorded import Recorded, recorded


@dataclass(eq=False)
class Value:
    """A tensor of this engine; `rule` and `inputs` are how it was made."""

    values: np.ndarray
    requires_grad: bool = False
    rule: Rule | None = None
    inputs: tuple[Value, ...] = ()
    place: int = 0


@dataclass(eq=False)
class Rule:
    """The function under test.

    Attributes
    ----------
    forward : callable
        Arrays to an array or a tuple of arrays.
    backward : callable
        Cotangents (a tuple) and input arrays to one gradient an input (an array, None, or a lone array).
    connected : bool
        Whether the outputs have a history.
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    connected: bool = True
    calls: int = 0

    def __call__(self, *inputs: Value) -> tuple[Value, ...]:
        self.calls += 1
        with np.errstate(all="ignore"):
            found = self.forward(*(x.values for x in inputs))
        outputs = found if isinstance(found, tuple) else (found,)
        needs = self.connected and any(x.requires_grad for x in inputs)
        return tuple(Value(np.asarray(y), needs, self, inputs, i) for i, y in enumerate(outputs))


class ClosureEngine:
    """What the numerical claims use of the adapter protocol."""

    name = "closure"
    device = "cpu"
    capabilities: frozenset[Any] = frozenset()
    refusals: tuple[type[Exception], ...] = ()

    def tensor(self, values: np.ndarray, *, requires_grad: bool = False) -> Value:
        """A leaf; the layout of `values` is kept."""
        return Value(np.array(values, copy=True, order="K"), requires_grad)

    def array(self, tensor: Value) -> np.ndarray:
        """A copy of the values."""
        return np.array(tensor.values)

    def requires_grad(self, tensor: Value) -> bool:
        """Whether a gradient flows to it."""
        return tensor.requires_grad

    def no_grad(self) -> nullcontext[None]:
        """Nothing to switch off."""
        return nullcontext()

    def linearized(self, function: Callable[..., Any], tensors: Sequence[Value], wanted: Sequence[bool]) -> Recorded:
        """A recorded forward pass."""
        return recorded(self, function, tensors, wanted)

    def grad(
        self,
        outputs: Sequence[Value],
        inputs: Sequence[Value],
        cotangents: Sequence[Value],
        *,
        create_graph: bool = False,
        retain_graph: bool = False,
    ) -> tuple[Value | None, ...]:
        """One call of the rule's backward."""
        rule, leaves = outputs[0].rule, outputs[0].inputs
        assert rule is not None
        u: list[np.ndarray] = []
        for y in rule(*leaves):
            given = [c.values for o, c in zip(outputs, cotangents, strict=True) if o.place == y.place]
            u.append(given[0] if given else np.zeros(y.values.shape))
        with np.errstate(all="ignore"):
            found = rule.backward(tuple(u), *(x.values for x in leaves))
        gradients = found if isinstance(found, tuple) else (found,)
        by_leaf = {id(x): g for x, g in zip(leaves, gradients, strict=True)}
        return tuple(None if by_leaf[id(x)] is None else Value(np.asarray(by_leaf[id(x)])) for x in inputs)
