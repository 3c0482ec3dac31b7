"""Programs drawn by Hypothesis: a list of 16-byte records, which our own grammar turns into a program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import cast

from hypothesis import strategies as st

from gradcheck.engines import registry
from gradcheck.grammar import MAX_STEPS, RECORD, decode
from gradcheck.plan import Declaration
from gradcheck.program import Program
from gradcheck.strategies.polish import polished
from gradcheck.strategies.search import find, way
from gradcheck.values import Executor
from gradcheck.verdict import Outcome


def programs(
    group: str | None = None,
    *,
    max_steps: int = MAX_STEPS,
    inplace: str = "some",
    ops: Sequence[Declaration] | None = None,
    executor: Executor | None = None,
) -> st.SearchStrategy[Program]:
    """Differentiable programs of tensor operations.

    Parameters
    ----------
    group : str or None
        Call ops of this group (or the op of this name) more often.
    max_steps : int
        Records drawn; some give a second step (a clone to write to, a shift into an op's domain).
    inplace : {"some", "never", "always"}
        Which steps write in place.
    ops : sequence of declarations or None
        What programs are made of; by default the reference engine's catalogue.
    executor : Executor or None
        What programs run on while they are drawn; by default the reference engine. They can be run on any engine.

    Returns
    -------
    strategy of Program
        Printed, a program is its source; it shrinks to few steps, few inputs, small shapes and round numbers.

    Examples
    --------
    >>> from hypothesis import given
    >>> from gradcheck.strategies import programs
    >>> @given(programs("reduction"))
    ... def test_has_outputs(program):
    ...     assert program.outputs or not program.steps
    """
    if max_steps < 1:
        raise ValueError(f"programs: expected max_steps >= 1, got max_steps={max_steps}")
    # One list element a step: deleting an element deletes a step, which is most of what shrinking has to do.
    record = st.binary(min_size=RECORD, max_size=RECORD)
    # Unique, because Hypothesis leaves such lists alone; of others it makes five variants with repeated elements for
    # each example, and so only a quarter of the records are new (measured: 247 of 1,070).
    steps = st.lists(record, min_size=1, max_size=max_steps, unique=True)

    @st.composite
    def drawn(draw: st.DrawFn) -> Program:
        known = _catalogue() if ops is None else ops
        return decode(
            [draw(record), *draw(steps)], known, executor=executor or _reference(), group=group, inplace=inplace
        )

    return drawn()


@cache
def _catalogue() -> tuple[Declaration, ...]:
    from refengine import catalogue

    return cast("tuple[Declaration, ...]", catalogue.ops())


@cache
def _reference() -> Executor:
    return registry.engine("refengine")


def search(
    run_case: Callable[[Program], Outcome],
    *,
    ops: Sequence[Declaration],
    executor: Executor,
    group: str | None = None,
    inplace: str = "some",
    max_steps: int = MAX_STEPS,
    max_examples: int,
    seed: int,
    on_case: Callable[[Program, Outcome], None],
    shrink: bool = True,
) -> tuple[Program, Outcome] | None:
    """Draw programs until one disagrees, and shrink that one; see `gradcheck.strategies.search.find`."""
    cases = programs(group, max_steps=max_steps, inplace=inplace, ops=ops, executor=executor)
    found = find(cases, run_case, max_examples=max_examples, seed=seed, on_case=on_case, shrink=shrink)
    if found is None or not shrink:
        return found
    failures = [found]

    def fails(records: tuple[bytes, ...]) -> bool:
        program = decode(records, ops, executor=executor, group=group, inplace=inplace)
        outcome = run_case(program)
        if way(outcome) != way(found[1]):
            return False
        failures.append((program, outcome))
        return True

    polished(found[0].records, fails)
    return failures[-1]
