"""The summary: counts add up, records travel as plain data, an op that stays inconclusive is named."""

from __future__ import annotations

import json

from gradcheck.events import CaseChecked, CaseSkipped, Finished, Found, Target
from gradcheck.failures import Finding
from gradcheck.report.terminal import LEGEND, Record, header, reasons, table, undecided_ops

TARGET = Target("torch", "cpu", "vjp_matches_numeric", "shape")


def record(target: Target = TARGET, agreed: int = 0, undecided: int = 0, vacuous: int = 0, skipped: int = 0) -> Record:
    found = Record(target)
    for count, event in (
        (agreed, CaseChecked(target, "agree", ("exp", "exp", "mul"))),
        (undecided, CaseChecked(target, "inconclusive", ("exp",), "a kink")),
        (vacuous, CaseChecked(target, "agree", ("exp",), vacuous=True)),
        (skipped, CaseSkipped(target, "no such op")),
    ):
        for _ in range(count):
            found.add(event)
    found.add(Finished(target, 1.5))
    return found


def test_a_record_travels_as_plain_data() -> None:
    sent = record(agreed=3, undecided=2, vacuous=1, skipped=4)
    assert Record.from_data(json.loads(json.dumps(sent.to_data()))) == sent


def test_an_op_counts_once_a_case_and_not_where_the_case_is_vacuous() -> None:
    assert record(agreed=3, undecided=2, vacuous=1).ops == {"exp": (5, 2), "mul": (3, 0)}


def test_the_table_adds_up_groups_and_claims() -> None:
    other = Target("torch", "cpu", "gradients_accumulate", "shape")
    records = [record(agreed=1000, vacuous=1), record(undecided=2), record(other, skipped=3)]
    codes = {"vjp_matches_numeric": "GC101", "gradients_accumulate": "GC601"}
    assert [line.split() for line in table(records, codes)[:4]] == [
        ["tried", "agreed", "disagreed", "inconclusive", "vacuous", "skipped"],
        ["torch-cpu", "1,003", "1,000", "0", "2", "1", "3"],
        ["GC101", "vjp_matches_numeric", "1,003", "1,000", "0", "2", "1", "0"],
        ["GC601", "gradients_accumulate", "0", "0", "0", "0", "0", "3"],
    ]


def test_the_table_explains_the_words_that_are_not_plain() -> None:
    assert table([record(agreed=1)], {})[3:] == list(LEGEND)
    assert all(f"{word}:" in " ".join(LEGEND) for word in ("inconclusive", "vacuous", "skipped"))


def test_a_disagreement_has_its_place_in_the_table() -> None:
    found = record(agreed=2)
    found.add(CaseChecked(TARGET, "disagree", ("exp",)))
    found.add(Found(TARGET, Finding("c", "GC101", "s", "torch-cpu", "x0.exp()"), "gc1/x"))
    assert table([found], {})[1].split() == ["torch-cpu", "3", "2", "1", "0", "0", "0"]


def test_reasons_come_by_frequency() -> None:
    title, *lines = reasons([record(undecided=1), record(undecided=1, skipped=5)])
    assert title == "why cases were inconclusive or skipped:"
    assert [line.split(maxsplit=1) for line in lines] == [
        ["5", "no such op"],
        ["2", "a kink"],
    ]
    assert reasons([record(agreed=1)]) == []


def test_an_op_that_is_inconclusive_in_more_than_a_fifth_is_named() -> None:
    assert [str(found) for found in undecided_ops([record(agreed=31, undecided=8), record(undecided=2)])] == [
        "GC901 exp on torch-cpu: 10 of 41 cases were inconclusive (24%)"
    ]


def test_a_fifth_exactly_or_few_cases_name_nothing() -> None:
    assert undecided_ops([record(agreed=32, undecided=8)]) == ()
    assert undecided_ops([record(undecided=29)]) == ()


def test_the_header_says_what_is_checked() -> None:
    assert header(["torch on cpu"], "dev", 7) == "gradcheck: engine torch on cpu; profile dev; seed 7"
