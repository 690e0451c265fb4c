"""Explanations of failed starts of user servers: the meaning of a line of the journal."""

from __future__ import annotations

import re
from typing import NamedTuple

# Facts that have to change before another start can succeed. `mended` tests whether they have.
CONFIGURATION = "configuration"
HOME = "home"
ACCOUNT = "account"
NUMBER = "number"
SPACE = "space"
WRITABLE = "writable"
RELEASE = "release"
RETRY = "retry"
REFUSED = "refused"
"""Nothing: a rule forbids this start."""


class Explanation(NamedTuple):
    """The meaning of the decisive line of a failed start."""

    pattern: str
    meaning: str
    command: str
    """The command that fixes it or shows more, with placeholders."""
    mended_by: str = CONFIGURATION
    """The change that the next start needs to succeed: one of the constants above."""


def explain(line: str, symptom: str) -> Explanation:
    """Return the explanation of a decisive line.

    Args:
        line: the decisive line.
        symptom: the hub's own message.
    """
    for each in _EXPLANATIONS:
        if re.search(each.pattern, line):
            return each
    return _LAST_LINE if re.search(_LAST_LINE.pattern, symptom) else _OTHER


_MAKE_HOME = (
    "[ -d ~{account} ] || mkhomedir_helper {account};"
    " chown {account}: ~{account} && chmod u+rwx ~{account}"
)
_LAST_LINE = Explanation(
    r"never showed up|failed to start in",
    "the last line that the server printed",
    "journalctl --namespace='*' -u '{unit}'",
)
_OTHER = Explanation(
    "",
    "an exception in the spawner or in a hook of a fragment",
    "journalctl -u {hub} -p err",
)
_EXPLANATIONS = (
    # First: the reason may contain anything.
    Explanation(
        r"\bHTTP 403: Forbidden \(",
        "nothing has failed: a rule forbids this start, and the person has seen this reason",
        "",
        REFUSED,
    ),
    Explanation(
        r"What it printed is in /",
        "the server runs on another machine, and the reason is in this file",
        "runuser -u {account} -- tail {output}",
    ),
    Explanation(
        r"\(Job \d+: ",
        "the job of the server ended while it waited, before a node ran anything",
        "",
        RETRY,
    ),
    Explanation(
        r"Fatal Python error|error while loading shared libraries|/releases/\S+: Permission denied"
        r"|No module named '(?:littlest_hub|encodings|jupyter)",
        "users cannot read the files of the release, or some are missing",
        "{install}",
        RELEASE,
    ),
    Explanation(
        r" fails at \S+:\d+: .* is a RootHook",
        "a hook of a fragment does what the hub's sandbox forbids; root's hooks may: "
        "docs/how-to/homes.md",
        '{edit}   # c.Spawner.pre_spawn_hook = RootHook("make-home")',
    ),
    Explanation(
        r"Root's hook ",
        "a hook that runs as root has failed",
        "journalctl -u '{hooks}'",
    ),
    Explanation(
        r" fails at \S+:\d+: ",
        "a hook of a fragment has raised an exception",
        "{edit}",
    ),
    Explanation(
        r"status=\d+/CHDIR",
        "the home directory is missing, or its owner may not enter it",
        _MAKE_HOME,
        HOME,
    ),
    Explanation(
        r"step CHDIR|working directory failed: No such file|chdir.*No such file",
        "the home directory is missing",
        _MAKE_HOME,
        HOME,
    ),
    Explanation(
        r"working directory failed: Permission denied",
        "the owner of the home directory may not enter it",
        _MAKE_HOME,
        HOME,
    ),
    Explanation(
        r"oom-kill|killed by the OOM killer|Out of memory|MemoryError|Cannot allocate memory",
        "the memory limit is too low to start JupyterLab (about 150 MB), or no memory is free",
        "{edit}   # raise c.Spawner.mem_limit",
    ),
    Explanation(
        r"Failed to find executable \S+?:|(?:step |/)EXEC|\S+ not found on /",
        "the command that starts the server, c.Spawner.cmd, is not on this machine",
        "{edit}   # c.Spawner.cmd",
    ),
    Explanation(
        r"mount namespacing: \S+?: No such|step NAMESPACE",
        "a directory that c.SystemdSpawner.unit_extra_properties or a read-only/-write "
        "path names does not exist",
        "{edit}   # or create the directory",
    ),
    Explanation(
        r"step (?:USER|GROUP)|getpwnam\(\): name not found|No user named",
        "there is no such system account",
        "useradd --create-home --shell /bin/bash {account}",
        ACCOUNT,
    ),
    Explanation(
        r"share the number \d+, and systemd",
        "another account has the same number, and systemd cannot start the server by name",
        "usermod --uid NUMBER {account}   # an unused one",
        NUMBER,
    ),
    Explanation(
        r"in c\.Spawner\.environment (?:contains|cannot)",
        "systemd would not pass on a variable of c.Spawner.environment",
        "{edit}   # c.Spawner.environment",
    ),
    Explanation(
        r"Unknown assignment|Failed to parse|Invalid argument",
        "systemd refuses a property in c.SystemdSpawner.unit_extra_properties",
        "{edit}   # c.SystemdSpawner.unit_extra_properties",
    ),
    Explanation(
        r"No space left on device|Disk quota exceeded",
        "the disk or the quota of the home directory is full",
        "df -h ~{account} && du -xhd1 ~{account} | sort -h | tail",
        SPACE,
    ),
    Explanation(
        r"Read-only file system",
        "the home directory is mounted read-only",
        "findmnt --target ~{account}",
        WRITABLE,
    ),
    Explanation(
        r"Permission denied",
        "something in the home directory does not belong to its owner",
        "chown -R {account}: ~{account}",
        HOME,
    ),
    Explanation(
        r"Address already in use",
        "another program had taken the port; the next start takes another one",
        "",
        RETRY,
    ),
    Explanation(
        r"step [A-Z_]+",
        "systemd could not set up the server's unit at that step (systemd.exec(5))",
        "systemctl status '{unit}'",
    ),
    Explanation(
        r"never showed up|failed to start in",
        "the server runs, but does not answer in time: slow disk, or not a Jupyter server",
        "{edit}   # raise c.Spawner.start_timeout and c.Spawner.http_timeout",
    ),
)
