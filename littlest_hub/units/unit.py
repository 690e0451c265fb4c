"""systemd units as data, and their text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Directive(NamedTuple):
    """One directive of a unit file, and a comment above it."""

    key: str
    value: str
    comment: str = ""


SANDBOX = (
    Directive("NoNewPrivileges", "yes"),
    Directive("ProtectHome", "yes"),
    Directive("PrivateTmp", "yes"),
    Directive("PrivateDevices", "yes"),
    Directive("ProtectClock", "yes", "no access to the kernel's interfaces"),
    Directive("ProtectControlGroups", "yes"),
    Directive("ProtectHostname", "yes"),
    Directive("ProtectKernelLogs", "yes"),
    Directive("ProtectKernelModules", "yes"),
    Directive("ProtectKernelTunables", "yes"),
    Directive("LockPersonality", "yes"),
    Directive("RestrictNamespaces", "yes"),
    Directive("RestrictRealtime", "yes"),
    Directive("RestrictSUIDSGID", "yes"),
    Directive("SystemCallArchitectures", "native"),
    Directive("SystemCallErrorNumber", "EPERM", "refused system calls fail, they do not kill"),
)
"""Restrictions that all our services have (systemd.exec(5))."""
WITHOUT_RIGHTS = (
    Directive("CapabilityBoundingSet", ""),
    Directive("AmbientCapabilities", ""),
    Directive("PrivateUsers", "yes"),
    Directive("ProtectSystem", "strict"),
    Directive("PrivateMounts", "yes"),
    Directive("ProtectProc", "invisible"),
    Directive("MemoryDenyWriteExecute", "yes"),
    Directive("RemoveIPC", "yes"),
    *SANDBOX,
    Directive("SystemCallFilter", "@system-service"),
)
"""Restrictions of services that need no right at all: SANDBOX, and more."""


def base_directory_conditions(base: Path) -> tuple[Directive, Directive]:
    """Return conditions that keep a service from restarting once its base directory is gone.

    Two, for [Unit] and [Service], because systemd 254 and later ignore that of [Unit] on automatic
    restarts. They test releases/, not the base directory, because systemd recreates mount points
    such as BASE/state.
    """
    why = "do not start again and again once the base directory is removed"
    return (
        Directive("ConditionPathExists", f"{base}/releases", why),
        Directive("ExecCondition", f"+/usr/bin/test -d {base}/releases"),
    )


@dataclass(frozen=True)
class Unit:
    """One unit file."""

    name: str
    """Name of the unit, with its suffix."""

    about: str
    """The comment at the top of the file."""

    sections: Mapping[str, Sequence[Directive]]

    def text(self) -> str:
        """Return the content of the file."""
        lines = [f"# {line}".rstrip() for line in self.about.strip().splitlines()]
        lines += [
            "#",
            "# Written by `littlest-hub install`, which will write it again: change it with a",
            f"# drop-in, `systemctl edit {self.name}`, that holds only what is to differ.",
        ]
        for section, directives in self.sections.items():
            lines += ["", f"[{section}]"]
            for directive in directives:
                if directive.comment:
                    lines.append(f"# {directive.comment}")
                lines.append(f"{directive.key}={directive.value}")
        return "\n".join(lines) + "\n"


def directives(text: str) -> list[str]:
    """Return the directives of a unit file, without comments and description."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith(("#", ";", "Description="))]


def service_directives(text: str) -> list[tuple[str, str]]:
    """Return keys and values in [Service] of a unit file or a drop-in (systemd.syntax(7))."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith(("#", ";")))
    section, found = "", []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        key, is_assignment, value = (part.strip() for part in line.partition("="))
        if line.strip().startswith("["):
            section = line.strip()
        elif section == "[Service]" and is_assignment:
            found.append((key, value))
    return found
