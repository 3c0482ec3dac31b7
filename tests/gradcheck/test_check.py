"""``check``, ``assert_check`` and ``check_module``: what they take, what they leave alone, how they report."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest

import gradcheck
from tests.gradcheck.adapters import adapter_fixture, function

__all__ = ["adapter_fixture"]

POINT = [[0.0, 1.0, -2.0], [3.0, 0.5, 0.0]]


def tensor(adapter, values=POINT, **more):
    return adapter.library.tensor(values, **more)


def halved(adapter):
    """Squares, with a gradient that lacks its factor two."""
    return function(adapter, lambda x: x * x, lambda g, x: g * x)


def squared(adapter):
    return function(adapter, lambda x: x * x, lambda g, x: 2.0 * g * x)


def test_a_right_function_agrees(adapter):
    report = gradcheck.check(squared(adapter), tensor(adapter))
    assert report.ok
    assert (report.verdict, report.failures, report.inconclusive) == ("agree", (), ())
    assert report.engine == f"{adapter.name}-cpu"
    assert "agree" in str(report)


def test_a_wrong_function_disagrees_and_the_report_says_where(adapter):
    report = gradcheck.check(halved(adapter), tensor(adapter))
    assert not report.ok
    (failure,) = report.failures
    assert failure.code == "GC101"
    assert failure.where.endswith("in Made.backward")
    assert "adapters.py:" in failure.where
    assert failure.entry is not None
    assert failure.analytic == pytest.approx(failure.numeric / 2)
    text = str(report)
    assert len(text.splitlines()) <= 25
    for part in (failure.sentence, failure.where, "x0, shape (1, 1), float64", "Made.apply(x0)", "±"):
        assert part in text
    assert "gradcheck.check(Made.apply, x0, claims=['GC101'], seed=0)" in text


def test_the_backward_behind_a_wrapper_is_found(adapter):
    apply = halved(adapter)
    report = gradcheck.check(lambda x: apply(x) * 3.0, tensor(adapter))
    assert "Made.backward" in report.failures[0].where


def test_assert_check_returns_the_report_or_raises_with_it(adapter):
    assert gradcheck.assert_check(squared(adapter), tensor(adapter)).ok
    with pytest.raises(gradcheck.GradcheckFailure, match="GC101") as caught:
        gradcheck.assert_check(halved(adapter), tensor(adapter))
    assert caught.value.report.verdict == "disagree"
    assert isinstance(caught.value, AssertionError)


def test_assert_check_raises_where_nothing_was_tested(adapter):
    with pytest.raises(gradcheck.GradcheckFailure, match="zero everywhere"):
        gradcheck.assert_check(lambda x: x * 0.0, tensor(adapter))


def test_relu_at_exact_zeros_raises_no_alarm(adapter):
    assert gradcheck.check(lambda x: x.relu(), tensor(adapter)).verdict != "disagree"


def test_float32_tensors_are_checked_in_float64_and_left_alone(adapter):
    x = tensor(adapter)
    seen = []

    def watched(y):
        seen.append(adapter.array(y).dtype)
        return y * y

    before = adapter.array(x)
    gradcheck.check(watched, x, claims=["GC101", "GC103", "GC104"])
    assert set(seen) == {np.dtype(np.float64)}
    assert np.array_equal(adapter.array(x), before)
    assert adapter.array(x).dtype == np.float32
    assert adapter.version(x) == 0
    assert not x.requires_grad


def test_inputs_that_require_grad_are_the_ones_differentiated(adapter):
    wrong_for_y = function(adapter, lambda x, y: x * y, lambda g, x, y: (g * y, g * y))
    x, y = tensor(adapter, requires_grad=True), tensor(adapter) * 2.0 + 1.0
    assert gradcheck.check(wrong_for_y, x, y).ok
    assert not gradcheck.check(wrong_for_y, x.detach(), y).ok
    assert not gradcheck.check(wrong_for_y, x.detach(), y.detach().requires_grad_()).ok


def test_integer_tensors_and_other_arguments_are_passed_through(adapter):
    index = tensor(adapter, [1, 0, 1])
    seen = []

    def gather(x, i, power, name):
        seen.append((type(power), name))
        return x[i] ** power

    assert gradcheck.check(gather, tensor(adapter, [0.5, 2.0]), index, 2, "rows").ok
    assert set(seen) == {(int, "rows")}


def test_tensors_inside_lists_and_dicts_are_found(adapter):
    report = gradcheck.check(
        lambda pair, named: pair[0] * pair[1] + named["z"],
        [tensor(adapter, [1.0, 2.0]), tensor(adapter, [0.0, 3.0])],
        {"z": tensor(adapter, [0.5, 0.5])},
    )
    assert report.ok
    assert report.call == "<lambda>([x0, x1], {'z': x2})"


def test_results_in_lists_and_dicts_are_checked_and_integers_left_out(adapter):
    wrong = halved(adapter)
    assert gradcheck.check(lambda x: {"a": [x * 2.0], "n": tensor(adapter, [1, 2])}, tensor(adapter)).ok
    assert not gradcheck.check(lambda x: {"a": [x * 2.0], "b": wrong(x)}, tensor(adapter)).ok


def test_grad_of_the_callers_tensor_stays(adapter):
    x = tensor(adapter, requires_grad=True)
    gradcheck.check(lambda y: y * y, x)
    assert x.grad is None


def test_grad_mode_and_every_random_state_stay(adapter):
    library = adapter.library
    states = library.get_rng_state(), random.getstate(), np.random.get_state()
    with library.no_grad():
        assert gradcheck.check(lambda x: x * float(np.random.rand()) * random.random(), tensor(adapter)).ok
        assert not library.is_grad_enabled()
    assert np.array_equal(np.asarray(states[0]), np.asarray(library.get_rng_state()))
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2][1])


def test_a_function_that_draws_sees_the_same_numbers_each_time(adapter):
    dropout = adapter.library.nn.functional.dropout
    assert gradcheck.check(lambda x: dropout(x * x, 0.5, True), tensor(adapter), seed=3).ok


def test_the_same_seed_gives_the_same_report(adapter):
    reports = [str(gradcheck.check(halved(adapter), tensor(adapter), seed=5)) for _ in range(2)]
    assert reports[0] == reports[1]


def test_a_function_without_forward_mode_is_unsupported_there(adapter):
    report = gradcheck.check(squared(adapter), tensor(adapter))
    assert any(entry.startswith("GC102 jvp_agrees_with_vjp") for entry in report.unsupported)


def test_a_silently_wrong_second_derivative_is_a_warning_unless_asked_for(adapter):
    def backward(g, x):
        return g * adapter.tensor(adapter.array(x) * 2.0)

    through_numpy = function(adapter, lambda x: x * x, backward)
    report = gradcheck.check(through_numpy, tensor(adapter))
    assert report.ok
    assert any("GC104" in entry for entry in report.warnings)
    assert gradcheck.check(through_numpy, tensor(adapter), claims="second_order_matches_numeric").verdict == "disagree"


def test_only_the_claims_asked_for_are_checked(adapter):
    report = gradcheck.check(squared(adapter), tensor(adapter), claims=["GC101", "gradients_accumulate"])
    assert list(report.outcomes) == ["vjp_matches_numeric", "gradients_accumulate"]


def test_the_engine_may_be_named(adapter):
    assert gradcheck.check(lambda x: x * x, tensor(adapter), engine=adapter.name).ok
    assert gradcheck.check(lambda x: x * x, tensor(adapter), engine=adapter).ok


def test_layouts_of_the_inputs_are_kept(adapter):
    strides = []

    def watched(x):
        strides.append(x.stride())
        return x * x

    gradcheck.check(watched, tensor(adapter).transpose(0, 1), claims="GC101")
    assert strides[0] == (1, 3)


def test_an_exception_of_the_function_reaches_the_caller_with_a_note(adapter):
    def broken(x):
        raise KeyError("missing")

    with pytest.raises(KeyError) as caught:
        gradcheck.check(broken, tensor(adapter))
    assert "float64 copies" in caught.value.__notes__[0]


def test_a_backward_that_raises_is_a_disagreement(adapter):
    def backward(g, x):
        raise ValueError("no rule here")

    report = gradcheck.check(function(adapter, lambda x: x * x, backward), tensor(adapter))
    assert report.verdict == "disagree"
    assert "ValueError: no rule here" in str(report)


@pytest.mark.parametrize("inputs", [(), (1.0, 2.0), (np.ones(2),)], ids=["none", "floats", "array"])
def test_no_tensor_is_a_usage_error(inputs):
    with pytest.raises(gradcheck.UsageError, match="at least one tensor of a registered engine"):
        gradcheck.check(lambda *x: x, *inputs)


def test_no_floating_tensor_is_a_usage_error_with_a_remedy(adapter):
    with pytest.raises(gradcheck.UsageError, match="got int64; convert one"):
        gradcheck.check(lambda x: x, tensor(adapter, [1, 2]))


def test_a_result_without_tensors_is_a_usage_error(adapter):
    with pytest.raises(gradcheck.UsageError, match="as result, got int"):
        gradcheck.check(lambda x: 3, tensor(adapter))
    with pytest.raises(gradcheck.UsageError, match="nothing to differentiate"):
        gradcheck.check(lambda x: tensor(adapter, [1, 2]), tensor(adapter))


def test_unknown_claims_and_engines_are_usage_errors_with_the_nearest_name(adapter):
    with pytest.raises(gradcheck.UsageError, match="did you mean vjp_matches_numeric"):
        gradcheck.check(lambda x: x, tensor(adapter), claims="vjp_matches_numerics")
    with pytest.raises(gradcheck.UsageError, match="did you mean torch"):
        gradcheck.check(lambda x: x, tensor(adapter), engine="torhc")
    with pytest.raises(gradcheck.UsageError, match="use check_module"):
        gradcheck.check(lambda x: x, tensor(adapter), claims="eval_is_deterministic")


def test_a_right_module_agrees_and_is_left_alone(adapter):
    parts = [("Linear", 3, 2), ("BatchNorm1d", 2), ("Dropout", 0.5)]
    module = adapter.module("Sequential", *(adapter.module(*part) for part in parts)).to(adapter.library.float32)
    buffers = {name: adapter.array(value) for name, value in adapter.buffers(module).items()}
    report = gradcheck.check_module(module, tensor(adapter))
    assert report.ok, report
    assert set(report.outcomes) >= {"eval_is_deterministic", "gradients_are_right_in_both_modes", "vjp_matches_numeric"}
    assert module.training
    assert all(np.array_equal(buffers[n], adapter.array(b)) for n, b in adapter.buffers(module).items())
    assert {str(p.dtype).split(".")[1] for p in adapter.parameters(module).values()} == {"float32"}


def test_a_module_that_drops_in_eval_mode_disagrees(adapter):
    class Always(adapter.library.nn.Module):
        def forward(self, x):
            return adapter.library.nn.functional.dropout(x, 0.5, True)

    report = gradcheck.check_module(Always(), tensor(adapter))
    assert [failure.code for failure in report.failures] == ["GC401"]
    assert "gradcheck.check_module(module, x0, claims=['GC401'], seed=0)" in str(report)


def test_importing_the_package_imports_no_engine_and_no_hypothesis():
    program = "import sys, gradcheck; print(sorted({'torch', 'refengine', 'hypothesis', 'pytest'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_complex_inputs_are_checked_as_pairs_of_real_ones():
    torch = pytest.importorskip("torch")
    point = torch.tensor([0.0, 1 + 2j, -0.5j])
    assert gradcheck.check(lambda z: z * z.conj() + z * z, point).ok

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return z * z

        @staticmethod
        def backward(ctx, g):
            (z,) = ctx.saved_tensors
            return 2 * g * z  # wrong: the conjugate is missing

    assert gradcheck.check(Square.apply, point).failures[0].code == "GC101"


def test_a_function_that_draws_by_memory_order_is_not_asked_about_layouts():
    torch = pytest.importorskip("torch")
    report = gradcheck.check(lambda x: torch.nn.functional.dropout(x, 0.5, True), torch.tensor(POINT), seed=3)
    assert report.ok
    assert any(entry.startswith("GC301") and "random numbers" in entry for entry in report.unsupported)
