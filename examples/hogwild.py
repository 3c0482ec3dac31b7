"""Hogwild: processes train one network in shared memory without waiting for each other: ``python hogwild.py``.

Each has its own part of the pictures and its own gradients, and adds its steps to the shared parameters whenever it has
one. Steps may overwrite each other in part; where most of them change little, training does not mind (Niu, Recht, Ré
and Wright 2011, "Hogwild!: a lock-free approach to parallelizing stochastic gradient descent").
"""

from __future__ import annotations

from typing import Any

from classifier import RATE, Data, accuracy, batches, load, network

import refengine as re
from refengine import multiprocessing as mp
from refengine import nn


def work(rank: int, shared: Any, data: Data, processes: int, epochs: int) -> None:
    """What one process does: plain training, on its part of the pictures."""
    pictures, digits = data.pictures[rank::processes], data.digits[rank::processes]
    optimizer = re.optim.SGD(shared.parameters(), lr=RATE)
    for batch in batches(len(digits), epochs, seed=rank):
        optimizer.zero_grad()
        nn.functional.cross_entropy(shared(pictures[batch]), digits[batch]).backward()
        optimizer.step()  # in place: every process sees it


def train(trained: Any, data: Data, processes: int = 2, epochs: int = 10, start_method: str = "spawn") -> None:
    """Train in place; each picture is seen `epochs` times in all."""
    trained.share_memory()
    mp.spawn(work, (trained, data, processes, epochs), nprocs=processes, start_method=start_method)


def main() -> None:
    """Train and say how well it went."""
    re.manual_seed(0)
    known, unknown = load()
    trained = network()
    train(trained, known)
    print(f"accuracy on {len(unknown.digits)} pictures not seen before: {accuracy(trained, unknown):.1%}")


if __name__ == "__main__":
    main()
