"""GC401 to GC403: what a module does in eval mode, and that its gradients are right in both modes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from gradcheck.checks.claim import Claim, Subject, disagreement
from gradcheck.checks.gradient import vjp_matches_numeric
from gradcheck.checks.passes import draw_like, linearized, place, run
from gradcheck.engines.base import Capability
from gradcheck.program import Array
from gradcheck.verdict import AGREED, VACUOUS, Outcome, Verdict

# Any two different streams will do; these are named so that a report can say which.
_SEEDS = (1, 2)


def eval_is_deterministic(subject: Subject) -> Outcome:
    """In eval mode, the random generator and earlier calls change nothing: the same input gives the same output."""
    engine = subject.engine
    with private(subject, training=False) as put:
        put({})
        seen = []
        for seed in (_SEEDS[0], *_SEEDS):
            with engine.sandbox(seed):
                seen.append([engine.array(y) for y in run(subject, place(subject, subject.inputs))])
    for what, outputs in (("a second call", seen[1]), ("another random stream", seen[2])):
        for k, (first, other) in enumerate(zip(seen[0], outputs, strict=True)):
            if first.tobytes() != other.tobytes() or first.shape != other.shape:
                detail = f"in eval mode, {what} gives another output {k}"
                return disagreement(EVAL_IS_DETERMINISTIC, subject, detail=detail)
    return AGREED if any(y.size for y in seen[0]) else VACUOUS


def eval_leaves_buffers_alone(subject: Subject) -> Outcome:
    """In eval mode, forward and backward change no buffer."""
    engine = subject.engine
    before = _arrays(subject, engine.buffers(subject.module))
    if not before:
        return VACUOUS
    with private(subject, training=False) as put, engine.sandbox(_SEEDS[0]):
        put({})
        at = linearized(subject, subject.inputs)
        seeds = draw_like([engine.array(y) for y in at.outputs], subject.generator("buffers"))
        at.pull([engine.tensor(u) for u in seeds], is_last=True)
        after = _arrays(subject, engine.buffers(subject.module))
    for name, values in before.items():
        if name not in after or after[name].tobytes() != values.tobytes():
            detail = f"in eval mode, a forward and a backward pass changed the buffer {name!r}"
            return disagreement(EVAL_LEAVES_BUFFERS_ALONE, subject, detail=detail)
    return AGREED


def gradients_are_right_in_both_modes(subject: Subject) -> Outcome:
    """In train and in eval mode, the gradients for inputs and parameters are the numerical ones.

    Every evaluation replays the same random stream and starts from the same buffers: running statistics and dropout
    masks are then part of the function, not of the moment.
    """
    outcomes = []
    for training in (True, False):
        with private(subject, training=training) as put, subject.engine.sandbox(_SEEDS[0]):
            outcome = vjp_matches_numeric(with_parameters(subject, put, training))
        if outcome.finding is not None:
            mode = "train" if training else "eval"
            claim = GRADIENTS_ARE_RIGHT_IN_BOTH_MODES
            finding = replace(
                outcome.finding,
                claim=claim.name,
                code=claim.code,
                sentence=claim.sentence,
                detail="; ".join(part for part in (f"in {mode} mode", outcome.finding.detail) if part),
            )
            return replace(outcome, finding=finding)
        outcomes.append(outcome)
    undecided = [outcome for outcome in outcomes if outcome.verdict is not Verdict.AGREE]
    decided = [outcome for outcome in outcomes if not outcome.vacuous]
    return (undecided or decided or outcomes)[0]


def with_parameters(subject: Subject, put: Callable[[Mapping[str, Any]], None], training: bool) -> Subject:
    """The module as a function of its inputs and its parameters, with the random stream and the buffers set back."""
    engine = subject.engine
    parameters = {n: a for n, a in _arrays(subject, engine.parameters(subject.module)).items() if a.dtype.kind in "fc"}
    count = len(subject.inputs)

    def function(*tensors: Any) -> Any:
        put(dict(zip(parameters, tensors[count:], strict=True)))
        engine.seed(_SEEDS[0])
        return subject.function(*tensors[:count])

    return replace(
        subject,
        function=function,
        inputs=(*subject.inputs, *parameters.values()),
        differentiable=(*subject.differentiable, *(True for _ in parameters)),
        label=f"{subject.label}  # in {'train' if training else 'eval'} mode, with {', '.join(parameters)}",
    )


@contextmanager
def private(subject: Subject, *, training: bool) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """The module in one mode, with copies of its state. The function given puts fresh copies and then replacements."""
    engine = subject.engine
    buffers = _arrays(subject, engine.buffers(subject.module))

    with engine.mode(subject.module, training), engine.replaced(subject.module) as put:

        def fresh(state: Mapping[str, Any]) -> None:
            put({name: engine.tensor(values) for name, values in buffers.items()} | dict(state))

        yield fresh


def _arrays(subject: Subject, tensors: Mapping[str, Any]) -> dict[str, Array]:
    return {name: subject.engine.array(tensor) for name, tensor in tensors.items()}


EVAL_IS_DETERMINISTIC = Claim(
    "eval_is_deterministic",
    "GC401",
    "In eval mode, a module gives the same output for the same input, whatever the random stream.",
    eval_is_deterministic,
    kind="module",
    needs=frozenset({Capability.MODULES}),
)

EVAL_LEAVES_BUFFERS_ALONE = Claim(
    "eval_leaves_buffers_alone",
    "GC402",
    "In eval mode, neither forward nor backward changes a buffer.",
    eval_leaves_buffers_alone,
    kind="module",
    needs=frozenset({Capability.MODULES}),
)

GRADIENTS_ARE_RIGHT_IN_BOTH_MODES = Claim(
    "gradients_are_right_in_both_modes",
    "GC403",
    "In train and in eval mode, the gradients for inputs and parameters are the numerical ones.",
    gradients_are_right_in_both_modes,
    kind="module",
    needs=frozenset({Capability.MODULES}),
)
