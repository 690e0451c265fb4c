"""Rules of `check` on the settings of the Slurm stack."""

from __future__ import annotations

import re
from collections.abc import Iterator

from jupyterhub.apihandlers import default_handlers

from littlest_hub import __version__
from littlest_hub.check.report import Problem
from littlest_hub.check.settings import EffectiveSetting, Settings
from littlest_hub.stacks.slurm.port import PATH
from littlest_hub.stacks.slurm.spawner import SlurmSpawner

_RELEASE = re.compile(r"/releases/([^/]+)/bin/python3?")


def nothing_to_report_to(settings: Settings) -> Iterator[Problem]:
    """Refuse the spawner without the API to which jobs report: no server would start."""
    spawner = _spawner(settings)
    if spawner and not any(path == PATH for path, _ in default_handlers):
        yield from spawner.error(
            f"jobs report to {PATH}, which the hub does not have; expected `configure(c)` of"
            " littlest_hub.stacks.slurm.hub, as in 50-slurm.py"
        )


def servers_of_another_release(settings: Settings) -> Iterator[Problem]:
    """Warn of a path of Python that names another release, as after an upgrade."""
    if not _spawner(settings):
        return
    setting = settings.get("Spawner", "python")
    found = _RELEASE.search(str(setting.value or ""))
    if found and found[1] != __version__:
        yield from setting.warning(
            f"servers are of release {found[1]}, and this hub is of {__version__}; expected"
            f" {__version__}, or __version__ of littlest_hub in its place"
        )


def choices_without_partitions(settings: Settings) -> Iterator[Problem]:
    """Warn of names that nobody can choose, because there is no form."""
    partitions = settings.get("Spawner", "partitions")
    if not _spawner(settings) or partitions.value:
        return
    for name in ("accounts", "reservations", "qos"):
        setting = settings.get("Spawner", name)
        if setting.value:
            yield from setting.warning(
                "nobody can choose them, because without `partitions` there is no form; expected"
                " partitions, or an option such as --account=NAME in `sbatch_options`"
            )


def _spawner(settings: Settings) -> EffectiveSetting | None:
    """Return the setting that chooses our spawner; None: another one is chosen."""
    is_ours = issubclass(settings.chosen["Spawner"], SlurmSpawner)
    return settings.get("JupyterHub", "spawner_class") if is_ours else None
