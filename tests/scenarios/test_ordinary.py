"""Right Functions as they come, each with something unusual about it: no false alarm, nothing of the user's changed."""

from __future__ import annotations

import pytest

from tests.scenarios.material import call
from tests.scenarios.stranger import Seen, Stranger

torch = pytest.importorskip("torch")

X = "torch.tensor([[0.3, -1.25, 2.1], [-0.45, 0.8, -3.3]], requires_grad=True)"
CASES = {
    "SeveralOutputs": (
        """
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x, x.sin()

        @staticmethod
        def backward(ctx, g, h):
            (x,) = ctx.saved_tensors
            return g * 2 * x + h * x.cos()
        """,
        X,
    ),
    "OutputThatIsAnIndex": (
        """
        @staticmethod
        def forward(ctx, x):
            values, indices = x.max(-1)
            ctx.mark_non_differentiable(indices)
            ctx.save_for_backward(indices)
            ctx.shape = x.shape
            return values, indices

        @staticmethod
        def backward(ctx, g, _):
            (indices,) = ctx.saved_tensors
            return g.new_zeros(ctx.shape).scatter_(-1, indices.unsqueeze(-1), g.unsqueeze(-1))
        """,
        X,
    ),
    "GradientsThatMayBeNone": (
        """
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(x)
            return x * x, 3 * x

        @staticmethod
        def backward(ctx, g, h):
            (x,) = ctx.saved_tensors
            found = torch.zeros_like(x)
            if g is not None:
                found = found + g * 2 * x
            return found if h is None else found + 3 * h
        """,
        X,
    ),
    "OtherArguments": (
        """
        @staticmethod
        def forward(ctx, x, power, mode, mask, weights, nothing):
            assert mode == "sum" and nothing is None and weights == [1.0, 2.0]
            ctx.power = power
            ctx.save_for_backward(x, mask)
            return (x**power * mask).sum(-1)

        @staticmethod
        def backward(ctx, g):
            x, mask = ctx.saved_tensors
            return g.unsqueeze(-1) * ctx.power * x ** (ctx.power - 1) * mask, None, None, None, None, None
        """,
        f"{X}, 3, 'sum', torch.tensor([True, False, True]), [1.0, 2.0], None",
    ),
    "Lookup": (
        """
        @staticmethod
        def forward(ctx, table, indices):
            ctx.save_for_backward(indices)
            ctx.shape = table.shape
            return table[indices]

        @staticmethod
        def backward(ctx, g):
            (indices,) = ctx.saved_tensors
            return g.new_zeros(ctx.shape).index_add_(0, indices, g), None
        """,
        f"{X}, torch.tensor([1, 0, 1])",
    ),
    "OnlyWhatIsNeeded": (
        """
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return x @ w

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            return (g @ w.T if ctx.needs_input_grad[0] else None, x.T @ g if ctx.needs_input_grad[1] else None)
        """,
        f"{X}, torch.nn.Parameter(torch.tensor([[1.0], [0.5], [-2.0]]))",
    ),
    "InPlace": (
        """
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x.mul_(3)

        @staticmethod
        def backward(ctx, g):
            return g * 3
        """,
        f"{X}.clone()",
    ),
    "Dropout": (
        """
        @staticmethod
        def forward(ctx, x, p):
            mask = (torch.rand_like(x) > p).to(x.dtype) / (1 - p)
            ctx.save_for_backward(mask)
            return x * mask

        @staticmethod
        def backward(ctx, g):
            (mask,) = ctx.saved_tensors
            return g * mask, None
        """,
        f"{X}, 0.4",
    ),
    "RefusesWhatIsNotContiguous": (
        """
        @staticmethod
        def forward(ctx, x):
            assert x.is_contiguous()
            ctx.save_for_backward(x)
            return x.exp()

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g.contiguous().view(-1).mul(x.exp().view(-1)).view_as(x)
        """,
        X,
    ),
    "Noisy": (
        """
        @staticmethod
        def forward(ctx, x):
            import logging, warnings
            print("forward")
            logging.getLogger("noise").warning("forward")
            warnings.warn("forward", stacklevel=1)
            return x * 2

        @staticmethod
        def backward(ctx, g):
            print("backward")
            return g * 2
        """,
        X,
    ),
    "MixedPrecision": (
        """
        @staticmethod
        @torch.amp.custom_fwd(device_type="cpu")
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @torch.amp.custom_bwd(device_type="cpu")
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 2 * g * x
        """,
        X,
    ),
    "Relu": (
        """
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * (x > 0)
        """,
        "torch.tensor([0.0, 1.0, -2.0, 0.5], requires_grad=True)",
    ),
    "Norm": (
        """
        @staticmethod
        def forward(ctx, x):
            norm = x.norm(dim=-1, keepdim=True)
            ctx.save_for_backward(x, norm)
            return x / norm

        @staticmethod
        def backward(ctx, g):
            x, norm = ctx.saved_tensors
            return g / norm - x * (g * x).sum(-1, keepdim=True) / norm**3
        """,
        X,
    ),
    "CrossEntropy": (
        """
        @staticmethod
        def forward(ctx, x, target):
            logp = x.log_softmax(-1)
            ctx.save_for_backward(logp, target)
            return -(logp * target).sum(-1).mean()

        @staticmethod
        def backward(ctx, g):
            logp, target = ctx.saved_tensors
            return g * (logp.exp() - target) / logp.shape[0], None  # right where targets sum to one
        """,
        f"{X}, torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])",
    ),
    "ComplexMagnitude": (
        """
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return (z * z.conj()).real

        @staticmethod
        def backward(ctx, g):
            (z,) = ctx.saved_tensors
            return 2 * g * z
        """,
        "torch.tensor([1.0 + 2.0j, -0.5 + 0.25j], requires_grad=True)",
    ),
    "Scalar": (
        """
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sum() ** 2

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return (2 * g * x.sum()).expand_as(x)
        """,
        X,
    ),
    "Empty": (
        """
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2
        """,
        "torch.zeros(0, 3)",
    ),
    "Infinite": (
        """
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.softmax(-1)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            y = x.softmax(-1)
            return y * (g - (g * y).sum(-1, keepdim=True))
        """,
        "torch.tensor([[0.5, float('-inf'), 1.0], [0.25, -2.0, 0.0]])",
    ),
}
"""By name: the body of a class, and the arguments of a call."""


