"""Judge one function from one call: what surrounds the call is kept, and the result is written."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from gradcheck.engines import registry
from gradcheck.engines.base import Engine
from gradcheck.functions.inquiry import Examination
from gradcheck.functions.point import NotCallable, point_of
from gradcheck.functions.surroundings import Surroundings
from gradcheck.functions.wishes import Allowance, Meter, Wishes
from gradcheck.functions.writing import written
from gradcheck.observation.call import Seen
from gradcheck.observation.observer import Observed
from gradcheck.report.function import FunctionResult, Status


def examine(
    observed: Observed, *, seed: int, allowance: Allowance | None = None, wishes: Wishes | None = None
) -> FunctionResult:
    """Judge a Function at the first input of one signature, then at drawn variations of it.

    The caller's tensors, modules, gradients, grad mode, default dtype and random state are left as they are.

    Parameters
    ----------
    observed : Observed
    seed : int
        Decides random directions and what is drawn.
    allowance : Allowance or None
        What the drawn inputs and the claims that are not always asked may cost; two seconds by default.
    wishes : Wishes or None

    Returns
    -------
    FunctionResult
    """
    call = observed.call
    plain = FunctionResult(observed.name, signature=observed.signature_text, status=Status.UNCHECKED)
    if call is None:
        return replace(plain, reason=observed.reason)
    engine = registry.engine(call.engine, call.device)
    where = engine.locate_backward(getattr(call.function, "apply", call.function)) or ""
    plain = replace(plain, where=where, engine=f"{call.engine}-{call.device}")
    meter = Meter(allowance or Allowance())
    try:
        seen = Seen(call, observed.facts, observed.required, observed.create_graph)
        with examined(seen, engine, meter, wishes or Wishes(), seed=seed) as examination:
            return written(examination, plain)
    except NotCallable as problem:
        return replace(plain, reason=str(problem), is_blind=True, seconds=meter.seconds)


@contextmanager
def examined(seen: Seen, engine: Engine, meter: Meter, wishes: Wishes, *, seed: int) -> Iterator[Examination]:
    """Gives what was found about a call; inside, what the call can reach is as it was when it was made.

    Parameters
    ----------
    seen : Seen
    engine, meter, wishes
    seed : int
        As in `examine`.

    Raises
    ------
    NotCallable
        If the function raises when it is called again, or has nothing to differentiate.
    """
    surroundings = Surroundings(engine, seen.call)
    with _quietly(), surroundings.kept(seed), engine.one_thread():
        point = point_of(seen, engine, surroundings, meter, wishes, seed=seed)
        examination = Examination(seen, point, meter, wishes, seed)
        examination.run()
        yield examination


@contextmanager
def _quietly() -> Iterator[None]:
    """A user's Function may warn where a drawn value meets a singular point; that says nothing about its gradients."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
