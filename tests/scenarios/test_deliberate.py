"""Mismatches that are meant: those that declare themselves, those that are declared, and real mistakes beside them."""

from __future__ import annotations

import pytest

from tests.scenarios.material import (
    CLAMP,
    CUBE,
    DECLARED_RELU,
    DELIBERATE,
    ENTROPY,
    REVERSAL,
    ROUND,
    SPIKE,
    SYMMETRIC_NORM,
    WIDE_RELU,
    call,
    named,
    wrong,
)
from tests.scenarios.stranger import Stranger

torch = pytest.importorskip("torch")

X = "torch.tensor([[0.3, -1.25, 2.1], [-0.45, 0.8, -3.3]], requires_grad=True)"
IN_PLACE = "GC203"
LAYOUT = "GC301"
RAVELLED = "torch.from_numpy({}.detach().numpy().ravel(order='K').copy()).reshape(g.shape)"
MISTAKEN = {
    "Spike": (wrong(SPIKE, "g / (1 + x.abs()) ** 2", "g.div_((1 + x.abs()) ** 2)"), IN_PLACE),
    "Round": (wrong(ROUND, "return g", f"return {RAVELLED.format('g')}"), LAYOUT),
    "Reversal": (wrong(REVERSAL, "-g", "g.neg_()"), IN_PLACE),
    "Clamp": (wrong(CLAMP, "return g", f"return {RAVELLED.format('g')}"), LAYOUT),
}
"""Each with a real mistake in another claim, and that claim's code."""


def test_the_four_structures_are_listed_and_do_not_fail(stranger: Stranger) -> None:
    stranger.package(*DELIBERATE.values(), CUBE)
    stranger.tests(*(call(name, X) for name in DELIBERATE), call("Cube", X))
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 5}, 0)
    assert seen.rows == {f"pkg.ops:{name}": "deliberate" for name in DELIBERATE} | {"pkg.ops:Cube": "agreed"}
    assert all(seen.row(f"pkg.ops:{name}") for name in DELIBERATE)


def test_a_strict_run_fails_them_all(stranger: Stranger) -> None:
    stranger.package(*DELIBERATE.values())
    stranger.tests(*(call(name, X) for name in DELIBERATE))
    seen = stranger.run("--gradcheck-strict")
    assert (seen.outcomes, seen.code) == ({"failed": 4}, 1)
    assert {*seen.rows.values()} == {"disagreed"}


@pytest.mark.parametrize("name", DELIBERATE)
def test_a_mistake_in_another_claim_fails_all_the_same(stranger: Stranger, name: str) -> None:
    source, code = MISTAKEN[name]
    stranger.package(source)
    stranger.tests(call(name, X))
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"failed": 1}, 1)
    assert seen.rows == {f"pkg.ops:{name}": "disagreed"}
    text = "\n".join(seen.failure(f"test_{name.lower()}"))
    assert code in text
    assert "GC101" not in text


def test_a_leaky_backward_of_a_relu_shows_no_intention(stranger: Stranger) -> None:
    stranger.package(WIDE_RELU)
    stranger.tests(call("WideRelu", X))
    seen = stranger.run()
    assert seen.failed == ["test_widerelu"]
    seen.shows("GC101")


def test_a_declaration_in_the_class_lists_it(stranger: Stranger) -> None:
    stranger.package(DECLARED_RELU)
    stranger.tests(call("WideRelu", X))
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 1}, 0)
    assert seen.rows == {"pkg.ops:WideRelu": "surrogate"}
    assert "units that are off should learn too" in seen.row("pkg.ops:WideRelu")


def test_a_declaration_in_the_configuration_lists_it(stranger: Stranger) -> None:
    stranger.ini("gradcheck_surrogate = pkg.ops:WideRelu")
    stranger.package(WIDE_RELU)
    stranger.tests(call("WideRelu", X))
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 1}, 0)
    assert seen.rows == {"pkg.ops:WideRelu": "surrogate"}


