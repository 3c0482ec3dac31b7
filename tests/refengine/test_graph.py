"""Nodes, edges, hooks and retained gradients."""

from __future__ import annotations

from typing import Any

import pytest

from tests.refengine.values import leaf


def test_grad_fn_prints_its_operation(lib: Any) -> None:
    assert repr((leaf(lib, 1.0) * 2).grad_fn).startswith("<MulBackward0 object at 0x")


def test_next_functions_lead_down_to_the_leaf(lib: Any) -> None:
    x = leaf(lib, 1.0)
    ((exp, number),) = (x * 2).exp().sum().grad_fn.next_functions
    assert (exp.name(), number) == ("ExpBackward0", 0)
    mul = exp.next_functions[0][0]
    assert mul.name() == "MulBackward0"
    assert mul.next_functions[0][0].variable is x
    assert mul.next_functions[0][0].next_functions == ()


def test_an_input_without_gradient_has_no_next_function(lib: Any) -> None:
    assert (leaf(lib, 1.0) * lib.ones(1, dtype=lib.float64)).grad_fn.next_functions[1] == (None, 0)


def test_a_leaf_has_no_grad_fn(lib: Any) -> None:
    x = leaf(lib, 1.0)
    assert x.grad_fn is None
    assert x.is_leaf
    assert not (x * 2).is_leaf


def test_results_of_untracked_inputs_are_leaves(lib: Any) -> None:
    assert (lib.ones(2) * 2).is_leaf


def test_requires_grad_of_a_non_leaf_cannot_be_cleared(lib: Any) -> None:
    with pytest.raises(RuntimeError, match="leaf"):
        (leaf(lib, 1.0) * 2).requires_grad = False


def test_integer_tensors_cannot_require_grad(lib: Any) -> None:
    with pytest.raises(RuntimeError, match="floating"):
        lib.tensor([1], requires_grad=True)


def test_retain_grad_keeps_an_intermediate_gradient(lib: Any) -> None:
    a = lib.ones(2, requires_grad=True)
    b = a * 2
    b.retain_grad()
    b.norm().backward()
    assert b.retains_grad
    assert lib.allclose(b.grad, lib.tensor([0.5, 0.5]).sqrt())


def test_retain_grad_sees_the_gradient_after_the_hooks(lib: Any) -> None:
    x = leaf(lib, 1.0)
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: g * 10)
    y.sum().backward()
    assert (y.grad.tolist(), x.grad.tolist()) == ([10.0], [20.0])


def test_retain_grad_on_a_leaf_does_nothing(lib: Any) -> None:
    x = leaf(lib, 1.0)
    x.retain_grad()
    assert not x.retains_grad


def test_retain_grad_follows_an_in_place_operation(lib: Any) -> None:
    x = leaf(lib, 1.0)
    y = x * 2
    y.retain_grad()
    y.mul_(3)
    y.sum().backward()
    assert (y.grad.tolist(), x.grad.tolist()) == ([1.0], [6.0])


def test_retain_grad_needs_a_tracked_tensor(lib: Any) -> None:
    with pytest.raises(RuntimeError, match="retain"):
        lib.ones(1).retain_grad()


def test_hooks_run_in_order_and_may_replace(lib: Any) -> None:
    seen: list[Any] = []
    x = leaf(lib, 1.0)
    y = x * 2
    y.register_hook(lambda g: seen.append(("first", g.item())))
    y.register_hook(lambda g: g * 5)
    y.register_hook(lambda g: seen.append(("third", g.item())))
    y.sum().backward()
    assert seen == [("first", 1.0), ("third", 5.0)]
    assert x.grad.tolist() == [10.0]


def test_a_hook_runs_once_with_the_sum(lib: Any) -> None:
    seen: list[float] = []
    x = leaf(lib, 3.0)
    y = x * 1
    y.register_hook(lambda g: seen.append(g.item()))
    (y * y + y).sum().backward()
    assert seen == [7.0]


def test_a_leaf_hook_runs_once_with_the_sum(lib: Any) -> None:
    seen: list[float] = []
    x = leaf(lib, 3.0)
    x.register_hook(lambda g: seen.append(g.item()))
    (x * x + x).sum().backward()
    assert seen == [7.0]


def test_a_leaf_hook_may_replace_its_gradient(lib: Any) -> None:
    x = leaf(lib, 3.0)
    x.register_hook(lambda g: -g)
    (x * 2).sum().backward()
    assert x.grad.tolist() == [-2.0]
    assert lib.autograd.grad((x * 2).sum(), x)[0].tolist() == [-2.0]


def test_a_removed_hook_does_not_run(lib: Any) -> None:
    seen: list[Any] = []
    x = leaf(lib, 1.0)
    y = x * 2
    handle = y.register_hook(seen.append)
    handle.remove()
    handle.remove()
    y.sum().backward()
    assert seen == []


def test_a_handle_is_a_context_manager(lib: Any) -> None:
    seen: list[Any] = []
    x = leaf(lib, 1.0)
    with x.register_hook(seen.append):
        (x * 2).sum().backward()
    (x * 2).sum().backward()
    assert len(seen) == 1


def test_a_hook_needs_a_tracked_tensor(lib: Any) -> None:
    with pytest.raises(RuntimeError, match="hook"):
        lib.ones(1).register_hook(print)


def test_post_accumulate_hooks_see_the_accumulated_grad(lib: Any) -> None:
    seen: list[Any] = []
    x = leaf(lib, 2.0)
    x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.tolist()))
    (x * x).sum().backward()
    (x * x).sum().backward()
    assert seen == [[4.0], [8.0]]


def test_node_hooks_see_and_replace_gradients(lib: Any) -> None:
    x = leaf(lib, 2.0)
    y = x * 3
    seen: list[Any] = []
    y.grad_fn.register_prehook(lambda grads: (grads[0] * 2,))

    def hook(inputs: Any, outputs: Any) -> Any:
        seen.append((inputs[0].item(), outputs[0].item()))
        return (inputs[0] * 10, *inputs[1:])

    y.grad_fn.register_hook(hook)
    y.sum().backward()
    assert seen == [(6.0, 2.0)]
    assert x.grad.tolist() == [60.0]


def test_hooks_on_the_captured_gradient_count(lib: Any) -> None:
    x = leaf(lib, 2.0)
    y = x * 3
    y.register_hook(lambda g: g + 1)
    assert lib.autograd.grad((y * y).sum(), y)[0].tolist() == [13.0]


def test_output_numbers_of_a_function_with_two_outputs(lib: Any) -> None:
    class Two(lib.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2, x * 3

        @staticmethod
        def backward(ctx: Any, g: Any, h: Any) -> Any:
            return g * 2 + h * 3

    a, b = Two.apply(leaf(lib, 1.0))
    assert (a.output_nr, b.output_nr) == (0, 1)
    assert a.grad_fn is b.grad_fn
