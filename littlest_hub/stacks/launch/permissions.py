"""Permissions of the fragment for programs that the hub must not command, written by root.

The resolver and the builder meet strangers. A hub, or a service, that has been hijacked must not be
able to let them reach more. So root reads the plain values of the fragment as soon as it is saved,
writes the settings of the resolver and of cleaning, and the networks into the units. If a value is
wrong, everything stays as it was.

    python -m littlest_hub.stacks.launch.permissions [cleaning]
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.lifecycle.unit_files import UnitFiles
from littlest_hub.manifest import enabled
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.launch import STACK, fragment, units
from littlest_hub.stacks.launch.builder.pythons import Python
from littlest_hub.stacks.launch.builder.units import cleaning_of
from littlest_hub.stacks.launch.fragment import Values
from littlest_hub.stacks.launch.records import kept_environments
from littlest_hub.stacks.launch.resolver.units import settings_of
from littlest_hub.system.files import write
from littlest_hub.system.locks import hold
from littlest_hub.system.systemctl import daemon_reload

_QUIET_S, _LOOK_S = 3, 0.2
"""Time for which nobody must have saved the fragment before the program ends, and the interval at
which it looks."""


def apply(layout: Layout, stack: EnabledStack, values: Values) -> None:
    """Write what the values permit; the caller holds the lock of changes.

    Raises:
        LittlestHubError, OSError: something cannot be written.
    """
    write_settings(layout, values)
    texts = {each.name: each.text() for each in units.units(layout, stack)}
    changed = {name: text for name, text in texts.items() if text != _installed(layout, name)}
    if changed:
        UnitFiles(layout).write(changed)
        daemon_reload()


def write_settings(layout: Layout, values: Values) -> None:
    """Write the settings of the resolver and of cleaning.

    Raises:
        LittlestHubError, OSError: one cannot be written.
    """
    python = Python.of(installation.release_of_this_interpreter()).version
    _write(layout, settings_of(layout), of_resolver(values, python))
    _write(layout, cleaning_of(layout), of_cleaning(layout, values))


def of_resolver(values: Values, python: str) -> dict[str, Any]:
    """Return the settings of the resolver.

    Args:
        values: those of the fragment.
        python: the version of Python that environments get.
    """
    return {
        "policy": asdict(values.policy),
        "networks": [*values.networks],
        "ca_file": values.ca_file,
        "channels": {**values.channels},
        "private": values.private,
        "pythons": [".".join(python.split(".")[:2])],
    }


def of_cleaning(layout: Layout, values: Values) -> dict[str, Any]:
    """Return what cleaning may keep, and has to keep."""
    kept = kept_environments(layout.on_disk(layout.stack_data(STACK)))
    return {"budget_bytes": round(values.disk_gb * 1e9), "kept": sorted(kept)}


def follow(layout: Layout) -> None:
    """Apply the fragment on disk as soon as nobody else changes the installation.

    Raises:
        LittlestHubError, OSError: a value cannot be used, or something cannot be written.
    """
    # An upgrade starts this while it holds the lock.
    with hold(layout.on_disk(layout.change_lock), is_patient=True) or contextlib.nullcontext():
        stack = enabled.read(layout).get(STACK)
        if stack and layout.on_disk(layout.fragments / fragment.FRAGMENT).exists():
            apply(layout, stack, fragment.read(layout))


def follow_until_quiet(layout: Layout) -> bool:
    """Apply the fragment, again each time it is saved, until nobody has saved it for a while.

    systemd does not watch a path from the start of the service for it until after its end, so a
    path unit alone would miss what is saved in that time.

    Returns:
        Whether the last version could be applied; if not, the reason is on standard error.
    """
    while True:
        saved = _saved(layout)
        try:
            follow(layout)
            is_applied = True
        except (LittlestHubError, OSError) as error:
            print(error, file=sys.stderr, flush=True)
            is_applied = False
        end = time.monotonic() + _QUIET_S
        while _saved(layout) == saved:
            if time.monotonic() > end:
                return is_applied
            time.sleep(_LOOK_S)


def _saved(layout: Layout) -> list[tuple[int, int]]:
    """Return what changes whenever one of the files that the units watch is saved."""
    found = []
    for file in units.watched(layout):
        with contextlib.suppress(FileNotFoundError):
            status = layout.on_disk(file).stat()
            found.append((status.st_ino, status.st_mtime_ns))
    return found


def main() -> None:
    """Apply the fragment on disk, or write what cleaning keeps."""
    layout = installation.of_this_release()
    if sys.argv[1:] != ["cleaning"]:
        sys.exit(0 if follow_until_quiet(layout) else 1)
    try:
        _write(layout, cleaning_of(layout), of_cleaning(layout, fragment.read(layout)))
    except (LittlestHubError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def _write(layout: Layout, file: Path, content: dict[str, Any]) -> None:
    write(layout.on_disk(file), json.dumps(content, indent=1) + "\n")


def _installed(layout: Layout, name: str) -> str:
    file = installation.installed_unit(layout, name)
    return file.read_text() if file.is_file() else ""


if __name__ == "__main__":
    main()
