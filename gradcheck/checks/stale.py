"""GC202: what a rule saved and a later step changed in place makes backward raise; what no rule saved may change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from gradcheck.checks.claim import Claim, Subject, disagreement
from gradcheck.checks.passes import draw_like, place, wanted
from gradcheck.engines.base import Capability, Engine
from gradcheck.failures import said
from gradcheck.numeric.derivative import NOT_FINITE
from gradcheck.program import Array, Program, Ref, Step, lookup, refs
from gradcheck.rewrite import memories
from gradcheck.values import is_expanded
from gradcheck.verdict import AGREED, VACUOUS, Outcome, Verdict

_OUT, _X, _PRODUCT = (("out", "x"),), (("x", "x"),), (("x", "y"), ("y", "x"))
NEEDS = {
    "exp": _OUT, "tanh": _OUT, "sigmoid": _OUT, "sqrt": _OUT,
    "sin": _X, "cos": _X, "log": _X,
    "mul": _PRODUCT, "mm": _PRODUCT, "div": (("y", "x"), ("y", "y")),
}  # fmt: skip
"""What is saved, and whose derivative needs it, in ops that leave no choice: only here is a refusal demanded."""
OVERWRITES = frozenset({"copy", "fill", "zero", "__setitem__"})
TRIES = 4
"""Values of one program that are changed, each after a forward pass of its own."""
RTOL = 1e-9


@dataclass(frozen=True, slots=True)
class _Target:
    """A value to change after the forward pass; `why` is the step that must (or None: need not) notice."""

    name: str
    must_raise: Step | None
    must_pass: bool


def stale_save_raises(subject: Subject) -> Outcome:
    """Change one value of the program after its forward pass, and run backward.

    If a rule needs the value, backward raises. If no rule can have saved it, backward gives the same gradients. Where
    an engine may save one thing or another, either will do: what is wrong everywhere is another gradient.
    """
    program = subject.program
    if program is None or not program.outputs:
        return VACUOUS
    values, outputs, leaves = _forward(subject, program)
    arrays = [subject.engine.array(y) for y in outputs]
    cotangents = draw_like(arrays, subject.generator("stale"))
    expected = _backward(subject, outputs, leaves, cotangents)
    if not all(np.isfinite(g).all() for g in expected if g is not None):
        return Outcome(Verdict.INCONCLUSIVE, NOT_FINITE)
    targets = list(_targets(subject, program, values))
    order = subject.generator("stale order").permutation(len(targets))
    chosen = sorted((targets[k] for k in order), key=lambda t: (t.must_raise is None, not t.must_pass))[:TRIES]
    judged = False
    for target in chosen:
        found = _try(subject, program, target, cotangents, expected)
        if found is not None:
            return found
        judged = True
    return AGREED if judged else VACUOUS


def _forward(subject: Subject, program: Program) -> tuple[dict[str, Any], list[Any], tuple[Any, ...]]:
    """A recorded trace from clones of the leaves (which may be changed in place), its outputs, and the leaves."""
    engine = subject.engine
    leaves = place(subject, subject.inputs)
    values = program.trace(engine, [_cloned(engine, x) for x in leaves])
    return values, [lookup(values, ref) for ref in program.outputs], leaves


def _cloned(engine: Engine, leaf: Any) -> Any:
    """A clone where it keeps the layout: in another, what was drawn as a copy may be a view. Else the leaf itself."""
    clone = engine.call("clone", (leaf,), {})
    return clone if _layout(engine, clone) == _layout(engine, leaf) else leaf


def _layout(engine: Engine, tensor: Any) -> list[int]:
    """The strides that tell entries apart."""
    shape = tuple(tensor.shape)
    return [] if 0 in shape else [s for s, n in zip(engine.strides(tensor), shape, strict=True) if n > 1]


def _backward(
    subject: Subject, outputs: list[Any], leaves: tuple[Any, ...], cotangents: tuple[Array, ...]
) -> list[Array | None]:
    engine = subject.engine
    found = engine.grad(outputs, wanted(subject, leaves), [engine.tensor(u) for u in cotangents])
    return [None if g is None else engine.array(g) for g in found]


def _try(
    subject: Subject, program: Program, target: _Target, cotangents: tuple[Array, ...], expected: list[Array | None]
) -> Outcome | None:
    """The disagreement; None where all is well."""
    engine = subject.engine
    values, outputs, leaves = _forward(subject, program)
    before = _versions(engine, values)
    try:
        engine.call("add", (values[target.name], 1.0), {}, inplace=True)
    except engine.refusals:
        return None
    roots, after = memories(program), _versions(engine, values)
    if any(
        (after[name] != before[name]) != (roots[name] == roots[target.name]) for name in before.keys() & roots.keys()
    ):
        # Here a copy is what was a view where the program was drawn, or the other way round: only silence is wrong.
        target = replace(target, must_raise=None, must_pass=False)
    try:
        found = _backward(subject, outputs, leaves, cotangents)
    except engine.refusals as error:
        if target.must_pass:
            line = said(error)
            return _disagree(subject, target, f"no rule saves it, yet backward raised {type(error).__name__}: {line}")
        return None
    if target.must_raise is not None:
        return _disagree(subject, target, f"the rule of {target.must_raise.op} needs it, yet backward did not raise")
    return (
        None
        if _same(found, expected)
        else _disagree(subject, target, "backward gave other gradients and did not raise")
    )


def _versions(engine: Engine, values: dict[str, Any]) -> dict[str, int]:
    return {name: engine.version(v) for name, v in values.items() if not isinstance(v, (tuple, list))}


def _disagree(subject: Subject, target: _Target, what: str) -> Outcome:
    return disagreement(STALE_SAVE_RAISES, subject, detail=f"after {_shown(target.name)}.add_(1.0) {what}")


def _shown(name: str) -> str:
    return f"the clone of {name}" if name.startswith("x") else name


def _same(found: list[Array | None], expected: list[Array | None]) -> bool:
    for a, e in zip(found, expected, strict=True):
        left = np.zeros(()) if a is None else a
        right = np.zeros(()) if e is None else e
        scale = float(np.abs(right).max()) if right.size else 0.0
        if not (np.abs(left - right) <= RTOL * scale).all():
            return False
    return True


def _targets(subject: Subject, program: Program, values: dict[str, Any]) -> Iterator[_Target]:
    """The values that can be changed: floating, recorded, not empty, not expanded."""
    engine = subject.engine
    roots = memories(program)
    needed = _needed(program, roots, values)
    maybe = _maybe_saved(program, roots)
    for name, root in roots.items():
        tensor = values[name]
        if (
            isinstance(tensor, (tuple, list))
            or not engine.requires_grad(tensor)
            or is_expanded(tuple(tensor.shape), engine.strides(tensor))
        ):
            continue
        if 0 not in tuple(tensor.shape):
            # A view of a part may leave the saved rest alone; but its version is that of the whole, so it raises too.
            yield _Target(name, needed.get(root), root not in maybe)


def _needed(program: Program, roots: dict[str, str], values: dict[str, Any]) -> dict[str, Step]:
    """The memories that a rule on the way back from an output cannot do without, and the step it belongs to."""
    live, connected = _live(program), _connected(program)
    found: dict[str, Step] = {}
    for number, step in enumerate(program.steps):
        own = f"v{number}"
        if own not in live or own not in connected or step.kwargs or _is_empty(values[own]):
            continue
        operands = [arg.name if isinstance(arg, Ref) and arg.item is None else "" for arg in step.args]
        names = {"out": own} | dict(zip("xy", operands, strict=False))
        for saved, differentiated in NEEDS.get(step.op, ()):
            # In place, the rule keeps a copy of what the first operand was.
            if (
                names.get(differentiated) in connected
                and names.get(saved) in roots
                and not (step.inplace and saved == "x")
            ):
                found[roots[names[saved]]] = step
    return found


def _live(program: Program) -> set[str]:
    """The values from which a cotangent surely comes back: through steps with a derivative, from an output."""
    live = {ref.name for ref in program.outputs}
    for number in reversed(range(len(program.steps))):
        step = program.steps[number]
        if f"v{number}" in live and step.op not in OVERWRITES and _carries(step.op):
            live |= {ref.name for ref in refs((step.args, step.kwargs))}
    return live


def _connected(program: Program) -> set[str]:
    """The values with a derivative with respect to an input, as far as it is certain."""
    connected = {f"x{k}" for k, given in enumerate(program.inputs) if given.requires_grad}
    for number, step in enumerate(program.steps):
        if _carries(step.op) and any(ref.name in connected for ref in refs((step.args, step.kwargs))):
            connected.add(f"v{number}")
    return connected


def _maybe_saved(program: Program, roots: dict[str, str]) -> set[str]:
    """The memories that some engine's rule may have saved."""
    found: set[str] = set()
    for number, step in enumerate(program.steps):
        operands, result = _may_save(step.op)
        if operands:
            found |= {roots.get(ref.name, ref.name) for ref in refs((step.args, step.kwargs))}
        if result:
            found.add(roots[f"v{number}"])
    return found


