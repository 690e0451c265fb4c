"""User servers: those that run, those that failed to start, and their routes."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from littlest_hub.doctor.configuration import last_fragment
from littlest_hub.doctor.failed_spawns import failed_spawns, started_since
from littlest_hub.doctor.findings import OK, PROBLEM, UNSEEN, WARNING, Finding
from littlest_hub.doctor.journal import local_time
from littlest_hub.doctor.mended import is_mended
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.errors import LittlestHubError
from littlest_hub.helpers.held_ports import CANNOT_HOLD
from littlest_hub.hub.spawn_queue import is_waiting_state
from littlest_hub.layout import Layout
from littlest_hub.manifest.discovery import enabled_stacks
from littlest_hub.manifest.manifest import resolve
from littlest_hub.units.server import METADATA


def routes(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that database, proxy and systemd agree on which user servers run."""
    layout = snapshot.layout
    if not layout.database.exists() or not snapshot.is_active(layout.hub_service):
        return  # a hub that starts compares them itself
    yield from disagreements(
        snapshot.servers,
        [str(route["routespec"]) for route in snapshot.routes],
        [name for name, unit in snapshot.user_units.items() if unit.get("ActiveState") == "active"],
        hub_unit=layout.hub_service,
    )


def disagreements(
    servers: Sequence[Mapping[str, Any]],
    routespecs: Sequence[str],
    running: Sequence[str],
    *,
    hub_unit: str,
) -> Iterator[Finding]:
    """Compare the three lists, both ways."""
    # A hub that starts compares them and repairs the difference.
    restart = f"systemctl restart {hub_unit}"
    servers = [each for each in servers if not is_waiting_state(each["state"])]
    known = {f"{s['state']['unit_name']}.service" for s in servers if s["state"].get("unit_name")}
    for unit in sorted(set(running) - known):
        text = "runs, but the hub does not know it; it is taken over when its user starts a server"
        yield Finding(WARNING, unit, text, f"systemctl stop '{unit}'")
    for unit in sorted(known - set(running)):
        text = "does not run, but does according to the hub's database"
        yield Finding(WARNING, unit, text, restart)
    specs = {spec for spec in routespecs if "/user/" in spec}
    expected = {str(server["base_url"]) for server in servers}
    for spec in sorted(expected - {spec[spec.index("/") :] for spec in specs}):
        yield Finding(PROBLEM, spec, "runs, but the proxy has no route to it", restart)
    for spec in sorted(spec for spec in specs if spec[spec.index("/") :] not in expected):
        yield Finding(WARNING, spec, "has a route, but no server runs there", restart)
    yield Finding(OK, "user servers", f"{len(servers)} run")


def held_ports(snapshot: Snapshot) -> Iterator[Finding]:
    """Report that the guard cannot hold the ports of user servers."""
    status = snapshot.units.get(snapshot.layout.guard_service, {}).get("StatusText", "")
    _, is_refused, reason = status.partition(CANNOT_HOLD)
    if is_refused:
        text = f"are not held ({reason}): another user can take the port of a server that has ended"
        see = "sysctl kernel.yama.ptrace_scope; uname -r; systemd-detect-virt"
        yield Finding(WARNING, "ports", text, f"{see}   # 3, Linux before 5.6, or a container")


def failed_starts(snapshot: Snapshot) -> Iterator[Finding]:
    """Report servers that failed to start, with the reason from the journal."""
    layout = snapshot.layout
    if snapshot.is_foreground:
        return
    if not snapshot.journal:
        yield Finding(
            UNSEEN, "failed servers", "the journal of the hub cannot be read", snapshot.as_root
        )
        return
    edit = f"{layout.command} edit {last_fragment(layout)}"
    found = failed_spawns(snapshot.journal, layout, edit, accounts_of_stacks(layout))
    for failure in found[:10]:
        if started_since(snapshot.journal, layout.hub_service, failure):
            continue
        subject = f"{failure.user}'s server"
        if failure.is_refused:
            # No problem, and so no mail: people may cause it as often as they like.
            text = f"was refused at {local_time(failure.time_us)}: {failure.line}"
            yield Finding(OK, subject, f"{text}\n{failure.meaning}")
            continue
        text = f"did not start at {local_time(failure.time_us)}: {failure.line}"
        if is_mended(snapshot, failure):
            yield Finding(OK, subject, f"{text}\nThe cause is gone; it was not started again yet.")
            continue
        if failure.meaning:
            text += f"\n{failure.meaning}"
        is_recent = failure.time_us / 1e6 > time.time() - 86400
        severity = PROBLEM if is_recent else WARNING
        yield Finding(severity, subject, text, failure.command)


def accounts_of_stacks(layout: Layout) -> dict[str, str]:
    """Return the accounts that stacks have made for users under other names."""
    found: dict[str, str] = {}
    # Other probes report what is wrong with stacks.
    with contextlib.suppress(LittlestHubError, OSError):
        for stack in enabled_stacks(layout, layout.hub.resolve()).values():
            if stack.manifest.accounts:
                found |= resolve(stack.manifest.accounts)(layout)
    return found


def user_units(snapshot: Snapshot) -> Iterator[Finding]:
    """Report user servers that restarted, or were killed for lack of memory."""
    for name, shown in snapshot.user_units.items():
        forget = f"systemctl reset-failed '{name}'"
        if int(shown.get("NRestarts") or 0) > 0:
            text = f"restarted {shown['NRestarts']} times"
            see = f"journalctl --namespace='*' -u '{name}' -n 50"
            yield Finding(WARNING, name, text, f"{see}; {forget}")
        if shown.get("Result") == "oom-kill":
            text = "was killed: it needed more memory than its limit, or than was free"
            see = f"systemctl show -p MemoryMax '{name}'"
            yield Finding(WARNING, name, text, f"{see}; {forget}")


def resolver(snapshot: Snapshot) -> Iterator[Finding]:
    """Check whether user servers can resolve names: they may not reach some clouds' name server."""
    if snapshot.is_foreground:
        return  # they have no sandbox
    with contextlib.suppress(FileNotFoundError):
        yield from denied_name_servers(Path("/etc/resolv.conf").read_text())


def denied_name_servers(resolv_conf: str) -> Iterator[Finding]:
    """Report name servers in resolv.conf(5) that user servers may not connect to."""
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
            " denied to user servers (IPAddressDeny=), which therefore cannot resolve names",
            "apt-get install systemd-resolved   # resolves names for them",
        )
