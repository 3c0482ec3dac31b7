"""A program under construction: each call is run at once, and what it gives joins the values to choose from.

In-place rule: a step is written in place only where nothing may have saved the memory, on the safe side of every
engine: the memory is no input's and no constant's, is not expanded, shares nothing with the other operands, and was
read only by ops whose declaration saves nothing. Elsewhere the value is cloned first and the clone written to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradcheck import material
from gradcheck.failures import GradcheckError
from gradcheck.plan import Plan, Table
from gradcheck.program import Array, Input, Program, Ref, Step, step_text
from gradcheck.values import Executor, Storage, Value, is_expanded, map_values, values_in
from refengine.spec import Call

OVERWRITING = frozenset({"copy", "fill", "zero"})
"""In-place ops after which nothing is left of what they wrote to."""

Mark = tuple[int, int, int, int, int]


class OutOfBounds(Exception):
    """A call gave values that are not finite, too large or too many to go on with."""


class Draft:
    """Inputs, constants and steps so far.

    Attributes
    ----------
    values : list of Value
        The connected floating values, oldest first: the operands to choose from.
    masks : list of Value
        The bool results.
    """

    def __init__(self, table: Table, executor: Executor) -> None:
        self.by_name = table.by_name
        self.executor = executor
        self.inputs: list[Input] = []
        self.constants: list[Array] = []
        self.steps: list[Step] = []
        self.values: list[Value] = []
        self.masks: list[Value] = []
        self._used: list[Value] = []

    # Going back ----------------------------------------------------------------------------------------------------

    def mark(self) -> Mark:
        """A place to return to."""
        self._used = []
        return len(self.inputs), len(self.constants), len(self.steps), len(self.values), len(self.masks)

    def rewind(self, mark: Mark) -> None:
        """Return to the last `mark`. In-place steps never need it: they are tried on a copy first."""
        inputs, constants, steps, values, masks = mark
        for value in self.values[values:] + self.masks[masks:]:
            value.storage.members.remove(value)
        del self.inputs[inputs:], self.constants[constants:], self.steps[steps:]
        del self.values[values:], self.masks[masks:]
        for value in self._used:
            value.is_used = False

    # Leaves --------------------------------------------------------------------------------------------------------

    def input(self, values: Array) -> Value:
        """A new differentiable input."""
        self.inputs.append(Input(values))
        ref = Ref("x", len(self.inputs) - 1)
        value = Value(self.executor, ref, self.executor.tensor(values), Storage(is_writable=False), True)
        self.values.append(value)
        return value

    def constant(self, values: Array) -> Value:
        """A new constant."""
        self.constants.append(values)
        ref = Ref("c", len(self.constants) - 1)
        return Value(self.executor, ref, self.executor.tensor(values), Storage(is_writable=False), False)

    # Steps ---------------------------------------------------------------------------------------------------------

    def apply(self, plan: Plan, call: Call) -> Value:
        """Call out of place."""
        result = self._run(plan, call)
        several = isinstance(result, (tuple, list))
        tensors = result if several else (result,)
        operands = list(_operands(call))
        source = self._aliased(plan, call, tensors[0])
        connected = plan.is_differentiable and any(v.is_connected for v in operands)
        made = []
        for item, tensor in enumerate(tensors):
            ref = Ref("v", len(self.steps), item if several else None)
            # PyTorch refuses to write to one of several views of one op; others are left alone with them.
            storage = source or Storage(is_writable=not several)
            made.append(self._add(ref, tensor, storage, connected))
        self.steps.append(Step(plan.op.name, _refs(call.args), _kwargs(call), view=source is not None, form=plan.form))
        if plan.keeps_operands:
            for value in operands:
                value.storage.is_kept = True
        if plan.keeps_result:
            made[0].storage.is_kept = True
        if any(value.is_connected for value in made):
            self._use(operands)
        return made[0]

    def write(self, plan: Plan, call: Call) -> bool:
        """Call in place on the first operand or a clone of it; False, and nothing done, where it does not fit."""
        x: Value = call.args[0]
        if not self._fits_in_place(plan, call, x):
            return False
        others = list(_operands(Call(call.args[1:], call.kwargs)))
        target = self._target(plan, x, others)
        if target is None:
            return False
        storage = target.storage
        result = self._run(plan, Call((target, *call.args[1:]), call.kwargs), inplace=True)
        number = len(self.steps)
        form = plan.form if plan.form == "nn.functional" else "method"
        args = (target.ref, *_refs(call.args[1:]))
        self.steps.append(Step(plan.op.name, args, _kwargs(call), inplace=True, view=True, form=form))
        storage.is_written |= not _same_look(target, storage.root)
        storage.is_kept = plan.keeps_result
        for value in others:
            value.storage.is_kept |= plan.keeps_operands
        for member in storage.members:
            member.forget()
        was_connected = target.is_connected and plan.op.name not in OVERWRITING
        self._add(Ref("v", number), result, storage, was_connected or any(v.is_connected for v in others))
        self._use([target, *others])
        return True

    def _target(self, plan: Plan, x: Value, others: list[Value]) -> Value | None:
        """What to write to: `x`, a clone of it, or a part of either where all of it would be overwritten."""
        storage = x.storage
        if not storage.is_writable or storage.is_kept or x.is_expanded or any(v.storage is storage for v in others):
            if "clone" not in self.by_name:
                return None
            x = self.apply(self.by_name["clone"], Call((x,)))
        if plan.op.name not in OVERWRITING or not _same_look(x, x.storage.root) or any(v.is_connected for v in others):
            return x
        if others or "__getitem__" not in self.by_name or not x.ndim or x.shape[0] < 2:
            return None
        return self.apply(self.by_name["__getitem__"], Call((x, slice(1, None))))

    def _fits_in_place(self, plan: Plan, call: Call, x: Value) -> bool:
        """Whether the result has the shape and dtype of `x`, and values to go on with."""
        if plan.only_inplace:
            trial = self.executor.call("clone", (x.tensor,), {})
            result = self._run(plan, call, inplace=True, target=trial)
        else:
            result = self._run(plan, call)
        if isinstance(result, (tuple, list)) or tuple(result.shape) != x.shape:
            return False
        found = self.executor.array(result)
        if not (np.abs(found) <= material.BOUND).all():
            raise OutOfBounds
        return bool(found.dtype == x.array.dtype)

    def _run(self, plan: Plan, call: Call, *, inplace: bool = False, target: Any = None) -> Any:
        args = map_values(call.args, _tensor)
        if target is not None:
            args = (target, *args[1:])
        kwargs = {key: map_values(value, _tensor) for key, value in call.kwargs.items()} if call.kwargs else {}
        try:
            return self.executor.call(plan.op.name, args, kwargs, inplace=inplace)
        except Exception as error:
            step = Step(plan.op.name, _refs(call.args), _kwargs(call), inplace=inplace, form=plan.form)
            shapes = ", ".join(f"{v.ref}: {v.shape}" for v in _operands(call))
            text = step_text(step)[-1][1]
            raise GradcheckError(f"{plan.op.name}: the drawn call {text} ({shapes}) was refused: {error}") from error

    def _aliased(self, plan: Plan, call: Call, tensor: Any) -> Storage | None:
        """The storage of the first operand if `tensor` looks at it, which a raised version counter tells."""
        first = next(_operands(call), None)
        # What has nothing to do may return its operand (dropout of no entries).
        if first is None or (not plan.may_alias and tensor is not first.tensor):
            return None
        source = first.storage
        root = source.root.tensor
        written, watched = (tensor, root) if source.root.is_expanded else (root, tensor)
        if written is tensor:  # Nobody writes to an expanded tensor.
            if is_expanded(tuple(tensor.shape), self.executor.strides(tensor)):
                return source
            if self.executor.array(tensor).dtype.kind != "f":
                return None
        before = self.executor.version(watched)
        self.executor.call("add", (written, 0), {}, inplace=True)
        return source if self.executor.version(watched) != before else None

    def _add(self, ref: Ref, tensor: Any, storage: Storage, connected: bool) -> Value:
        value = Value(self.executor, ref, tensor, storage, connected)
        if value.size > 2 * material.LARGEST or not value.is_finite:
            storage.members.remove(value)
            raise OutOfBounds
        kind = value.array.dtype.kind
        value.is_connected = connected and kind == "f"
        if value.is_connected:
            self.values.append(value)
        elif kind == "b":
            self.masks.append(value)
        return value

    def _use(self, operands: list[Value]) -> None:
        for value in operands:
            if not value.is_used:
                value.is_used = True
                self._used.append(value)

    # The end -------------------------------------------------------------------------------------------------------

    def program(self, records: tuple[bytes, ...]) -> Program:
        """The program: its outputs are what no later step uses, and each base that was written to through a view."""
        sinks = [value for value in self.values if not value.is_used]
        written = dict.fromkeys(value.storage for value in self.values if value.storage.is_written)
        for storage in written:
            if not any(value.storage is storage and _same_look(value, storage.root) for value in sinks):
                sinks.append(storage.root)
        outputs = tuple(value.ref for value in sinks if value.ref.kind == "v")
        return Program(tuple(self.inputs), tuple(self.constants), tuple(self.steps), outputs, records)


def _same_look(one: Value, other: Value) -> bool:
    return one.shape == other.shape and one.executor.strides(one.tensor) == other.executor.strides(other.tensor)


def _operands(call: Call) -> Iterator[Value]:
    yield from values_in(call.args)
    for value in call.kwargs.values():
        yield from values_in(value)


def _tensor(value: Value) -> Any:
    return value.tensor


def _ref(value: Value) -> Ref:
    return value.ref


def _refs(args: Any) -> Any:
    return map_values(args, _ref)


def _kwargs(call: Call) -> dict[str, Any]:
    return {key: map_values(value, _ref) for key, value in call.kwargs.items()}
