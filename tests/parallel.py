"""Several workers (pytest-xdist): groups of tests, their order, and one line of output per file.

Each worker is a process with its own machines, networks and session fixture `hub`, so tests in
different workers share nothing; things that are made once for all workers are made in a `Cache`.
"""

from __future__ import annotations

import datetime
from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling
from xdist.workermanage import WorkerController

# These tests take longest on any processor, so they start first, beside everything else.
FIRST = "tests/vm/"
# Files that take minutes, and whose tests each boot their own machine: any worker may run them.
APART = tuple(
    f"tests/container/test_{what}.py"
    for what in ("installing", "killing", "uninstalling", "upgrading")
)


def is_worker(config: pytest.Config) -> bool:
    """Return whether this process is a worker that reports to another process."""
    return hasattr(config, "workerinput")


def together(nodeid: str) -> str:
    """Return the group of a test; one worker runs all tests of a group, in order."""
    file = nodeid.partition("::")[0]
    if file.startswith(FIRST):
        return FIRST
    return nodeid if file in APART else file


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Scheduling in the order of collection: a free worker takes the next group."""

    def __init__(self, config: pytest.Config, log: object) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return together(nodeid)


class Progress:
    """A pytest plugin for the main process: a line for each file, instead of pytest's dots.

    With several workers, a dot would not show which test it belongs to.
    """

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter
        self._tests: Counter[str] = Counter()
        self._done: Counter[str] = Counter()
        self._took_s: defaultdict[str, float] = defaultdict(float)
        self._outcomes: dict[str, Counter[str]] = {}

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(
        self, node: WorkerController, ids: Sequence[str]
    ) -> None:
        self._tests = Counter(map(_file, ids))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if (file := _file(nodeid)) not in self._outcomes:
            self._outcomes[file] = Counter()
            if self._tests[file] < self._tests.total():
                self._say(f"{file}: {self._tests[file]} tests …")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file = _file(report.nodeid)
        self._took_s[file] += report.duration
        if report.when == "call" or not report.passed:
            self._outcomes.setdefault(file, Counter())[report.outcome] += 1
        if report.failed:
            self._say(f"FAILED {report.nodeid}: {_reason(report)}", red=True)
        if report.when == "teardown":
            self._done[file] += 1
            if self._done[file] == self._tests[file]:
                outcomes = ", ".join(f"{n} {what}" for what, n in self._outcomes[file].items())
                percent = 100 * self._done.total() // self._tests.total()
                self._say(f"{file}: {outcomes} in {self._took_s[file]:.0f} s [{percent}%]")

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self) -> object:
        status = yield
        return (status[0], "", *status[2:]) if status else status

    def _say(self, line: str, **markup: bool) -> None:
        now = datetime.datetime.now().strftime("%H:%M:%S")
        self._reporter.write_line(f"{now} {line}", **markup)


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _reason(report: pytest.TestReport) -> str:
    """Return the reason of a failure in one line; details follow at the end of the run."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return " ".join((crash.message if crash else report.longreprtext).split())[:200]
