"""Second derivatives: ours (GC104) beside gradgradcheck, on graphs whose second derivative is right or off by 1e-3."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradcheck.checks.evaluation import extent
from tools.oracle.alarms import CHUNK, Counts
from tools.oracle.graph_facts import FLAT
from tools.oracle.graphs import WRONG, Graph, draw
from tools.oracle.judges import AGREE, DISAGREE, Answer, ours, torch_gradcheck
from tools.oracle.judges import FLAT as SAID_FLAT
from tools.oracle.libraries import Op, is_installed, library
from tools.oracle.pool import Asked, Task, spread

KINDS = ("smooth", "ill_scaled", "stiff", "saturated")
JUDGES = ("ours", "gradgradcheck slow", "gradgradcheck fast")
# One graph in so many is asked for its second derivative.
SHARE = 40


@dataclass(slots=True)
class Second:
    """One class: for each judge what it says of right second derivatives and of wrong ones."""

    kind: str
    right: dict[str, Counts] = field(default_factory=dict)
    wrong: dict[str, Counts] = field(default_factory=dict)

    def merge(self, other: Second) -> None:
        """Add another's counts."""
        for mine, its in ((self.right, other.right), (self.wrong, other.wrong)):
            for name, counts in its.items():
                mine.setdefault(name, Counts()).merge(counts)


def measure(asked: Asked, say: Callable[[str], None]) -> list[Second]:
    """A part of the graphs of each class; nothing without PyTorch."""
    if not is_installed("torch"):
        return []
    count = max(1, asked.graphs // SHARE)
    tasks = [
        Task(f"second order, {kind}", chunk, (kind, start, min(start + CHUNK, asked.seed + count)))
        for start in range(asked.seed, asked.seed + count, CHUNK)
        for kind in KINDS
    ]
    found = {kind: Second(kind) for kind in KINDS}
    for one in spread(tasks, asked.jobs, say):
        found[one.kind].merge(one)
    return list(found.values())


def chunk(kind: str, start: int, stop: int) -> Second:
    """The graphs of one class from one seed to another."""
    found = Second(kind)
    for seed in range(start, stop):
        graph = draw(kind, seed)
        if not is_finite(graph):
            continue  # logaddexp far apart: PyTorch gives NaN
        is_curved = curves(graph)
        for name in JUDGES:
            _ask(found.right.setdefault(name, Counts()), name, graph, None, True)
            _ask(found.wrong.setdefault(name, Counts()), name, graph, WRONG, is_curved)
    return found


def _ask(counts: Counts, name: str, graph: Graph, factor: float | None, shows: bool) -> None:
    start = time.process_time()
    answer = asked(name, graph, factor)
    counts.seconds += time.process_time() - start
    if factor is not None and answer.word != DISAGREE and not shows:
        counts.unfair += 1
        return
    if (answer.word == DISAGREE) == (factor is None) and answer.word in (AGREE, SAID_FLAT, DISAGREE):
        counts.cases.append(graph.id)
    counts.add(answer)


def asked(name: str, graph: Graph, factor: float | None) -> Answer:
    """What a judge says of a graph whose second derivatives are multiplied by `factor`."""
    function, tensors = graph.function("torch"), graph.tensors("torch")
    if factor is not None:
        run, distort = function, twice_off(factor)

        def function(*inputs: Any) -> Any:
            return run(*[distort(x) for x in inputs])

    if name == "ours":
        return ours(function, tensors, "torch", graph.seed, "GC104")
    options = {"fast_mode": True} if name.endswith("fast") else {}
    return torch_gradcheck(function, tensors, second=True, **options)


def twice_off(factor: float) -> Op:
    """The identity with a right gradient that is itself differentiated wrongly: off by a factor."""
    import torch

    off = library("torch").scaled(factor)

    def forward(ctx: Any, x: Any) -> Any:
        return x.clone()

    def backward(ctx: Any, g: Any) -> Any:
        return off(g)

    made = type(
        "TwiceOff", (torch.autograd.Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    )
    return made.apply  # type: ignore[attr-defined, no-any-return]


def curves(graph: Graph) -> bool:
    """Whether a second derivative is more than zero to the eye: against the gradient's size, and the function's own.

    A gradient has the round-off of the function, over the change of the input that it answers to; what is less than
    1e-9 of that passes for zero, as it does at first order.
    """
    return any(bool((size > least).any()) for size, least in _seconds(graph))


def is_finite(graph: Graph) -> bool:
    """Whether PyTorch's own second derivatives are."""
    return all(bool(np.isfinite(size).all()) for size, _ in _seconds(graph))


def _seconds(graph: Graph) -> Iterator[tuple[np.ndarray, float]]:
    """The second derivatives, each entry moved by its own size; and what may pass for zero."""
    import torch

    tensors = graph.tensors("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = graph.function("torch")(*tensors)
        weights = torch.tensor(np.random.default_rng(graph.seed).standard_normal(tuple(out.shape)))
        total = float((out * weights).detach().abs().sum())
        grads = torch.autograd.grad((out * weights).sum(), tensors, create_graph=True, allow_unused=True)
    for x, g in zip(tensors, grads, strict=True):
        if g is None or not g.requires_grad:
            continue
        natural = total / extent(x.detach().numpy())
        for entry in g.reshape(-1):
            rows = torch.autograd.grad(entry, tensors, retain_graph=True, allow_unused=True)
            least = FLAT * max(float(entry.detach().abs()), natural)
            for z, row in zip(tensors, rows, strict=True):
                if row is not None:
                    yield (row * z).detach().abs().numpy(), least
