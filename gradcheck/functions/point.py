"""From a call to a subject: which inputs and outputs are differentiated, in which precision."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradcheck.arguments import Precision, as_subject, leaves
from gradcheck.checks.claim import Subject
from gradcheck.checks.gradient import vjp_matches_numeric
from gradcheck.checks.half import in_each_half
from gradcheck.checks.kinks import is_one_rule
from gradcheck.checks.passes import linearized, run
from gradcheck.checks.precision import WORKS_IN_ITS_INPUTS_PRECISION, measured_noise
from gradcheck.engines.base import Capability, Engine, Linearized
from gradcheck.examination import call_name
from gradcheck.failures import Unsupported, named, said
from gradcheck.functions.portion import portion_of
from gradcheck.functions.surroundings import Surroundings
from gradcheck.functions.wishes import Meter, Wishes
from gradcheck.observation.call import Call, Seen
from gradcheck.verdict import Verdict

# Random states in which a gradient that is right in the mean is looked at.
STATES = 9
# Less round-off than this is float32's. What half precision came in and float32 computes is judged so; half precision
# has a thousand times as much.
_SINGLE = 2.0**-20

Others = tuple[Callable[..., Any], ...]
Built = tuple[Subject, Others]


class OutsideDomain(Unsupported, ValueError):
    """The forward pass of the user's Function refuses an input."""


class TooSlow(Unsupported):
    """Far more was spent than the allowance."""


class NotCallable(Exception):
    """The call cannot be made again; says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A call, ready to be judged.

    Attributes
    ----------
    subject : Subject
        At the input that was seen.
    part : Subject or None
        At a part of it, where it is large.
    others : tuple of callables
        The subject's function, each from another random state.
    is_own : bool
        It is judged in the precision it was called in, which is not float64.
    notes : tuple of str
        What a reader should know about how it is judged.
    marked : tuple of int
        Outputs that are marked as not differentiable by mistake; they are judged all the same.
    """

    subject: Subject
    part: Subject | None
    others: tuple[Callable[..., Any], ...]
    is_own: bool
    notes: tuple[str, ...]
    marked: tuple[int, ...] = ()


class Applied:
    """The user's function as a function of its arguments, every call from the same surroundings.

    What it raises is `OutsideDomain`. Only the floating outputs that were recorded at the first call are given.
    """

    def __init__(self, engine: Engine, call: Call, surroundings: Surroundings, meter: Meter) -> None:
        self._engine = engine
        self._apply = engine.applied(call.function)
        self._surroundings = surroundings
        self._meter = meter
        self.recorded: tuple[int, ...] | None = None
        self.clones = False
        self.seed: int | None = None

    def __call__(self, *arguments: Any) -> tuple[Any, ...]:
        engine = self._engine
        if self._meter.is_exhausted:
            raise TooSlow(f"too slow: {self._meter.evaluations} calls took {self._meter.seconds:.0f} s")
        self._meter.evaluations += 1
        self._surroundings.restore()
        if self.seed is not None:
            engine.seed(self.seed)
            random.seed(self.seed)
            np.random.seed(self.seed % 2**32)
        if self.clones:
            arguments = tuple(engine.call("clone", (x,), {}) if engine.is_tensor(x) else x for x in arguments)
        try:
            result = self._apply(*arguments)
        except Exception as error:  # whatever a user's forward raises
            raise OutsideDomain(f"forward raised {named(error)}") from error
        found = [y for y in leaves(result) if engine.is_tensor(y) and engine.kind(y) in "fc"]
        if self.recorded is None:
            return tuple(found)
        if self.recorded and self.recorded[-1] >= len(found):
            raise OutsideDomain(f"forward gives {len(found)} floating outputs here, fewer than at the first input")
        return tuple(found[k] for k in self.recorded)

    def reseeded(self, function: Callable[..., Any], seed: int) -> Callable[..., Any]:
        """`function`, which calls this one, with other random numbers."""

        def other(*tensors: Any) -> Any:
            before, self.seed = self.seed, seed
            try:
                return function(*tensors)
            finally:
                self.seed = before

        return other


