"""Probes of watch, besides those of `doctor`: for what has happened since the last look."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

from littlest_hub import __version__
from littlest_hub.doctor.findings import OK, PROBLEM, WARNING, Finding
from littlest_hub.doctor.snapshot import Snapshot, output_of
from littlest_hub.layout import PRODUCT
from littlest_hub.manifest import enabled
from littlest_hub.stacks.watch.delivery import INSTALL_MAIL_PROGRAM, NO_MAIL_PROGRAM, mail_program
from littlest_hub.system.systemctl import ALL_JOURNALS

RELEASE_MONTHS = 9
"""The age at which a release is called old."""
# SD_MESSAGE_UNIT_FAILURE_RESULT of systemd's sd-messages.h: a unit has failed.
_FAILED = "d9b373ed55a64feb8242e02dbe79a49c"


def everything(snapshot: Snapshot) -> Iterator[Finding]:
    """Report failures of the last day, failed backups, and an old release."""
    yield from ways(snapshot)
    yield from failures(snapshot)
    yield from failed_backups(snapshot)
    yield from age(__version__, time.time())


def ways(snapshot: Snapshot) -> Iterator[Finding]:
    """Report that messages cannot be sent, because this machine has no mail program."""
    if not enabled.read(snapshot.layout)["watch"].answers.get("mail"):
        return
    if mail_program() is None:
        text = f"{NO_MAIL_PROGRAM}, so no mail is sent"
        yield Finding(PROBLEM, "watch", text, INSTALL_MAIL_PROGRAM)
    else:
        yield Finding(OK, "watch", "mail goes to this machine's sendmail")


def failures(snapshot: Snapshot) -> Iterator[Finding]:
    """Report that hub or proxy have failed within a day, though they may run again."""
    layout = snapshot.layout
    for unit in (layout.hub_service, layout.proxy_service):
        match = (f"MESSAGE_ID={_FAILED}", f"UNIT={unit}")
        options = (ALL_JOURNALS, "--output=json", "--no-pager", "--since=-1d")
        lines = output_of("journalctl", *options, *match).splitlines()
        times = sorted(int(json.loads(line)["__REALTIME_TIMESTAMP"]) for line in lines)
        if times:
            last = time.strftime("%Y-%m-%d %H:%M", time.localtime(times[-1] / 1e6))
            text = f"has failed {len(times)} times within a day, the last time at {last}"
            yield Finding(WARNING, unit, text, f"journalctl -u {unit} --since=-1d")
        else:
            yield Finding(OK, unit, "has not failed within a day")


def failed_backups(snapshot: Snapshot) -> Iterator[Finding]:
    """Report units of the administrator's that run `littlest-hub backup`, and have failed."""
    failed = output_of("systemctl", "list-units", "--failed", "--plain", "--no-legend").splitlines()
    for unit in (line.split()[0] for line in failed if line.split()):
        started = output_of("systemctl", "show", "--property=ExecStart", "--value", unit)
        command = PRODUCT
        if re.search(rf"\b{re.escape(command)} backup\b", started):
            yield Finding(PROBLEM, unit, "the backup has failed", f"journalctl -u {unit} -n 20")


def age(version: str, now_s: float) -> Iterator[Finding]:
    """Report a release that is old: YEAR.MONTH.NUMBER says when it was made.

    Args:
        version: of the release.
        now_s: the time, in seconds since the epoch.
    """
    found = re.match(r"(\d{4})\.(\d{1,2})\.", version)
    if not found:
        return
    now = time.gmtime(now_s)
    months = (now.tm_year - int(found[1])) * 12 + now.tm_mon - int(found[2])
    if months >= RELEASE_MONTHS:
        text = f"{version} is {months} months old; is there a newer one?"
        yield Finding(WARNING, "release", text)
    else:
        yield Finding(OK, "release", f"{version} is {max(months, 0)} months old")
