"""Observing PyTorch's Functions: compilation, function transforms, checkpoints and gradcheck go on as they were."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from gradcheck.observation.wrapping import LIBRARIES
from tests.observation.functions import double, names, observing, ones, scaled

torch = pytest.importorskip("torch")


class Square(torch.autograd.Function):
    """New style, works under every transform."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 2 * x


class OldSquare(torch.autograd.Function):
    """Old style."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 2 * x


class BackwardOnly(OldSquare):
    """Inherits its forward."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 2 * x


STYLES = [Square, OldSquare, BackwardOnly]


@pytest.fixture(autouse=True)
def _forget_compiled():
    yield
    torch.compiler.reset()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("function", STYLES, ids=lambda f: f.__name__)
def test_a_full_graph_compiles_and_is_not_noted(function):
    with observing() as observer:
        compiled = torch.compile(lambda x: function.apply(x) + 1, fullgraph=True, backend="eager")
        x = ones(torch, 3)
        out = compiled(x)
        out.sum().backward()
        assert out.tolist() == [2.0] * 3
        assert x.grad.tolist() == [2.0] * 3
        assert observer.touched() == ()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("make", [double, scaled], ids=["old", "new"])
def test_a_full_graph_with_a_delegated_forward_compiles(make):
    base = make(torch)
    base.__module__ = "torch"

    class Own(base):
        @staticmethod
        def backward(ctx, g):
            return (g * 3, None)[: 2 if make is scaled else 1]

    with observing() as observer:
        x = ones(torch, 3)
        torch.compile(lambda x: Own.apply(x), fullgraph=True, backend="eager")(x).sum().backward()
        assert x.grad.tolist() == [3.0] * 3
        assert observer.touched() == ()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_model_exports():
    class Model(torch.nn.Module):
        def forward(self, x):
            return Square.apply(x)

    with observing() as observer:
        program = torch.export.export(Model(), (torch.ones(3),))
        assert program.module()(torch.full((3,), 2.0)).tolist() == [4.0] * 3
        assert all(observed.call is None for observed in observer.touched())


def test_vmap_with_a_generated_rule_is_counted_with_its_reason():
    with observing() as observer:
        out = torch.vmap(Square.apply)(torch.full((2, 3), 3.0))
        assert out.tolist() == [[9.0] * 3] * 2
        (observed,) = observer.touched()
    assert observed.function is Square
    assert (observed.call, observed.reason) == (None, "called under a function transform")


def test_a_vmap_rule_of_its_own_works():
    class Ruled(Square):
        generate_vmap_rule = False

        @staticmethod
        def vmap(info, in_dims, x):
            return Ruled.apply(x), in_dims[0]

    with observing() as observer:
        assert torch.vmap(Ruled.apply)(torch.full((2, 3), 3.0)).tolist() == [[9.0] * 3] * 2
        assert names(observer.touched()) == ["Ruled"]


def test_a_gradient_transform_works():
    with observing() as observer:
        assert torch.func.grad(lambda x: Square.apply(x).sum())(torch.full((3,), 3.0)).tolist() == [6.0] * 3
        assert torch.vmap(torch.func.grad(Square.apply))(torch.full((3,), 3.0)).tolist() == [6.0] * 3
        assert {observed.name for observed in observer.touched()} == {f"{__name__}:Square"}


@pytest.mark.parametrize("reentrant", [True, False], ids=["reentrant", "not_reentrant"])
def test_checkpoint_works(reentrant):
    from torch.utils.checkpoint import checkpoint

    with observing() as observer:
        x = ones(torch, 3)
        checkpoint(lambda x: OldSquare.apply(x) * 2, x, use_reentrant=reentrant).sum().backward()
        assert x.grad.tolist() == [4.0] * 3
        assert names(observer.touched()) == ["test_torch:OldSquare"]


