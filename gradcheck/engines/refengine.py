"""The bundled reference engine as an engine: PyTorch's interface, so hardly anything differs but the name."""

from __future__ import annotations

from typing import Any

import numpy as np

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

    def __init__(self, device: str = "cpu") -> None:
        import refengine

        super().__init__(refengine, device)

    def _look(self, memory: Array, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Any:
        """A tensor that looks at `memory`: the engine takes NumPy's views as they are."""
        steps = [stride * memory.itemsize for stride in strides]
        return self.library.from_numpy(np.ndarray(shape, memory.dtype, memory, offset * memory.itemsize, steps))
