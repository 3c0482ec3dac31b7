"""What samples along a line say of a derivative: values with estimates of their errors, and why there may be none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gradcheck.numeric.rises import Flags, Floats

KINK = "kink"
NEAR_KINK = "kink nearby"
EDGE = "pole or domain edge"
ONE_SIDED = "not the derivative from inside the domain"
NOISE = "noise"
NOT_FINITE = "not finite"


class Sums(Protocol):
    """The samples behind a derivative."""

    def total(self, u: Floats) -> tuple[float, float, float, float]:
        """The derivative of ``u @ phi`` and its error, and the same from steps that it did not use."""


@dataclass(frozen=True, slots=True, eq=False)
class Derivative:
    """What the samples say about the derivative at 0; every array has one entry an output.

    Attributes
    ----------
    value, error : arrays
        Two-sided derivative (the one-sided one where the function exists on one side only) and its estimated error.
    left, right, left_error, right_error : arrays
        One-sided derivatives.
    smooth : array of bool
        Left and right agree within their estimates.
    second, second_error : arrays
        The same derivative from steps of which `value` used none.
    one_sided : array of bool
        The function exists on one side only.
    unresolved : array of bool
        No estimate is better than the derivative itself, and noise is not what spoils it (a pole, say).
    noisy : array of bool
        The noise is a sizeable part of the function itself: it may be a wave too fast for every step.
    finite : array of bool
        The function's value at 0 is finite.
    curvature : array
        Second derivative, roughly: how far a rounded argument shifts the derivative.
    slope : array
        How steeply the function changes over the largest steps: a derivative far below is zero to the eye.
    evaluations : int
        How often the function was called so far.
    here : array of bool
        Where left and right differ: the smallest steps show it too, so that the kink is at 0 and not nearby.
    sums : Sums or None
        Derivatives of sums of the outputs, from the same samples: round-off of many terms adds up as random numbers
        do, and the sum of their estimates is far above it.
    """

    value: Floats
    error: Floats
    left: Floats
    right: Floats
    left_error: Floats
    right_error: Floats
    smooth: Flags
    second: Floats
    second_error: Floats
    one_sided: Flags
    unresolved: Flags
    noisy: Flags
    finite: Flags
    curvature: Floats
    slope: Floats
    evaluations: int
    here: Flags
    sums: Sums | None = None

    def reason(self, among: Flags) -> str:
        """Why the outputs in the mask `among` cannot be judged, as one of the fixed phrases."""
        if not self.finite[among].all():
            return NOT_FINITE
        if self.one_sided[among].any():
            return EDGE
        if not self.smooth[among].all():
            return KINK
        return EDGE if self.unresolved[among].any() else NOISE
