"""Resources that a user server uses, and may use: for the person, in JupyterLab's status bar.

A Jupyter server extension in every user server that is started from a release. It reads the cgroup
of the server's unit, which systemd has limited. `labextension/` shows the report, and warns once
when memory or disk are nearly used up.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from littlest_hub.system import cgroups, quota

PATH = "littlest-hub/resources"
"""The path of the report, below the server's own URL."""

Usage = dict[str, "float | None"]


def report(cgroup: Path | None, home: Path) -> dict[str, Usage]:
    """Return what is used, and the limit, by resource; None is unknown, or no limit.

    Memory and disk are in bytes, processors in seconds since the start and in processors.

    Args:
        cgroup: directory of the server's cgroup; None: it has none.
        home: the person's home directory.
    """
    found: dict[str, Usage] = {"disk": _disk(home)}
    if cgroup is not None:
        found["memory"] = {
            "used": cgroups.needed_memory(cgroup),
            "limit": _lowest(cgroup, "memory.max"),
        }
        tasks = cgroups.number(cgroup, "pids.current")
        found["tasks"] = {"used": tasks, "limit": _lowest(cgroup, "pids.max")}
        used_us = cgroups.value(cgroup, "cpu.stat", "usage_usec")
        used = used_us / 1e6 if used_us is not None else None
        found["cpu"] = {"used": used, "limit": _processors(cgroup)}
    return found


def _lowest(cgroup: Path, name: str) -> int | None:
    """Return the lowest limit of a cgroup and of those above it."""
    limits = [cgroups.number(each, name) for each in (cgroup, *cgroup.parents)]
    return min((limit for limit in limits if limit is not None), default=None)


def _processors(cgroup: Path) -> float | None:
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # "max 100000"
        return float(os.cpu_count() or 1)


def _disk(home: Path) -> Usage:
    try:
        found = os.statvfs(home)
    except OSError:
        return {"used": None, "limit": None}
    free = found.f_bavail * found.f_frsize
    used = (found.f_blocks - found.f_bfree) * found.f_frsize
    own = quota.of(home, os.getuid())
    if own and own.limit - own.used < free:
        return {"used": own.used, "limit": own.limit}
    return {"used": used, "limit": used + free}


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server: Any) -> None:
    # Imported here, so that `report` alone needs no Jupyter server.
    from jupyter_server.base.handlers import APIHandler
    from jupyter_server.utils import url_path_join
    from tornado.web import authenticated

    cgroup, home = cgroups.own(), Path.home()

    class ResourcesHandler(APIHandler):  # type: ignore[misc]
        """The report as JSON."""

        # The culler must not count an open page as activity.
        _track_activity = False

        @authenticated  # type: ignore[untyped-decorator]
        def get(self) -> None:
            self.finish(report(cgroup, home))

    path = url_path_join(server.web_app.settings["base_url"], PATH)
    server.web_app.add_handlers(".*", [(re.escape(path), ResourcesHandler)])
