"""Replay ids: they contain the case, survive a shell, and refuse what is damaged or foreign."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck.case import Case, decode, fingerprint, is_self_contained
from gradcheck.events import Target
from gradcheck.failures import UsageError

CASE = Case(Target("my-engine", "cuda:0", "vjp_matches_numeric", "shape"), bytes(range(16)), "3fa9")


@given(st.binary(max_size=240))
def test_an_id_contains_its_case(data: bytes) -> None:
    case = Case(CASE.target, data, "3fa9")
    assert decode(case.id) == case
    assert is_self_contained(case.id)


@given(st.binary(max_size=240))
def test_ids_need_no_quotes(data: bytes) -> None:
    case = Case(CASE.target, data, "3fa9")
    assert re.fullmatch(r"[\w/:-]+", case.id)
    assert re.fullmatch(r"[0-9a-f]{12}", case.digest)


def test_different_cases_have_different_short_ids() -> None:
    others = [Case(CASE.target, b"", "3fa9"), Case(CASE.target, CASE.data, "0000")]
    assert len({case.digest for case in (CASE, *others)}) == 3


@given(st.integers(0, len(CASE.id) - 1))
def test_a_cut_id_is_refused(length: int) -> None:
    with pytest.raises(UsageError):
        decode(CASE.id[:length])


def test_another_format_is_refused() -> None:
    with pytest.raises(UsageError, match="expected an id of format gc1, got one of gc7"):
        decode(CASE.id.replace("gc1", "gc7", 1))


def test_a_fingerprint_depends_on_the_order() -> None:
    assert fingerprint(["exp", "log"]) != fingerprint(["log", "exp"])
