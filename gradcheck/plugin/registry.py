"""What a conftest registers with: engines, claims and ops of its own beside ours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

import pytest

from gradcheck.checks import default_claims
from gradcheck.checks.claim import Claims
from gradcheck.engines.registry import ENGINES, Engines
from gradcheck.failures import UsageError
from gradcheck.plan import Declaration
from refengine import catalogue


@dataclass(slots=True)
class Ops:
    """The op declarations known to a run, in order."""

    _by_name: dict[str, Declaration] = field(default_factory=dict)

    def register(self, op: Declaration) -> None:
        """Add an op's declaration; a second one of the same name raises."""
        if op.name in self._by_name:
            raise UsageError(f"op: {op.name!r} is registered already")
        self._by_name[op.name] = op

    def all(self) -> tuple[Declaration, ...]:
        """Every declaration, ours first."""
        return tuple(self._by_name.values())

    def names(self) -> tuple[str, ...]:
        """The names, in the same order."""
        return tuple(self._by_name)

    def groups(self, names: Iterable[str] = ()) -> tuple[str, ...]:
        """The groups, or those that `names` belong to, in order of declaration."""
        wanted = frozenset(names) or frozenset(self._by_name)
        return tuple(dict.fromkeys(op.group for op in self.all() if op.name in wanted))


@dataclass(frozen=True, slots=True)
class Registry:
    """What ``pytest_gradcheck_register(registry)`` is given.

    Attributes
    ----------
    engines : Engines
        ``registry.engines.register(name, library, factory, install)``
    claims : Claims
        ``registry.claims.register(Claim(...))``
    ops : Ops
        ``registry.ops.register(op)``
    """

    engines: Engines
    claims: Claims
    ops: Ops


_KEY = pytest.StashKey[Registry]()


def registry_of(config: pytest.Config) -> Registry:
    """The registry of this run; made, and handed to the hook, at the first call."""
    if _KEY not in config.stash:
        config.stash[_KEY] = _fill(config)
    return config.stash[_KEY]


def _fill(config: pytest.Config) -> Registry:
    ops = Ops()
    for op in catalogue.ops():
        ops.register(op)
    registry = Registry(ENGINES, default_claims(), ops)
    before = frozenset(ENGINES.names())
    try:
        config.hook.pytest_gradcheck_register(registry=registry)
    finally:
        # Engines are known to the whole process, because `check` recognises tensors; a second run in it starts afresh.
        for name in frozenset(ENGINES.names()) - before:
            config.add_cleanup(partial(ENGINES.unregister, name))
    return registry
