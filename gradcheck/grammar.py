"""Records to programs: each 16-byte record becomes the next step, decoded while the program runs on an executor.

Because the steps before have run, every choice knows shapes, strides, values and aliases. A step reads only its own
record, operands count backwards, and smaller bytes mean simpler steps; so any list of records is a program, and a
shorter or smaller list is a simpler one. Nothing here draws at random: a replay needs the bytes alone.

The first record describes four inputs, four bytes each: shape, layout, and twice values. An input comes into being as
a step asks for it. That they stand apart keeps an input what it is while shrinking removes steps.

A step's record: byte 0 (and 13) the op, 1 in place or not (and, if odd, steer rather than search), 2 the first operand,
3 visiting a kink. What the op asks for is read from byte 4 on, then zeros.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from gradcheck import material
from gradcheck.draft import Draft, OutOfBounds
from gradcheck.drawing import RecordDraw
from gradcheck.plan import Declaration, Plan, Table, narrowed, table
from gradcheck.program import Array, Program
from gradcheck.values import Executor, Value, fits, has_ties, tied
from refengine.spec import EVERYWHERE, Call, Interval

RECORD = 16
"""Bytes of a record."""
MAX_STEPS = 15
"""Records of the longest program."""
INPUTS = 4
"""Differentiable inputs of one program at most; constants take their place afterwards."""
OP = 13
"""The byte that, after byte 0, says which op."""
START = 4
"""The first byte of a step's record that its op may read."""
OLDER, FRESH = 112, 224
"""The first operand by byte: the newest value that fits, an older one, a fresh input (12 %)."""
OTHER_FRESH, OTHER_CONSTANT, ITSELF = 136, 216, 240
"""Another operand by byte: another value that fits, a fresh input (31 %), a fresh constant (9 %), the first operand."""
INPLACE = {"some": 176, "always": 0, "never": 256}
"""Byte 1 from here on asks for the in-place form; "some" is 31 %."""
KINK = 253
"""Byte 3 from here on (1 %) leads an op with kinks onto them; elsewhere programs keep away."""


def decode(
    records: Iterable[bytes],
    ops: Sequence[Declaration],
    *,
    executor: Executor,
    group: str | None = None,
    inplace: str = "some",
) -> Program:
    """Decode records into a program.

    Parameters
    ----------
    records : iterable of bytes
        16 bytes each: the inputs, then the steps.
    ops : sequence of op declarations
        What may be called; their order decides what a byte means.
    executor : Executor
        What the program runs on while it is decoded.
    group : str or None
        Call ops of this group, or the op of this name, more often (see `gradcheck.plan.own_share`).
    inplace : {"some", "never", "always"}
        "always" writes in place wherever an op has the form, and gives every program at least one such step.

    Returns
    -------
    Program
        It keeps `records`.
    """
    kept = tuple(records)
    decoder = Decoder(table(ops, executor, group), executor, kept[0] if kept else b"", inplace)
    for record in kept[1:]:
        decoder.step(record)
    return decoder.finish(kept)


