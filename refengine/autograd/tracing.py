"""Which ops a function calls, and on what, in order, whether gradients are recorded or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from refengine.autograd import forward_ad
from refengine.op import INTERCEPT, Op
from refengine.recording import Bound
from refengine.state import state
from refengine.tensor import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of an op.

    Attributes
    ----------
    op : Op
    operands : tuple
        Tensors, and what stands for one (numbers), with the dtype that the op computes in.
    bound : Bound
        The parameters, as `Op.run` takes them.
    result : Tensor
    """

    op: Op
    operands: tuple[Any, ...]
    bound: Bound
    result: Tensor


@dataclass(slots=True, eq=False)
class Calls:
    """What was called.

    Attributes
    ----------
    listed : list of Call
    is_pure : bool
        No tensor was written to, and no tangent was pushed: applied once more, the calls give the same.
    """

    listed: list[Call] = field(default_factory=list)
    is_pure: bool = True


@contextmanager
def traced() -> Iterator[Calls]:
    """List this thread's calls of ops inside the block, those of a Function's `forward` included.

    An op that is composed of others is listed as those. What NumPy computes from a tensor's memory is not seen.
    """
    before, intercept = state.calls, state.intercept
    state.calls, state.intercept = Calls(), intercept + 1
    try:
        yield state.calls
    finally:
        state.calls, state.intercept = before, intercept


def _detour(op: Op, operands: tuple[Any, ...], bound: Bound, inplace: bool = False) -> Tensor:
    """The detour of an op's call: push tangents, and list it."""
    result = forward_ad.call(op, operands, bound, inplace)
    calls = state.calls
    if calls is not None:
        calls.listed.append(Call(op, operands, bound, result))
        calls.is_pure = calls.is_pure and not inplace and state.level is None
    return result


INTERCEPT.append(_detour)
