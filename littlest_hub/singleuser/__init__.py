"""JupyterHub's single-user server, started with a quarter of the usual time and memory.

`python -I -m littlest_hub.singleuser` is `python -I -m jupyterhub.singleuser`: the same program
with the same arguments, environment, configuration files, and extensions, from the same release.
The difference is what it imports, and when: `patches` lists each change. With other versions than
the tested ones, or if the preparation fails, upstream's program runs instead.

docs/explanation/user-servers.md shows what each change saves.
"""

from __future__ import annotations

import gc
import importlib.metadata
import os
import sys
from typing import NoReturn

from littlest_hub.layout import SERVER_PACKAGES

TESTED_VERSIONS = {"jupyterhub": "6.1.1", "jupyterlab": "4.6.6", "jupyter_server": "2.21.1"}
"""The versions that `patches` was tested with. Before a change, run `make test-upstream`."""

_OTHER_SERVERS = ("JUPYTERHUB_SINGLEUSER_APP", "JUPYTERHUB_SINGLEUSER_EXTENSION")
"""Variables that make JupyterHub start another server than JupyterLab's."""


class UntestedVersionError(Exception):
    """A package has another version than the tested one."""


def main() -> None:
    """Run a user server until it is stopped."""
    if any(os.environ.get(name) for name in _OTHER_SERVERS):
        run_upstream()
    # The search for garbage would take a tenth of the time for importing, and find none.
    gc.disable()
    try:
        check_versions()
        prepare()
    except Exception as error:
        warn(error)
        run_upstream()
    from jupyterhub.singleuser import main as run

    run()


def check_versions() -> None:
    """Check that the patched packages have the tested versions.

    Raises:
        UntestedVersionError: one has another version.
    """
    for name, tested in TESTED_VERSIONS.items():
        # importlib.metadata reads whole files for a version, which takes 0.01 s.
        directory = next((each for each in sys.path if os.path.isdir(f"{each}/{name}")), "")  # noqa: PTH112
        if os.path.isdir(f"{directory}/{name}-{tested}.dist-info"):  # noqa: PTH112
            continue
        found = importlib.metadata.version(name)
        if found != tested:
            raise UntestedVersionError(f"{name} {found} instead of {tested}")


def prepare() -> None:
    """Import JupyterHub's single-user server and JupyterLab, patched."""
    from littlest_hub.singleuser import patches

    patches.import_server()


def warn(error: Exception) -> None:
    """Write one line to the journal: upstream's program runs, and why."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    # sd-daemon(3): 4 is a warning.
    print(
        f"<4>The user server runs without Littlest Hub's patches, slower and larger: {reason}",
        file=sys.stderr,
        flush=True,
    )


def run_upstream() -> NoReturn:
    """Replace this process by upstream's program, in which nothing is patched."""
    options = ["-I"] if sys.flags.isolated else []
    has_packages = bool(os.environ.get(SERVER_PACKAGES))
    module = "littlest_hub.singleuser.upstream" if has_packages else "jupyterhub.singleuser"
    command = [sys.executable, *options, "-m", module, *sys.argv[1:]]
    os.execv(sys.executable, command)
