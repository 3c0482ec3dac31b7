"""Synchronous data-parallel training: processes share out each batch and step together: ``python data_parallel.py``.

The parameters lie in shared memory, and so do the gradients, one set for each process. Each process works out the
gradient of its part of the batch; when all are done, the first adds them up and steps, and the next batch begins. The
result is that of one process, up to round-off.
"""

from __future__ import annotations

from typing import Any

from classifier import RATE, Data, accuracy, batches, load, network

import refengine as re
from refengine import multiprocessing as mp
from refengine import nn

PATIENCE = 60.0
"""Seconds to wait for the others. A process that dies is noticed at once by who started it, which ends the rest."""


def work(rank: int, shared: Any, gradients: list[list[Any]], data: Data, epochs: int, meeting: Any) -> None:
    """What one process does."""
    processes = len(gradients)
    optimizer = re.optim.SGD(shared.parameters(), lr=RATE)
    for parameter, gradient in zip(shared.parameters(), gradients[rank], strict=True):
        parameter.grad = gradient  # a backward pass adds to it in place
    for batch in batches(len(data.digits), epochs):
        optimizer.zero_grad(set_to_none=False)
        part = batch[rank::processes]
        losses = nn.functional.cross_entropy(shared(data.pictures[part]), data.digits[part], reduction="sum")
        (losses / len(batch)).backward()
        meeting.wait(PATIENCE)
        if rank == 0:
            for own, *others in zip(*gradients, strict=True):
                for other in others:
                    own.add_(other)
            optimizer.step()
        meeting.wait(PATIENCE)


def train(trained: Any, data: Data, processes: int = 2, epochs: int = 10, start_method: str = "spawn") -> None:
    """Train in place."""
    trained.share_memory()
    gradients = [[re.zeros_like(p).share_memory_() for p in trained.parameters()] for _ in range(processes)]
    meeting = mp.get_context(start_method).Barrier(processes)
    mp.spawn(work, (trained, gradients, data, epochs, meeting), nprocs=processes, start_method=start_method)


def main() -> None:
    """Train and say how well it went."""
    re.manual_seed(0)
    known, unknown = load()
    trained = network()
    train(trained, known)
    print(f"accuracy on {len(unknown.digits)} pictures not seen before: {accuracy(trained, unknown):.1%}")


if __name__ == "__main__":
    main()
