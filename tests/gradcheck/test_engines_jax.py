"""The adapter of JAX: 64-bit types inside alone, every claim that needs no tape, and rules wrong in one way each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gradcheck
from gradcheck.engines.base import Capability
from gradcheck.engines.registry import engine, recognise
from gradcheck.failures import Unsupported, UsageError
from gradcheck.verdict import Verdict

jax = pytest.importorskip("jax")
jnp = jax.numpy

from gradcheck.engines.jax import FAULTS  # noqa: E402

X = np.array([0.3, -1.2, 2.0])


@pytest.fixture(name="adapter")
def _adapter():
    return engine("jax")


def with_rule(forward, backward, **options):
    """A custom_vjp function; `backward` takes the inputs and the cotangent."""
    made = jax.custom_vjp(forward)

    def fwd(*inputs):
        return forward(*inputs), inputs

    def bwd(inputs, g):
        return backward(*inputs, g)

    made.defvjp(fwd, bwd, **options)
    return made


def codes(report):
    """The codes of the claims that disagree."""
    return [failure.code for failure in report.failures]


right = with_rule(lambda x: x * x, lambda x, g: (2.0 * x * g,))


# Tensors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "bool", "complex128"])
def test_tensor_keeps_values_and_dtype_and_the_setting_stays(adapter, dtype):
    values = np.arange(6).reshape(2, 3).T.astype(dtype)
    made = adapter.tensor(values)
    assert adapter.array(made).dtype == values.dtype
    assert np.array_equal(adapter.array(made), values)
    assert jnp.ones(1).dtype == np.float32


def test_tensor_shares_no_memory_with_what_it_was_made_of(adapter):
    values = np.arange(64.0)
    made = adapter.tensor(values)
    values[:] = 0.0
    assert adapter.array(made)[1] == 1.0


def test_an_array_of_what_numpy_lacks_is_float32(adapter):
    assert adapter.array(jnp.ones(2, jnp.bfloat16)).dtype == np.float32
    assert adapter.kind(jnp.ones(2, jnp.bfloat16)) == "f"


def test_its_arrays_are_recognised_and_random_keys_are_none():
    assert recognise([jnp.ones(2)]).name == "jax"
    assert recognise([jax.random.key(0)]) is None


def test_a_tracer_is_a_tensor(adapter):
    seen = []
    jax.jit(lambda x: seen.append((adapter.is_tensor(x), adapter.kind(x), adapter.device_of(x))) or x)(jnp.ones(2))
    assert seen == [(True, "f", "cpu")]


def test_sandbox_leaves_the_setting_of_64_bits(adapter):
    with adapter.sandbox(0):
        assert jnp.ones(1).dtype == np.float64
        assert adapter.default_dtype_name() == "float64"
    assert adapter.default_dtype_name() == "float32"


def test_what_needs_a_tape_is_not_claimed(adapter):
    lacking = {Capability.TAPE, Capability.ACCUMULATION, Capability.INPLACE, Capability.STRIDES, Capability.MODULES}
    assert adapter.capabilities == frozenset(Capability) - lacking
    for refused in (
        lambda: adapter.grad([], [], []),
        lambda: adapter.backward([], []),
        lambda: adapter.module("Linear"),
    ):
        with pytest.raises(Unsupported):
            refused()


# Derivatives -----------------------------------------------------------------------------------------------------


def test_linearized_pulls_again_and_ignores_integers(adapter):
    at = adapter.linearized(
        lambda x, n: (x * n, n + 1), [adapter.tensor(X), adapter.tensor(np.arange(3))], [True, False]
    )
    for factor in (1.0, 2.0):
        (found,) = at.pull([adapter.tensor(factor * np.ones(3)), None])
        assert adapter.array(found).tolist() == [0.0, factor, 2.0 * factor]


def test_an_integer_that_is_wanted_has_no_gradient(adapter):
    at = adapter.linearized(lambda x, n: x * n, [adapter.tensor(X), adapter.tensor(np.arange(3))], [True, True])
    assert at.pull([adapter.tensor(np.ones(3))])[1] is None


def test_linearized_nests(adapter):
    def gradient(x):
        at = adapter.linearized(lambda y: y * y * y, [x], [True])
        return at.pull([jnp.ones_like(x)], create_graph=True)

    at = adapter.linearized(gradient, [adapter.tensor(X)], [True])
    assert np.allclose(adapter.array(at.pull([adapter.tensor(np.ones(3))])[0]), 6.0 * X, rtol=1e-14)


def test_nothing_wanted_gives_no_gradient(adapter):
    assert adapter.linearized(jnp.sin, [adapter.tensor(X)], [False]).pull([adapter.tensor(X)]) == ()


def test_a_custom_vjp_refuses_forward_mode(adapter):
    with pytest.raises(Unsupported, match="custom_vjp"):
        adapter.jvp(right, [adapter.tensor(X)], [adapter.tensor(X)])


def test_the_rule_is_located_behind_wrappers(adapter):
    expected = adapter.locate_backward(right)
    assert expected is not None
    assert "test_engines_jax.py" in expected
    assert adapter.locate_backward(lambda x: right(x) + 1.0) == expected
    assert adapter.locate_backward(jax.jit(right)) == expected
    assert adapter.locate_backward(jnp.sin) is None


# Right functions -------------------------------------------------------------------------------------------------

RIGHT = {
    "smooth": (lambda x: jnp.sin(x) * x, X),
    "custom_vjp": (right, X),
    "jitted": (jax.jit(lambda x: jnp.tanh(x).sum()), X),
    "tree": (lambda tree: {"a": jnp.tanh(tree["w"] @ tree["v"]), "n": 3}, {"w": np.full((2, 3), 0.3), "v": X}),
    "integers": (lambda x, n: x[n] * 2.0, X, np.array([2, 0])),
    "key": (lambda x, key: x * jax.random.normal(key, x.shape), X, jax.random.key(3)),
    "complex": (lambda z: z * jnp.conj(z) * z, X * (1.0 + 0.5j)),
    "to complex": (lambda x: jnp.exp(1j * x), X),
    "control flow": (lambda x: x * x if x.sum() > 0 else -x, X),
}


def as_jax(tree):
    """NumPy arrays in a tree as JAX's, in the precision that JAX gives them by default."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf, tree)


