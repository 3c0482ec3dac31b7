"""What ``--gradcheck-list`` prints: engines, claims, op groups and ops."""

from __future__ import annotations

import textwrap

import pytest

from gradcheck.plugin.config import one_line
from gradcheck.plugin.registry import Registry, registry_of

_WIDTH = 100


def listing(config: pytest.Config) -> str:
    """The text, ending in a newline."""
    with one_line():
        registry = registry_of(config)
    return "\n\n".join((_engines(registry), _claims(registry), _ops(registry))) + "\n"


def _engines(registry: Registry) -> str:
    lines = []
    for name in registry.engines.names():
        missing = registry.engines.missing(name)
        lines.append(f"  {name}  (not installed: {missing})" if missing else f"  {name}")
    return "\n".join(("engines", *lines))


def _claims(registry: Registry) -> str:
    claims = registry.claims.all()
    width = max((len(claim.name) for claim in claims), default=0)
    return "\n".join(("claims", *(f"  {claim.code}  {claim.name:<{width}}  {claim.sentence}" for claim in claims)))


def _ops(registry: Registry) -> str:
    parts = ["ops by group"]
    for group in registry.ops.groups():
        names = ", ".join(op.name for op in registry.ops.all() if op.group == group)
        parts.append(textwrap.fill(f"{group}: {names}", _WIDTH, initial_indent="  ", subsequent_indent="      "))
    return "\n".join(parts)
