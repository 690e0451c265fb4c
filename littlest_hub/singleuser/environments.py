"""Environments that users share: kernels run in the generation that they were started in.

`BASE/environments/NAME` is a link to the present generation of an environment. A kernel whose
program was found through the link would import from another generation when the link changes.
"""

from __future__ import annotations

from pathlib import Path

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError

_PYTHONS = ("python", "python3")


def in_generation(
    command: list[str], spec: list[str], directory: str, environments: Path | None = None
) -> list[str]:
    """Return the command of a kernel, for the present generation if its environment is shared.

    Args:
        command: the command.
        spec: the command as in the kernel spec, where "python" means the one beside the spec;
            jupyter_client has put the server's there.
        directory: directory of the spec.
        environments: directory of shared environments, by default those of this installation.
    """
    environments = environments or _environments()
    if environments is None:
        return command
    place = Path(directory).resolve()
    is_beside = place.is_relative_to(environments.resolve()) and place.parts[-4:-2] == (
        "share",
        "jupyter",
    )
    program = Path(command[0])
    if is_beside and spec[0] in _PYTHONS:
        program = place.parents[3] / "bin" / spec[0]
    elif environments in program.parents:
        program = program.parent.resolve() / program.name
    return [str(program), *command[1:]]


def _environments() -> Path | None:
    try:
        return installation.of_this_release().environments
    except LittlestHubError:  # the interpreter is in no release
        return None
