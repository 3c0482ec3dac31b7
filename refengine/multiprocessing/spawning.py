"""Runs one function in several processes and brings back the first failure."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, Final

from refengine.multiprocessing.connection import Connection, Pipe, wait
from refengine.multiprocessing.context import get_context
from refengine.multiprocessing.errors import ProcessRaisedException, exited

GRACE: Final = 30.0
"""Seconds that the others have to end when one failed, before they are killed: PyTorch's."""


def run(function: Callable[..., Any], index: int, args: tuple[Any, ...], failure: Connection) -> None:
    """What each process does."""
    try:
        function(index, *args)
    except KeyboardInterrupt:  # the parent got it too
        pass
    except Exception:
        failure.send_bytes(traceback.format_exc().encode())
        sys.exit(1)


class ProcessContext:
    """Processes that run one function.

    Attributes
    ----------
    processes : list of Process
    """

    def __init__(self, processes: list[Any], failures: list[Connection]) -> None:
        self.processes, self._failures = processes, failures
        self._running = dict(enumerate(processes))

    def pids(self) -> list[int]:
        """The ids of the processes."""
        return [process.pid for process in self.processes]

    def join(self, timeout: float | None = None, grace_period: float | None = None) -> bool:
        """Wait until at least one process ends; True when all have.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most.
        grace_period : float, optional
            Seconds that the others have, when one failed, to end by themselves before they are asked to, and again
            before they are killed. None asks at once, and kills after 30 s.

        Raises
        ------
        ProcessRaisedException
            If one raised; the message has its traceback.
        ProcessExitedException
            If one was ended by a signal or exited with another status than 0.
        """
        if not self._running:
            return True
        ended = wait([process.sentinel for process in self._running.values()], timeout)
        failed = None
        for index, process in list(self._running.items()):
            if process.sentinel in ended:
                process.join()
                del self._running[index]
                failed = index if failed is None and process.exitcode else failed
        if failed is None:
            return not self._running
        self._stop(grace_period)
        for process in self.processes:
            process.forgive()
        raise self._failure(failed)

    def _stop(self, grace_period: float | None) -> None:
        """End those that still run."""
        running = list(self._running.values())
        if grace_period is not None:
            _join(running, grace_period)
        for process in running:
            if process.is_alive():
                process.terminate()
        _join(running, GRACE if grace_period is None else grace_period)
        for process in running:
            if process.is_alive():
                process.kill()
            process.join()
        self._running.clear()

    def _failure(self, index: int) -> Exception:
        process, failure = self.processes[index], self._failures[index]
        if not failure.poll():
            return exited(f"process {index}", index, process.pid, process.exitcode)
        try:
            text = failure.recv_bytes().decode()
        except EOFError:
            return exited(f"process {index}", index, process.pid, process.exitcode)
        return ProcessRaisedException(f"process {index} raised:\n\n{text}", index, process.pid)


SpawnContext = ProcessContext


def start_processes(
    fn: Callable[..., Any],
    args: tuple[Any, ...] = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """Call ``fn(i, *args)`` in process number i of `nprocs`, each started by `start_method`.

    Returns None when all have ended, or, with ``join=False``, at once a `ProcessContext` to join.

    Raises
    ------
    ProcessRaisedException
        If one raised; the others are ended then, and the message has its traceback.
    ProcessExitedException
        If one was ended by a signal or exited with another status than 0.
    """
    context = get_context(start_method)
    processes, failures = [], []
    for index in range(nprocs):
        ours, theirs = Pipe(duplex=False)
        process = context.Process(target=run, args=(fn, index, args, theirs), daemon=daemon)
        process._index = index
        process.start()
        theirs.close()
        processes.append(process)
        failures.append(ours)
    found = ProcessContext(processes, failures)
    if not join:
        return found
    while not found.join():
        pass
    return None


def spawn(
    fn: Callable[..., Any],
    args: tuple[Any, ...] = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """As `start_processes`: PyTorch's name for it."""
    return start_processes(fn, args, nprocs, join, daemon, start_method)


def _join(processes: list[Any], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
