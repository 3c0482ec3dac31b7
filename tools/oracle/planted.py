"""Planted mistakes: who catches each, whether its right twin raises an alarm, what the diagnosis calls it."""

from __future__ import annotations
