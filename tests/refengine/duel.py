"""Runs one program on the reference engine and on PyTorch, and lists where they differ, apart from what is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gradcheck.engines.base import Engine
from gradcheck.failures import Unsupported
from gradcheck.program import Program, Ref, Step, lookup, refs

Array = np.ndarray[Any, Any]

KNOWN: dict[str, dict[str, str]] = {
    "view": {
        "repeat_interleave": "PyTorch returns a view of a copy that nobody sees",
        "matmul": "PyTorch folds a batch, and the result is a view of the folded one",
        **dict.fromkeys(("cross_entropy", "nll_loss"), "PyTorch reshapes what it returns"),
    },
    "version": {
        "isclose": "PyTorch writes to its result in place while it is made",
        "matmul": "PyTorch fills an empty product with zeros in place",
    },
    "second order": {
        **dict.fromkeys(("layer_norm", "batch_norm"), "PyTorch 2.13 raises where there is a bias and no weight"),
        **dict.fromkeys(("elu", "selu"), "another second derivative at exactly 0"),
    },
    "tangent": {
        "frac": "PyTorch 2.13 lets the tangent share the operand's memory: a later in-place op overwrites that, too",
    },
    "stale here alone": {
        "matmul": "PyTorch saves a folded copy of a batch, which no write reaches",
        "__getitem__": "PyTorch reads a 0-d mask at once",
    },
    "stale in PyTorch alone": {
        **dict.fromkeys(
            (
                "avg_pool2d",
                "max_pool2d",
                "gather",
                "take",
                "take_along_dim",
                "masked_select",
                "nll_loss",
                "cross_entropy",
                "index_add",
                "index_copy",
            ),
            "PyTorch saves an operand for its shape, and watches its values, too",
        ),
        **dict.fromkeys(("layer_norm", "batch_norm"), "PyTorch saves the bias as well, which no gradient depends on"),
        **dict.fromkeys(
            ("elu", "selu", "celu", "leaky_relu", "hardtanh"),
            "PyTorch's in-place form saves the result; here it keeps a copy of the operand, as other in-place forms do",
        ),
        "pow": "PyTorch saves the result where only the gradient of the base is wanted",
        "angle": "the gradient of a real angle is 0, and nothing is saved for it here",
    },
}
"""Aspect -> op -> why the engines differ there. docs/refengine.md says it in general, under "Where it differs"."""

LEFT_OUT = {
    "floor_divide": "PyTorch marks the result as requiring grad and refuses to differentiate it; here it is a constant"
}
"""Ops that are not drawn."""


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same; `ops` are those that have a part in it."""

    aspect: str
    ops: frozenset[str]
    text: str

    @property
    def is_known(self) -> bool:
        """Whether the table has it."""
        return bool(self.ops & KNOWN.get(self.aspect, {}).keys())


class Run:
    """A program that has run forward on one engine."""

    def __init__(self, engine: Engine, program: Program) -> None:
        self.engine, self.program = engine, program
        self.inputs = [engine.tensor(x.values, requires_grad=x.requires_grad) for x in program.inputs]
        self.trace = program.trace(engine, self.inputs)
        self.values = dict(_flat(self.trace))

    def roots(self) -> tuple[list[Any], list[Any]]:
        """The outputs that require grad, and a cotangent for each."""
        outputs = [out for out in (lookup(self.trace, ref) for ref in self.program.outputs) if out.requires_grad]
        return outputs, [self.weights(out, np.cos) for out in outputs]

    def weights(self, tensor: Any, function: Callable[[Array], Array]) -> Any:
        """A contiguous tensor of fixed numbers, of the shape and dtype of `tensor`."""
        shape, dtype = tuple(tensor.shape), self.engine.array(tensor).dtype
        return self.engine.tensor(function(np.arange(np.prod(shape, dtype=int)) + 0.5).reshape(shape).astype(dtype))

    def gradients(self) -> list[Array]:
        """Of the outputs in the inputs; unconnected is 0."""
        outputs, cotangents = self.roots()
        return self._dense(self.engine.grad(outputs, self.inputs, cotangents), self.inputs)

    def second(self) -> list[Array]:
        """Gradients of a weighted sum of the gradients."""
        outputs, cotangents = self.roots()
        first = self.engine.grad(outputs, self.inputs, cotangents, create_graph=True)
        first = tuple(g for g in first if g is not None and g.requires_grad)
        weights = [self.weights(g, np.sin) for g in first]
        return self._dense(self.engine.grad(first, self.inputs, weights), self.inputs)

    def tangents(self) -> list[Array]:
        """Of the outputs, by forward mode, at contiguous inputs."""
        engine, program = self.engine, self.program
        primals = [engine.tensor(np.array(x.values, order="C")) for x in program.inputs]
        given = [self.weights(x, np.cos) for x in primals]
        outputs, found = engine.jvp(lambda *duals: program.run(engine, duals), primals, given)
        return self._dense(found, outputs)

    def _dense(self, found: Sequence[Any], like: Sequence[Any]) -> list[Array]:
        pairs = zip(found, like, strict=True)
        return [np.zeros(tuple(x.shape)) if g is None else np.array(g.detach().numpy(**self._force)) for g, x in pairs]

    @property
    def _force(self) -> dict[str, bool]:
        return {"force": True} if self.engine.name == "torch" else {}

    def aliases(self) -> dict[str, str]:
        """Each value with the first one of the same memory; values without elements are left out."""
        first: dict[int, str] = {}
        held = {name: v for name, v in self.values.items() if v.numel()}
        return {name: first.setdefault(v.untyped_storage().data_ptr(), name) for name, v in held.items()}

    def state(self) -> dict[str, tuple[Any, ...]]:
        """What an in-place operation changes about each value."""
        return {name: (v._version, v.requires_grad, v.is_leaf) for name, v in self.values.items()}

    def write(self, name: str, *, recorded: bool) -> Exception | None:
        """Write to a value in place; the error if that is refused."""
        value = self.values[name]

        def add() -> None:
            value.fill_(True) if self.engine.array(value).dtype.kind == "b" else value.add_(1)

        if recorded:
            return attempt(add)[1]
        with self.engine.no_grad():
            return attempt(add)[1]


