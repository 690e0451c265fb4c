"""A job as it is submitted: the arguments of sbatch, and its script."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

NODE_PROGRAM = "littlest_hub.stacks.slurm.node"


def as_user(name: str, *command: str) -> list[str]:
    """Return a command that runs another as a user."""
    return ["runuser", "-u", name, "--", *command]


def job_name(user: str) -> str:
    """Return the name of somebody's jobs."""
    return f"jupyterhub-{user[:40]}"


def log_file(home: Path, server: str) -> str:
    """Return the file on the node to which a job writes.

    Args:
        home: of its user.
        server: its name; "": the one without a name.
    """
    # "%" would be a pattern of sbatch's.
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", f"-{server}" if server else "")
    return str(home / f".jupyterhub{name}.log")


def sbatch(user: str, home: Path, server: str, options: Sequence[str]) -> list[str]:
    """Return the command that submits a job, with its script as standard input.

    Args:
        user: the name of the account.
        home: its home directory.
        server: its name; "": the one without a name.
        options: of sbatch: the request, and those that the fragment adds.
    """
    return as_user(
        user,
        "sbatch",
        "--parsable",
        # Otherwise, Slurm starts the job again on another node if its node fails.
        "--no-requeue",
        # The environment of `commands.run` is small. NONE would run the user's profile.
        "--export=ALL",
        f"--job-name={job_name(user)}",
        f"--chdir={home}",
        f"--output={log_file(home, server)}",
        "--open-mode=truncate",
        *options,
    )


# For the log of the job, which its user reads.
_MISSING = "littlest-hub: %s is not on node %s; your administrator runs: littlest-hub nodes"


def script(environment: Mapping[str, str], command: Sequence[str]) -> str:
    """Return the script of a job, which contains the token because everybody sees arguments.

    Args:
        environment: contains secrets.
        command: the program of the job.
    """
    exports = [f"export {name}={shlex.quote(text)}" for name, text in environment.items()]
    program = shlex.quote(command[0])
    say = f'printf "{_MISSING}\\n" {program} "$(uname -n)" >&2'
    missing = f"[ -x {program} ] || {{ {say}; exit 127; }}"
    lines = ["#!/bin/sh", "umask 027", missing, *exports, f"exec {shlex.join(command)}", ""]
    return "\n".join(lines)
