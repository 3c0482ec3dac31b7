"""A failed case is kept, found by its short id, and replayed by the long one without any file."""

from __future__ import annotations

import re
import shutil

import pytest

from tests.fakes.pytester import FEW, ONE, ONE_ID, Run
from tests.fakes.runner import FAILS


@pytest.fixture
def ids(run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The short and the long id of a failure just printed. It fails no more afterwards."""
    monkeypatch.setenv(FAILS, ONE)
    text = str(run(ONE_ID, FEW).stdout)
    monkeypatch.delenv(FAILS)
    short, long = re.findall(r"--gradcheck-replay=(\S+)", text)
    return short, long


def test_both_ids_replay_the_case_and_nothing_else(run: Run, ids: tuple[str, str], pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_own(): pass")
    for text in ids:
        result = run("--gradcheck", f"--gradcheck-replay={text}", "-v")
        result.assert_outcomes(passed=1)
        assert f"{ONE_ID.partition('[')[0]}[replay-{ids[0]}] PASSED" in str(result.stdout)


def test_a_replayed_case_that_still_fails_says_the_same(
    run: Run, ids: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FAILS, ONE)
    result = run("--gradcheck", f"--gradcheck-replay={ids[0]}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["GC999 vjp_matches_numeric: The fake holds.", f"*--gradcheck-replay={ids[1]}"])


def test_the_long_id_needs_no_file(run: Run, ids: tuple[str, str], pytester: pytest.Pytester) -> None:
    shutil.rmtree(pytester.path / ".gradcheck")
    run("--gradcheck", f"--gradcheck-replay={ids[1]}").assert_outcomes(passed=1)
    assert run("--gradcheck", f"--gradcheck-replay={ids[0]}").ret == pytest.ExitCode.USAGE_ERROR


def test_a_short_id_is_found_in_the_corpus(run: Run, ids: tuple[str, str], pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ngradcheck_corpus = kept\n")
    shutil.move(pytester.path / ".gradcheck" / "cases", pytester.path / "kept")
    run("--gradcheck", f"--gradcheck-replay={ids[0]}").assert_outcomes(passed=1)


def test_a_mistyped_id_names_the_nearest(run: Run, ids: tuple[str, str]) -> None:
    result = run("--gradcheck", f"--gradcheck-replay={ids[0][:-1]}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: replay: unknown id *; did you mean {ids[0]}?"])


def test_the_id_of_a_replayed_item_is_an_argument(run: Run, ids: tuple[str, str]) -> None:
    run(f"{ONE_ID.partition('[')[0]}[replay-{ids[0]}]").assert_outcomes(passed=1)


def test_a_case_from_another_list_of_ops_is_refused(run: Run, ids: tuple[str, str]) -> None:
    parts = ids[1].split("/")
    parts[4] = "0000"
    result = run("--gradcheck", f"--gradcheck-replay={'/'.join(parts)}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: replay: * was drawn from another list of ops*"])


def test_the_directory_ignores_itself(ids: tuple[str, str], pytester: pytest.Pytester) -> None:
    assert pytester.path.joinpath(".gradcheck", ".gitignore").read_text().splitlines()[-1] == "*"
    kept = pytester.path.joinpath(".gradcheck", "cases", f"{ids[0]}.txt").read_text()
    assert kept.splitlines()[0] == ids[1]
    assert "GC999 vjp_matches_numeric" in kept


def test_a_directory_that_cannot_be_written_costs_a_warning(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file in its place: permissions do not stop every user.
    pytester.path.joinpath(".gradcheck").write_text("")
    monkeypatch.setenv(FAILS, ONE)
    result = run(ONE_ID, FEW, "-W", "error")
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(["warning: the case could not be kept, only its long id replays it (*)"])
