"""The catalogue of declared ops: the one list that methods, stubs, docs and test material are read from."""

from __future__ import annotations

import difflib
from functools import cache

from refengine.errors import ArgumentError
from refengine.op import Op
from refengine.ops import (
    activation,
    arithmetic,
    classification,
    comparison,
    convolution,
    elementwise,
    extremum,
    gathering,
    indexing,
    joining,
    linalg,
    loss,
    normalization,
    parametric,
    parts,
    reduction,
    repetition,
    scattering,
    shape,
    special,
)

TOPICS = (
    elementwise,
    arithmetic,
    special,
    parts,
    activation,
    parametric,
    reduction,
    extremum,
    shape,
    repetition,
    joining,
    linalg,
    convolution,
    comparison,
    indexing,
    gathering,
    scattering,
    normalization,
    loss,
    classification,
)


@cache
def _by_name() -> dict[str, Op]:
    """Every op by name; a duplicate raises."""
    found: dict[str, Op] = {}
    for topic in TOPICS:
        for op in topic.OPS:
            if op.name in found:
                raise ArgumentError(
                    f"op: {op.name!r} is declared twice, in {type(found[op.name]).__module__} and {topic.__name__}"
                )
            found[op.name] = op
    return found


def ops(*, hidden: bool = False) -> tuple[Op, ...]:
    """The declared ops in the order of declaration; `hidden` adds those that only rules use."""
    return tuple(
        op
        for op in _by_name().values()
        if hidden or ((op.group and not op.name.startswith("_")) or op.name.startswith("__"))
    )


def groups() -> tuple[str, ...]:
    """The groups of ops, in order."""
    return tuple(dict.fromkeys(op.group for op in ops()))


def get(name: str) -> Op:
    """The op called `name`.

    Raises
    ------
    ArgumentError
        With the nearest names.
    """
    found = _by_name().get(name)
    if found is None:
        near = difflib.get_close_matches(name, _by_name(), 3)
        raise ArgumentError(f"op: unknown {name!r}" + (f"; did you mean {', '.join(near)}?" if near else ""))
    return found
