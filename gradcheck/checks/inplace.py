"""GC201 to GC203: in-place operations change what they should, refuse what they must, and touch nothing else."""

from __future__ import annotations

from typing import Any

from gradcheck.checks.claim import Claim, Subject, disagreement
from gradcheck.checks.passes import draw_like, place, positions, run, wanted
from gradcheck.engines.base import Engine
from gradcheck.verdict import AGREED, Outcome


def no_input_is_modified(subject: Subject) -> Outcome:
    """Forward and backward leave inputs and the caller's cotangents as they were: same values, same version.

    Inputs that a program mutates by a step of its own are left out: an engine refuses that for those that require
    grad, so exactly these are looked at where the program has an in-place step.
    """
    engine = subject.engine
    leaves = place(subject, subject.inputs)
    mutates = subject.program is not None and any(step.inplace for step in subject.program.steps)
    kept = positions(subject) if mutates else tuple(range(len(leaves)))
    inputs = {f"x{k}": leaves[k] for k in kept}
    before = {name: _snapshot(engine, tensor) for name, tensor in inputs.items()}
    outputs = run(subject, leaves)
    changed = _changed(engine, inputs, before)
    if changed:
        return disagreement(NO_INPUT_IS_MODIFIED, subject, detail=f"the forward pass modified {changed}")
    cotangents = draw_like([engine.array(y) for y in outputs], subject.generator("not modified"))
    given = {f"the cotangent of output {k}": engine.tensor(u) for k, u in enumerate(cotangents)}
    watched = inputs | given
    before = {name: _snapshot(engine, tensor) for name, tensor in watched.items()}
    engine.grad(outputs, wanted(subject, leaves), list(given.values()))
    changed = _changed(engine, watched, before)
    if changed:
        return disagreement(NO_INPUT_IS_MODIFIED, subject, detail=f"the backward pass modified {changed}")
    return AGREED


def _snapshot(engine: Engine, tensor: Any) -> tuple[bytes, int]:
    """The bytes of the values (NaN is then equal to itself, 0.0 is not -0.0) and the version."""
    return engine.array(tensor).tobytes(), engine.version(tensor)


def _changed(engine: Engine, tensors: dict[str, Any], before: dict[str, tuple[bytes, int]]) -> str:
    """The first tensor that is not what it was, and in what way; "" where there is none."""
    for name, tensor in tensors.items():
        values, version = _snapshot(engine, tensor)
        if values != before[name][0]:
            return f"the values of {name}"
        if version != before[name][1]:
            return f"{name} in place (same values, version {before[name][1]} became {version})"
    return ""


NO_INPUT_IS_MODIFIED = Claim(
    "no_input_is_modified",
    "GC203",
    "Forward and backward modify neither the inputs nor the caller's cotangents.",
    no_input_is_modified,
)
