"""Records decode into programs that run, stay in bounds, keep PyTorch's in-place rules, and shrink by removal."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck import material
from gradcheck.drawing import RecordDraw
from gradcheck.engines.refengine import ReferenceEngine
from gradcheck.failures import GradcheckError
from gradcheck.grammar import INPUTS, RECORD, decode
from gradcheck.plan import table
from gradcheck.program import Program, refs
from gradcheck.rewrite import memories
from refengine import catalogue
from refengine.spec import EVERYWHERE, Draw, Interval

ENGINE = ReferenceEngine()
OPS = catalogue.ops()

records = st.lists(st.binary(min_size=RECORD, max_size=RECORD), min_size=1, max_size=12)
modes = st.sampled_from(["some", "never", "always"])


def drawn(count: int, *, seed: int = 0, group: str | None = None, inplace: str = "some") -> list[Program]:
    source = random.Random(seed)
    return [
        decode(
            [source.randbytes(RECORD) for _ in range(source.randint(2, 9))],
            OPS,
            executor=ENGINE,
            group=group,
            inplace=inplace,
        )
        for _ in range(count)
    ]


@given(records, modes)
@settings(max_examples=200)
def test_any_records_give_a_program_that_runs_forward_and_backward(given_records: list[bytes], inplace: str) -> None:
    program = decode(given_records, OPS, executor=ENGINE, inplace=inplace)
    leaves = [ENGINE.tensor(one.values, requires_grad=True) for one in program.inputs]
    outputs = program.run(ENGINE, leaves)
    ENGINE.grad(outputs, leaves, [ENGINE.tensor(np.ones(tuple(y.shape))) for y in outputs])
    assert all(ENGINE.requires_grad(y) for y in outputs)
    assert program.outputs or not program.steps


@given(records)
def test_the_same_records_give_the_same_program(given_records: list[bytes]) -> None:
    one, other = (decode(given_records, OPS, executor=ENGINE) for _ in range(2))
    assert str(one) == str(other)
    assert one.records == tuple(given_records)


@given(records, st.data())
def test_removing_a_record_leaves_a_program(given_records: list[bytes], data: st.DataObject) -> None:
    gone = data.draw(st.integers(0, len(given_records) - 1))
    decode(given_records[:gone] + given_records[gone + 1 :], OPS, executor=ENGINE)


def test_no_records_give_an_empty_program() -> None:
    program = decode([], OPS, executor=ENGINE)
    assert (program.inputs, program.steps, program.outputs) == ((), (), ())


def test_zeros_give_the_simplest_step() -> None:
    assert str(decode([bytes(RECORD)] * 2, OPS, executor=ENGINE)).splitlines() == [
        "x0 = tensor(1.0, requires_grad=True)",
        "v0 = x0.neg()",
        "out = (v0,)",
    ]


def test_short_records_are_read_as_zeros() -> None:
    whole = decode([b"", bytes(RECORD)], OPS, executor=ENGINE)
    assert str(whole) == str(decode([bytes(RECORD)] * 2, OPS, executor=ENGINE))


def test_values_inputs_and_sizes_are_bounded() -> None:
    for program in drawn(300):
        values = program.trace(ENGINE, [ENGINE.tensor(one.values) for one in program.inputs])
        assert 0 <= len(program.inputs) <= INPUTS
        for name, value in values.items():
            for part in value if isinstance(value, tuple) else (value,):
                array = ENGINE.array(part)
                assert array.size <= 2 * material.LARGEST, name
                if array.dtype.kind == "f":
                    assert np.isfinite(array).all(), (name, program)
                    assert (np.abs(array) <= material.BOUND).all(), (name, program)


def test_inplace_steps_write_to_no_input_and_to_nothing_that_another_op_kept() -> None:
    plans = table(OPS, ENGINE, None).by_name
    for program in drawn(300, inplace="always"):
        roots = memories(program)
        kept: set[str] = set()
        for number, step in enumerate(program.steps):
            plan, own = plans[step.op], f"v{number}"
            if step.inplace:
                target, *others = refs((step.args, step.kwargs))
                assert roots[target.name].startswith("v")
                assert roots[target.name] not in kept, program
                assert all(roots.get(ref.name) != roots[target.name] for ref in others), program
                kept |= {roots.get(ref.name, ref.name) for ref in others if plan.keeps_operands}
            elif plan.keeps_operands:
                kept |= {roots.get(ref.name, ref.name) for ref in refs((step.args, step.kwargs))}
            if plan.keeps_result:
                kept.add(roots[own])


def test_always_in_place_gives_every_program_such_a_step() -> None:
    assert all(any(step.inplace for step in program.steps) for program in drawn(200, inplace="always") if program.steps)


def test_never_in_place_gives_none() -> None:
    assert not any(step.inplace for program in drawn(200, inplace="never") for step in program.steps)


@pytest.mark.parametrize("group", ["reduction", "indexing"])
def test_a_group_is_called_often_and_the_others_stay_in_reach(group: str) -> None:
    named = {op.name: op.group for op in OPS}
    counts = Counter(named[name] == group for program in drawn(200, group=group) for name in program.ops)
    assert counts[True] > 0.3 * counts.total()
    assert counts[False] > 0.2 * counts.total()


def test_an_op_may_stand_for_a_group() -> None:
    counts = Counter(name for program in drawn(100, group="cumsum") for name in program.ops)
    assert counts["cumsum"] > 0.2 * counts.total()


def test_special_values_layouts_and_sizes_come_at_their_rates() -> None:
    inputs = [one.values for program in drawn(600) for one in program.inputs]
    special = sum(bool(np.isin(values, material.SPECIALS).any()) for values in inputs if values.size)
    strided = sum(not values.flags.c_contiguous for values in inputs)
    empty = sum(values.size == 0 for values in inputs)
    single = sum(1 in values.shape for values in inputs)
    assert special > 0.3 * len(inputs)
    assert strided > 0.1 * len(inputs)
    assert 0 < empty < 0.05 * len(inputs)
    assert single > 0.1 * len(inputs)
    assert {values.ndim for values in inputs} == {0, 1, 2, 3, 4}


def test_an_op_that_refuses_its_own_sample_is_named() -> None:
    class Broken(type(catalogue.get("exp"))):  # type: ignore[misc]
        name = "exp"

        def sample(self, draw: Draw, x: object) -> object:
            call = super().sample(draw, x)
            return type(call)((*call.args, "nonsense"))

    with pytest.raises(GradcheckError, match=r"exp: the drawn call x0.exp_?\('nonsense'\)"):
        decode([bytes(RECORD)] * 2, [Broken()], executor=ENGINE)


class NoSource:
    """A draw that asks for no operand."""


@given(st.binary(max_size=12), st.integers(-5, 5), st.integers(0, 400))
def test_draw_integer_stays_inside_and_starts_low(data: bytes, low: int, width: int) -> None:
    assert low <= RecordDraw(data, 0, NoSource()).integer(low, low + width) <= low + width  # type: ignore[arg-type]
    assert RecordDraw(b"", 0, NoSource()).integer(low, low + width) == low  # type: ignore[arg-type]


@given(st.binary(max_size=4), st.floats(-10, 10), st.floats(0, 10))
def test_draw_real_stays_inside(data: bytes, low: float, width: float) -> None:
    assert low <= RecordDraw(data, 0, NoSource()).real(low, low + width) <= low + width  # type: ignore[arg-type]


@given(st.integers(0, 255), st.integers(1, 4))
def test_axes_are_axes_of_that_rank(byte: int, ndim: int) -> None:
    axes = material.axes_at(byte, ndim)
    listed = range(ndim) if axes is None else (axes if isinstance(axes, tuple) else (axes,))
    assert all(-ndim <= axis < ndim for axis in listed)
    assert len({axis % ndim for axis in listed}) == len(listed)


def test_every_spelling_of_an_axis_is_reached() -> None:
    assert {material.axis_at(byte, 3) for byte in range(256)} == {0, 1, 2, -1, -2, -3}
    reached = {material.axes_at(byte, 2) for byte in range(256)}
    assert {None, 0, 1, -1, -2, (0,), (0, 1), (1, 0)} <= reached


domains = st.sampled_from(
    [EVERYWHERE, Interval(0.01, 50.0), Interval(-0.9, 0.9), Interval(-50.0, 50.0, avoid=(0.0,)), Interval(1.2, 50.0)]
)


@given(st.integers(0, 20), domains, st.integers(0, 255), st.integers(0, 255))
def test_numbers_lie_in_the_smooth_part_of_their_domain(count: int, domain: Interval, mode: int, seed: int) -> None:
    found = material.numbers(count, domain, mode, seed, mode)
    assert len(found) == count
    assert all(material.is_allowed(value, domain) for value in found)


@given(st.integers(1, 64), st.integers(0, 255), st.integers(0, 255))
def test_scattered_numbers_differ(count: int, seed: int, stride: int) -> None:
    assert len(set(material.scatter(count, seed, stride))) == count


@given(st.sampled_from(material.SHAPES), st.booleans())
def test_broadcastable_shapes_broadcast(shape: tuple[int, ...], into: bool) -> None:
    for other in material.broadcastable(shape, into):
        result = np.broadcast_shapes(shape, other)
        assert material.broadcast_size(shape, other) == int(np.prod(result))
        assert not into or result == shape
