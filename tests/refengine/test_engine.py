"""How gradients flow: accumulation, several outputs, freed graphs, deep graphs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.refengine.values import leaf


def test_backward_of_a_chain_is_the_product_of_derivatives(lib: Any) -> None:
    x = leaf(lib, 0.5, 2.0)
    (x * 3).sin().sum().backward()
    assert lib.allclose(x.grad, 3 * (x.detach() * 3).cos())


def test_backward_accumulates_into_grad(lib: Any) -> None:
    x = leaf(lib, 1.0, 2.0)
    for _ in range(2):
        (x * x).sum().backward()
    assert x.grad.tolist() == [4.0, 8.0]


def test_accumulation_keeps_the_grad_tensor(lib: Any) -> None:
    x = leaf(lib, 1.0)
    (x * 2).sum().backward()
    first = x.grad
    (x * 2).sum().backward()
    assert x.grad is first
    assert first.tolist() == [4.0]


def test_leaves_do_not_share_their_grads(lib: Any) -> None:
    x, y = leaf(lib, 1.0), leaf(lib, 2.0)
    (x + y).sum().backward()
    x.grad.zero_()
    assert y.grad.tolist() == [1.0]


def test_a_value_used_twice_gets_the_sum(lib: Any) -> None:
    x = leaf(lib, 3.0)
    y = x * 2
    (y * y + y).sum().backward()
    assert x.grad.tolist() == [26.0]


def test_broadcasting_is_summed_away(lib: Any) -> None:
    x, y = leaf(lib, 1.0, 2.0), lib.ones(3, 1, dtype=lib.float64, requires_grad=True)
    (x * y).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    assert y.grad.tolist() == [[3.0], [3.0], [3.0]]


def test_backward_without_gradient_needs_a_scalar(lib: Any) -> None:
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
        (leaf(lib, 1.0, 2.0) * 2).backward()


def test_the_error_explains_the_vector() -> None:
    import refengine

    explained = r"vector-Jacobian product.*shape \(2,\).*gradient="
    with pytest.raises(refengine.errors.NonScalarBackwardError, match=explained):
        (leaf(refengine, 1.0, 2.0) * 2).backward()


def test_backward_takes_the_vector_of_the_product(lib: Any) -> None:
    x = leaf(lib, 1.0, 2.0)
    (x * x).backward(lib.tensor([1.0, -0.5], dtype=lib.float64))
    assert x.grad.tolist() == [2.0, -2.0]


def test_a_gradient_of_another_shape_raises(lib: Any) -> None:
    with pytest.raises(RuntimeError, match="shape|size"):
        (leaf(lib, 1.0, 2.0) * 2).backward(lib.ones(3, dtype=lib.float64))


def test_a_second_backward_raises(lib: Any) -> None:
    y = leaf(lib, 1.0).exp().sum()
    y.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward()


def test_retain_graph_allows_a_second_backward(lib: Any) -> None:
    x = leaf(lib, 0.0)
    y = x.exp().sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [2.0]


def test_backward_of_a_leaf_is_the_vector_itself(lib: Any) -> None:
    x = lib.tensor(2.0, requires_grad=True)
    x.backward()
    assert x.grad.item() == 1.0


def test_backward_needs_a_graph(lib: Any) -> None:
    with pytest.raises(RuntimeError, match="does not require grad"):
        lib.ones(1).sum().backward()


def test_inputs_restrict_accumulation(lib: Any) -> None:
    x, y = leaf(lib, 1.0), leaf(lib, 2.0)
    (x * y).sum().backward(inputs=[x])
    assert x.grad.tolist() == [2.0]
    assert y.grad is None


def test_grad_leaves_every_grad_alone(lib: Any) -> None:
    x = leaf(lib, 3.0)
    (g,) = lib.autograd.grad((x * x).sum(), x)
    assert g.tolist() == [6.0]
    assert x.grad is None


def test_grad_of_an_intermediate(lib: Any) -> None:
    x = leaf(lib, 3.0)
    y = x * 2
    gy, gx = lib.autograd.grad((y * y).sum(), [y, x])
    assert (gy.tolist(), gx.tolist()) == ([12.0], [24.0])


def test_grad_of_several_outputs_adds_up(lib: Any) -> None:
    x = leaf(lib, 3.0)
    (g,) = lib.autograd.grad([x * 2, x * x], x, [lib.ones(1, dtype=lib.float64)] * 2)
    assert g.tolist() == [8.0]


def test_an_unused_input_raises_unless_allowed(lib: Any) -> None:
    x, y = leaf(lib, 1.0), leaf(lib, 1.0)
    with pytest.raises(RuntimeError, match="not have been used in the graph"):
        lib.autograd.grad((x * 2).sum(), [y])
    assert lib.autograd.grad((x * 2).sum(), [x, y], allow_unused=True)[1] is None


def test_materialize_grads_gives_zeros(lib: Any) -> None:
    x, y = leaf(lib, 1.0), leaf(lib, 1.0, 2.0)
    assert lib.autograd.grad((x * 2).sum(), [y], materialize_grads=True)[0].tolist() == [0.0, 0.0]


def test_grad_skips_branches_that_do_not_lead_to_an_input(lib: Any) -> None:
    x, y = leaf(lib, 1.0), leaf(lib, 2.0)
    stale = y.exp()
    out = (x * 2 + stale).sum()
    stale.add_(1)
    assert lib.autograd.grad(out, x)[0].tolist() == [2.0]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_derivatives_of_any_order(lib: Any, order: int) -> None:
    x = leaf(lib, 0.3, -1.2)
    y = (x * 2).sin()
    for _ in range(order):
        (y,) = lib.autograd.grad(y.sum(), x, create_graph=True)
    expected = [lib.sin, lib.cos][order % 2](x.detach() * 2) * (2**order) * (1, 1, -1, -1, 1)[order]
    assert lib.allclose(y, expected)


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True")
def test_create_graph_lets_grad_be_differentiated(lib: Any) -> None:
    x = leaf(lib, 2.0)
    (x**3).sum().backward(create_graph=True)
    assert x.grad.requires_grad
    (g,) = lib.autograd.grad(x.grad.sum(), x)
    assert g.tolist() == [12.0]
    x.grad = None


def test_gradients_of_mixed_dtypes_have_their_inputs_dtype(lib: Any) -> None:
    x = lib.tensor([1.0], dtype=lib.float32, requires_grad=True)
    y = lib.tensor([2.0], dtype=lib.float64, requires_grad=True)
    (x * y).sum().backward()
    assert (x.grad.dtype, y.grad.dtype) == (lib.float32, lib.float64)


def test_complex_gradients_follow_the_conjugate_convention(lib: Any) -> None:
    z = lib.tensor([1 + 2j, 3 - 1j], dtype=lib.complex128, requires_grad=True)
    ((z * z).exp() / (z + 2)).abs().sum().backward()
    torch = pytest.importorskip("torch")
    w = torch.tensor([1 + 2j, 3 - 1j], dtype=torch.complex128, requires_grad=True)
    ((w * w).exp() / (w + 2)).abs().sum().backward()
    assert torch.allclose(torch.tensor(z.grad.tolist(), dtype=torch.complex128), w.grad)


def test_a_graph_of_a_hundred_thousand_nodes_runs_and_is_freed_without_recursion() -> None:
    import refengine

    x = leaf(refengine, 1.0)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    y.sum().backward()
    del y
    assert x.grad.tolist() == [1.0]


def test_grad_mode_is_restored_when_backward_raises(lib: Any) -> None:
    y = leaf(lib, 1.0).exp()
    out = y.sum()
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an in-?place operation"):
        out.backward()
    assert lib.is_grad_enabled()
