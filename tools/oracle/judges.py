"""Who is asked about a graph, in one form: ours on two engines, and the checkers of PyTorch, JAX and HIPS autograd.

Each judge takes a graph and the factor that its gradient is wrong by (None: it is right) and gives an `Answer`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from gradcheck.arguments import as_subject
from gradcheck.checks import default_claims
from gradcheck.engines import registry
from gradcheck.examination import outcome_of
from gradcheck.failures import Unsupported
from gradcheck.verdict import Verdict
from tools.oracle.graphs import Graph
from tools.oracle.libraries import is_installed

AGREE, FLAT, INCONCLUSIVE, DISAGREE, REFUSED = "agree", "flat", "inconclusive", "disagree", "refused"


@dataclass(frozen=True, slots=True)
class Answer:
    """One judge's word on one graph.

    Attributes
    ----------
    word : str
        "agree", "flat" (agrees that the derivative is zero to the eye: nothing was tested), "inconclusive",
        "disagree", "refused" (raised something else).
    reason : str
    """

    word: str
    reason: str = ""


Judge = Callable[[Graph, float | None], Answer]


def ours(function: Callable[..., Any], tensors: list[Any], engine: str, seed: int, code: str = "GC101") -> Answer:
    """The claim as `gradcheck.check` asks it, without making a failing call small and diagnosing it."""
    adapter = registry.engine(engine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # No graph draws random numbers, so nothing is seeded before each call.
        subject = as_subject(function, tensors, adapter, rtol=1e-6, seed=seed, name="graph", replays=False)
        try:
            outcome = outcome_of(default_claims().get(code), subject)
        except Unsupported as refusal:
            return Answer(REFUSED, str(refusal))
        except Exception as error:  # a fault of ours, listed under the table
            return Answer(REFUSED, f"{type(error).__name__}: {_line(error)}")
    if outcome.verdict is Verdict.AGREE:
        return Answer(FLAT if outcome.vacuous else AGREE)
    if outcome.verdict is Verdict.INCONCLUSIVE:
        return Answer(INCONCLUSIVE, outcome.reason)
    detail = "" if outcome.finding is None else outcome.finding.detail
    return Answer(DISAGREE, detail)


def _line(error: Exception) -> str:
    """The beginning of a message on one line."""
    return " ".join(str(error).split())[:80]


def _ours_on(engine: str, code: str = "GC101") -> Judge:
    return lambda graph, factor: ours(graph.function(engine, factor), graph.tensors(engine), engine, graph.seed, code)


def _torch(**options: Any) -> Judge:
    def judge(graph: Graph, factor: float | None) -> Answer:
        return torch_gradcheck(graph.function("torch", factor), graph.tensors("torch"), **options)

    return judge


def torch_gradcheck(
    function: Callable[..., Any], tensors: list[Any], *, second: bool = False, **options: Any
) -> Answer:
    """`torch.autograd.gradcheck` (or `gradgradcheck`) with its defaults."""
    import torch
    from torch.autograd.gradcheck import GradcheckError

    asked = torch.autograd.gradgradcheck if second else torch.autograd.gradcheck
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            asked(function, tuple(tensors), **options)
        except GradcheckError as error:
            return Answer(DISAGREE, _line(error))
        except Exception as error:  # a refusal is no verdict
            return Answer(REFUSED, f"{type(error).__name__}: {_line(error)}")
    return Answer(AGREE)


def jax_check_grads(function: Callable[..., Any], arrays: list[Any]) -> Answer:
    """`jax.test_util.check_grads`, reverse mode, with its defaults."""
    from jax.test_util import check_grads

    try:
        check_grads(function, tuple(arrays), order=1, modes=["rev"])
    except AssertionError as error:
        return Answer(DISAGREE, _line(error))
    except Exception as error:
        return Answer(REFUSED, f"{type(error).__name__}: {_line(error)}")
    return Answer(AGREE)


def autograd_check_grads(function: Callable[..., Any], arrays: list[Any], seed: int) -> Answer:
    """`autograd.test_util.check_grads`, reverse mode, with its defaults; its random numbers are NumPy's global ones."""
    from autograd.test_util import check_grads

    np.random.seed(seed % 2**32)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            check_grads(function, modes=["rev"], order=1)(*arrays)
        except AssertionError as error:
            return Answer(DISAGREE, _line(error))
        except Exception as error:
            return Answer(REFUSED, f"{type(error).__name__}: {_line(error)}")
    return Answer(AGREE)


JUDGES: dict[str, tuple[str, Judge]] = {
    "ours on refengine": ("refengine", _ours_on("refengine")),
    "ours on torch": ("torch", _ours_on("torch")),
    "torch slow": ("torch", _torch()),
    "torch fast": ("torch", _torch(fast_mode=True)),
    "JAX": ("jax", lambda graph, factor: jax_check_grads(graph.function("jax", factor), graph.tensors("jax"))),
    "autograd": (
        "autograd",
        lambda graph, factor: autograd_check_grads(
            graph.function("autograd", factor), graph.tensors("autograd"), graph.seed
        ),
    ),
}
"""For each judge the library that it judges, and the judge."""

PEERS = ("torch slow", "torch fast", "JAX", "autograd")


@cache
def present(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the judges whose library is installed."""
    return tuple(name for name in names if is_installed(JUDGES[name][0]))
