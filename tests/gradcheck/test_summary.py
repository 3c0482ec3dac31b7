"""The summary of users' Functions: entries travel and merge, the worst comes first, notes are condensed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradcheck.plugin import files
from gradcheck.report.doubt import doubt_of
from gradcheck.report.function import FunctionResult, Status
from gradcheck.report.summary import Account, Defined, Entry, example, lines, versions


def result(name: str = "ops:Wrong", status: Status = Status.DISAGREED, **more: Any) -> FunctionResult:
    is_wrong = status is Status.DISAGREED
    given = {"code": "GC101", "claim": "vjp", "failing": ("GC101 vjp",), "report": "the report"} if is_wrong else {}
    return FunctionResult(name, engine="torch-cpu", status=status, **{"tried": 4, **given, **more})


def account(*entries: Entry, defined: tuple[Defined, ...] = ()) -> Account:
    found = Account()
    for entry in entries:
        found.add(entry)
    for known in defined:
        found.define(known)
    return found


def texts(found: Account) -> list[str]:
    return [line.text for line in lines(found)]


# Data --------------------------------------------------------------------------------------------------------------


def test_an_entry_travels_as_plain_data() -> None:
    sent = Entry(result(notes=("a", "b"), resolution=np.float64(1e-9)), ["t"], ["t"], is_known=True)
    data = json.loads(json.dumps(sent.to_data()))
    assert Entry.from_data(data) == sent
    assert type(sent.to_data()["result"]["status"]) is str
    assert type(sent.to_data()["result"]["resolution"]) is float


def test_a_function_that_is_defined_travels_as_plain_data() -> None:
    sent = Defined("ops:Unused", "ops.py:3 in Unused.backward", 2, True, "why", "def test(): ...")
    assert Defined.from_data(json.loads(json.dumps(sent.to_data()))) == sent


def test_the_same_finding_of_two_processes_is_one_entry_with_all_its_tests() -> None:
    found = account(Entry(result(notes=("a",)), ["t1"]), Entry(result(notes=("a", "b")), ["t2"], ["t2"]))
    (entry,) = found.entries.values()
    assert (entry.tests, entry.carriers, entry.result.notes) == (["t1", "t2"], ["t2"], ("a", "b"))


def test_a_function_called_in_one_process_of_two_counts_as_called() -> None:
    defined = (Defined("ops:A", calls=0, reason="never called"), Defined("ops:A", calls=3, reason="no floating input"))
    assert account(defined=defined).defined["ops:A"].calls == 3


def test_only_a_disagreement_that_no_test_shows_and_no_baseline_has_is_uncarried() -> None:
    shown, known = Entry(result("a:A"), ["t"], ["t"]), Entry(result("a:B"), ["t"], is_known=True)
    agreed, bare = Entry(result("a:C", Status.AGREED), ["t"]), Entry(result("a:D"), ["t"])
    assert account(shown, known, agreed, bare).uncarried() == [bare]


# Lines -------------------------------------------------------------------------------------------------------------


def test_a_function_has_one_row_for_the_worst_of_its_inputs() -> None:
    entries = [
        Entry(result("ops:A", Status.AGREED, signature="s1", resolution=1e-9), ["t1"]),
        Entry(result("ops:A", signature="s2"), ["t2"], ["t2"]),
        Entry(result("ops:B", Status.AGREED, signature="s1", resolution=1e-9), ["t1"]),
        Entry(result("ops:B", Status.AGREED, signature="s2", resolution=1e-7), ["t1"]),
    ]
    assert texts(account(*entries)) == [
        "disagreed  ops:A  GC101 vjp; called by t2, t1",
        "agreed     ops:B  to 1e-07 at 8 inputs of 2 kinds",
    ]


def test_rows_come_by_state_and_name() -> None:
    states = (Status.AGREED, Status.DELIBERATE, Status.INCONCLUSIVE, Status.DISAGREED)
    entries = [
        Entry(result(f"ops:{n}{k}", state, reason="why"), ["t"], ["t"]) for k, state in enumerate(states) for n in "ba"
    ]
    rows = [line.split()[:2] for line in texts(account(*entries))]
    words = ("disagreed", "inconclusive", "deliberate", "agreed")
    assert rows == [[word, f"ops:{name}{3 - k}"] for k, word in enumerate(words) for name in "ab"]


def test_what_was_declared_is_a_surrogate() -> None:
    assert texts(account(Entry(result("ops:A", Status.DELIBERATE, reason="declared: a straight-through step")))) == [
        "surrogate  ops:A  a straight-through step"
    ]


def test_a_function_that_is_inconclusive_too_often_is_named() -> None:
    doubts = ("kink", "noise", "kink")
    given = Entry(result("ops:A", Status.AGREED, tried=7, undecided=3, doubts=doubts, resolution=1e-9))
    row, warning, *remedy = lines(account(given))
    assert row.text == "agreed  ops:A  to 1e-09 at 7 inputs"
    assert warning.text == "GC901 ops:A: 3 of 7 inputs were inconclusive (43%): kink (2), noise (1)"
    assert (row.tone, warning.tone, remedy[0].tone) == ("", "odd", "")
    advice = " ".join(line.text.strip() for line in remedy)
    assert "kinks" in advice
    assert "domain=(low, high)" in advice
    assert len(texts(account(Entry(result("ops:A", Status.AGREED, tried=5, undecided=1, doubts=("kink",)))))) == 1


def test_inconclusive_inputs_are_counted_over_all_signatures_of_a_function() -> None:
    entries = [
        Entry(result("ops:A", Status.AGREED, signature="s1", tried=4)),
        Entry(result("ops:A", Status.AGREED, signature="s2", tried=4, undecided=2, doubts=("kink", "noise"))),
    ]
    assert "GC901 ops:A: 2 of 8 inputs were inconclusive (25%): kink (1), noise (1)" in texts(account(*entries))


def test_a_mismatch_that_is_meant_is_not_called_inconclusive() -> None:
    given = Entry(result("ops:A", Status.DELIBERATE, reason="why", tried=4, undecided=4, doubts=("kink",) * 4))
    assert texts(account(given)) == ["deliberate  ops:A  why"]


def test_what_the_baseline_knows_to_be_inconclusive_is_said_in_short() -> None:
    found = account(Entry(result("ops:A", Status.INCONCLUSIVE, reason="kink", undecided=4, doubts=("kink",) * 4)))
    found.known_doubts.add("ops:A")
    assert texts(found) == ["inconclusive  ops:A  kink", "known: ops:A GC901"]


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("kink", "kinks"),
        ("kink nearby", "too close"),
        ("pole or domain edge", "explode"),
        ("not the derivative from inside the domain", "keep inside"),
        ("not finite", "finite"),
        ("noise", "rtol"),
        ("random: the forward draws random numbers", "argument"),
        ("the check ended with SystemExit: 3", "raises"),
        ("something of its own", "fixture gradcheck"),
    ],
)
def test_each_reason_has_a_remedy_in_words(reason: str, word: str) -> None:
    doubt = doubt_of("ops:A", [result("ops:A", Status.INCONCLUSIVE, tried=1, undecided=1, doubts=(reason,))])
    assert doubt is not None
    assert word in doubt.remedy


def test_where_another_call_of_a_signature_was_decided_the_open_one_does_not_count() -> None:
    entries = [
        Entry(result("ops:A", Status.INCONCLUSIVE, reason="kink", undecided=4, doubts=("kink",) * 4), is_open=True),
        Entry(result("ops:A", Status.AGREED, resolution=1e-9)),
    ]
    assert texts(account(*entries)) == ["agreed  ops:A  to 1e-09 at 4 inputs"]
    assert texts(account(*reversed(entries))) == ["agreed  ops:A  to 1e-09 at 4 inputs"]


def test_an_open_signature_counts_where_another_signature_was_decided() -> None:
    entries = [
        Entry(result("ops:A", Status.INCONCLUSIVE, signature="s1", reason="kink"), is_open=True),
        Entry(result("ops:A", Status.AGREED, signature="s2")),
    ]
    assert texts(account(*entries)) == ["inconclusive  ops:A  kink"]


def test_what_was_not_checked_has_its_reason_and_a_test_to_paste() -> None:
    text = example("pkg.ops", "RowMax", ["x", "dim"])
    defined = (
        Defined("pkg.ops:RowMax", "pkg/ops.py:41 in RowMax.backward", example=text),
        Defined("pkg.ops:Mask", calls=2),
        Defined("pkg.ops:Left", is_ignored=True),
    )
    assert texts(account(defined=defined)) == [
        "not checked  pkg.ops:RowMax  never called; pkg/ops.py:41 in RowMax.backward",
        "not checked  pkg.ops:Mask    never called with a floating input",
        "what is not checked needs a test that calls it, such as",
        "    from pkg.ops import RowMax",
        "",
        "    def test_row_max(gradcheck):",
        "        gradcheck(RowMax.apply, x, dim)  # with x, dim of your own",
        "1 Function left out by gradcheck_ignore: pkg.ops:Left",
    ]


def test_a_local_class_has_no_test_to_paste() -> None:
    assert example("tests.test_x", "test_a.<locals>.Wrong", ["x"]) == ""


def test_an_inner_class_is_imported_by_its_outer_one() -> None:
    assert example("ops", "Outer.Inner", ["x"]).splitlines()[0] == "from ops import Outer"


def test_many_functions_that_are_not_checked_are_counted() -> None:
    found = texts(account(defined=tuple(Defined(f"ops:F{k}") for k in range(30))))
    assert (len(found), found[-1]) == (21, "not checked, too: 10 Functions more")


def test_the_same_note_is_written_once_and_cuts_are_added_up() -> None:
    entries = [
        Entry(result("ops:A", Status.AGREED, notes=("GC102 unsupported", "cut by the budget: GC104, GC105"))),
        Entry(result("ops:B", Status.AGREED, notes=("GC102 unsupported", "cut by the budget: GC601"))),
    ]
    assert texts(account(*entries))[2:] == [
        "notes",
        "  ops:A, ops:B: cut by the budget: GC104, GC105, GC601; --gradcheck-budget grants more",
        "  ops:A, ops:B: GC102 unsupported",
    ]


def test_a_failure_that_no_test_shows_is_printed_in_full() -> None:
    found = lines(account(Entry(result(report="first\n  second"), ["t"])))
    assert [(line.text, line.tone) for line in found[1:]] == [
        ("ops:Wrong is wrong, and no failing test says so:", "bad"),
        ("  first", ""),
        ("    second", ""),
    ]


def test_versions_seed_and_time_stand_in_one_line() -> None:
    assert versions({"python": "3.12.1", "numpy": "2.4.0"}, 7, 3.21) == (
        "python 3.12.1, numpy 2.4.0; seed 7; 3.2 s in checks"
    )


# Files -------------------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_in_one_step_and_keeps_its_rights(tmp_path: Path) -> None:
    path = tmp_path / "below" / "known.txt"
    files.write(path, "one\n")
    path.chmod(0o640)
    files.write(path, "two\n")
    assert path.read_text() == "two\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [found.name for found in path.parent.iterdir()] == ["known.txt"]


def test_a_script_is_named_after_its_function_and_code() -> None:
    assert files.script_name("pkg.ops:RowMax", "GC101") == "pkg.ops.RowMax-GC101.py"
    assert files.script_name("test_x:test_a.<locals>.Wrong", "GC103") == "test_x.test_a.Wrong-GC103.py"
    assert files.script_name("test_x:test_a.<locals>.<lambda>", "GC103") == "test_x.test_a.-lambda-GC103.py"
