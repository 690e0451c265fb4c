"""A term of a class: a hub as a teacher has it, days of logins, and what grows meanwhile."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests import certificates, wheels
from tests.client import Person
from tests.eventually import eventually
from tests.hub import Hub
from tests.server import Server

PACKAGES = ("dma", "logrotate", "restic", "sudo")
STUDENTS = tuple(f"student{number:02}" for number in range(1, 41))
PASSWORD = "all of them have the same"
RUN, WATCH = "littlest-hub.backups-run", "littlest-hub.watch"
COLUMNS = (
    *("day", "hub", "hub's files", "proxy", "database", "tokens", "codes", "state", "base"),
    *("backups", "journal", "run", "generations", "disk"),
)
HTTPS = """\
c.JupyterHub.ssl_cert = "/etc/ssl/hub.crt"
c.JupyterHub.ssl_key = "/etc/ssl/hub.key"
"""
# A hash that is computed in a hundredth of the time: logins are what most of a day consists of.
ACCOUNTS = r"""
hash=$(perl -e 'print crypt($ARGV[0], q($6$rounds=1000$salt))' "$1")
shift
for name; do useradd --create-home --shell /bin/bash --password "$hash" "$name"; done
"""
NOISE = "seq --format='a program of the machine says %g' 300 | systemd-cat --identifier=noise"
# These machines have no time server, which `doctor` says.
IGNORED = "clock"
_PATIENCE_S = 600
_AT_ONCE = 4
"""The number of passwords of one network that the hub checks at the same time."""

# Sizes are in KiB; memory is PSS, which divides shared pages among processes (proc_pid_smaps(5)).
_SAMPLE = r"""
import json, os, pathlib, re, sqlite3, subprocess, sys
base = pathlib.Path(sys.argv[1])
def said(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout
def unit(name):
    files = pathlib.Path("/sys/fs/cgroup/system.slice", name).rglob("cgroup.procs")
    pids = [pid for file in files for pid in file.read_text().split()]
    pss = sum(int(re.search(r"^Pss: +(\d+)", pathlib.Path("/proc", pid, "smaps_rollup")
              .read_text(), re.M)[1]) for pid in pids)
    return pss, len(pids), sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)
def size(*paths):
    found = said("du", "-sk", *map(str, paths)).splitlines()
    return sum(int(line.split()[0]) for line in found)
hub, proxy = unit("littlest-hub.service"), unit("littlest-hub-proxy.service")
file = base / "state/jupyterhub.sqlite"
rows = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
def count(table):
    return rows.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
