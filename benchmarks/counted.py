"""What a pass costs without a clock: calls of Python functions, and blocks of memory that a recorded graph holds.

Both counts are the same in every run of one version of Python, so that a test can hold on to them.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

from benchmarks import workloads
from benchmarks.harness import Work
from benchmarks.peers import REFENGINE, leaves

BLOCK = 5


@dataclass(frozen=True, slots=True)
class Counts:
    """For one op of a chain of small ops, on the average.

    Attributes
    ----------
    forward_calls, backward_calls, grad_calls : float
        Calls of Python functions in a forward pass, in `backward` and in `autograd.grad`; C functions are not counted.
    tracked : float
        Objects in the recorded graph that the cycle collector follows.
    blocks : float
        Blocks of memory that the recorded graph holds, as Python's allocator counts them; 0 where it does not.
    cyclic : int
        Objects that only the cycle collector frees when the graph is let go.
    """

    forward_calls: float
    backward_calls: float
    grad_calls: float
    tracked: float
    blocks: float
    cyclic: int


def chain(ops: int = 1_000) -> Counts:
    """Of the engine benchmark (a)."""
    import numpy as np

    library = REFENGINE.namespace()
    (leaf,) = leaves(library, [np.linspace(-1.0, 1.0, 10)])
    function = workloads.chain(ops // BLOCK)(library)
    grad = library.autograd.grad
    grad(function(leaf), (leaf,))  # what is made at the first call does not count
    forward = _calls(lambda: function(leaf))
    ends: list[Any] = [function(leaf), function(leaf)]
    backward, asked = _calls(lambda: ends.pop().backward()), _calls(lambda: grad(ends.pop(), (leaf,)))
    tracked, blocks, cyclic = _held(lambda: function(leaf))
    return Counts(forward / ops, backward / ops, asked / ops, tracked / ops, blocks / ops, cyclic)


def _calls(work: Work) -> int:
    """Python functions that are called while `work` runs, itself among them."""
    count = 0

    def counting(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(counting)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def _held(make: Callable[[], Any]) -> tuple[int, int, int]:
    """Tracked objects and blocks that what `make` returns holds, and objects that are garbage when it is gone."""
    was_enabled = gc.isenabled()
    gc.collect()  # empties the free lists, too: a block that is taken from one would not be counted
    gc.disable()
    try:
        objects, start = len(gc.get_objects()), sys.getallocatedblocks()
        made = make()
        blocks, tracked = sys.getallocatedblocks() - start, len(gc.get_objects()) - objects
        del made
        return tracked, blocks, gc.collect()
    finally:
        if was_enabled:
            gc.enable()
