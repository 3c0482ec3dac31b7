"""Measure two or more ways to do the same thing, interleaved, and report paired ratios.

A machine drifts: clocks change, neighbours come and go. So the contestants take turns (A B C, C B A, …), each round
gives one ratio between times that are close together, and what is reported is the median of the ratios with its tenth
and ninetieth percentile. Times are CPU times of this process on one thread, or of its children.
"""

from __future__ import annotations

import gc
import math
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Work = Callable[[], object]
Clock = Callable[[], float]
# Rounds that are run even where they take longer than was asked for: fewer have no percentiles to speak of.
FEWEST = 3
# Seconds of one call from which on it is not tried again before it counts: what a first call warms up is nothing to it.
WARM = 0.5


def of_children() -> float:
    """CPU seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with its tenth and ninetieth percentile."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise `values`, of which there is at least one."""
        ordered = sorted(values)
        return cls(_percentile(ordered, 0.1), statistics.median(ordered), _percentile(ordered, 0.9))

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"


def _percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest rank."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Work on something fresh that is made before the clock starts.

    Attributes
    ----------
    prepare : callable
    work : callable
        Takes what `prepare` returned.
    """

    prepare: Callable[[], Any]
    work: Callable[[Any], object]

    def __call__(self) -> object:
        return self.work(self.prepare())


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One comparison.

    Attributes
    ----------
    name, unit : str
        "chain", "us per op".
    scale : float
        From seconds to `unit`.
    baseline : str
        The contestant that the ratios refer to.
    contestants : mapping of str to callable
        Each does the whole work once.
    parts : mapping of str to float
        How many of what is counted one call of a contestant does; 1 where it is not listed.
    absent : mapping of str to str
        Who does not take part, and why.
    is_collected : bool
        The cycle collector runs as it does for users. Otherwise it rests, since when it comes by is chance.
    clock : callable
    """

    name: str
    unit: str
    scale: float
    baseline: str
    contestants: Mapping[str, Work]
    parts: Mapping[str, float] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    is_collected: bool = False
    clock: Clock = time.process_time


@dataclass(frozen=True, slots=True)
class Result:
    """What one benchmark gave.

    Attributes
    ----------
    name, unit, scale, baseline, absent
        Of the benchmark.
    samples : mapping of str to sequence of float
        Seconds of each contestant in each round, those of one round at the same place.
    """

    name: str
    unit: str
    scale: float
    baseline: str
    samples: Mapping[str, Sequence[float]]
    absent: Mapping[str, str] = field(default_factory=dict)

    @property
    def times(self) -> dict[str, Spread]:
        """In `unit`."""
        return {name: Spread.of([time * self.scale for time in times]) for name, times in self.samples.items()}

    @property
    def ratios(self) -> dict[str, Spread]:
        """Of each contestant to the baseline."""
        return {name: self.ratio(name, self.baseline) for name in self.samples}

    def ratio(self, one: str, other: str) -> Spread:
        """The time of one contestant over that of another, in the same round."""
        pairs = zip(self.samples[one], self.samples[other], strict=True)
        # A clock that did not move shows nothing, and must not divide.
        return Spread.of([a / b if b else math.inf if a else 1.0 for a, b in pairs])

    def difference(self, one: str, other: str) -> Spread:
        """The time of one contestant less that of another, in the same round, in `unit`."""
        pairs = zip(self.samples[one], self.samples[other], strict=True)
        return Spread.of([(a - b) * self.scale for a, b in pairs])


def once(work: Work, count: int, *, clock: Clock = time.process_time, is_collected: bool = False) -> float:
    """The time of `count` calls."""
    with _collector(is_collected):
        if isinstance(work, Prepared):
            return sum(_one(work, clock) for _ in range(count))
        start = clock()
        for _ in range(count):
            work()
        return clock() - start


def _one(work: Prepared, clock: Clock) -> float:
    made = [work.prepare()]  # popped, so that the work may drop the last reference to it
    start = clock()
    work.work(made.pop())
    return clock() - start


@contextmanager
def _collector(is_collected: bool) -> Any:
    """The cycle collector as users have it, or at rest."""
    was_enabled = gc.isenabled()
    gc.collect()
    if not is_collected:
        gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def repeats(
    work: Work, seconds: float, *, clock: Clock = time.process_time, is_collected: bool = False
) -> tuple[int, float]:
    """How often `work` runs in about `seconds`, at least once; and how long it takes once."""
    first = once(work, 1, clock=clock, is_collected=is_collected)
    if first >= max(seconds, WARM):
        return 1, first
    count = 1
    while (spent := once(work, count, clock=clock, is_collected=is_collected)) < seconds / 4 and count < 1_000_000:
        count *= 2
    return max(1, round(count * seconds / max(spent, 1e-9))), spent / count


def run(benchmark: Benchmark, *, rounds: int, seconds: float, limit: float = math.inf, fewest: int = FEWEST) -> Result:
    """Measure in interleaved rounds.

    Parameters
    ----------
    benchmark : Benchmark
    rounds : int
    seconds : float
        About as long for each contestant in each round, or one call where that takes longer.
    limit : float
        Seconds for the whole: where calls are long there are fewer rounds.
    fewest : int
        Rounds that are run all the same.
    """
    how: dict[str, Any] = {"clock": benchmark.clock, "is_collected": benchmark.is_collected}
    gc.collect()
    gc.freeze()  # so that a collection before each turn does not go through every module that is loaded
    try:
        tried = {name: repeats(work, seconds, **how) for name, work in benchmark.contestants.items()}
        one_round = sum(count * spent for count, spent in tried.values())
        rounds = min(rounds, max(fewest, int(limit / max(one_round, 1e-9)))) if limit < math.inf else rounds
        samples: dict[str, list[float]] = {name: [] for name in tried}
        for turn in range(rounds):
            names = list(tried) if turn % 2 == 0 else list(reversed(tried))  # A B, B A: no one always goes second
            for name in names:
                count = tried[name][0]
                spent = once(benchmark.contestants[name], count, **how)
                samples[name].append(spent / count / benchmark.parts.get(name, 1.0))
    finally:
        gc.unfreeze()
    return Result(benchmark.name, benchmark.unit, benchmark.scale, benchmark.baseline, samples, dict(benchmark.absent))
