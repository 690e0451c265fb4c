"""A hub installed on a machine, and its users."""

import itertools
import json
import re
import secrets
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from littlest_hub.layout import DEFAULT_BASE, Layout
from tests.client import Person
from tests.eventually import eventually
from tests.server import Server

REPOSITORY = Path(__file__).parents[1]

_people = itertools.count(1)


def build_installer() -> Path:
    """Build the installer of this checkout; unchanged parts come from the cache.

    Raises:
        subprocess.CalledProcessError: the build failed; the reason is on standard error.
    """
    output = REPOSITORY / "dist"
    command = [sys.executable, "-m", "construct", "--output", str(output)]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    return max(output.glob("littlest-hub-*.sh"), key=lambda path: path.stat().st_mtime)


@dataclass(frozen=True)
class Hub:
    """One installation on one machine."""

    machine: Server
    layout: Layout
    url: str

    @classmethod
    def install(
        cls,
        machine: Server,
        installer: Path,
        *,
        base: Path = DEFAULT_BASE,
        env: Mapping[str, str] | None = None,
        umask: int = 0o022,
    ) -> "Hub":
        """Run the installer and wait for the login page.

        Raises:
            MachineError: the installer failed.
            NotInTimeError: no login page appeared.
        """
        environment = {"LITTLEST_HUB_BASE": str(base), **(env or {})}
        machine.install(installer, env=environment, umask=umask)
        return cls.found_on(machine, base)

    @classmethod
    def found_on(cls, machine: Server, base: Path = DEFAULT_BASE) -> "Hub":
        """Return the hub that is already installed on a machine."""
        layout = Layout(base)
        listen = machine.systemctl("show", "--property=Listen", "--value", layout.proxy_socket)
        port = re.findall(r":(\d+) ", listen.stdout)
        assert port, f"{layout.proxy_socket} listens nowhere: {listen.stdout!r}"
        # httpx.URL removes the default port, as a browser's address bar does.
        hub = cls(machine, layout, str(httpx.URL(f"http://{machine.address}:{port[0]}")))
        eventually(hub.answers, machine.patience_s, f"a login page at {hub.url}")
        return hub

    def answers(self, timeout_s: float = 30) -> bool:
        """Return whether the login page is there."""
        try:
            page = httpx.get(f"{self.url}/hub/login", timeout=timeout_s, trust_env=False)
        except httpx.TransportError as error:
            raise AssertionError(str(error)) from error
        return page.status_code == 200

    @contextmanager
    def person(self, name: str | None = None, *, timeout_s: float = 30) -> Iterator[Person]:
        """Yield a new user with a system account, logged in; stop their server at the end.

        Args:
            name: of the account; None: any name.
            timeout_s: for each single request of the user.
        """
        name = name or f"person{next(_people)}"
        password = secrets.token_urlsafe()
        self.machine.add_user(name, password)
        with self.logged_in(name, password, timeout_s=timeout_s) as person:
            yield person

    @contextmanager
    def logged_in(self, name: str, password: str, *, timeout_s: float = 30) -> Iterator[Person]:
        """Yield a user, logged in; stop their server at the end.

        Args:
            name: what the user types into the login page.
            password: of this name.
            timeout_s: for each single request of the user.
        """
        with Person(self.url, name, password, timeout_s=timeout_s) as person:
            person.log_in()
            try:
                yield person
            finally:
                person.stop_server()

    def path(self, inside: str) -> str:
        """Return a path in the base directory."""
        return str(self.layout.base / inside)

    def write_fragment(self, name: str, text: str) -> str:
        """Write a fragment, and return its path."""
        path = str(self.layout.fragments / name)
        self.machine.put(path, text)
        return path

    def reload(self, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `systemctl reload littlest-hub`."""
        return self.machine.systemctl("reload", self.layout.hub_service, check=check)

    @contextmanager
    def fragment(self, name: str, text: str) -> Iterator[str]:
        """Load a fragment for the time of the block."""
        path = self.write_fragment(name, text)
        try:
            self.reload()
            yield path
        finally:
            self.machine.run(["rm", "--force", path])
            self.reload()

    def main_pid(self, unit: str | None = None) -> int:
        """Return the main process of the hub's unit, or of another; 0 if it does not run."""
        unit = unit or self.layout.hub_service
        return int(self.machine.systemctl("show", "--property=MainPID", "--value", unit).stdout)

    def status(self, unit: str | None = None) -> str:
        """Return the status text of the hub's unit, or of another, in `systemctl status`."""
        show = ["show", "--property=StatusText", "--value", unit or self.layout.hub_service]
        return self.machine.systemctl(*show).stdout.strip()

    def serving_pid(self) -> int:
        """Return the process of the hub itself, a child of its unit's main process."""
        pid = self.main_pid()
        return int(self.machine.read(f"/proc/{pid}/task/{pid}/children").split()[0])

    def held_ports(self) -> dict[str, int]:
        """Return the port that the guard holds for each unit."""
        held = json.loads(self.machine.read(str(self.layout.held_ports)))
        return {cgroup.rpartition("/")[2]: port for _, port, cgroup, _ in held}

    def snapshot(self) -> dict[str, str]:
        """Return owner, mode, time and content's sha256 of each path that an installation wrote.

        These are all paths in /etc and the base directory except the releases, locks, and the
        database, which modifies its directory while it works.
        """
        script = (
            f"find /etc /usr/local {shlex.quote(str(self.layout.base))}"
            r" -path '*/releases/*' -prune -o -name '*.sqlite*' -prune -o -name '*.lock' -prune -o"
            r" -type d -printf '%p\t%y %m %u %g\n' -o"
            r" -printf '%p\t%y %m %u %g %T@ %l\n'; echo;"
            f" find /etc /usr/local {shlex.quote(str(self.layout.base))}"
            r" -path '*/releases/*' -prune -o -name '*.sqlite*' -prune -o -name '*.lock' -prune -o"
            r" -type f -exec sha256sum {} +"
        )
        listing, _, sums = self.machine.run(["sh", "-c", script]).stdout.partition("\n\n")
        found = dict(line.split("\t", 1) for line in listing.splitlines())
        for line in sums.splitlines():
            digest, path = line.split(maxsplit=1)
            found[path] += f" {digest}"
        return found


@dataclass(frozen=True)
class Greeting:
    """The text that `littlest-hub run` prints once it answers."""

    url: str
    user: str
    password: str

    @classmethod
    def find(cls, printed: str) -> "Greeting | None":
        """Return the greeting in the text printed so far, if it is there."""
        found = re.search(r"at (http://\S+)\s+user: +(\S+)\s+password: +(\S+)", printed)
        return cls(*found.groups()) if found else None
