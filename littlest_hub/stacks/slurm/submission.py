"""A job as it is submitted: the arguments of sbatch, and its script."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NODE_PROGRAM = "littlest_hub.stacks.slurm.node"


def as_user(name: str, *command: str) -> list[str]:
    """Return a command that runs another as a user."""
    return ["runuser", "-u", name, "--", *command]


@dataclass(frozen=True)
class Submission:
    """One job."""

    user: str
    """The name of the account."""
    home: Path
    log_file: str
    """The file on the node to which the job writes."""
    options: Sequence[str]
    """Options of sbatch: the request, and those that the fragment adds."""
    environment: Mapping[str, str] = field(repr=False)
    """Contains secrets."""
    command: Sequence[str]

    def sbatch(self) -> list[str]:
        """Return the command that submits the job, with the script as standard input."""
        return as_user(
            self.user,
            "sbatch",
            "--parsable",
            # Otherwise, Slurm starts the job again on another node if its node fails.
            "--no-requeue",
            # The environment of `commands.run` is small. NONE would run the user's profile.
            "--export=ALL",
            f"--job-name=jupyterhub-{self.user[:40]}",
            f"--chdir={self.home}",
            f"--output={self.log_file}",
            "--open-mode=truncate",
            *self.options,
        )

    def script(self) -> str:
        """Return the script, which contains the token because everybody sees arguments."""
        exports = [f"export {name}={shlex.quote(text)}" for name, text in self.environment.items()]
        return "\n".join(
            ["#!/bin/sh", "umask 027", *exports, f"exec {shlex.join(self.command)}", ""]
        )
