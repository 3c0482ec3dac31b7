"""The claims about modes pass right modules and fail modules that draw, count or differentiate wrongly."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.checks.claim import Subject
from gradcheck.checks.modes import (
    eval_is_deterministic,
    eval_leaves_buffers_alone,
    gradients_are_right_in_both_modes,
    private,
    with_parameters,
)
from gradcheck.checks.module import module_subject
from tests.gradcheck.adapters import adapter_fixture, function

__all__ = ["adapter_fixture"]

X = np.array([[0.0, 1.25], [3.0, -0.5], [0.75, 2.0], [-1.0, 0.25]])
CLAIMS = pytest.mark.parametrize(
    "claim", [eval_is_deterministic, eval_leaves_buffers_alone, gradients_are_right_in_both_modes]
)


def about(adapter, module, *inputs):
    return Subject(adapter, module, inputs or (X,), (True,) * (len(inputs) or 1), "module(x0)", module=module)


def made(adapter, forward, **state):
    """A module with this `forward(module, x)` and these buffers."""

    class Made(adapter.library.nn.Module):
        def __init__(self):
            super().__init__()
            for name, values in state.items():
                self.register_buffer(name, adapter.tensor(values))

        def forward(self, x):
            return forward(self, x)

    return Made()


@CLAIMS
@pytest.mark.parametrize("data", [b"", b"\1\0\1", b"\2\1\2\1\0\1", b"\2\2\0\2\1\0\2\0\1", b"\1\0\3\2\2"], ids=bytes.hex)
def test_drawn_modules_agree(adapter, claim, data):
    outcome = claim(module_subject(adapter, data))
    assert outcome.verdict == "agree", outcome.finding


@CLAIMS
def test_a_whole_network_agrees(adapter, claim):
    layers = [("Linear", 2, 3), ("BatchNorm1d", 3), ("Dropout", 0.5), ("Linear", 3, 1)]
    module = adapter.module("Sequential", *(adapter.module(*layer) for layer in layers))
    assert claim(about(adapter, module)).verdict == "agree"


def test_drawing_is_reproducible_and_no_bytes_are_the_simplest_module(adapter):
    first, second = module_subject(adapter, b"\1\1\2\3\4"), module_subject(adapter, b"\1\1\2\3\4")
    assert first.label == second.label
    assert np.array_equal(first.inputs[0], second.inputs[0])
    for name, value in adapter.parameters(first.module).items():
        assert np.array_equal(adapter.array(value), adapter.array(adapter.parameters(second.module)[name]))
    assert module_subject(adapter, b"").label == "Linear(1, 1)(x0)"


def test_dropout_that_ignores_eval_disagrees(adapter):
    dropout = adapter.library.nn.functional.dropout
    outcome = eval_is_deterministic(about(adapter, made(adapter, lambda module, x: dropout(x, 0.5, True))))
    assert outcome.verdict == "disagree"
    assert outcome.finding.code == "GC401"
    assert "another random stream" in outcome.finding.detail


def counted(module, x):
    module.steps.add_(1.0)
    return x * module.steps


def rebound(module, x):
    module.steps = module.steps + 1.0
    return x * 2.0


def test_an_output_that_depends_on_earlier_calls_disagrees(adapter):
    outcome = eval_is_deterministic(about(adapter, made(adapter, counted, steps=np.zeros(()))))
    assert outcome.verdict == "disagree"
    assert "a second call" in outcome.finding.detail


@pytest.mark.parametrize("forward", [counted, rebound])
def test_a_buffer_that_changes_in_eval_mode_disagrees(adapter, forward):
    outcome = eval_leaves_buffers_alone(about(adapter, made(adapter, forward, steps=np.zeros(()))))
    assert outcome.verdict == "disagree"
    assert outcome.finding.code == "GC402"
    assert "'steps'" in outcome.finding.detail


def test_a_module_without_buffers_is_vacuous(adapter):
    assert eval_leaves_buffers_alone(about(adapter, adapter.module("Linear", 2, 1))).vacuous


@pytest.mark.parametrize(("mode", "wrong_in_training"), [("train", True), ("eval", False)])
def test_a_gradient_that_is_wrong_in_one_mode_disagrees(adapter, mode, wrong_in_training):
    right = function(adapter, lambda x: x * 2.0, lambda g, x: g * 2.0)
    wrong = function(adapter, lambda x: x * 2.0, lambda g, x: g * 3.0)
    module = made(adapter, lambda module, x: (wrong if module.training is wrong_in_training else right)(x))
    outcome = gradients_are_right_in_both_modes(about(adapter, module))
    assert outcome.verdict == "disagree"
    assert outcome.finding.code == "GC403"
    assert outcome.finding.detail.startswith(f"in {mode} mode")


def test_a_parameter_with_a_wrong_gradient_disagrees(adapter):
    scaled = function(adapter, lambda x, w: x * w, lambda g, x, w: (g * w, g * w))

    class Scale(adapter.library.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = adapter.library.nn.Parameter(adapter.tensor(np.array([1.5, -0.5])))

        def forward(self, x):
            return scaled(x, self.weight + 0.0 * x)

    outcome = gradients_are_right_in_both_modes(about(adapter, Scale()))
    assert outcome.verdict == "disagree"
    assert outcome.finding.argument.startswith("x1")


@CLAIMS
def test_mode_buffers_and_random_state_stay_as_they_were(adapter, claim):
    module = adapter.module("Sequential", adapter.module("BatchNorm1d", 2), adapter.module("Dropout", 0.5)).eval()
    before = {name: adapter.array(value) for name, value in adapter.buffers(module).items()}
    state = adapter.library.get_rng_state()
    claim(about(adapter, module))
    assert not module.training
    assert all(np.array_equal(before[name], adapter.array(value)) for name, value in adapter.buffers(module).items())
    assert np.array_equal(np.asarray(state), np.asarray(adapter.library.get_rng_state()))


def test_each_evaluation_in_train_mode_starts_from_the_same_state(adapter):
    module = made(adapter, counted, steps=np.ones(()))
    subject = about(adapter, module)
    with private(subject, training=True) as put, adapter.sandbox(0):
        whole = with_parameters(subject, put, True)
        values = [adapter.array(whole.function(adapter.tensor(X))) for _ in range(3)]
    assert all(np.array_equal(values[0], other) for other in values)
