"""The bundled reference engine as an engine: PyTorch's interface, so hardly anything differs but the name."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from gradcheck.engines.memory import Span
from gradcheck.engines.torchlike import TorchLike
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
