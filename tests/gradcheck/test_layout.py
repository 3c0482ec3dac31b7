"""``layout_does_not_matter`` passes right functions in every layout and fails those that read memory."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.checks.layout import gapped, layout_does_not_matter, layouts, transposed
from tests.gradcheck.adapters import adapter_fixture, function, library_functions, subject

__all__ = ["adapter_fixture"]

X = np.array([[0.0, 1.25, -2.0], [3.0, 0.0, 0.5]])
Y = np.array([[0.5, 0.0], [-1.0, 2.0], [0.75, -0.25]])


@pytest.mark.parametrize("name", ["square", "sums", "softmax", "view", "two"])
def test_right_functions_agree(adapter, name):
    outcome = layout_does_not_matter(subject(adapter, getattr(library_functions(adapter), name), X))
    assert outcome.verdict == "agree", outcome.finding


def test_a_right_function_of_two_inputs_agrees(adapter):
    outcome = layout_does_not_matter(subject(adapter, library_functions(adapter).product, X, Y))
    assert outcome.verdict == "agree", outcome.finding


@pytest.mark.parametrize(
    "values", [X.T, gapped(X), np.broadcast_to(X[0], (2, 3)), np.array(2.0), np.zeros((2, 3))], ids=str
)
def test_right_functions_agree_from_any_layout_given(adapter, values):
    outcome = layout_does_not_matter(subject(adapter, lambda x: (x * x).sum(), values))
    assert outcome.verdict == "agree", outcome.finding


def flat_memory(adapter, tensor):
    """The values in the order of memory, which is what a kernel that ignores strides reads."""
    order = sorted(range(tensor.ndim), key=lambda axis: -tensor.stride()[axis])
    return tensor.permute(*order).reshape(-1)


def test_an_input_read_in_memory_order_disagrees(adapter):
    outcome = layout_does_not_matter(subject(adapter, lambda x: flat_memory(adapter, x) * 1.0, X))
    assert outcome.verdict == "disagree"
    assert outcome.finding.code == "GC301"
    assert "x0 transposed" in outcome.finding.detail


def test_two_inputs_walked_in_memory_order_disagree(adapter):
    walked = lambda x, y: flat_memory(adapter, x) * flat_memory(adapter, y)  # noqa: E731
    outcome = layout_does_not_matter(subject(adapter, walked, X, X + 1.0))
    assert outcome.verdict == "disagree"


def test_a_transposed_cotangent_read_in_memory_order_disagrees(adapter):
    wrong = function(adapter, lambda x: x * 2.0, lambda g, x: flat_memory(adapter, g).reshape(2, 3) * 2.0)
    outcome = layout_does_not_matter(subject(adapter, wrong, X))
    assert outcome.verdict == "disagree"
    assert outcome.finding.detail.startswith("with a transposed cotangent, the gradient")


def test_an_expanded_cotangent_taken_for_zero_disagrees(adapter):
    def backward(g, x):
        return g * 2.0 if any(g.stride()) else g * 0.0

    outcome = layout_does_not_matter(subject(adapter, function(adapter, lambda x: x * 2.0, backward), X))
    assert outcome.verdict == "disagree"
    assert "an expanded cotangent" in outcome.finding.detail


def test_a_backward_that_raises_for_a_layout_disagrees(adapter):
    def backward(g, x):
        if not g.is_contiguous():
            raise RuntimeError("contiguous only")
        return g * 2.0

    outcome = layout_does_not_matter(subject(adapter, function(adapter, lambda x: x * 2.0, backward), X))
    assert outcome.verdict == "disagree"
    assert "raised RuntimeError: contiguous only" in outcome.finding.detail


def test_a_forward_that_refuses_a_layout_aloud_agrees(adapter):
    def forward(x):
        if not x.is_contiguous():
            raise RuntimeError("contiguous only")
        return x * 2.0

    assert layout_does_not_matter(subject(adapter, forward, X)).verdict == "agree"


def test_a_result_that_is_not_finite_is_inconclusive(adapter):
    outcome = layout_does_not_matter(subject(adapter, lambda x: x * float("nan"), X))
    assert (outcome.verdict, outcome.reason) == ("inconclusive", "not finite")


def test_an_empty_result_is_vacuous(adapter):
    assert layout_does_not_matter(subject(adapter, lambda x: x * 2.0, np.zeros((0, 3)))).vacuous


def test_layouts_keep_the_values_and_differ_in_strides():
    made = dict(layouts(np.ones((2, 3))))
    assert list(made) == ["transposed", "strided with gaps", "expanded along axis 0", "expanded along axis 1"]
    assert all(np.array_equal(array, np.ones((2, 3))) for array in made.values())
    assert len({array.strides for array in made.values()}) == 4


def test_values_that_differ_along_an_axis_are_not_expanded():
    assert "expanded along axis 1" not in dict(layouts(X))


def test_transposed_and_gapped_arrays_have_the_strides_they_are_named_for():
    assert transposed(X).strides == (8, 16)
    assert gapped(X).strides == (56, 16)
    assert gapped(np.array(3.0)).shape == ()
