"""The hooks around users' tests: what they call is noticed, checked after each test, and fails the test that calls it.

Observation begins before the first conftest is imported, and is paused in tests that do not want it and while we check.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from gradcheck.failures import UsageError
from gradcheck.observation.observer import Observed, Observer
from gradcheck.observation.territory import Territory
from gradcheck.plugin.blame import Ledger
from gradcheck.plugin.config import Settings
from gradcheck.plugin.judging import Judge, shows_nothing, size_of
from gradcheck.plugin.options import Budget, ignored_of, marked
from gradcheck.plugin.suite import SuiteItem
from gradcheck.report.function import FunctionResult, Status
from gradcheck.report.summary import AT_IMPORT, Defined, Entry, example

ATTRIBUTE = "gradcheck_observed"
"""The attribute of a report, and the key of a worker's output, that carries what this process found, as plain data."""
WHOLE = "gradcheck_is_whole"
"""The key of a worker's output that says whether no test was left out."""
SECTION = "gradcheck"
_OBSERVER = pytest.StashKey[Observer]()
_ASKED = pytest.StashKey[Mapping[str, Any]]()
"""What the markers of a test ask for."""
# Bytes of a call beyond which it is not kept for a later marker: what the observer may keep is limited.
_LARGE = 2**22
# Other calls of a signature that are judged where the first shows nothing: each costs as much as a first one.
_FRESH = 3
_ENDS = (KeyboardInterrupt, pytest.exit.Exception)
"""What ends the run: nothing is checked on its way out."""


def observe(config: pytest.Config) -> Observer:
    """The observer of this run, started at the first call and stopped when pytest's configuration ends."""
    if _OBSERVER not in config.stash:
        territory = Territory(config.rootpath, tuple(config.getini("gradcheck_packages")))
        observer = Observer(territory, ignored=ignored_of(config))
        observer.start()
        config.add_cleanup(observer.stop)
        config.stash[_OBSERVER] = observer
    return config.stash[_OBSERVER]


@dataclass(frozen=True, slots=True)
class Judgement:
    """One check of a Function at one signature: what a marker asked for, whether a test needs second derivatives.

    `is_blind` says that another call of the signature may still show something.
    """

    asked: Mapping[str, Any]
    has_second_order: bool
    entry: Entry
    is_blind: bool = False

    def covers(self, asked: Mapping[str, Any], needs_second_order: bool) -> bool:
        """Whether nothing more is wanted now."""
        is_checked = self.entry.result.status is not Status.UNCHECKED
        return is_checked and self.has_second_order >= needs_second_order and (not asked or self.asked == asked)


