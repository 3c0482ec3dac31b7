"""GC104: the derivative of the gradient is the numerical derivative of the gradient."""

from __future__ import annotations

from gradcheck.checks.claim import Claim, Subject
from gradcheck.checks.higher_order import order_matches_numeric
from gradcheck.engines.base import Capability
from gradcheck.verdict import Outcome

SECOND = (
    "second_order_matches_numeric",
    "GC104",
    "Differentiating the gradient once more gives the numerical derivative of the gradient.",
)


def second_order_matches_numeric(subject: Subject) -> Outcome:
    """Apply the oracle to ``x, u -> J(x)^T u``, in the inputs and in the cotangent.

    The numerical side differences first-order gradients of the engine, so a wrong first order is not seen here. A first
    gradient without a history counts as a constant.
    """
    return order_matches_numeric(subject, SECOND, 2)


SECOND_ORDER_MATCHES_NUMERIC = Claim(*SECOND, second_order_matches_numeric, needs=frozenset({Capability.HIGHER_ORDER}))
