"""What a pytest run with gradcheck on does: collects the suite, sends the seed, sums up."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from gradcheck.case import decode
from gradcheck.plugin.config import DEFAULT_ENGINE, SEED_KEY, Settings, settings_of
from gradcheck.plugin.suite import SuiteCollector, SuiteItem, asks_for_gradcheck
from gradcheck.report import terminal
from gradcheck.report.terminal import Record

ATTRIBUTE = "gradcheck_record"
"""The attribute of a report that carries a `Record` as plain data, which is all that travels from a worker."""


def configure(config: pytest.Config) -> None:
    """Read the settings and start taking part."""
    config.pluginmanager.register(GradcheckSession(config, settings_of(config)), "gradcheck-session")


class GradcheckSession:
    """The hooks of a run with gradcheck on. Workers of pytest-xdist collect and run; the controller alone reports."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.config = config
        self.settings = settings
        self.records: dict[str, Record] = {}
        """By node id: a rerun, or the same item in another worker, counts once."""
        self.problems: list[str] = []

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
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Under ``--gradcheck-only``, drop the tests that do not ask for gradcheck."""
        if self.settings.is_only:
            dropped = [item for item in items if not asks_for_gradcheck(item)]
            if dropped:
                items[:] = [item for item in items if asks_for_gradcheck(item)]
                self.config.hook.pytest_deselected(items=dropped)

    # Running ---------------------------------------------------------------------------------------------------

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Give every worker the controller's seed."""
        node.workerinput[SEED_KEY] = self.settings.seed

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
        data = getattr(report, ATTRIBUTE, None)
        if data is not None and not self.is_worker:
            record = self.records[report.nodeid] = Record.from_data(data)
            if record.case:
                self._keep(record)

    def _keep(self, record: Record) -> None:
        try:
            self.settings.store.keep(decode(record.case), record.report)
        except OSError as error:
            self.problems.append(f"warning: the case could not be kept, only its long id replays it ({error})")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Fail a strict run in which an op was inconclusive too often."""
        result = yield
        if self.settings.profile.is_strict and terminal.undecided_ops(self.records.values()):
            session.testsfailed += 1
        return result

    # Reporting -------------------------------------------------------------------------------------------------

    def pytest_report_header(self) -> str:
        """Say what will be checked."""
        settings = self.settings
        places = [f"{engine.name} on {engine.device}" for engine in settings.engines]
        return terminal.header(places, settings.profile.name, settings.seed)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table and what stands out."""
        write = terminalreporter.write_line
        if not self.records:
            if not self.settings.is_named and not self.config.option.collectonly:
                write(
                    f"gradcheck: the property suite was not run; name its engine: --gradcheck-engine={DEFAULT_ENGINE}"
                )
            return
        records = list(self.records.values())
        codes = {claim.name: claim.code for claim in self.settings.registry.claims.all()}
        terminalreporter.section("gradcheck")
        for line in (*terminal.table(records, codes), *terminal.reasons(records)):
            write(line)
        for undecided in terminal.undecided_ops(records):
            write(str(undecided), red=self.settings.profile.is_strict, yellow=not self.settings.profile.is_strict)
        for problem in dict.fromkeys(self.problems):
            write(problem, yellow=True)
