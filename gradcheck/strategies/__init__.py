"""Hypothesis strategies. Nothing else in the package imports Hypothesis."""

from __future__ import annotations

from gradcheck.strategies.arrays import arrays
from gradcheck.strategies.programs import programs

__all__ = ["arrays", "programs"]