class Observing:
    """The hooks of a process that runs tests: the only one, or a worker of pytest-xdist."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.config = config
        self.settings = settings
        self.observer = observe(config)
        self.ledger = Ledger(config, settings.seed)
        self.judge = Judge(Budget(settings.options), settings.seed, {})
        self.is_asked = False
        """A test asked for a check itself."""
        self._judged: dict[Observed, list[Judgement]] = {}
        """The last judgement first."""
        self._fresh: dict[Observed, int] = {}
        """How many other calls of a signature were checked."""
        self._ended = ""
        """The test whose body has ended, and whose calls are checked."""

    # Around the tests ------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Check what was called while modules were imported."""
        if self.config.pluginmanager.hasplugin("dsession"):  # the controller of pytest-xdist runs no test
            return (yield)
        goes_on = not session.testsfailed or self.config.option.continue_on_collection_errors
        if goes_on and not self.config.option.collectonly:
            self._check(AT_IMPORT, {})
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Look away from tests that do not want to be observed, and from our own suite."""
        if self._is_watched(item):
            return (yield)
        with self.observer.paused():
            return (yield)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        """Refuse bad markers; check what a setup called that fails or skips, since there will be no body."""
        self._ended = ""
        if self._is_watched(item):
            item.stash[_ASKED] = self._asked(item)
        try:
            return (yield)
        except _ENDS:
            raise
        except BaseException:
            self._check_item(item)
            raise

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Check what the test called, however its body ends."""
        try:
            return (yield)
        finally:
            if not isinstance(sys.exc_info()[1], _ENDS):
                self._check_item(item)
                self._ended = item.nodeid
                self.is_asked = self.is_asked or self._uses_fixture(item)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        """Check what fixtures called at their end."""
        try:
            return (yield)
        finally:
            if not isinstance(sys.exc_info()[1], _ENDS):
                self._check_item(item)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Fail the test that shows a disagreement; one with an outcome of its own keeps it and gains a section."""
        report = yield
        # Subtests have reports of their own, made before the body of their test has ended.
        if self._is_watched(item) and (report.when != "call" or self._ended == item.nodeid):
            self._show(item, report)
        data = {"entries": self.ledger.unsent(), "asked": self.is_asked}
        if data["entries"] or data["asked"]:
            setattr(report, ATTRIBUTE, data)
        return report

    def account(self) -> dict[str, Any]:
        """Everything that this process found, as plain data."""
        return {"entries": self.ledger.all(), "asked": self.is_asked, "defined": self._defined()}

    # Checking --------------------------------------------------------------------------------------------------

    def _is_watched(self, item: pytest.Item) -> bool:
        return not isinstance(item, SuiteItem) and item.get_closest_marker("no_gradcheck") is None

    def _uses_fixture(self, item: pytest.Item) -> bool:
        return self._is_watched(item) and "gradcheck" in getattr(item, "fixturenames", ())

    def _asked(self, item: pytest.Item) -> dict[str, Any]:
        """What the markers of a test ask for; bad ones are its failure."""
        try:
            return marked(item, self.settings.registry.claims)
        except UsageError as error:
            problem = str(error)
        pytest.fail(problem, pytrace=False)

    def _check_item(self, item: pytest.Item) -> None:
        """Check what a test called, unless it wants to be left alone."""
        if self._is_watched(item):
            self._check(item.nodeid, item.stash.get(_ASKED, {}))

    def _check(self, test: str, asked: Mapping[str, Any]) -> None:
        """Check what was called since the last time, on account of `test`."""
        with self.observer.paused():
            for observed in self.observer.touched():
                self.ledger.call(self._judgement(observed, test, asked), test)
            for call in self.observer.gradcheck_calls():
                self.is_asked = True
                self._add(self.judge.gradcheck_call(call, asked), test, is_again=True)

    def _judgement(self, observed: Observed, test: str, asked: Mapping[str, Any]) -> Entry:
        """The entry of a Function and signature, checked now if it was not, or not for what is asked here.

        Where the call that is kept shows nothing, others of the same signature are checked in its place.
        """
        earlier = self._judged.setdefault(observed, [])
        needs_second_order = observed.create_graph
        known = next((one for one in earlier if observed.call is None or one.covers(asked, needs_second_order)), None)
        if known is None:
            known = self._judge_now(observed, test, asked)
        while known.is_blind and self._may_go_on(observed) and self.observer.advance(observed):
            self._fresh[observed] = self._fresh.get(observed, 0) + 1
            known = self._judge_now(observed, test, asked)
        if not (known.is_blind and self._may_go_on(observed)):
            self.observer.settle(observed)
        return known.entry

    def _judge_now(self, observed: Observed, test: str, asked: Mapping[str, Any]) -> Judgement:
        """Check the call that is kept."""
        result = self.judge.function(observed, asked)
        is_blind = observed.call is not None and shows_nothing(result)
        # Another call of the same signature decides, if the same is asked of it.
        is_next = bool(observed.spares) and self._may_go_on(observed)
        entry = self._add(result, test, is_open=is_blind and (is_next or not asked))
        if size_of(observed) > _LARGE:
            self.observer.release(observed)
        judgement = Judgement(asked, observed.create_graph, entry, is_blind)
        self._judged[observed].insert(0, judgement)
        return judgement

    def _may_go_on(self, observed: Observed) -> bool:
        """Whether another call of a signature may be checked: one for certain, more while the budget lasts."""
        count = self._fresh.get(observed, 0)
        return count == 0 or (count < _FRESH and self.judge.budget.left(observed.name) > 0)

    def _add(self, result: FunctionResult, test: str, *, is_again: bool = False, is_open: bool = False) -> Entry:
        """Enter a result. The same mistake at another input is the same entry: it fails one test.

        Parameters
        ----------
        is_again : bool
            It comes from the engine's own gradient check, which is no news about a Function that is wrong already.
        is_open : bool
            Another call of the same signature decides.
        """
        is_wrong = result.status is Status.DISAGREED
        for entry in self.ledger.entries.values():
            other = entry.result
            is_same = other.name == result.name or (other.where == result.where != "")
            if is_wrong and is_same and other.status is result.status and (is_again or other.code == result.code):
                self.ledger.call(entry, test)
                return entry
        is_known = is_wrong and self.settings.baseline.knows_all(result.name, result.failing)
        return self.ledger.add(result, test, is_known=is_known, is_open=is_open)

    def _show(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Put the disagreements that are this test's to show into its report."""
        found = self.ledger.of(item.nodeid)
        known = [entry for entry in found if entry.is_known]
        wrong = [entry for entry in found if not entry.is_known]
        has_own_outcome = not report.passed or hasattr(report, "wasxfail")
        if report.when == "call" and not has_own_outcome:
            if wrong:
                report.outcome = "failed"
                report.longrepr = _representation(item, _text(wrong), wrong[0].result)
            self._add_section(report, known, "known, the baseline has it\n")
            self.ledger.carry(found, item.nodeid)
        elif has_own_outcome:
            self._add_section(report, found, "")
            if report.failed:
                self.ledger.carry(found, item.nodeid)

    def _add_section(self, report: pytest.TestReport, entries: list[Entry], title: str) -> None:
        if entries:
            report.sections.append((SECTION, title + _text(entries)))

    # What there is ---------------------------------------------------------------------------------------------

    def _defined(self) -> list[list[Any]]:
        """The Functions of the user's, called or not."""
        found = []
        for known in self.observer.known():
            text = "" if known.ignored else _example(known.name)
            found.append(Defined(known.name, known.where, known.calls, known.ignored, known.reason, text).to_data())
        return found


