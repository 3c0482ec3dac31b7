"""What the processes of the tests do: functions that a new interpreter can import."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import refengine as re
from refengine import multiprocessing as mp

PATIENCE = 60.0
"""Seconds after which a wait in a test counts as a hang. All of them take milliseconds."""


def fill(tensor: Any, value: float) -> None:
    tensor.fill_(value)


def answer(inbox: Any, outbox: Any, pipe: Any, shared: Any) -> None:
    """Write into a shared tensor, send a view of it two ways, and what came by the queue a third."""
    shared.add_(1.0)
    outbox.put(shared[1:])
    pipe.send({"received": inbox.get(timeout=PATIENCE), "parts": [shared, shared.t()]})


def work(inbox: Any, outbox: Any) -> None:
    """Take (number, tensor, ballast), send a new tensor of the same value; keep some of them."""
    kept = []
    while (task := inbox.get()) is not None:
        number, tensor, ballast = task
        kept = [*kept[-5:], tensor]
        outbox.put((number, tensor + 1.0, len(ballast)))


def put_and_die(channel: Any) -> None:
    (channel.put if hasattr(channel, "put") else channel.send)(re.full((1000,), 7.0))
    die()


def take_and_die(channel: Any) -> None:
    channel.get(timeout=PATIENCE)
    die()


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def put_many(outbox: Any, count: int) -> None:
    for number in range(count):
        outbox.put((os.getpid(), number))


def parent_that_dies(pipe: Any) -> None:
    child = mp.get_context("fork").Process(target=wait_for_ever, args=(pipe,))
    child.start()
    child.join(PATIENCE)


def wait_for_ever(pipe: Any) -> None:
    inbox = mp.Queue()
    pipe.send(os.getppid())
    try:
        inbox.get()
    except mp.ParentGoneError as error:
        pipe.send(str(error))


def raises(index: int, value: Any) -> None:
    if index == 1:
        raise ValueError(f"the value is {value.item()}")
    signal.pause()


def dies(index: int) -> None:
    if index == 1:
        die()
    signal.pause()


def exits(index: int) -> None:
    sys.exit(3 * index)


def double(x: Any) -> Any:
    return x * 2


def total(x: Any, y: Any = 0) -> Any:
    return x + y


def invert(x: float) -> float:
    return 1.0 / x


class Unpicklable(Exception):
    """An exception that cannot be made again from its arguments."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__("unpicklable")


def raise_unpicklable(x: Any) -> None:
    raise Unpicklable(x, x)


def pid_of(_: Any) -> int:
    return os.getpid()


def no_begin() -> None:
    raise RuntimeError("the initializer fails")


class Named(re.Tensor):
    """A subclass with an attribute."""
