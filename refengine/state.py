"""The engine's modes, one set a thread. `autograd/modes.py` changes them behind context managers."""

from __future__ import annotations

import threading
from typing import Any


class State(threading.local):
    """What every op looks at.

    Attributes
    ----------
    grad_enabled : bool
        Whether ops are recorded.
    intercept : int
        How many rare modes (open forward-mode levels, lists of calls) are on; while it is not zero an op's call takes
        the detour.
    level : object or None
        Tells the open forward-mode level from every other.
    tangents : list or None
        During a detour, what the node made next keeps: [level, the operands' tangents, the result's].
    calls : object or None
        Where calls of ops are listed.
    """

    grad_enabled: bool = True
    intercept: int = 0
    level: object | None = None
    tangents: list[Any] | None = None
    calls: Any = None


state = State()
