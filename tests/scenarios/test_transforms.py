"""PyTorch's own ways of calling a Function go on working: compile, vmap, grad, checkpoint, second order."""

from __future__ import annotations

import pytest

from tests.scenarios.material import CUBE, HALF_SQUARE, NEW_CUBE, NUMPY_CUBE, call, wrong
from tests.scenarios.stranger import Stranger

torch = pytest.importorskip("torch")

X = "torch.tensor([0.5, -1.5, 2.0], dtype=torch.float64, requires_grad=True)"


def test_a_compiled_function_goes_on_working(stranger: Stranger) -> None:
    stranger.package(CUBE)
    stranger.tests(
        f"""
        def test_compiled():
            torch._dynamo.reset()
            f = torch.compile(lambda x: ops.Cube.apply(x) * 2, fullgraph=True, backend="eager")
            x = {X}
            y = f(x)
            y.sum().backward()
            assert torch.equal(y, 2 * x**3)
            assert torch.allclose(x.grad, 6 * x**2)
        """
    )
    seen = stranger.run()
    assert seen.outcomes == {"passed": 1}
    assert "pkg.ops:Cube" in seen.rows


def test_a_wrong_function_that_is_called_compiled_and_plainly_is_found(stranger: Stranger) -> None:
    stranger.package(HALF_SQUARE)
    stranger.tests(
        f"""
        def test_compiled():
            torch._dynamo.reset()
            torch.compile(ops.Square.apply, fullgraph=True, backend="eager")({X})
        """,
        call("Square"),
    )
    seen = stranger.run()
    assert seen.failed in (["test_compiled"], ["test_square"])


def test_transforms_go_on_working_and_are_noted(stranger: Stranger) -> None:
    stranger.package(NEW_CUBE)
    stranger.tests(
        f"""
        def test_vmap():
            x = {X}.detach()
            assert torch.equal(torch.vmap(ops.NewCube.apply)(x), x**3)

        def test_grad():
            x = {X}.detach()
            assert torch.allclose(torch.func.grad(lambda x: ops.NewCube.apply(x).sum())(x), 3 * x**2)
            both = torch.vmap(torch.func.grad(ops.NewCube.apply))(x)
            assert torch.allclose(both, 3 * x**2)
        """
    )
    seen = stranger.run("-W", "ignore")
    assert seen.outcomes == {"passed": 2}
    assert seen.says("under a function transform")


def test_a_plain_call_after_a_transform_is_checked(stranger: Stranger) -> None:
    stranger.package(wrong(NEW_CUBE, "g * 3", "g * 2"))
    stranger.tests(f"def test_vmap(): torch.vmap(ops.NewCube.apply)({X})", call("NewCube"))
    assert stranger.run().failed == ["test_newcube"]


@pytest.mark.parametrize("reentrant", [True, False], ids=["reentrant", "not reentrant"])
def test_a_checkpoint_goes_on_working_and_what_is_in_it_is_checked(stranger: Stranger, reentrant: bool) -> None:
    stranger.package(CUBE, HALF_SQUARE)
    stranger.tests(
        "from torch.utils.checkpoint import checkpoint",
        f"""
        def test_cube():
            x = {X}
            checkpoint(ops.Cube.apply, x, use_reentrant={reentrant}).sum().backward()
            assert torch.allclose(x.grad, 3 * x**2)

        def test_square():
            checkpoint(ops.Square.apply, {X}, use_reentrant={reentrant}).sum().backward()
        """,
    )
    seen = stranger.run()
    assert seen.failed == ["test_square"]
    assert seen.rows == {"pkg.ops:Square": "disagreed", "pkg.ops:Cube": "agreed"}


def test_a_call_without_grad_and_in_inference_mode_is_checked(stranger: Stranger) -> None:
    stranger.package(HALF_SQUARE)
    stranger.tests(f"def test_square():\n    with torch.inference_mode(): ops.Square.apply({X})")
    assert stranger.run().failed == ["test_square"]


# Second order ------------------------------------------------------------------------------------------------------


def test_a_wrong_second_derivative_that_nobody_uses_is_a_warning(stranger: Stranger) -> None:
    stranger.package(NUMPY_CUBE)
    stranger.tests(call("NumpyCube", X))
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 1}, 0)
    assert seen.rows == {"pkg.ops:NumpyCube": "agreed"}
    assert "GC104" in seen.text
    assert "once_differentiable" in seen.text


def test_a_wrong_second_derivative_fails_the_test_that_uses_create_graph(stranger: Stranger) -> None:
    stranger.package(NUMPY_CUBE)
    stranger.tests(
        f"""
        def test_second():
            x = {X}
            (g,) = torch.autograd.grad(ops.NumpyCube.apply(x).sum(), x, create_graph=True)
            assert g.shape == x.shape
        """
    )
    seen = stranger.run()
    assert seen.failed == ["test_second"]
    assert "GC104" in "\n".join(seen.failure("test_second"))


def test_a_wrong_second_derivative_fails_the_test_whose_marker_names_the_claim(stranger: Stranger) -> None:
    stranger.package(NUMPY_CUBE)
    stranger.tests("@pytest.mark.gradcheck(claims=['GC104'])", call("NumpyCube", X))
    seen = stranger.run()
    assert seen.failed == ["test_numpycube"]
    assert "GC104" in "\n".join(seen.failure("test_numpycube"))


def test_a_function_that_refuses_second_order_is_fine(stranger: Stranger) -> None:
    plain = "    @staticmethod\n    def backward"
    once = "    @staticmethod\n    @torch.autograd.function.once_differentiable\n    def backward"
    decorated = wrong(NUMPY_CUBE, plain, once)
    stranger.package(decorated)
    stranger.tests(call("NumpyCube", X))
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 1}, 0)
    assert seen.rows == {"pkg.ops:NumpyCube": "agreed"}
