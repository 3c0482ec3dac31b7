"""A pool of workers. Each has a pipe of its own, so that the death of one fails the call it had, and nothing else."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import queue
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing import util
from multiprocessing.pool import ExceptionWithTraceback  # type: ignore[attr-defined]
from typing import Any, Final

from refengine.multiprocessing.connection import Connection, Pipe, wait
from refengine.multiprocessing.errors import exited
from refengine.multiprocessing.pickling import Message, pack, unpack
from refengine.multiprocessing.process import SLICE

READY, VALUES, ERROR, NOTHING = "ready", "values", "error", "nothing"
"""What a worker says."""
EARLY: Final = 15
"""When, among what is done at exit, pools end: before their workers are taken from them, as in the standard library."""
GRACE: Final = 5.0
"""Seconds that a worker has to end when asked, before it is killed. One that is idle ends within milliseconds."""


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that waits for a worker or is at one: what is sent, and where its result goes."""

    message: Message
    result: Future[Any]


@dataclass(slots=True)
class _Worker:
    process: Any
    pipe: Connection
    is_ready: bool = False
    call: _Call | None = None
    calls: int = 0


def work(pipe: Connection, initializer: Callable[..., Any] | None, initargs: Any) -> None:
    """What a worker does: take a call, send its result, until told to end or left alone."""
    if initializer is not None:
        initializer(*initargs)
    try:
        pipe.send((READY, None))
        while (answer := _next_answer(pipe)) is not None:
            pipe.write(answer)
    except (EOFError, BrokenPipeError):  # the pool is gone
        return


def _next_answer(pipe: Connection) -> Message | None:
    """Do one call."""
    _, payload, descriptors = pipe.read()
    try:
        task = unpack(payload, descriptors)
        if task is None:
            return None
        function, items = task
        return pack((VALUES, [function(*arguments, **keywords) for arguments, keywords in items]))
    except Exception as error:
        return _failure(error)


def _failure(error: Exception) -> Message:
    try:
        return pack((ERROR, ExceptionWithTraceback(error, error.__traceback__)))
    except Exception:  # it cannot be pickled
        return pack((ERROR, RuntimeError("".join(traceback.format_exception(error)))))


class AsyncResult:
    """The results of calls that may still run."""

    def __init__(
        self,
        futures: list[Future[Any]],
        is_one: bool,
        callback: Callable[[Any], Any] | None,
        error_callback: Callable[[BaseException], Any] | None,
    ) -> None:
        self._futures, self._is_one = futures, is_one
        self._callbacks = callback, error_callback
        self._lock, self._left = threading.Lock(), len(futures)
        self._done = threading.Event()
        self._value: Any = None
        self._error: BaseException | None = None
        if not futures:
            self._finish()
        for future in futures:
            future.add_done_callback(self._one_done)

    def _one_done(self, _: Future[Any]) -> None:
        with self._lock:
            self._left -= 1
            if self._left:
                return
        self._finish()

    def _finish(self) -> None:
        # The calls lead back here: without letting go of them, their results would wait for the garbage collector.
        futures, self._futures = self._futures, []
        callback, error_callback = self._callbacks
        self._error = next((error for error in (future.exception() for future in futures) if error), None)
        try:
            if self._error is None:
                found = [value for future in futures for value in future.result()]
                self._value = found[0] if self._is_one else found
                if callback is not None:
                    callback(self._value)
            elif error_callback is not None:
                error_callback(self._error)
        finally:
            self._done.set()

    def ready(self) -> bool:
        """Whether all are done."""
        return self._done.is_set()

    def successful(self) -> bool:
        """Whether none raised; ValueError if not all are done."""
        if not self.ready():
            raise ValueError("successful: the result is not ready")
        return self._error is None

    def wait(self, timeout: float | None = None) -> None:
        """Wait until all are done or the time is over."""
        self._done.wait(timeout)

    def get(self, timeout: float | None = None) -> Any:
        """What was returned.

        Raises
        ------
        multiprocessing.TimeoutError
            If not all are done in that many seconds.
        ProcessExitedException
            If a worker ended during a call.
        Exception
            What a call raised; its cause shows the worker's traceback.
        """
        self.wait(timeout)
        if not self.ready():
            raise multiprocessing.TimeoutError(f"get: no result in {timeout} s")
        try:
            if self._error is not None:
                raise self._error
            return self._value
        finally:
            del self  # the error's traceback has this frame


