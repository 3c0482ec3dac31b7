"""The ops of drawn programs in JAX's spelling: a line for each, called with ``jax`` and PyTorch's arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

OPS: dict[str, Callable[..., Any]] = {
    "__getitem__": lambda jax, x, key: x[key],
    "complex": lambda jax, x, y: jax.lax.complex(x, y),
    "view_as_real": lambda jax, x: jax.numpy.stack((x.real, x.imag), axis=-1),
    "float": lambda jax, x: x.astype("float32"),
    "to": lambda jax, x, dtype: x.astype(dtype),
}
