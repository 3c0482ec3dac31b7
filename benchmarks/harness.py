"""Measure two or more ways to do the same thing, interleaved, and report paired ratios.

A machine drifts: clocks change, neighbours come and go. So the contestants take turns (A B C, C B A, …), each round
gives one ratio between times that are close together, and what is reported is the median of the ratios with its tenth
and ninetieth percentile. Times are CPU times of this process on one thread.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Work = Callable[[], object]


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
class Benchmark:
    """One comparison.

    Attributes
    ----------
    name, unit : str
        "chain", "us per op".
    scale : float
        From seconds a call to `unit`.
    baseline : str
        The contestant that the ratios refer to.
    contestants : mapping of str to callable
        Each does the whole work once.
    """

    name: str
    unit: str
    scale: float
    baseline: str
    contestants: Mapping[str, Work]


@dataclass(frozen=True, slots=True)
class Result:
    """What one benchmark gave: for each contestant its times, and its ratios to the baseline of the same round."""

    benchmark: Benchmark
    rounds: int
    times: Mapping[str, Spread] = field(default_factory=dict)
    ratios: Mapping[str, Spread] = field(default_factory=dict)

    def table(self) -> str:
        """A Markdown table."""
        baseline = self.benchmark.baseline
        lines = [
            f"| {self.benchmark.name} | {self.benchmark.unit} | × {baseline} |",
            "|---|---|---|",
            *(f"| {name} | {self.times[name]} | {self.ratios[name]} |" for name in self.times),
        ]
        return "\n".join(lines)


def repeats(work: Work, seconds: float) -> int:
    """How often `work` runs in about `seconds` of CPU time; at least once."""
    work()
    count = 1
    while (spent := once(work, count)) < seconds / 4 and count < 1_000_000:
        count *= 2
    return max(1, round(count * seconds / max(spent, 1e-9)))


def once(work: Work, count: int) -> float:
    """The CPU time of `count` calls, with the cycle collector at rest."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        start = time.process_time()
        for _ in range(count):
            work()
        return time.process_time() - start
    finally:
        if was_enabled:
            gc.enable()


def run(benchmark: Benchmark, *, rounds: int, seconds: float) -> Result:
    """Measure in `rounds` interleaved rounds, about `seconds` for each contestant in each."""
    counts = {name: repeats(work, seconds) for name, work in benchmark.contestants.items()}
    samples: dict[str, list[float]] = {name: [] for name in counts}
    for turn in range(rounds):
        names = list(counts) if turn % 2 == 0 else list(reversed(counts))  # A B, B A: no one always goes second
        for name in names:
            samples[name].append(once(benchmark.contestants[name], counts[name]) / counts[name])
    base = samples[benchmark.baseline]
    return Result(
        benchmark,
        rounds,
        {name: Spread.of([time * benchmark.scale for time in times]) for name, times in samples.items()},
        {name: Spread.of([own / its for own, its in zip(times, base, strict=True)]) for name, times in samples.items()},
    )
