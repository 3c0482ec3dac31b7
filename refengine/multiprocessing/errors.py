"""What is raised when another process ends as it should not."""

from __future__ import annotations

import signal
from typing import Any

from refengine.errors import RefengineError


class ProcessException(RefengineError):
    """Another process failed.

    Attributes
    ----------
    msg : str
    error_index : int
        Its number among the processes started together; -1 for one that was started alone.
    error_pid : int
    """

    def __init__(self, msg: str, error_index: int, error_pid: int) -> None:
        super().__init__(msg)
        self.msg, self.error_index, self.error_pid = msg, error_index, error_pid
        self.pid = error_pid

    def __reduce__(self) -> Any:
        return type(self), (self.msg, self.error_index, self.error_pid)


class ProcessRaisedException(ProcessException):
    """It raised an exception; the message has the traceback."""


class ProcessExitedException(ProcessException):
    """It was ended by a signal, or exited with a status other than 0.

    Attributes
    ----------
    exit_code : int
        The status, or minus the number of the signal.
    signal_name : str or None
    """

    def __init__(
        self, msg: str, error_index: int, error_pid: int, exit_code: int, signal_name: str | None = None
    ) -> None:
        super().__init__(msg, error_index, error_pid)
        self.exit_code, self.signal_name = exit_code, signal_name

    def __reduce__(self) -> Any:
        return type(self), (self.msg, self.error_index, self.error_pid, self.exit_code, self.signal_name)


class ParentGoneError(ProcessException, EOFError):
    """The process that started this one is gone, so that nothing more is to be expected."""


def exited(who: str, index: int, pid: int, code: int) -> ProcessExitedException:
    """The error for a process that ended with a status."""
    name = None
    if code < 0:
        known = {member.value: member.name for member in signal.Signals}
        name = known.get(-code, f"signal {-code}")
    how = f"was ended by {name}" if name else f"exited with status {code}"
    return ProcessExitedException(f"{who} (pid {pid}) {how}", index, pid, code, name)
