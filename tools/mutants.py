"""Mutate every derivative rule in turn, see whether drawn programs catch it, and write docs/mutants.md.

python tools/mutants.py [--ops exp,mul] [--seeds 5] [--examples 200] [--check]

A mutant is one rule of one op, changed in one way: its result times 1 + 1e-5; its last entry set to zero; the
cotangent replaced by its absolute value; one side of a sum or difference in its source dropped. It is caught by a seed
if, among at most 200 programs drawn around the op (what profile `ci` draws for an item of the suite), one disagrees
under one of the claims about values. A mutant that no seed can catch is listed with the reason, or fails the run.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import inspect
import platform
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from gradcheck.checks import default_claims  # noqa: E402
from gradcheck.engines import registry  # noqa: E402
from gradcheck.runner import PROFILES, Bench, check_program  # noqa: E402
from gradcheck.strategies.programs import search  # noqa: E402
from refengine import catalogue  # noqa: E402
from refengine.op import Op  # noqa: E402
from refengine.tensor import Tensor  # noqa: E402

PAGE = ROOT / "docs" / "mutants.md"
CLAIMS = ("vjp_matches_numeric", "backward_is_linear_in_cotangent")
Rule = Callable[..., Any]

FLAT = "the derivative is zero wherever it exists, so the gradient is zero either way"
UNUSED = "the op has no such input: its declaration inherits the rule and never calls it"
UNDRAWN = "never drawn: a step that reads memory by its strides is another program in another layout; tested otherwise"
EQUIVALENT: dict[str, str] = {
    **dict.fromkeys(("sign, x", "floor, x", "ceil, x", "round, x", "trunc, x"), FLAT),
    **dict.fromkeys(("copy, x", "fill, x", "zero, x"), "what is overwritten has no gradient: zero either way"),
    **dict.fromkeys(("clamp_min, high", "clamp_max, low"), UNUSED),
    "as_strided, x": UNDRAWN,
}
"""Op and input -> why no drawn program can tell a mutant of that rule from the rule."""


@dataclass(frozen=True)
class Mutant:
    """One changed rule.

    Attributes
    ----------
    op : Op
    position : int
        Which input's rule.
    kind : str
        "scaled", "entry", "absolute" or "term <source>".
    rule : callable
    """

    op: Op
    position: int
    kind: str
    rule: Rule

    def __str__(self) -> str:
        source = "inputs" if self.op.variadic else self.op.inputs[self.position]
        return f"{self.op.name}, {source}: {self.kind}"


def mutants_of(op: Op) -> Iterator[Mutant]:
    """Every mutant of the op's rules."""
    for position, (rule, _) in enumerate(op.rules):
        if rule.__name__ == "_no_rule":
            continue
        yield Mutant(op, position, "scaled", _after(rule, lambda xp, result: result * (1 + 1e-5)))
        yield Mutant(op, position, "entry", _after(rule, _without_last))
        yield Mutant(op, position, "absolute", lambda xp, g, *s, rule=rule, **kw: rule(xp, xp.abs(g), *s, **kw))
        name = f"vjp_{op.inputs[position]}" if hasattr(op, f"vjp_{op.inputs[position]}") else "vjp"
        for text, changed in dropped_terms(op, name):
            yield Mutant(op, position, f"term {text}", op._rule(changed))


def _after(rule: Rule, change: Callable[[Any, Any], Any]) -> Rule:
    def call(xp: Any, g: Any, *saved: Any, **kwargs: Any) -> Any:
        result = rule(xp, g, *saved, **kwargs)
        return None if result is None else change(xp, result)

    return call


def _without_last(xp: Any, result: Any) -> Any:
    """The gradient with its last entry zeroed."""
    shape = tuple(result.shape)
    mask = np.ones(shape)
    if mask.size:
        mask.reshape(-1)[-1] = 0
    return result * (Tensor(mask.astype(result.array.dtype)) if isinstance(result, Tensor) else mask)


def dropped_terms(op: Op, name: str) -> Iterator[tuple[str, Rule]]:
    """The rule with one side of one sum or difference left out, for each of them."""
    function = getattr(type(op), name)
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    if not isinstance(tree.body[0], ast.FunctionDef):
        return
    tree.body[0].name, tree.body[0].decorator_list = "mutant", []
    sums = [n for n in ast.walk(tree) if isinstance(n, ast.BinOp) and isinstance(n.op, (ast.Add, ast.Sub))]
    for target in sums:
        for side in ("left", "right"):
            # One side alone is kept; a tuple of ints (shapes are joined by +) is no sum.
            if any(isinstance(part, (ast.Tuple, ast.Starred)) for part in (target.left, target.right)):
                continue
            changed = _Dropped(target, side).visit(ast.parse(ast.unparse(tree)))
            namespace = dict(function.__globals__)
            exec(compile(ast.fix_missing_locations(changed), f"<mutant of {op.name}>", "exec"), namespace)
            kept = ast.unparse(target.right if side == "left" else target.left)
            yield f"{ast.unparse(target)} -> {kept}", namespace["mutant"].__get__(op)


