"""Projections: conventions off a set agree on it, mistakes disagree on both, and the source text is what is run."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from gradcheck.checks.claim import Subject
from gradcheck.checks.gradient import backward_is_linear_in_cotangent, vjp_matches_numeric
from gradcheck.engines import registry
from gradcheck.functions.domain import Projection, kept_on, projection_of
from gradcheck.observation.facts import Facts, facts_of
from gradcheck.verdict import Verdict


@pytest.fixture(params=["refengine", "torch"])
def engine(request):
    pytest.importorskip(request.param)
    return registry.engine(request.param)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.2, 1.7, size=shape)


def probabilities(*shape, axis=-1):
    x = numbers(*shape)
    return x / x.sum(axis=axis, keepdims=True)


def unit_vectors(*shape, axis=-1):
    x = numbers(*shape) - 0.8
    return x / np.linalg.norm(x, axis=axis, keepdims=True)


def symmetric(*shape):
    x = numbers(*shape)
    return x @ np.swapaxes(x, -1, -2) + 2 * np.eye(shape[-1])


def subject_of(engine, forward, backward, *inputs):
    """A Function of the engine's own library; `backward` takes the cotangent and the inputs."""
    library = importlib.import_module(engine.name)

    class Written(library.autograd.Function):
        @staticmethod
        def forward(ctx, *xs):
            ctx.save_for_backward(*xs)
            return forward(*xs)

        @staticmethod
        def backward(ctx, g):
            found = backward(g, *ctx.saved_tensors)
            return found if isinstance(found, tuple) else (found, *[None] * (len(ctx.needs_input_grad) - 1))

    return Subject(engine, Written.apply, inputs, (True,) + (False,) * (len(inputs) - 1), "Written.apply(x0)")


def verdicts(subject, facts=None):
    """Raw, and composed with the projections that the inputs ask for."""
    kept = kept_on(subject, facts or [facts_of(x) for x in subject.inputs])
    assert kept is not None
    assert backward_is_linear_in_cotangent(kept[0]).verdict is Verdict.AGREE
    return vjp_matches_numeric(subject).verdict, vjp_matches_numeric(kept[0]).verdict


CONVENTION, MISTAKE = (Verdict.DISAGREE, Verdict.AGREE), (Verdict.DISAGREE, Verdict.DISAGREE)
RIGHT = (Verdict.AGREE, Verdict.AGREE)


def neg_entropy_slope(g, p):
    return g[..., None] * (p.log() + 1)


ENTROPY = {
    "with every component": (neg_entropy_slope, RIGHT),
    "without the component along ones": (lambda g, p: g[..., None] * p.log(), CONVENTION),
    "centred": (lambda g, p: g[..., None] * (p.log() - p.log().mean(-1, keepdim=True)), CONVENTION),
    "wrong by a factor": (lambda g, p: 1.01 * g[..., None] * p.log(), MISTAKE),
    "wrong in one entry": (lambda g, p: g[..., None] * (p.log() * (1 + (p == p.max()) * 0.01)), MISTAKE),
}


@pytest.mark.parametrize("name", ENTROPY)
def test_entropy_of_probabilities_is_judged_along_the_simplex(engine, name):
    backward, expected = ENTROPY[name]
    subject = subject_of(engine, lambda p: (p * p.log()).sum(-1), backward, probabilities(3, 4))
    assert verdicts(subject) == expected


def test_normalised_cross_entropy_may_forget_its_normalisation_on_the_simplex(engine):
    def forward(p, t):
        return -(t * (p / p.sum(-1, keepdim=True)).log()).sum(-1)

    labels = np.eye(4)[[0, 2, 2]]
    subject = subject_of(engine, forward, lambda g, p, t: -g[..., None] * t / p, probabilities(3, 4), labels)
    assert verdicts(subject) == CONVENTION
    wrong = subject_of(engine, forward, lambda g, p, t: g[..., None] * (p - t), probabilities(3, 4), labels)
    assert verdicts(wrong) == MISTAKE


def test_softmax_jacobian_in_terms_of_probabilities_stands_on_the_simplex(engine):
    """Temperature scaling p**2 / sum(p**2), with the slope of a softmax at twice the logits."""

    def forward(p):
        return p * p / (p * p).sum(-1, keepdim=True)

    def backward(g, p, factor=2.0):
        q = forward(p)
        return factor * q * (g - (g * q).sum(-1, keepdim=True)) / p + 3.0 * g.sum(-1, keepdim=True)

    assert verdicts(subject_of(engine, forward, backward, probabilities(2, 5))) == CONVENTION
    wrong = subject_of(engine, forward, lambda g, p: backward(g, p, 1.0), probabilities(2, 5))
    assert verdicts(wrong) == MISTAKE


def test_probabilities_along_another_axis_keep_their_sums(engine):
    def entropy(p):
        return (p * p.log()).sum(0)

    subject = subject_of(engine, entropy, lambda g, p: g * p.log(), probabilities(4, 3, axis=0))
    assert verdicts(subject) == CONVENTION


SQUARES = {  # trace(X A X) for a matrix A that need not be symmetric: slope (A X)^T + (X A)^T
    "as for any matrix": (lambda g, x, a: g * (x.mT @ a.mT + a.mT @ x.mT), RIGHT),
    "without transposes": (lambda g, x, a: g * (a @ x + x @ a), CONVENTION),
    "transposed on one side": (lambda g, x, a: g * (a @ x + a.mT @ x), CONVENTION),
    "one side twice": (lambda g, x, a: 2 * g * (a @ x), MISTAKE),
    "symmetrised": (lambda g, x, a: g * (x @ a + a @ x + a.mT @ x + x @ a.mT) / 2, CONVENTION),
    "twice off the diagonal": (lambda g, x, a: g * (x @ a + a @ x + a.mT @ x + x @ a.mT), MISTAKE),
}


