"""``check`` finds each planted mistake by the right claim, and agrees with each right twin."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import gradcheck  # noqa: E402
from tests.planted.torch_functions import PLANTED  # noqa: E402

EACH = pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name.replace(" ", "-"))


@EACH
def test_the_wrong_function_disagrees_by_the_right_claim(planted):
    report = gradcheck.check(planted.wrong, *planted.inputs)
    assert report.verdict == "disagree", report
    assert planted.codes <= {finding.code for finding in report.failures}


@EACH
@pytest.mark.parametrize("seed", range(5))
def test_its_right_twin_agrees(planted, seed):
    report = gradcheck.check(planted.right, *planted.inputs, seed=seed)
    assert report.verdict == "agree", report


@EACH
def test_a_failure_reads_in_at_most_25_lines_and_names_claim_call_and_input(planted):
    report = gradcheck.check(planted.wrong, *planted.inputs)
    text = str(report)
    assert len(text.splitlines()) <= 25
    assert report.failures[0].code in text
    assert "x0 = " in text
    assert f"in {planted.wrong.__self__.__name__}.backward" in text
