"""What the programs with several processes train: a small network that reads scikit-learn's pictures of digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import refengine as re
from refengine import nn

TRAINED_ON = 1280
"""How many of the 1,797 pictures are for training: 40 batches of 32. The rest are for testing."""
BATCH = 32
RATE = 0.3


@dataclass(frozen=True, slots=True)
class Data:
    """Pictures (N, 64) with values in [0, 1], and their digits."""

    pictures: Any
    digits: Any


def load() -> tuple[Data, Data]:
    """What to train on, and what to test on."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        pictures, digits = invented(1797)
    else:
        pixels, known = load_digits(return_X_y=True)
        pictures, digits = re.tensor(pixels / 16, dtype=re.float32), re.tensor(known)
    order = re.randperm(len(digits), generator=re.Generator().manual_seed(0))
    first, rest = order[:TRAINED_ON], order[TRAINED_ON:]
    return Data(pictures[first], digits[first]), Data(pictures[rest], digits[rest])


def invented(count: int) -> tuple[Any, Any]:
    """Ten patterns with noise, where scikit-learn is not installed."""
    generator = re.Generator().manual_seed(0)
    patterns = re.rand(10, 64, generator=generator)
    digits = re.randperm(count, generator=generator) % 10
    noise = re.rand(count, 64, generator=generator)
    return (patterns[digits] + noise) / 2, digits


def network() -> Any:
    """One hidden layer: pictures (N, 64) to the scores of ten digits (N, 10)."""
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def accuracy(trained: Any, data: Data) -> float:
    """The part of the digits that is read rightly."""
    with re.no_grad():
        found = trained(data.pictures).argmax(1)
    return float((found == data.digits).to(re.float32).mean().item())


def train_alone(trained: Any, data: Data, epochs: int) -> None:
    """Train in this process, for comparison."""
    optimizer = re.optim.SGD(trained.parameters(), lr=RATE)
    for batch in batches(len(data.digits), epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(trained(data.pictures[batch]), data.digits[batch]).backward()
        optimizer.step()


def batches(count: int, epochs: int, seed: int = 0) -> Any:
    """The places of each batch, in an order that depends on the seed alone."""
    generator = re.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = re.randperm(count, generator=generator)
        yield from (order[start : start + BATCH] for start in range(0, count, BATCH))
