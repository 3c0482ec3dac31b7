"""The engine benchmark (j): what an op costs in a graph of a million, and what it costs to free such a graph.

The cycle collector runs here as it does for users, since what it costs in a large graph is part of the question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks import workloads
from benchmarks.engine import require_same
from benchmarks.harness import Benchmark, Prepared, Result, Work, run
from benchmarks.peers import AUTOGRAD, REFENGINE, TORCH, Peer, leaves
from benchmarks.scale import Scale

START = np.linspace(-1.0, 1.0, 10)
BLOCK = 5


def measure(scale: Scale, say: Callable[[str], None]) -> list[Result]:
    """Both."""
    results = []
    for benchmark in benchmarks(scale):
        result = run(benchmark, **scale.how)
        say(f"{benchmark.name}: {', '.join(f'{name} {time}' for name, time in result.times.items())} µs per op")
        results.append(result)
    return results


def benchmarks(scale: Scale) -> Iterator[Benchmark]:
    """Passes through a small and a large graph; and the end of a large one."""
    small, large = scale.pick(10, 1_000, 1_000), scale.pick(100, 100_000, 1_000_000)
    peers = [REFENGINE, TORCH, AUTOGRAD] if scale.is_full else [REFENGINE, TORCH]
    here = [peer for peer in peers if peer.is_installed]
    absent = {peer.name: "not installed" for peer in peers if not peer.is_installed}
    for size in (small, large):
        require_same({peer.name: _pass(peer, size) for peer in here})
    sizes = {f"{peer.name}, {size:,} ops": (peer, size) for peer in here for size in (small, large)}
    yield Benchmark(
        f"(j) forward and backward through {large:,} ops", "µs per op", 1e6, f"{REFENGINE.name}, {small:,} ops",
        {name: _pass(*one) for name, one in sizes.items()}, {name: size for name, (_, size) in sizes.items()},
        absent, is_collected=True,
    )  # fmt: skip
    kept = [peer for peer in here if peer is not AUTOGRAD]  # its graph lives only as long as a call of `grad`
    yield Benchmark(
        f"(j) free a graph of {large:,} ops", "µs per op", 1e6, REFENGINE.name,
        {peer.name: Prepared(partial(_graph, peer, large), list.clear) for peer in kept},
        {peer.name: large for peer in kept}, absent, is_collected=True,
    )  # fmt: skip


def _pass(peer: Peer, size: int) -> Work:
    library = peer.namespace()
    return peer.gradient(library, workloads.chain(size // BLOCK)(library), [START])


def _graph(peer: Peer, size: int) -> list[Any]:
    library = peer.namespace()
    return [workloads.chain(size // BLOCK)(library)(*leaves(library, [START]))]
