"""Certificate authorities of the machine, to which an administrator may have added some."""

from __future__ import annotations

from pathlib import Path

FILES = (
    *("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"),
    "/etc/ssl/ca-bundle.pem",
)
"""The files with all of them, of Debian, Red Hat, and SUSE."""


def file() -> str:
    """Return the file with all of them; "": the machine has none."""
    return next((each for each in FILES if Path(each).exists()), "")
