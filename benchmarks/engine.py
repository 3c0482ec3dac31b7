"""The engine benchmarks (a) to (i): forward and backward of one workload on every library that can.

Before anything is measured, the gradients of all contestants are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import by_hand, workloads
from benchmarks.harness import Benchmark, Result, Work, run
from benchmarks.peers import AUTOGRAD, EAGER, JAX, MICROGRAD, PEERS, REFENGINE, TORCH, Peer, plain
from benchmarks.scale import Scale

NUMPY = "NumPy by hand"
# Thousands of roundings, in another order for each library.
RTOL = 1e-8


@dataclass(frozen=True, slots=True)
class Case:
    """One benchmark before its contestants are there.

    Attributes
    ----------
    name : str
    ops : int
        In one forward pass.
    workload : callable
    arrays : sequence of array
        What is differentiated.
    peers : sequence of Peer
    by_hand : callable or None
    baseline : str
    way : str
        Which of a peer's ways is taken: "gradient", "asked" or "second".
    absent : mapping of str to str
        Peers that are left out, and why.
    """

    name: str
    ops: int
    workload: workloads.Workload
    arrays: Sequence[npt.NDArray[np.float64]]
    peers: Sequence[Peer]
    by_hand: Work | None
    baseline: str = NUMPY
    way: str = "gradient"
    absent: Mapping[str, str] = field(default_factory=dict)


def measure(scale: Scale, say: Callable[[str], None]) -> list[Result]:
    """All of them."""
    results = []
    for case in cases(scale):
        result = run(benchmark(case), **scale.how)
        say(f"{case.name}: {', '.join(f'{name} {ratio}' for name, ratio in result.ratios.items())}")
        results.append(result)
    return results


def cases(scale: Scale) -> Iterator[Case]:
    """The benchmarks at this scale, by their letters."""
    random = np.random.default_rng(0)
    # JAX compiles a chain of this length for seconds.
    peers = PEERS if scale.is_full else (REFENGINE, TORCH, AUTOGRAD)
    yield from _chains(scale, peers)
    sizes = (scale.pick(4, 32, 32), scale.pick(5, 64, 64), scale.pick(6, 64, 64), 10)
    yield _perceptron(random, peers, *sizes)
    yield _structured(random, scale.pick(1, 10, 10), peers)
    yield from _wide(random, scale)
    size, count = scale.pick(8, 256, 256), 8
    square = [random.standard_normal((size, size)), random.standard_normal((size, size)) / np.sqrt(size)]
    yield Case(
        f"(g) chain of {count} matmuls, {size}×{size}", count, workloads.matmuls(count), square, peers,
        partial(by_hand.matmuls, square[0], square[1], count),
    )  # fmt: skip
    blocks, start = scale.pick(2, 100, 200), np.linspace(-1.0, 1.0, 10)
    able = [peer for peer in EAGER if peer.changes_in_place]
    yield Case(
        f"(h) {6 * blocks:,} views and writes in place", 6 * blocks, workloads.writes(blocks), [start],
        able if scale.is_full else able[:2], partial(by_hand.writes, start, blocks),
    )  # fmt: skip


def _chains(scale: Scale, peers: Sequence[Peer]) -> Iterator[Case]:
    blocks = scale.pick(2, 200, 200)
    ops, start, number = 5 * blocks, np.linspace(-1.0, 1.0, 10), np.array(0.4)
    work = workloads.chain(blocks)
    yield Case(f"(a) chain of {ops:,} small ops", ops, work, [start], peers, partial(by_hand.chain, start, blocks))
    if scale.is_full:
        scalar, powers = partial(by_hand.chain, number[()], blocks), partial(by_hand.polynomial, number[()], blocks)
        yield Case(f"(b) the same on scalars, {ops:,} ops", ops, work, [number], EAGER, scalar)
        yield Case(
            f"(b) {ops:,} sums, products and squares of scalars", ops, workloads.polynomial(blocks), [number],
            (*EAGER, MICROGRAD), powers,
        )  # fmt: skip
        asked = [peer for peer in peers if peer.asked is not None]
        yield Case(
            f"(a) by autograd.grad, {ops:,} ops", ops, work, [start], asked, partial(by_hand.chain, start, blocks),
            way="asked",
        )  # fmt: skip
    able = [peer for peer in peers if peer.second is not None and peer is not JAX]
    yield Case(f"(i) second order of (a), {ops:,} ops", ops, work, [start], able, None, "PyTorch", "second")


def _perceptron(
    random: np.random.Generator, peers: Sequence[Peer], rows: int, given: int, hidden: int, out: int
) -> Case:
    data, labels = random.standard_normal((rows, given)), random.integers(out, size=rows)
    arrays = [
        random.standard_normal((given, hidden)) / np.sqrt(given),
        random.standard_normal(hidden),
        random.standard_normal((hidden, out)) / np.sqrt(hidden),
        random.standard_normal(out),
    ]
    name = f"(c) MLP {rows}×{given}-{hidden}-{out}, tanh, cross-entropy"
    work = partial(by_hand.perceptron, data, labels, arrays)
    return Case(name, 6, workloads.perceptron(data, labels), arrays, peers, work)


def _structured(random: np.random.Generator, blocks: int, peers: Sequence[Peer]) -> Case:
    arrays = [random.standard_normal(shape) for shape in ((8, 16), (16,), (8, 1))]
    rows, ops = np.array([3, 0, 0, 7, 5, 2, 6, 1]), 14 * blocks + 1
    work = partial(by_hand.structured, arrays, rows, blocks)
    return Case(
        f"(d) broadcast, reduce, index: {ops} ops", ops, workloads.structured(rows, blocks), arrays, peers, work
    )


def _wide(random: np.random.Generator, scale: Scale) -> Iterator[Case]:
    count, start = scale.pick(20, 10_000, 10_000), random.standard_normal(10)
    peers = EAGER if scale.is_full else (REFENGINE, TORCH)
    yield Case(
        f"(e) fan-in of {count:,}", count, workloads.fan_in(count), [start], peers,
        partial(by_hand.fan_in, start, count), "PyTorch",
    )  # fmt: skip
    arrays = list(random.standard_normal((count, 10)))
    endless = {AUTOGRAD.name: "its time grows with the square of their number"} if AUTOGRAD in peers else {}
    able = [peer for peer in peers if peer is not AUTOGRAD]
    yield Case(
        f"(f) {count:,} leaves", 2 * count, workloads.leaves, arrays, able, partial(by_hand.leaves, arrays),
        "PyTorch", absent=endless,
    )  # fmt: skip


def benchmark(case: Case) -> Benchmark:
    """The comparison; raises where gradients differ."""
    works: dict[str, Work] = {} if case.by_hand is None else {NUMPY: case.by_hand}
    absent = dict(case.absent)
    for peer in case.peers:
        if not peer.is_installed:
            absent[peer.name] = "not installed"
            continue
        library = peer.namespace()
        works[peer.name] = getattr(peer, case.way)(library, case.workload(library), case.arrays)
    require_same(works)
    baseline = case.baseline if case.baseline in works else next(iter(works))
    return Benchmark(case.name, "µs per op, both passes", 1e6 / case.ops, baseline, works, absent=absent)


def require_same(works: Mapping[str, Work]) -> None:
    """Raise unless all gradients are those of the first contestant."""
    expected: list[Any] = []
    for name, work in works.items():
        found: Any = work()
        actual = [plain(one) for one in found]
        expected = expected or actual
        if len(actual) != len(expected):
            raise AssertionError(f"{name}: expected {len(expected)} gradients, got {len(actual)}")
        for k, (one, other) in enumerate(zip(actual, expected, strict=True)):
            size = np.abs(other).max(initial=0.0)
            np.testing.assert_allclose(one, other, rtol=RTOL, atol=RTOL * size, err_msg=f"{name}, gradient {k}")
