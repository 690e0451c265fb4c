"""A systemd unit as data, and its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