def test_every_other_claim_of_a_declared_one_still_runs(stranger: Stranger) -> None:
    stranger.package(wrong(DECLARED_RELU, "g * (x > -1)", "g.mul_(x > -1)"))
    stranger.tests(call("WideRelu", X))
    seen = stranger.run()
    assert seen.failed == ["test_widerelu"]
    seen.shows(IN_PLACE)


def test_a_strict_run_fails_a_declared_one_too(stranger: Stranger) -> None:
    stranger.package(DECLARED_RELU)
    stranger.tests(call("WideRelu", X))
    assert stranger.run("--gradcheck-strict").failed == ["test_widerelu"]


def test_a_declaration_does_not_reach_another_function(stranger: Stranger) -> None:
    stranger.package(DECLARED_RELU, named(WIDE_RELU, "OtherRelu"))
    stranger.tests(call("WideRelu", X), call("OtherRelu", X))
    seen = stranger.run()
    assert seen.failed == ["test_otherrelu"]


def test_a_backward_that_fits_the_identity_gets_the_declaration_suggested(stranger: Stranger) -> None:
    stranger.package(ROUND.replace("Round", "Bend").replace("x.round()", "x.tanh()"))
    stranger.tests(call("Bend", X))
    text = " ".join(" ".join(stranger.run().failure("test_bend")).split())
    assert "__gradcheck_surrogate__" in text


def test_an_approximate_backward_gets_a_tolerance_suggested(stranger: Stranger) -> None:
    stranger.package(wrong(CUBE, "g * 3 * x * x", "g * 3.00003 * x * x"))
    stranger.tests(call("Cube", X))
    text = " ".join(" ".join(stranger.run().failure("test_cube")).split())
    assert "rtol=" in text


def test_an_estimator_is_not_failed(stranger: Stranger) -> None:
    stranger.package(
        """
        class Sampled(Function):
            @staticmethod
            def forward(ctx, p):
                ctx.save_for_backward(p)
                return (torch.rand_like(p) < p).to(p.dtype)

            @staticmethod
            def backward(ctx, g):
                return g
        """
    )
    stranger.tests(call("Sampled", "torch.tensor([0.2, 0.7, 0.4], requires_grad=True)"))
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 1}, 0)
    assert seen.rows["pkg.ops:Sampled"] in ("deliberate", "inconclusive")


# Right on a set of inputs alone -------------------------------------------------------------------------------------


def test_a_function_for_probabilities_is_judged_among_probabilities(stranger: Stranger) -> None:
    stranger.package(ENTROPY)
    stranger.tests(call("Entropy", "torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]], requires_grad=True)"))
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 1}, 0)
    assert seen.rows == {"pkg.ops:Entropy": "agreed"}
    assert seen.text.count("off the domain seen") == 1


def test_a_function_for_symmetric_matrices_is_judged_among_them(stranger: Stranger) -> None:
    stranger.package(SYMMETRIC_NORM)
    stranger.tests(call("SymmetricNorm", "torch.tensor([[1.0, 0.5, -2.0], [0.5, 3.0, 0.25], [-2.0, 0.25, -1.0]])"))
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 1}, 0)
    assert seen.rows == {"pkg.ops:SymmetricNorm": "agreed"}
    seen.shows("off the domain seen")


def test_a_mistake_among_probabilities_fails(stranger: Stranger) -> None:
    stranger.package(wrong(ENTROPY, "(-1) * p.log()", "(-1) * p.log() * 0.5"))
    stranger.tests(call("Entropy", "torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]], requires_grad=True)"))
    assert stranger.run().failed == ["test_entropy"]


def test_a_function_for_positive_numbers_is_not_given_others(stranger: Stranger) -> None:
    stranger.package(
        """
        class Root(Function):
            @staticmethod
            def forward(ctx, x):
                y = x.abs().sqrt()
                ctx.save_for_backward(y)
                return y

            @staticmethod
            def backward(ctx, g):
                (y,) = ctx.saved_tensors
                return g / (2 * y)  # right for positive numbers, which all are
        """
    )
    stranger.tests(call("Root", "torch.tensor([[0.5, 1.5], [2.0, 0.25]])"))
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 1}, 0)
