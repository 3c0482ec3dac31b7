"""``works_in_its_inputs_precision`` fails float32 inside and leaves functions alone that merely lose digits."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.checks.precision import works_in_its_inputs_precision
from tests.gradcheck.adapters import adapter_fixture, function, library_functions, subject

__all__ = ["adapter_fixture"]

X = np.array([[0.0, 1.25, -2.0], [3.0, 0.0, 0.5]])


def through_float32(adapter, tensor):
    """The values rounded to float32 by NumPy."""
    return adapter.tensor(adapter.array(tensor).astype(np.float32).astype(np.float64))


@pytest.mark.parametrize("name", ["square", "sums", "softmax", "view", "two"])
def test_right_functions_agree(adapter, name):
    outcome = works_in_its_inputs_precision(subject(adapter, getattr(library_functions(adapter), name), X))
    assert outcome.verdict == "agree", outcome.finding


@pytest.mark.parametrize("scale", [1e-3, 1e-2, 0.1, 1.0, 10.0])
@pytest.mark.parametrize(
    "lossy",
    [
        lambda x: (x + 1e8) - 1e8,
        lambda x: (1.0 + x * x * 1e-9).log(),
        lambda x: ((x + 1e6) ** 2).mean() - (x + 1e6).mean() ** 2,
    ],
    ids=["shift", "log1p", "variance"],
)
def test_lost_digits_are_not_float32(adapter, lossy, scale):
    point = scale * np.random.default_rng(3).standard_normal((3, 4))
    assert works_in_its_inputs_precision(subject(adapter, lossy, point)).verdict == "agree"


def test_an_input_rounded_to_float32_disagrees(adapter):
    wrong = function(adapter, lambda x: through_float32(adapter, x).sin() * 1.1, lambda g, x: g * x.cos() * 1.1)
    outcome = works_in_its_inputs_precision(subject(adapter, wrong, X))
    assert outcome.verdict == "disagree"
    assert outcome.finding.code == "GC701"
    assert outcome.finding.detail.startswith("output 0 is float64 and has the round-off of float32: inputs rounded")


def test_a_result_rounded_to_float32_disagrees(adapter):
    wrong = function(adapter, lambda x: through_float32(adapter, x.sin()), lambda g, x: g * x.cos())
    assert (
        "all its entries are float32 numbers"
        in works_in_its_inputs_precision(subject(adapter, wrong, X)).finding.detail
    )


def test_a_gradient_rounded_to_float32_disagrees(adapter):
    wrong = function(adapter, lambda x: x.sin(), lambda g, x: through_float32(adapter, g * x.cos()))
    outcome = works_in_its_inputs_precision(subject(adapter, wrong, X))
    assert outcome.finding.detail.startswith("the gradient")
    assert outcome.finding.argument.startswith("x0")


def test_a_cast_inside_is_seen_by_torch():
    torch = pytest.importorskip("torch")
    from gradcheck.engines.registry import engine

    wrong = subject(engine("torch"), lambda x: (x * 1.1).float().double().sin() * 3.3, X)
    assert "torch.float64 to torch.float32" in works_in_its_inputs_precision(wrong).finding.detail
    buffer = subject(engine("torch"), lambda x: torch.zeros(2, 3).copy_(x * 1.1).double() * 3.3, X)
    assert works_in_its_inputs_precision(buffer).verdict == "disagree"


def test_a_cast_that_leaves_no_noise_agrees():
    torch = pytest.importorskip("torch")
    from gradcheck.engines.registry import engine

    masked = subject(engine("torch"), lambda x: torch.where(x.float() > 1.0, x * x, x), X)
    assert works_in_its_inputs_precision(masked).verdict == "agree"


def test_float32_inputs_are_not_judged(adapter):
    assert works_in_its_inputs_precision(subject(adapter, lambda x: x * 2.0, X.astype(np.float32))).vacuous
