"""systemd-analyze(1): the one place that runs it and parses what it prints."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

TIMEOUT_S = 10


def refusals(unit: str) -> dict[int, str]:
    """Return what systemd refuses in the text of a service, by line; {}: nothing, or no answer.

    systemd-analyze also complains about lines that systemd accepts, such as old names of settings;
    these are left out.
    """
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "verified.service")
        file.write_text(unit)
        try:
            said = subprocess.run(
                ["systemd-analyze", "verify", "--man=no", str(file)],
                capture_output=True,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                timeout=TIMEOUT_S,
                env={**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0"},
            ).stderr
        except (OSError, subprocess.TimeoutExpired):
            return {}
    found = re.findall(rf"(?m)^{re.escape(str(file))}:(\d+): (.*)", said)
    # systemd reads nothing after a fatal error.
    fatal = found[-1:] if "has fatal error" in said else []
    refused = [(line, text) for line, text in found if re.search("ignor(ing|ed)", text)]
    # systemd ignores such a line in a file, but systemd-run(1) refuses to start the unit.
    return {int(line): text.replace(", ignoring", "") for line, text in [*refused, *fatal]}
