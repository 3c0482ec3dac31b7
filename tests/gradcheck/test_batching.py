"""``vmap_equals_a_loop`` passes right batching rules, fails wrong ones, and leaves refusals alone."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gradcheck.checks.batching import VMAP_EQUALS_A_LOOP, vmap_equals_a_loop  # noqa: E402
from gradcheck.engines.base import Capability  # noqa: E402
from gradcheck.engines.registry import engine  # noqa: E402
from gradcheck.failures import Unsupported  # noqa: E402
from tests.gradcheck.adapters import subject  # noqa: E402
from tests.planted.torch_functions import Rows, RowsBatchedAlongTheFirstAxis, RowsBatchedWithOneVector, Sine  # noqa: E402

X = np.array([[0.0, 1.25, -2.0], [3.0, 0.0, 0.5]])
W = np.array([0.5, -1.0, 2.0])


def of(function, *inputs):
    return vmap_equals_a_loop(subject(engine("torch"), function, *inputs))


@pytest.mark.parametrize(
    "function",
    [Rows.apply, lambda x, w: (x @ w).exp(), lambda x, w: (x * w, w.sin())],
    ids=["rule", "ops", "two outputs"],
)
def test_a_right_function_agrees(function):
    outcome = of(function, X, W)
    assert (outcome.verdict, outcome.vacuous) == ("agree", False), outcome.finding


def test_a_rule_that_ignores_where_the_examples_lie_disagrees():
    outcome = of(RowsBatchedAlongTheFirstAxis.apply, np.eye(3) + 1.0, W)
    assert outcome.verdict == "disagree"
    assert outcome.finding.code == "GC105"
    assert "along axis -1" in outcome.finding.detail


def test_a_rule_that_takes_one_weight_for_all_disagrees():
    finding = of(RowsBatchedWithOneVector.apply, X, W).finding
    assert "is not that of a loop over 3 examples" in finding.detail


def test_a_function_without_a_rule_is_unsupported():
    with pytest.raises(Unsupported, match="vmap"):
        of(Sine.apply, X)


def test_a_function_that_looks_at_values_is_unsupported():
    with pytest.raises(Unsupported, match="vmap raises RuntimeError"):
        of(lambda x: x * x if float(x.detach().sum()) > 0 else x, X)


def test_a_function_that_draws_numbers_is_unsupported():
    with pytest.raises(Unsupported, match="vmap raises RuntimeError"):
        of(lambda x: x * torch.rand_like(x), X)


def test_nan_is_inconclusive():
    assert of(lambda x: x * float("nan"), X).reason == "not finite"


def test_only_an_engine_with_vmap_is_asked():
    assert Capability.VMAP in engine("torch").capabilities
    assert Capability.VMAP not in engine("refengine").capabilities
    with pytest.raises(Unsupported, match="refengine has no vmap"):
        engine("refengine").vmap(lambda x: x, [], [])


def test_drawn_programs_are_not_asked():
    assert not VMAP_EQUALS_A_LOOP.on_programs
