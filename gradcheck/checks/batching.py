"""GC105: one call for a whole batch gives what a loop over its examples gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from gradcheck.checks.claim import Claim, Subject, coarsest, disagreement
from gradcheck.checks.passes import contiguous, dense, draw_like, positions, pulled, values
from gradcheck.checks.roundoff import ANOTHER_WAY, Mismatch, Yardstick
from gradcheck.engines.base import Capability
from gradcheck.failures import Unsupported, named
from gradcheck.numeric.derivative import NOT_FINITE
from gradcheck.program import Array
from gradcheck.verdict import AGREED, VACUOUS, Outcome, Verdict

# The examples of a batch are the inputs times these: special points stay zero, values stay in almost every domain, and
# no example is another.
_EXAMPLES = (1.0, 63.0 / 64.0, 31.0 / 32.0)
# Inputs that are batched alone, beside all together.
_ALONE = 3
# Units of round-off of the largest value that an example in a batch may differ by: sums in another order.
_ANOTHER_ORDER = 1024.0

Axes = Mapping[int, int]
"""The axis of the examples for each input that is batched."""


def vmap_equals_a_loop(subject: Subject) -> Outcome:
    """Values and gradients of the function under ``vmap`` are those of its calls on each example.

    All differentiated inputs are batched, along their first and along their last axis, then one of them at a time. A
    function without a rule for it, or one that looks at values, refuses, which is no mistake.
    """
    inputs, plain = dense(subject)
    where = positions(subject)
    if not any(y.size for y in plain) or not where:
        return VACUOUS
    if subject.engine.keeps(subject.function, inputs):
        raise Unsupported("keeps tensors of its calls, and what vmap makes must not outlive it")
    generator = subject.generator("vmap")
    decided = False
    for axes in _trials(inputs, where):
        batch = tuple(_stacked(x, axes[k]) if k in axes else x for k, x in enumerate(inputs))
        cotangents = draw_like([np.stack([y] * len(_EXAMPLES)) for y in plain], generator)
        try:
            found = _at_once(subject, batch, axes, cotangents)
        except Unsupported:
            raise
        except Exception as error:  # whatever a function raises that was not made for it
            raise Unsupported(f"vmap raises {named(error)}") from error
        expected = _yardstick(subject, axes, batch, cotangents, generator)
        if not expected.is_finite:
            return Outcome(Verdict.INCONCLUSIVE, NOT_FINITE)
        mismatch = expected.mismatch(found)
        if mismatch is not None:
            return _found(subject, mismatch, len(plain), axes, batch, cotangents)
        decided = decided or any(g.any() for g in expected.expected[len(plain) :])
    return AGREED if decided else VACUOUS


def why_not_broadcast(subject: Subject) -> str:
    """Why `subject.function` is none that broadcasts over leading axes, tried on a sample; "" where it is one."""
    inputs = tuple(contiguous(x) for x in subject.inputs)
    batch = tuple(_stacked(x, 0) if x.dtype.kind in "fc" else np.stack([x] * len(_EXAMPLES)) for x in inputs)
    columns = zip(*[values(subject, [x[n] for x in batch]) for n in range(len(_EXAMPLES))], strict=True)
    expected = [np.stack(column) for column in columns]
    try:
        found = values(subject, batch)
    except Exception as error:  # whatever a function raises that was not made for it
        return f"it raises {named(error)} for inputs with one more axis"
    for k, (a, b) in enumerate(zip(found, expected, strict=True)):
        if a.shape != b.shape:
            return f"output {k} has shape {a.shape} for {len(_EXAMPLES)} examples of {b.shape[1:]}"
        with np.errstate(invalid="ignore"):
            size = np.abs(b).max(initial=0.0, where=np.isfinite(b))
            if not np.allclose(a, b, rtol=0.0, atol=_ANOTHER_ORDER * coarsest((b,)) * size, equal_nan=True):
                return f"output {k} has other values for {len(_EXAMPLES)} examples together"
    return ""


def _trials(inputs: Sequence[Array], where: Sequence[int]) -> Iterator[Axes]:
    yield dict.fromkeys(where, 0)
    if any(inputs[k].ndim for k in where):
        yield dict.fromkeys(where, -1)
    if len(where) > 1:
        yield from ({k: 0} for k in where[:_ALONE])


def _stacked(values: Array, axis: int) -> Array:
    return np.ascontiguousarray(np.stack([(values * part).astype(values.dtype) for part in _EXAMPLES], axis=axis))


def _at_once(subject: Subject, batch: Sequence[Array], axes: Axes, cotangents: Sequence[Array]) -> tuple[Array, ...]:
    """Outputs and gradients of one call under vmap."""
    engine = subject.engine
    places = [axes.get(k) for k in range(len(batch))]
    batched = replace(subject, function=lambda *tensors: engine.vmap(subject.function, tensors, places))
    return pulled(batched, batch, cotangents)


def _yardstick(
    subject: Subject,
    axes: Axes,
    batch: tuple[Array, ...],
    cotangents: tuple[Array, ...],
    generator: np.random.Generator,
) -> Yardstick:
    """Outputs and gradients of a loop over the examples, in the layout that vmap gives them."""
    count, outputs, where = len(batch), len(cotangents), positions(subject)

    def loop(arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        rows = []
        for n in range(len(_EXAMPLES)):
            example = [x.take(n, axes[k]) if k in axes else x for k, x in enumerate(arrays[:count])]
            rows.append(pulled(subject, example, [u[n] for u in arrays[count:]]))
        columns = list(zip(*rows, strict=True))
        values = [np.stack(column) for column in columns[:outputs]]
        gradients = [
            np.stack(column, axis=axes[k]) if k in axes else np.sum(column, axis=0, dtype=column[0].dtype)
            for k, column in zip(where, columns[outputs:], strict=True)
        ]
        return (*values, *gradients)

    return Yardstick(
        loop, (*batch, *cotangents), generator,
        cotangents=outputs, least=ANOTHER_WAY, noise=subject.noise,
    )  # fmt: skip


def _found(
    subject: Subject,
    found: Mismatch,
    outputs: int,
    axes: Axes,
    batch: tuple[Array, ...],
    cotangents: tuple[Array, ...],
) -> Outcome:
    is_gradient = found.array >= outputs
    k = positions(subject)[found.array - outputs] if is_gradient else None
    what = f"the gradient of x{k}" if is_gradient else f"output {found.array}"
    how = ", ".join(f"x{k} along axis {axis}" for k, axis in axes.items())
    return disagreement(
        VMAP_EQUALS_A_LOOP, subject, position=k, entry=found.entry,
        analytic=found.actual, numeric=found.expected, error=found.bound,
        detail=f"under vmap over {how}, {what} is not that of a loop over {len(_EXAMPLES)} examples",
        inputs=batch, cotangents=cotangents, output=None if is_gradient else found.array,
        axes=tuple(axes.get(n) for n in range(len(batch))),
    )  # fmt: skip


VMAP_EQUALS_A_LOOP = Claim(
    "vmap_equals_a_loop",
    "GC105",
    "Under vmap, values and gradients are those of a loop over the examples.",
    vmap_equals_a_loop,
    needs=frozenset({Capability.VMAP}),
    on_programs=False,  # whether an engine's own ops can be batched is the engine's affair, and often they cannot
)
