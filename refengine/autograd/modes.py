"""Grad mode: whether operations are recorded. Each is a context manager and a decorator."""

from __future__ import annotations

from contextlib import ContextDecorator
from typing import Any

from refengine.state import state


class _GradMode(ContextDecorator):
    """Sets grad mode on entry and restores it on exit, exceptions included; may be nested and reused."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(state.grad_enabled)
        state.grad_enabled = self._enabled

    def __exit__(self, *_: object) -> None:
        state.grad_enabled = self._before.pop()

    def _recreate_cm(self) -> Any:
        return type(self)(self._enabled) if type(self) is _GradMode else type(self)()  # type: ignore[call-arg]


class no_grad(_GradMode):
    """Nothing is recorded inside."""

    def __init__(self) -> None:
        super().__init__(False)


class enable_grad(_GradMode):
    """Operations are recorded inside, also within `no_grad`."""

    def __init__(self) -> None:
        super().__init__(True)


class set_grad_enabled(_GradMode):
    """Set grad mode at once; as a context manager, until the block ends."""

    def __init__(self, mode: bool) -> None:
        super().__init__(bool(mode))
        self._outer = state.grad_enabled
        state.grad_enabled = bool(mode)

    def __enter__(self) -> None:
        state.grad_enabled = self._enabled

    def __exit__(self, *_: object) -> None:
        state.grad_enabled = self._outer

    def __call__(self, function: Any) -> Any:
        state.grad_enabled = self._outer
        return _GradMode(self._enabled)(function)


def is_grad_enabled() -> bool:
    """Whether operations are recorded now."""
    return state.grad_enabled
