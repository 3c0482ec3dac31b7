"""What the plugin offers in any run: options, markers, fixture, hook, refusals in one line, and no imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.pytester import FEW, LOADED, Run

OURS = ("gradcheck", "refengine", "hypothesis", "numpy", "scipy")


# Off costs nothing -------------------------------------------------------------------------------------------------


def imported(directory: Path, *arguments: str) -> set[str]:
    """The modules of interest that a pytest run of its own has imported at its end."""
    code = (
        "import sys, pytest\n"
        "code = pytest.main(sys.argv[1:])\n"
        f"print('IMPORTED', *sorted({{m.partition('.')[0] for m in sys.modules}} & {set(OURS)!r}))\n"
        "raise SystemExit(code)\n"
    )
    # Options meant for our own run, several workers say, are not this one's.
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    command = [sys.executable, "-c", code, *LOADED, *arguments]
    found = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return set(found.stdout.partition("IMPORTED")[2].split())


def test_a_plain_run_imports_nothing_of_ours(tmp_path: Path) -> None:
    tmp_path.joinpath("test_own.py").write_text("def test_own(): pass\n")
    # Hypothesis brings a pytest plugin of its own, which imports it.
    assert imported(tmp_path, "-p", "no:hypothesispytest") == set()


def test_the_measurement_sees_an_import(tmp_path: Path) -> None:
    tmp_path.joinpath("test_own.py").write_text("def test_own(gradcheck): pass\n")
    assert {"gradcheck", "refengine", "numpy"} <= imported(tmp_path, "-p", "no:hypothesispytest")


def test_our_modules_are_not_rewritten_as_if_they_were_tests(run_bare: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_own():
            for name in ("gradcheck.runner", "refengine.tensor"):
                assert type(sys.modules[name].__spec__.loader).__name__ == "SourceFileLoader"
            assert type(__spec__.loader).__name__ == "AssertionRewritingHook"
        """
    )
    run_bare("--gradcheck").assert_outcomes(passed=1)


# A user's own gradcheck.py -----------------------------------------------------------------------------------------


@pytest.fixture
def hidden(pytester: pytest.Pytester) -> pytest.Pytester:
    """A directory with a module of the user's that has our name, and a test that imports it."""
    pytester.makepyfile(gradcheck="mine = 1", test_own="import gradcheck\ndef test_own(): assert gradcheck.mine")
    return pytester