class Decoder:
    """Makes the choices of one program, record by record.

    Attributes
    ----------
    skipped : int
        Records that gave no step.
    """

    def __init__(self, plans: Table, executor: Executor, header: bytes, inplace: str = "some") -> None:
        self.plans = plans
        self.header = header.ljust(RECORD, b"\0")
        self.draft = Draft(plans, executor)
        self.inplace_from = INPLACE[inplace]
        self.skipped = 0
        self._plan: Plan = plans.own[0]
        self._first: Value | None = None
        self._others = 0
        self._tame = False
        self._kink = False
        self._writes = False

    def step(self, record: bytes) -> None:
        """Decode one record; where its values would grow out of bounds, once more with small operands."""
        plan = self.plans.choose(record[0], record[OP])
        for tame in (False, True):
            mark = self.draft.mark()
            try:
                if self._try(plan, record, tame):
                    return
            except OutOfBounds:
                pass
            self.draft.rewind(mark)
        self.skipped += 1

    def finish(self, records: tuple[bytes, ...]) -> Program:
        """The program; under "always", with an in-place step where it had none; with an output in any case."""
        draft, mul = self.draft, self.plans.by_name.get("mul")
        if draft.values and mul is not None:
            if self.inplace_from == 0 and not any(step.inplace for step in draft.steps):
                draft.write(mul, Call((draft.values[-1], 2)))
            elif all(value.ref.kind == "x" for value in draft.values):
                draft.apply(mul, Call((draft.values[-1], 2)))
        return draft.program(records)

    def _try(self, plan: Plan, record: bytes, tame: bool) -> bool:
        self._plan, self._first, self._others, self._tame = plan, None, 0, tame
        self._kink = record[3] >= KINK and plan.has_kinks and not tame
        self._writes = self.inplace_from < 256 and (
            plan.only_inplace or (plan.has_inplace and record[1] >= self.inplace_from)
        )
        x = self._first_operand(plan, record)
        if x is None:
            return False
        self._first = x
        call = plan.op.sample(RecordDraw(record, START, self), x)
        if plan.pair_ties and not self._kink and any(tied(x.array, number) for number in _numbers(call)):
            return False
        if self._writes and call.args[0] is x and self.draft.write(plan, call):
            return True
        if plan.only_inplace:
            return False
        made = self.draft.apply(plan, call)
        if not made.is_connected:
            self._gate(plan, made, x)
        return True

    def _gate(self, plan: Plan, made: Value, x: Value) -> None:
        """Put a result without a derivative to use: `x` times bools or integers, `x` plus what is flat.

        So the derivative is not zero everywhere, and a flat op's own wrong derivative shows.
        """
        use = self.plans.by_name.get("add" if plan.is_flat else "mul")
        is_useful = plan.is_flat or (made.array.dtype.kind in "bi" and made.array.any())
        if use is not None and is_useful and 0 < material.broadcast_size(made.shape, x.shape) <= material.LARGEST:
            self.draft.apply(use, Call((x, made)))

    # The first operand ---------------------------------------------------------------------------------------------

    def _first_operand(self, plan: Plan, record: bytes) -> Value | None:
        """A value that fits; else one steered into the domain, or a fresh input."""
        values = self.draft.values
        pick, count = record[2], len(values)
        can_add = len(self.draft.inputs) < INPUTS
        domain = narrowed(plan.domains[0]) if self._tame else plan.domains[0]
        if count and not (pick >= FRESH and can_add):
            start = (pick - OLDER) % count if pick >= OLDER else 0
            near = None
            for offset in range(count):
                value = values[-1 - (start + offset) % count]
                if value.size > material.LARGEST or not plan.op.accepts(value.shape):
                    continue
                if self._suits(value, domain, plan):
                    return value
                near = near or value
                if record[1] & 1 and not self._kink:
                    break
            if near is not None and (record[1] & 1 or not can_add):
                steered = self._steered(near, domain, plan, record)
                if steered is not None:
                    return steered
        if not can_add:
            return None
        return self._fresh_first(plan, domain, (pick - FRESH) // 8 if pick >= FRESH else 0)

    def _suits(self, value: Value, domain: Interval, plan: Plan) -> bool:
        if self._kink:
            # A visit: one that is there already, or one to come through the other operand.
            return not plan.at and fits(value, domain)
        return fits(value, domain) and not (plan.inner_ties and has_ties(value))

    def _steered(self, value: Value, domain: Interval, plan: Plan, record: bytes) -> Value | None:
        """`value` plus a constant that brings it into the domain; None where that cannot be."""
        add = self.plans.by_name.get("add")
        if add is None or value.size == 0:
            return None
        wanted = self._numbers(value.size, domain, plan, record[14], record[15])
        shift = [round(goal - now, 3) for goal, now in zip(wanted, value.flat, strict=True)]
        if not any(shift):
            return None
        constant = self.draft.constant(np.array(shift).reshape(value.shape))
        moved = self.draft.apply(add, Call((value, constant)))
        return moved if self._kink or self._suits(moved, domain, plan) else None

    def _slot(self, number: int) -> bytes:
        """The bytes of one input of the header. Two inputs may have the same: so each stays when another goes."""
        return self.header[4 * number : 4 * number + 4]

    def _fresh_first(self, plan: Plan, domain: Interval, slot: int) -> Value | None:
        shape_byte, layout, mode, seed = self._slot(slot)
        shape = material.SHAPES[shape_byte]
        if not plan.op.accepts(shape):
            shapes = [one for one in material.FALLBACK_SHAPES if plan.op.accepts(one)]
            if not shapes:
                return None
            shape = shapes[shape_byte * len(shapes) // 256]
        numbers = self._numbers(math.prod(shape), domain, plan, mode, seed)
        layout = min(layout, material.STRIDED - 1) if plan.inner_ties else layout
        return self.draft.input(material.arranged(numbers, shape, layout))

    def _numbers(self, count: int, domain: Interval, plan: Plan, mode: int, seed: int) -> list[float]:
        """Numbers for the first operand of an op."""
        if self._kink and plan.at:
            return material.numbers(count, domain, 0, seed, mode, plan.at)
        found = material.numbers(count, domain, mode, seed, mode)
        if plan.inner_ties:
            return [found[0]] * count if self._kink else material.spread(found, domain)
        return found

    # Other operands: what a RecordDraw asks for -------------------------------------------------------------------

    def operand(self, draw: RecordDraw, shape: material.Shape, domain: Interval, broadcast: bool) -> Value:
        """An existing value of that shape (or one that broadcasts with it), or a fresh input or constant."""
        plan, draft = self._plan, self.draft
        self._others += 1
        if domain is EVERYWHERE or not plan.is_differentiable:
            domain = plan.domains[min(self._others, len(plan.domains) - 1)]
        if self._tame:
            domain = narrowed(domain)
        pick = draw.byte()
        can_add = len(draft.inputs) < INPUTS
        if pick < OTHER_FRESH or pick >= ITSELF or not can_add:
            first = self._first if can_add and pick < ITSELF else None
            known = [v for v in draft.values if v is not first and self._serves(v, shape, domain, broadcast)]
            if pick >= ITSELF and self._first in known:
                known = [self._first]
            if known:
                return known[-1 - pick % len(known)]
        if can_add:
            is_named = OTHER_FRESH <= pick < ITSELF
            number = (pick - OTHER_FRESH) * INPUTS // (ITSELF - OTHER_FRESH) if is_named else 1
            shape_byte, layout, mode, seed = self._slot(number)
        else:
            shape_byte, layout, mode, seed = draw.byte(), 0, draw.byte(), draw.byte()
        if broadcast:
            shape = self._broadcast_shape(shape, shape_byte)
        values = self._untied(material.numbers(math.prod(shape), domain, mode, seed, mode), shape, domain)
        array = material.arranged(values, shape, layout)
        return self.draft.input(array) if can_add and not OTHER_CONSTANT <= pick < ITSELF else draft.constant(array)

    def _broadcast_shape(self, shape: material.Shape, byte: int) -> material.Shape:
        """The shape that the byte gives to an input, if it broadcasts with `shape`; else one that does."""
        own = material.SHAPES[byte]
        is_small = 0 <= material.broadcast_size(own, shape) <= material.LARGEST
        if is_small and (not self._writes or material.broadcasts_to(own, shape)):
            return own
        shapes = material.broadcastable(shape, self._writes)
        return shapes[byte * len(shapes) // 256]

    def _serves(self, value: Value, shape: material.Shape, domain: Interval, broadcast: bool) -> bool:
        if value.shape != shape:
            if not broadcast or not 0 <= material.broadcast_size(value.shape, shape) <= material.LARGEST:
                return False
            if self._writes and not material.broadcasts_to(value.shape, shape):
                return False
        if not fits(value, domain):
            return False
        if self._plan.pair_ties and self._first is not None:
            return tied(self._first.array, value.array) == self._kink
        return True

    def _untied(self, values: list[float], shape: material.Shape, domain: Interval) -> list[float]:
        """The numbers, moved where an elementwise op with ties would meet one (or into a tie, for a visit)."""
        x = self._first
        if not self._plan.pair_ties or x is None or not values:
            return values
        if self._kink and x.shape == shape:
            return list(x.flat)
        with_x = np.array(values).reshape(shape)
        for move in (0.0, 0.13, -0.17, 0.29, -0.31, 0.43, -0.47, 0.07):
            moved = with_x + move
            inside = domain.low <= moved.min() and moved.max() <= domain.high
            if inside and not tied(x.array, moved):
                return [round(value, 2) for value in moved.ravel().tolist()]
        return values

    def constant(self, values: Sequence[float], shape: material.Shape, dtype: str) -> Value:
        """A fresh constant of indices or a mask."""
        array: Array = np.array(values, dtype=dtype).reshape(shape)
        return self.draft.constant(array)

    def known_mask(self, shape: material.Shape) -> Value | None:
        """The newest bool value of that shape."""
        return next((mask for mask in reversed(self.draft.masks) if mask.shape == shape), None)


def _numbers(call: Call) -> list[float]:
    """The Python numbers among the arguments."""
    leaves = [*call.args[1:], *call.kwargs.values()]
    return [float(leaf) for leaf in leaves if isinstance(leaf, (int, float)) and not isinstance(leaf, bool)]
