"""Run tasks in this process or in a few spawned ones, and say how far they are."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

# Seconds between two lines of progress.
SAID_EVERY = 20.0


@dataclass(frozen=True, slots=True)
class Asked:
    """How much is measured.

    Attributes
    ----------
    graphs : int
        In each class.
    seed : int
        The number of the first graph, and of other first things.
    seeds : int
        How often each planted mistake is looked for.
    jobs : int
        Processes.
    """

    graphs: int
    seed: int
    seeds: int
    jobs: int


@dataclass(frozen=True, slots=True)
class Task:
    """A call of a module-level function, and what to name it in a line of progress."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    def __call__(self) -> Any:
        return self.function(*self.arguments)


def spread(tasks: Sequence[Task], jobs: int, say: Callable[[str], None]) -> Iterator[Any]:
    """The results as they come."""
    start = last = time.monotonic()
    for done, (task, result) in enumerate(_results(tasks, jobs), 1):
        now = time.monotonic()
        if now - last > SAID_EVERY:
            say(f"{done} of {len(tasks)} after {now - start:.0f} s; last: {task.name}")
            last = now
        yield result


def _results(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, Any]]:
    if jobs <= 1:
        yield from ((task, task()) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_alone) as pool:
        futures = {pool.submit(task): task for task in tasks}
        yield from ((futures[future], future.result()) for future in as_completed(futures))


def _alone() -> None:
    """One thread a process, as the variables for it must be set before the libraries are imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
