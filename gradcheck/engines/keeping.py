"""What brings tensors, their gradients and modules' modes back as they were; for engines with PyTorch's interface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

# Entries of a tensor beyond which nothing is copied for fear that a Function writes to it.
_BUFFER = 100_000


def keeper_of_values(tensor: Any) -> Callable[[], None]:
    """What brings a tensor's values back, behind its version counter."""
    before = tensor.detach().clone()

    def keep() -> None:
        tensor.data.copy_(before)

    return keep


def keeper_of_buffer(tensor: Any) -> Callable[[], None] | None:
    """Of a tensor that a Function may write to; a larger one is taken for a constant."""
    if tensor.numel() > _BUFFER:
        return None
    keep_values, version = keeper_of_values(tensor), tensor._version

    def keep() -> None:
        nonlocal version
        if tensor._version != version:
            keep_values()
            version = tensor._version

    return keep


def keeper_of_gradient(tensor: Any) -> Callable[[], None]:
    """What brings back a leaf's gradient: the same tensor with the same values, or none."""
    gradient = tensor.grad
    keep_values = None if gradient is None else keeper_of_values(gradient)

    def keep() -> None:
        if keep_values is not None:
            keep_values()
        tensor.grad = gradient

    return keep


def bring_back(modes: Sequence[tuple[Any, bool]], kept: Sequence[Callable[[], None]]) -> None:
    """Bring back the modes of a module's parts, and all that is kept of it."""
    for part, training in modes:
        part.training = training
    for keep in kept:
        keep()