def source(name: str) -> str:
    """The class of a case."""
    body, _ = CASES[name]
    return f"class {name}(Function):" + body.rstrip().replace("\n        ", "\n    ")


@pytest.fixture
def everything(stranger: Stranger) -> Seen:
    """A run over all cases."""
    stranger.package(*map(source, CASES))
    stranger.tests(*(call(name, arguments) for name, (_, arguments) in CASES.items()))
    return stranger.run("-W", "ignore")


def test_right_functions_raise_no_alarm(everything: Seen) -> None:
    assert (everything.outcomes, everything.code) == ({"passed": len(CASES)}, 0)
    assert {*everything.rows} == {f"pkg.ops:{name}" for name in CASES}
    assert "disagreed" not in everything.rows.values()
    undecided = {name for name, word in everything.rows.items() if word != "agreed"}
    assert undecided <= {"pkg.ops:Empty", "pkg.ops:Infinite"}


def test_what_functions_print_while_they_are_checked_is_not_shown(stranger: Stranger) -> None:
    stranger.package(source("Noisy"))
    stranger.tests(call("Noisy", X))
    seen = stranger.run("-W", "ignore", "-rA")
    assert seen.text.count("\nforward\n") == 1
    assert "backward\n" not in seen.text
    assert seen.text.count("noise:ops.py") == 1


def test_parameters_that_a_function_reaches_are_left_alone(stranger: Stranger) -> None:
    stranger.package(
        "LAYER = torch.nn.BatchNorm1d(3)",
        """
        class Normed(Function):
            @staticmethod
            def forward(ctx, x):
                with torch.enable_grad():
                    ctx.x = x.detach().requires_grad_()
                    ctx.y = LAYER(ctx.x)
                return ctx.y.detach()

            @staticmethod
            def backward(ctx, g):
                return torch.autograd.grad(ctx.y, (ctx.x, *LAYER.parameters()), g, retain_graph=True)[0]
        """,
    )
    stranger.tests(
        f"""
        def test_normed():
            ops.Normed.apply({X}).sum().backward()
            assert ops.LAYER.num_batches_tracked == 1

        def test_after_the_check():
            assert ops.LAYER.num_batches_tracked == 1
            assert ops.LAYER.training
            assert all(p.grad is None for p in ops.LAYER.parameters())
        """
    )
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 2}, 0)
    assert seen.rows == {"pkg.ops:Normed": "agreed"}


def test_a_forward_that_raises_is_not_checked_and_fails_nothing(stranger: Stranger) -> None:
    stranger.package(
        """
        class Refusing(Function):
            @staticmethod
            def forward(ctx, x):
                raise ValueError("never")

            @staticmethod
            def backward(ctx, g):
                return g
        """,
        source("Norm"),
    )
    stranger.tests(
        f"def test_refusing():\n    with pytest.raises(ValueError): ops.Refusing.apply({X})", call("Norm", X)
    )
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 2}, 0)
    assert seen.rows["pkg.ops:Refusing"] in ("not checked", "inconclusive")


def test_a_backward_that_raises_is_a_finding(stranger: Stranger) -> None:
    stranger.package(source("Norm").replace("x, norm = ctx", "x, norm, more = ctx"))
    stranger.tests(call("Norm", X))
    assert stranger.run().failed == ["test_norm"]


def test_a_call_in_a_thread_counts(stranger: Stranger) -> None:
    stranger.package(source("Norm").replace("norm**3", "norm**2"))
    stranger.tests(
        "from concurrent.futures import ThreadPoolExecutor",
        f"""
        def test_norm():
            with ThreadPoolExecutor(1) as pool:
                pool.submit(ops.Norm.apply, {X}).result()
        """,
    )
    assert stranger.run().failed == ["test_norm"]


def test_a_failure_with_much_to_say_stays_short(stranger: Stranger) -> None:
    names = ", ".join(f"an_input_with_a_long_name_{k}" for k in range(8))
    stranger.package(
        f"""
        class AFunctionWithALongNameAndManyInputs(Function):
            @staticmethod
            def forward(ctx, {names}):
                ctx.save_for_backward({names})
                return sum(x * x for x in ({names}))

            @staticmethod
            def backward(ctx, g):
                g.mul_(2)
                g = torch.from_numpy(g.detach().numpy().ravel(order="K").copy()).reshape(g.shape).abs()
                return tuple(g * x for x in ctx.saved_tensors)
        """
    )
    arguments = ", ".join(f"(torch.arange(60.0).reshape(5, 12) / 7 + {k}).requires_grad_()" for k in range(8))
    stranger.tests(f"def test_long(): ops.AFunctionWithALongNameAndManyInputs.apply({arguments})")
    lines = stranger.run().failure("test_long")
    assert len(lines) <= 25
    assert all(len(line) <= 120 for line in lines)
    assert any("script" in line for line in lines)
