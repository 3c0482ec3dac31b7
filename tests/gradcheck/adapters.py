"""What the tests of claims share: both engines, a subject from a function, user-defined Functions for any engine."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from gradcheck.checks.claim import Subject
from gradcheck.engines.registry import engine

ENGINES = ("torch", "refengine")


@pytest.fixture(name="adapter", params=ENGINES)
def adapter_fixture(request):
    """Each engine in turn; skipped where its library is not installed."""
    pytest.importorskip(request.param)
    return engine(request.param)


def subject(adapter, function, *inputs, **more):
    """A subject of all-differentiable float64 inputs."""
    arrays = tuple(np.asarray(x) for x in inputs)
    wanted = tuple(x.dtype.kind in "fc" for x in arrays)
    return Subject(adapter, function, arrays, wanted, "f(x0)", **more)


def function(adapter, forward, backward, saves=True):
    """``apply`` of a user-defined Function; `backward` takes the cotangent and what was saved (the inputs)."""

    class Made(adapter.library.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            if saves:
                ctx.save_for_backward(*inputs)
            return forward(*inputs)

        @staticmethod
        def backward(ctx, g):
            return backward(g, *(ctx.saved_tensors if saves else ()))

    return Made.apply


def library_functions(adapter):
    """Right functions of the engine's own: smooth, reducing, of several inputs, with views."""
    library = adapter.library
    return SimpleNamespace(
        square=lambda x: x * x,
        sums=lambda x: (x.exp() * x).sum(-1),
        product=lambda x, y: x @ y,
        softmax=lambda x: library.softmax(x, -1),
        view=lambda x: x.transpose(0, 1)[1:] * 2.0,
        two=lambda x: (x.sin(), x.cos().sum()),
    )