def point_of(
    seen: Seen, engine: Engine, surroundings: Surroundings, meter: Meter, wishes: Wishes, *, seed: int
) -> Point:
    """The call as a subject, in float64 where the Function computes in it, else in the precision it was called in.

    Parameters
    ----------
    seen : Seen
        Where no tensor of it was seen to require grad, all floating ones are differentiated.
    engine, surroundings, meter, wishes
    seed : int
        As in `gradcheck.check`.

    Raises
    ------
    NotCallable
        If the Function raises when it is called again, or has nothing to differentiate.
    """
    call, required, facts = seen.call, seen.required, seen.facts
    function = Applied(engine, call, surroundings, meter)
    wanted = _wanted(engine, call, required)
    is_rule = is_one_rule(getattr(call.function, "apply", call.function))

    def built(precision: Precision) -> Built:
        subject = as_subject(
            function, call.arguments, engine, rtol=wishes.rtol, seed=seed, name=call_name(call.function),
            precision=precision, differentiable=wanted, replay=lambda: None,
        )  # fmt: skip
        subject = replace(subject, nondet_tol=wishes.nondet_tol, is_rule=is_rule)
        if wishes.domain is not None and precision == "double":
            subject = replace(subject, narrow=subject.narrow or in_each_half(subject.inputs))
        return subject, tuple(function.reseeded(subject.function, seed + k) for k in range(1, STATES + 1))

    sizes = frozenset(x for x in leaves(call.arguments) if type(x) is int)
    double = _tried(built, "double", function, call, any(required))
    if isinstance(double, Point):
        part = portion_of(double.subject, facts, sizes)
        if not (_is_narrow(engine, call) and _computes_in_less(part or double.subject)):
            return replace(double, part=part)
        noise = measured_noise(part or double.subject)
        if double.subject.narrow and noise < _SINGLE:
            notes = (*double.notes, "judged with the round-off of float32, in which it computes")
            part = part and replace(part, noise=noise)
            return replace(double, subject=replace(double.subject, noise=noise), part=part, notes=notes)
    own = _tried(built, "own", function, call, any(required))
    if isinstance(own, NotCallable):
        raise double if isinstance(double, NotCallable) and not _is_narrow(engine, call) else own
    why = f"refuses float64 ({double})" if isinstance(double, NotCallable) else "computes in less than float64"
    notes = (*own.notes, f"judged in {_dtypes(own.subject)}: it {why}")
    return replace(own, part=portion_of(own.subject, facts, sizes), is_own=True, notes=notes)


def _tried(
    built: Callable[[Precision], Built], precision: Precision, function: Applied, call: Call, is_asked: bool
) -> Point | NotCallable:
    """The call as a subject, known to work; else why it does not."""
    refusal = NotCallable()
    for clones in (False, True):
        function.recorded, function.clones = None, clones
        subject, others = built(precision)
        try:
            at = linearized(subject, subject.inputs)
        except Unsupported as error:
            refusal = _refusal(str(error), error)
            continue
        except Exception as error:  # nothing to differentiate among the results, say
            return _refusal(said(error), error)
        located = subject.engine.locate_backward(getattr(call.function, "apply", call.function), at.outputs)
        subject = replace(subject, where=located)
        unrecorded = tuple(k for k, y in enumerate(at.outputs) if not _has_history(subject.engine, y))
        marked = _wrongly_marked(subject, unrecorded)
        function.recorded = tuple(k for k in range(len(at.outputs)) if k in marked or k not in unrecorded)
        if not function.recorded:
            return NotCallable("no output has a history: all are marked as not differentiable")
        notes = ("works in place: called on copies of its inputs",) if clones else ()
        if left := len(unrecorded) - len(marked):
            notes = (*notes, f"{left} floating outputs are marked as not differentiable")
        if not is_asked:
            subject = _without_refused(subject)
        return Point(subject, None, others, False, notes, marked)
    return refusal


