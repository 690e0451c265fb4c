"""User servers: those that run, those that did not start, and what reaches them."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from littlest_hub.doctor.observed import AS_ROOT, OK, PROBLEM, UNSEEN, WARNING, Finding, Observed
from littlest_hub.doctor.spawns import failures, started_since
from littlest_hub.installation import fragment_files
from littlest_hub.layout import Layout
from littlest_hub.units.server import METADATA


def routes(machine: Observed) -> Iterator[Finding]:
    """Database, proxy and systemd agree on who runs."""
    layout = machine.layout
    if not layout.database.exists():
        return
    yield from disagreements(
        machine.servers,
        [str(route["routespec"]) for route in machine.routes],
        [name for name, unit in machine.user_units.items() if unit.get("ActiveState") == "active"],
        hub_unit=layout.hub_service,
    )


def disagreements(
    servers: Sequence[Mapping[str, Any]],
    routespecs: Sequence[str],
    running: Sequence[str],
    *,
    hub_unit: str,
) -> Iterator[Finding]:
    """Where the three lists differ, both ways."""
    # A hub that starts compares and mends.
    restart = f"systemctl restart {hub_unit}"
    known = {f"{s['state']['unit_name']}.service" for s in servers if s["state"].get("unit_name")}
    for unit in sorted(set(running) - known):
        text = "runs, and the hub does not know it; its user's next start takes it over"
        yield Finding(WARNING, unit, text, f"systemctl stop '{unit}'")
    for unit in sorted(known - set(running)):
        text = "does not run, and the hub believes that it does"
        yield Finding(WARNING, unit, text, restart)
    specs = {spec for spec in routespecs if "/user/" in spec}
    expected = {str(server["base_url"]) for server in servers}
    for spec in sorted(expected - {spec[spec.index("/") :] for spec in specs}):
        yield Finding(PROBLEM, spec, "runs, and the proxy has no route to it", restart)
    for spec in sorted(spec for spec in specs if spec[spec.index("/") :] not in expected):
        yield Finding(WARNING, spec, "has a route, and no server runs there", restart)
    yield Finding(OK, "user servers", f"{len(servers)} run")


def failed_spawns(machine: Observed) -> Iterator[Finding]:
    """Servers that did not start, with the reason that is in the journal alone."""
    layout = machine.layout
    if machine.is_foreground:
        return
    if not machine.journal:
        yield Finding(UNSEEN, "failed servers", "the journal of the hub cannot be read", AS_ROOT)
        return
    edit = f"{machine.command} edit {_last_fragment(layout)}"
    found = failures(machine.journal, layout, edit)
    for failure in found[:10]:
        if started_since(machine.journal, layout.hub_service, failure):
            continue
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(failure.time_us / 1e6))
        text = f"did not start at {when}: {failure.line}"
        if failure.why:
            text += f"\n{failure.why}"
        is_recent = failure.time_us / 1e6 > time.time() - 86400
        severity = PROBLEM if is_recent else WARNING
        yield Finding(severity, f"{failure.user}'s server", text, failure.command)


def _last_fragment(layout: Layout) -> str:
    try:
        return next(reversed([file.name for file in fragment_files(layout)]), "20-mine.py")
    except OSError:
        return "20-mine.py"


def user_units(machine: Observed) -> Iterator[Finding]:
    """User servers that restart again and again, or were killed for memory."""
    for name, shown in machine.user_units.items():
        if int(shown.get("NRestarts") or 0) > 0:
            text = f"restarted {shown['NRestarts']} times"
            yield Finding(WARNING, name, text, f"journalctl -u '{name}' -n 50")
        if shown.get("Result") == "oom-kill":
            text = "was killed: it needed more memory than its limit, or than there is"
            yield Finding(WARNING, name, text, f"systemctl show -p MemoryMax '{name}'")


def resolver(machine: Observed) -> Iterator[Finding]:
    """Whether user servers can ask for names: on some clouds, whom they would is denied to them."""
    with contextlib.suppress(FileNotFoundError):
        yield from resolved_by(Path("/etc/resolv.conf").read_text())


def resolved_by(resolv_conf: str) -> Iterator[Finding]:
    """What resolv.conf(5) says about user servers."""
    denied = [
        server
        for server in METADATA
        if re.search(rf"^nameserver\s+{re.escape(server)}\s*$", resolv_conf, re.MULTILINE)
    ]
    for server in denied:
        yield Finding(
            WARNING,
            "names",
            f"{server} is this machine's name server and also hands out its credentials, so it is"
            " denied to user servers (IPAddressDeny=), which cannot resolve names",
            "apt-get install systemd-resolved   # asks it in their place",
        )
