"""Programs drawn by Hypothesis: a list of 16-byte records, which our own grammar turns into a program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from hypothesis import strategies as st

from gradcheck.engines import registry
from gradcheck.grammar import MAX_STEPS, RECORD, decode
from gradcheck.plan import Declaration
from gradcheck.program import Program
from gradcheck.strategies.search import find
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
    steps = st.lists(record, min_size=1, max_size=max_steps)

    @st.composite
    def drawn(draw: st.DrawFn) -> Program:
        known = _catalogue() if ops is None else ops
        return decode([draw(record), *draw(steps)], known, executor=executor or _reference(), group=group, inplace=inplace)

    return drawn()


@cache
def _catalogue() -> tuple[Declaration, ...]:
    from refengine import catalogue

    return catalogue.ops()


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
    return find(cases, run_case, max_examples=max_examples, seed=seed, on_case=on_case, shrink=shrink)
