"""Judging an observed Function: verdicts, what is excused, what is left alone, what is drawn."""

from __future__ import annotations

import os
import pickle
import signal

import pytest

from gradcheck.functions.isolation import Crash, isolated
from gradcheck.functions.wishes import LEAST_EVALUATIONS, Allowance, Meter
from gradcheck.report.function import Status
from tests.functions.observed import judge, observe

torch = pytest.importorskip("torch")
Function = torch.autograd.Function


class Square(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * g * x


class HalfSquare(Square):
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x


def point(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Values that no kink of a usual Function is at."""
    count = torch.Size(shape).numel()
    values = torch.linspace(-1.7, 2.3, count, dtype=torch.float64) if count > 1 else torch.tensor([0.7])
    return values.reshape(shape).to(dtype).requires_grad_()


def test_a_right_function_agrees_at_several_inputs():
    result = judge(lambda: Square.apply(point(3, 4)))
    assert result.status is Status.AGREED
    assert result.name.endswith(":Square")
    assert result.tried > 5
    assert result.undecided == 0
    assert 0 < result.resolution < 1e-6
    assert result.report == result.script == ""


def test_a_wrong_one_is_reported_with_its_place_its_numbers_and_a_script():
    result = judge(lambda: HalfSquare.apply(point(3, 4)))
    assert result.status is Status.DISAGREED
    assert (result.code, result.claim) == ("GC101", "vjp_matches_numeric")
    assert "in HalfSquare.backward" in result.where
    assert "0.5 times the right one" in result.report
    assert result.headline.startswith("GC101 HalfSquare.apply(x0): ")
    assert len(result.report.splitlines()) <= 22
    assert "class HalfSquare" in result.script


def test_a_result_is_plain_data():
    result = judge(lambda: HalfSquare.apply(point(3, 4)))
    assert pickle.loads(pickle.dumps(result)) == result


def test_the_same_seed_and_a_count_of_evaluations_give_the_same_result():
    allowance = Allowance(seconds=None, evaluations=400)
    first, second = (judge(lambda: Square.apply(point(3, 4)), allowance=allowance) for _ in range(2))
    assert (first.tried, first.evaluations, first.notes) == (second.tried, second.evaluations, second.notes)
    assert first.evaluations < 800


def test_what_the_budget_cuts_is_listed_and_the_gradient_is_looked_at_all_the_same():
    result = judge(lambda: HalfSquare.apply(point(3, 4)), allowance=Allowance(seconds=0.0))
    assert result.code == "GC101"
    assert any("cut by the budget: " in note and "GC301" in note for note in result.notes)


def test_a_mistake_at_sizes_that_no_test_has_says_so_in_its_first_line():
    class OnlyForThree(Square):
        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 2 * g * x if x.shape[0] <= 3 else g * x

    result = judge(lambda: OnlyForThree.apply(point(3)))
    assert result.status is Status.DISAGREED
    assert "at drawn values only" in result.report.splitlines()[0]


def test_a_forward_that_raises_at_drawn_sizes_was_not_made_for_them():
    class OnlyThree(Square):
        @staticmethod
        def forward(ctx, x):
            if x.shape != (3,):
                raise ValueError("three entries")
            return Square.forward(ctx, x)

    assert judge(lambda: OnlyThree.apply(point(3))).status is Status.AGREED


def test_a_backward_that_raises_after_a_forward_that_did_not_is_wrong():
    class OnlyThreeBack(Square):
        @staticmethod
        def backward(ctx, g):
            if g.shape != (3,):
                raise ValueError("three entries")
            return Square.backward(ctx, g)

    result = judge(lambda: OnlyThreeBack.apply(point(3)))
    assert result.status is Status.DISAGREED
    assert "raised ValueError" in result.report


# Precision ---------------------------------------------------------------------------------------------------------


class RefusesFloat64(Square):
    @staticmethod
    def forward(ctx, x):
        if x.dtype != torch.float32:
            raise TypeError("float32 only")
        return Square.forward(ctx, x)


class RefusesFloat64AndIsWrong(RefusesFloat64):
    @staticmethod
    def backward(ctx, g):
        return HalfSquare.backward(ctx, g)


class SineInFloat32(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.float().sin().to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return (g.float() * x.float().cos()).to(g.dtype)


def test_a_function_that_refuses_float64_is_judged_in_its_own_precision():
    result = judge(lambda: RefusesFloat64.apply(point(3, 4)))
    assert result.status is Status.AGREED
    assert any("judged in float32: it refuses float64" in note for note in result.notes)
    assert judge(lambda: RefusesFloat64AndIsWrong.apply(point(3, 4))).code == "GC101"


def test_float32_inside_is_no_mistake_where_float32_was_given():
    result = judge(lambda: SineInFloat32.apply(point(3, 4)))
    assert result.status is Status.AGREED
    assert any("computes in less than float64" in note for note in result.notes)


def test_float32_inside_of_float64_is_a_finding_of_its_own_kind():
    result = judge(lambda: SineInFloat32.apply(point(3, 4, dtype=torch.float64)))
    assert result.failing == ("GC701 works_in_its_inputs_precision",)


# What is excused ---------------------------------------------------------------------------------------------------


class Round(Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, g):
        return g


class RoundThatScalesItsCotangent(Round):
    @staticmethod
    def backward(ctx, g):
        return g.mul_(2)


class Declared(HalfSquare):
    __gradcheck_surrogate__ = "trains better"


def test_a_structure_that_declares_itself_is_deliberate_and_not_when_strict():
    result = judge(lambda: Round.apply(point(3, 4)))
    assert result.status is Status.DELIBERATE
    assert "constant" in result.reason
    assert judge(lambda: Round.apply(point(3, 4)), strict=True).status is Status.DISAGREED


def test_its_other_claims_still_run():
    result = judge(lambda: RoundThatScalesItsCotangent.apply(point(3, 4)))
    assert result.failing[0] == "GC203 no_input_is_modified"


def test_a_declared_surrogate_is_deliberate():
    result = judge(lambda: Declared.apply(point(3, 4)), surrogate="trains better")
    assert result.status is Status.DELIBERATE
    assert result.reason == "declared: trains better"


# What is asked only where it is wanted -----------------------------------------------------------------------------


class SineByNumPy(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.cosine = torch.from_numpy(x.detach().numpy().copy()).cos()
        return x.sin()

    @staticmethod
    def backward(ctx, g):
        return g * ctx.cosine


def test_a_wrong_second_derivative_that_nobody_asked_for_is_a_warning():
    result = judge(lambda: SineByNumPy.apply(point(3)))
    assert result.status is Status.AGREED
    assert any("once_differentiable" in note for note in result.notes)


def test_it_fails_where_a_test_used_it():
    def test():
        x = point(3)
        (g,) = torch.autograd.grad(SineByNumPy.apply(x).sum(), x, create_graph=True)
        assert g is not None

    assert judge(test).code == "GC104"


def test_it_fails_where_it_is_asked_for_by_name():
    assert judge(lambda: SineByNumPy.apply(point(3)), claims=("GC104",)).code == "GC104"


# What a call touches besides its arguments -------------------------------------------------------------------------


class Normalized(Function):
    @staticmethod
    def forward(ctx, x, module):
        ctx.save_for_backward(x)
        ctx.module = module
        with torch.enable_grad():
            return module(x.detach()).detach()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            torch.autograd.backward(ctx.module(leaf), g)
        return leaf.grad, None


def test_modules_that_a_call_reaches_are_left_alone():
    module = torch.nn.BatchNorm1d(3)
    seen = observe(lambda: Normalized.apply(point(4, 3), module))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    result = judge(lambda: Normalized.apply(point(4, 3), module))
    assert seen
    assert result.status is Status.AGREED, result
    after = module.state_dict()
    # One call of ours, which is the test's own, moves the running statistics once.
    assert after["num_batches_tracked"] == before["num_batches_tracked"] + 1
    assert module.weight.grad is None
    assert module.training
    assert torch.equal(torch.get_rng_state(), state)


class Noisy(Function):
    @staticmethod
    def forward(ctx, x):
        mask = torch.rand_like(x) < 0.5
        ctx.save_for_backward(mask)
        return x * mask * 2

    @staticmethod
    def backward(ctx, g):
        (mask,) = ctx.saved_tensors
        return g * mask * 2


def test_a_random_forward_is_judged_with_the_random_numbers_of_the_call():
    assert judge(lambda: Noisy.apply(point(4, 3))).status is Status.AGREED


class AddOneInPlace(Function):
    @staticmethod
    def forward(ctx, x):
        x.add_(1)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx, g):
        return g


def test_a_function_that_declares_that_it_works_in_place_is_judged_on_copies():
    result = judge(lambda: AddOneInPlace.apply(point(3) * 1))
    assert result.status is Status.AGREED
    assert any("in place" in note for note in result.notes)


class Loss(Function):
    """None for the target says that it has no gradient."""

    @staticmethod
    def forward(ctx, x, target):
        ctx.save_for_backward(x, target)
        return ((x - target) ** 2).sum()

    @staticmethod
    def backward(ctx, g):
        x, target = ctx.saved_tensors
        return 2 * g * (x - target), None


def test_inputs_that_never_required_grad_are_not_differentiated():
    assert judge(lambda: Loss.apply(point(3), point(3).detach() + 1)).status is Status.AGREED
    assert judge(lambda: Loss.apply(point(3).detach(), point(3).detach() + 1)).status is Status.AGREED


def test_none_for_an_input_that_required_grad_is_wrong():
    result = judge(lambda: Loss.apply(point(3), (point(3).detach() + 1).requires_grad_()))
    assert result.code == "GC101"


class ValueAndIndex(Function):
    @staticmethod
    def forward(ctx, x):
        values, index = x.max(dim=0)
        index = index.to(x.dtype)
        ctx.save_for_backward(index)
        ctx.shape = x.shape
        ctx.mark_non_differentiable(index)
        return values, index

    @staticmethod
    def backward(ctx, g, _):
        (index,) = ctx.saved_tensors
        found = torch.zeros(ctx.shape, dtype=g.dtype)
        found[int(index)] = g
        return found


def test_outputs_that_are_marked_as_not_differentiable_are_left_out():
    assert judge(lambda: ValueAndIndex.apply(point(4))).status is Status.AGREED


class OnlyOnce(Square):
    calls = 0

    @staticmethod
    def forward(ctx, x):
        OnlyOnce.calls += 1
        if OnlyOnce.calls > 1:
            raise RuntimeError("only once")
        return Square.forward(ctx, x)


def test_a_function_that_cannot_be_called_again_is_not_checked():
    result = judge(lambda: OnlyOnce.apply(point(3)))
    assert result.status is Status.UNCHECKED
    assert "only once" in result.reason


# Children ----------------------------------------------------------------------------------------------------------


def test_a_child_gives_back_what_was_computed():
    assert isolated(lambda: 1 + 1, 10.0) == 2


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (lambda: os._exit(3), "exited with status 3"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "was ended by SIGKILL"),
        (lambda: exit(0), "exited with status 0"),
    ],
)
def test_a_child_that_ends_without_an_answer_crashed(work, said):
    with pytest.raises(Crash, match=said):
        isolated(work, 10.0)


def test_a_child_that_hangs_is_ended():
    with pytest.raises(Crash, match="did not end within"):
        isolated(lambda: [None for _ in iter(int, 1)], 0.2)


# Large and slow calls ----------------------------------------------------------------------------------------------


def test_a_large_input_is_judged_at_a_part_of_it_and_as_a_whole():
    result = judge(lambda: Square.apply(point(200, 300)))
    assert result.status is Status.AGREED
    assert "large: most claims were asked at a part of the input" in result.notes
    wrong = judge(lambda: HalfSquare.apply(point(200, 300)))
    assert wrong.code == "GC101"
    assert "from x0 (7, 5)" in " ".join(wrong.report.split())


def test_a_mistake_that_only_a_large_input_shows_is_found():
    class ZeroFarAway(Square):
        @staticmethod
        def backward(ctx, g):
            found = Square.backward(ctx, g)
            if found.shape[0] > 40:
                found[40, 7] = 0
            return found

    result = judge(lambda: ZeroFarAway.apply(point(200, 300)))
    assert result.code == "GC101"
    assert "entry     [40, 7]" in result.report


def test_probabilities_of_many_classes_are_judged_at_fewer():
    class NegativeEntropy(Function):
        @staticmethod
        def forward(ctx, p):
            ctx.save_for_backward(p)
            return (p * p.log()).sum(-1)

        @staticmethod
        def backward(ctx, g):
            (p,) = ctx.saved_tensors
            return g[..., None] * p.log()  # right along the simplex

    p = torch.randn(64, 50, generator=torch.Generator().manual_seed(0)).softmax(-1).requires_grad_()
    assert judge(lambda: NegativeEntropy.apply(p)).status is Status.AGREED


def test_a_call_that_costs_far_more_than_allowed_ends_undecided():
    result = judge(lambda: Square.apply(point(3, 4)), allowance=Allowance(seconds=None, evaluations=1))
    assert result.status is Status.AGREED  # a small Function needs no more than the least
    meter = Meter(Allowance(seconds=None, evaluations=1), evaluations=LEAST_EVALUATIONS)
    assert meter.is_exhausted


def test_a_version_that_moved_is_a_warning():
    class UnsqueezesItsCotangent(Square):
        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            g.view_as(g).unsqueeze_(0)
            return 2 * g * x

    result = judge(lambda: UnsqueezesItsCotangent.apply(point(3)))
    assert result.status is Status.AGREED
    assert any("GC203" in note and "same values" in note for note in result.notes)


# Left as it was ----------------------------------------------------------------------------------------------------


class Runner:
    def __init__(self):
        self.linear = torch.nn.Linear(3, 3)

    def run(self, x):
        return self.linear(x)


class Checkpointed(Function):
    @staticmethod
    def forward(ctx, run, x):
        ctx.run = run
        ctx.save_for_backward(x)
        return run(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            torch.autograd.backward(ctx.run(leaf), g)
        return None, leaf.grad


AVERAGE = torch.zeros(())
SEEN = []


class Counting(Function):
    calls = 0
    last = torch.zeros(3)

    @staticmethod
    def forward(ctx, x):
        Counting.calls += 1
        Counting.last = x.detach().clone()
        AVERAGE.mul_(0.9).add_(0.1 * x.mean().to(AVERAGE.dtype))
        SEEN.append(x.detach())
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * g * x


def test_gradients_of_what_a_bound_method_reaches_stay_as_they_were():
    runner = Runner()
    assert judge(lambda: Checkpointed.apply(runner.run, point(2, 3))).status is Status.AGREED
    assert runner.linear.weight.grad is None


def test_what_forward_writes_to_stays_as_the_test_left_it():
    state = []

    def test():
        Counting.apply(point(3))
        state.extend([AVERAGE.clone(), Counting.calls, Counting.last, len(SEEN)])

    assert judge(test).status is Status.AGREED
    average, calls, last, count = state
    assert torch.equal(AVERAGE, average)
    assert (Counting.calls, len(SEEN)) == (calls, count)
    assert Counting.last is last


def test_running_statistics_among_the_arguments_are_a_note():
    class Centred(Function):
        @staticmethod
        def forward(ctx, x, mean):
            mean.mul_(0.9).add_(0.1 * x.mean(0))
            return x - x.mean(0)

        @staticmethod
        def backward(ctx, g):
            return g - g.mean(0), None

    result = judge(lambda: Centred.apply(point(4, 2), torch.zeros(2)))
    assert result.status is Status.AGREED
    assert any("the forward pass modified" in note for note in result.notes)


def test_an_axis_of_coordinates_does_not_grow():
    class Distance(Function):
        """Of points in the plane, which have two coordinates."""

        @staticmethod
        def forward(ctx, points):
            ctx.save_for_backward(points)
            return points[:, 0] ** 2 + points[:, 1] ** 2

        @staticmethod
        def backward(ctx, g):
            (points,) = ctx.saved_tensors
            return 2 * g[:, None] * torch.stack([points[:, 0], points[:, 1]], 1)

    result = judge(lambda: Distance.apply(point(5, 2)))
    assert result.status is Status.AGREED
    assert result.tried > 3
