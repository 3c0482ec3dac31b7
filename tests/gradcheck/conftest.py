"""The fixtures that run pytest inside a test."""

from __future__ import annotations

from tests.fakes.pytester import away_from_ci, run, run_apart, run_bare, torch_stays

__all__ = ["away_from_ci", "run", "run_apart", "run_bare", "torch_stays"]
