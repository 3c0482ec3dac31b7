"""A claim is a rule that right gradients obey; a subject is what it is checked on. The registry of both kinds."""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradcheck.checks.line import Batches
from gradcheck.engines.base import Capability, Engine
from gradcheck.failures import Evidence, Finding, UsageError
from gradcheck.numeric.differences import NARROW
from gradcheck.program import Array, Program
from gradcheck.verdict import Outcome, Verdict

# An error of a smaller part cannot be told from round-off: for float64, for float32, and for what is narrower.
_RESOLUTIONS = ((NARROW, 0.0), (2.0**-20, 1e-3), (math.inf, 3e-2))


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """Something differentiable, with the point to check it at.

    Attributes
    ----------
    engine : Engine
    function : callable
        Takes the engine's tensors, one for each of `inputs`, returns a tensor or a tuple of tensors.
    inputs : tuple of arrays
        Values and layout (strides) of every tensor argument.
    differentiable : tuple of bool
        Which inputs are differentiated.
    label : str
        How a report names the call: a program's text, or ``MyFunction.apply(x, y)``.
    program : Program or None
        What `function` runs, where it is a drawn program.
    module : object or None
        The engine's module, for the claims about modes.
    where : str or None
        File and line of the backward under test.
    salt : bytes
        Makes the random directions of this subject reproducible.
    rtol : float
        The resolution asked for, relative to the derivative's scale.
    noise : float
        The relative round-off of values and gradients, where it is more than that of the inputs' dtypes (see
        `gradcheck.checks.precision.measured_noise`).
    nondet_tol : float
        How far repeated passes may differ, relative to an array's largest entry.
    is_summed : bool
        The gradient is looked at through a few weighted sums of the outputs, which costs less where these are many.
    is_rule : bool
        `function` is one op with a derivative rule of its own, a Function's ``apply``: what its gradient is at a kink
        is its author's choice, and no composition of others'.
    batches : Batches
        What is known of `function` under vmap.
    broadcasts : bool
        `function` takes inputs with one more axis before their own, the same for all, and gives outputs with it.
    narrow : tuple of tuples of str
        In which dtypes narrower than float64 the function is called too, one name for each input and tuple ("" for an
        input that has none): those that its user calls it in.
    """

    engine: Engine
    function: Callable[..., Any]
    inputs: tuple[Array, ...]
    differentiable: tuple[bool, ...]
    label: str
    program: Program | None = None
    module: Any = None
    where: str | None = None
    salt: bytes = b""
    rtol: float = 1e-6
    noise: float = 0.0
    nondet_tol: float = 0.0
    is_summed: bool = False
    is_rule: bool = False
    batches: Batches = field(default_factory=Batches)
    broadcasts: bool = False
    narrow: tuple[tuple[str, ...], ...] = ()

    @property
    def epsilon(self) -> float:
        """The relative round-off to count with: the coarsest of the inputs' dtypes and `noise`."""
        return max(self.noise, coarsest(self.inputs))

    @property
    def resolution(self) -> float:
        """The relative error of a derivative that is looked for: `rtol`, or what round-off lets one see."""
        return max(self.rtol, next(found for limit, found in _RESOLUTIONS if self.epsilon <= limit))

    def generator(self, purpose: str) -> np.random.Generator:
        """Random numbers that depend on the subject and on `purpose` alone."""
        digest = hashlib.blake2b(self.salt + purpose.encode(), digest_size=16).digest()
        return np.random.default_rng(int.from_bytes(digest, "big"))


Check = Callable[[Subject], Outcome]
"""From a subject to an outcome. Raises `Unsupported` where the function refuses what the claim needs."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One rule.

    Attributes
    ----------
    name, code : str
        "vjp_matches_numeric", "GC101".
    sentence : str
        The rule in one sentence, as it stands in a report.
    check : callable
    kind : str
        "function" (holds for any differentiable function, programs included), "program" or "module".
    needs : frozenset of Capability
    on_programs : bool
        Whether the property suite asks drawn programs, for a claim of the first two kinds.
    by_default : bool
        Whether a user's function is asked where no claims are named.
    """

    name: str
    code: str
    sentence: str
    check: Check = field(repr=False)
    kind: str = "function"
    needs: frozenset[Capability] = frozenset()
    on_programs: bool = True
    by_default: bool = True


