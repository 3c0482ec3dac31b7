"""Users' torch Functions under ``--gradcheck``, with nothing replaced: from a call in a test to a script."""

from __future__ import annotations

import sys

import pytest

from tests.fakes.pytester import Run

pytest.importorskip("torch")

OPS = """
import os
import torch
from torch.autograd import Function

class Square(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x * g

class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x ** 3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x ** 2 * g

class Exits(Square):
    @staticmethod
    def backward(ctx, g):
        os._exit(3)

cube = Cube.apply

def numbers(*shape, dtype=torch.float32):
    return torch.linspace(-1.0, 2.0, 6, dtype=dtype).reshape(*shape).requires_grad_()
"""


@pytest.fixture
def check(run: Run, pytester: pytest.Pytester) -> Run:
    """Run pytest here, in a repository with the Functions above."""
    pytester.makepyfile(ops=OPS)
    return lambda *args: run(
        "--gradcheck", "--gradcheck-seed=7", "--gradcheck-profile=ci", "--gradcheck-budget=5", *args
    )


def lines(result: pytest.RunResult, text: str) -> list[str]:
    return [line for line in result.outlines if text in line]


def write(pytester: pytest.Pytester, text: str) -> None:
    pytester.makepyfile(test_own=f"import ops, torch, pytest\n{text}")


def test_the_wrong_function_fails_its_test_and_the_script_shows_the_same(check: Run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("from ops import cube")
    write(
        pytester,
        """
from conftest import cube
def test_cube(): cube(ops.numbers(2, 3))
def test_square(): ops.Square.apply(ops.numbers(2, 3)).sum().backward()
""",
    )
    result = check()
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "GC101 vjp_matches_numeric: *",
            "  where     ops.py:23 in Cube.backward",
            "  again     pytest --gradcheck --gradcheck-seed=7 test_own.py::test_cube",
            "  script    .gradcheck/repro/ops.Cube-GC101.py",
            "disagreed *ops:Cube *",
            "agreed *ops:Square *",
            "FAILED test_own.py::test_cube - GC101 Cube.apply(x0): *",
        ]
    )
    report = result.outlines[result.outlines.index(lines(result, "_ test_cube _")[0]) + 1 :]
    assert report.index(lines(result, "= gradcheck =")[0]) <= 25
    done = pytester.run(sys.executable, pytester.path / ".gradcheck" / "repro" / "ops.Cube-GC101.py")
    assert done.ret == 1


def test_their_own_gradient_check_is_run_in_full(check: Run, pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
def doubled(x):
    return Twice.apply(x)

class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return 2 * x
    @staticmethod
    def backward(ctx, g): return 2 * g.contiguous().as_strided(g.shape, g.stride())

def test_passes(): torch.autograd.gradcheck(torch.sin, (ops.numbers(6, dtype=torch.float64),))
def test_fails(): torch.autograd.gradcheck(lambda x: x.detach() * x, (ops.numbers(6, dtype=torch.float64),))
""",
    )
    result = check()
    outcomes = result.parseoutcomes()
    assert outcomes == {"passed": 1, "failed": 1}
    result.stdout.fnmatch_lines(["*GradcheckError*", "*- gradcheck -*", "GC101 vjp_matches_numeric: *"])
    result.stdout.fnmatch_lines(["  given     to torch.autograd.gradcheck at test_own.py:*"])
    result.stdout.fnmatch_lines(["disagreed *test_own:test_fails.<locals>.<lambda> *GC101*"])


def test_their_own_gradient_check_is_no_second_failure_of_a_function(check: Run, pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
def test_first(): ops.Cube.apply(ops.numbers(6))
def test_second():
    torch.autograd.gradcheck(lambda x: ops.Cube.apply(x), (ops.numbers(6, dtype=torch.float64),), raise_exception=False)
""",
    )
    result = check()
    result.assert_outcomes(failed=1, passed=1)
    assert len(lines(result, "disagreed")) == 1


def test_random_numbers_and_modes_of_a_test_are_left_alone(run_bare: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(ops=OPS)
    write(
        pytester,
        """
state = []
def test_first():
    torch.manual_seed(3)
    ops.Square.apply(ops.numbers(6))
    state.append(torch.get_rng_state())
def test_second():
    assert torch.equal(torch.get_rng_state(), state[0])
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() is torch.float32
""",
    )
    run_bare("--gradcheck").assert_outcomes(passed=2)


def test_a_crash_is_a_failure_where_checks_are_isolated(check: Run, pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
def test_exits(): ops.Exits.apply(ops.numbers(6))
def test_wrong(): ops.Cube.apply(ops.numbers(6))
def test_right(): ops.Square.apply(ops.numbers(6))
""",
    )
    result = check("--gradcheck-isolate")
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(
        [
            "GC903 check_ends: *",
            "  where     ops.py:* in Exits.backward",
            "  detail    the child process exited with status 3",
            "GC101 vjp_matches_numeric: *",
        ]
    )


def test_pytorch_is_not_imported_for_who_does_not_import_it(run_bare: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import sys\ndef test_own(gradcheck): assert 'torch' not in sys.modules")
    run_bare("--gradcheck").assert_outcomes(passed=1)


def test_every_patch_is_undone(check: Run, pytester: pytest.Pytester) -> None:
    import torch

    before = {name: vars(torch.autograd.Function).get(name) for name in ("forward", "apply", "__init_subclass__")}
    original = torch.autograd.gradcheck
    write(pytester, "def test_own(): ops.Square.apply(ops.numbers(6))")
    check().assert_outcomes(passed=1)
    assert {name: vars(torch.autograd.Function).get(name) for name in before} == before
    assert torch.autograd.gradcheck is original
    assert not [finder for finder in sys.meta_path if type(finder).__module__.startswith("gradcheck")]