def attempt(call: Callable[[], Any]) -> tuple[Any, RuntimeError | None]:
    """The result, or the RuntimeError; any other error is a fault."""
    try:
        return call(), None
    except Unsupported:
        raise
    except RuntimeError as error:
        return None, error


def _flat(trace: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in trace.items():
        if isinstance(value, (tuple, list)):
            yield from ((f"{name}[{i}]", item) for i, item in enumerate(value))
        else:
            yield name, value


def _step(program: Program, name: str) -> Step | None:
    """The step that made a value; None for inputs and constants."""
    return program.steps[int(name[1:].partition("[")[0])] if name[0] == "v" else None


def lineage(program: Program, name: str) -> list[str]:
    """The value, what it is a view of or was written into, and so on."""
    names, step = [name], _step(program, name)
    if step is not None and (step.view or step.inplace):
        source = next(refs(step.args), None)
        names += lineage(program, str(source)) if source is not None else []
    return names


def _made_by(program: Program, names: Sequence[str]) -> frozenset[str]:
    return frozenset(step.op for step in (_step(program, name) for name in names) if step is not None)


class Duel:
    """A program on both engines."""

    def __init__(self, ours: Engine, theirs: Engine, program: Program) -> None:
        self.engines, self.program = (ours, theirs), program
        self.ours, self.theirs = self.fresh()

    def fresh(self) -> tuple[Run, Run]:
        """Run forward again."""
        return Run(self.engines[0], self.program), Run(self.engines[1], self.program)

    def unknown(self, found: Iterator[Difference]) -> list[str]:
        """The differences that the table does not have."""
        return [f"{d.aspect}: {d.text}" for d in found if not d.is_known]

    # Forward ------------------------------------------------------------------------------------------------------

    def forward(self) -> Iterator[Difference]:
        """Values, dtypes, autograd metadata; layout and aliases where the layouts that views start from are the same.

        Results that are no views have the layout that the library gives them, so those are not compared.
        """
        aliases = self.ours.aliases(), self.theirs.aliases()
        for name in self.ours.values:
            ours, theirs = self.ours.values[name], self.theirs.values[name]
            names = lineage(self.program, name)
            ops = _made_by(self.program, names)
            seen = [self._facts(*side, name) for side in ((self.ours, aliases[0]), (self.theirs, aliases[1]))]
            for aspect in seen[0]:
                if seen[0][aspect] == seen[1][aspect] or (
                    aspect == "layout" and None in (seen[0][aspect], seen[1][aspect])
                ):
                    continue
                if aspect not in ("view", "version", "layout") or self._alike(names):
                    yield Difference(aspect, ops, f"{name} {seen[0][aspect]} is {seen[1][aspect]} in PyTorch")
            if not _close(self.engines[0].array(ours), self.engines[1].array(theirs), 1e-9):
                yield Difference("value", ops, name)

    def _facts(self, run: Run, aliases: Mapping[str, str], name: str) -> dict[str, Any]:
        value = run.values[name]
        base = None if value._base is None else next((n for n, v in run.values.items() if v is value._base), "hidden")
        strides = [s for s, n in zip(value.stride(), value.shape, strict=True) if n > 1] if value.numel() else []
        return {
            "shape": tuple(value.shape),
            "dtype": str(value.dtype).rpartition(".")[2],
            "requires_grad": value.requires_grad,
            "is_leaf": value.is_leaf,
            "has grad_fn": value.grad_fn is not None,
            "version": value._version,
            "view": (value._is_view(), base, aliases.get(name)),
            "layout": (strides, value.is_contiguous()) if value._is_view() else None,
        }

    def _alike(self, names: Sequence[str]) -> bool:
        """Whether all that a view comes from, or would if strides allowed, has the same strides on both engines."""
        step = _step(self.program, names[-1])
        source = None if step is None else next(refs(step.args), None)
        return all(
            tuple(self.ours.values[n].stride()) == tuple(self.theirs.values[n].stride())
            for n in (*names[1:], *([] if source is None else [str(source)]))
            if self.ours.values[n].numel()
        )

    # Derivatives --------------------------------------------------------------------------------------------------

    def derivatives(self) -> Iterator[Difference]:
        """Gradients, second-order gradients and tangents, and whether there are any."""
        used = frozenset(self.program.ops)
        kinds = (("gradient", 1e-9, Run.gradients), ("second order", 1e-6, Run.second), ("tangent", 1e-9, Run.tangents))
        for aspect, tolerance, kind in kinds:
            ours, theirs = self.fresh()
            try:
                expected, their_error = attempt(partial(kind, theirs))
            except Unsupported:
                continue
            actual, error = attempt(partial(kind, ours))
            if (error is None) != (their_error is None):
                yield Difference(aspect, used, f"{error!r} here, {their_error!r} in PyTorch")
            elif error is None:
                yield from self._compared(aspect, used, actual, expected, tolerance)

    def _compared(
        self, aspect: str, ops: frozenset[str], actual: list[Array], expected: list[Array], tolerance: float
    ) -> Iterator[Difference]:
        for i, (a, b) in enumerate(zip(actual, expected, strict=True)):
            if not _close(a, b, tolerance) and not self._is_at_a_kink():
                yield Difference(aspect, ops, f"{i}: {a.tolist()} is {b.tolist()} in PyTorch")

    def _is_at_a_kink(self) -> bool:
        """Whether PyTorch's gradients jump where the inputs move by a hair: then rounding decides."""
        sides = []
        for factor in (1 - 1e-9, 1 + 1e-9):
            run = Run(self.engines[1], self.program)
            with run.engine.no_grad():
                moved = [run.engine.tensor(run.engine.array(x) * factor, requires_grad=True) for x in run.inputs]
            run.inputs, run.trace = moved, self.program.trace(run.engine, moved)
            sides.append(run.gradients())
        return not all(_close(a, b, 1e-4) for a, b in zip(*sides, strict=True))

    # Writing after the forward pass -------------------------------------------------------------------------------

    def writes(self, name: str, *, recorded: bool) -> Iterator[Difference]:
        """One value written to: refused by both or neither; stale for both or neither; the same gradients otherwise."""
        ours, theirs = self.fresh()
        if ours.aliases() != theirs.aliases():  # after a reshape, say, of results laid out differently
            return
        kind = "recorded" if recorded else "unrecorded"
        ops = _made_by(self.program, lineage(self.program, name)) | self._readers(ours, name)
        refused, also = ours.write(name, recorded=recorded), theirs.write(name, recorded=recorded)
        if (refused is None) != (also is None):
            yield Difference("refusal", ops, f"{kind} write to {name}: {refused!r} here, {also!r} in PyTorch")
        if refused is not None or also is not None:
            return
        for other, state in ours.state().items():
            if state[1:] != theirs.state()[other][1:]:
                yield Difference(
                    "state", ops, f"{other} after a {kind} write to {name}: {state}, {theirs.state()[other]}"
                )
        try:
            expected, their_error = attempt(theirs.gradients)
        except Unsupported:
            return
        actual, error = attempt(ours.gradients)
        text = f"{kind} write to {name}: {error!r} here, {their_error!r} in PyTorch"
        if their_error is None and error is not None:
            yield Difference("stale here alone", ops, text)
        if error is not None:
            return
        if their_error is not None:
            is_cast = self.engines[0].array(ours.values[name]).dtype.kind in "bi"
            if not is_cast:  # what is converted to another dtype is saved as converted, here
                yield Difference("stale in PyTorch alone", ops, text)
            expected = self.theirs_before()
        if not self._is_expanded(ours, name):
            yield from self._compared("gradient after a write", ops, actual, expected, 1e-9)

    def theirs_before(self) -> list[Array]:
        """PyTorch's gradients when nothing is written to."""
        return Run(self.engines[1], self.program).gradients()

    def _readers(self, run: Run, name: str) -> frozenset[str]:
        """The ops that take the written memory."""
        aliases = run.aliases()

        def is_written(ref: Ref) -> bool:
            whole = [n for n in aliases if n == str(ref) or n.startswith(f"{ref}[")]
            return name in lineage(self.program, str(ref)) or any(aliases[n] == aliases.get(name) for n in whole)

        steps = self.program.steps
        return frozenset(s.op for s in steps if any(map(is_written, refs((s.args, s.kwargs)))))

    def _is_expanded(self, run: Run, name: str) -> bool:
        """Whether the written memory is an expanded input's: PyTorch works out its views anew by strides."""
        aliases = run.aliases()
        return any(
            aliases.get(f"x{i}") == aliases.get(name)
            and any(s == 0 and n > 1 for s, n in zip(x.stride(), x.shape, strict=True))
            for i, x in enumerate(run.inputs)
        )


def _close(a: Array, b: Array, tolerance: float) -> bool:
    same = a.shape == b.shape and a.dtype == b.dtype
    return same and bool(np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True))
