"""The program benchmarks: how fast programs are drawn, checked and shrunk, and what of that is Hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.harness import Benchmark, Result, Work, run
from benchmarks.peers import TORCH
from benchmarks.scale import Scale

CHECKED = "drawn and checked"
DRAWN = "drawn only"
BYTES = "Hypothesis alone: the same lists of records, not decoded"
SLOW = "torch slow on the same programs, not drawn"
SEED = 0
FAULTY = "exp"


def measure(scale: Scale, say: Callable[[str], None]) -> list[Result]:
    """Both."""
    results = []
    for benchmark in benchmarks(scale):
        result = run(benchmark, **scale.how)
        say(f"{benchmark.name}: {', '.join(f'{name} {time}' for name, time in result.times.items())} {result.unit}")
        results.append(result)
    return results


def benchmarks(scale: Scale) -> Iterator[Benchmark]:
    """Programs that are right, then a planted mistake."""
    groups = _groups()
    yield throughput(groups[: scale.pick(2, len(groups), len(groups))], scale.pick(3, 20, 60))
    yield shrinking(scale.pick(1, 2, 4))


def throughput(groups: Sequence[str], examples: int) -> Benchmark:
    """Programs of up to 15 records around each group of ops, with the claim about gradients."""
    from gradcheck.program import Program
    from gradcheck.verdict import AGREED

    count = 0
    drawn: list[Program] = []

    def counted(event: Any) -> None:
        nonlocal count
        count += hasattr(event, "verdict")

    def kept(program: Program) -> Any:
        drawn.append(program)
        return AGREED

    _run_suite(groups, examples, counted)
    _draw(groups, examples, kept)
    works: dict[str, Work] = {
        CHECKED: lambda: _run_suite(groups, examples, lambda event: None),
        DRAWN: lambda: _draw(groups, examples, lambda program: AGREED),
        BYTES: lambda: _draw_bytes(len(groups), examples),
    }
    parts = {CHECKED: float(count), DRAWN: float(len(drawn)), BYTES: float(examples * len(groups))}
    absent = {}
    if TORCH.is_installed:
        asked = _asked_by_torch(list(drawn))
        works[SLOW], parts[SLOW] = asked, float(len(drawn))
    else:
        absent[SLOW] = "PyTorch is not installed"
    return Benchmark("drawn programs, GC101", "ms per program", 1e3, CHECKED, works, parts, absent)


def _groups() -> tuple[str, ...]:
    from refengine import catalogue

    return catalogue.groups()


def _run_suite(groups: Sequence[str], examples: int, emit: Callable[[Any], None]) -> None:
    """As the plugin does, without pytest."""
    from gradcheck.checks import default_claims
    from gradcheck.engines import registry
    from gradcheck.events import Target
    from gradcheck.runner import Bench, Profile
    from gradcheck.runner import run as run_target
    from refengine import catalogue

    engine, claim = registry.engine("refengine"), default_claims().get("GC101")
    bench = Bench(claim, engine, engine, tuple(catalogue.ops()))
    profile = Profile("benchmark", examples, is_deterministic=True, is_strict=False)
    for group in groups:
        run_target(Target(engine.name, engine.device, claim.name, group), bench, emit, profile=profile, seed=SEED)


def _draw(groups: Sequence[str], examples: int, run_case: Callable[[Any], Any]) -> None:
    from gradcheck.engines import registry
    from gradcheck.strategies.programs import search
    from refengine import catalogue

    for group in groups:
        search(
            run_case, ops=tuple(catalogue.ops()), executor=registry.engine("refengine"), group=group,
            max_examples=examples, seed=SEED, on_case=lambda program, outcome: None,
        )  # fmt: skip


def _draw_bytes(groups: int, examples: int) -> None:
    from hypothesis import strategies as st

    from gradcheck.grammar import MAX_STEPS, RECORD
    from gradcheck.strategies.search import find
    from gradcheck.verdict import AGREED

    record = st.binary(min_size=RECORD, max_size=RECORD)
    cases = st.tuples(record, st.lists(record, min_size=1, max_size=MAX_STEPS, unique=True))
    for _ in range(groups):
        find(cases, lambda _: AGREED, max_examples=examples, seed=SEED, on_case=lambda case, outcome: None)


def _asked_by_torch(programs: list[Any]) -> Work:
    """PyTorch's checker on each program; what it says of kinks, or refuses, costs it time too."""
    from gradcheck.engines import registry
    from gradcheck.sharing import runner_of

    torch, engine = TORCH.namespace(), registry.engine("torch")
    asked = []
    for program in programs:
        inputs = [torch.tensor(one.values, requires_grad=one.requires_grad) for one in program.inputs]
        asked.append((runner_of(program, engine), inputs))

    def work() -> None:
        for function, inputs in asked:
            try:
                torch.autograd.gradcheck(function, inputs, raise_exception=False)
            except Exception:
                continue

    return work


def shrinking(seeds: int) -> Benchmark:
    """From the first draw to the minimal program for a planted mistake, which is one call of the faulty op."""
    from gradcheck.checks import default_claims
    from gradcheck.runner import Bench
    from refengine import catalogue

    bench = Bench(default_claims().get("GC101"), _faulty(), _right(), tuple(catalogue.ops()))
    for seed in range(seeds):
        found = _shrunk(bench, seed)
        if found is None or found.ops != (FAULTY,):
            raise AssertionError(f"shrinking: expected one call of {FAULTY}, got {found}")

    def work() -> None:
        for seed in range(seeds):
            _shrunk(bench, seed)

    name = "find a planted mistake and shrink it"
    return Benchmark(f"{name} to its minimal program", "ms per mistake", 1e3, name, {name: work}, {name: float(seeds)})


def _right() -> Any:
    from gradcheck.engines.refengine import ReferenceEngine

    return ReferenceEngine()


def _faulty() -> Any:
    """The reference engine, with a gradient of one op that is a quarter too large, and right values."""
    from gradcheck.engines.refengine import ReferenceEngine

    class Faulty(ReferenceEngine):
        def call(self, op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, inplace: bool = False) -> Any:
            result = super().call(op, args, kwargs, inplace=inplace)
            return result + 0.25 * (result - result.detach()) if op == FAULTY and not inplace else result

    return Faulty()


def _shrunk(bench: Any, seed: int) -> Any:
    from gradcheck.runner import check_program
    from gradcheck.strategies.programs import search

    found = search(
        lambda program: check_program(bench, program), ops=bench.ops, executor=bench.executor, group=FAULTY,
        inplace=bench.inplace, max_examples=1_000, seed=seed, on_case=lambda program, outcome: None,
    )  # fmt: skip
    return None if found is None else found[0]
