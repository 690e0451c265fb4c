"""The unit in which a check tries fragments: the hub's own, without its side effects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from littlest_hub.layout import Layout
from littlest_hub.units.unit import service_directives

LIMIT_S = 150
"""Time limit of all fragments together."""
MEMORY = "1536M"
TASKS = 512
"""More than numpy, or the traefik of a trial, has threads on a machine with 64 processors."""

# Directories that systemd makes for a unit and the variables that name them, systemd.exec(5).
_DIRECTORIES = {
    "RuntimeDirectory": ("RUNTIME_DIRECTORY", "/run"),
    "StateDirectory": ("STATE_DIRECTORY", "/var/lib"),
    "CacheDirectory": ("CACHE_DIRECTORY", "/var/cache"),
    "LogsDirectory": ("LOGS_DIRECTORY", "/var/log"),
    "ConfigurationDirectory": ("CONFIGURATION_DIRECTORY", "/etc"),
}
# Sockets whose owner changes the machine for whoever is root: systemd's, D-Bus's, of containers.
_COMMAND_SOCKETS = (
    "-/run/systemd/private -/run/dbus -/run/initctl -/run/udev/control -/run/user -/run/docker.sock"
    " -/run/docker -/run/containerd -/run/podman -/run/crio -/run/lxd.socket -/var/lib/lxd"
    " -/run/incus -/var/lib/incus -/run/libvirt -/run/snapd.socket -/run/snapd-snap.socket"
)
# A program of root's may end every other one of root's, even as root of a user namespace.
_SIGNALS = "kill tkill tgkill pidfd_send_signal rt_sigqueueinfo rt_tgsigqueueinfo"
# Not ExecCondition=: systemd 247 cannot start it in a unit with credentials, nor then the hub.
_EMPTY = (
    *("ExecStartPre", "ExecStart", "ExecStartPost", "ExecReload", "ExecStop"),
    *("ExecStopPost", "PIDFile", "Sockets", "ReadWritePaths", *_DIRECTORIES),
)
_OVERRIDES = {
    "Type": "oneshot",
    "Restart": "no",
    "RemainAfterExit": "no",
    "NotifyAccess": "none",
    "WatchdogSec": "0",
    "RuntimeMaxSec": "infinity",
    "TimeoutStartSec": str(LIMIT_S),
    "TimeoutStopSec": "2",
    "KillMode": "control-group",
    "FileDescriptorStoreMax": "0",
    # It reads what the hub reads, and changes nothing.
    "ProtectSystem": "strict",
    "InaccessiblePaths": _COMMAND_SOCKETS,
    "SystemCallFilter": f"~{_SIGNALS}",
    "SystemCallErrorNumber": "EPERM",
    "LogLevelMax": "notice",
    "UMask": "0077",
    "Nice": "10",
    "MemoryMax": MEMORY,
    "MemorySwapMax": "0",
    "TasksMax": str(TASKS),
    "OOMPolicy": "stop",
    "OOMScoreAdjust": "1000",
}
_READ_ONLY = {"BindPaths": "BindReadOnlyPaths"}
_FALSE = ("no", "n", "false", "f", "off", "0", "")


def trial_unit(
    layout: Layout,
    texts: Iterable[str],
    command: Sequence[str],
    *,
    request: Path,
    report: Path,
    printed: Path,
) -> str:
    """Return the unit file of a trial.

    Args:
        layout: the installation.
        texts: the hub's unit file, then its drop-ins, in order.
        command: the program to run instead of the hub.
        request: a file to read as standard input.
        report: a file to write standard output to.
        printed: a file to write standard error to.
    """
    of_hub = [
        (key, _resolved(layout, value)) for text in texts for key, value in service_directives(text)
    ]
    home = {key: value for key, value in of_hub if key == "ProtectHome"}.get("ProtectHome", "no")
    ours = [
        *((key, "") for key in _EMPTY),
        *_OVERRIDES.items(),
        # ProtectSystem=strict leaves out /run and, without ProtectHome=, homes.
        ("ReadOnlyPaths", "-/run"),
        *([("ReadOnlyPaths", "-/home -/root")] if home.lower() in _FALSE else []),
        *(("Environment", f'"{each}"') for each in _directory_variables(of_hub)),
        ("StandardInput", f"file:{request}"),
        ("StandardOutput", f"file:{report}"),
        ("StandardError", f"file:{printed}"),
        ("ExecStart", " ".join(f'"{word}"'.replace("%", "%%") for word in command)),
    ]
    directives = [(_READ_ONLY.get(key, key), value) for key, value in [*of_hub, *ours]]
    lines = [
        "[Unit]",
        f"Description=Littlest Hub at {layout.base}: check of the fragments",
        "[Service]",
        *(f"{key}={value}" for key, value in directives),
    ]
    return "\n".join(lines) + "\n"


def _resolved(layout: Layout, value: str) -> str:
    """Replace the specifiers that name the unit (systemd.unit(5)), since a trial has another."""
    names = {"%n": layout.hub_service, "%N": layout.instance, "%p": layout.instance}
    return re.sub(r"%.", lambda found: names.get(found[0], found[0]), value)


def _directory_variables(directives: Iterable[tuple[str, str]]) -> list[str]:
    found: dict[str, list[str]] = {}
    for key, value in directives:
        if key in _DIRECTORIES:
            # Without a value, an assignment discards the earlier ones; NAME:LINK is of systemd 250.
            paths = [f"{_DIRECTORIES[key][1]}/{name.partition(':')[0]}" for name in value.split()]
            found[key] = [*found.get(key, []), *paths] if paths else []
    return [f"{_DIRECTORIES[key][0]}={':'.join(paths)}" for key, paths in found.items() if paths]
