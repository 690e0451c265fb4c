"""The usual extensions of JupyterLab, added to a side as its administrator adds them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from construct import bundle
from construct.cache import Cache
from littlest_hub.layout import PackageSet
from littlest_hub.packages import lock as locks
from tests.bench.figures import OURS
from tests.bench.sides import HubSide
from tests.bench.upstream import PREFIX, REPOSITORY

USUAL = (
    *("nbgitpuller", "jupyter-resource-usage", "ipywidgets"),
    *("notebook", "jupyterlab-git", "jupyter-collaboration"),
)
"""Those that course and class servers add most often, the lightest first."""
COUNTS = (0, 1, len(USUAL))
_BUNDLE, _WHEELS = "/srv/usual.tar", "/srv/wheels"


def use(side: HubSide, count: int) -> None:
    """Let the side's servers have the first so many of the usual extensions, and no others."""
    machine, names = side.machine, USUAL[:count]
    if machine.run(["test", "-e", _BUNDLE], check=False).returncode:
        machine.copy(_made(), _BUNDLE)
        machine.run(["mkdir", _WHEELS])
        machine.run(["tar", "-xf", _BUNDLE, "-C", _WHEELS, "--strip-components=1"])
    if side.name == OURS:
        hub = ["/opt/littlest-hub/hub/bin/littlest-hub", "packages"]
        listed = json.loads(machine.run([*hub, "list", "--json"]).stdout)["packages"]
        if present := [each["name"] for each in listed if each["requested"]]:
            machine.run([*hub, "remove", *present])
        if names:
            machine.run([*hub, "add", "--server", f"--from={_BUNDLE}", *names])
        return
    pip = [f"{PREFIX}/bin/python3", "-m", "pip", "--no-cache-dir", "--disable-pip-version-check"]
    machine.run([*pip, "uninstall", "--yes", *_names()], check=False)
    if names:
        find = ["--no-index", f"--find-links={_WHEELS}/wheels"]
        machine.run([*pip, "install", *find, *names])


@cache
def _made() -> Path:
    """Return a bundle of the extensions, for our release and for any pip."""
    cache_root = Cache().root / "bench"
    cache_root.mkdir(parents=True, exist_ok=True)
    requested: dict[PackageSet, tuple[str, ...]] = dict.fromkeys(PackageSet, ())
    requested[PackageSet.SERVER] = USUAL
    wanted = bundle.Wanted("usual", requested, Path(__file__).with_name("extensions.json"))
    return bundle.build(REPOSITORY, wanted, cache_root, Cache())


def _names() -> Sequence[str]:
    lock = locks.read(Path(__file__).parent, "extensions.json")
    return [each.name for each in lock.all_wheels()]
