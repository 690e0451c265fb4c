"""A systemd unit as data, and its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Setting(NamedTuple):
    """One directive, and why it is there (a comment above it)."""

    key: str
    value: str
    why: str = ""


SANDBOX = (
    Setting("NoNewPrivileges", "yes"),
    Setting("ProtectHome", "yes"),
    Setting("PrivateTmp", "yes"),
    Setting("PrivateDevices", "yes"),
    Setting("ProtectClock", "yes", "the kernel's interfaces are not its business"),
    Setting("ProtectControlGroups", "yes"),
    Setting("ProtectHostname", "yes"),
    Setting("ProtectKernelLogs", "yes"),
    Setting("ProtectKernelModules", "yes"),
    Setting("ProtectKernelTunables", "yes"),
    Setting("LockPersonality", "yes"),
    Setting("RestrictNamespaces", "yes"),
    Setting("RestrictRealtime", "yes"),
    Setting("RestrictSUIDSGID", "yes"),
    Setting("SystemCallArchitectures", "native"),
    Setting("SystemCallErrorNumber", "EPERM", "refused calls fail, they do not kill"),
)
"""What neither of our services needs, systemd.exec(5)."""


def while_there(base: Path) -> tuple[Setting, Setting]:
    """When the base directory was removed under a service: [Unit], [Service].

    Both, for systemd 254 and later skip the first when they restart what has failed. What is asked
    for lies below it: systemd makes the directories anew that a sandbox mounts something at.
    """
    why = "a base directory that was removed is no reason to try again and again"
    return (
        Setting("ConditionPathExists", f"{base}/releases", why),
        Setting("ExecCondition", f"+/usr/bin/test -d {base}/releases"),
    )


@dataclass(frozen=True)
class Unit:
    """A unit file of ours."""

    name: str
    """With its suffix."""

    about: str
    """What an administrator who opens the file wants to know first."""

    sections: Mapping[str, Sequence[Setting]]

    def text(self) -> str:
        lines = [f"# {line}".rstrip() for line in self.about.strip().splitlines()]
        lines += [
            "#",
            "# Written by `littlest-hub install`, which will write it again: change it with a",
            f"# drop-in, `systemctl edit {self.name}`, that holds only what is to differ.",
        ]
        for section, settings in self.sections.items():
            lines += ["", f"[{section}]"]
            for setting in settings:
                if setting.why:
                    lines.append(f"# {setting.why}")
                lines.append(f"{setting.key}={setting.value}")
        return "\n".join(lines) + "\n"


def directives(text: str) -> list[str]:
    """What a unit file says to systemd, without what it says to people."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith(("#", ";", "Description="))]
