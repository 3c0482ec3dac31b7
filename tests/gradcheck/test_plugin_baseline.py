"""Known failures: matched by op, code and claim; added, reported when they fail no more, and dropped."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradcheck.failures import UsageError
from gradcheck.plugin import baseline, judging
from gradcheck.plugin.baseline import Known
from tests.fakes import functions, ops
from tests.fakes.pytester import FEW, ONE, ONE_ID, Run
from tests.fakes.runner import FAILS

WRONG = "ops:Wrong  GC101  vjp_matches_numeric"
RIGHT = "ops:Right  GC101  vjp_matches_numeric"
TESTS = "import ops\ndef test_wrong(): ops.call()\ndef test_right(): ops.call(ops.Right)\n"
UPDATE, PRUNE = "--gradcheck-baseline-update", "--gradcheck-baseline-prune"


@pytest.fixture
def check(run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run pytest here with the fake check and a baseline."""
    monkeypatch.setattr(judging, "examine", functions.examine)
    pytester.makepyfile(ops=Path(ops.__file__).read_text(encoding="utf-8"), test_own=TESTS)
    return lambda *args: run("--gradcheck", "--gradcheck-baseline=known.txt", *args)


def entries(pytester: pytest.Pytester) -> list[str]:
    return [line for line in pytester.path.joinpath("known.txt").read_text().splitlines() if line[0] != "#"]


def known(pytester: pytest.Pytester, *lines: str) -> None:
    pytester.path.joinpath("known.txt").write_text("\n".join(lines) + "\n")


# A round trip ------------------------------------------------------------------------------------------------------


def test_what_is_added_fails_no_test_afterwards(check: Run, pytester: pytest.Pytester) -> None:
    result = check(UPDATE)
    assert (result.ret, entries(pytester)) == (0, [WRONG])
    result.stdout.fnmatch_lines([f"baseline: added {WRONG}"])
    result = check("-rP")
    assert result.ret == 0
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["*- gradcheck -*", "known, the baseline has it", functions.HEADLINE, "known *ops:Wrong *GC101*"]
    )


def test_a_failure_that_is_not_in_it_fails(check: Run, pytester: pytest.Pytester) -> None:
    known(pytester, "# nothing", "ops:Wrong  GC103  vjp_matches_numeric")
    result = check()
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["baseline: ops:Wrong  GC103  vjp_matches_numeric matched nothing; *"])


def test_what_matches_nothing_is_reported_where_its_function_was_checked(check: Run, pytester: pytest.Pytester) -> None:
    known(pytester, WRONG, RIGHT, "gone:Gone  GC101  vjp_matches_numeric")
    result = check()
    assert result.ret == 0
    found = [line for line in result.outlines if "matched nothing" in line]
    assert found == [f"baseline: {RIGHT} matched nothing; {PRUNE} drops it"]


def test_pruning_drops_what_matches_nothing_and_keeps_comments(check: Run, pytester: pytest.Pytester) -> None:
    known(pytester, "# ours", f"{WRONG}  # since 2024", RIGHT, "gone:Gone  GC101  vjp_matches_numeric")
    assert check(PRUNE).ret == 0
    assert pytester.path.joinpath("known.txt").read_text() == f"# ours\n{WRONG}  # since 2024\n"


@pytest.mark.parametrize("part", [("test_own.py",), ("-k", "right or wrong and not other"), ("-k", "right")])
def test_a_part_of_the_tests_prunes_only_what_it_checked(
    check: Run, pytester: pytest.Pytester, part: tuple[str, ...]
) -> None:
    gone = "gone:Gone  GC101  vjp_matches_numeric"
    known(pytester, WRONG, RIGHT, gone)
    is_whole = part[-1] == "right or wrong and not other"
    assert check(PRUNE, *part).ret == 0
    assert entries(pytester) == ([WRONG] if is_whole else [gone, WRONG])


def test_an_update_adds_and_sorts_and_leaves_the_rest(check: Run, pytester: pytest.Pytester) -> None:
    known(pytester, "z:Last  GC101  vjp_matches_numeric", RIGHT)
    check(UPDATE)
    assert entries(pytester) == [RIGHT, WRONG, "z:Last  GC101  vjp_matches_numeric"]


def test_a_run_that_neither_updates_nor_prunes_writes_nothing(check: Run, pytester: pytest.Pytester) -> None:
    text = f"{WRONG}   # odd spacing stays\n\n{RIGHT}\n"
    pytester.path.joinpath("known.txt").write_text(text)
    check()
    assert pytester.path.joinpath("known.txt").read_text() == text


def test_workers_know_them_and_the_controller_writes(
    run_apart: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("xdist")
    pytester.makeconftest(Path(functions.__file__).read_text(encoding="utf-8") + functions.INSTALL)
    pytester.makepyfile(ops=Path(ops.__file__).read_text(encoding="utf-8"), test_own=TESTS)
    arguments = ("--gradcheck", "--gradcheck-baseline=known.txt", "-n2")
    assert run_apart(*arguments, UPDATE).ret == 0
    assert entries(pytester) == [WRONG]
    result = run_apart(*arguments)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["known *ops:Wrong *"])


def test_an_item_of_the_suite_may_be_known(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FAILS, ONE)
    arguments = (ONE_ID, FEW, "--gradcheck-baseline=known.txt")
    assert run(*arguments, UPDATE).ret == 0
    assert entries(pytester) == [f"{ONE}  GC999  vjp_matches_numeric"]
    result = run(*arguments, "-rP")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["known, the baseline has it", "known: * GC999"])
    monkeypatch.delenv(FAILS)
    run(*arguments).stdout.fnmatch_lines(["baseline: *  GC999  * matched nothing; *"])


# The file ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "--gradcheck-baseline: no file *known.txt'; --gradcheck-baseline-update writes it"),
        ((PRUNE,), "--gradcheck-baseline: no file *"),
        (("-o", "gradcheck_baseline=", "--gradcheck-baseline=", UPDATE), "*expected --gradcheck-baseline=FILE*"),
    ],
)
def test_a_missing_file_is_one_line(check: Run, arguments: tuple[str, ...], expected: str) -> None:
    result = check(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {expected}"])


def test_a_line_that_is_no_entry_is_named(check: Run, pytester: pytest.Pytester) -> None:
    known(pytester, "# fine", "ops:Wrong GC101")
    result = check()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *known.txt:2: expected an op, a code and a claim, got 'ops:Wrong GC101'"])


def test_names_may_hold_what_names_of_local_classes_hold(tmp_path: Path) -> None:
    path = tmp_path / "known.txt"
    path.write_text("tests/x:test_a.<locals>.Wrong\tGC101  claim # why\n")
    found = baseline.read(path, updates=False, prunes=False)
    assert found.entries == {Known("tests/x:test_a.<locals>.Wrong", "GC101", "claim")}
    assert list(found.comments.values()) == ["  # why"]


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    tmp_path.joinpath("known.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        baseline.read(tmp_path / "known.txt", updates=False, prunes=False)


def test_the_ini_value_is_relative_to_the_root(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "examine", functions.examine)
    pytester.makeini("[pytest]\ngradcheck = true\ngradcheck_baseline = known.txt")
    below = pytester.mkdir("below")
    for name, text in (("ops", Path(ops.__file__).read_text(encoding="utf-8")), ("test_own", TESTS)):
        below.joinpath(f"{name}.py").write_text(text)
    known(pytester, WRONG)
    monkeypatch.chdir(below)
    assert run().ret == 0
