"""Modules for the claims about modes: a few bytes drawn by Hypothesis, which our own code turns into a module."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from gradcheck.strategies.search import find
from gradcheck.verdict import Outcome

# What `module_subject` reads at most: features, layers, three kinds and sizes, batch.
_BYTES = 9


def search(
    run_case: Callable[[bytes], Outcome],
    *,
    max_examples: int,
    seed: int,
    on_case: Callable[[bytes, Outcome], None],
) -> tuple[bytes, Outcome] | None:
    """Draw modules until one disagrees, and shrink that one; see `gradcheck.strategies.search.find`."""
    cases = st.binary(min_size=_BYTES, max_size=_BYTES)
    return find(cases, run_case, max_examples=max_examples, seed=seed, on_case=on_case)
