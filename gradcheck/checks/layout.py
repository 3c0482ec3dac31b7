"""GC301: how a tensor lies in memory changes neither values nor gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.checks.claim import Claim, Subject, disagreement
from gradcheck.checks.passes import contiguous, dense, draw_like, positions, pulled, values
from gradcheck.checks.roundoff import ANOTHER_WAY, Mismatch, NotFinite, Yardstick
from gradcheck.engines.base import Capability
from gradcheck.failures import Unsupported, named
from gradcheck.numeric.derivative import NOT_FINITE
from gradcheck.program import Array
from gradcheck.verdict import AGREED, VACUOUS, Outcome, Verdict


def layout_does_not_matter(subject: Subject) -> Outcome:
    """Contiguous, transposed, gapped and expanded inputs and cotangents give the same values and gradients.

    A forward pass that raises for a layout (``view`` of a transposed tensor) is left out: that is no silent mistake.
    The result for contiguous copies is the reference; others may differ from it by round-off. Inputs change their
    layout one at a time (a function that walks two tensors in memory order shows only then), then all together.
    """
    inputs, plain = dense(subject)
    generator = subject.generator("layout")
    cotangents = draw_like(plain, generator)
    if not any(y.size for y in plain):
        return VACUOUS
    reference = _yardstick(subject, inputs, cotangents, generator)
    if not reference.is_finite:
        return Outcome(Verdict.INCONCLUSIVE, NOT_FINITE)
    refused: Unsupported | None = None
    trials = [(what, changed, cotangents) for what, changed in _changed_inputs(inputs, subject.inputs)]
    trials += [(what, inputs, seeds) for what, seeds in _cotangent_layouts(cotangents)]
    for what, changed, seeds in trials:
        copies = tuple(contiguous(u) for u in seeds)
        same = all(np.array_equal(u, v) for u, v in zip(copies, cotangents, strict=True))
        try:
            expected = reference if same else _yardstick(subject, inputs, copies, generator)
            outcome = _compared(subject, expected, what, changed, seeds)
        except Unsupported as error:  # in this layout: the others are tried first
            refused = error
            continue
        if outcome is not None:
            return outcome
    if refused is not None:
        raise refused
    return AGREED


def _compared(
    subject: Subject, expected: Yardstick, what: str, inputs: tuple[Array, ...], cotangents: tuple[Array, ...]
) -> Outcome | None:
    """A disagreement, if there is one. A forward pass may refuse a layout, aloud; a backward pass must not."""
    try:
        found = expected.mismatch(pulled(subject, inputs, cotangents))
    except (Unsupported, NotFinite):
        raise
    except Exception as error:  # whatever a user's function raises
        try:
            values(subject, inputs)
        except Exception:
            return None
        text = named(error)
        detail = f"with {what}, the backward pass raised {text}"
        return disagreement(
            LAYOUT_DOES_NOT_MATTER, subject, detail=detail, inputs=inputs, cotangents=cotangents, way="raised"
        )
    return None if found is None else _found(subject, found, cotangents, what, inputs)


def _yardstick(
    subject: Subject, inputs: tuple[Array, ...], cotangents: tuple[Array, ...], generator: np.random.Generator
) -> Yardstick:
    count = len(inputs)
    return Yardstick(
        lambda arrays: pulled(subject, arrays[:count], arrays[count:]),
        (*inputs, *cotangents),
        generator,
        cotangents=len(cotangents),
        least=ANOTHER_WAY,
        noise=subject.noise,
    )


def _found(
    subject: Subject, found: Mismatch, cotangents: tuple[Array, ...], what: str, inputs: Sequence[Array]
) -> Outcome:
    outputs = len(cotangents)
    is_gradient = found.array >= outputs
    detail = (
        f"with {what}, {'the gradient' if is_gradient else f'output {found.array}'} is not that of a contiguous copy"
    )
    return disagreement(
        LAYOUT_DOES_NOT_MATTER,
        subject,
        position=positions(subject)[found.array - outputs] if is_gradient else None,
        entry=found.entry,
        analytic=found.actual,
        numeric=found.expected,
        error=found.bound,
        detail=detail,
        inputs=inputs,
        cotangents=cotangents,
        output=None if is_gradient else found.array,
    )


def _changed_inputs(inputs: tuple[Array, ...], given: tuple[Array, ...]) -> Iterator[tuple[str, tuple[Array, ...]]]:
    if any(g.strides != x.strides for g, x in zip(given, inputs, strict=True)):
        yield "the layouts given", given
    for k, x in enumerate(inputs):
        for name, changed in layouts(x):
            yield f"x{k} {name}", (*inputs[:k], changed, *inputs[k + 1 :])
    if len(inputs) > 1:
        for name, change in (("transposed", transposed), ("strided with gaps", gapped)):
            yield f"all inputs {name}", tuple(change(x) for x in inputs)


def _cotangent_layouts(cotangents: tuple[Array, ...]) -> Iterator[tuple[str, tuple[Array, ...]]]:
    if any(u.ndim > 1 for u in cotangents):
        yield "a transposed cotangent", tuple(transposed(u) for u in cotangents)
    yield "a cotangent strided with gaps", tuple(gapped(u) for u in cotangents)
    # What the backward of `sum()` sends, then what the backward of a sum over one axis sends.
    yield (
        "an expanded cotangent",
        tuple(np.broadcast_to(u[(slice(0, 1),) * u.ndim], u.shape) for u in cotangents),
    )
    if any(u.ndim > 1 for u in cotangents):
        rows = tuple(np.broadcast_to(u[:1], u.shape) if u.ndim else u for u in cotangents)
        yield "a cotangent expanded along its first axis", rows
        columns = tuple(np.broadcast_to(u[..., :1], u.shape) if u.ndim else u for u in cotangents)
        yield "a cotangent expanded along its last axis", columns


def layouts(array: Array) -> Iterator[tuple[str, Array]]:
    """The same values in other layouts, each with its name; expanded ones where the values repeat along an axis."""
    if array.ndim > 1 and array.size > 1:
        yield "transposed", transposed(array)
    yield "strided with gaps", gapped(array)
    for axis in range(array.ndim):
        first = array.take([0], axis) if array.shape[axis] > 1 else None
        if first is not None and array.size and np.array_equal(np.broadcast_to(first, array.shape), array):
            yield f"expanded along axis {axis}", np.broadcast_to(first, array.shape)


def transposed(array: Array) -> Array:
    """Axes in reverse order in memory."""
    return np.array(array, order="F", copy=True)


def gapped(array: Array) -> Array:
    """Every second element of a row, starting at the second (in the engine, the gaps hold NaN)."""
    if not array.ndim:
        return np.array([array, array])[1:].reshape(())
    memory = np.empty((*array.shape[:-1], 2 * array.shape[-1] + 1), array.dtype)
    held = memory[..., 1::2]
    held[...] = array
    return held


LAYOUT_DOES_NOT_MATTER = Claim(
    "layout_does_not_matter",
    "GC301",
    "Inputs and cotangents give the same values and gradients whatever their strides.",
    layout_does_not_matter,
    needs=frozenset({Capability.STRIDES}),
)
