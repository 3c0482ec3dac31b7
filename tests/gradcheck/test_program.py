"""Programs print as source that runs, in PyTorch's spelling, for every layout."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from gradcheck.engines import registry
from gradcheck.program import Input, Program, Ref, Step, map_refs, refs, tensor_text
from gradcheck.strategies import arrays, programs

X0, X1, C0 = Ref("x", 0), Ref("x", 1), Ref("c", 0)


def test_a_program_prints_as_source() -> None:
    program = Program(
        inputs=(Input(np.array([0.5, 2.0])), Input(np.arange(6.0).reshape(3, 2).T)),
        constants=(np.array([0, 0]),),
        steps=(
            Step("exp", (X0,)),
            Step("cat", ([Ref("v", 0), X0],), {"dim": 0}, form="function"),
            Step("__getitem__", (X1, (Ellipsis, slice(1, None), None))),
            Step("relu6", (Ref("v", 2),), form="nn.functional"),
            Step("index_select", (Ref("v", 0), 0, C0)),
            Step("mul", (Ref("v", 4), 2.0), inplace=True),
            Step("__setitem__", (Ref("v", 5), (0,), 1.0), inplace=True),
            Step("max", (X1,), {"dim": -1}),
        ),
        outputs=(Ref("v", 1), Ref("v", 7, 0)),
    )
    assert str(program).splitlines() == [
        "x0 = tensor([0.5, 2.0], requires_grad=True)",
        "x1 = tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]).t().requires_grad_()",
        "c0 = tensor([0, 0])",
        "v0 = x0.exp()",
        "v1 = torch.cat([v0, x0], dim=0)",
        "v2 = x1[..., 1:, None]",
        "v3 = torch.nn.functional.relu6(v2)",
        "v4 = v0.index_select(0, c0)",
        "v5 = v4.mul_(2.0)",
        "v5[0,] = 1.0",
        "v6 = v5",
        "v7 = x1.max(dim=-1)",
        "out = (v1, v7[0])",
    ]
    assert repr(program) == str(program)


@given(arrays())
def test_the_text_of_an_array_gives_its_values_and_strides(values: Any) -> None:
    refengine = pytest.importorskip("refengine")
    with np.errstate(all="ignore"):
        made = eval(
            tensor_text(values), {"tensor": lambda data, **kw: refengine.tensor(data, dtype=refengine.float64, **kw)}
        )
    assert np.array_equal(made.numpy(), values)
    if values.size:
        both = zip(values.shape, made.stride(), values.strides, strict=True)
        assert all(n == 1 or found == stride // 8 for n, found, stride in both)


def test_special_floats_print_as_source() -> None:
    assert tensor_text(np.array([np.nan, -np.inf])) == "tensor([float('nan'), float('-inf')])"


def test_map_refs_and_refs_reach_lists_tuples_and_keywords() -> None:
    tree = ([X0, 1], {"other": (X1,)})
    assert list(refs(tree)) == [X0, X1]
    assert map_refs(tree, str) == (["x0", 1], {"other": ("x1",)})


@pytest.mark.parametrize("engine", ["refengine", "torch"])
def test_the_script_of_a_program_runs_alone(engine: str) -> None:
    pytest.importorskip(engine)
    program = Program(
        inputs=(Input(np.array([[1.0, 2.0]])), Input(np.broadcast_to(np.array(3.0), (2,)))),
        constants=(),
        steps=(Step("mul", (X0, X1)), Step("sum", (Ref("v", 0),), {"dim": -1})),
        outputs=(Ref("v", 1),),
    )
    done = subprocess.run(
        [sys.executable, "-c", program.script(engine)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "x0 grad:" in done.stdout


@given(programs())
def test_a_drawn_program_prints_what_it_runs(program: Program) -> None:
    import refengine

    engine = registry.engine("refengine")
    scope: dict[str, Any] = {"torch": refengine}
    source = (
        program.script("refengine").partition("torch.set_default_dtype(torch.float64)")[2].partition("\ncotangents")[0]
    )
    before = refengine.get_default_dtype()
    refengine.set_default_dtype(refengine.float64)
    try:
        exec(source, scope)
    finally:
        refengine.set_default_dtype(before)
    ran = program.run(engine, [engine.tensor(given.values) for given in program.inputs])
    for printed, found in zip(scope["out"], ran, strict=True):
        assert np.array_equal(engine.array(printed), engine.array(found), equal_nan=True)
