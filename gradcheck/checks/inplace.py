"""GC201 and GC203: in-place operations change what they should, and forward and backward touch nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gradcheck.checks.claim import Claim, Subject, disagreement
from gradcheck.checks.passes import draw_like, place, positions, pulled, run, values, wanted
from gradcheck.checks.roundoff import ANOTHER_WAY, Mismatch, Yardstick
from gradcheck.engines.base import Capability, Engine
from gradcheck.failures import Unsupported
from gradcheck.numeric.derivative import NOT_FINITE
from gradcheck.rewrite import REWRITES, functional
from gradcheck.verdict import AGREED, VACUOUS, Outcome, Verdict

SAME_VALUES = "same values"
"""What is said of a tensor that was written to and is as it was: a version that moved, which no user sees."""


def inplace_equals_out_of_place(subject: Subject) -> Outcome:
    """A program with in-place steps and its functional rewrite have the same outputs and gradients, to round-off.

    The rewrite has no in-place step, and nothing in it looks at memory that changes (see `gradcheck.rewrite`). A
    program without an in-place step, and one whose gradients are all zero, show nothing.
    """
    program, engine = subject.program, subject.engine
    if program is None or not program.outputs or not any(step.inplace for step in program.steps):
        return VACUOUS
    missing = [op for op in REWRITES if not engine.supports(op)]
    if missing:
        raise Unsupported(f"{engine.name} has no {missing[0]} for the functional rewrite")
    rewritten = functional(program, engine)
    pure = replace(subject, program=rewritten, function=lambda *tensors: rewritten.run(engine, tensors))
    plain = values(pure, subject.inputs)
    count = len(subject.inputs)
    cotangents = draw_like(plain, subject.generator("in place"))
    expected = Yardstick(
        lambda arrays: pulled(pure, arrays[:count], arrays[count:]),
        (*subject.inputs, *cotangents),
        subject.generator("in place round-off"),
        cotangents=len(cotangents),
        least=ANOTHER_WAY,
        noise=subject.noise,
    )
    if not expected.is_finite:
        return Outcome(Verdict.INCONCLUSIVE, NOT_FINITE)
    found = expected.mismatch(pulled(subject, subject.inputs, cotangents))
    if found is not None:
        return _differs(subject, found, len(plain))
    is_flat = not any(gradient.any() for gradient in expected.expected[len(plain) :])
    return VACUOUS if is_flat else AGREED


def _differs(subject: Subject, found: Mismatch, outputs: int) -> Outcome:
    is_gradient = found.array >= outputs
    what = "the gradient" if is_gradient else f"output {found.array}"
    return disagreement(
        INPLACE_EQUALS_OUT_OF_PLACE,
        subject,
        position=positions(subject)[found.array - outputs] if is_gradient else None,
        entry=found.entry,
        analytic=found.actual,
        numeric=found.expected,
        error=found.bound,
        detail=f"{what} is not that of the same program written without in-place steps",
    )


def no_input_is_modified(subject: Subject) -> Outcome:
    """Forward and backward leave inputs and the caller's cotangents as they were: same values, same version.

    Inputs that a program mutates by a step of its own are left out: an engine refuses that for those that require
    grad, so exactly these are looked at where the program has an in-place step.
    """
    engine = subject.engine
    leaves = place(subject, subject.inputs)
    mutates = subject.program is not None and any(step.inplace for step in subject.program.steps)
    kept = positions(subject) if mutates else tuple(range(len(leaves)))
    # Those that are differentiated first: a buffer that is written to must not hide them.
    inputs = {f"x{k}": leaves[k] for k in sorted(kept, key=lambda k: not subject.differentiable[k])}
    before = {name: _snapshot(engine, tensor) for name, tensor in inputs.items()}
    outputs = run(subject, leaves)
    changed = _changed(engine, inputs, before)
    if changed:
        return disagreement(NO_INPUT_IS_MODIFIED, subject, detail=f"the forward pass modified {changed}", way="forward")
    cotangents = draw_like([engine.array(y) for y in outputs], subject.generator("not modified"))
    given = {f"the cotangent of output {k}": engine.tensor(u) for k, u in enumerate(cotangents)}
    watched = inputs | given
    before = {name: _snapshot(engine, tensor) for name, tensor in watched.items()}
    engine.grad(outputs, wanted(subject, leaves), list(given.values()))
    changed = _changed(engine, watched, before)
    if changed:
        detail = f"the backward pass modified {changed}"
        return disagreement(NO_INPUT_IS_MODIFIED, subject, detail=detail, cotangents=cotangents, way="backward")
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
            return f"{name} in place ({SAME_VALUES}, version {before[name][1]} became {version})"
    return ""


NO_INPUT_IS_MODIFIED = Claim(
    "no_input_is_modified",
    "GC203",
    "Forward and backward modify neither the inputs nor the caller's cotangents.",
    no_input_is_modified,
    needs=frozenset({Capability.INPLACE, Capability.TAPE}),
)

INPLACE_EQUALS_OUT_OF_PLACE = Claim(
    "inplace_equals_out_of_place",
    "GC201",
    "A program with in-place steps has the values and gradients of the same program without them.",
    inplace_equals_out_of_place,
    kind="program",
    needs=frozenset({Capability.INPLACE}),
)
