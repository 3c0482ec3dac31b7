"""The oracle's table in small: graphs whose truth is true, no false alarm, no agreement on a wrong gradient."""

from __future__ import annotations

import json

import numpy as np
import pytest

mpmath = pytest.importorskip("mpmath")

import gradcheck  # noqa: E402
from benchmarks import store  # noqa: E402
from tools.oracle import detection, exact, graph_facts, page  # noqa: E402
from tools.oracle.alarms import Alarms, Counts, Coverage, chunk, replay  # noqa: E402
from tools.oracle.classes import CLASSES  # noqa: E402
from tools.oracle.exact import RULES  # noqa: E402
from tools.oracle.graphs import WRONG, draw, replayed  # noqa: E402
from tools.oracle.judges import AGREE, DISAGREE, JUDGES, Answer  # noqa: E402
from tools.oracle.libraries import NAMES, is_installed, library  # noqa: E402
from tools.oracle.second import curves, is_finite  # noqa: E402

FEW = 6
SMOOTH = [kind for kind in CLASSES if kind not in ("at_kink", "kink_composition")]


def directions(graph):
    random = np.random.default_rng(graph.seed)
    return [random.standard_normal(x.shape) for x in graph.inputs]


def quotient(graph, v, side=None):
    """A difference quotient in 120 digits: central, or one-sided."""
    with mpmath.workdps(120):
        step = mpmath.mpf(10) ** -40

        def value(t):
            moved = [exact.boxed(exact.numbers(x) + t * exact.numbers(d)) for x, d in zip(graph.inputs, v, strict=True)]
            return graph.values_at(moved)

        if side is None:
            return (value(step) - value(-step)) / (2 * step)
        return (value(side * step) - value(0)) / (side * step)


