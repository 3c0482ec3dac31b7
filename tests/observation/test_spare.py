"""Which calls of a signature are kept beside its first one, for how long, and within what memory."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.observation import observer as module
from gradcheck.observation.spare import LARGEST, SPARES, mark_of, worth_of
from tests.observation.functions import double, library_fixture, observing, ones  # noqa: F401


def values(spares):
    """The first argument of each, in the order in which they would be judged."""
    return [spare.call.arguments[0].tolist() for spare in sorted(spares, key=lambda s: s.worth, reverse=True)]


# What a call is worth ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ([np.array([np.nan, 1.0, 2.0, 3.0])], [np.zeros(4)]),
        ([np.zeros(100)], [np.array([0.0, 1.0])]),
        ([np.arange(5.0), np.zeros(5)], [np.ones(5), np.ones(5)]),
        ([np.ones(50)], [np.array([1.0, 2.0])]),
        ([np.array([0.0, -0.0, 1.0, 1.0])], [np.array([1.0, 2.0])]),
        ([np.array([1.0, 2.0])], [np.array([1.0, 2.0, 2.0])]),
        ([np.zeros(4), np.arange(9)], [np.array([1.0, 0.0, 0.0, 0.0]), np.arange(9)]),
    ],
    ids=["finite", "nonzero", "each tensor", "distinct", "zeros apart", "larger", "integers apart"],
)
def test_a_call_that_can_show_more_is_worth_more(less, more) -> None:
    assert worth_of(less) < worth_of(more)


def test_beyond_a_bound_a_larger_call_is_worth_no_more() -> None:
    assert worth_of([np.ones(2000)]) == worth_of([np.ones(50_000)])


def test_calls_of_the_same_values_have_one_mark() -> None:
    x = np.arange(6.0)
    assert mark_of([x]) == mark_of([x.copy()])
    assert len({mark_of([y]) for y in (x, x + 1, x.reshape(2, 3), x.astype(np.float32), x[::-1])}) == 5


# What is kept ------------------------------------------------------------------------------------------------------


def test_the_calls_that_show_most_are_kept_beside_the_first(library):
    with observing() as observer:
        function = double(library)
        for given in ([0.0, 0.0], [1.0, 1.0], [1.0, 2.0], [0.0, 3.0], [1.0, 2.0], [5.0, 4.0, 3.0]):
            function.apply(library.tensor(given))
        (observed,) = observer.touched()
    assert observed.call.arguments[0].tolist() == [0.0, 0.0]
    assert values(observed.spares) == [[5.0, 4.0, 3.0], [1.0, 2.0]]


def test_the_same_values_again_are_not_kept(library):
    with observing() as observer:
        function = double(library)
        for _ in range(5):
            function.apply(ones(library, 3))
        (observed,) = observer.touched()
    assert observed.spares == []


def test_a_call_that_is_kept_is_a_copy(library):
    with observing() as observer:
        function = double(library)
        function.apply(library.zeros(2))
        x = library.tensor([1.0, 2.0])
        function.apply(x)
        x.fill_(9.0)
        (observed,) = observer.touched()
    assert values(observed.spares) == [[1.0, 2.0]]


def test_advancing_takes_the_most_telling_first_until_none_is_left(library):
    with observing() as observer:
        function = double(library)
        for given in ([0.0, 0.0], [1.0, 1.0], [1.0, 2.0]):
            function.apply(library.tensor(given))
        (observed,) = observer.touched()
        seen = [observed.call.arguments[0].tolist()]
        while observer.advance(observed):
            seen.append(observed.call.arguments[0].tolist())
    assert seen == [[0.0, 0.0], [1.0, 2.0], [1.0, 1.0]]


def test_a_call_after_the_others_were_taken_is_kept_again(library):
    with observing() as observer:
        function = double(library)
        function.apply(library.zeros(2))
        (observed,) = observer.touched()
        assert not observer.advance(observed)
        function.apply(library.tensor([1.0, 2.0]))
        assert observer.advance(observed)


def test_an_open_signature_is_looked_at_however_often_it_was_called(library):
    with observing() as observer:
        function = double(library)
        for _ in range(module._CALLS + 5):
            function.apply(library.zeros(2))
        function.apply(library.tensor([1.0, 2.0]))
        (observed,) = observer.touched()
    assert values(observed.spares) == [[1.0, 2.0]]
    assert observed.facts[0].high == 0.0


def test_of_a_settled_signature_no_other_call_is_kept(library):
    with observing() as observer:
        function = double(library)
        for given in ([0.0, 0.0], [1.0, 1.0]):
            function.apply(library.tensor(given))
        (observed,) = observer.touched()
        observer.settle(observed)
        function.apply(library.tensor([1.0, 2.0]))
    assert observed.spares == []
    assert observed.facts[0].high == 2.0


def test_a_call_whose_first_was_released_may_take_its_place(library):
    with observing() as observer:
        function = double(library)
        function.apply(library.zeros(2))
        (observed,) = observer.touched()
        observer.release(observed)
        function.apply(library.tensor([1.0, 2.0]))
        assert observer.advance(observed)
    assert (observed.reason, observed.call.arguments[0].tolist()) == ("", [1.0, 2.0])


# Bounds ------------------------------------------------------------------------------------------------------------


def test_no_more_than_a_few_are_kept_and_all_memory_comes_back(library):
    with observing() as observer:
        function = double(library)
        for k in range(30):
            function.apply(library.arange(k + 2).double())
        (observed,) = observer.touched()
        assert len(observed.spares) == SPARES
        observer.settle(observed)
        observer.release(observed)
        assert observer._used == 0


def test_memory_comes_back_when_another_call_takes_the_place_of_the_first(library):
    with observing() as observer:
        function = double(library)
        for k in range(5):
            function.apply(library.arange(k + 2).double())
        (observed,) = observer.touched()
        while observer.advance(observed):
            pass
        observer.release(observed)
        assert observer._used == 0


def test_first_calls_have_half_of_the_memory_to_themselves(library):
    with observing(limit_bytes=160) as observer:
        function = double(library)
        function.apply(library.zeros(10))
        function.apply(library.arange(11).float())
        function.apply(library.ones(2, 4))
        first, second = observer.touched()
    assert first.spares == []
    assert second.call is not None


def test_a_large_call_is_not_kept_beside_the_first(library):
    count = LARGEST // 8 + 1
    with observing() as observer:
        function = double(library)
        function.apply(library.zeros(4).double())
        function.apply(library.ones(count).double())
        (observed,) = observer.touched()
    assert observed.spares == []


def test_beyond_a_number_of_calls_none_is_looked_at(library, monkeypatch):
    monkeypatch.setattr(module, "_CALLS", 2)
    monkeypatch.setattr(module, "_LOOKS", 4)
    with observing() as observer:
        function = double(library)
        for _ in range(4):
            function.apply(library.zeros(2))
        function.apply(library.tensor([1.0, 2.0]))
        (observed,) = observer.touched()
    assert observed.spares == []


def test_beyond_a_number_of_different_calls_none_is_looked_at(library, monkeypatch):
    monkeypatch.setattr(module, "_MARKS", 3)
    with observing() as observer:
        function = double(library)
        for given in (0.0, 1.0, 2.0):
            function.apply(library.full((2,), given))
        function.apply(library.tensor([1.0, 2.0]))
        (observed,) = observer.touched()
    assert values(observed.spares) == [[1.0, 1.0], [2.0, 2.0]]
