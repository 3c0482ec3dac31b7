"""How a finding and a report read."""

from __future__ import annotations

from dataclasses import replace

from gradcheck.failures import Finding
from gradcheck.report.result import Report, format_finding
from gradcheck.verdict import AGREED, Outcome, Verdict

FINDING = Finding(
    claim="vjp_matches_numeric",
    code="GC101",
    sentence="The gradient is the numerical derivative.",
    engine="torch-cpu",
    call="RowMax.apply(x0)",
    where="rows.py:12 in RowMax.backward",
    argument="x0, shape (1, 2), float64, strides (2, 1)",
    entry=(0, 1),
    values="x0 = [[0., 1.]]",
    analytic=0.5,
    numeric=1.0,
    error=3e-13,
    replay="1a2b",
)


def test_a_finding_reads_as_one_line_for_each_fact():
    assert format_finding(FINDING).splitlines() == [
        "GC101 vjp_matches_numeric: The gradient is the numerical derivative.",
        "  where     rows.py:12 in RowMax.backward",
        "  verdict   disagree, far beyond the estimated error",
        "  input     x0, shape (1, 2), float64, strides (2, 1)",
        "  entry     [0, 1]",
        "  analytic  0.5",
        "  numerical 1 ± 3e-13   (they differ by 0.5)",
        "  call      RowMax.apply(x0)",
        "  values    x0 = [[0., 1.]]",
        "  engine    torch-cpu",
        "  again     pytest --gradcheck --gradcheck-replay=1a2b",
    ]


def test_a_failure_at_one_point_only_is_labelled_so():
    text = format_finding(replace(FINDING, only_here=True))
    assert "at this point only: beside it the gradients agree" in " ".join(text.split())


def test_how_many_entries_are_wrong_stands_below_the_one_that_is_most_wrong():
    extent = "2 of 2 entries of the gradient of x0"
    lines = format_finding(replace(FINDING, extent=extent)).splitlines()
    assert lines[lines.index("  entry     [0, 1]") + 1] == f"  wrong     {extent}"


def test_what_is_not_known_has_no_line():
    bare = Finding("eval_is_deterministic", "GC401", "In eval mode, nothing is drawn.", "torch-cpu", "module(x0)")
    assert len(format_finding(bare).splitlines()) == 4


def test_claims_about_anything_but_values_compare_found_with_expected():
    text = format_finding(replace(FINDING, code="GC301"))
    assert "  found     0.5" in text
    assert "  expected  1 ± 3e-13" in text


def test_an_unknown_error_is_said_to_be_unknown():
    assert "1 (error unknown)" in format_finding(replace(FINDING, error=float("inf")))


def test_a_program_keeps_its_lines_and_their_indentation():
    lines = format_finding(replace(FINDING, call="def f(x0):\n    return x0 * 2")).splitlines()
    assert "  call      def f(x0):" in lines
    assert "                return x0 * 2" in lines


def test_long_details_are_wrapped():
    text = format_finding(replace(FINDING, detail="word " * 60))
    assert max(len(line) for line in text.splitlines()) <= 118


def test_long_values_and_details_are_cut_so_that_a_finding_has_at_most_22_lines():
    values = "\n".join(f"x{k} = {'0., ' * 100}" for k in range(40))
    changed = replace(FINDING, values=values, detail="word " * 300, sentence="word " * 22)
    lines = format_finding(changed).splitlines()
    assert len(lines) <= 22
    assert max(map(len, lines)) <= 140
    assert "            and 36 lines more" in lines


def report(**changes):
    given = {"call": "RowMax.apply(x0)", "engine": "torch-cpu", "verdict": Verdict.AGREE}
    return Report(**(given | changes))


def test_an_agreement_is_one_line():
    outcomes = {"a": AGREED, "b": Outcome(Verdict.AGREE, vacuous=True)}
    assert str(report(outcomes=outcomes)) == "RowMax.apply(x0) on torch-cpu: agree (1 of 2 claims hold)"


def test_inconclusive_claims_and_warnings_are_listed():
    text = str(report(verdict=Verdict.INCONCLUSIVE, inconclusive=("GC101 a: kink",), warnings=("GC104 b: wrong",)))
    assert "inconclusive: GC101 a: kink" in text
    assert "warning: GC104 b: wrong" in text


def test_a_report_is_ok_only_when_it_agrees():
    assert report().ok
    assert not report(verdict=Verdict.INCONCLUSIVE).ok
    assert not report(verdict=Verdict.DISAGREE, failures=(FINDING,)).ok


def test_a_failure_never_takes_more_than_25_lines():
    long = replace(FINDING, call="\n".join(f"v{k} = x0 * {k}" for k in range(40)))
    lines = str(report(verdict=Verdict.DISAGREE, failures=(long, FINDING))).splitlines()
    assert len(lines) == 25
    assert "lines more" in lines[-1]
