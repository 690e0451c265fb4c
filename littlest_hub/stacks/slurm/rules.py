"""Rules of `check` on the settings of the Slurm stack."""

from __future__ import annotations

from collections.abc import Iterator

from jupyterhub.apihandlers import default_handlers

from littlest_hub.check.report import Problem
from littlest_hub.check.settings import EffectiveSetting, Settings
from littlest_hub.stacks.slurm.port import PATH
from littlest_hub.stacks.slurm.spawner import SlurmSpawner


def rights(settings: Settings) -> Iterator[Problem]:
    """Refuse jobs of other users if the hub's unit does not permit to submit them."""
    spawner = _spawner(settings)
    if spawner is None:
        return
    if settings.layout.hub_user:
        text = "submits jobs as their users, which only a hub that is root may do"
        yield from spawner.error(f"{text}; expected another spawner_class")
    elif not settings.facts.rights.can_become_others:
        yield from spawner.error(
            "submits jobs as their users, which the hub's unit does not permit; expected the"
            " drop-in 50-slurm.conf (CapabilityBoundingSet=CAP_SETUID CAP_SETGID and"
            f" PrivateUsers=no), which `{settings.layout.command} enable slurm` adds"
        )


def nothing_to_report_to(settings: Settings) -> Iterator[Problem]:
    """Refuse the spawner without the API to which jobs report: no server would start."""
    spawner = _spawner(settings)
    if spawner and not any(path == PATH for path, _ in default_handlers):
        yield from spawner.error(
            f"jobs report to {PATH}, which the hub does not have; expected `configure(c)` of"
            " littlest_hub.stacks.slurm.hub, as in 50-slurm.py"
        )


def _spawner(settings: Settings) -> EffectiveSetting | None:
    """Return the setting that chooses our spawner; None: another one is chosen."""
    is_ours = issubclass(settings.chosen["Spawner"], SlurmSpawner)
    return settings.get("JupyterHub", "spawner_class") if is_ours else None
