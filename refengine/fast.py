"""The short path of an elementwise op's call: plain tensors of one floating dtype in the host's memory, no parameters.

It does what `Op.run` does, unrolled; everything else is left to `Op.__call__`. A test holds the two against each other,
node for node, for every op.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refengine import dtypes
from refengine.autograd.graph import Node, numbers
from refengine.backends.numpy import BACKEND
from refengine.op import Elementwise, Op
from refengine.recording import UNSAVED
from refengine.state import state
from refengine.storage import CONSTANT, Storage
from refengine.tensor import Tensor

FLOAT64, FLOAT32 = dtypes.float64.numpy, dtypes.float32.numpy
HOST = BACKEND.array_type
NUMBERS = (float, int)

_new = object.__new__
_wrap = BACKEND.wrap
_number = numbers.__next__


def call_of(op: Op, slow: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """What to call for `op`: the short path where it has one, else `slow`, by default the op itself."""
    slow = op.__call__ if slow is None else slow
    if not _is_plain(op):
        return slow
    return _unary(op, slow) if len(op.inputs) == 1 else _binary(op, slow)


def _is_plain(op: Op) -> bool:
    """Whether a call without further arguments has no parameters and is computed and recorded as any other."""
    if not isinstance(op, Elementwise) or op.boolean or not op.rules or op.constants or len(op.inputs) > 2:
        return False
    if type(op).__call__ is not Op.__call__ or type(op).run is not Op.run:
        return False
    try:
        bound = op.bound(((),) * len(op.inputs), (), ())
    except (TypeError, RuntimeError):
        return False
    return not bound.forward and bound.rules is None


def _kernel(op: Any) -> Callable[..., Any]:
    """The op's computation on the host's arrays."""
    if op.kernel:
        return BACKEND.xp.kernel(op.kernel)  # type: ignore[no-any-return]
    forward, xp = op.forward, BACKEND.xp
    return lambda *arrays: forward(xp, *arrays)


def _tensor(out: Any) -> Tensor:
    """A new tensor over an array that nobody else holds."""
    result = _new(Tensor)
    storage = _new(Storage)
    storage.array, storage.backend, storage.version = out, BACKEND, 0
    result.array, result.storage = out, storage
    result.node = result._grad = result.view_of = result.extra = None
    result.tracked = False
    return result


def _unary(op: Op, slow: Callable[..., Any]) -> Callable[..., Any]:
    """The short path for one input."""
    kernel, holds = _kernel(op), [source < 0 for source in op.saved_from]

    def call(input: Any, *args: Any, **kwargs: Any) -> Any:
        x = input
        if not isinstance(x, Tensor) or state.intercept or args or kwargs:
            return slow(x, *args, **kwargs)
        array = x.array
        if type(array) is not HOST or (array.dtype is not FLOAT64 and array.dtype is not FLOAT32):
            return slow(x)
        out = kernel(array)
        if type(out) is not HOST:
            out = _wrap(out)
        result = _tensor(out)
        if x.view_of is not None:
            x.sync()
        if x.tracked and state.grad_enabled:
            node = _new(Node)
            saved: tuple[Any, ...] = ()
            for is_out in holds:
                saved += (out, result.storage, 0) if is_out else (array, x.storage, x.storage.version)
            node.op, node.saved, node.params, node.hooks, node.tangents = op, saved, None, None, None
            node.targets = (x if x.node is None else x.node,)
            node.shape = out.shape
            node.seq = _number()
            result.node, result.tracked = node, True
        return result

    return call


def _binary(op: Op, slow: Callable[..., Any]) -> Callable[..., Any]:
    """The short path for two inputs, the second of which may be a Python number."""
    kernel, sources = _kernel(op), op.saved_from
    picks = [set(p) for _, p in op.rules]

    def call(input: Any, other: Any, *args: Any, **kwargs: Any) -> Any:
        x, y = input, other
        if not isinstance(x, Tensor) or state.intercept or args or kwargs:
            return slow(x, y, *args, **kwargs)
        array = x.array
        dtype = array.dtype
        if type(array) is not HOST or (dtype is not FLOAT64 and dtype is not FLOAT32):
            return slow(x, y)
        if isinstance(y, Tensor):
            second = y.array
            if type(second) is not HOST or second.dtype is not dtype:
                return slow(x, y)
        elif type(y) in NUMBERS:
            second = y
        else:
            return slow(x, y)
        try:
            out = kernel(array, second)
        except ValueError:  # shapes that do not broadcast: the long way says so
            return slow(x, y)
        if type(out) is not HOST:
            out = _wrap(out)
        result = _tensor(out)
        if state.grad_enabled:
            _record(result, x, y, second)
        return result

    def _record(result: Tensor, x: Tensor, y: Any, other: Any) -> None:
        if x.view_of is not None:
            x.sync()
        first = (x if x.node is None else x.node) if x.tracked else None
        second = None
        if other is not y:
            if y.view_of is not None:
                y.sync()
            if y.tracked:
                second = y if y.node is None else y.node
        if first is None and second is None:
            return
        saved: tuple[Any, ...] = ()
        for position, source in enumerate(sources):
            if not ((first is not None and position in picks[0]) or (second is not None and position in picks[1])):
                saved += UNSAVED
            elif source < 0:
                saved += (result.array, result.storage, 0)
            elif source == 0:
                saved += (x.array, x.storage, x.storage.version)
            else:
                saved += (other, CONSTANT, 0) if other is y else (other, y.storage, y.storage.version)
        node = _new(Node)
        node.op, node.saved, node.params, node.hooks, node.tangents = op, saved, None, None, None
        node.targets = (first, second)
        node.shape = result.array.shape
        node.seq = _number()
        result.node, result.tracked = node, True

    return call
