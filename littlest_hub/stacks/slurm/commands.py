"""Slurm's commands, run without a shell and with a time limit."""

from __future__ import annotations

import os
from collections.abc import Sequence

from littlest_hub.system import commands

TIMEOUT_S = 30
"""Time limit of a command: slurmctld answers within seconds, or not at all."""


class SlurmError(Exception):
    """The failure of a command; the message is Slurm's own, in one line."""

    def __init__(self, message: str, *, is_silent: bool) -> None:
        super().__init__(message)
        self.is_silent = is_silent
        """Whether Slurm did not answer; otherwise, it has refused the command."""


# Messages of Slurm's commands if the controller does not answer.
_SILENT = (
    "Unable to contact slurm controller",
    "Socket timed out",
    "Connection refused",
    "Connection timed out",
    "Zero Bytes were transmitted",
    "Slurm backup controller in standby mode",
    "Unexpected message received",
    "Unable to connect",
)


def environment() -> dict[str, str]:
    """Return the variables of a command; sbatch and srun pass them on to the job."""
    # SLURM_* and SBATCH_* variables would be options.
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        **{name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ},
    }


async def run(command: Sequence[str], text: str = "") -> str:
    """Run a command of Slurm's, and return its output.

    Args:
        command: program and arguments.
        text: its standard input.

    Raises:
        SlurmError: the command fails, or does not end within `TIMEOUT_S`.
    """
    try:
        done = await commands.run(
            *command, text=text, env=environment(), cwd="/", timeout_s=TIMEOUT_S
        )
    except TimeoutError as error:
        words = f"{command[0]}: no answer within {TIMEOUT_S} s"
        raise SlurmError(words, is_silent=True) from error
    except OSError as error:
        raise SlurmError(f"{command[0]}: {error.strerror}", is_silent=False) from error
    if done.code:
        said = " ".join(done.error.split())
        is_silent = any(each in said for each in _SILENT)
        raise SlurmError(said or f"{command[0]}: exit code {done.code}", is_silent=is_silent)
    return done.output
