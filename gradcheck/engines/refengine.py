"""The bundled reference engine as an engine: PyTorch's interface, so hardly anything differs but the name."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from gradcheck.engines.base import Function
from gradcheck.engines.memory import Span
from gradcheck.engines.torchlike import TorchLike
from gradcheck.engines.traced import Arrays, Key, Stage, Traced
from gradcheck.program import Array


class ReferenceEngine(TorchLike):
    """The adapter of refengine.

    Parameters
    ----------
    device : str
        "cpu".
    """

    name = "refengine"
    context_class = "FunctionNode"

    def __init__(self, device: str = "cpu") -> None:
        import refengine

        super().__init__(refengine, device)

    def traced(self, function: Function, tensors: Sequence[Any]) -> Traced | None:
        """The ops that `function` calls. A value is known again by its array, which two tensors may share."""
        with self.library.no_grad(), self.library.autograd.tracing.traced() as calls:
            found = function(*tensors)
        if not calls.is_pure:
            return None
        outputs = found if isinstance(found, (tuple, list)) else (found,)
        keys = {id(x.array): (f"x{k}", 0) for k, x in enumerate(tensors)}
        constants: dict[Key, Array] = {}

        def key(tensor: Any) -> Key:
            if id(tensor.array) not in keys:
                keys[id(tensor.array)] = made = (f"c{len(constants)}", 0)
                constants[made] = tensor.array.copy()
            return keys[id(tensor.array)]

        stages = []
        for k, call in enumerate(calls.listed):
            operands = tuple(key(o) for o in call.operands if self.is_tensor(o))
            stages.append(Stage(call.op.name, operands, self._again(call)))
            keys[id(call.result.array)] = (f"v{k}", 0)
        return Traced(constants, tuple(stages), tuple(key(y) for y in outputs if self.is_tensor(y)))

    def _again(self, call: Any) -> Callable[[Sequence[Array]], Arrays]:
        """An op's call with other tensors in the places of its tensors."""

        def run(arrays: Sequence[Array]) -> Arrays:
            given = iter(arrays)
            operands = (self.tensor(next(given)) if self.is_tensor(o) else o for o in call.operands)
            return (call.op.run(tuple(operands), call.bound).array,)

        return run

    def _look(self, memory: Array, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Any:
        """A tensor that looks at `memory`: the engine takes NumPy's views as they are."""
        steps = [stride * memory.itemsize for stride in strides]
        return self.library.from_numpy(np.ndarray(shape, memory.dtype, memory, offset * memory.itemsize, steps))

    def _span(self, tensor: Any) -> Span:
        """The memory that `tensor` uses; a stride may be negative here."""
        start, end = byte_bounds(tensor.array)
        return Span(str(tensor.device), start, end if tensor.numel() else start)

    def _copied(self, span: Span, tensors: Sequence[Any]) -> list[Any]:
        """Looks at one copy of the memory, with one storage for each dtype."""
        memory = np.frombuffer(ctypes.string_at(span.start, span.end - span.start), np.uint8).copy()
        wholes: dict[Any, Any] = {}
        copies = []
        for tensor in tensors:
            array = tensor.array
            first = array.__array_interface__["data"][0] - span.start if array.size else 0
            look = self.library.from_numpy(np.ndarray(array.shape, array.dtype, memory, first, array.strides))
            # Tensors made from views of one array have storages of their own: that of the first is everyone's.
            storage = wholes.setdefault(array.dtype, look.storage)
            copies.append(type(look)(look.array, storage))
        return copies
