"""False alarms, inconclusive answers, wrong gradients that pass, and the coverage of the error estimate, by class."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from gradcheck.numeric import directions
from gradcheck.numeric.differences import differentiate
from tools.oracle import graph_facts
from tools.oracle.classes import CLASSES
from tools.oracle.graphs import WRONG, Graph, draw
from tools.oracle.judges import AGREE, DISAGREE, FLAT, INCONCLUSIVE, JUDGES, PEERS, REFUSED, Answer, present
from tools.oracle.pool import Asked, Task, spread

CHUNK = 100
OURS = "ours on refengine"
# What is kept of the cases that need a look.
LISTED = 40
# One graph in so many is asked of each peer, one of ours on torch, and one once more with its gradient off by 1e-3: a
# disagreement, with its confirmation, costs several times what an agreement does.
PEERS_SHARE = 40
TORCH_SHARE = 100
WRONG_SHARE = 10
# Compositions at a kink are a class of their own, of which fewer are enough.
FEWER = {"kink_composition": 5}


@dataclass(slots=True)
class Counts:
    """The answers of one judge on one class of graphs, with a right gradient or with a wrong one.

    Attributes
    ----------
    words : dict of str to int
        How often each word fell.
    reasons : dict of str to int
        Of the inconclusive ones.
    unfair : int
        Left out: the library's own gradient was not right, or (of a wrong one) the error does not show.
    cases : list of str
        Graphs to look at: alarms on right ones, agreements on wrong ones.
    seconds : float
    """

    words: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    unfair: int = 0
    cases: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def tried(self) -> int:
        """How many graphs count."""
        return sum(self.words.values()) - self.words.get(REFUSED, 0)

    def of(self, word: str) -> int:
        """How often a word fell."""
        return self.words.get(word, 0)

    def add(self, answer: Answer) -> None:
        self.words[answer.word] = self.words.get(answer.word, 0) + 1
        if answer.word in (INCONCLUSIVE, REFUSED):
            self.reasons[answer.reason] = self.reasons.get(answer.reason, 0) + 1

    def merge(self, other: Counts) -> None:
        """Add another's counts."""
        self.words = dict(Counter(self.words) + Counter(other.words))
        self.reasons = dict(Counter(self.reasons) + Counter(other.reasons))
        self.unfair += other.unfair
        self.cases = (self.cases + other.cases)[:LISTED]
        self.seconds += other.seconds


