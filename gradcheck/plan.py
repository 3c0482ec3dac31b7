"""What the grammar works out once for each op declaration: where its ties lie, what it keeps, which bytes call it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, cast

import numpy as np

from gradcheck import material
from gradcheck.drawing import RecordDraw
from gradcheck.values import Executor, Value
from refengine.spec import Call, Interval, Kink

ONLY_INPLACE = frozenset({"copy", "fill", "zero", "__setitem__"})
"""Ops of which PyTorch has the in-place form alone."""
MOVING = frozenset({"shape", "indexing"})
"""Groups whose ops move entries: their results may look at the operand's memory, and no rule saves a value."""

KEPT_FOR_SHAPE = frozenset({"avg_pool2d", "gather", "masked_select", "take", "take_along_dim"})
"""Of these, or linear, ops whose operand PyTorch keeps all the same, for its shape, and checks its version."""


class Declaration(Protocol):
    """What the grammar reads of an op's declaration (see `refengine.op.Op`)."""

    @property
    def name(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def form(self) -> str: ...
    @property
    def domains(self) -> tuple[Interval, ...]: ...
    @property
    def kinks(self) -> tuple[Kink, ...]: ...
    @property
    def inplace(self) -> bool: ...
    @property
    def view(self) -> bool: ...
    @property
    def structure(self) -> str: ...
    @property
    def differentiable(self) -> bool: ...
    @property
    def saves(self) -> tuple[str, ...]: ...
    @property
    def elsewhere(self) -> Mapping[str, str]: ...

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether a first operand of this shape will do."""
        ...

    def sample(self, draw: RecordDraw, x: Value) -> Call:
        """Draw the other operands and the keywords."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """One op as the grammar sees it.

    Attributes
    ----------
    domains : tuple of Interval
        Of each operand; an op without a derivative, whose result jumps, is kept away from zeros, too.
    at : tuple of float
        Its kinks inside the first domain.
    pair_ties, inner_ties : bool
        It has a kink (or a jump) where two operands, or two entries of one operand, are equal.
    keeps_operands, keeps_result : bool
        Whether some engine's derivative rule may save them (see `may_save`).
    is_flat : bool
        The derivative is zero everywhere, as floor's.
    """

    op: Declaration
    form: str
    domains: tuple[Interval, ...]
    at: tuple[float, ...]
    pair_ties: bool
    inner_ties: bool
    is_differentiable: bool
    is_flat: bool
    may_alias: bool
    keeps_operands: bool
    keeps_result: bool
    has_inplace: bool
    only_inplace: bool

    @property
    def has_kinks(self) -> bool:
        """Whether there is a kink to visit."""
        return bool(self.at) or (self.is_differentiable and (self.pair_ties or self.inner_ties))


def own_share(count: int) -> int:
    """Of 256 op bytes, those that choose among the `count` ops asked for: 40 % for few, up to 85 % for 58 and more.

    So each op of the catalogue is called about as often, once every group has had as many programs.
    """
    return int(256 * min(0.85, 0.4 + count / 128))


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The plans of a catalogue: `own` are asked for, `others` stay within reach."""

    own: tuple[Plan, ...]
    others: tuple[Plan, ...]
    by_name: dict[str, Plan]

    def choose(self, first: int, second: int) -> Plan:
        """The plan that two bytes choose: all of a part about equally often, in the order of declaration."""
        share = own_share(len(self.own)) if self.others else 256
        if first < share:
            return self.own[(first * 256 + second) * len(self.own) // (share * 256)]
        return self.others[((first - share) * 256 + second) * len(self.others) // ((256 - share) * 256)]


def table(ops: Sequence[Declaration], executor: Executor, group: str | None) -> Table:
    """The plans of `ops`; those of a group, or the op of that name, are chosen oftener."""
    return _table(tuple(ops), cast("Hashable", executor), group)


@lru_cache(maxsize=64)
def _table(ops: Any, executor: Any, group: str | None) -> Table:
    known = {op.name: plan(op, executor) for op in ops}
    own = tuple(p for p in known.values() if group is None or group in (p.op.group, p.op.name))
    others = tuple(p for p in known.values() if p not in own)
    return Table(own, others, known) if own else Table(others, (), known)


def plan(op: Declaration, executor: Executor) -> Plan:
    """What the grammar needs to know of `op`."""
    at = tuple(k.at for k in op.kinks if isinstance(k.at, (int, float)))
    is_differentiable = has_derivative(op)
    operands, result = may_save(op)
    ties = any(k.at == "tie" for k in op.kinks) or not is_differentiable
    has_pairs = op.structure == "elementwise" or len(op.domains) > 1
    is_flat = is_differentiable and _is_flat(op, executor)
    return Plan(
        op=op,
        form="nn.functional" if op.elsewhere.get("torch", "").startswith("nn.functional") else op.form,
        domains=op.domains if is_differentiable else tuple(_without_zero(domain) for domain in op.domains),
        at=material.kinks_of(op.domains[0], at) if is_differentiable else (),
        pair_ties=ties and has_pairs,
        inner_ties=ties and not has_pairs,
        is_differentiable=is_differentiable and not is_flat,
        is_flat=is_flat,
        may_alias=op.view
        or (op.structure in ("linear", "other") and op.group not in ("elementwise", "reduction", "loss")),
        keeps_operands=operands,
        keeps_result=result,
        has_inplace=op.inplace and is_differentiable and not is_flat and executor.supports(op.name, inplace=True),
        only_inplace=op.name in ONLY_INPLACE or not executor.supports(op.name),
    )


def has_derivative(op: Declaration) -> bool:
    """Whether the result can have a derivative."""
    return op.differentiable and not getattr(op, "boolean", False)


def may_save(op: Declaration) -> tuple[bool, bool]:
    """Whether some engine's rule may save operands, and the result: told from the declaration, on the safe side.

    Another engine may save the result where refengine saves the operand (tan), or the other way round, where there is
    one operand; with two (mul) there is no choice.
    """
    if not has_derivative(op):
        return False, False
    composed = op.structure in ("other", "multilinear") and op.group not in MOVING
    saves = bool(op.saves) or composed or op.name in KEPT_FOR_SHAPE
    has_several = len(op.domains) > 1 or op.structure == "multilinear"
    return saves, saves and ("out" in op.saves or not has_several)


def _is_flat(op: Declaration, executor: Executor) -> bool:
    """Whether an elementwise op of one operand whose rule needs nothing gives the same at neighbouring points."""
    if op.saves or op.structure != "elementwise" or len(op.domains) != 1:
        return False
    low, high = material.span(op.domains[0])
    points = np.array([low + (high - low) * part for part in (0.6, 0.61)])
    first, second = executor.array(executor.call(op.name, (executor.tensor(points),), {})).tolist()
    return bool(first == second)


@lru_cache(maxsize=256)
def _without_zero(domain: Interval) -> Interval:
    return domain if 0.0 in domain.avoid else Interval(domain.low, domain.high, (*domain.avoid, 0.0), domain.margin)


@lru_cache(maxsize=256)
def narrowed(domain: Interval) -> Interval:
    """The part of `domain` nearest to [-1, 1]."""
    low = max(domain.low, min(-1.0, domain.high - 1))
    high = min(domain.high, max(1.0, domain.low + 1))
    return Interval(low, high, domain.avoid, domain.margin)