def _refusal(text: str, error: Exception) -> NotCallable:
    found = NotCallable(text)
    found.__cause__ = error
    return found


def _has_history(engine: Engine, output: Any) -> bool:
    """Whether gradients flow to an output; without a record, they flow to all."""
    return Capability.TAPE not in engine.capabilities or engine.requires_grad(output)


def _wrongly_marked(subject: Subject, unrecorded: Sequence[int]) -> tuple[int, ...]:
    """Those of the outputs without a history for which backward has the right gradient, were they not marked.

    Who means the mark (statistics, indices) writes no formula for a cotangent that is always zero.
    """
    if not unrecorded:
        return ()
    try:
        with subject.engine.unmarked():
            at = linearized(subject, subject.inputs)
            return tuple(k for k in unrecorded if _is_pulled(subject, at, k) and _is_right(subject, k))
    except Exception:  # whatever a user's function raises for a cotangent that it never gets
        return ()


def _is_pulled(subject: Subject, at: Linearized, k: int) -> bool:
    """Whether backward makes something of a cotangent of output `k`."""
    engine = subject.engine
    found = at.pull([engine.tensor(np.full_like(engine.array(y), n == k)) for n, y in enumerate(at.outputs)])
    return any(g is not None and bool(engine.array(g).any()) for g in found)


def _is_right(subject: Subject, k: int) -> bool:
    """Whether the gradient of output `k` is its derivative."""
    outcome = vjp_matches_numeric(replace(subject, function=lambda *tensors: (run(subject, tensors)[k],)))
    return outcome.verdict is Verdict.AGREE and not outcome.vacuous


def _without_refused(subject: Subject) -> Subject:
    """Without the inputs for which backward returns None, where no input was ever seen to require grad.

    Nobody asked for those gradients: that a loss returns None for its target says that it has none.
    """
    engine = subject.engine
    at = linearized(subject, subject.inputs)
    try:
        pulled = iter(at.pull([engine.tensor(np.ones_like(engine.array(y))) for y in at.outputs], is_last=True))
    except Exception:  # whatever a user's backward raises; the claims report it
        return subject
    kept = tuple(is_wanted and next(pulled) is not None for is_wanted in subject.differentiable)
    return replace(subject, differentiable=kept) if any(kept) else subject


def _computes_in_less(subject: Subject) -> bool:
    """Whether float64 inputs meet float32 arithmetic on their way."""
    try:
        return WORKS_IN_ITS_INPUTS_PRECISION.check(subject).verdict is Verdict.DISAGREE
    except Exception:  # whatever a user's backward raises; the claims report it
        return False


def _wanted(engine: Engine, call: Call, required: Sequence[bool]) -> tuple[bool, ...]:
    """Which tensors among the arguments are differentiated: direct ones, as autograd looks into no list."""
    tensors = [x for x in leaves(call.arguments) if engine.is_tensor(x)]
    direct = {id(x) for x in call.arguments}
    able = [id(x) in direct and engine.kind(x) in "fc" for x in tensors]
    asked = [a and r for a, r in zip(able, required, strict=True)]
    return tuple(asked if any(asked) else able)


def _is_narrow(engine: Engine, call: Call) -> bool:
    """Whether a floating argument is of less than double precision."""
    arrays = [engine.array(x).dtype for x in leaves(call.arguments) if engine.is_tensor(x) and engine.kind(x) in "fc"]
    return any(dtype not in (np.float64, np.complex128) for dtype in arrays)


def _dtypes(subject: Subject) -> str:
    return ", ".join(sorted({str(x.dtype) for x in subject.inputs if x.dtype.kind in "fc"}))
