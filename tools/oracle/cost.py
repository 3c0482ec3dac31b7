"""What a check costs: calls of the function and CPU time, ours (GC101) beside PyTorch's slow and fast mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.harness import Benchmark, run
from tools.oracle.judges import AGREE, DISAGREE, torch_gradcheck
from tools.oracle.libraries import is_installed, library
from tools.oracle.pool import Asked

SIZES = (10, 50, 100, 1_000)
ROUNDS = 7
# CPU seconds a contestant and round, where one call does not take longer.
SECONDS = 0.05
# An error that everybody sees in all entries: who accepts it has not looked.
SEEN_BY_ALL = 2.0


@dataclass(frozen=True, slots=True)
class Cost:
    """One size.

    Attributes
    ----------
    size : int
        Inputs, and outputs.
    calls : dict of str to int
        Points at which each checker evaluated the function; a batch counts as many as it holds.
    milliseconds : dict of str to float
        CPU time, median.
    ratios : dict of str to list of float
        Our time over the checker's, in the same round: tenth percentile, median, ninetieth.
    wrong_seen : dict of str to bool
        Whether twice the gradient is called wrong.
    """

    size: int
    calls: dict[str, int]
    milliseconds: dict[str, float]
    ratios: dict[str, list[float]]
    wrong_seen: dict[str, bool]


def measure(asked: Asked, say: Callable[[str], None]) -> list[Cost]:
    """All sizes, in this process, one after the other; nothing without PyTorch."""
    if not is_installed("torch"):
        return []
    return [_one(size, asked.seed, say) for size in SIZES]


def function_of(size: int) -> Callable[[Any], Any]:
    """Ten ops, smooth everywhere, from `size` numbers to as many, each of which depends on all."""
    import torch

    weights = torch.tensor(np.random.default_rng(size).standard_normal((size, size)) / np.sqrt(size))

    def composite(x: Any) -> Any:
        waves = x.sin()
        mixed = (weights @ waves).tanh()
        return ((mixed * waves).exp() + x.cos() * 0.5).log_softmax(0) + mixed

    return composite


class _Counted:
    """A function that counts the points it is evaluated at."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        self.points = 0

    def __call__(self, x: Any) -> Any:
        self.points += _batch(x)
        return self.function(x)


def _batch(x: Any) -> int:
    """How many points a tensor holds: under vmap it looks like one."""
    import torch

    functorch = torch._C._functorch
    if not functorch.is_batchedtensor(x):
        return 1
    return int(functorch.get_unwrapped(x).shape[functorch.maybe_get_bdim(x)])


def _contestants(function: Callable[[Any], Any], point: Any) -> dict[str, Callable[[], str]]:
    import gradcheck

    leaf = point.clone().requires_grad_()
    return {
        "torch slow": lambda: torch_gradcheck(function, [leaf]).word,
        "torch fast": lambda: torch_gradcheck(function, [leaf], fast_mode=True).word,
        "ours": lambda: gradcheck.check(function, leaf, claims="GC101").verdict.value,
    }


def _one(size: int, seed: int, say: Callable[[str], None]) -> Cost:
    import torch

    function = function_of(size)
    point = torch.tensor(np.random.default_rng([seed, size]).uniform(-2.0, 2.0, size))
    works = _contestants(function, point)
    for name, work in works.items():
        if work() != AGREE:
            raise AssertionError(f"{name}: expected it to accept a right function of {size} numbers")
    calls = {}
    for name in works:
        counted = _Counted(function)
        _contestants(counted, point)[name]()
        calls[name] = counted.points
    distort = library("torch").scaled(SEEN_BY_ALL)
    wrong = _contestants(lambda x: function(distort(x)), point)
    seen = {name: work() == DISAGREE for name, work in wrong.items()}
    result = run(Benchmark(f"n = {size}", "ms", 1e3, "torch slow", works), rounds=ROUNDS, seconds=SECONDS)
    fast = run(
        Benchmark("", "ms", 1e3, "torch fast", {k: works[k] for k in ("torch fast", "ours")}),
        rounds=ROUNDS, seconds=SECONDS,
    )  # fmt: skip
    say(f"n = {size}: {calls}, {result.ratios['ours']} of slow, {fast.ratios['ours']} of fast")
    spreads = {"torch slow": result.ratios["ours"], "torch fast": fast.ratios["ours"]}
    return Cost(
        size,
        calls,
        {name: result.times[name].median for name in works},
        {name: [one.low, one.median, one.high] for name, one in spreads.items()},
        seen,
    )
