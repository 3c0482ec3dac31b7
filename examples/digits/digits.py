"""Trains a small convolutional network on scikit-learn's 8 by 8 pictures of digits: ``python digits.py``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import refengine as re
from refengine import nn
from refengine.autograd import Function

TRAINED_ON = 1297
"""How many of the 1,797 pictures are for training; the rest are for testing."""


class Swish(Function):
    """x * sigmoid(x), with a backward written by hand, for `pytest --gradcheck` to judge.

    Only x is saved: a sigmoid that is worked out in forward has no history, so that second derivatives would be wrong.
    """

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        s = x.sigmoid()
        return g * s * (1 + x * (1 - s))


class Activation(nn.Module):
    """`Swish` as a module."""

    def forward(self, x: Any) -> Any:
        return Swish.apply(x)


class Network(nn.Module):
    """Two convolutions with pooling, then one linear layer: images (N, 1, 8, 8) to the scores of ten classes.

    There is no softmax at the end: `CrossEntropyLoss` takes scores.
    """

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            Activation(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            Activation(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(8 * width, 10))

    def forward(self, x: Any) -> Any:
        return self.classifier(self.features(x))


@dataclass(frozen=True, slots=True)
class Data:
    """Images (N, 1, 8, 8) with values in [0, 1], and their digits."""

    images: Any
    digits: Any

    def batches(self, size: int) -> Iterator[tuple[Any, Any]]:
        """All of it once, in random order."""
        order = re.randperm(len(self.digits))
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            yield self.images[chosen], self.digits[chosen]


def load() -> tuple[Data, Data]:
    """What to train on, and what to test on."""
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    order = re.randperm(len(digits), generator=re.Generator().manual_seed(0))  # the same for every call
    images = re.tensor(pixels / 16, dtype=re.float32).reshape(-1, 1, 8, 8)[order]
    known = re.tensor(digits)[order]
    return Data(images[:TRAINED_ON], known[:TRAINED_ON]), Data(images[TRAINED_ON:], known[TRAINED_ON:])


def train(network: Network, data: Data, epochs: int = 6, batch: int = 32) -> list[float]:
    """Train in place, with dropout and the batches' own statistics; returns the mean loss of each epoch."""
    network.train()
    optimizer = re.optim.AdamW(network.parameters(), lr=3e-3)
    loss_of = nn.CrossEntropyLoss()
    means = []
    for _ in range(epochs):
        total = 0.0
        for images, digits in data.batches(batch):
            optimizer.zero_grad()
            loss = loss_of(network(images), digits)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(digits)
        means.append(total / len(data.digits))
    return means


def accuracy(network: Network, data: Data) -> float:
    """The part of the digits that is read rightly, without dropout and with the running statistics."""
    was = network.training
    network.eval()
    with re.no_grad():
        found = network(data.images).argmax(1)
    network.train(was)
    return float((found == data.digits).to(re.float32).mean().item())


def main() -> None:
    """Train and say how well it went."""
    re.manual_seed(0)
    known, unknown = load()
    network = Network()
    for number, loss in enumerate(train(network, known), start=1):
        print(f"epoch {number}: loss {loss:.3f}")
    print(f"accuracy on {len(unknown.digits)} pictures not seen before: {accuracy(network, unknown):.1%}")


if __name__ == "__main__":
    main()
