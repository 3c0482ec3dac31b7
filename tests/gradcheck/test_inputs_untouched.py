"""``no_input_is_modified`` passes functions that only read, and fails each way of writing."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.checks.inplace import no_input_is_modified
from tests.gradcheck.adapters import adapter_fixture, function, library_functions, subject

__all__ = ["adapter_fixture"]

X = np.array([[0.0, 1.25, -2.0], [3.0, 0.0, 0.5]])
INDEX = np.array([[0, 1, 0], [1, 0, 0]])


def written(tensor, factor):
    """Change memory behind the version counter's back."""
    tensor.detach().numpy()[...] *= factor
    return tensor


@pytest.mark.parametrize("name", ["square", "sums", "softmax", "view", "two"])
def test_functions_that_only_read_agree(adapter, name):
    outcome = no_input_is_modified(subject(adapter, getattr(library_functions(adapter), name), X))
    assert outcome.verdict == "agree", outcome.finding


def test_an_input_with_nan_that_is_not_modified_agrees(adapter):
    assert no_input_is_modified(subject(adapter, lambda x: x * 2.0, X * np.nan)).verdict == "agree"


def test_writing_to_an_input_in_the_forward_pass_disagrees(adapter):
    wrong = function(adapter, lambda x: written(x, 2) * 1.0, lambda g, x: g * 2.0)
    outcome = no_input_is_modified(subject(adapter, wrong, X))
    assert outcome.verdict == "disagree"
    assert outcome.finding.code == "GC203"
    assert outcome.finding.detail == "the forward pass modified the values of x0"


def test_writing_to_a_constant_input_disagrees(adapter):
    outcome = no_input_is_modified(subject(adapter, lambda x, i: x * written(i, 3), X, INDEX))
    assert outcome.finding.detail == "the forward pass modified the values of x1"


def test_writing_to_an_input_in_the_backward_pass_disagrees(adapter):
    wrong = function(adapter, lambda x: x * 2.0, lambda g, x: g * 2.0 + 0.0 * written(x, 2))
    assert (
        no_input_is_modified(subject(adapter, wrong, X)).finding.detail == "the backward pass modified the values of x0"
    )


def test_scaling_the_cotangent_in_place_disagrees(adapter):
    wrong = function(adapter, lambda x: x * 2.0, lambda g, x: g.mul_(2.0))
    outcome = no_input_is_modified(subject(adapter, wrong, X))
    assert outcome.finding.detail == "the backward pass modified the values of the cotangent of output 0"


def test_an_in_place_step_that_changes_no_value_disagrees_by_the_version(adapter):
    outcome = no_input_is_modified(subject(adapter, lambda x: x * 2.0 + 0.0 * x.detach().mul_(1.0), X))
    assert outcome.finding.detail == "the forward pass modified x0 in place (same values, version 0 became 1)"
