"""What an adapter brings back after a user's Function was called again: buffers, modes, gradients, default dtype."""

from __future__ import annotations

import pytest

from tests.gradcheck.adapters import adapter_fixture

__all__ = ["adapter_fixture"]


def test_gradients_of_a_leaf_come_back(adapter):
    x = adapter.library.tensor([1.0, 2.0], requires_grad=True)
    (x * 3).sum().backward()
    keep = adapter.keeper(x)
    (x * 5).sum().backward()
    keep()
    assert x.grad.tolist() == [3.0, 3.0]


def test_a_gradient_that_was_not_there_goes(adapter):
    x = adapter.library.tensor([1.0, 2.0], requires_grad=True)
    keep = adapter.keeper(x)
    (x * 5).sum().backward()
    keep()
    assert x.grad is None


def test_buffers_and_modes_of_a_module_come_back_behind_the_version_counter(adapter):
    module = adapter.library.nn.BatchNorm1d(2)
    version = module.running_mean._version
    keep = adapter.keeper(module)
    module.eval()
    keep()
    assert module.training
    assert module.running_mean._version == version
    module(adapter.library.tensor([[1.0, 2.0], [3.0, 4.0]]))
    keep()
    assert module.running_mean.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("value", [3, "text", None])
def test_what_holds_no_state_has_no_keeper(adapter, value):
    assert adapter.keeper(value) is None


def test_the_values_of_a_tensor_come_back_where_it_was_written_to(adapter):
    x = adapter.library.tensor([1.0, 2.0])
    keep = adapter.keeper(x)
    x.mul_(3)
    version = x._version
    keep()
    assert x.tolist() == [1.0, 2.0]
    assert x._version == version


def test_the_default_dtype_is_set_inside_only(adapter):
    with adapter.default_dtype("float64"):
        assert adapter.library.tensor([1.0]).dtype == adapter.library.float64
    assert adapter.library.tensor([1.0]).dtype == adapter.library.float32


def test_a_function_is_applied_whatever_its_class_makes_of_apply(adapter):
    class Doubled(adapter.library.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

        @classmethod
        def apply(cls, *args):
            raise AssertionError("the user's own apply has another signature")

    assert adapter.applied(Doubled)(adapter.library.tensor([1.0])).tolist() == [2.0]
