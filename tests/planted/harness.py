"""Every planted mistake, and what comes of it where a user's test makes one ordinary call."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from gradcheck.functions.wishes import Allowance
from gradcheck.mistake import Mistake
from gradcheck.report.function import FunctionResult, Status
from gradcheck.report.result import Report
from tests.functions.observed import observe
from tests.planted import behaviours, contexts, formulas
from tests.planted.mistake import Planted, Rules

ENGINES = ("torch", "refengine", "jax")
# Twice what the last of them takes.
COUNTED = Allowance(seconds=None, evaluations=8_000)


@dataclass(frozen=True, slots=True)
class Caught:
    """What became of one mistake: found by the right claim, which claims failed, and what it was called."""

    caught: bool
    codes: frozenset[str]
    mistake: Mistake | None


@cache
def planted(engine: str) -> tuple[Planted, ...]:
    """The mistakes of one engine; none where its library is not installed."""
    if importlib.util.find_spec(engine) is None:
        return ()
    rules = _jax_rules() if engine == "jax" else Rules(importlib.import_module(engine), engine)
    own = _with_a_source() if engine == "torch" else ()
    for plant in (*formulas.ALL, *behaviours.ALL, *(() if engine == "jax" else contexts.ALL)):
        plant(rules)
    names = {one.name for one in own}
    return (*own, *(one for one in rules.found if one.name not in names))


def _with_a_source() -> tuple[Planted, ...]:
    """What is written for PyTorch alone; it stands for what is called the same."""
    from tests.planted.torch_functions import PLANTED

    return PLANTED


def _jax_rules() -> Rules:
    """With what only JAX has."""
    from tests.planted import jax_rules

    rules = jax_rules.JaxRules()
    for plant in jax_rules.ALL:
        plant(rules)
    return rules


def everything() -> tuple[Planted, ...]:
    """The mistakes of all engines that are installed."""
    return tuple(one for engine in ENGINES for one in planted(engine))


def get(engine: str, name: str) -> Planted:
    """One mistake by its names."""
    return next(one for one in planted(engine) if one.name == name)


def judged(
    one: Planted, which: Callable[..., Any], seed: int, allowance: Allowance | None = None
) -> FunctionResult | Report:
    """What `pytest --gradcheck` makes of a test that calls a Function once and differentiates the sum.

    JAX has no Functions to observe: there a user explores. Evaluations are counted by default, as in a run in profile
    `ci`: what comes late is found on a busy machine too.
    """
    if one.engine == "jax":
        from gradcheck.exploration import explore

        claims = ("GC104",) if one.is_differentiated_again else ()
        more = {} if allowance is None else {"seconds": allowance.seconds}
        return explore(which, *one.inputs, claims=claims, seed=seed, **more)

    from gradcheck.functions.examine import examine

    (seen,) = [found for found in observe(lambda: _test(one, which)) if found.function is which.__self__]
    return examine(seen, seed=seed, allowance=allowance or COUNTED)


def caught(one: Planted, seed: int) -> Caught:
    """What becomes of the wrong function, with default settings."""
    result = judged(one, one.wrong, seed)
    codes = codes_of(result)
    return Caught(bool(one.codes & codes), codes, _mistake(result))


def alarms(one: Planted, seed: int, allowance: Allowance | None = None) -> tuple[str, ...]:
    """The claims that fail on the right twin: none, it should be."""
    return tuple(sorted(codes_of(judged(one, one.right, seed, allowance))))


def codes_of(result: FunctionResult | Report) -> frozenset[str]:
    """The claims that failed."""
    if isinstance(result, Report):
        return frozenset(finding.code for finding in result.failures)
    failed = result.failing if result.status is Status.DISAGREED else ()
    return frozenset(text.split()[0] for text in failed)


def _mistake(result: FunctionResult | Report) -> Mistake | None:
    """What the first failure is called."""
    if isinstance(result, Report):
        return result.failures[0].mistake if result.failures else None
    return Mistake(result.mistake) if result.mistake else None


def _test(one: Planted, which: Callable[..., Any]) -> None:
    """An ordinary test's call, and its backward."""
    library = importlib.import_module(one.engine)
    inputs = [x.clone().requires_grad_() if isinstance(x, library.Tensor) else x for x in one.inputs]
    result = which(*inputs)
    outputs = result if isinstance(result, tuple) else (result,)
    total = sum((y * y).sum() for y in outputs)
    leaves = [x for x in inputs if isinstance(x, library.Tensor)]
    if one.is_differentiated_again:
        (gradient,) = library.autograd.grad(total, leaves, create_graph=True)
        (gradient * gradient).sum().backward()
    else:
        total.backward()
