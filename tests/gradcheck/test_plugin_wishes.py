"""What markers, options and ini values ask of the checks of users' Functions; bad ones are one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradcheck.functions.wishes import Allowance
from gradcheck.plugin import judging
from gradcheck.plugin.options import Budget, Options
from gradcheck.report.function import FunctionResult
from tests.fakes import functions, ops
from tests.fakes.pytester import Run


@pytest.fixture
def check(run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run pytest here with the fake check."""
    monkeypatch.setattr(judging, "examine", functions.examine)
    pytester.makepyfile(ops=Path(ops.__file__).read_text(encoding="utf-8"))
    return lambda *args: run("--gradcheck", *args)


def write(pytester: pytest.Pytester, text: str) -> None:
    pytester.makepyfile(test_own=f"import ops, pytest\n{text}")


def notes(result: pytest.RunResult) -> list[str]:
    """What the fake check says that it was asked for."""
    return [line.strip() for line in result.outlines if "rtol" in line]


# Markers -----------------------------------------------------------------------------------------------------------


def test_a_marker_is_for_the_functions_that_its_test_calls(check: Run, pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
@pytest.mark.gradcheck(rtol=1e-3, claims=["gradgradient_matches_numeric" if False else "GC104"])
def test_marked(): ops.call(ops.Right)
def test_plain(): ops.call(ops.Odd); ops.call(ops.Right)
""",
    )
    found = notes(check())
    assert [line.partition(", strict")[0] for line in found] == [
        "ops:Odd: rtol 1e-06, claims ",
        "ops:Right: rtol 0.001, claims GC104",
    ]


def test_a_later_marker_has_the_function_checked_again(check: Run, pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
def test_plain(): ops.call(ops.Right)
@pytest.mark.gradcheck(rtol=1e-3)
@pytest.mark.parametrize("k", [1, 2])
def test_marked(k): ops.call(ops.Right)
""",
    )
    assert [line.split(",")[0] for line in notes(check())] == ["ops:Right: rtol 1e-06", "ops:Right: rtol 0.001"]


