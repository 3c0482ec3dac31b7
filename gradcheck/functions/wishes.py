"""What is asked of the check of one Function, and how much it may spend."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

Interval = tuple[float, float]

# What the first input may cost at most: a multiple of the allowance, and no less than a small Function needs.
PATIENCE = 4.0
LEAST_SECONDS = 8.0
LEAST_EVALUATIONS = 5_000


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a marker, a declaration or an option asks for.

    Attributes
    ----------
    rtol : float
        The relative error of the derivative that must still be seen.
    nondet_tol : float
        How far repeated passes may differ, relative to an array's largest entry.
    claims : tuple of str
        Names or codes of claims that must hold, those that are optional by default among them.
    domain : pair of floats, or mapping from an argument's position to such a pair, or None
        Where drawn values may lie; what is known from the values seen by default.
    strict : bool
        A deliberate mismatch is a failure.
    surrogate : str
        Why the backward is not the derivative on purpose; "" where nobody said so.
    """

    rtol: float = 1e-6
    nondet_tol: float = 0.0
    claims: tuple[str, ...] = ()
    domain: Interval | Mapping[int, Interval] | None = None
    strict: bool = False
    surrogate: str = ""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the check of one Function may cost; None is no limit. The first input may take `PATIENCE` times as much.

    Attributes
    ----------
    seconds : float or None
        Wall-clock time.
    evaluations : int or None
        Calls of the Function: the same on every machine.
    """

    seconds: float | None = 2.0
    evaluations: int | None = None


@dataclass(slots=True)
class Meter:
    """What was spent of an allowance."""

    allowance: Allowance
    evaluations: int = 0
    start: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Wall-clock time since the start."""
        return time.monotonic() - self.start

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left."""
        seconds, evaluations = self.allowance.seconds, self.allowance.evaluations
        return (seconds is not None and self.seconds >= seconds) or (
            evaluations is not None and self.evaluations >= evaluations
        )

    @property
    def is_exhausted(self) -> bool:
        """Whether even the first input may cost no more: a Function that takes a second a call is not called on."""
        seconds, evaluations = self.allowance.seconds, self.allowance.evaluations
        return (seconds is not None and self.seconds >= max(LEAST_SECONDS, PATIENCE * seconds)) or (
            evaluations is not None and self.evaluations >= max(LEAST_EVALUATIONS, PATIENCE * evaluations)
        )

    def left(self) -> float:
        """Seconds that are left; infinite where time does not count."""
        seconds = self.allowance.seconds
        return float("inf") if seconds is None else max(0.0, seconds - self.seconds)
