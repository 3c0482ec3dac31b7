"""Every entry of the Jacobian is compared where that is asked for, and a small block of it is shown."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck
from gradcheck.checks.gradient import vjp_matches_numeric
from gradcheck.failures import UsageError
from gradcheck.jacobian import compared, entry_by_entry, shown_around
from tests.gradcheck.adapters import adapter_fixture, function, library_functions, subject

__all__ = ["adapter_fixture"]

X = np.array([0.3, -1.2, 0.7, 2.0, -0.4])


def without_sum(adapter):
    """A softmax whose gradient lacks its second term."""

    def forward(x):
        e = x.exp()
        return e / e.sum()

    return function(adapter, forward, lambda g, x: g * forward(x))


@pytest.mark.parametrize("name", ["square", "sums", "softmax", "two"])
def test_no_entry_of_a_right_function_is_wrong(adapter, name):
    case = subject(adapter, getattr(library_functions(adapter), name), X.reshape(5, 1) * np.array([1.0, -2.0]))
    table = compared(case)
    assert (table.wrong, table.worst) == (0, None)
    assert entry_by_entry(case).verdict == "agree"


def test_a_kink_is_no_wrong_entry(adapter):
    case = subject(adapter, lambda x: x.abs(), np.array([0.0, 1.0, -2.0]))
    assert compared(case).wrong == 0


def test_wrong_entries_are_counted_and_the_worst_is_named(adapter):
    table = compared(subject(adapter, without_sum(adapter), X))
    assert (table.entries, table.wrong) == (25, 25)
    assert table.worst is not None
    assert table.worst.entry == (3,)


def test_one_entry_that_is_slightly_wrong_is_found(adapter):
    mask = np.ones(5)
    mask[2] = 1.0 + 1e-7
    wrong = function(adapter, lambda x: x * x, lambda g, x: 2.0 * g * x * adapter.tensor(mask))
    table = compared(subject(adapter, wrong, X))
    assert (table.entries, table.wrong) == (25, 1)
    assert table.worst is not None
    assert table.worst.entry == (2,)


def test_a_block_shows_both_values_where_they_differ(adapter):
    case = subject(adapter, without_sum(adapter), X)
    head, *rows = shown_around(case, 0, (3,)).splitlines()
    assert head.startswith("outputs 1 to 4 by entries 1 to 4 of x0, analytic|numerical where they differ (± ")
    assert len(rows) == 4
    assert all(len(row.split()) == 4 for row in rows)
    assert "0|" in rows[0]


def test_a_kink_in_a_block_is_not_said_to_differ(adapter):
    wrong = function(adapter, lambda x: x.relu(), lambda g, x: 2.0 * g * (x > 0.0))
    block = shown_around(subject(adapter, wrong, np.array([0.0, 1.0, 2.0])), 0, (1,))
    _, first, second, third = block.splitlines()
    assert first.split() == ["0", "0", "0"]
    assert [second.split()[1], third.split()[2]] == ["2|1", "2|1"]


def test_nothing_is_shown_of_a_right_function(adapter):
    assert shown_around(subject(adapter, lambda x: x * x, X), 0, (1,)) == ""


def test_full_mode_counts_all_entries_at_the_input_given(adapter):
    report = gradcheck.check(without_sum(adapter), adapter.tensor(X), mode="full", claims="GC101")
    (finding,) = report.failures
    assert "25 of 25 entries of the Jacobian disagree" in finding.detail
    assert finding.argument is not None
    assert "shape (5,)" in finding.argument
    assert finding.replay is not None
    assert "mode='full'" in finding.replay
    assert "jacobian  outputs 0 to 4" in str(report)
    assert len(str(report).splitlines()) <= 25


def test_the_mode_is_one_of_two(adapter):
    with pytest.raises(UsageError, match="expected 'directions' or 'full', got 'fast'"):
        gradcheck.check(lambda x: x * x, adapter.tensor(X), mode="fast")


def test_the_report_of_an_agreement_says_to_what_it_agrees(adapter):
    report = gradcheck.check(lambda x: x * x, adapter.tensor(X))
    outcome = vjp_matches_numeric(subject(adapter, lambda x: x * x, X))
    assert 0.0 < report.resolution <= 1e-6
    assert f"gradients agree to {report.resolution:.1g})" in str(report).splitlines()[0]
    assert 0.0 < outcome.resolution <= 1e-6
