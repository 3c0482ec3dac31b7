"""The standard library's contexts, with processes, queues, pipes and pools that carry tensors."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing import context
from typing import Any, Final

from refengine.multiprocessing import connection, pool, process, queues


class Offers:
    """What a context makes; the rest (locks, events, managers, …) is the standard library's."""

    def Queue(self, maxsize: int = 0) -> queues.Queue:
        """A queue between processes; see `refengine.multiprocessing.Queue`."""
        return queues.Queue(maxsize)

    def SimpleQueue(self) -> queues.SimpleQueue:
        """A queue without a thread; see `refengine.multiprocessing.SimpleQueue`."""
        return queues.SimpleQueue()

    def Pipe(self, duplex: bool = True) -> tuple[connection.Connection, connection.Connection]:
        """Two connected ends; see `refengine.multiprocessing.Pipe`."""
        return connection.Pipe(duplex)

    def Pool(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Any = (),
        maxtasksperchild: int | None = None,
    ) -> pool.Pool:
        """Workers that call functions; see `refengine.multiprocessing.Pool`."""
        return pool.Pool(processes, initializer, initargs, maxtasksperchild, self)


class ForkContext(Offers, context.ForkContext):  # type: ignore[misc]
    """Processes begin as copies of this one."""

    Process = process.ForkProcess


class SpawnContext(Offers, context.SpawnContext):  # type: ignore[misc]
    """Processes begin with a new interpreter."""

    Process = process.SpawnProcess


class ForkServerContext(Offers, context.ForkServerContext):  # type: ignore[misc]
    """Processes begin as copies of a small server."""

    Process = process.ForkServerProcess


CONTEXTS: Final[dict[str, Any]] = {
    "fork": ForkContext(),
    "spawn": SpawnContext(),
    "forkserver": ForkServerContext(),
}


def get_context(method: str | None = None) -> Any:
    """The context for a start method; None is the one in use, and settles which that is.

    Raises
    ------
    ValueError
        If the system does not know it.
    """
    chosen = multiprocessing.get_start_method() if method is None else method
    if chosen not in multiprocessing.get_all_start_methods():
        raise ValueError(f"get_context: expected one of {', '.join(CONTEXTS)}, got {chosen!r}")
    return CONTEXTS[chosen]


def Pool(
    processes: int | None = None,
    initializer: Callable[..., Any] | None = None,
    initargs: Any = (),
    maxtasksperchild: int | None = None,
) -> pool.Pool:
    """Workers that call functions, started in the way in use; see `refengine.multiprocessing.pool.Pool`."""
    return get_context().Pool(processes, initializer, initargs, maxtasksperchild)  # type: ignore[no-any-return]
