"""The parts of the stack in the hub, besides the spawner: what jobs and their people ask it for."""

from __future__ import annotations

from typing import Any

from littlest_hub.stacks.slurm import port, time_limit


def configure(c: Any) -> None:
    """Add the API for jobs, the warning before the time limit, and the button that prolongs it."""
    port.register()
    c.Pages.handlers.update({time_limit.PATH: f"{time_limit.__name__}:ProlongHandler"})
    c.Pages.home_parts.append("server-endings.html")
    c.Pages.notices.append(time_limit.notices)
    c.JupyterHub.template_paths.append(time_limit.TEMPLATES)
    c.JupyterHub.template_vars.update(time_limit.template_vars())