def run_as_module(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """``python -m pytest``, which puts the current directory first on the path."""
    return pytester.run(sys.executable, "-m", "pytest", *LOADED, *arguments)


def test_a_gradcheck_of_the_users_is_no_matter_without_the_option(hidden: pytest.Pytester) -> None:
    run_as_module(hidden).assert_outcomes(passed=1)


@pytest.mark.parametrize("option", ["--gradcheck", "--gradcheck-list", "--gradcheck-only"])
def test_a_gradcheck_of_the_users_is_one_line_with_the_option(hidden: pytest.Pytester, option: str) -> None:
    result = run_as_module(hidden, option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert [line for line in result.errlines if line] == [
        f"ERROR: gradcheck: expected the package of pytest-gradcheck, got {hidden.path / 'gradcheck.py'}, "
        "which hides it; rename that module"
    ]


def test_a_gradcheck_of_the_users_fails_the_fixture_in_one_line(hidden: pytest.Pytester) -> None:
    hidden.makepyfile(test_own="def test_own(gradcheck): pass")
    result = run_as_module(hidden)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["gradcheck: expected the package of pytest-gradcheck, got *"])


# Always registered ---------------------------------------------------------------------------------------------------


def test_hook_marker_and_fixture_are_known_to_a_plain_run(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def pytest_gradcheck_register(registry): raise RuntimeError('not called')")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.gradcheck(rtol=1e-5)
        def test_marked(): pass
        @pytest.mark.no_gradcheck
        def test_left_alone(): pass
        """
    )
    run("--strict-markers", "-W", "error").assert_outcomes(passed=2)


def test_markers_and_fixture_are_described(run: Run) -> None:
    run("--markers").stdout.fnmatch_lines(["@pytest.mark.gradcheck(domain=*): *", "@pytest.mark.no_gradcheck: *"])
    run("--fixtures").stdout.fnmatch_lines(["gradcheck *session scope*"])


def test_the_fixture_checks_within_a_given_test(run_bare: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest, refengine as re
        from hypothesis import given, settings, strategies as st

        class Wrong(re.autograd.Function):
            @staticmethod
            def forward(ctx, x): return x * 2
            @staticmethod
            def backward(ctx, g): return g * 3

        @settings(max_examples=3, deadline=None)
        @given(st.floats(-2, 2))
        def test_right(gradcheck, value):
            gradcheck(lambda x: x * 2, re.tensor([value, 1.0]))

        def test_wrong(gradcheck):
            gradcheck(Wrong.apply, re.tensor([0.5, 1.0]))
        """
    )
    result = run_bare()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*GC101 vjp_matches_numeric*"])


def test_a_registered_engine_and_claim_run_and_are_listed(run_bare: Run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        from gradcheck.checks.claim import Claim
        from gradcheck.engines.refengine import ReferenceEngine
        from gradcheck.verdict import AGREED

        class Mine(ReferenceEngine):
            name = "mine"

        def pytest_gradcheck_register(registry):
            registry.engines.register("mine", "refengine", Mine)
            registry.claims.register(Claim("always_holds", "GC998", "It holds.", lambda subject: AGREED))
        """
    )
    result = run_bare("gradcheck::mine-cpu::always_holds", FEW)
    assert result.ret == 0
    result.stdout.re_match_lines([r"mine-cpu +\d+", r"  GC998 always_holds +\d+"])
    run_bare("--gradcheck-list").stdout.fnmatch_lines(["  mine", "  GC998  always_holds * It holds."])


def test_a_name_registered_twice_is_one_line(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def pytest_gradcheck_register(registry): registry.ops.register(registry.ops.all()[0])")
    assert_one_line(run("--gradcheck"), "op: 'neg' is registered already")


# Listing -----------------------------------------------------------------------------------------------------------


def test_the_list_names_engines_claims_and_ops(run: Run) -> None:
    result = run("--gradcheck-list")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "engines",
            "  refengine*",
            "  torch*",
            "claims",
            "  GC101  vjp_matches_numeric * *",
            "ops by group",
            "  elementwise: *",
        ]
    )
    assert "session starts" not in str(result.stdout)


# Bad input -----------------------------------------------------------------------------------------------------------


def assert_one_line(result: pytest.RunResult, expected: str) -> None:
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in result.errlines if line]
    assert len(lines) == 1
    assert lines[0].startswith("ERROR: ")
    assert expected in lines[0]


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--gradcheck-engine=trch", "engine: unknown 'trch'; did you mean torch?"),
        ("--gradcheck-engine=torch-nowhere", "engine: 'torch' on 'nowhere' does not work here: "),
        ("--gradcheck-op=sofmax", "op: unknown 'sofmax'; did you mean softmax"),
        ("--gradcheck-profile=nightl", "profile: unknown 'nightl'; did you mean nightly?"),
        ("--gradcheck-profile=x", "profile: unknown 'x'; known are dev, ci, nightly"),
        ("--gradcheck-max-examples=0", "--gradcheck-max-examples: expected at least 1, got 0"),
        ("--gradcheck-replay=abc", "replay: unknown id 'abc' in "),
        ("--gradcheck-replay=gc1/refengine-cpu/vjp_matches_numeric/shape/0000/eJ", "expected a whole id"),
        ("--gradcheck-replay=gc0/x", "expected an id of format gc1, got one of gc0"),
        (
            "gradcheck::refengine-cpu::vjp_matches_numerc[shape]",
            "did you mean refengine-cpu::vjp_matches_numeric[shape]",
        ),
    ],
)
def test_bad_input_is_one_line(run: Run, argument: str, expected: str) -> None:
    if "torch-" in argument:
        pytest.importorskip("torch")
    assert_one_line(run("--gradcheck", argument), expected)


def test_an_engine_that_is_not_installed_says_how_to_install_it(run_bare: Run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        def pytest_gradcheck_register(registry):
            registry.engines.register("absent", "no_such_library", lambda device: None, "pip install absent")
        """
    )
    assert_one_line(run_bare("--gradcheck", "--gradcheck-engine=absent"), "which is not installed; pip install absent")
    run_bare("--gradcheck-list").stdout.fnmatch_lines(["  absent  (not installed: pip install absent)"])


def test_an_option_that_is_no_number_is_refused_by_the_parser(run: Run) -> None:
    result = run("--gradcheck", "--gradcheck-seed=x")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*argument --gradcheck-seed: invalid int value: 'x'"])
