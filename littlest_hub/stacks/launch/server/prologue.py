"""The program before the server of a launch, as the person, in its sandbox: `… COMMAND ARGUMENT …`.

It makes the person's copy of the files, and shows the kernels of the environment to the server.
Then it becomes the server. As a part of the server's command, it is the same in a unit and in a
job of a cluster, and whoever runs it has no other rights than the person. Whatever fails, the
server starts: people need it to make room on a full disk.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from littlest_hub.stacks.launch.server import working_copy
from littlest_hub.stacks.launch.server.own_files import ObstacleError
from littlest_hub.stacks.launch.server.working_copy import Report
from littlest_hub.stacks.launch.volumes import SHOWN
from littlest_hub.system.files import remove_tree, write

MODULE = "littlest_hub.stacks.launch.server.prologue"
VARIABLE = "LITTLEST_HUB_LAUNCH"
"""The variable that says what to do, in JSON: "name", "version", "source", "kernels" and "volumes",
each a name or a path that the hub has made, or "". A command line could be read by others."""
_ROOT, _PAGE = "JUPYTERHUB_ROOT_DIR", "JUPYTERHUB_DEFAULT_URL"
_USUAL_PAGE = "/lab"
VOLUMES = "volumes"
"""The link to the server's volumes, in the copy of the files."""
_OWN_KERNEL = {
    # jupyter_client reads this as the Python of the server.
    "argv": ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
    "display_name": "Python 3 of this hub",
    "language": "python",
    "metadata": {"debugger": True},
}


def main() -> NoReturn:
    """Prepare a launch, and become its server."""
    command, environment = sys.argv[1:], dict(os.environ)
    try:
        environment |= prepared(json.loads(environment.pop(VARIABLE)), environment)
    except Exception:
        traceback.print_exc()
        environment[_PAGE] = _USUAL_PAGE
    os.execve(command[0], command, environment)


def prepared(launch: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Prepare a launch, and return variables of its server.

    Args:
        launch: as in `VARIABLE`.
        environment: of the server so far.
    """
    home = Path(environment["HOME"])
    found = {}
    if launch["kernels"]:
        own = environment.get("JUPYTER_RUNTIME_DIR") or home / ".cache" / "littlest-hub"
        try:
            path = shown_kernels(Path(launch["kernels"]), Path(own) / f"launch-{launch['name']}")
            others = environment.get("JUPYTER_PATH", "")
            found["JUPYTER_PATH"] = os.pathsep.join(filter(None, (str(path), others)))
        except OSError as error:
            _say(f"the kernels of the environment: {error}")
    return found | _with_files(launch, home)


def _with_files(launch: Mapping[str, str], home: Path) -> dict[str, str]:
    name, version = launch["name"], launch["version"]
    try:
        copy, report = working_copy.deliver(Path(launch["source"]), home, name, version)
    except BlockingIOError as error:
        _say(str(error))
        copy, report = home / working_copy.DIRECTORY / name, Report(version)
    except (OSError, ObstacleError) as error:
        _say(f"there is no copy of the files in {home / working_copy.DIRECTORY / name}: {error}")
        # The page is in the copy.
        return {_PAGE: _USUAL_PAGE}
    _say(f"{copy}: {len(report.written)} files written, {len(report.removed)} removed")
    if report.text:
        _say(report.text)
    _link_volumes(copy / VOLUMES, launch["volumes"])
    return {_ROOT: str(copy)}


def _link_volumes(link: Path, volumes: str) -> None:
    """Let a link in the copy lead to the volumes; remove ours if there are none any more."""
    try:
        if volumes and not os.path.lexists(link):
            link.symlink_to(volumes)
        elif not volumes and link.is_symlink() and link.readlink() == SHOWN:
            link.unlink()
        elif volumes and not (link.is_symlink() and str(link.readlink()) == volumes):
            _say(f"{link} is something else already; the volumes are in {volumes}")
    except OSError as error:
        _say(f"{link}: {error}; the volumes are in {volumes}")


def shown_kernels(kernels: Path, directory: Path) -> Path:
    """Return a directory for JUPYTER_PATH with the kernels of an environment, and nothing else.

    Other files of an environment would have an effect in the server: templates of nbconvert are
    executed there, extensions of JupyterLab in the browser.
    """
    remove_tree(directory)
    place = directory / "kernels"
    place.mkdir(parents=True)
    for each in sorted(kernels.iterdir()):
        (place / each.name).symlink_to(each)
    # That of the environment has the name of the server's own, which notebooks ask for.
    own = place / "littlest-hub" / "kernel.json"
    if not own.parent.exists():
        write(own, json.dumps(_OWN_KERNEL), is_durable=False)
    return directory


def _say(text: str) -> None:
    print(f"littlest-hub: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
