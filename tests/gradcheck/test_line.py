"""Points of a line asked for together have the values, and lead to the verdicts, that they have one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import gradcheck
from gradcheck.checks import default_claims, line
from gradcheck.checks.evaluation import Evaluation
from gradcheck.checks.line import LEAST, Mapped
from gradcheck.engines.registry import engine
from gradcheck.failures import UsageError
from tests.gradcheck.adapters import subject

ENGINES = ("torch", "jax")
X = np.array([[0.3, -1.2, 2.0], [0.7, 0.1, -0.4]])
POINTS = np.linspace(-0.25, 0.25, LEAST + 1)


@pytest.fixture(name="adapter", params=ENGINES)
def _adapter(request):
    pytest.importorskip(request.param)
    made = engine(request.param)
    with made.sandbox(0):
        yield made


class Counted:
    """A function that counts its calls."""

    def __init__(self, function):
        self.function = function
        self.calls = 0

    def __call__(self, *inputs):
        self.calls += 1
        return self.function(*inputs)


def one_line(adapter, function, *inputs):
    counted = Counted(function)
    at = subject(adapter, counted, *inputs)
    directions = {k: np.ones(x.shape) for k, x in enumerate(at.inputs)}
    curve = Evaluation(at).along(directions)
    counted.calls = 0
    return curve, counted, at, directions


def alone(curve):
    return np.array([curve(t) for t in POINTS])


def test_a_batch_is_one_call_and_three_to_verify_it(adapter):
    curve, counted, _, _ = one_line(adapter, lambda x, y: (x * y, (x - y).sum()), X, X + 0.5)
    found = curve.many(POINTS)
    assert counted.calls == (4 if adapter.name == "torch" else 3)  # one that shows whether it keeps tensors
    assert np.allclose(found, alone(curve), rtol=1e-14, atol=1e-15)


def test_once_verified_it_stays_so_at_other_points(adapter):
    _, counted, at, directions = one_line(adapter, lambda x: x * x, X)
    for inputs in (X, X + 1.0):
        counted.calls = 0
        Evaluation(replace(at, inputs=(inputs,))).along(directions).many(POINTS)
    assert counted.calls == 2  # the forward pass at the point, and the batch


def test_few_points_are_asked_for_one_by_one(adapter):
    curve, counted, _, _ = one_line(adapter, lambda x: x * x, X)
    curve.many(POINTS[: LEAST - 1])
    assert counted.calls == LEAST - 1


def test_large_arrays_are_cut_into_chunks(adapter, monkeypatch):
    monkeypatch.setattr(line, "CHUNK", LEAST * 8 * 2 * X.size)
    curve, counted, _, _ = one_line(adapter, lambda x: x * x, X)
    points = np.linspace(-0.25, 0.25, 3 * LEAST)
    found = curve.many(points)
    assert counted.calls == (6 if adapter.name == "torch" else 5)
    assert np.array_equal(found, [curve(t) for t in points])


def test_arrays_that_make_no_chunk_are_asked_for_one_by_one(adapter, monkeypatch):
    monkeypatch.setattr(line, "CHUNK", 8 * X.size)
    curve, counted, _, _ = one_line(adapter, lambda x: x * x, X)
    curve.many(POINTS)
    assert counted.calls == len(POINTS)


def test_a_refusal_is_for_good(adapter):
    def refusing(x):
        if x.sum() > 100.0:
            raise ValueError
        return x * 2.0

    curve, counted, at, directions = one_line(adapter, refusing, X)
    assert np.allclose(curve.many(POINTS), alone(curve))
    counted.calls = 0
    Evaluation(replace(at, inputs=(X + 1.0,))).along(directions).many(POINTS)
    assert counted.calls == len(POINTS) + 1


def test_a_batch_with_other_values_is_not_believed(adapter):
    library = adapter.library

    def told_apart(x):
        is_batched = (
            library._C._functorch.is_functorch_wrapped_tensor(x)
            if adapter.name == "torch"
            else isinstance(x, library.core.Tracer)
        )
        return x * (1.001 if is_batched else 1.0)

    curve, _, _, _ = one_line(adapter, told_apart, X)
    found = curve.many(POINTS)
    assert np.array_equal(found, alone(curve))


def test_a_function_without_a_rule_for_vmap_is_asked_one_by_one_without_a_word():
    torch = pytest.importorskip("torch")

    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2.0

        @staticmethod
        def backward(ctx, g):
            return g * 2.0

    curve, _, _, _ = one_line(engine("torch"), Double.apply, X)
    assert np.array_equal(curve.many(POINTS), alone(curve))


def test_points_where_the_function_refuses_are_nan_in_both_ways(adapter):
    curve, _, _, _ = one_line(adapter, lambda x: (x - x[0, 1] - 0.5) ** 0.5, X)
    assert np.array_equal(np.isnan(curve.many(POINTS)), np.isnan(alone(curve)))


def test_programs_that_may_write_in_place_are_asked_one_by_one():
    pytest.importorskip("torch")
    at = subject(engine("torch"), lambda x: x * 2.0, X)
    assert hasattr(Evaluation(at).along({}), "many")
    assert not hasattr(Evaluation(replace(at, program=object())).along({}), "many")


def test_mapped_points_are_the_mapped_rows(adapter):
    curve, _, _, _ = one_line(adapter, lambda x: x * x, X)
    mapped = Mapped(curve, lambda row: row[:2] * 3.0)
    assert np.allclose(mapped.many(POINTS), [mapped(t) for t in POINTS], rtol=1e-14)
    assert Mapped(lambda t: np.array([t]), lambda row: row).many is None


FUNCTIONS = {
    "smooth": lambda xp, x: xp.sin(x) * x,
    "kinked": lambda xp, x: xp.abs(x) + xp.maximum(x, -x * 2.0),
    "reducing": lambda xp, x: xp.exp(x * 3.0).sum(),
    "a narrow peak": lambda xp, x: xp.exp(-1e6 * (x - x[0, 0]) ** 2),
    "cancelling": lambda xp, x: (x + 1e8) - 1e8,
    "at an edge": lambda xp, x: xp.sqrt(xp.abs(x - x[0, 0])),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("factor", [1.0, 1.001])
def test_verdicts_are_the_same_without_batches(adapter, name, factor, monkeypatch):
    library = getattr(adapter.library, "numpy", adapter.library)
    claim = default_claims().get("GC101")

    def function(x):
        wrong = x * factor
        held = wrong.detach() if adapter.name == "torch" else adapter.library.lax.stop_gradient(wrong)
        return FUNCTIONS[name](library, wrong - held + (x.detach() if adapter.name == "torch" else _still(adapter, x)))

    found = []
    for least in (LEAST, 10**9):
        monkeypatch.setattr(line, "LEAST", least)
        outcome = claim.check(subject(adapter, function, X))
        found.append((outcome.verdict, outcome.reason, outcome.finding is None))
    assert found[0] == found[1]


def _still(adapter, x):
    return adapter.library.lax.stop_gradient(x)


CACHES = ("its argument", "a result", "a result in a Function")


def caching(torch, what):
    """A right function that looks at what an earlier call left behind."""
    kept = {}

    class Kept(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            kept["x"] = x.exp()
            ctx.save_for_backward(kept["x"])
            return kept["x"] * 1.0

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0]

        @staticmethod
        def vmap(info, dims, x):
            return Kept.apply(x), 0

    def function(x):
        if what == "a result in a Function":
            return Kept.apply(x)
        last = kept.get("x")
        scale = last.detach().mean() * 0.0 if last is not None and last.shape == x.shape else 0.0
        kept["x"] = x if what == "its argument" else x * 2.0
        return x.sin() * 2.0 + scale

    return function


@pytest.mark.parametrize("what", CACHES)
def test_a_function_that_keeps_tensors_of_its_calls_is_never_called_under_vmap(what):
    torch = pytest.importorskip("torch")
    x = torch.tensor(X)
    function = caching(torch, what)
    report = gradcheck.check(function, x)
    assert report.ok, report
    assert any("keeps tensors" in line for line in report.unsupported)
    function(x)  # nothing that vmap made is left in it


def test_a_cache_that_is_filled_once_is_no_obstacle():
    torch = pytest.importorskip("torch")
    kept = {}

    def function(x):
        if "scale" not in kept:
            kept["scale"] = torch.arange(3.0, dtype=torch.float64)
        return x.sin() * kept["scale"]

    curve, counted, _, _ = one_line(engine("torch"), function, X)
    found = curve.many(POINTS)
    assert counted.calls == 4
    assert np.allclose(found, alone(curve), rtol=1e-14)


# What is declared to broadcast, on every engine -------------------------------------------------------------------


@pytest.fixture(name="any_engine", params=("torch", "refengine", "jax"))
def _any_engine(request):
    pytest.importorskip(request.param)
    made = engine(request.param)
    with made.sandbox(0):
        yield made


BROADCASTING = {
    "smooth": lambda x, y: (x * y + 0.25) * x,
    "reducing": lambda x, y: ((x * x).sum(-1) * y[..., 0]).sum(-1),
    "matmul": lambda x, y: x @ y.mT,
    "kinked": lambda x, y: abs(x) + y,
    "two": lambda x, y: (x * 2.0, (x * y).sum((-1, -2))),
    "a narrow peak": lambda x, y: 1.0 / (1.0 + 1e12 * (x - 0.3) ** 2) + y,
}


@pytest.mark.parametrize("name", BROADCASTING)
@pytest.mark.parametrize("at", [0.0, 1.0])
def test_verdicts_are_the_same_where_broadcasting_is_declared(any_engine, name, at):
    tensors = [any_engine.tensor(X * at), any_engine.tensor(X[::-1] + 0.5)]
    found = [
        gradcheck.check(BROADCASTING[name], *tensors, claims="GC101", batched=batched) for batched in (False, True)
    ]
    assert found[0].verdict == found[1].verdict
    assert found[0].inconclusive == found[1].inconclusive


def test_what_is_declared_is_one_call_a_chunk_without_vmap(monkeypatch):
    own = engine("refengine")
    counted = Counted(lambda x: x * x)
    at = subject(own, counted, X, broadcasts=True)
    curve = Evaluation(at).along({0: np.ones(X.shape)})
    counted.calls = 0
    found = curve.many(POINTS)
    assert counted.calls == 3
    assert np.array_equal(found, alone(curve))
    monkeypatch.setattr(line, "CHUNK", LEAST * 8 * 2 * X.size)
    counted.calls = 0
    curve.many(np.linspace(-0.25, 0.25, 3 * LEAST))
    assert counted.calls == 3


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda x: x.sum(0), "output 0 has shape"),
        (lambda x: x / x.sum(), "output 0 has other values"),
        (lambda x: x.reshape(6), "it raises"),
    ],
)
def test_a_false_declaration_is_refused(function, problem):
    own = engine("refengine")
    with pytest.raises(UsageError, match=f"batched: expected .* {problem}"):
        gradcheck.check(function, own.tensor(X), batched=True)
