"""Packages that the release does not bring."""

from __future__ import annotations

from collections.abc import Iterator

from littlest_hub.doctor.findings import OK, PROBLEM, WARNING, Finding
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.errors import LittlestHubError
from littlest_hub.lifecycle import release
from littlest_hub.packages import overlay
from littlest_hub.packages.audit import audit
from littlest_hub.packages.listing import listing

_SHOWN = 3


def packages(snapshot: Snapshot) -> Iterator[Finding]:
    """Compare the active release's packages with their lists and their wheels."""
    layout = snapshot.layout
    prefix = release.active(layout)
    if prefix is None or not layout.packages.is_dir():
        return
    rebuild = f"{layout.command} packages rebuild"
    try:
        found = listing(layout, prefix)
        altered = [*overlay.altered(layout, found.overlay)] if found.overlay else []
        vulnerable = audit(layout, prefix, is_offline=True).vulnerabilities
    except LittlestHubError as error:
        yield Finding(PROBLEM, "packages", error.message, rebuild)
        return
    if altered:
        more = f" and {len(altered) - _SHOWN} more" if altered[_SHOWN:] else ""
        text = f"not as in their wheels: {', '.join(altered[:_SHOWN])}{more}"
        yield Finding(PROBLEM, "packages", text, rebuild)
    if found.pending:
        yield Finding(WARNING, "packages", f"not applied yet: {', '.join(found.pending)}", rebuild)
    for each in vulnerable:
        severity = PROBLEM if each.advisory.fixed else WARNING
        command = each.command(layout) or f"{layout.command} packages audit"
        yield Finding(severity, "packages", str(each), command)
    if not altered and not found.pending and not vulnerable:
        count = len([*found.lock.all_wheels()])
        yield Finding(OK, "packages", f"{count} besides those of the release, unaltered")
