"""Other programs, run from an event loop: without a shell, and ended if they take too long."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Completed:
    """A command that has ended."""

    code: int
    output: str
    error: str


async def run(
    *argv: str,
    text: str = "",
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    timeout_s: float | None = None,
) -> Completed:
    """Run a command; cancellation ends it.

    Args:
        argv: program and arguments.
        text: its standard input.
        env: its variables; None: those of this process.
        cwd: its working directory; None: that of this process.
        timeout_s: how long it may take; None: without limit.

    Raises:
        OSError: it cannot be started.
        TimeoutError: it took too long, and was killed.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE if text else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=env,
        cwd=cwd,
        start_new_session=True,
    )
    try:
        stdin = text.encode() if text else None
        output, error = await asyncio.wait_for(process.communicate(stdin), timeout_s)
    except TimeoutError:
        raise TimeoutError(f"{argv[0]} took more than {timeout_s:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    texts = (text.decode(errors="replace") for text in (output, error))
    return Completed(process.returncode or 0, *texts)
