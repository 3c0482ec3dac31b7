"""A function's place is the line of its def, whatever stands above it."""

from __future__ import annotations

import functools
import inspect

import pytest

from gradcheck.engines.place import place_of
from gradcheck.engines.torchlike import backward_of


def identity(*_):
    """A decorator with arguments."""
    return lambda function: function


class Decorated:
    @staticmethod
    def plain(ctx, g):
        return g

    @staticmethod
    @identity(
        lambda x: x,
        [1, 2],
    )
    # a comment that says def
    def backward(ctx, g):
        return g

    @classmethod
    async def later(cls):
        return cls


bare = lambda x: x  # noqa: E731


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (Decorated.plain, "def plain("),
        (Decorated.backward, "def backward("),
        (Decorated.later.__func__, "async def later("),
        (identity, "def identity("),
        (bare, "bare = lambda"),
    ],
    ids=["static", "several lines", "class method", "bare", "lambda"],
)
def test_the_line_is_that_of_the_def(function, text):
    path, _, line = place_of(function.__code__).rpartition(":")
    source = inspect.getsource(inspect.getmodule(function)).splitlines()
    assert path.endswith("test_place.py")
    assert source[int(line) - 1].strip().startswith(text)


def test_without_a_source_it_is_the_first_line():
    namespace = {}
    exec(compile("\n\ndef made():\n    return 1", "<made>", "exec"), namespace)
    assert place_of(namespace["made"].__code__) == "<made>:3"


def test_a_backward_that_is_wrapped_is_found_behind_its_wrapper():
    class Wrapped:
        @staticmethod
        @functools.wraps(Decorated.backward)
        def backward(*args):
            return args

    place, _, name = backward_of(Wrapped).partition(" in ")
    assert (place, name) == (place_of(Decorated.backward.__code__), "Wrapped.backward")
