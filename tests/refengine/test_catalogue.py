"""The catalogue lists every op once, and says which names are near a wrong one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from refengine import catalogue, listing
from refengine.errors import ArgumentError
from refengine.op import Composite
from refengine.ops.elementwise import Exp, Neg
from refengine.spec import Interval, Kink

GROUPS = {
    "elementwise", "activation", "comparison", "reduction", "shape", "indexing", "linalg", "normalization", "loss",
}  # fmt: skip
STRUCTURES = {"elementwise", "linear", "multilinear", "reduction", "other"}


def test_an_op_is_found_by_name() -> None:
    assert catalogue.get("exp").name == "exp"
    assert catalogue.get("exp") in catalogue.ops()


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ArgumentError, match=r"op: unknown 'log_sofmax'; did you mean log_softmax"):
        catalogue.get("log_sofmax")


def test_a_name_declared_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = SimpleNamespace(OPS=(Exp(), Neg(), Exp()), __name__="novel")
    monkeypatch.setattr(catalogue, "TOPICS", (twice,))
    with pytest.raises(ArgumentError, match="'exp' is declared twice"):
        catalogue._by_name.__wrapped__()


def test_aliases_hide_no_op_and_no_other_alias() -> None:
    ops = catalogue.ops(hidden=True)
    names = [name for op in ops for name in (op.name, *op.aliases)]
    assert sorted(names) == sorted(set(names))


def test_hidden_ops_are_listed_only_on_request() -> None:
    public = set(catalogue.ops())
    assert public < set(catalogue.ops(hidden=True))
    assert all(op.group for op in public)


@pytest.mark.parametrize("op", catalogue.ops(), ids=lambda op: op.name)
def test_every_public_op_says_what_it_must(op: catalogue.Op) -> None:
    assert op.__doc__
    assert op.group in GROUPS
    assert op.structure in STRUCTURES
    assert op.form in ("method", "function")
    assert op.domains
    assert type(op).sample.__doc__ or type(op).sample is not catalogue.Op.sample


@pytest.mark.parametrize("op", catalogue.ops(), ids=lambda op: op.name)
def test_every_op_has_a_row_and_a_signature(op: catalogue.Op) -> None:
    assert f"| `{op.name}`" in listing.ops_page()
    if not op.name.startswith("_"):
        assert f"def {op.name}(" in listing.functions_stub()
    if op.form == "method" and not isinstance(op, Composite):
        assert f"    def {op.name}(" in listing.methods_stub() or f"    def {op.name}(self)" in listing.methods_stub()


def test_kinks_and_intervals_read_as_mathematics() -> None:
    assert listing._kink(Kink(0.0)) == "at 0: 0"
    assert listing._kink(Kink("tie", "split")) == "ties: split evenly"
    assert listing._interval(Interval(0.1, 50.0)) == "[0.1, 50]"
    assert listing._interval(Interval(avoid=(0.0,))) == "[−∞, ∞] without 0"
    assert listing._interval(Interval()) == "everywhere"
