"""The unit of a user server, as systemd would read it: it refuses properties that a hub accepts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from littlest_hub.check.jupyterhub_api import fragment_properties
from littlest_hub.check.origins import Origin, RecordingConfig
from littlest_hub.check.report import Problem
from littlest_hub.system import systemd_analyze

# The settings that decide about properties; others come from `unit_extra_properties`.
_SETTINGS = {
    "PrivateTmp": "isolate_tmp",
    "PrivateDevices": "isolate_devices",
    "NoNewPrivileges": "disable_user_sudo",
    "ReadOnlyPaths": "readonly_paths",
    "ReadWritePaths": "readwrite_paths",
    "MemoryMax": "mem_limit",
    "CPUQuota": "cpu_limit",
    "Slice": "slice",
    "WorkingDirectory": "user_workingdir",
}
_SECTIONS = ("UnitSpawner", "SystemdSpawner", "Spawner")
_EXTRA = "unit_extra_properties"


def refused_properties(spawner: Any, config: RecordingConfig) -> Iterator[Problem]:
    """Yield an error for each property from a fragment with which systemd starts no server."""
    lines = ["[Service]", "ExecStart=/bin/true"]
    names = {}
    for name, value in fragment_properties(spawner).items():
        for each in value if isinstance(value, list) else [value]:
            lines.append(f"{name}={each}")
            names[len(lines)] = name
    if not names:
        return
    for line, text in systemd_analyze.refusals("\n".join([*lines, ""])).items():
        name = names.get(line, "")
        extra = spawner.unit_extra_properties
        key = _EXTRA if name in extra else _SETTINGS.get(name, "")
        element = (name, extra[name]) if name in extra else None
        for section in (each for each in _SECTIONS if key and each in config):
            origin: Origin | None = config[section].origin(key, element)
            if origin:
                about = f"{section}.{key}: {name}=: systemd refuses it: {text}"
                yield Problem(*origin, about)
                break
