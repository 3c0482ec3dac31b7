"""Small modules drawn from bytes: the subjects of the claims about modes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck.checks.claim import Subject
from gradcheck.engines.base import Engine

_PROBABILITIES = (0.5, 0.25, 0.75)
# With PyTorch's 1e-5, what a second normalisation leaves of the gradient of the first is too small to be judged, and so
# is a term in eps that a backward forgets.
_EPS = 0.1


def module_subject(engine: Engine, data: bytes, *, rtol: float = 1e-6) -> Subject:
    """A module of one to four layers with a batch to feed it, drawn from `data`.

    Parameters
    ----------
    engine : Engine
        One that has modules.
    data : bytes
        The number of features, the number of layers, each layer's kind and size, the size of the batch: one byte for
        each. Smaller bytes are simpler, missing ones are 0: no bytes at all give ``Linear(1, 1)`` and a batch of 3.
    rtol : float
        As in `Subject`.

    Returns
    -------
    Subject
        With `module` set; its parameters and running statistics are generic values that depend on `data` alone.
    """
    taken = iter(data)

    def choose(count: int) -> int:
        return next(taken, 0) % count

    digest = hashlib.blake2b(data, digest_size=4).digest()
    generator = np.random.default_rng(list(digest))
    with engine.sandbox(int.from_bytes(digest, "big")):
        features = 1 + choose(3)
        layers = [_layer(engine, choose(4), choose(3), features)]
        for _ in range(choose(3)):
            layers.append(_layer(engine, choose(4), choose(3), layers[-1].features))
        module = layers[0].module if len(layers) == 1 else engine.module("Sequential", *(x.module for x in layers))
        batch = 3 + choose(3)
        with engine.mode(module, True):  # running statistics that are not those of a new module
            module(engine.tensor(generator.standard_normal((batch, features))))
    text = ", ".join(layer.text for layer in layers)
    return Subject(
        engine=engine,
        function=module,
        inputs=(np.round(generator.standard_normal((batch, features)), 2),),
        differentiable=(True,),
        label=f"{text if len(layers) == 1 else f'Sequential({text})'}(x0)",
        module=module,
        salt=data,
        rtol=rtol,
    )


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer, how it reads and how many features leave it."""

    module: Any
    text: str
    features: int


def _layer(engine: Engine, kind: int, size: int, features: int) -> _Layer:
    if kind == 1:
        return _normalisation(engine, features)
    if kind == 2:
        probability = _PROBABILITIES[size]
        return _Layer(engine.module("Dropout", probability), f"Dropout({probability})", features)
    out = 1 + size
    linear, text = engine.module("Linear", features, out), f"Linear({features}, {out})"
    if kind == 3:
        following = _normalisation(engine, out)
        module = engine.module("Sequential", linear, following.module)
        return _Layer(module, f"Sequential({text}, {following.text})", out)
    return _Layer(linear, text, out)


def _normalisation(engine: Engine, features: int) -> _Layer:
    module = engine.module("BatchNorm1d", features, eps=_EPS)
    return _Layer(module, f"BatchNorm1d({features}, eps={_EPS})", features)
