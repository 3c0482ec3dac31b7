"""Programs as somebody who uses JAX would write them: they run alone, and say what the program says."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings

from gradcheck.engines import registry
from gradcheck.engines.jaxops import OPS
from gradcheck.engines.jaxscript import script
from gradcheck.failures import UsageError
from gradcheck.program import Input, Program, Ref, Step
from gradcheck.strategies import programs

jax = pytest.importorskip("jax")

X0, X1, V0 = Ref("x", 0), Ref("x", 1), Ref("v", 0)
MATRIX = np.array([[1.0, -2.0, 0.5], [3.0, 0.25, 1.5]])


def program(*steps, inputs=(MATRIX,), constants=()):
    """A program whose last step is its output."""
    made = tuple(Input(np.asarray(x)) for x in inputs)
    return Program(made, tuple(constants), steps, (Ref("v", len(steps) - 1),))


def lines(made):
    """What stands in the function."""
    return [line.strip() for line in script(made).splitlines() if line.startswith("    v")]


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (Step("mul", (X0, X0)), "jnp.multiply(x0, x0)"),
        (Step("exp", (X0,)), "jnp.exp(x0)"),
        (Step("rsqrt", (X0,)), "jax.lax.rsqrt(x0)"),
        (Step("sum", (X0,), {"dim": [0, 1], "keepdim": True}), "jnp.sum(x0, axis=(0, 1), keepdims=True)"),
        (Step("softmax", (X0,), {"dim": -1}), "jax.nn.softmax(x0, -1)"),
        (Step("sub", (X0, X0), {"alpha": 2}), "jnp.subtract(x0, (2 * x0))"),
        (Step("unsqueeze", (X0, 0)), "jnp.expand_dims(x0, 0)"),
        (Step("reshape", (X0, 3, 2)), "x0.reshape((3, 2))"),
        (Step("__getitem__", (X0, (slice(1, None), ..., 0))), "x0[1:, ..., 0]"),
        (Step("expand", (X0, (4, -1, 3))), "jnp.broadcast_to(x0, (4, 2, 3))"),
        (Step("index_put", (X0, [0, 1], 2.0)), "x0.at[0, 1].set(2.0)"),
        (Step("cat", ([X0, X0], 1)), "jnp.concatenate([x0, x0], 1)"),
        (Step("clamp", (X0, float("-inf"), 1.0)), "jnp.clip(x0, float('-inf'), 1.0)"),
    ],
    ids=lambda value: value.op if isinstance(value, Step) else "",
)
def test_a_step_is_written_in_jax_own_words(step, text):
    assert lines(program(step)) == [f"v0 = {text}"]


def test_a_step_with_several_results_gives_them_by_number():
    made = Program((Input(MATRIX),), (), (Step("max", (X0, 1)), Step("exp", (Ref("v", 0, 0),))), (Ref("v", 1),))
    first, second = lines(made)
    assert first.startswith("v0 = (")
    assert second == "v1 = jnp.exp(v0[0])"


def test_the_script_runs_alone_and_prints_gradients():
    constant = np.array([1, 0])
    made = program(
        Step("index_select", (X0, 0, Ref("c", 0))),
        Step("mul", (V0, X1)),
        Step("sum", (Ref("v", 1),), {"dim": -1}),
        inputs=(MATRIX, np.array(3.0)),
        constants=(constant,),
    )
    done = subprocess.run(
        [sys.executable, "-c", script(made)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "torch" not in script(made)
    assert done.stdout.splitlines() == ["[14.25 -1.5 ]", "x0 grad: [[3. 3. 3.]", " [3. 3. 3.]]", "x1 grad: 4.25"]


def test_what_jax_has_not_is_refused_by_name():
    with pytest.raises(UsageError, match="jax has no in-place exp"):
        script(program(Step("exp", (X0,), inplace=True)))
    assert "cdist" not in OPS
    with pytest.raises(UsageError, match="jax has no cdist"):
        script(program(Step("cdist", (X0, X0))))


def test_the_script_of_a_program_names_the_writer_for_jax():
    made = program(Step("exp", (X0,)))
    with pytest.raises(UsageError, match=r"got engine='jax'; gradcheck\.engines\.jaxscript"):
        made.script("jax")


@settings(max_examples=15)
@given(programs(inplace="never"))
def test_a_drawn_program_computes_what_is_written(made):
    adapter = registry.engine("jax")
    if not all(adapter.supports(step.op, inplace=step.inplace) for step in made.steps) or not made.outputs:
        return
    try:
        ran = made.run(adapter, [adapter.tensor(x.values) for x in made.inputs])
    except Exception:  # a step that JAX's function refuses
        return
    scope = {}
    text = script(made).partition("out, pullback")[0].replace('jax.config.update("jax_enable_x64", True)', "")
    names = [f"x{i}" for i, x in enumerate(made.inputs) if x.requires_grad]
    with adapter.evaluating():
        exec(text, scope)
        found = scope["function"](*(scope[name] for name in names))
    for printed, expected in zip(found, ran, strict=True):
        assert np.array_equal(np.asarray(printed), np.asarray(expected), equal_nan=True)
