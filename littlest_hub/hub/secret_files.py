"""Secrets of fragments, in files of their own: a fragment is shown to people, and copied."""

from __future__ import annotations

import stat
from pathlib import Path


def read_secret(path: str) -> str:
    """Return the only line of a file that others cannot read.

    Raises:
        ValueError: there is no such file, it is empty, or others can read it; with the command
            that helps.
    """
    file = Path(path)
    create = f"sudo install -D -m 600 /dev/stdin {file}"
    try:
        with file.open() as opened:
            mode = stat.S_IMODE(file.stat().st_mode)
            text = opened.read().strip()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ValueError(
            f"the secret in {file} cannot be read ({reason}); to write it, run `{create}`,"
            " paste it, then press Enter and Ctrl-D"
        ) from None
    if mode & stat.S_IRWXO:
        raise ValueError(
            f"{file} has mode {mode:04o}, so others have access to the secret; expected 0600:"
            f" sudo chmod 600 {file}"
        )
    if not text or "\n" in text:
        found = "is empty" if not text else "has more than one line"
        raise ValueError(f"{file} {found}; expected one line with the secret: {create}")
    return text