@pytest.mark.parametrize("kind", SMOOTH)
def test_truth_is_the_limit_of_difference_quotients(kind):
    for seed in range(2 * FEW):
        graph = draw(kind, seed)
        if "exactly at the edge" in graph.notes:
            continue
        v = directions(graph)
        for true, found in zip(graph.exact(v), quotient(graph, v), strict=True):
            assert abs(true - found) <= mpmath.mpf(10) ** -30 * (abs(true) + mpmath.mpf(10) ** -30), graph.id


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("kind", ["at_kink", "kink_composition"])
def test_truth_at_a_kink_is_the_limit_from_one_side(kind, side):
    for seed in range(4 * FEW):
        graph = draw(kind, seed)
        v = directions(graph)
        for true, found in zip(graph.exact(v, side), quotient(graph, v, side), strict=True):
            assert abs(true - found) <= mpmath.mpf(10) ** -30, graph.id


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["smooth", "stiff", "near_kink"])
def test_each_library_runs_the_same_graph_with_the_true_gradient(kind, name):
    if name == "autograd" and not is_installed(name):
        pytest.skip("a peer of the table only")
    pytest.importorskip(name)
    for seed in range(FEW // 3):
        graph = draw(kind, seed)
        values = graph.values().astype(np.float64)
        found = np.asarray(library(name).array(graph.function(name)(*graph.tensors(name)))).reshape(-1)
        assert found == pytest.approx(values, rel=1e-6, abs=1e-12)
        assert graph_facts.is_right(graph, name), graph.id


def test_same_number_gives_the_same_graph():
    first, second = draw("stiff", 17), replayed("stiff:17")
    assert str(first) == str(second)
    assert str(first) != str(draw("stiff", 18))


def test_every_class_draws_ops_that_have_a_true_derivative():
    drawn = {op for kind in CLASSES for seed in range(30) for op in draw(kind, seed).ops}
    assert drawn <= set(RULES)
    assert len(drawn) > 40


def test_distorted_graph_has_the_same_values_and_a_gradient_off_by_a_thousandth():
    graph = draw("smooth", 3)
    right, wrong = graph.tensors("refengine"), graph.tensors("refengine")
    first, second = graph.function("refengine")(*right), graph.wrong("refengine")(*wrong)
    assert first.detach().numpy() == pytest.approx(second.detach().numpy())
    first.sum().backward()
    second.sum().backward()
    for x, y in zip(right, wrong, strict=True):
        assert y.grad.numpy() == pytest.approx(WRONG * x.grad.numpy(), rel=1e-12)


@pytest.mark.parametrize("kind", CLASSES)
def test_right_graphs_raise_no_alarm_and_wrong_ones_never_agree(kind):
    judge = JUDGES["ours on refengine"][1]
    for seed in range(FEW):
        graph = draw(kind, seed)
        assert judge(graph, None).word != DISAGREE, graph.id
        if graph_facts.shows(graph, "refengine"):
            assert judge(graph, WRONG).word != AGREE, graph.id


@pytest.mark.parametrize("factor", [None, WRONG], ids=["right", "wrong"])
def test_judge_of_ours_says_what_the_public_check_says(factor):
    graph = draw("stiff", 2)
    report = gradcheck.check(
        graph.function("refengine", factor), *graph.tensors("refengine"), claims="GC101", seed=graph.seed
    )
    assert JUDGES["ours on refengine"][1](graph, factor).word == report.verdict.value


def test_error_within_a_kink_interval_does_not_show():
    assert not graph_facts.shows(draw("kink_composition", 2), "refengine")  # abs at zero: its gradient is zero
    assert graph_facts.shows(draw("smooth", 3), "refengine")


def test_chunk_counts_every_graph_once_for_ours():
    found = chunk("smooth", 1, 4)
    assert found.right["ours on refengine"].tried == 3
    assert found.coverage.graphs == 3
    assert found.coverage.exceeded == 0


def test_replay_says_what_each_judge_says():
    text = "\n".join(replay("smooth:1"))
    assert "smooth:1" in text
    assert "ours on refengine: agree" in text


@pytest.mark.parametrize(("limit", "expected"), [(9, 1e-9), (4, 1e-4), (0, 1.0), (-1, None)])
def test_search_ends_at_the_smallest_error_seen(limit, expected):
    assert detection.smallest(lambda k: k <= limit, 6) == expected


def test_small_errors_of_one_op_are_seen_in_all_entries_and_in_one():
    pytest.importorskip("torch")
    found = detection.searched("ours", "sin", (3,), 1.0, 0)
    assert [one.place for one in found] == ["uniform", "one entry"]
    assert all(one.error <= 1e-7 for one in found)


def test_error_of_the_values_themselves_is_not_the_estimates():
    coverage = chunk("near_kink", 7, 8).coverage  # atan2(v, v) less a quarter of pi: nine digits are left
    assert coverage.exceeded == coverage.hidden == 4


def alarms(words, exceeded=0):
    """One class with these answers on right graphs and ten disagreements on wrong ones."""
    return Alarms(
        "smooth",
        {"ours on refengine": Counts(words)},
        {"ours on refengine": Counts({DISAGREE: 10})},
        Coverage(outputs=5000, estimated=5000, exceeded=exceeded, graphs=100),
    )


@pytest.mark.parametrize(
    ("data", "missed"),
    [
        (alarms({AGREE: 100}), []),
        (alarms({AGREE: 99, DISAGREE: 1}), ["smooth: no false alarm: 1 in 100"]),
        (alarms({AGREE: 98, "inconclusive": 2}), ["smooth: inconclusive at most 1 %: 2 %"]),
        (alarms({AGREE: 100}, 6), ["smooth: true error above the estimate in under 0.1 %: 6 of 5,000"]),
    ],
    ids=["met", "alarm", "inconclusive", "coverage"],
)
def test_page_says_which_targets_are_missed(tmp_path, data, missed):
    store.save(tmp_path / "data", "alarms", 1.0, {"graphs": 100}, [data])
    assert page.write(tmp_path / "page.md", tmp_path / "data") == missed
    assert ("**missed**" in (tmp_path / "page.md").read_text(encoding="utf-8")) == bool(missed)


def test_saved_part_is_read_as_it_was_written(tmp_path):
    part = store.save(tmp_path, "detection", 2.0, {"seed": 0}, [])
    assert store.load(tmp_path, "detection") == part
    assert store.load(tmp_path, "cost") is None
    assert json.loads((tmp_path / "detection.json").read_text())["name"] == "detection"


def test_a_second_derivative_of_round_off_alone_is_not_asked_for():
    pytest.importorskip("torch")
    assert curves(draw("smooth", 0))
    assert not curves(draw("ill_scaled", 42))
    assert not curves(draw("saturated", 30))


def test_a_graph_that_torch_has_no_second_derivative_of_is_left_out():
    pytest.importorskip("torch")
    assert not is_finite(draw("saturated", 430))


def test_counts_of_two_chunks_add_up():
    first, second = Counts(), Counts()
    first.add(Answer(AGREE))
    second.add(Answer("inconclusive", "kink"))
    first.merge(second)
    assert (first.tried, first.of(AGREE), first.reasons) == (2, 1, {"kink": 1})
