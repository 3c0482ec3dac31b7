"""What a pytest run with gradcheck on does: collects the suite, sends the seed, gathers what every process found."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import pytest

from gradcheck.case import decode
from gradcheck.plugin import closing, observing
from gradcheck.plugin.config import SEED_KEY, Settings, settings_of
from gradcheck.plugin.files import DIRECTORY, own, script_name, write
from gradcheck.plugin.observing import Observing
from gradcheck.plugin.options import BASELINE_KEY
from gradcheck.plugin.suite import SuiteCollector, SuiteItem, asks_for_gradcheck
from gradcheck.report import terminal
from gradcheck.report.summary import Account, Defined, Entry
from gradcheck.report.terminal import Record

ATTRIBUTE = "gradcheck_record"
"""The attribute of a report that carries a `Record` as plain data, which is all that travels from a worker."""


def configure(config: pytest.Config) -> None:
    """Read the settings and start taking part."""
    settings = settings_of(config)
    watch = None if settings.cases else Observing(config, settings)
    config.pluginmanager.register(GradcheckSession(config, settings, watch), "gradcheck-session")
    if watch is not None:
        config.pluginmanager.register(watch, "gradcheck-observing")


class GradcheckSession:
    """The hooks of a run with gradcheck on. Workers of pytest-xdist collect and run; the controller alone reports."""

    def __init__(self, config: pytest.Config, settings: Settings, watch: Observing | None) -> None:
        self.config = config
        self.settings = settings
        self.watch = watch
        self.records: dict[str, Record] = {}
        """By node id: a rerun, or the same item in another worker, counts once."""
        self.account = Account()
        self.problems: list[str] = []
        self.is_whole = not settings.has_paths
        """No test was left out of the run."""

    @property
    def is_worker(self) -> bool:
        """Whether a controller does the reporting."""
        return hasattr(self.config, "workerinput")

    # Collection ------------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Append the suite to what the session found."""
        report = yield
        if isinstance(collector, pytest.Session) and report.passed:
            report.result = [*(report.result or ()), SuiteCollector.beside(collector, self.settings)]
        self.is_whole = self.is_whole and not report.failed
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Under ``--gradcheck-only``, drop the tests that do not ask for gradcheck."""
        if self.settings.is_only:
            dropped = [item for item in items if not asks_for_gradcheck(item)]
            if dropped:
                items[:] = [item for item in items if asks_for_gradcheck(item)]
                self.config.hook.pytest_deselected(items=dropped)

    def pytest_deselected(self) -> None:
        """Note that not everything is run."""
        self.is_whole = False

    # Running ---------------------------------------------------------------------------------------------------

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Give every worker the controller's seed, and the known failures."""
        node.workerinput[SEED_KEY] = self.settings.seed
        entries = sorted(self.settings.baseline.entries)
        node.workerinput[BASELINE_KEY] = [[known.op, known.code, known.claim] for known in entries]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Attach what an item of the suite came to."""
        report = yield
        if isinstance(item, SuiteItem) and call.when == "call":
            setattr(report, ATTRIBUTE, item.record.to_data())
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in what a worker, or this process, found out."""
        if self.is_worker:
            return
        self._gather(getattr(report, observing.ATTRIBUTE, None))
        data = getattr(report, ATTRIBUTE, None)
        if data is not None:
            self._record(report.nodeid, Record.from_data(data))

    def _record(self, nodeid: str, record: Record) -> None:
        self.records[nodeid] = record
        if record.known:
            self.settings.baseline.knows(str(record.target), record.known, record.target.claim)
        if record.case:
            try:
                self.settings.store.keep(decode(record.case), record.report)
            except OSError as error:
                self.problems.append(f"warning: the case could not be kept, only its long id replays it ({error})")

    def _gather(self, data: Mapping[str, Any] | None) -> None:
        """Take in what a process knows of users' Functions, all of it or what is new."""
        if not data:
            return
        self.account.is_asked = self.account.is_asked or data["asked"]
        for known in data.get("defined", ()):
            self.account.define(Defined.from_data(known))
        for entry in map(Entry.from_data, data["entries"]):
            result = entry.result
            if entry.is_known:
                self.settings.baseline.knows_all(result.name, result.failing)
            if self.account.add(entry) and result.script:
                self._keep_script(script_name(result.name, result.code), result.script)

    def _keep_script(self, name: str, source: str) -> None:
        try:
            write(own(self.config.rootpath / DIRECTORY) / "repro" / name, source)
        except OSError as error:
            self.problems.append(f"warning: the script {name} could not be written ({error})")

    # The end ---------------------------------------------------------------------------------------------------

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take in what a worker still had to say."""
        output = getattr(node, "workeroutput", None) or {}
        self._gather(output.get(observing.ATTRIBUTE))
        self.is_whole = self.is_whole and output.get(observing.WHOLE, False)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Send what is left to the controller; or gather it here, write the baseline, and decide how the run ends."""
        account = self.watch.account() if self.watch is not None else None
        if self.is_worker:
            output = self.config.workeroutput  # type: ignore[attr-defined]  # pytest-xdist gives it to workers
            output[observing.ATTRIBUTE], output[observing.WHOLE] = account, self.is_whole
            return
        self._gather(account)
        if not self.config.option.collectonly:
            has_ended = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
            self.is_whole = self.is_whole and has_ended and not (session.shouldfail or session.shouldstop)
            self.problems += closing.settle_baseline(self)
            session.exitstatus = closing.exit_status(self, session.exitstatus)

    # Reporting -------------------------------------------------------------------------------------------------

    def pytest_report_header(self) -> str:
        """Say what will be checked."""
        settings = self.settings
        places = [f"{engine.name} on {engine.device}" for engine in settings.engines]
        return terminal.header(places, settings.profile.name, settings.seed)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print what was checked and what stands out."""
        if not self.config.option.collectonly:
            closing.write_summary(self, terminalreporter)
