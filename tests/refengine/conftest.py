"""The two libraries that the engine's tests run on: ours, and PyTorch as the arbiter of behaviour."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(params=["refengine", "torch"])
def lib(request: pytest.FixtureRequest) -> Any:
    """A PyTorch-shaped library; a test that passes on both shows that the engine behaves as PyTorch does."""
    return pytest.importorskip(request.param)