def _is_empty(value: Any) -> bool:
    return isinstance(value, (tuple, list)) or 0 in tuple(value.shape)


# What reads declarations loads the reference engine, which a check of another engine's function does without.
@cache
def _declared(op: str) -> Any | None:
    from refengine import catalogue
    from refengine.errors import ArgumentError

    try:
        return catalogue.get(op)
    except ArgumentError:
        return None


def _may_save(op: str) -> tuple[bool, bool]:
    """Whether rules of op `op` may save operands and result; both, for an op that is unknown."""
    from gradcheck.plan import may_save

    declared = _declared(op)
    return (True, True) if declared is None else may_save(declared)


def _carries(op: str) -> bool:
    """Whether a derivative surely passes through op `op`: not where it is zero everywhere, as floor's."""
    from gradcheck.plan import has_derivative

    declared = _declared(op)
    if declared is None or not has_derivative(declared):
        return False
    return op == "neg" or declared.structure != "elementwise" or bool(declared.saves)


STALE_SAVE_RAISES = Claim(
    "stale_save_raises",
    "GC202",
    "Backward raises if a value that a rule saved was changed in place, and is unmoved by a change of any other value.",
    stale_save_raises,
    kind="program",
    needs=frozenset({Capability.INPLACE, Capability.TAPE}),
)
