"""GC702 in half precision: right functions are never called wrong, and a percent is seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import gradcheck
from gradcheck.arguments import as_subject
from gradcheck.checks.half import rounded
from gradcheck.checks.narrow import narrow_gradients_agree
from gradcheck.engines.registry import engine
from gradcheck.verdict import Verdict
from tests.gradcheck.adapters import function
from tests.gradcheck.halves import RIGHT, WRONG, judged

BOTH = [("torch", "float16"), ("torch", "bfloat16"), ("refengine", "float16")]
# At which an error of a percent is far above their round-off.
PLAIN = ("square", "cumsum", "sine", "log")
# At which it is so in float16 alone.
ROUGH = ("matmul of 64", "softmax of the library", "layer norm of the library")


@pytest.fixture(name="adapter")
def _adapter(request):
    pytest.importorskip(request.param)
    return engine(request.param)


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize(("adapter", "dtype"), BOTH, indirect=["adapter"])
def test_right_functions_are_never_called_wrong(adapter, dtype, name):
    found = [judged(adapter, name, dtype, magnitude, 0) for magnitude in (0.1, 30.0)]
    assert [outcome.finding for outcome in found if outcome.finding is not None] == []


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(("adapter", "dtype"), BOTH, indirect=["adapter"])
def test_what_is_wrong_in_half_precision_alone_is_found(adapter, dtype, wrong):
    names = PLAIN if dtype == "bfloat16" else (*PLAIN, *ROUGH)
    outcomes = {name: judged(adapter, name, dtype, 1.0, 1, wrong) for name in names}
    assert [name for name, outcome in outcomes.items() if outcome.verdict is not Verdict.DISAGREE] == []
    assert all(o.finding.code == "GC702" and dtype in o.finding.detail for o in outcomes.values())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_numbers_are_rounded_as_pytorch_rounds_them(dtype):
    torch = pytest.importorskip("torch")
    x = np.array([1.0, 1.00390625, -3.14159, 1e-6, 65519.0, 0.1, 0.0, -1e-45, 2.0**-24, np.inf, np.nan])
    expected = torch.tensor(x, dtype=torch.float32).to(getattr(torch, dtype)).double().numpy()
    assert np.array_equal(rounded(x, dtype), expected, equal_nan=True)
    assert rounded(np.array(0.1), dtype).shape == ()


def test_a_function_that_is_called_in_float64_is_not_asked_in_less():
    torch = pytest.importorskip("torch")
    adapter = engine("torch")
    wrong = function(adapter, lambda x: x * x, lambda g, x: (3.0 if x.dtype == torch.float16 else 2.0) * g * x)
    x = torch.tensor([0.5, -1.25, 3.0])
    assert gradcheck.check(wrong, x.double()).ok
    assert gradcheck.check(wrong, x.bfloat16()).ok
    assert "narrow_gradients_agree" in {finding.claim for finding in gradcheck.check(wrong, x.half()).failures}


def test_inputs_keep_the_dtypes_they_came_in():
    torch = pytest.importorskip("torch")
    adapter, seen = engine("torch"), set()

    def mixed(x, scale):
        seen.add((x.dtype, scale.dtype))
        return x.float() * scale

    inputs = [torch.tensor([1.0, 2.0], dtype=torch.bfloat16), torch.tensor([0.5, 0.25])]
    subject = as_subject(mixed, inputs, adapter, rtol=1e-6, seed=0, name="mixed")
    assert subject.narrow == (("bfloat16", "float32"),)
    assert narrow_gradients_agree(subject).verdict is Verdict.AGREE
    assert seen == {(torch.float64,) * 2, (torch.float32,) * 2, (torch.bfloat16, torch.float32)}


def test_a_refusal_of_half_precision_is_no_failure():
    torch = pytest.importorskip("torch")
    adapter = engine("torch")

    def refusing(x):
        if x.dtype == torch.float16:
            raise TypeError("not in half precision")
        return x * x

    subject = as_subject(refusing, [torch.ones(3, dtype=torch.float16)], adapter, rtol=1e-6, seed=0, name="f")
    assert narrow_gradients_agree(subject).verdict is Verdict.AGREE


def test_another_function_in_half_precision_has_another_gradient_by_right():
    torch = pytest.importorskip("torch")
    subject = as_subject(
        lambda x: x * (1.1 if x.dtype == torch.float16 else 1.0),
        [torch.ones(3, dtype=torch.float16)], engine("torch"), rtol=1e-6, seed=0, name="f",
    )  # fmt: skip
    outcome = narrow_gradients_agree(subject)
    assert (outcome.verdict, outcome.reason) == (Verdict.INCONCLUSIVE, "another function in float16")


def test_digits_that_underflow_takes_are_no_mistake():
    torch = pytest.importorskip("torch")
    x = torch.tensor([100.0, -80.0, 120.0], dtype=torch.float16)
    subject = as_subject(lambda x: (x * x + 1e-3) ** -0.5, [x], engine("torch"), rtol=1e-6, seed=0, name="f")
    outcome = narrow_gradients_agree(subject)
    assert (outcome.verdict, outcome.reason) == (Verdict.INCONCLUSIVE, "underflow in float16")
    assert narrow_gradients_agree(replace(subject, narrow=(("bfloat16",),))).verdict is Verdict.AGREE


def test_bfloat16_of_jax_is_compared_too():
    jax = pytest.importorskip("jax")
    jnp = jax.numpy

    @jax.custom_vjp
    def square(x):
        return x * x

    square.defvjp(lambda x: (x * x, x), lambda x, g: ((2.06 if x.dtype == jnp.bfloat16 else 2.0) * g * x,))
    x = jnp.array([[0.5, -1.25, 3.0], [0.75, 1.5, -2.25]], dtype=jnp.bfloat16)
    for made, expected in ((square, Verdict.DISAGREE), (lambda x: x * x, Verdict.AGREE)):
        subject = as_subject(made, [x], engine("jax"), rtol=1e-6, seed=0, name="f")
        assert narrow_gradients_agree(subject).verdict is expected
