"""Claims in float32 and narrower: right functions never disagree, wrong ones do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gradcheck.arguments import as_subject
from gradcheck.checks import default_claims
from gradcheck.checks.gradient import vjp_matches_numeric
from gradcheck.checks.precision import measured_noise
from gradcheck.engines.registry import engine
from gradcheck.failures import Unsupported, UsageError
from tests.gradcheck.adapters import adapter_fixture
from tests.gradcheck.family import FAMILY, made

__all__ = ["adapter_fixture"]

EACH = pytest.mark.parametrize("member", FAMILY, ids=lambda member: member.name)
WRONG = pytest.mark.parametrize(
    ("member", "mistake"),
    [pytest.param(member, name, id=f"{member.name}-{name}") for member in FAMILY for name in member.wrong],
)
ROUND_OFF = ("GC103", "GC104", "GC203", "GC301", "GC601", "GC602", "GC603", "GC701")
SEEDS = 20


def tensor(adapter, values, dtype):
    library = adapter.library
    return library.tensor(values.tolist(), dtype=getattr(library, dtype))


def subject_of(adapter, member, rule, dtype, seed):
    function = made(adapter.library.autograd.Function, member.forward, rule).apply
    inputs = [tensor(adapter, x, dtype) for x in member.draw(np.random.default_rng(seed))]
    return as_subject(function, inputs, adapter, rtol=1e-6, seed=seed, name="f", precision="own")


@EACH
def test_right_functions_agree_in_float32(adapter, member):
    outcomes = [vjp_matches_numeric(subject_of(adapter, member, member.right, "float32", s)) for s in range(SEEDS)]
    assert [outcome.finding for outcome in outcomes if outcome.finding is not None] == []
    assert sum(outcome.verdict == "agree" for outcome in outcomes) >= 0.9 * SEEDS


@WRONG
def test_wrong_functions_disagree_in_float32(adapter, member, mistake):
    found = [
        vjp_matches_numeric(subject_of(adapter, member, member.wrong[mistake], "float32", seed)).verdict == "disagree"
        for seed in range(4)
    ]
    assert all(found)


@EACH
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_no_claim_about_round_off_is_alarmed_by_a_narrow_dtype(member, dtype):
    pytest.importorskip("torch")
    claims = default_claims()
    for seed in range(3):
        subject = subject_of(engine("torch"), member, member.right, dtype, seed)
        for code in ROUND_OFF:
            outcome = claims.get(code).check(subject)
            assert outcome.finding is None, outcome.finding


@EACH
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_right_functions_never_disagree_in_half_precision(member, dtype):
    pytest.importorskip("torch")
    for seed in range(SEEDS):
        outcome = vjp_matches_numeric(subject_of(engine("torch"), member, member.right, dtype, seed))
        assert outcome.finding is None, outcome.finding


def test_a_wrong_factor_is_seen_in_float16():
    pytest.importorskip("torch")
    member = FAMILY[0]
    outcome = vjp_matches_numeric(subject_of(engine("torch"), member, member.wrong["factor"], "float16", 0))
    assert outcome.verdict == "disagree"


def float32_inside(member, torch):
    return lambda *xs: member.forward(*(x.float() for x in xs)).double()


@EACH
def test_the_noise_of_float32_inside_is_measured_and_respected(member):
    torch = pytest.importorskip("torch")
    adapter = engine("torch")
    hidden = replace_forward(member, float32_inside(member, torch))
    plain, noisy = (subject_of(adapter, m, m.right, "float64", 1) for m in (member, hidden))
    assert measured_noise(plain) < 2.0**-40
    noise = measured_noise(noisy)
    assert 2.0**-27 < noise < 2.0**-19
    judged = replace(noisy, noise=noise)
    for code in ("GC101", *ROUND_OFF[:-1]):
        assert default_claims().get(code).check(judged).finding is None


def replace_forward(member, forward):
    return replace(member, forward=forward)


def test_the_noise_of_half_precision_inside_is_measured():
    torch = pytest.importorskip("torch")
    for dtype, least, most in ((torch.float16, 2.0**-13, 2.0**-8), (torch.bfloat16, 2.0**-11, 2.0**-5)):
        x = torch.linspace(-1.0, 2.0, 40, dtype=torch.float64)
        subject = as_subject(
            lambda x, to=dtype: x.to(to).sin().double(), [x], engine("torch"), rtol=1e-6, seed=0, name="f"
        )
        assert least < measured_noise(subject) < most


def test_a_subject_keeps_the_dtypes_of_a_call():
    torch = pytest.importorskip("torch")
    seen = []

    def function(x, y, z):
        seen.append((x.dtype, y.dtype, z.dtype))
        return (x * y).sum() + z.sum()

    inputs = [torch.ones(3, dtype=torch.bfloat16), torch.ones(3), torch.ones(3, dtype=torch.float16)]
    subject = as_subject(function, inputs, engine("torch"), rtol=1e-6, seed=0, name="f", precision="own")
    assert [x.dtype for x in subject.inputs] == [np.float32, np.float32, np.float16]
    assert subject.epsilon == 2.0**-7
    assert subject.resolution == 3e-2
    outcome = vjp_matches_numeric(subject)
    assert seen[0] == (torch.bfloat16, torch.float32, torch.float16)
    assert outcome.finding is None


def test_the_caller_decides_what_is_differentiated(adapter):
    inputs = [tensor(adapter, np.ones(2), "float64") for _ in range(3)]
    subject = as_subject(
        lambda x, others: x * others[0] * others[1], [inputs[0], inputs[1:]], adapter,
        rtol=1e-6, seed=0, name="f", differentiable=(True, False, False),
    )  # fmt: skip
    assert subject.differentiable == (True, False, False)
    assert vjp_matches_numeric(subject).verdict == "agree"


def test_a_mask_of_another_length_raises(adapter):
    inputs = [tensor(adapter, np.ones(2), "float64")]
    with pytest.raises(UsageError, match="expected 1 flags, one for each tensor, got 2"):
        as_subject(lambda x: x, inputs, adapter, rtol=1e-6, seed=0, name="f", differentiable=(True, False))


def test_replay_runs_before_each_evaluation_in_place_of_seeding(adapter):
    state = {"calls": 0, "factor": 1.0}

    def replay():
        state["calls"] += 1
        state["factor"] = 3.0

    def function(x):
        y = x * x * state["factor"]
        state["factor"] += 1.0
        return y

    inputs = [tensor(adapter, np.array([1.0, -2.0]), "float64")]
    subject = as_subject(function, inputs, adapter, rtol=1e-6, seed=0, name="f", replay=replay)
    assert vjp_matches_numeric(subject).verdict == "agree"
    assert state["calls"] > 10


def test_forward_mode_in_float32_agrees(adapter):
    inputs = [tensor(adapter, x, "float32") for x in (np.linspace(-1.0, 2.0, 9).reshape(3, 3), np.eye(3) + 1.0)]
    subject = as_subject(lambda x, y: (x @ y).exp(), inputs, adapter, rtol=1e-6, seed=0, name="f", precision="own")
    try:
        outcome = default_claims().get("GC102").check(subject)
    except Unsupported:
        pytest.skip("no forward mode")
    assert outcome.verdict == "agree"
