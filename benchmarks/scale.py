"""How large and how long everything is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Scale:
    """One of three: tiny and once, to see that all of it works; within three minutes; and in full.

    Attributes
    ----------
    name : str
    rounds : int
        Interleaved rounds of a benchmark.
    seconds : float
        For each contestant in each round.
    limit : float
        Seconds for one benchmark; where one call takes long there are fewer rounds.
    fewest : int
        Rounds all the same.
    """

    name: str
    rounds: int
    seconds: float
    limit: float
    fewest: int

    @property
    def how(self) -> dict[str, Any]:
        """As the harness takes it."""
        return {"rounds": self.rounds, "seconds": self.seconds, "limit": self.limit, "fewest": self.fewest}

    def pick(self, smoke: int, quick: int, full: int) -> int:
        """A size."""
        return {"smoke": smoke, "quick": quick, "full": full}[self.name]

    @property
    def is_full(self) -> bool:
        """Whether nothing is left out."""
        return self.name != "quick"


SMOKE = Scale("smoke", 1, 0.0, 0.0, 1)
# About 20 benchmarks of 5 s, and as long again for imports, trial runs and the long calls of other checkers.
QUICK = Scale("quick", 7, 0.05, 4.0, 1)
# Half an hour or less.
FULL = Scale("full", 21, 0.2, 30.0, 3)
