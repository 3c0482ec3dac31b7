"""Complex functions on PyTorch and JAX: both conventions, holomorphic or not, a missing conjugate planted in each."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck
from gradcheck.engines.registry import engine

Z = np.array([[0.6 + 0.3j, -1.2 + 0.7j, 2.0 - 0.4j], [0.7 + 1.1j, 0.1 - 0.9j, -0.4 - 0.3j]])


@pytest.fixture(name="adapter", params=("torch", "jax"))
def _adapter(request):
    pytest.importorskip(request.param)
    made = engine(request.param)
    with made.sandbox(0):
        yield made


def space(adapter):
    """The namespace in which both engines spell these functions alike."""
    return adapter.library if adapter.name == "torch" else adapter.library.numpy


HOLOMORPHIC = {
    "square": lambda xp, z: z**2,
    "sine": lambda xp, z: xp.sin(z),
    "quotient": lambda xp, z: 1.0 / (z + 3.0),
    "matmul": lambda xp, z: z @ z.T,
    "transform": lambda xp, z: xp.fft.fft(z),
    "inverse transform": lambda xp, z: xp.fft.ifft(z) * z,
}
OTHERS = {
    "times its conjugate": lambda xp, z: z * xp.conj(z),
    "conjugate": lambda xp, z: xp.conj(z),
    "abs": lambda xp, z: xp.abs(z),
    "angle": lambda xp, z: xp.angle(z),
    "real part": lambda xp, z: xp.real(z) ** 2,
    "imaginary part": lambda xp, z: xp.imag(z * z),
    "hermitian form": lambda xp, z: xp.real((xp.conj(z) @ z.T).sum()),
    "power of a transform": lambda xp, z: xp.abs(xp.fft.fft(z)) ** 2,
    "both": lambda xp, z: (z**2, xp.abs(z)),
    "made from parts": lambda xp, z: xp.exp(1j * xp.real(z)) * xp.imag(z),
}


@pytest.mark.parametrize("name", [*HOLOMORPHIC, *OTHERS])
def test_right_functions_agree(adapter, name):
    function = (HOLOMORPHIC | OTHERS)[name]
    report = gradcheck.check(lambda z: function(space(adapter), z), adapter.tensor(Z), claims=["GC101", "GC102"])
    assert report.verdict == "agree", report


def planted(adapter, forward, slope, other):
    """`forward` with a rule: `slope` of g and z in the convention of the engine, or in that of `other`."""
    xp = space(adapter)

    def rule(g, z):
        # With respect to z and its conjugate; PyTorch pulls back conj(a) g + b conj(g), JAX a g + conj(b) conj(g).
        a, b = slope(xp, z)
        is_conjugate = (adapter.conventions.complex_gradient == "conjugate") != other
        return (xp.conj(a) * g + b * xp.conj(g)) if is_conjugate else (a * g + xp.conj(b) * xp.conj(g))

    if adapter.name == "jax":
        made = adapter.library.custom_vjp(lambda z: forward(xp, z))
        made.defvjp(lambda z: (forward(xp, z), z), lambda z, g: (rule(g, z),))
        return made

    class Planted(adapter.library.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return forward(xp, z)

        @staticmethod
        def backward(ctx, g):
            return rule(g, *ctx.saved_tensors)

    return Planted.apply


RULES = {
    "square": (HOLOMORPHIC["square"], lambda xp, z: (2.0 * z, 0.0 * z)),
    "sine": (HOLOMORPHIC["sine"], lambda xp, z: (xp.cos(z), 0.0 * z)),
    "times its conjugate": (OTHERS["times its conjugate"], lambda xp, z: (xp.conj(z), z)),
    "of both": (lambda xp, z: z**2 * xp.conj(z), lambda xp, z: (2.0 * z * xp.conj(z), z**2)),
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_in_the_engines_own_convention_agrees(adapter, name):
    report = gradcheck.check(planted(adapter, *RULES[name], other=False), adapter.tensor(Z), claims="GC101")
    assert report.verdict == "agree", report


@pytest.mark.parametrize("name", ["square", "sine", "of both"])
def test_a_rule_in_the_other_convention_is_a_missing_conjugate(adapter, name):
    report = gradcheck.check(planted(adapter, *RULES[name], other=True), adapter.tensor(Z), claims="GC101")
    assert [finding.code for finding in report.failures] == ["GC101"]
    assert "conjugate" in str(report.failures[0].mistake or "") or name == "of both"
