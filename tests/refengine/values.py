"""The tensors that tests of both libraries start from."""

from __future__ import annotations

from typing import Any


def leaf(lib: Any, *values: float) -> Any:
    """A float64 vector that requires grad."""
    return lib.tensor(list(values), dtype=lib.float64, requires_grad=True)
