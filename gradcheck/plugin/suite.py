"""The property suite as pytest items: a collector beside the user's files, one item a target.

Every node is given its id as a string: ``--lf`` would not find the one again that pytest would make.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from gradcheck import runner
from gradcheck.case import Case
from gradcheck.engines.base import Engine
from gradcheck.events import Found, Target
from gradcheck.plugin.config import ROOT, Settings
from gradcheck.report.result import format_finding
from gradcheck.report.terminal import Record
from gradcheck.runner import Bench


class SuiteCollector(pytest.Collector):
    """All of the suite. It is collected last, so that it can see whether the user had any test."""

    settings: Settings

    @classmethod
    def beside(cls, session: pytest.Session, settings: Settings) -> SuiteCollector:
        """The collector to append to what `session` found."""
        node: SuiteCollector = cls.from_parent(session, name=ROOT, nodeid=ROOT)
        node.settings = settings
        return node

    def collect(self) -> Iterable[pytest.Collector]:
        """One collector an engine, if the suite is to run."""
        if not is_wanted(self.session, self.settings):
            return
        for engine in self.settings.engines:
            name = f"{engine.name}-{engine.device}"
            node: EngineCollector = EngineCollector.from_parent(self, name=name, nodeid=f"{ROOT}::{name}")
            node.settings, node.engine = self.settings, engine
            yield node


class EngineCollector(pytest.Collector):
    """The suite on one engine."""

    settings: Settings
    engine: Engine

    def collect(self) -> Iterable[pytest.Item]:
        """One item a target, or one a case that is replayed."""
        settings = self.settings
        for case in settings.cases:
            if case.target.place == self.name:
                yield self._item(case.target, f"replay-{case.digest}", case)
        for target in settings.targets:
            if target.place == self.name and not settings.cases:
                yield self._item(target, target.group)

    def _item(self, target: Target, parameter: str, case: Case | None = None) -> SuiteItem:
        name = f"{target.claim}[{parameter}]"
        item: SuiteItem = SuiteItem.from_parent(self, name=name, nodeid=f"{self.nodeid}::{name}")
        item.settings, item.engine, item.target, item.case = self.settings, self.engine, target, case
        item.record = Record(target)
        return item


def is_wanted(session: pytest.Session, settings: Settings) -> bool:
    """Whether the suite runs: it was asked for in words, or there was nothing else to run and no path was given."""
    if settings.is_named:
        return True
    own = [item for item in session.items if not settings.is_only or asks_for_gradcheck(item)]
    return not (settings.has_paths or own or session.testsfailed)


def asks_for_gradcheck(item: pytest.Item) -> bool:
    """Whether ``--gradcheck-only`` keeps a test: it is ours, or has the fixture or the marker."""
    if isinstance(item, SuiteItem):
        return True
    if item.get_closest_marker("no_gradcheck"):
        return False
    return item.get_closest_marker("gradcheck") is not None or "gradcheck" in getattr(item, "fixturenames", ())


class SuiteItem(pytest.Item):
    """One claim on the drawn cases of one group, or on one replayed case."""

    settings: Settings
    engine: Engine
    target: Target
    case: Case | None
    record: Record

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where it is, in words: there is no file."""
        return self.config.rootpath / ROOT, None, self.nodeid.split("::", 1)[1]

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Our report; what breaks in the suite itself is shown briefly, without the arguments of every frame."""
        return super().repr_failure(excinfo, style or "short")

    def runtest(self) -> None:
        """Run, count what was said, and fail with our own report."""
        settings, self.record = self.settings, Record(self.target)
        claim = settings.registry.claims.get(self.target.claim)
        missing = runner.lacking(self.engine, claim)
        if missing:
            pytest.skip(f"{self.engine.name} has no {missing}")
        with warnings.catch_warnings(), self.engine.one_thread():
            # An engine may warn where a drawn value meets a singular point; that says nothing about its gradients.
            warnings.simplefilter("ignore")
            self._run(Bench(claim, self.engine, settings.executor, settings.registry.ops.all()))
        if self.record.found is not None:
            self._fail(self.record.found)
        elif not self.record.tally.agreed:
            pytest.skip(f"nothing was decided: {self.record.tally}")

    def _fail(self, found: Found) -> None:
        """Fail with our report, unless the failure is known."""
        self.record.report = failure_text(found)
        finding = found.finding
        if not self.settings.baseline.knows(str(self.target), finding.code, finding.claim):
            pytest.fail(self.record.report, pytrace=False)
        self.record.known = finding.code
        self.add_report_section("call", "gradcheck", f"known, the baseline has it\n{self.record.report}")

    def _run(self, bench: Bench) -> None:
        if self.case is not None:
            runner.replay(self.case, bench, self.record.add)
        else:
            settings = self.settings
            runner.run(self.target, bench, self.record.add, profile=settings.profile, seed=settings.seed)


def failure_text(found: Found) -> str:
    """The report of a failure, with the id that replays it on any machine."""
    return f"{format_finding(found.finding)}\n  elsewhere pytest --gradcheck --gradcheck-replay={found.case}"