@dataclass(slots=True)
class Coverage:
    """How the estimated errors of numerical derivatives compare with the true ones, in one class.

    Attributes
    ----------
    outputs : int
        Derivatives looked at (of one output along one line).
    estimated : int
        Those with a finite estimate.
    exceeded : int
        Those whose true error is larger than the estimate.
    hidden : int
        Of these, those whose true error is within the function's own: values that are all off by a part in a billion
        have a derivative that is off by as much, and no sample shows it.
    sided, sided_exceeded : int
        The same of one-sided derivatives, where the derivative is said to be two.
    worst : float
        The largest ratio of the two.
    evaluations : int
        Calls of the functions.
    graphs : int
    cases : list of str
    """

    outputs: int = 0
    estimated: int = 0
    exceeded: int = 0
    hidden: int = 0
    sided: int = 0
    sided_exceeded: int = 0
    worst: float = 0.0
    evaluations: int = 0
    graphs: int = 0
    cases: list[str] = field(default_factory=list)

    def merge(self, other: Coverage) -> None:
        """Add another's counts."""
        for name in ("outputs", "estimated", "exceeded", "hidden", "sided", "sided_exceeded", "evaluations", "graphs"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.worst = max(self.worst, other.worst)
        self.cases = (self.cases + other.cases)[:LISTED]


@dataclass(slots=True)
class Alarms:
    """One class of graphs: for each judge what it says of right gradients and of wrong ones; and the coverage."""

    kind: str
    right: dict[str, Counts] = field(default_factory=dict)
    wrong: dict[str, Counts] = field(default_factory=dict)
    coverage: Coverage = field(default_factory=Coverage)

    def merge(self, other: Alarms) -> None:
        """Add another's counts."""
        for mine, its in ((self.right, other.right), (self.wrong, other.wrong)):
            for name, counts in its.items():
                mine.setdefault(name, Counts()).merge(counts)
        self.coverage.merge(other.coverage)


def measure(asked: Asked, say: Callable[[str], None]) -> list[Alarms]:
    """All classes, `graphs` of each; see the shares above for who is asked about which."""
    ends = {kind: asked.seed + max(1, asked.graphs // FEWER.get(kind, 1)) for kind in CLASSES}
    tasks = [
        Task(f"alarms {kind}", chunk, (kind, start, min(start + CHUNK, end)))
        for start in range(asked.seed, asked.seed + asked.graphs, CHUNK)
        for kind, end in ends.items()
        if start < end
    ]
    found = {kind: Alarms(kind) for kind in CLASSES}
    for one in spread(tasks, asked.jobs, say):
        found[one.kind].merge(one)
    return list(found.values())


def chunk(kind: str, start: int, stop: int) -> Alarms:
    """The graphs of one class from one seed to another."""
    found = Alarms(kind)
    for seed in range(start, stop):
        graph = draw(kind, seed)
        _cover(found.coverage, graph)
        for name in present(_asked(seed)):
            _ask_right(found.right.setdefault(name, Counts()), name, graph)
            if name != OURS or seed % WRONG_SHARE == 0:
                _ask_wrong(found.wrong.setdefault(name, Counts()), name, graph)
    return found


def _asked(seed: int) -> tuple[str, ...]:
    """The judges of the graph with this number."""
    on_torch = ("ours on torch",) if seed % TORCH_SHARE == 0 else ()
    return (OURS, *on_torch, *(PEERS if seed % PEERS_SHARE == 0 else ()))


def _ask_right(counts: Counts, name: str, graph: Graph) -> None:
    library, judge = JUDGES[name]
    start = time.process_time()
    answer = judge(graph, None)
    counts.seconds += time.process_time() - start
    if answer.word == DISAGREE:
        if not graph_facts.is_right(graph, library):
            counts.unfair += 1
            return
        counts.cases.append(graph.id)
    counts.add(answer)


def _ask_wrong(counts: Counts, name: str, graph: Graph) -> None:
    library, judge = JUDGES[name]
    start = time.process_time()
    answer = judge(graph, WRONG)
    counts.seconds += time.process_time() - start
    if answer.word != DISAGREE:
        if not graph_facts.shows(graph, library):
            counts.unfair += 1
            return
        if answer.word in (AGREE, FLAT):
            counts.cases.append(graph.id)
    counts.add(answer)


def _cover(coverage: Coverage, graph: Graph) -> None:
    """Compare one numerical derivative with the true one; at a kink the one-sided ones."""
    random = np.random.default_rng(graph.seed)
    v = [directions.direction(random, x) for x in graph.inputs]
    found = differentiate(graph.curve(v))
    coverage.graphs += 1
    coverage.evaluations += found.evaluations
    whole = found.smooth | found.one_sided
    right, left = graph.truth(v), graph.truth(v, side=-1)
    _count(coverage, graph, found.value, found.error, right, whole)
    if not whole.all():
        sided = Coverage()
        _count(sided, graph, found.right, found.right_error, right, ~whole)
        _count(sided, graph, found.left, found.left_error, left, ~whole)
        coverage.sided += sided.estimated
        coverage.sided_exceeded += sided.exceeded


def _count(
    coverage: Coverage, graph: Graph, value: np.ndarray, error: np.ndarray, truth: np.ndarray, asked: np.ndarray
) -> None:
    asked = asked & np.isfinite(truth)
    known = asked & np.isfinite(error) & np.isfinite(value)
    coverage.outputs += int(asked.sum())
    coverage.estimated += int(known.sum())
    with np.errstate(all="ignore"):
        gap = np.abs(value - truth)[known]
        ratio = np.where(gap > 0.0, gap / error[known], 0.0)
    exceeded = int((ratio > 1.0).sum())
    if exceeded:
        own = _own_error(graph, truth)[known]
        coverage.exceeded += exceeded
        coverage.hidden += int(((ratio > 1.0) & (gap <= error[known] + own)).sum())
        coverage.cases.append(f"{graph.id} ({ratio.max():.3g} times)")
    coverage.worst = max(coverage.worst, float(ratio.max(initial=0.0)))


def _own_error(graph: Graph, truth: np.ndarray) -> np.ndarray:
    """How far a derivative is off where all values are by the relative error of the one at the point."""
    exact = graph.values()
    computed = graph.curve([np.zeros(x.shape) for x in graph.inputs])(0.0)
    off = np.array([0.0 if not y else float(abs((float(f) - y) / y)) for f, y in zip(computed, exact, strict=True)])
    return np.abs(truth) * off


def replay(identity: str) -> Iterable[str]:
    """Lines about one graph: what it is, what each judge says of it right and wrong, the derivative and its error."""
    from tools.oracle.graphs import replayed

    graph = replayed(identity)
    yield str(graph)
    random = np.random.default_rng(graph.seed)
    v = [directions.direction(random, x) for x in graph.inputs]
    found = differentiate(graph.curve(v))
    right, left = graph.truth(v), graph.truth(v, side=-1)
    yield f"  derivative along {[d.tolist() for d in v]}"
    for k in range(right.size):
        yield (
            f"  output {k}: {found.value[k]:.17g} ± {found.error[k]:.2g}, truth {left[k]:.17g} | {right[k]:.17g}, "
            f"off {abs(found.value[k] - right[k]):.2g}, smooth {found.smooth[k]}, one-sided {found.one_sided[k]}; "
            f"left {found.left[k]:.12g} ± {found.left_error[k]:.2g}, right {found.right[k]:.12g} ± "
            f"{found.right_error[k]:.2g}; {found.evaluations} evaluations"
        )
    for name in present(("ours on refengine", "ours on torch", *PEERS)):
        library, judge = JUDGES[name]
        facts = (
            f"gradient right: {graph_facts.is_right(graph, library)}, error shows: {graph_facts.shows(graph, library)}"
        )
        yield f"  {name}: {_said(judge(graph, None))} | wrong: {_said(judge(graph, WRONG))} | {facts}"


def _said(answer: Answer) -> str:
    return f"{answer.word} {answer.reason}".strip()