def disagreement(
    claim: Claim,
    subject: Subject,
    *,
    position: int | None = None,
    entry: tuple[int, ...] | None = None,
    analytic: complex | float | None = None,
    numeric: complex | float | None = None,
    error: float | None = None,
    detail: str = "",
    inputs: Sequence[Array] | None = None,
    **evidence: Any,
) -> Outcome:
    """The outcome of a claim that does not hold.

    Parameters
    ----------
    claim : Claim
    subject : Subject
    position : int or None
        The input that the wrong gradient belongs to.
    entry, analytic, numeric, error, detail
        As in `Finding`.
    inputs : sequence of arrays or None
        What the function was called with, where that is not `subject.inputs`.
    **evidence
        What else shows the failure, as in `Evidence`.
    """
    held = subject.inputs if inputs is None else inputs
    finding = Finding(
        claim=claim.name,
        code=claim.code,
        sentence=claim.sentence,
        engine=f"{subject.engine.name}-{subject.engine.device}",
        call=subject.label,
        where=subject.where,
        argument=None if position is None else describe(position, held[position]),
        entry=entry,
        values=listed(held),
        analytic=analytic,
        numeric=numeric,
        error=error,
        detail=detail,
        evidence=Evidence(tuple(held), subject.differentiable, position=position, **evidence),
    )
    return Outcome(Verdict.DISAGREE, finding=finding)


def coarsest(arrays: Sequence[Array]) -> float:
    """The largest spacing of numbers at 1 among the dtypes of the floating arrays, or float64's."""
    floating = [float(np.finfo(array.dtype).eps) for array in arrays if array.dtype.kind in "fc"]
    return max(floating, default=float(np.finfo(np.float64).eps))


def describe(position: int, values: Array) -> str:
    """``x0, shape (2, 3), float64, strides (3, 1)`` with strides in elements."""
    strides = tuple(stride // values.itemsize for stride in values.strides)
    return f"x{position}, shape {values.shape}, {values.dtype}, strides {strides}"


def listed(inputs: Sequence[Array]) -> str:
    """``x0 = [1., 2.]``, a line for each input."""
    return "\n".join(f"x{k} = {shortened(values)}" for k, values in enumerate(inputs))


def shortened(values: Array) -> str:
    """An array on one line, its middle left out where it is long."""
    text = np.array2string(values, separator=", ", threshold=12, edgeitems=2, precision=17, floatmode="unique")
    return " ".join(text.split())


@dataclass(slots=True)
class Claims:
    """The claims known to a run, by name, in the order of their codes."""

    _by_name: dict[str, Claim] = field(default_factory=dict)

    def register(self, claim: Claim) -> None:
        """Add a claim; a second one of the same name or code raises."""
        for known in self._by_name.values():
            if claim.name == known.name or claim.code == known.code:
                both = f"{claim.name} ({claim.code}) is registered already as {known.name} ({known.code})"
                raise UsageError(f"claim: {both}")
        self._by_name[claim.name] = claim

    def get(self, name: str) -> Claim:
        """The claim called `name` (or with that code)."""
        for claim in self._by_name.values():
            if name in (claim.name, claim.code):
                return claim
        near = difflib.get_close_matches(name, self._by_name, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(self._by_name)}"
        raise UsageError(f"claim: unknown {name!r}; {hint}")

    def all(self, kinds: Sequence[str] = ("function", "program", "module")) -> tuple[Claim, ...]:
        """The claims of these kinds, ordered by code."""
        return tuple(sorted((c for c in self._by_name.values() if c.kind in kinds), key=lambda c: c.code))
