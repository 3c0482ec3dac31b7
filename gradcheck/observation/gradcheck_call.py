"""Calls of ``torch.autograd.gradcheck`` in the user's tests: what was checked there, noted for a check of our own."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from types import FrameType, ModuleType
from typing import Any

from gradcheck.engines import registry
from gradcheck.observation.snapshot import copied, device_among, tensors_in
from gradcheck.observation.wrapping import Undo, replaced


@dataclass(frozen=True, slots=True, eq=False)
class GradcheckCall:
    """What one ``gradcheck(fn, inputs)`` was given.

    Attributes
    ----------
    function : callable
    inputs : tuple
        Copies of the tensors, with layout and requires_grad; all else as it was.
    random_state : object
        As `Engine.set_random_state` takes it.
    place : str
        ``tests/test_x.py:12``.
    engine, device, default_dtype : str
    """

    function: Callable[..., Any]
    inputs: tuple[Any, ...]
    random_state: Any
    place: str
    engine: str = "torch"
    device: str = "cpu"
    default_dtype: str = "float32"


class GradcheckCalls:
    """Wraps ``gradcheck`` and keeps what it is called with from the user's code; its verdict stays its own.

    Parameters
    ----------
    is_own : callable
        Whether a source file is the user's.
    is_off : callable
        Whether nothing is noted now.
    room : callable
        Takes bytes of a limit; whether they were left.
    paused : callable
        A context in which no call of a Function is noted.
    """

    def __init__(
        self,
        is_own: Callable[[str], bool],
        is_off: Callable[[], bool],
        room: Callable[[int], bool],
        paused: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._is_own = is_own
        self._is_off = is_off
        self._room = room
        self._paused = paused
        self._thread = threading.local()
        self._signature = inspect.Signature()
        self._undo: list[Undo] = []
        self._calls: list[GradcheckCall] = []

    def wrap(self, module: ModuleType) -> None:
        """Wrap the function of ``torch.autograd.gradcheck``, and the name in ``torch.autograd`` if it is there yet."""
        original = module.gradcheck
        self._signature = inspect.signature(original)
        wrapper = self._wrapper(original)
        self._undo.append(replaced(module, "gradcheck", wrapper))
        package = sys.modules["torch.autograd"]
        if vars(package).get("gradcheck") is original:
            package.gradcheck = wrapper  # type: ignore[attr-defined]

        def undo() -> None:
            # Bound by an import that came after ours, or above.
            if vars(package).get("gradcheck") is wrapper:
                package.gradcheck = original  # type: ignore[attr-defined]

        self._undo.append(undo)

    def unwrap(self) -> None:
        """Undo; a wrapper that somebody has kept passes through."""
        while self._undo:
            self._undo.pop()()

    def taken(self) -> tuple[GradcheckCall, ...]:
        """The calls since this was last asked."""
        found, self._calls = tuple(self._calls), []
        return found

    def is_inside(self) -> bool:
        """Whether this thread is inside such a call, whose perturbed inputs are nobody's habit."""
        return getattr(self._thread, "depth", 0) > 0

    def _wrapper(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def gradcheck(*args: Any, **kwargs: Any) -> Any:
            if not self._undo or self._is_off():
                return original(*args, **kwargs)
            if not self.is_inside():
                self._note(sys._getframe(1), args, kwargs)
            with self._inside():
                return original(*args, **kwargs)

        return gradcheck

    @contextmanager
    def _inside(self) -> Iterator[None]:
        self._thread.depth = getattr(self._thread, "depth", 0) + 1
        try:
            yield
        finally:
            self._thread.depth -= 1

    def _note(self, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Keep the call, if the user's code makes it and it can be copied."""
        try:
            if self._is_own(frame.f_code.co_filename):
                with self._paused():
                    self._keep(frame, args, kwargs)
        except Exception:
            # The user's own verdict is all there is then.
            return

    def _keep(self, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        function, given, *_ = self._signature.bind(*args, **kwargs).arguments.values()
        inputs = tuple(given) if isinstance(given, (list, tuple)) else (given,)
        engine = registry.engine("torch")
        tensors = tensors_in(inputs, engine)
        if any(engine.why_not_copied(tensor) for tensor in tensors):
            return
        device = device_among(tensors, engine)
        with engine.aside():
            if not self._room(engine.extent(tensors)):
                return
            self._calls.append(
                GradcheckCall(
                    function=function,
                    inputs=copied(inputs, engine),
                    random_state=registry.engine("torch", device).random_state(),
                    place=_place(frame),
                    device=device,
                    default_dtype=engine.default_dtype_name(),
                )
            )


def _place(frame: FrameType) -> str:
    here = os.getcwd() + os.sep
    return f"{frame.f_code.co_filename.removeprefix(here)}:{frame.f_lineno}"
