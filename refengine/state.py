"""The engine's modes, one set a thread. `autograd/modes.py` changes them behind context managers."""

from __future__ import annotations

import threading


class State(threading.local):
    """What every op looks at.

    Attributes
    ----------
    grad_enabled : bool
        Whether ops are recorded.
    intercept : int
        How many rare modes (open forward-mode levels) are on; while it is not zero an op's call takes the detour.
    """

    grad_enabled: bool = True
    intercept: int = 0


state = State()
