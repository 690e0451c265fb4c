"""The rows of the security checklist, and the table at the end of a run of their tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

ROWS = {
    1: "routes taken over by names",
    2: "names in units and files",
    3: "reading other users' data",
    4: "tokens and other secrets",
    5: "users at internal ports",
    6: "ports open to the network",
    7: "HTTPS",
    8: "forged forwarding headers",
    9: "becoming administrator by being first",
    10: "the same name in another spelling",
    11: "more rights than given",
    12: "a hostile server configuration",
    13: "forged or framed requests, tokens in URLs",
    14: "taking all of a resource",
    15: "credentials of the cloud",
    16: "services with more rights than needed",
    17: "the installer's contents",
    18: "killed in the middle",
    19: "a hub that was down",
    20: "a proxy that lost its routes",
    21: "repeated failures",
    22: "users who leave",
    23: "leftovers of uninstalling",
    24: "unusual umasks and mounts",
    25: "secrets in backups",
    26: "the port of a server that has ended",
    27: "using up ports",
    28: "requests that another site causes, undeclared options",
    29: "descriptors used up from outside",
    30: "bodies kept in memory or in the database",
    31: "a kernel's open ports",
    32: "the machine's own sockets",
    33: "shared resources of the kernel",
    34: "directories that others can replace",
    35: "logins that others delay",
    36: "turns of one user at the expense of others",
    37: "locks that others can hold",
    38: "accounts that PAM locks, and what root does for the hub",
    39: "text of fragments that is rewritten, accounts that share a number",
    40: "a check that changes the machine",
    41: "strangers who sign up, or come first with a name",
    42: "names, files and output of users that root's programs meet",
    43: "scripts in what others have handed in",
}


@dataclass(eq=False)
class Checklist:
    """A pytest plugin that collects the results of tests with @pytest.mark.row."""

    outcomes: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    """For each row: the names of its tests, with "passed", "failed" or "skipped"."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        rows = dict(report.user_properties).get("rows", ())
        if report.when == "call" or report.outcome != "passed":
            for row in rows if isinstance(rows, (list, tuple)) else ():
                name = report.nodeid.partition("::")[2].partition("[")[0].removeprefix("test_")
                tried = name.replace("_", " ")
                self.outcomes.setdefault(row, []).append((tried, report.outcome))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.outcomes:
            return
        terminalreporter.section("security checklist")
        for line in self.table():
            terminalreporter.write_line(line)

    def table(self) -> Iterable[str]:
        """Yield the lines of a Markdown table: row, test, result."""
        yield "| # | against | tried | result |"
        yield "|---|---|---|---|"
        for row, against in ROWS.items():
            tried = self.outcomes.get(row, [("nothing", "not tried")])
            # Workers report in any order; a test with several parameters is one line.
            for what in sorted({what for what, _ in tried}):
                counts = Counter(outcome for name, outcome in tried if name == what)
                result = ", ".join(
                    f"{outcome} ({number})" if number > 1 else outcome
                    for outcome, number in sorted(counts.items())
                )
                yield f"| {row} | {against} | {what} | {result} |"


def check_rows(item: pytest.Item) -> None:
    """Attach the rows of a test to it, for its report and for other processes."""
    rows = [row for marker in item.iter_markers("row") for row in marker.args]
    unknown = [row for row in rows if row not in ROWS]
    if unknown:
        raise pytest.UsageError(f"{item.nodeid}: tests/security.py has no row {unknown}")
    if rows:
        item.user_properties.append(("rows", rows))