class _Dropped(ast.NodeTransformer):
    """Replaces a sum by one of its sides; sums are told apart by their source."""

    def __init__(self, target: ast.BinOp, side: str) -> None:
        self.source, self.side, self.done = ast.unparse(target), side, False

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        if not self.done and ast.unparse(node) == self.source:
            self.done = True
            right = ast.UnaryOp(ast.USub(), node.right) if isinstance(node.op, ast.Sub) else node.right
            return right if self.side == "left" else node.left
        return self.generic_visit(node)


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The mutant in the place of its rule."""
    op, before = mutant.op, mutant.op.rules
    picks = before[mutant.position][1]
    op.rules = (*before[: mutant.position], (mutant.rule, picks), *before[mutant.position + 1 :])
    try:
        yield
    finally:
        op.rules = before


def is_caught(mutant: Mutant, seed: int, examples: int) -> bool:
    """Whether one of the programs drawn from `seed` shows the mutant."""
    engine = registry.engine("refengine")
    claims = [default_claims().get(name) for name in CLAIMS]
    with planted(mutant):
        for claim in claims:
            bench = Bench(claim, engine, engine, catalogue.ops())
            found = search(
                lambda program, bench=bench: check_program(bench, program),
                ops=bench.ops, executor=engine, group=mutant.op.name, inplace=bench.inplace,
                max_examples=examples, seed=seed, on_case=lambda program, outcome: None, shrink=False,
            )  # fmt: skip
            if found is not None:
                return True
    return False


def reason(mutant: Mutant) -> str | None:
    """Why a mutant is equivalent to its rule, if it is known to be."""
    return EQUIVALENT.get(str(mutant).partition(":")[0])


def examine(ops: Sequence[Op], seeds: int, examples: int) -> list[tuple[Mutant, int]]:
    """Each mutant with the number of seeds that caught it."""
    results = []
    for op in ops:
        for mutant in mutants_of(op):
            if reason(mutant) is None:
                start = time.perf_counter()
                caught = sum(is_caught(mutant, seed, examples) for seed in range(seeds))
                results.append((mutant, caught))
                if caught < seeds:
                    seconds = time.perf_counter() - start
                    print(f"{mutant}: caught by {caught} of {seeds} seeds ({seconds:.1f} s)", flush=True)
    return results


def page(results: list[tuple[Mutant, int]], ops: Sequence[Op], seeds: int, examples: int) -> str:
    """docs/mutants.md."""
    missed = [(mutant, caught) for mutant, caught in results if caught < seeds]
    listed = [m for op in ops for m in mutants_of(op) if reason(m) is not None]
    lines = [
        "# Mutants", "",
        f"Written by `python tools/mutants.py --seeds {seeds} --examples {examples}` on {datetime.date.today()}, "
        f"Python {platform.python_version()}, NumPy {np.__version__}.", "",
        "Every derivative rule of the reference engine, changed in one way at a time: its result times 1 + 10⁻⁵, its "
        "last entry zeroed, the cotangent replaced by its absolute value, one side of a sum or difference dropped. A "
        f"seed catches a mutant if one of at most {examples} programs drawn around the op disagrees under "
        + " or ".join(f"`{c}`" for c in CLAIMS) + ".", "",
        "| mutants | caught by every seed | missed by a seed | equivalent to the rule |", "|---|---|---|---|",
        f"| {len(results) + len(listed)} | {len(results) - len(missed)} | {len(missed)} | {len(listed)} |", "",
    ]  # fmt: skip
    if missed:
        lines += ["## Missed", "", f"| mutant | seeds of {seeds} |", "|---|---|"]
        lines += [f"| `{mutant}` | {caught} |" for mutant, caught in missed] + [""]
    if listed:
        lines += ["## Equivalent", "", "| mutant | why nothing can tell it from the rule |", "|---|---|"]
        lines += [f"| `{mutant}` | {reason(mutant)} |" for mutant in listed] + [""]
    return "\n".join(lines)


def main() -> int:
    """Run from the command line; 1 if a mutant survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ops", help="names of ops, joined by commas; by default all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--examples", type=int, default=PROFILES["ci"].max_examples)
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    ops = [catalogue.get(name) for name in options.ops.split(",")] if options.ops else list(catalogue.ops())
    results = examine(ops, options.seeds, options.examples)
    if not options.check and not options.ops:
        PAGE.write_text(page(results, ops, options.seeds, options.examples), encoding="utf-8")
    missed = sum(caught < options.seeds for _, caught in results)
    print(f"{len(results)} mutants, {missed} missed by a seed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