disk = os.statvfs("/")
print(json.dumps({
    "hub": hub[0], "hub's processes": hub[1], "hub's files": hub[2],
    "proxy": proxy[0], "proxy's files": proxy[2],
    "database": file.stat().st_size // 1024,
    "tokens": count("api_tokens"), "codes": count("oauth_codes"), "users": count("users"),
    "clients": count("oauth_clients"), "servers": count("servers"),
    "state": size(base / "state"), "base": size(base), "environments": size(base / "environments"),
    "backups": size("/var/backups"), "mail": size("/var/mail"),
    "journal": size(*(p for p in ("/var/log/journal", "/run/log/journal") if os.path.isdir(p))),
    "run": size("/run"), "temporary": len(os.listdir("/tmp")) + len(os.listdir("/var/tmp")),
    "generations": sum(each.name.isdecimal() and not each.is_symlink()
                       for each in (base / "environments/.class").iterdir()),
    "disk": (disk.f_blocks - disk.f_bfree) * disk.f_frsize // 1024,
    "failed": said("systemctl", "list-units", "--failed", "--plain", "--no-legend").splitlines(),
}))
"""


def set_up(hub: Hub, fragments: Mapping[str, str], culling: str, ignored: str = IGNORED) -> None:
    """Set up people and the stacks, as an administrator does in an hour.

    Args:
        hub: the hub.
        fragments: what this hub needs besides, by name.
        culling: a script of sed(1) for the fragment of the class.
        ignored: subjects that the daily look ignores.
    """
    machine = hub.machine
    machine.run(["sh", "-euc", ACCOUNTS, "sh", PASSWORD, "teacher", *STUDENTS])
    for name, text in fragments.items():
        hub.write_fragment(name, text)
    command(hub, "enable", "class", "--yes", "--set", "admin=teacher")
    machine.run(["sed", "--in-place", culling, f"{hub.layout.fragments}/60-class.py"])
    command(hub, "enable", "backups", "--yes")
    command(hub, "backups", "key")
    command(hub, "enable", "watch", "--yes", "--set", "mail=root", "--set", f"ignore={ignored}")


def command(hub: Hub, *words: str) -> str:
    program = hub.path("hub/bin/littlest-hub")
    return hub.machine.run([program, *words], timeout_s=_PATIENCE_S).stdout


def put_certificate(server: Server, directory: Path, address: str, days: float) -> Path:
    """Put a certificate where the hub expects it, and return it.

    Args:
        server: the hub's machine.
        directory: for a copy.
        address: what it is for.
        days: how long it is valid, from now on by the clock of the host.
    """
    made, key = certificates.make(directory, address, days=(-1, days))
    server.put("/etc/ssl/hub.crt", made.read_text())
    server.put("/etc/ssl/hub.key", key.read_text(), mode=0o600)
    return made


@dataclass
class Term:
    """The days of one term.

    Args:
        hub: the hub.
        trusted: the certificates that people's browsers trust, or what decides about them.
        logins: how many students log in on a day.
    """

    hub: Hub
    trusted: Path | ssl.SSLContext
    logins: int = len(STUDENTS)
    day: int = 0
    samples: list[dict[str, int]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """Units that were found failed, with the day."""

    def people(self) -> list[str]:
        """Return the students who log in on this day."""
        first = self.day * self.logins
        return [STUDENTS[(first + place) % len(STUDENTS)] for place in range(self.logins)]

    def person(self, name: str) -> Person:
        """Return a browser of somebody's."""
        patience_s = self.hub.machine.patience_s
        return Person(self.hub.url, name, PASSWORD, timeout_s=patience_s, trusted=self.trusted)

    def log_in(self, name: str) -> None:
        """Log in with a browser that was never there."""
        with self.person(name) as person:
            person.log_in()

    def let_in(self, people: Sequence[str]) -> None:
        with ThreadPoolExecutor(_AT_ONCE) as doors:
            # The list raises the error of a login that failed.
            list(doors.map(self.log_in, people))

    def hold_class(self, directory: Path, *, has_loop: bool, students: int = 2) -> None:
        """Install a package for everybody; some students use it, and leave their servers."""
        version, patience_s = f"1.{self.day}", self.hub.machine.patience_s
        wheel = wheels.make(directory, "lesson", version)
        path = self.hub.machine.copy(wheel, f"/srv/{wheel.name}")
        command(self.hub, "environment", "install", path)
        for place in range(students):
            name = STUDENTS[(2 * (self.day // 7) + place) % len(STUDENTS)]
            with self.person(name) as person:
                person.log_in()
                person.start_server(timeout_s=patience_s)
                with person.open_kernel() as kernel:
                    said = kernel.run("import lesson; lesson.VERSION", timeout_s=patience_s)
                    assert said == repr(version)
                    if has_loop and not place:
                        kernel.send("while True: pass")

    def await_no_servers(self) -> None:
        """Wait until the idle culler has stopped the servers that were left."""
        listed = ["list-units", "littlest-hub.user-*", "--plain", "--no-legend"]
        eventually(
            lambda: not self.hub.machine.systemctl(*listed).stdout.strip(),
            self.hub.machine.patience_s,
            "the culler",
            interval_s=2,
        )

    def sample(self) -> dict[str, int]:
        """Measure everything that may grow."""
        python = self.hub.path("hub/bin/python3")
        command = [python, "-I", "-c", _SAMPLE, str(self.hub.layout.base)]
        found = json.loads(self.hub.machine.run(command).stdout)
        self.failed += [f"day {self.day}: {unit}" for unit in found.pop("failed")]
        found = {"day": self.day, **found}
        self.samples.append(found)
        return dict(found)


def assert_nothing_grows(term: Term) -> None:
    """Compare the last measurement with one of the first month; no server runs at either."""
    assert not term.failed
    last, settled = term.samples[-1], term.samples[min(3, (len(term.samples) - 1) // 2)]
    days = last["day"] - settled["day"]
    for name in ("hub", "proxy"):
        assert last[name] <= 1.2 * settled[name], f"memory of {name}"
    assert last["hub's files"] <= settled["hub's files"] + 10
    assert last["hub's processes"] == settled["hub's processes"]
    for name, daily in {"database": 4, "state": 100, "run": 10, "journal": 5000}.items():
        assert last[name] - settled[name] <= daily * days + 100, f"KiB of {name} within {days} days"
    assert last["users"] <= len(STUDENTS) + 1
    assert last["tokens"] <= 60
    assert last["codes"] <= 10
    assert last["generations"] <= 11
    assert last["temporary"] <= settled["temporary"] + 2


def table(samples: Sequence[dict[str, int]], columns: Sequence[str]) -> str:
    """Return samples as a table in Markdown."""
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(str(each[name]) for name in columns)} |" for each in samples]
    return "\n".join(lines)
