"""Queues that no death of a process can break: packets in the kernel, no lock across a wait, no thread in between."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import queue
import select
import threading
import time
from collections import deque
from collections.abc import Iterator
from multiprocessing import context, util
from typing import Any, Final

import numpy as np

from refengine.multiprocessing.connection import Pipe, deadline_in, is_ready
from refengine.multiprocessing.pickling import Message, pack, unpack
from refengine.multiprocessing.process import SLICE
from refengine.region import Region

PAUSE: Final = 0.005
"""Seconds between two looks at a full queue: short beside starting a process, long beside one look (microseconds)."""
FLUSHES: Final = -5
"""When, among what is done at exit, queues wait for what they have to send: as in the standard library."""


class SimpleQueue:
    """A queue between processes without a thread; `put` waits while the kernel has no room (about 200 objects)."""

    def __init__(self) -> None:
        self._reader, self._writer = Pipe(duplex=False)

    def put(self, obj: Any) -> None:
        """Add an object; tensors in it are moved to shared memory and not copied.

        Raises
        ------
        SendError
            If a tensor in it requires grad and is no leaf.
        """
        self._writer.send(obj)

    def get(self) -> Any:
        """Take the next object.

        Raises
        ------
        ProcessExitedException
            If a process that was started here has ended as it should not, and the queue is empty; said once.
        ParentGoneError
            If the process that started this one is gone, and the queue is empty.
        """
        return self._reader.recv()

    def empty(self) -> bool:
        """Whether nothing is there to take."""
        return not self._reader.poll()

    def close(self) -> None:
        """Let go of it in this process."""
        self._reader.close()
        self._writer.close()

    def __getstate__(self) -> Any:
        context.assert_spawning(self)
        return self._reader, self._writer

    def __setstate__(self, state: Any) -> None:
        self._reader, self._writer = state


class Queue:
    """A queue between processes; `put` does not wait, except for a place where `maxsize` is given.

    Objects are pickled by `put` itself, so that what cannot be sent is refused there, and what is sent is as it was.
    What the kernel has no room for is kept by the process that put it, and sent by a thread.

    Parameters
    ----------
    maxsize : int
        How many objects it holds; 0 is any number.
    """

    def __init__(self, maxsize: int = 0) -> None:
        self._maxsize = maxsize
        self._reader, self._writer = Pipe(duplex=False)
        self._counted = Region.create(16)
        self._start()
        util.register_after_fork(self, Queue._start)

    def _start(self) -> None:
        """What each process has of its own."""
        # The number of the last packet sent, and of the last received. A process that dies between a packet and its
        # number leaves a count that is off by one until the next packet, or until the queue is seen to be empty.
        self._numbers = np.ndarray((2,), np.int64, self._counted)
        self._lock = threading.RLock()
        self._backlog: deque[Message] = deque()
        self._feeder: threading.Thread | None = None
        self._at_exit: Any = None
        self._is_joined = True
        self._is_closed = False

    def __getstate__(self) -> Any:
        context.assert_spawning(self)
        return self._maxsize, self._reader, self._writer, self._counted

    def __setstate__(self, state: Any) -> None:
        self._maxsize, self._reader, self._writer, self._counted = state
        self._start()
        util.register_after_fork(self, Queue._start)

    # --- putting --------------------------------------------------------------------------------------------------

    def put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add an object; tensors in it are moved to shared memory and not copied.

        Raises
        ------
        SendError
            If a tensor in it requires grad and is no leaf.
        queue.Full
            If there is no place until the timeout, or at once with ``block=False``.
        ProcessExitedException, ParentGoneError
            While it waits, as for `get`.
        """
        if self._is_closed:
            raise ValueError(f"put: {self!r} is closed")
        message = pack(obj)
        if self._maxsize <= 0:
            self._put_anyway(message)
            return
        deadline = deadline_in(timeout if block else 0)
        while not self._put_in_place(message):
            if deadline is not None and time.monotonic() >= deadline:
                raise queue.Full
            if self._writer.attention.is_due():
                self._writer.attention.say()
            time.sleep(PAUSE)

    def put_nowait(self, obj: Any) -> None:
        """Add an object if there is a place."""
        self.put(obj, False)

    def _put_in_place(self, message: Message) -> bool:
        with self._alone():
            return self._length() < self._maxsize and self._write(message)

    def _put_anyway(self, message: Message) -> None:
        with self._lock:
            if not self._backlog:
                with self._alone():
                    if self._write(message):
                        return
            self._backlog.append(message)
            if self._feeder is None:
                self._feeder = threading.Thread(target=self._feed, name="QueueFeeder", daemon=True)
                self._feeder.start()
                self._at_exit = util.Finalize(None, self._wait_for_feeder, exitpriority=FLUSHES)

    def _write(self, message: Message) -> bool:
        """Send if the kernel has room. Nobody else sends meanwhile."""
        number = int(self._numbers[0]) + 1
        if not self._writer.try_write(message, number):
            return False
        self._numbers[0] = number
        return True

    def _feed(self) -> None:
        """Send what had to be kept, then end."""
        while True:
            with self._lock:
                while self._backlog:
                    with self._alone():
                        if not self._write(self._backlog[0]):
                            break
                    self._backlog.popleft()
                if not self._backlog:
                    self._feeder = None
                    self._at_exit.cancel()
                    return
            is_ready(self._writer, select.POLLOUT, SLICE)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other threads, and processes, from putting. The system takes the lock from a process that dies."""
        with self._lock:
            fcntl.lockf(self._counted.fileno(), fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._counted.fileno(), fcntl.LOCK_UN)

    # --- taking ---------------------------------------------------------------------------------------------------

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the next object.

        Raises
        ------
        queue.Empty
            If there is none until the timeout, or at once with ``block=False``.
        ProcessExitedException
            If a process that was started here has ended as it should not, and the queue is empty. It is said once for
            each such process; the queue can be used as before.
        ParentGoneError
            If the process that started this one is gone, and the queue is empty.
        """
        if self._is_closed:
            raise ValueError(f"get: {self!r} is closed")
        try:
            found = self._reader.read(deadline_in(timeout)) if block else self._reader.try_read()
        except TimeoutError:
            raise queue.Empty from None
        if found is None:
            raise queue.Empty
        number, payload, descriptors = found
        self._numbers[1] = max(number, int(self._numbers[1]))
        return unpack(payload, descriptors)

    def get_nowait(self) -> Any:
        """Take the next object if there is one."""
        return self.get(False)

    # --- asking ---------------------------------------------------------------------------------------------------

    def _length(self) -> int:
        """How many objects the kernel has."""
        if not is_ready(self._reader, select.POLLIN):
            return 0
        return max(1, int(self._numbers[0] - self._numbers[1]))

    def qsize(self) -> int:
        """How many objects wait, as far as this process knows."""
        return self._length() + len(self._backlog)

    def empty(self) -> bool:
        """Whether nothing is there to take."""
        return not is_ready(self._reader, select.POLLIN)

    def full(self) -> bool:
        """Whether there is no place."""
        return 0 < self._maxsize <= self._length()

    # --- the end --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Say that this process puts and takes nothing more; what it put before is still sent."""
        self._is_closed = True

    def join_thread(self) -> None:
        """Wait until what was put is on its way, or nobody is left to take it; after `close`."""
        if not self._is_closed:
            raise ValueError(f"join_thread: close {self!r} first")
        self._wait_for_feeder()

    def cancel_join_thread(self) -> None:
        """Let this process end although not all that was put is on its way; it is lost then."""
        self._is_joined = False

    def _wait_for_feeder(self) -> None:
        """Wait until everything is sent, as long as there may be somebody to take it."""
        parent = multiprocessing.parent_process()
        feeder = self._feeder
        while self._is_joined and feeder is not None and feeder.is_alive():
            if not (parent.is_alive() if parent else multiprocessing.active_children()):
                return
            feeder.join(SLICE / 10)
