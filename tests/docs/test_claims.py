"""docs/claims.md describes every claim, and no other."""

from __future__ import annotations

import re

from gradcheck.checks import default_claims
from tests.docs.documents import ROOT

PAGE = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")


def test_the_page_has_a_section_for_each_claim_in_the_order_of_codes() -> None:
    headings = [tuple(found) for found in re.findall(r"^## (GC[1-8]\d\d) (\w+)$", PAGE, re.MULTILINE)]
    assert headings == [(claim.code, claim.name) for claim in default_claims().all()]


def test_each_section_has_the_rule_the_reason_and_a_bug_it_catches() -> None:
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    needed = ("**Rule.**", "**Why.**", "**Catches.**")
    assert [s.split("\n")[0] for s in sections if not s.startswith("GC9") and not all(n in s for n in needed)] == []
