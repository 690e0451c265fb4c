"""Fixtures and hooks of every tier: the installer under test, skips, journals in reports."""

import os
import re
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from construct.cache import Cache
from tests import parallel
from tests.capabilities import missing, need
from tests.hub import build_installer
from tests.machine import why_no_machines
from tests.quick import is_quick
from tests.security import Checklist, check_rows
from tests.server import Server
from tests.virtual import why_no_vms

TESTS = Path(__file__).parent
# In the order in which they run: the cheapest and most specific tests first.
TIERS = ("unit", "build", "container", "vm", "browser", "cluster", "logins")
WHY_NOT = {
    "container": why_no_machines,
    "vm": why_no_vms,
    "browser": why_no_machines,
    "cluster": why_no_machines,
    "logins": why_no_machines,
}


# Lines of a journal that say that all is well: answered requests, and the start of a user server.
ROUTINE = re.compile(r"\] [23]\d\d [A-Z]+ /|\[I [-\d :.]+ \w+\]|Skipping XSRF check")

# Of a test that is marked `long`; `timeout` in pyproject.toml is that of the others.
LONG_TIMEOUT_S = 5400


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--installer",
        type=Path,
        metavar="PATH",
        help="--installer=PATH: test this .sh, however it was built, instead of building one",
    )
    parser.addoption(
        "--quick",
        action="store_true",
        help="only the unit tests whose imports the environment of `make quick` has",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what `make quick` does not run; None leaves the decision to others."""
    if not config.getoption("--quick") or collection_path.suffix != ".py":
        return None
    return None if is_quick(collection_path) else True


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*capabilities): see tests/capabilities.py")
    config.addinivalue_line("markers", "row(*numbers): of the checklist in tests/security.py")
    if not config.getoption("--quick"):
        config.pluginmanager.register(Checklist())


def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    workers = config.getoption("numprocesses", None)
    if workers and config.get_verbosity() == 0:
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        assert isinstance(reporter, pytest.TerminalReporter)
        config.pluginmanager.register(parallel.Progress(reporter))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> parallel.Scheduling:
    return parallel.Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test with its tier, the directory it is in, and run the tiers in order."""
    for item in items:
        item.add_marker(_tier(item))
        check_rows(item)
        if item.get_closest_marker("long") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LONG_TIMEOUT_S))
    items.sort(key=lambda item: TIERS.index(_tier(item)))
    if parallel.is_worker(config):
        items.sort(key=lambda item: not item.nodeid.startswith(parallel.FIRST))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that this machine cannot run; in continuous integration, fail it.

    Skip it also if `LITTLEST_HUB_TESTS_UNTIL` (seconds since 1970) is over.
    """
    if time.time() > float(os.environ.get("LITTLEST_HUB_TESTS_UNTIL", "inf")):
        pytest.skip("not run: the time for this run of the tests is over")
    why_not = WHY_NOT.get(_tier(item))
    if why_not and (reason := why_not()):
        missing(reason)
    for marker in item.iter_markers("needs"):
        need(*marker.args)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the end of each running machine's journal to the report of a failure."""
    report = yield
    if report.failed:
        for machine in Server.running:
            title = f"journal of {machine.title} at {machine.address}, without what is routine"
            report.sections.append((title, _unusual(machine.journal(lines=1000))))
    return report


def _unusual(journal: str) -> str:
    """Return the last lines of a journal that do not only say that all is well."""
    unusual = [line for line in journal.splitlines() if not ROUTINE.search(line)]
    return "\n".join(unusual[-60:])


@pytest.fixture(scope="session")
def installer(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The .sh under test: `--installer`, or one built from this checkout for all workers."""
    given: Path | None = pytestconfig.getoption("--installer")
    if given is not None:
        assert given.is_file(), f"--installer {given}: no such file"
        return given.resolve()
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    own = tmp_path_factory.getbasetemp()
    shared = Cache(own.parent if parallel.is_worker(pytestconfig) else own)
    with capture.global_and_fixture_disabled():
        note = shared.get("run", "installer", "", lambda to: to.write_text(f"{build_installer()}"))
    return Path(note.read_text())


def _tier(item: pytest.Item) -> str:
    return item.path.relative_to(TESTS).parts[0]
