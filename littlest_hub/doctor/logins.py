"""Refused logins, with their reasons from the hub's journal."""

from __future__ import annotations

import ast
import contextlib
import pwd
import re
from collections import Counter
from collections.abc import Iterator

from littlest_hub.doctor.findings import OK, WARNING, Finding
from littlest_hub.doctor.journal import JournalEntry, local_time
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.hub import refusals
from littlest_hub.units.names import FIRST_UID

# As repr() writes a string: only then does nothing in a name look like the end of it.
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_REFUSED = re.compile(
    re.escape(refusals.LOGGED)
    .replace("%r", f"(?P<name>{_QUOTED})")
    .replace("%s", r"(\S+)", 1)
    .replace("%s", "(?P<reason>.+)")
)
# JupyterHub's message once a hub serves, with the fragments of that moment.
_STARTED = "JupyterHub is now running"
_NAMED = 5


def refused_logins(snapshot: Snapshot) -> Iterator[Finding]:
    """Report whom the hub has refused since it last started, or reloaded, and why."""
    refused = list(_refused(snapshot.journal, snapshot.layout.hub_service))
    strangers = Counter(name for name, reason, _ in refused if reason == refusals.NOT_ALLOWED)
    people = [name for name, _ in strangers.most_common() if _is_person(name)]
    for name in people[:_NAMED]:
        at = local_time(max(time_us for each, _, time_us in refused if each == name))
        times = f"{strangers[name]} times" if strangers[name] > 1 else "once"
        text = f"refused {times}, last at {at}: {refusals.NOT_ALLOWED}"
        yield Finding(WARNING, f"{name}'s login", text, f"{snapshot.layout.command} edit 10-users")
    reasons = Counter(reason for _, reason, _ in refused)
    counts = ", ".join(f"{number}: {reason}" for reason, number in sorted(reasons.items()))
    yield Finding(OK, "refused logins", counts or "none since the hub started")


def _refused(journal: list[JournalEntry], hub_unit: str) -> Iterator[tuple[str, str, int]]:
    """Yield name, reason, and time in µs of each refusal by the hub as it runs now."""
    entries = [each for each in journal if each.unit == hub_unit]
    starts = [index for index, each in enumerate(entries) if _STARTED in each.message]
    for entry in entries[starts[-1] if starts else 0 :]:
        if match := _REFUSED.search(entry.message):
            # Code of a fragment may write similar lines.
            with contextlib.suppress(ValueError, SyntaxError):
                name = ast.literal_eval(match["name"])
                yield name.lower(), match["reason"], entry.time_us


def _is_person(name: str) -> bool:
    try:
        return pwd.getpwnam(name).pw_uid >= FIRST_UID
    except KeyError:
        return False