@pytest.mark.parametrize("name", SQUARES)
def test_quadratic_form_of_a_symmetric_matrix_may_be_symmetrised(engine, name):
    backward, expected = SQUARES[name]

    def forward(x, a):
        return ((x @ a) * x.mT).sum()

    assert verdicts(subject_of(engine, forward, backward, symmetric(3, 3), numbers(3, 3, seed=4))) == expected


def test_gradient_kept_in_one_triangle_is_right_for_symmetric_matrices(engine):
    strict, diagonal = np.tril(np.ones((3, 3)), -1), np.eye(3)

    def forward(x, *_):
        return (x @ x * x).sum()  # the sum of (x x) * x; symmetric slope below

    def whole(x):
        return x.mT @ x + x @ x.mT + x @ x

    def one_triangle(g, x, below, on):
        symmetrised = (whole(x) + whole(x).mT) / 2
        return g * symmetrised * (2.0 * below + on), None, None

    subject = subject_of(engine, forward, one_triangle, symmetric(3, 3), strict, diagonal)
    facts = [facts_of(subject.inputs[0]), Facts(0.0, 1.0), Facts(0.0, 1.0)]
    raw, kept = verdicts(subject, facts)
    assert raw is Verdict.DISAGREE
    assert kept is Verdict.AGREE


def test_batch_of_symmetric_matrices_is_symmetrised_one_by_one(engine):
    def forward(x):
        return (x[..., 0, 1] * x[..., 0, 1]).sum()

    def both_triangles(g, x):
        eye = x * 0.0
        eye[..., 0, 1] = 1.0
        return g * x * (eye + eye.mT)

    assert verdicts(subject_of(engine, forward, both_triangles, symmetric(2, 3, 3))) == CONVENTION


def test_unit_vectors_may_lose_the_component_along_themselves(engine):
    def forward(x):
        return x[..., 0] * x[..., 1] + x[..., 2]

    def slope(g, x):
        found = x * 0.0
        found[..., 0], found[..., 1], found[..., 2] = x[..., 1], x[..., 0], 1.0
        return g[..., None] * found

    def tangential(g, x):
        return slope(g, x) - x * (x * slope(g, x)).sum(-1, keepdim=True)

    assert verdicts(subject_of(engine, forward, slope, unit_vectors(4, 3))) == RIGHT
    assert verdicts(subject_of(engine, forward, tangential, unit_vectors(4, 3))) == CONVENTION
    assert verdicts(subject_of(engine, forward, lambda g, x: 2 * tangential(g, x), unit_vectors(4, 3))) == MISTAKE


POINTS = {
    Projection("symmetric"): symmetric(2, 3, 3),
    Projection("probabilities", -1): probabilities(2, 4),
    Projection("probabilities", -2): probabilities(4, 2, axis=0),
    Projection("unit vectors", -1): unit_vectors(2, 4),
    Projection("unit vectors", -2): unit_vectors(4, 2, axis=0),
}


@pytest.mark.parametrize("projection", POINTS, ids=str)
def test_projection_is_asked_for_and_leaves_a_point_of_its_set(engine, projection):
    values = POINTS[projection]
    assert projection_of(facts_of(values)) == projection
    found = engine.array(projection.apply(engine, engine.tensor(values)))
    np.testing.assert_allclose(found, values, rtol=4e-16, atol=0)


@pytest.mark.parametrize("projection", POINTS, ids=str)
def test_source_text_computes_what_is_judged(engine, projection):
    x = engine.tensor(numbers(*POINTS[projection].shape, seed=7))
    told = engine.array(eval(projection.source("x3"), {"x3": x}))
    assert (told == engine.array(projection.apply(engine, x))).all()


def test_free_inputs_ask_for_no_projection(engine):
    subject = subject_of(engine, lambda x: x * x, lambda g, x: 2 * g * x, numbers(3))
    assert kept_on(subject, [facts_of(numbers(3))]) is None


def test_inputs_that_are_not_differentiated_are_left_alone(engine):
    subject = subject_of(engine, lambda x, p: x * p, lambda g, x, p: g * p, numbers(2, 3), probabilities(2, 3))
    assert kept_on(subject, [facts_of(x) for x in subject.inputs]) is None


def test_each_kept_input_has_its_source(engine):
    inputs = symmetric(3, 3), probabilities(2, 3)
    subject = Subject(engine, lambda x, p: (x, p), inputs, (True, True), "pair(x0, x1)")
    kept = kept_on(subject, [facts_of(x) for x in inputs])
    assert kept is not None
    assert kept[1] == {0: "(x0 + x0.mT) / 2", 1: "x1 / x1.sum(-1, keepdim=True)"}
    assert kept[0].label == subject.label


def test_one_projection_is_picked_last_axis_first():
    assert projection_of(Facts(0, 1, sums_to_one=(-2,), is_symmetric=True)) == Projection("symmetric")
    assert projection_of(Facts(0, 1, sums_to_one=(-1, -2), is_symmetric=True)) == Projection("probabilities", -1)
    assert projection_of(Facts(0, 1, sums_to_one=(-1,), unit_norm=(-1,))) == Projection("probabilities", -1)
    assert projection_of(Facts(-1, 1, sums_to_one=(-2,), unit_norm=(-1,))) == Projection("unit vectors", -1)
