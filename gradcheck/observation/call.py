"""One call of a user's Function, as it was when it was made."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

Signature = tuple[Hashable, ...]
"""Dtypes, ranks, layout classes, requires-grad mask, device, and the hashable arguments that are no tensors."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """The arguments of one ``apply``, copied, so that whoever changes them later does not change the check.

    Attributes
    ----------
    function : type
        The Function subclass that was applied.
    engine : str
        "torch", "refengine".
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

    function: type[Any]
    engine: str
    device: str
    arguments: tuple[Any, ...]
    signature: Signature
    random_state: Any = None
    default_dtype: str = "float32"


def name_of(function: type) -> str:
    """``pkg.ops:RowMax``: how ini values, baselines and summaries name a Function."""
    return f"{function.__module__}:{function.__qualname__}"
