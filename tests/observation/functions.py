"""What the tests of observing share: an observer of the tests' own code, and Functions for either engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gradcheck.engines.registry import engine
from gradcheck.observation.observer import Observer
from gradcheck.observation.territory import Territory

ROOT = Path(__file__).parents[2]
ENGINES = ("torch", "refengine")


@pytest.fixture(name="library", params=ENGINES)
def library_fixture(request):
    """Each engine's library in turn."""
    pytest.importorskip(request.param)
    return engine(request.param).library


@contextmanager
def observing(**options) -> Iterator[Observer]:
    """An observer of what lies in this repository, stopped afterwards."""
    observer = Observer(Territory(ROOT), **options)
    observer.start()
    try:
        yield observer
    finally:
        observer.stop()


def double(library, base=None):
    """A Function that doubles, old style."""

    class Double(base or library.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    return Double


def scaled(library):
    """A Function of a tensor and a number, new style."""

    class Scaled(library.autograd.Function):
        @staticmethod
        def forward(x, factor=3.0):
            return x * factor

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.factor = inputs[1] if len(inputs) > 1 else 3.0

        @staticmethod
        def backward(ctx, g):
            return g * ctx.factor, None

    return Scaled


def ones(library, *shape, **options):
    """A leaf of ones that requires grad."""
    return library.ones(*shape, requires_grad=True, **options)


def names(found):
    """The last part of the names of what was observed or is known."""
    return [item.name.rpartition(".")[2] for item in found]