class Pool:
    """Workers that call functions with tensors in shared memory.

    A worker that dies fails the one call it had (`ProcessExitedException`) and is replaced.

    Parameters
    ----------
    processes : int, optional
        How many; None is one for each processor.
    initializer, initargs
        Called by each worker first.
    maxtasksperchild : int, optional
        A worker is replaced after that many calls.
    context : optional
        From `get_context`.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Any = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
    ) -> None:
        count = os.cpu_count() or 1 if processes is None else processes
        if count < 1:
            raise ValueError(f"Pool: expected at least one process, got processes={processes}")
        if maxtasksperchild is not None and maxtasksperchild < 1:
            raise ValueError(f"Pool: expected at least one call, got maxtasksperchild={maxtasksperchild}")
        if context is None:
            from refengine.multiprocessing.context import get_context

            context = get_context()
        self._context, self._initial, self._most = context, (initializer, initargs), maxtasksperchild
        self._lock = threading.Lock()
        self._waiting: deque[_Call] = deque()
        self._is_open, self._is_stopped = True, False
        self._wake, self._woken = Pipe()
        self._stillborn = 0
        self._workers = [self._hired() for _ in range(count)]
        self._manager = threading.Thread(target=self._manage, name="PoolManager", daemon=True)
        self._manager.start()
        self._at_exit = util.Finalize(None, self.terminate, exitpriority=EARLY)

    def _hired(self) -> _Worker:
        ours, theirs = Pipe()
        process = self._context.Process(target=work, args=(theirs, *self._initial), daemon=True)
        process.forgive()  # its end is the pool's business
        process.start()
        theirs.close()
        return _Worker(process, ours)

    # --- what the manager's thread does ---------------------------------------------------------------------------

    def _manage(self) -> None:
        """Hand out calls and take results, until there are no more."""
        while True:
            with self._lock:
                if self._is_stopped or not (self._is_open or self._waiting or self._busy()):
                    break
            self._hand_out()
            ends: list[Any] = [self._woken, *(end for w in self._workers for end in (w.pipe, w.process.sentinel))]
            ready: list[Any] = wait(ends, SLICE)
            while self._woken.poll():
                self._woken.recv_bytes()
            for worker in list(self._workers):
                if worker.pipe in ready or worker.process.exitcode is not None:
                    self._listen(worker)
        self._let_go()

    def _busy(self) -> bool:
        return any(worker.call is not None for worker in self._workers)

    def _hand_out(self) -> None:
        for worker in self._workers:
            if worker.is_ready and worker.call is None and self._waiting:
                worker.call = self._waiting.popleft()
                worker.calls += 1
                with contextlib.suppress(ConnectionError):  # it is gone: `_listen` will see
                    worker.pipe.try_write(worker.call.message)  # an idle worker's pipe has room

    def _listen(self, worker: _Worker) -> None:
        """Take what a worker sent, or notice that it ended."""
        try:
            kind, content = worker.pipe.recv() if worker.pipe.poll() else (NOTHING, None)
        except (EOFError, ConnectionError):
            kind, content = NOTHING, None
            worker.process.join(SLICE / 10)  # it closed the pipe, so it is about to end
        except Exception as error:  # what it sent cannot be read here
            kind, content = ERROR, error
        if kind == READY:
            worker.is_ready, self._stillborn = True, 0
        elif kind != NOTHING:
            _settle(worker, kind, content)
            if self._most is not None and worker.calls >= self._most:
                self._replace(worker)
        elif worker.process.exitcode is not None:
            self._bury(worker)

    def _bury(self, worker: _Worker) -> None:
        """Fail the call that a worker had, and put another in its place."""
        process = worker.process
        error = exited("a worker of the pool", self._workers.index(worker), process.pid, process.exitcode)
        _settle(worker, ERROR, error)
        self._stillborn += not worker.is_ready
        if self._stillborn > len(self._workers):  # every one and again one: an initializer that raises, say
            self._refuse(error)
            self._workers.remove(worker)
        else:
            self._replace(worker)

    def _refuse(self, error: Exception) -> None:
        """Take no more calls, and fail those that wait."""
        with self._lock:
            waiting, self._waiting = self._waiting, deque()
            self._is_open = False
        for call in waiting:
            call.result.set_exception(error)

    def _replace(self, worker: _Worker) -> None:
        _ask_to_end(worker)
        _end([worker])
        self._workers[self._workers.index(worker)] = self._hired()

    def _let_go(self) -> None:
        """End the workers: those that are at work at once, the others when they have heard of it."""
        for worker in self._workers:
            if worker.call is not None:
                worker.process.terminate()
            _ask_to_end(worker)
        _end(self._workers)
        error = RuntimeError("Pool: it was terminated before the call was done")
        for worker in self._workers:
            _settle(worker, ERROR, error)
        self._refuse(error)
        self._at_exit.cancel()

    # --- calls ----------------------------------------------------------------------------------------------------

    def _submit(self, function: Callable[..., Any], items: list[Any]) -> Future[Any]:
        """Have a worker call the function for several arguments."""
        result: Future[Any] = Future()
        try:
            call = _Call(pack((function, items)), result)
        except Exception as error:
            result.set_exception(error)
            return result
        with self._lock:
            self._check()
            self._waiting.append(call)
        self._wake.try_write(Message(b"!", []))
        return result

    def _check(self) -> None:
        if not self._is_open:
            raise ValueError("Pool: it is closed, or its workers end as soon as they start")

    def _spread(self, function: Callable[..., Any], items: Iterable[Any], size: int | None) -> list[Future[Any]]:
        """Submit calls in chunks; four for each worker unless told otherwise."""
        calls = list(items)
        size = max(1, -(-len(calls) // (4 * len(self._workers or [0])))) if size is None else size
        if size < 1:
            raise ValueError(f"Pool: expected a chunk of at least one call, got chunksize={size}")
        self._check()
        return [self._submit(function, calls[start : start + size]) for start in range(0, len(calls), size)]

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: dict[str, Any] | None = None,
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
    ) -> AsyncResult:
        """Have a worker call a function."""
        self._check()
        return AsyncResult([self._submit(func, [(tuple(args), kwds or {})])], True, callback, error_callback)

    def apply(self, func: Callable[..., Any], args: Iterable[Any] = (), kwds: dict[str, Any] | None = None) -> Any:
        """Have a worker call a function, and wait for what it returns."""
        return self.apply_async(func, args, kwds).get()

    def map_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
    ) -> AsyncResult:
        """Have workers call a function on each item."""
        futures = self._spread(func, (((item,), {}) for item in iterable), chunksize)
        return AsyncResult(futures, False, callback, error_callback)

    def map(self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None = None) -> list[Any]:
        """What a function returns for each item, in order."""
        return self.map_async(func, iterable, chunksize).get()  # type: ignore[no-any-return]

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
    ) -> AsyncResult:
        """As `map_async`, where each item is a tuple of arguments."""
        futures = self._spread(func, ((tuple(item), {}) for item in iterable), chunksize)
        return AsyncResult(futures, False, callback, error_callback)

    def starmap(
        self, func: Callable[..., Any], iterable: Iterable[Iterable[Any]], chunksize: int | None = None
    ) -> list[Any]:
        """As `map`, where each item is a tuple of arguments."""
        return self.starmap_async(func, iterable, chunksize).get()  # type: ignore[no-any-return]

    def imap(self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int = 1) -> Iterator[Any]:
        """What a function returns for each item, one after the other."""
        futures = self._spread(func, (((item,), {}) for item in iterable), chunksize)
        return itertools.chain.from_iterable(future.result() for future in futures)

    def imap_unordered(self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int = 1) -> Iterator[Any]:
        """What a function returns for each item, as it comes."""
        futures = self._spread(func, (((item,), {}) for item in iterable), chunksize)
        done: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        for future in futures:
            future.add_done_callback(done.put)
        return itertools.chain.from_iterable(done.get().result() for _ in futures)

    # --- the end --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Take no more calls; workers end when all are done."""
        with self._lock:
            self._is_open = False
        self._wake.try_write(Message(b"!", []))

    def terminate(self) -> None:
        """End the workers now."""
        with self._lock:
            self._is_open, self._is_stopped = False, True
        self._wake.try_write(Message(b"!", []))
        self._manager.join()

    def join(self) -> None:
        """Wait for the workers to end, after `close` or `terminate`."""
        if self._is_open:
            raise ValueError("join: close or terminate the pool first")
        self._manager.join()

    def __enter__(self) -> Pool:
        self._check()
        return self

    def __exit__(self, *_: object) -> None:
        self.terminate()


def _settle(worker: _Worker, kind: str, content: Any) -> None:
    """Give what came to whoever waits for it."""
    call, worker.call = worker.call, None
    if call is not None:
        (call.result.set_result if kind == VALUES else call.result.set_exception)(content)


def _ask_to_end(worker: _Worker) -> None:
    with contextlib.suppress(OSError):
        worker.pipe.try_write(pack(None))
    worker.pipe.close()


def _end(workers: list[_Worker]) -> None:
    """Wait for workers that were asked to end; kill those that do not."""
    deadline = time.monotonic() + GRACE
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
        if worker.process.exitcode is None:
            worker.process.kill()
            worker.process.join()
