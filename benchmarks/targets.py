"""What the project wants to be as fast as, and what was measured of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from benchmarks import programs, startup
from benchmarks.harness import Result, Spread

AT_MOST, AT_LEAST = "≤", "≥"
NUMPY, OURS, TORCH = "NumPy by hand", "refengine", "PyTorch"


@dataclass(frozen=True, slots=True)
class Target:
    """One row of the table.

    Attributes
    ----------
    what : str
    benchmark : str
        How the name of its benchmark begins.
    measure : callable
        From its result to the figure; raises KeyError where a contestant is absent.
    sense : str
        `AT_MOST` or `AT_LEAST`.
    limit : float
    unit : str
        What follows the figure.
    reason : str
        Why it is missed, where it is.
    """

    what: str
    benchmark: str
    measure: Callable[[Result], Spread]
    sense: str
    limit: float
    unit: str = ""
    reason: str = ""

    @property
    def wanted(self) -> str:
        """The limit, in words."""
        return f"{self.sense} {self.limit:,g}{self.unit}"

    def found(self, results: Iterable[Result]) -> Spread | None:
        """What was measured; None where nothing was."""
        for result in results:
            if result.name.startswith(self.benchmark):
                try:
                    return self.measure(result)
                except KeyError:
                    return None
        return None

    def is_met(self, found: Spread) -> bool:
        """Whether the median is on the right side."""
        return found.median <= self.limit if self.sense == AT_MOST else found.median >= self.limit


def ratio(one: str, other: str) -> Callable[[Result], Spread]:
    """One contestant's time over another's."""
    return lambda result: result.ratio(one, other)


def growth(result: Result) -> Spread:
    """What an op costs in the large graph over what it costs in the small one."""
    small, large = (name for name in result.samples if name.startswith(OURS))
    return result.ratio(large, small)


def rate(result: Result) -> Spread:
    """Programs a second."""
    return Spread.of([1.0 / time for time in result.samples[programs.CHECKED]])


def overhead(result: Result) -> Spread:
    """What an installed plugin adds to a start of pytest."""
    return result.difference(startup.OFF, startup.NONE)


FULL, FULL_TORCH = "ours, full", "ours through PyTorch, full"
DENSE, FEW = "10-op composite, n = 1,000, 1,000 outputs, first", "matmul, n = 1,000, 400 outputs, first"
SMALL = "10-op composite, n = 100, 100 outputs, first"
SLOW, FAST = "torch slow", "torch fast"

ONE_BY_ONE = "ten calls of the function for each input and one backward pass for each output, one after the other"
TWENTY = "each is run some twenty times, one after the other"

TARGETS = (
    Target("(a) small-op chain / bare NumPy, without generated code", "(a) chain", ratio(OURS, NUMPY), AT_MOST, 2.1),
    Target("(c) MLP / bare NumPy", "(c)", ratio(OURS, NUMPY), AT_MOST, 1.2),
    Target("(d) broadcast, reduce, index / bare NumPy", "(d)", ratio(OURS, NUMPY), AT_MOST, 1.6),
    Target("(e) fan-in / PyTorch", "(e)", ratio(OURS, TORCH), AT_MOST, 0.40),
    Target("(f) leaves / PyTorch", "(f)", ratio(OURS, TORCH), AT_MOST, 0.20),
    Target("(i) second order / PyTorch", "(i)", ratio(OURS, TORCH), AT_MOST, 0.55),
    Target("(j) cost per op, large graph / 1,000 ops", "(j) forward", growth, AT_MOST, 1.5),
    Target(
        "full Jacobian check, n = 100, refengine: torch slow / ours", SMALL, ratio(SLOW, FULL), AT_LEAST, 60,
        reason=ONE_BY_ONE,
    ),
    Target("the same, n = 1,000, dense 1,000 × 1,000", DENSE, ratio(SLOW, FULL), AT_LEAST, 14, reason=ONE_BY_ONE),
    Target("the same, n = 1,000, up to 400 outputs", FEW, ratio(SLOW, FULL), AT_LEAST, 35, reason=ONE_BY_ONE),
    Target(
        "default check, n = 1,000: torch slow / ours", DENSE, ratio(SLOW, "ours, directions"), AT_LEAST, 300
    ),
    Target(
        "default check, n = 1,000: torch fast / ours", DENSE, ratio(FAST, "ours, directions"), AT_LEAST, 2
    ),
    Target(
        "through the PyTorch adapter, full, n = 100", SMALL, ratio(SLOW, FULL_TORCH), AT_LEAST, 30, reason=ONE_BY_ONE
    ),
    Target("the same, n = 1,000, dense 1,000 × 1,000", DENSE, ratio(SLOW, FULL_TORCH), AT_LEAST, 12, reason=ONE_BY_ONE),
    Target("the same, n = 1,000, up to 400 outputs", FEW, ratio(SLOW, FULL_TORCH), AT_LEAST, 25, reason=ONE_BY_ONE),
    Target(
        "second order, n = 100: gradgradcheck slow / ours, whole check",
        "10-op composite, n = 100, 100 outputs, second", ratio("gradgradcheck slow", "ours"), AT_LEAST, 30,
    ),
    Target("programs drawn and checked per second per core", "drawn programs", rate, AT_LEAST, 1_000, reason=TWENTY),
    Target("pytest start-up, plugin installed and off, over none", "start-up", overhead, AT_MOST, 15, " ms"),
)  # fmt: skip