@pytest.mark.parametrize("name", RIGHT)
def test_right_functions_agree(name):
    function, *inputs = RIGHT[name]
    report = gradcheck.check(function, *as_jax(inputs))
    assert report.verdict is Verdict.AGREE, str(report)
    assert not jax.config.jax_enable_x64


# Wrong rules -----------------------------------------------------------------------------------------------------

WRONG = {
    "factor": (with_rule(lambda x: x * x, lambda x, g: (2.00002 * x * g,)), ["GC101"]),
    "sign of the cotangent": (with_rule(jnp.sin, lambda x, g: (jnp.cos(x) * jnp.abs(g),)), ["GC101", "GC103"]),
    "float32": (lambda x: jnp.sin(x.astype(jnp.float32)).astype(x.dtype), ["GC103", "GC701"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_rules_disagree(name):
    function, expected = WRONG[name]
    assert set(codes(gradcheck.check(function, jnp.asarray(X)))) & set(expected)


def test_a_wrong_rule_is_reported_with_its_place():
    wrong, _ = WRONG["factor"]
    report = gradcheck.check(lambda x: wrong(x), jnp.asarray(X), claims="GC101")
    assert "test_engines_jax.py" in report.failures[0].where


def test_a_wrong_rule_beside_an_entry_that_is_nan_disagrees():
    from jax.test_util import check_grads

    wrong = with_rule(lambda x: x * x, lambda x, g: (246.0 * x * g,))
    x = jnp.asarray([0.3, np.nan, 2.0])
    check_grads(wrong, (x,), order=1, modes=["rev"])  # NaN equals NaN there
    assert codes(gradcheck.check(wrong, x, claims="GC101")) == ["GC101"]


def test_a_rule_that_depends_on_what_else_is_differentiated_disagrees():
    made = jax.custom_vjp(lambda x, y: x * y)

    def fwd(x, y):
        return x.value * y.value, (x.value, y.value, x.perturbed and y.perturbed)

    def bwd(saved, g):
        x, y, both = saved
        return y * g if both else 2.0 * y * g, x * g

    made.defvjp(fwd, bwd, symbolic_zeros=True)
    assert codes(gradcheck.check(made, jnp.asarray(X), jnp.asarray(X + 3.0), claims="GC603")) == ["GC603"]


def test_a_rule_that_misreads_an_unused_output_disagrees():
    made = jax.custom_vjp(lambda x: (x * x, jnp.sin(x)))

    def fwd(x):
        return (x.value * x.value, jnp.sin(x.value)), x.value

    def bwd(x, given):
        square, sine = (jnp.ones_like(x) if isinstance(g, jax.custom_derivatives.SymbolicZero) else g for g in given)
        return (2.0 * x * square + jnp.cos(x) * sine,)

    made.defvjp(fwd, bwd, symbolic_zeros=True)
    assert codes(gradcheck.check(made, jnp.asarray(X), claims=["GC101", "GC604"])) == ["GC604"]


def test_a_wrong_second_derivative_is_found_where_it_is_asked_for():
    wrong = with_rule(lambda x: x**3, lambda x, g: (3.0 * jax.lax.stop_gradient(x) ** 2 * g,))
    report = gradcheck.check(wrong, jnp.asarray(X), claims=["GC101", "GC104"])
    assert codes(report) == ["GC104"]


def test_a_wrong_rule_for_vmap_disagrees():
    @jax.custom_batching.custom_vmap
    def product(x, g):
        return jnp.cos(x) * g

    @product.def_vmap
    def _rule(size, batched, x, g):
        return jnp.cos(x) * g * 1.001, True

    wrong = with_rule(jnp.sin, lambda x, g: (product(x, g),))
    assert codes(gradcheck.check(wrong, jnp.asarray(X), claims=["GC101", "GC105"])) == ["GC105"]


def test_a_custom_jvp_that_is_wrong_disagrees():
    @jax.custom_jvp
    def wrong(x):
        return jnp.sin(x)

    @wrong.defjvp
    def _rule(primals, tangents):
        return jnp.sin(primals[0]), jnp.cos(primals[0]) * tangents[0] * 0.999

    report = gradcheck.check(wrong, jnp.asarray(X), claims=["GC101", "GC102"])
    assert codes(report) == ["GC101"]
    assert "_rule" in report.failures[0].where


# Complex numbers: JAX pulls back without conjugation, PyTorch with it ------------------------------------------------

Z = X * (1.0 + 0.5j) + 0.2j


@pytest.mark.parametrize(("name", "expected"), [("plain", []), ("conjugated", ["GC101"])])
def test_a_complex_rule_follows_jax(name, expected):
    slope = {"plain": lambda z: jnp.cos(z), "conjugated": lambda z: jnp.conj(jnp.cos(z))}[name]
    made = with_rule(jnp.sin, lambda z, g: (slope(z) * g,))
    assert codes(gradcheck.check(made, jnp.asarray(Z), claims="GC101")) == expected


@pytest.mark.parametrize(("name", "expected"), [("plain", ["GC101"]), ("conjugated", [])])
def test_a_complex_rule_follows_pytorch(name, expected):
    torch = pytest.importorskip("torch")

    class Sine(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return z.sin()

        @staticmethod
        def backward(ctx, g):
            slope = ctx.saved_tensors[0].cos()
            return g * (slope.conj() if name == "conjugated" else slope)

    assert codes(gradcheck.check(Sine.apply, torch.tensor(Z), claims="GC101")) == expected


def test_an_op_that_it_lacks_is_refused(adapter):
    assert not adapter.supports("add", inplace=True)
    with pytest.raises(UsageError, match="has no op"):
        adapter.call("no_such_op", (), {})


# Known faults -------------------------------------------------------------------------------------------------------


def test_zero_to_the_zero_is_refused_and_what_is_beside_it_is_not(adapter):
    base, exponent = adapter.tensor(np.array([0.0, 2.0])), adapter.tensor(np.array([1.0, 0.0]))
    assert adapter.array(adapter.call("pow", (base, exponent), {})).tolist() == [0.0, 1.0]
    with pytest.raises(Unsupported, match="base and exponent are 0"):
        adapter.call("pow", (base, 0.0), {})


def test_a_users_function_that_meets_a_fault_is_reported():
    assert codes(gradcheck.check(lambda x: x**0.0 + x, jnp.zeros(2), claims="GC101")) == ["GC101"]


def test_every_known_fault_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "engines.md").read_text(encoding="utf-8")
    written = " ".join(page.split())
    assert [fault.reason for fault in FAULTS if f"**{fault.reason}**" not in written] == []


# Kinks and ties -----------------------------------------------------------------------------------------------------

AT_KINKS = {
    ("abs", 0.0): lambda x: jnp.abs(x),
    ("leaky_relu", 0.0): lambda x: jax.nn.leaky_relu(x),
    ("clamp", -1.0): lambda x: jnp.clip(x, -1.0, 1.0),
    ("clamp", 1.0): lambda x: jnp.clip(x, -1.0, 1.0),
    ("clamp_min", -1.0): lambda x: jnp.clip(x, min=-1.0),
    ("clamp_max", 1.0): lambda x: jnp.clip(x, max=1.0),
    ("norm", 0.0): lambda x: jnp.linalg.norm(x[None]),
}


@pytest.mark.parametrize(("op", "place"), AT_KINKS)
def test_the_declared_derivative_at_a_kink_is_the_one_that_it_has(adapter, op, place):
    at = adapter.linearized(AT_KINKS[op, place], [adapter.tensor(np.array(place))], [True])
    (found,) = at.pull([adapter.tensor(np.array(1.0))])
    np.testing.assert_equal(float(found), adapter.conventions.kinks[op][place])


def test_the_gradient_of_a_complex_number_is_the_conjugate_of_pytorchs(adapter):
    torch = pytest.importorskip("torch")
    (found,) = adapter.linearized(lambda z: jnp.abs(z) ** 2, [adapter.tensor(Z)], [True]).pull([adapter.tensor(X)])
    z = torch.tensor(Z, requires_grad=True)
    (z.abs() ** 2).backward(torch.tensor(X))
    assert (adapter.conventions.complex_gradient, engine("torch").conventions.complex_gradient) == (
        "plain",
        "conjugate",
    )
    np.testing.assert_allclose(adapter.array(found).conj(), z.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("op", ["sum", "argmax", "cumsum"])
def test_an_axis_of_a_scalar_is_refused(adapter, op):
    with pytest.raises(Unsupported, match="axis of a scalar"):
        adapter.call(op, (adapter.tensor(np.array(0.5)), 0), {})
