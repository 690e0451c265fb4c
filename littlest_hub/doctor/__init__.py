"""`littlest-hub doctor`: the examination of an installation, with a command for each finding.

Each probe is a small function that takes a `Snapshot` and changes nothing. If a probe fails or
hangs, the others still report, and all end within seconds: this is run when things are broken.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial

from littlest_hub import __version__
from littlest_hub.doctor.certificates import certificates
from littlest_hub.doctor.configuration import fragments, secrets
from littlest_hub.doctor.data import database, last_backup
from littlest_hub.doctor.findings import OK, PROBLEM, UNSEEN, WARNING, Finding, Probe
from littlest_hub.doctor.hooks import hooks
from littlest_hub.doctor.host import clock, disks, limits, memory, system
from littlest_hub.doctor.logins import refused_logins
from littlest_hub.doctor.network import login_page, ports
from littlest_hub.doctor.packages import packages
from littlest_hub.doctor.servers import failed_starts, held_ports, resolver, routes, user_units
from littlest_hub.doctor.services import release_files, releases, unfinished_restore, unit_states
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.doctor.stacks import stacks
from littlest_hub.errors import as_typed
from littlest_hub.layout import Layout
from littlest_hub.system.progress import Progress

PROBE_TIMEOUT_S = 20
"""Time limit of all probes together."""
QUIET_S = 2
"""Time that a person waits without a word."""

PROBES: tuple[tuple[str, Probe], ...] = (
    # While a port is taken, no unit that needs it can be mended.
    ("Network", ports),
    ("Services", unit_states),
    ("Services", unfinished_restore),
    ("Services", releases),
    ("Services", release_files),
    ("Services", packages),
    ("Services", stacks),
    ("Network", login_page),
    ("Network", certificates),
    ("User servers", failed_starts),
    ("User servers", routes),
    ("User servers", user_units),
    ("User servers", held_ports),
    ("User servers", resolver),
    ("Configuration", fragments),
    ("Configuration", hooks),
    ("Configuration", secrets),
    ("Configuration", refused_logins),
    ("Data", database),
    ("Data", last_backup),
    ("Machine", disks),
    ("Machine", memory),
    ("Machine", limits),
    ("Machine", clock),
    ("Machine", system),
)


def examine(
    layout: Layout,
    timeout_s: float = PROBE_TIMEOUT_S,
    progress: Progress = lambda line: None,
) -> list[Finding]:
    """Run all probes at the same time; a probe that fails or hangs is a finding too.

    Args:
        layout: the installation.
        timeout_s: time limit of all probes together.
        progress: shows every QUIET_S which probes have not ended yet.
    """
    snapshot = Snapshot(layout)
    deadline = time.monotonic() + timeout_s

    def read_shared() -> None:
        # cached_property is not locked: read these before several threads do.
        with contextlib.suppress(Exception):
            snapshot.units, snapshot.user_units, snapshot.journal  # noqa: B018

    _run_together([("units and journal", read_shared)], deadline, progress)
    found: list[list[Finding] | None] = [None] * len(PROBES)

    def run(index: int, section: str, probe: Probe) -> None:
        findings: list[Finding] = []
        try:
            for finding in probe(snapshot):
                findings.append(finding.shown_in(section))
        except PermissionError as error:
            text = f"{error.filename}: permission denied"
            findings.append(Finding(UNSEEN, _name(probe), text, snapshot.as_root, section))
        except Exception as error:
            text = f"could not be examined: {type(error).__name__}: {error}"
            findings.append(Finding(UNSEEN, _name(probe), text, section=section))
        found[index] = findings

    tasks = [(_name(each[1]), partial(run, index, *each)) for index, each in enumerate(PROBES)]
    _run_together(tasks, deadline, progress)
    everything: list[Finding] = []
    for (section, probe), findings in zip(PROBES, found, strict=True):
        if findings is None:
            text = f"did not end within {timeout_s:g} s"
            findings = [Finding(UNSEEN, _name(probe), text, section=section)]
        everything += findings
    return everything


def _run_together(
    tasks: Sequence[tuple[str, Callable[[], None]]], deadline: float, progress: Progress
) -> None:
    """Run functions in threads until all have ended or the time is up; name the slow ones."""
    # Daemon threads: a disk that hangs must not keep this process.
    threads = [threading.Thread(target=task, name=name, daemon=True) for name, task in tasks]
    for thread in threads:
        thread.start()
    shown, named = time.monotonic(), ""
    while alive := [thread for thread in threads if thread.is_alive()]:
        now = time.monotonic()
        if now > deadline:
            return
        if now > shown + QUIET_S:
            shown, before, named = now, named, ", ".join(thread.name for thread in alive)
            if named != before:
                progress(f"Still examining: {named} ...")
        alive[0].join(0.1)


def is_well(findings: Sequence[Finding]) -> bool:
    """Return whether there is no problem; warnings do not count."""
    return not any(finding.severity == PROBLEM for finding in findings)


def to_json(layout: Layout, findings: Sequence[Finding]) -> str:
    """Return findings for a program; "format" changes when a field does."""
    severities = [finding.severity for finding in findings]
    return json.dumps(
        {
            "format": 1,
            "version": __version__,
            "base": str(layout.base),
            "well": is_well(findings),
            "counts": {each: severities.count(each) for each in (OK, WARNING, PROBLEM, UNSEEN)},
            "findings": [asdict(finding) for finding in findings],
        },
        indent=1,
    )


_COLOURS = {PROBLEM: "1;31", WARNING: "33", UNSEEN: "2", OK: "32"}


def report(findings: Sequence[Finding], *, everything: bool, colour: bool) -> str:
    """Return findings for a person, by section, and their number."""

    def painted(severity: str) -> str:
        text = f"{severity:8}"
        return f"\033[{_COLOURS[severity]}m{text}\033[0m" if colour else text

    lines: list[str] = []
    for section in dict.fromkeys(section for section, _ in PROBES):
        shown = [f for f in findings if f.section == section and (everything or f.severity != OK)]
        if shown:
            lines += ["", section]
        for command, group in _by_command(shown):
            for finding in group:
                first, *rest = finding.text.splitlines() or [""]
                lines.append(f"  {painted(finding.severity)} {finding.subject}: {first}")
                lines += [f"{'':11}{line}" for line in rest]
            if command:
                lines.append(f"{'':11}$ {as_typed(command)}")
    count = {each: sum(f.severity == each for f in findings) for each in _COLOURS}
    total = "  ".join(
        f"{number} {each}{'s' if each in (WARNING, PROBLEM) and number > 1 else ''}"
        for each, number in count.items()
        if number
    )
    return "\n".join([*lines[1:], *([""] if lines else []), f"{_verdict(findings)} {total}"])


def _by_command(findings: Iterable[Finding]) -> Iterator[tuple[str, list[Finding]]]:
    """Yield findings with the same command together; one without a command, alone."""
    groups: dict[object, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.command or id(finding), []).append(finding)
    for group in groups.values():
        yield group[0].command, group


def _verdict(findings: Sequence[Finding]) -> str:
    if not is_well(findings):
        return "There are problems."
    has_unseen = any(finding.severity == UNSEEN for finding in findings)
    return "What could be examined is well." if has_unseen else "All is well."


def _name(probe: Probe) -> str:
    return probe.__name__.replace("_", " ")