def test_a_function_that_defines_vjp_works():
    class Vjp(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def vjp(ctx, g):
            return g * 2

    with observing() as observer:
        x = ones(torch, 2)
        torch.autograd.grad(Vjp.apply(x).sum(), x, create_graph=True)
        (observed,) = observer.touched()
        assert observed.create_graph
        (where,) = [known.where for known in observer.known() if known.calls]
    assert where.endswith("in Vjp.vjp")


def test_double_backward_works():
    with observing():
        x = torch.full((2,), 3.0, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradgradcheck(OldSquare.apply, x)
        (first,) = torch.autograd.grad(OldSquare.apply(x).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x)
    assert second.tolist() == [2.0, 2.0]


def test_forward_mode_works():
    class Tangent(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def jvp(ctx, t):
            return t * 2

    from torch.autograd import forward_ad

    with observing() as observer, forward_ad.dual_level():
        dual = forward_ad.make_dual(torch.ones(2), torch.ones(2))
        assert forward_ad.unpack_dual(Tangent.apply(dual)).tangent.tolist() == [2.0, 2.0]
        (observed,) = observer.touched()
        assert observed.call is not None
        assert forward_ad.unpack_dual(observed.call.arguments[0]).tangent is None


def test_tensors_without_plain_values_are_a_reason():
    with observing() as observer:
        function = double(torch)
        function.apply(torch.eye(2).to_sparse())
        function.apply(torch.ones(2, device="meta"))
        reasons = [observed.reason for observed in observer.touched()]
    assert reasons == ["called with a sparse tensor", "called with a tensor without values (meta)"]


def test_a_fake_tensor_does_not_take_the_place_of_a_real_one():
    from torch._subclasses import FakeTensorMode

    with observing() as observer:
        function = double(torch)
        with FakeTensorMode():
            function.apply(torch.ones(2))
        function.apply(torch.ones(2))
        kept = [observed.call for observed in observer.touched() if observed.call is not None]
    assert [call.arguments[0].tolist() for call in kept] == [[1.0, 1.0]]


def test_arguments_that_share_memory_share_it_in_the_copy():
    class Both(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y.sum()

        @staticmethod
        def backward(ctx, g):
            return g, g.sum().expand(2)

    with observing() as observer:
        base = torch.arange(4.0)
        Both.apply(base, base[1:3])
        (observed,) = observer.touched()
    x, y = observed.call.arguments
    x.zero_()
    assert y.tolist() == [0.0, 0.0]


def test_inference_mode_and_low_precision_are_kept():
    with observing() as observer:
        function = double(torch)
        with torch.inference_mode():
            function.apply(torch.ones(2, dtype=torch.bfloat16))
        (observed,) = observer.touched()
    (kept,) = observed.call.arguments
    assert kept.dtype == torch.bfloat16
    assert not kept.is_inference()


def test_custom_forward_and_backward_decorators_work():
    class Amp(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type="cpu")
        def forward(ctx, x):
            return x * 2

        @staticmethod
        @torch.amp.custom_bwd(device_type="cpu")
        def backward(ctx, g):
            return g * 2

    with observing() as observer:
        x = ones(torch, 2)
        Amp.apply(x).sum().backward()
        assert names(observer.touched()) == ["Amp"]
        (where,) = [known.where for known in observer.known() if known.calls]
    assert re.search(r"test_torch\.py:\d+ in Amp\.backward$", where)


def test_a_trace_is_not_disturbed():
    with observing() as observer:
        with pytest.warns(DeprecationWarning, match="torch.jit.trace"):
            traced = torch.jit.trace(lambda x: x * 2 + OldSquare.apply(x), torch.ones(2))
        assert traced(torch.full((2,), 3.0)).tolist() == [15.0, 15.0]
        # The tracer runs the function itself, too, to compare.
        assert names(observer.touched()) == ["test_torch:OldSquare"]


def test_gradcheck_calls_are_noted_with_copies_and_place():
    with observing() as observer:
        x = torch.full((3,), 2.0, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(Square.apply, (x,), fast_mode=True)
        line = sys._getframe().f_lineno - 1
        with torch.no_grad():
            x.zero_()
        (call,) = observer.gradcheck_calls()
        assert observer.gradcheck_calls() == ()
        assert observer.touched()[0].facts[0].low == 2.0
    assert call.function == Square.apply
    assert call.inputs[0].tolist() == [2.0] * 3
    assert call.inputs[0].requires_grad
    assert call.place == f"tests/observation/test_torch.py:{line}"


def test_gradcheck_keeps_its_own_verdict():
    wrong = scaled(torch)
    wrong.backward = staticmethod(lambda ctx, g: (g, None))
    with observing() as observer:
        x = torch.ones(2, dtype=torch.float64, requires_grad=True)
        with pytest.raises(RuntimeError, match="Jacobian mismatch"):
            torch.autograd.gradcheck(wrong.apply, x)
        assert torch.autograd.gradcheck(func=wrong.apply, inputs=x, raise_exception=False) is False
        assert len(observer.gradcheck_calls()) == 2


def test_gradcheck_is_bound_by_a_later_import_and_passes_through_after_the_stop():
    module = sys.modules["torch.autograd.gradcheck"]
    original = torch.autograd.gradcheck
    with observing() as observer:
        from torch.autograd import gradcheck

        assert gradcheck is not original
        x = torch.ones(2, dtype=torch.float64, requires_grad=True)
        assert gradcheck(Square.apply, x)
        assert torch.autograd.gradgradcheck(Square.apply, x)
        assert len(observer.gradcheck_calls()) == 1
    assert torch.autograd.gradcheck is module.gradcheck is original
    assert gradcheck(Square.apply, x)
    assert observer.gradcheck_calls() == ()


def test_torch_imported_after_the_start_is_observed(tmp_path):
    (tmp_path / "ops.py").write_text(
        "import torch\n"
        "from torch.autograd import gradcheck\n"
        "class F(torch.autograd.Function):\n"
        "    @staticmethod\n"
        "    def forward(ctx, x):\n"
        "        return x * 2\n"
        "    @staticmethod\n"
        "    def backward(ctx, g):\n"
        "        return g * 2\n"
        "def run():\n"
        "    x = torch.ones(2, requires_grad=True, dtype=torch.float64)\n"
        "    F.apply(x)\n"
        "    return gradcheck(F.apply, x)\n"
    )
    script = f"""
import sys
from pathlib import Path
from gradcheck.observation.observer import Observer
from gradcheck.observation.territory import Territory
sys.path.insert(0, {str(tmp_path)!r})
observer = Observer(Territory(Path({str(tmp_path)!r}), ()))
observer.start()
assert "torch" not in sys.modules
import ops
assert ops.run()
print([o.name for o in observer.touched()], [k.name for k in observer.known()], len(observer.gradcheck_calls()))
observer.stop()
import torch
assert torch.autograd.gradcheck.__module__ == "torch.autograd.gradcheck"
assert not hasattr(torch.autograd.gradcheck, "__wrapped__")
assert not hasattr(torch.autograd.function.FunctionMeta.__init__, "__wrapped__")
assert not hasattr(ops.F.forward, "__wrapped__")
assert not any(type(f).__module__.startswith("gradcheck") for f in sys.meta_path)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() == "['ops:F'] ['ops:F'] 1"


def test_torchs_own_functions_are_left_alone():
    from torch.utils.checkpoint import CheckpointFunction

    before = dict(vars(CheckpointFunction))
    with observing():
        assert all(vars(CheckpointFunction)[name] is value for name, value in before.items())
    assert [library.engine for library in LIBRARIES] == ["torch", "refengine"]