def _text(entries: list[Entry]) -> str:
    return "\n\n".join(entry.result.report for entry in entries)


def _representation(item: pytest.Item, text: str, first: FunctionResult) -> Any:
    """Our report as a failure without a traceback; short forms name the backward, not this line, and the headline."""
    try:
        raise pytest.fail.Exception(text, pytrace=False)
    except pytest.fail.Exception:
        # Not an override's: a foreign kind of item may know its own exceptions only.
        shown = pytest.Item.repr_failure(item, pytest.ExceptionInfo.from_current())
    crash = getattr(shown, "reprcrash", None)
    if crash is not None:
        place = re.match(r"(.+):(\d+) in ", first.where)
        crash.path, crash.lineno = (place[1], int(place[2])) if place else (item.location[0], 0)
        crash.message = first.headline
    return shown


def _example(name: str) -> str:
    """A test to paste for a Function, from the parameters of its forward."""
    module, _, qualname = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    try:
        parameters = [*inspect.signature(found.forward).parameters.values()]
    except (AttributeError, TypeError, ValueError):
        return ""
    if _takes_context(found):
        parameters = parameters[1:]
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return example(module, qualname, plain)


def _takes_context(function: Any) -> bool:
    """Whether forward takes ``ctx``: a Function of the new style has a ``setup_context`` of its own instead."""
    library = function.__mro__[-2].__module__.partition(".")[0]
    owner = next((base for base in function.__mro__ if "setup_context" in vars(base)), None)
    return owner is None or owner.__module__.partition(".")[0] == library
