"""Dropout: zeros at random in training, nothing in evaluation."""

from __future__ import annotations

from refengine.errors import RangeError
from refengine.nn import functional
from refengine.nn.module import Module
from refengine.tensor import Tensor


class Dropout(Module):
    """In training, sets each entry to 0 with probability `p` and scales the rest by 1 / (1 - p); else the identity.

    Raises
    ------
    RangeError
        If `p` is not between 0 and 1.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise RangeError(f"Dropout: expected p between 0 and 1, got p={p}")
        self.p, self.inplace = p, inplace

    def forward(self, x: Tensor) -> Tensor:
        """The shape stays."""
        return functional.dropout(x, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"
