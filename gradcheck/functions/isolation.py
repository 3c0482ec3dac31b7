"""Run a check in a child process with a time limit: a backward that crashes, hangs or exits takes nothing with it."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable
from typing import Any

from gradcheck.failures import UsageError

# How long a child has to end itself once it has sent its answer, or was told to end.
_GRACE = 2.0


class Crash(Exception):
    """The child ended without an answer; says how."""


def is_possible() -> bool:
    """Whether this system can copy a running process, which takes a check as it stands into a child."""
    return hasattr(os, "fork")


def isolated(work: Callable[[], Any], seconds: float) -> Any:
    """What `work` returns, computed in a child process.

    Parameters
    ----------
    work : callable
        Its result must be picklable.
    seconds : float
        After so long the child is ended.

    Raises
    ------
    Crash
        If the child was ended by a signal, exited, or did not answer in time.
    UsageError
        Where processes cannot be forked.
    """
    if not is_possible():
        raise UsageError("--gradcheck-isolate: this system cannot fork a process; run without it")
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(work, sender), daemon=True)
    with warnings.catch_warnings():
        # Libraries with threads of their own warn of a fork; the child has one, and calls nothing of theirs.
        warnings.simplefilter("ignore")
        child.start()
    sender.close()
    try:
        return _answer(child, receiver, seconds)
    finally:
        child.join(_GRACE)
        if child.is_alive():
            child.kill()
            child.join()
        receiver.close()


def _work(work: Callable[[], Any], sender: Any) -> None:
    """In the child: send the answer and end at once, without the parent's exit handlers."""
    faulthandler.disable()  # a crash is told by its signal; pytest would print the whole stack of the run
    sender.send(work())
    sender.close()
    os._exit(0)


def _answer(child: Any, receiver: Any, seconds: float) -> Any:
    if not receiver.poll(seconds):
        child.kill()
        raise Crash(f"did not end within {seconds:g} s")
    try:
        return receiver.recv()
    except EOFError:
        child.join(_GRACE)
        raise Crash(_ending(child.exitcode)) from None


def _ending(code: int | None) -> str:
    if code is None:
        return "closed its end and went on"
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"exited with status {code}"
