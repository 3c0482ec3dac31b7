"""A derivative that no ladder measured, in the shape of one that a ladder did, so that verdicts compare both alike."""

from __future__ import annotations

import numpy as np

from gradcheck.numeric.derivative import Derivative
from gradcheck.numeric.differences import Floats


def known(
    base: Floats, left: Floats, right: Floats, left_error: Floats, right_error: Floats, *, evaluations: int
) -> Derivative:
    """The derivative whose one-sided values are known with their errors; where they differ is a kink.

    Parameters
    ----------
    base : array
        The function's values.
    left, right, left_error, right_error : arrays
        One-sided derivatives. An error that is infinite says that nothing is known of this output.
    evaluations : int
        How often the function was called for it.
    """
    unknown = ~(np.isfinite(left_error + right_error) & np.isfinite(left + right))
    left, right = np.where(unknown, 0.0, left), np.where(unknown, 0.0, right)
    left_error, right_error = np.where(unknown, np.inf, left_error), np.where(unknown, np.inf, right_error)
    smooth = np.abs(right - left) <= left_error + right_error
    value = (left + right) / 2.0
    error = np.maximum(np.maximum(left_error, right_error), np.where(smooth, 0.0, np.abs(right - left)))
    nothing, none = np.zeros(base.shape), np.zeros(base.shape, dtype=np.bool_)
    return Derivative(
        value=value, error=error, left=left, right=right, left_error=left_error, right_error=right_error,
        smooth=smooth, second=value, second_error=error, one_sided=none, unresolved=none, noisy=none,
        finite=np.isfinite(base), curvature=nothing, slope=nothing, evaluations=evaluations, here=~none,
    )  # fmt: skip
