"""Slurm's commands, run without a shell and with a time limit."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence

TIMEOUT_S = 30
"""How long a command may take: slurmctld answers within seconds, or is away."""


class SlurmError(Exception):
    """A command failed; the message is Slurm's own, in one line."""

    def __init__(self, message: str, *, is_silent: bool) -> None:
        super().__init__(message)
        self.is_silent = is_silent
        """Whether Slurm did not answer, so that nothing is known; otherwise it refused."""


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


async def run(command: Sequence[str], text: str = "") -> str:
    """Run a command of Slurm's and return what it prints.

    Args:
        command: program and arguments.
        text: its standard input.

    Raises:
        SlurmError: it fails, or does not end within `TIMEOUT_S`.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd="/",
            # SLURM_* and SBATCH_* variables would be options. sbatch passes these on to the job.
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "LANG": "C.UTF-8",
                **{name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ},
            },
            start_new_session=True,
        )
    except OSError as error:
        raise SlurmError(f"{command[0]}: {error.strerror}", is_silent=False) from error
    try:
        output, errors = await asyncio.wait_for(process.communicate(text.encode()), TIMEOUT_S)
    except (TimeoutError, asyncio.CancelledError) as error:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        if isinstance(error, asyncio.CancelledError):
            raise
        words = f"{command[0]}: no answer within {TIMEOUT_S} s"
        raise SlurmError(words, is_silent=True) from error
    if process.returncode:
        said = " ".join(errors.decode(errors="replace").split())
        is_silent = any(each in said for each in _SILENT)
        raise SlurmError(
            said or f"{command[0]}: exit code {process.returncode}", is_silent=is_silent
        )
    return output.decode(errors="replace")
