"""Stacks: their units, and what they examine themselves."""

from __future__ import annotations

from collections.abc import Iterator

from littlest_hub.doctor.findings import OK, PROBLEM, WARNING, Finding
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import active_overlay
from littlest_hub.manifest import enabled
from littlest_hub.manifest.discovery import stacks_of
from littlest_hub.manifest.manifest import resolve


def stacks(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that what enabling a stack has set up is still there."""
    layout = snapshot.layout
    if layout.unfinished_change.exists():
        text = "a stack is being enabled or disabled, or that was killed"
        finish = f"{layout.command} enable --finish   # undoes it if it was killed"
        yield Finding(WARNING, "stacks", text, finish)
    try:
        known = enabled.read(layout)
    except LittlestHubError as error:
        yield Finding(PROBLEM, "stacks", error.message, error.hint or "")
        return
    found, unusable = stacks_of(active_overlay(layout, layout.hub.resolve()))
    for problem in unusable:
        yield Finding(WARNING, "stacks", problem.message, problem.hint or "")
    for name, how in known.items():
        again = f"{layout.command} disable {name} && {layout.command} enable {name}"
        if name not in found:
            text = "is enabled, and the release does not have it"
            yield Finding(PROBLEM, name, text, f"{layout.command} disable {name}")
            continue
        missing = [each for each in how.fragments if not (layout.fragments / each).exists()]
        if missing:
            yield Finding(PROBLEM, name, f"{', '.join(missing)} is missing", again)
        if how.port and not layout.stack_token(name).exists():
            install = f"{layout.hub}/bin/littlest-hub install"
            yield Finding(PROBLEM, name, f"{layout.stack_token(name)} is missing", install)
        yield Finding(OK, name, "is enabled")
        for reference in found[name].manifest.doctor:
            yield from resolve(reference)(snapshot)
