"""What the libraries are set to for a benchmark does not stay for other tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def settings_kept() -> Iterator[None]:
    """Threads, precision and the depth of recursion as before."""
    depth = sys.getrecursionlimit()
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    threads = torch.get_num_threads() if torch else None
    is_double = jax.config.jax_enable_x64 if jax else False
    yield
    sys.setrecursionlimit(depth)
    if threads is not None and torch:
        torch.set_num_threads(threads)
    if jax := sys.modules.get("jax"):
        jax.config.update("jax_enable_x64", is_double)
