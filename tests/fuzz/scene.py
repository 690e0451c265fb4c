"""The machine that generated fragments refer to: accounts, files, directories, ports, drop-ins."""

import contextlib
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests import certificates
from tests.hub import Hub

SOMEBODY = "ada"
"""An ordinary account."""
ACCOUNTS = {
    SOMEBODY: (),
    "jupyter-ada": (),
    "grader": (),
    "nologin-zed": ("--shell", "/usr/sbin/nologin"),
    "twin": ("--non-unique", "--uid", "{grader}"),
}
"""Accounts with the options of their useradd(8)."""
NO_ACCOUNT = "nobody-here"
PASSWORD = secrets.token_urlsafe()

OPEN, CLOSED, PRIVATE, IN_RUN = "/srv/fuzz-open", "/srv/fuzz", "/home/grader", "/run/fuzz"
NOWHERE = "/srv/nowhere"
DIRECTORIES = {OPEN: "root:root 1777", CLOSED: "root:root 0755", IN_RUN: "root:root 0755"}
"""Directories with owner and mode, beside the homes of the accounts."""
CERTIFICATE = f"{CLOSED}/public.crt"
KEYS = {
    f"{CLOSED}/root.key": "root:root 0600",
    f"{CLOSED}/group.key": "root:adm 0640",
    f"{CLOSED}/grader.key": "grader:grader 0600",
    f"{PRIVATE}/home.key": "grader:grader 0600",
    f"{IN_RUN}/run.key": "root:root 0600",
}
"""Keys of CERTIFICATE with owner and mode: copies of one."""
NOTES = {
    f"{CLOSED}/note": "root:root 0644",
    f"{CLOSED}/secret": "root:root 0600",
    f"{CLOSED}/grader": "grader:grader 0600",
    f"{PRIVATE}/note": "grader:grader 0644",
    f"{IN_RUN}/note": "root:root 0644",
    "/run/secrets/fuzz": "root:root 0600",
}
"""Text files with owner and mode."""
HOST_NAME = "db.fuzz.test"
"""A name that only /etc/hosts has."""
TAKEN_PORT, FREE_PORT = 9901, 9902

VARIABLES = "/etc/fuzz.env"
CREDENTIAL = "/etc/fuzz.cred"
MARK = "FUZZ_MARK"
"""The variable that drop-ins set."""


@contextlib.contextmanager
def scene(hub: Hub) -> Iterator[None]:
    """Add accounts, files and a program with a port to a machine; remove them at the end."""
    machine = hub.machine
    for name, options in ACCOUNTS.items():
        uid = machine.run(["id", "-u", "grader"], check=False).stdout.strip()
        machine.run(["useradd", "-m", *(each.format(grader=uid) for each in options), name])
        machine.run(["chpasswd"], input=f"{name}:{PASSWORD}\n")
    machine.run(["chmod", "0700", PRIVATE])
    for directory, rights in DIRECTORIES.items():
        machine.run(["mkdir", "-p", directory])
        _give(hub, directory, rights)
    with tempfile.TemporaryDirectory() as directory:
        certificate, key = certificates.make(Path(directory), "hub.fuzz.test")
        machine.put(CERTIFICATE, certificate.read_text())
        _put_all(hub, KEYS, key.read_text())
    _put_all(hub, NOTES, "fuzz\n")
    machine.put(VARIABLES, "")
    machine.put(CREDENTIAL, "")
    hosts = machine.read("/etc/hosts")
    machine.put("/etc/hosts", f"{hosts}127.0.0.1 {HOST_NAME}\n")
    listen = ["systemd-socket-activate", "--accept", f"--listen={TAKEN_PORT}", "true"]
    machine.run(["systemd-run", "--quiet", "--collect", "--unit=fuzz-listener", *listen])
    machine.run(["mount", "-o", "remount,rw", "/proc/sys"])
    try:
        yield
    finally:
        machine.run(["mount", "-o", "remount,ro", "/proc/sys"])
        machine.systemctl("stop", "fuzz-listener", check=False)
        machine.put("/etc/hosts", hosts)
        paths = [*DIRECTORIES, *KEYS, *NOTES, CERTIFICATE, VARIABLES, CREDENTIAL]
        machine.run(["rm", "-rf", *paths])
        for name in reversed(ACCOUNTS):
            machine.run(["userdel", "--force", "--remove", name], check=False)


def _put_all(hub: Hub, files: Mapping[str, str], text: str) -> None:
    for path, rights in files.items():
        hub.machine.put(path, text)
        _give(hub, path, rights)


def _give(hub: Hub, path: str, rights: str) -> None:
    owner, mode = rights.split()
    hub.machine.run(["sh", "-c", 'chown "$1" "$3"; chmod "$2" "$3"', "sh", owner, mode, path])


def restart(hub: Hub) -> None:
    """Stop every unit of the hub, forget /run, and start them, as at a boot.

    Whether that succeeds is seen afterwards: a release before this one has fewer units.
    """
    names = hub.layout.started_unit_names
    hub.machine.systemctl("stop", *names, check=False)
    hub.machine.run(["rm", "-rf", str(hub.layout.run_directory)])
    hub.machine.systemctl("reset-failed", *names, check=False)
    # The first attempt of the hub counts; systemd would go on trying.
    hub.machine.run(["timeout", "30", "systemctl", "start", *names], check=False)
