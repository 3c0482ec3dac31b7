"""Processes whose end is noticed by whoever waits for a message."""

from __future__ import annotations

import multiprocessing
import os
import select
import threading
import time
from multiprocessing import context
from multiprocessing.process import BaseProcess
from typing import Any, Final, NoReturn

from refengine.multiprocessing.errors import ParentGoneError, exited
from refengine.multiprocessing.pickling import Envelope

SLICE: Final = 1.0
"""Seconds after which every wait looks up, in case that the end of a process was not announced."""

_running: set[Watched] = set()
_deaths: list[tuple[str, int, int, int] | None] = []
"""What `exited` is to say of each, in order. No exceptions: raised ones would keep the frames of who waited."""
_lock = threading.Lock()


class Watched(BaseProcess):
    """A process that is sent tensors by shared memory, and whose unwanted end is known to who waits for a message."""

    _is_ended = False
    _index = -1
    _place: int | None = None

    def start(self) -> None:
        super().start()
        with _lock:
            _running.add(self)

    def join(self, timeout: float | None = None) -> None:
        super().join(timeout)
        _reap()  # lets go of its descriptors

    def terminate(self) -> None:
        self._is_ended = True
        super().terminate()

    def kill(self) -> None:
        self._is_ended = True
        super().kill()

    def forgive(self) -> None:
        """Let nobody who waits hear of its end: somebody else says it."""
        self._is_ended = True
        if self._place is not None:
            _deaths[self._place] = None

    def close(self) -> None:
        with _lock:
            _running.discard(self)
        super().close()

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        state["_args"] = Envelope((state["_target"], state["_args"], state["_kwargs"]))
        state["_target"] = state["_kwargs"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        own = self.__dict__
        own["_target"], own["_args"], own["_kwargs"] = state["_args"]


class Process(Watched, multiprocessing.Process):
    """A process, started in the way that `set_start_method` says."""


class ForkProcess(Watched, context.ForkProcess):
    """A process that begins as a copy of this one."""


class SpawnProcess(Watched, context.SpawnProcess):
    """A process that begins with a new interpreter."""


class ForkServerProcess(Watched, context.ForkServerProcess):
    """A process that begins as a copy of a small server."""


def deaths() -> int:
    """How many processes started here have ended as they should not, as far as known."""
    _reap()
    return len(_deaths)


def _reap() -> None:
    """Look which processes have ended."""
    with _lock:
        for process in [process for process in _running if process.exitcode is not None]:
            _running.discard(process)
            code = process.exitcode
            if code and not process._is_ended:
                process._place = len(_deaths)
                _deaths.append((f"process {process.name}", process._index, process.pid or 0, code))


class Attention:
    """How far somebody who waits has heard of the ends of processes: each is said once."""

    __slots__ = ("process", "seen")

    def __init__(self) -> None:
        self.process, self.seen = os.getpid(), deaths()

    def is_due(self) -> bool:
        """Whether something has ended that should not have, and was not said yet."""
        if self.process != os.getpid():  # it came here by fork
            self.process, self.seen = os.getpid(), 0
        _reap()
        while self.seen < len(_deaths) and _deaths[self.seen] is None:
            self.seen += 1
        return self.seen < len(_deaths) or _is_orphan()

    def say(self) -> NoReturn:
        """Raise what is due.

        Raises
        ------
        ProcessExitedException
            If a process that was started here has ended as it should not.
        ParentGoneError
            If the process that started this one is gone.
        """
        ended = _deaths[self.seen] if self.seen < len(_deaths) else None
        if ended is None:
            raise ParentGoneError("multiprocessing: the process that started this one is gone", -1, os.getppid())
        self.seen += 1
        raise exited(*ended)

    def wait(self, descriptor: int, event: int, deadline: float | None) -> bool:
        """Wait until a descriptor is ready; False after the deadline.

        Raises
        ------
        ProcessExitedException, ParentGoneError
            As `say`, if something is due while the descriptor is not ready: what the dead have sent comes first.
        """
        while True:
            left = SLICE if deadline is None else min(SLICE, max(0.0, deadline - time.monotonic()))
            is_due = self.is_due()  # before the look at the descriptor, so that nothing can be sent after it
            if _poll(descriptor, event, 0.0 if is_due else left):
                return True
            if is_due:
                self.say()
            if deadline is not None and time.monotonic() >= deadline:
                return False


def _is_orphan() -> bool:
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


def _poll(descriptor: int, event: int, seconds: float) -> bool:
    """Whether the descriptor is ready; looks up earlier when a process that matters ends."""
    poll = select.poll()
    poll.register(descriptor, event)
    with _lock:
        sentinels = [process.sentinel for process in _running]
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinels.append(parent.sentinel)
    for sentinel in sentinels if seconds else ():
        poll.register(sentinel, select.POLLIN)
    return any(ready == descriptor for ready, _ in poll.poll(seconds * 1000))


def _forget() -> None:
    """In a child made by fork: what its parent started is not its own."""
    global _lock
    _lock = threading.Lock()
    _running.clear()
    _deaths.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
