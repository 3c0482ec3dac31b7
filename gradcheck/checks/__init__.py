"""The claims: what right gradients obey, each a plain function from a subject to an outcome."""

from __future__ import annotations

from gradcheck.checks.claim import Claims


def default_claims() -> Claims:
    """A new registry with every claim that comes with the package."""
    return Claims()
