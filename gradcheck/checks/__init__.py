"""The claims: what right gradients obey, each a plain function from a subject to an outcome."""

from __future__ import annotations

from gradcheck.checks.batching import VMAP_EQUALS_A_LOOP
from gradcheck.checks.claim import Claim, Claims
from gradcheck.checks.conventions import DECLARED_CONVENTIONS_HOLD
from gradcheck.checks.determinism import PASSES_REPEAT
from gradcheck.checks.forward_mode import JVP_AGREES_WITH_VJP
from gradcheck.checks.gradient import LINEAR, VJP, backward_is_linear_in_cotangent, vjp_matches_numeric
from gradcheck.checks.graph import GRADIENTS_ACCUMULATE, GRAPHS_DO_NOT_INTERFERE
from gradcheck.checks.higher_order import THIRD_ORDER_MATCHES_NUMERIC
from gradcheck.checks.inplace import INPLACE_EQUALS_OUT_OF_PLACE, NO_INPUT_IS_MODIFIED
from gradcheck.checks.kinks import KINKS, kinks_get_generalized_gradients
from gradcheck.checks.layout import LAYOUT_DOES_NOT_MATTER
from gradcheck.checks.mixed import MIXED_MODES_AGREE
from gradcheck.checks.modes import EVAL_IS_DETERMINISTIC, EVAL_LEAVES_BUFFERS_ALONE, GRADIENTS_ARE_RIGHT_IN_BOTH_MODES
from gradcheck.checks.narrow import NARROW_GRADIENTS_AGREE
from gradcheck.checks.precision import WORKS_IN_ITS_INPUTS_PRECISION
from gradcheck.checks.second_order import SECOND_ORDER_MATCHES_NUMERIC
from gradcheck.checks.stale import STALE_SAVE_RAISES
from gradcheck.checks.subsets import EACH_SUBSET_GETS_ITS_GRADIENTS
from gradcheck.checks.unused import UNUSED_OUTPUTS_COUNT_AS_ZERO

DEFAULT = (
    Claim(*VJP, vjp_matches_numeric),
    JVP_AGREES_WITH_VJP,
    Claim(*LINEAR, backward_is_linear_in_cotangent),
    SECOND_ORDER_MATCHES_NUMERIC,
    VMAP_EQUALS_A_LOOP,
    MIXED_MODES_AGREE,
    Claim(*KINKS, kinks_get_generalized_gradients, on_programs=False),
    DECLARED_CONVENTIONS_HOLD,
    THIRD_ORDER_MATCHES_NUMERIC,
    INPLACE_EQUALS_OUT_OF_PLACE,
    STALE_SAVE_RAISES,
    NO_INPUT_IS_MODIFIED,
    LAYOUT_DOES_NOT_MATTER,
    EVAL_IS_DETERMINISTIC,
    EVAL_LEAVES_BUFFERS_ALONE,
    GRADIENTS_ARE_RIGHT_IN_BOTH_MODES,
    GRADIENTS_ACCUMULATE,
    GRAPHS_DO_NOT_INTERFERE,
    EACH_SUBSET_GETS_ITS_GRADIENTS,
    UNUSED_OUTPUTS_COUNT_AS_ZERO,
    PASSES_REPEAT,
    WORKS_IN_ITS_INPUTS_PRECISION,
    NARROW_GRADIENTS_AGREE,
)


def default_claims() -> Claims:
    """A new registry with every claim that comes with the package."""
    claims = Claims()
    for claim in DEFAULT:
        claims.register(claim)
    return claims
