"""One call of a user's function, as it was when it was made."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from gradcheck.observation.facts import Facts

Signature = tuple[Hashable, ...]
"""Dtypes, ranks, layout classes, requires-grad mask, device, and the hashable arguments that are no tensors."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """The arguments of one call, copied, so that whoever changes them later does not change the check.

    Attributes
    ----------
    function : callable
        What was called; a Function subclass stands for its ``apply``.
    engine : str
        "torch", "refengine", "jax".
    device : str
        Of its tensors, as `registry.engine` takes it ("cpu", "cuda:0").
    arguments : tuple
        Positional arguments. Tensors are copies with the same dtype, device, layout and requires_grad, without history;
        those that shared memory share it here too. All else is the caller's own object.
    signature : tuple
    random_state : object
        What ``engine.set_random_state`` takes: the generator as it was at the call.
    default_dtype : str
        "float32".
    """

    function: Callable[..., Any]
    engine: str
    device: str
    arguments: tuple[Any, ...]
    signature: Signature
    random_state: Any = None
    default_dtype: str = "float32"


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A call, and what is known of others like it.

    Attributes
    ----------
    call : Call
    facts : tuple of Facts
        One for each tensor among the arguments, in the order of `gradcheck.arguments.leaves`, over all calls seen.
    required : tuple of bool
        Which tensor arguments required grad.
    create_graph : bool
        A backward of the function ran with grad mode on.
    """

    call: Call
    facts: tuple[Facts, ...]
    required: tuple[bool, ...]
    create_graph: bool = False


def name_of(function: type) -> str:
    """``pkg.ops:RowMax``: how ini values, baselines and summaries name a Function."""
    return f"{function.__module__}:{function.__qualname__}"