def test_the_closest_marker_wins_for_each_keyword(check: Run, pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
@pytest.mark.gradcheck(rtol=1e-3, claims="GC104")
class TestOwn:
    @pytest.mark.gradcheck(rtol=1e-2)
    def test_own(self): ops.call(ops.Right)
""",
    )
    assert "rtol 0.01, claims GC104" in notes(check())[0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("tol=1", "marker gradcheck: unknown keyword 'tol'; known are domain, rtol, claims, nondet_tol"),
        ("1e-3", "marker gradcheck: expected keywords only, got 0.001"),
        ("rtol=2", "marker gradcheck: expected rtol between 0 and 1, got 2"),
        ("rtol='x'", "marker gradcheck: expected rtol between 0 and 1, got 'x'"),
        ("claims='vjp_matches_numerc'", "claim: unknown 'vjp_matches_numerc'; did you mean vjp_matches_numeric*"),
        ("claims=3", "marker gradcheck: expected claims as a name or a list of names, got 3"),
        ("claims='GC401'", "marker gradcheck: claim * is about a module, not a function"),
        ("domain=3", "marker gradcheck: expected domain as (low, high), or *"),
        ("domain={0: (2, 1)}", "marker gradcheck: expected domain as (low, high), or *"),
    ],
)
def test_a_bad_marker_is_one_error_of_its_test(
    check: Run, pytester: pytest.Pytester, arguments: str, expected: str
) -> None:
    write(
        pytester,
        f"@pytest.mark.gradcheck({arguments})\ndef test_own(): ops.call()\ndef test_right(): ops.call(ops.Right)",
    )
    result = check()
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["*ERROR at setup of test_own*", expected])


def test_a_bad_marker_is_no_matter_where_nothing_is_checked(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.gradcheck(tol=1)\ndef test_own(): pass")
    run().assert_outcomes(passed=1)


# Options and ini values --------------------------------------------------------------------------------------------


def test_a_function_that_is_ignored_is_counted(check: Run, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ngradcheck_ignore = ops:Wrong ops:Odd")
    write(pytester, "def test_own(): ops.call(); ops.call(ops.Right)")
    result = check()
    assert result.ret == 0
    result.stdout.fnmatch_lines(["2 Functions left out by gradcheck_ignore: ops:Wrong, ops:Odd"])
    assert not [line for line in result.outlines if line.startswith(("not checked  ops:Wrong ", "disagreed"))]


def test_a_surrogate_is_listed_with_its_reason(check: Run, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ngradcheck_surrogate =\n    ops:Wrong = a straight-through estimator\n    ops:Odd")
    write(pytester, "def test_own(): ops.call(); ops.call(ops.Odd)")
    result = check()
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["surrogate *ops:Odd *named in gradcheck_surrogate", "surrogate *ops:Wrong *a straight-through estimator"]
    )


@pytest.mark.parametrize("ini", ["gradcheck_ignore", "gradcheck_surrogate"])
def test_a_name_that_is_nearly_right_is_pointed_at(check: Run, pytester: pytest.Pytester, ini: str) -> None:
    pytester.makeini(f"[pytest]\n{ini} = ops:Wrog")
    write(pytester, "def test_own(): ops.call()")
    check().stdout.fnmatch_lines([f"{ini}: no Function 'ops:Wrog' was seen; did you mean ops:Wrong?"])


def test_strict_is_passed_on(check: Run, pytester: pytest.Pytester) -> None:
    write(pytester, "def test_own(): ops.call(ops.Right)")
    assert "strict True" in notes(check("--gradcheck-strict"))[0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--gradcheck-budget=-1",), "--gradcheck-budget: expected seconds, 0 or more, got -1.0"),
        (("--gradcheck-budget=nan",), "--gradcheck-budget: expected seconds, 0 or more, got nan"),
        (
            ("-o", "gradcheck_budget=x"),
            "gradcheck_budget: expected seconds, 0 or more: could not convert string to float: 'x'",
        ),
        (
            ("-o", "gradcheck_ignore=ops.Wrong"),
            "gradcheck_ignore: expected a Function as pkg.mod:Class, got 'ops.Wrong'",
        ),
        (("-o", "gradcheck_surrogate=ops = x"), "gradcheck_surrogate: expected a Function as pkg.mod:Class, got 'ops'"),
    ],
)
def test_bad_input_is_one_line(check: Run, arguments: tuple[str, ...], expected: str) -> None:
    result = check(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert [line for line in result.errlines if line] == [f"ERROR: {expected}"]


def test_second_derivatives_are_checked_once_a_test_needs_them(check: Run, pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
def test_first(): ops.call(ops.Once).sum().backward()
def test_second():
    x = ops.re.tensor([0.5], requires_grad=True)
    ops.re.autograd.grad(ops.Once.apply(x).sum(), x, create_graph=True)
""",
    )
    result = check("-v")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*test_second FAILED*"])


# The budget --------------------------------------------------------------------------------------------------------


def spent(name: str, **cost: float) -> FunctionResult:
    return FunctionResult(name, **cost)  # type: ignore[arg-type]


def test_a_function_has_a_tenth_of_what_there_is() -> None:
    budget = Budget(Options(seconds=20.0))
    assert budget.allowance("a") == Allowance(seconds=2.0)
    budget.spend(spent("a", seconds=1.5))
    assert budget.allowance("a") == Allowance(seconds=0.5)
    assert budget.allowance("b") == Allowance(seconds=2.0)
    budget.spend(spent("c", seconds=18.0))
    assert budget.allowance("b") == Allowance(seconds=0.5)
    budget.spend(spent("d", seconds=5.0))
    assert budget.allowance("b") == Allowance(seconds=0.0)


@pytest.mark.parametrize("table", ["[pytest]", "[tool.pytest]"])
def test_the_budget_may_be_a_number_in_toml(check: Run, pytester: pytest.Pytester, table: str) -> None:
    name = "pytest.toml" if table == "[pytest]" else "pyproject.toml"
    pytester.path.joinpath(name).write_text(f"{table}\ngradcheck_budget = 5.0\n")
    write(pytester, "def test_own(): ops.call(ops.Right)")
    assert "Allowance(seconds=0.5, evaluations=None)" in notes(check())[0]


def test_profile_ci_counts_evaluations(check: Run, pytester: pytest.Pytester) -> None:
    write(pytester, "def test_own(): ops.call(ops.Right); ops.call(ops.Right, size=(2,))")
    found = check("--gradcheck-profile=ci", "--gradcheck-budget=30")
    assert "Allowance(seconds=None, evaluations=3000)" in notes(found)[0]
    assert Budget(Options(is_counted=True)).allowance("a") == Allowance(seconds=None, evaluations=2_000)
