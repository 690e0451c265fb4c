"""Kill changes of stacks, upgrade with announce, and follow docs/how-to/write-a-stack.md."""

import argparse
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from tests import releases, wheels
from tests.client import Person
from tests.container.test_stacks import files
from tests.eventually import eventually
from tests.hub import Hub, build_installer
from tests.machine import Machine
from tests.stacks.page import code_of_page

ANNOUNCE = "/services/announce/"
NEXT = "2026.12.0"


def command(hub: Hub, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return hub.machine.run([hub.path("hub/bin/littlest-hub"), *words], check=check)


def write(boss: Person, banner: str) -> None:
    form = boss.browser.get(ANNOUNCE)
    (token,) = re.findall(r'name="_xsrf" value="([^"]+)"', form.text)
    saved = boss.browser.post(ANNOUNCE, data={"banner": banner, "message": "", "_xsrf": token})
    assert "Saved" in saved.text, saved.text


def login_page(hub: Hub) -> str:
    return httpx.get(f"{hub.url}/hub/login", trust_env=False, timeout=60).text


class Killing:
    """`enable` and `disable`, killed at random moments."""

    def __init__(self, hub: Hub, boss: Person, choose: random.Random) -> None:
        self.hub, self.boss, self.choose = hub, boss, choose
        self.states: dict[bool, dict[str, str]] = {}
        self.seconds: dict[str, float] = {}
        for verb in ("enable", "disable"):
            started = time.monotonic()
            command(hub, verb, "announce", *self._flags(verb))
            self.seconds[verb] = time.monotonic() - started
            self.states[verb == "enable"] = self._files()

    def try_once(self, number: int) -> str:
        """Kill a change, recover, and return what it became."""
        is_enabled = self.is_enabled()
        verb = "disable" if is_enabled else "enable"
        after_s = self.choose.uniform(0, self.seconds[verb])
        self._kill(verb, after_s)
        assert self.hub.answers(), "the hub does not answer"
        if number % 2:
            self.hub.machine.systemctl("restart", self.hub.layout.hub_service)
        else:
            command(self.hub, "enable", "--finish")
        eventually(self.hub.answers, 120, "the hub's login page")
        now = self.is_enabled()
        # A stack's token and port are others each time.
        expected = self.states[now]
        files = self._files()
        assert files.keys() == expected.keys(), sorted(files.keys() ^ expected.keys())
        expected_status = 200 if now else 404
        page = self.boss.browser
        # A hub that has just started removes stale routes after it answers.
        eventually(
            lambda: page.get(ANNOUNCE).status_code == expected_status, 30, "its page or none"
        )
        return f"{verb} killed after {after_s:.1f} s: {'new' if now != is_enabled else 'old'}"

    def _kill(self, verb: str, after_s: float) -> None:
        script = (
            f"{self.hub.path('hub/bin/littlest-hub')} {verb} announce {' '.join(self._flags(verb))}"
            f" >/tmp/killed 2>&1 & sleep {after_s:.2f}; kill -KILL $!; wait"
        )
        self.hub.machine.run(["sh", "-c", script], check=False)

    @staticmethod
    def _flags(verb: str) -> tuple[str, ...]:
        return ("--yes",) if verb == "enable" else ()

    def is_enabled(self) -> bool:
        listed = command(self.hub, "list").stdout
        return re.search(r"announce +enabled", listed) is not None

    def _files(self) -> dict[str, str]:
        ignored = re.compile(r"/state/(proxy|backups|upgrades)|/\.[^/]*$|__pycache__")
        return {p: each for p, each in self.hub.snapshot().items() if not ignored.search(p)}


def kill(hub: Hub, boss: Person, tries: int, seed: int) -> None:
    killing = Killing(hub, boss, random.Random(seed))
    for number in range(tries):
        print(f"  {number + 1}: {killing.try_once(number)}", flush=True)
    if killing.is_enabled():
        command(hub, "disable", "announce")


def upgrade(hub: Hub, boss: Person) -> None:
    """Upgrade and roll back while announce is in use."""
    command(hub, "enable", "announce", "--yes")
    try:
        write(boss, "before the upgrade")
        hub.machine.install(releases.build(NEXT))
        unit = "littlest-hub.announce.service"
        assert "before the upgrade" in login_page(hub)
        write(boss, "after the upgrade")
        show = hub.machine.systemctl("show", "--property=MainPID", "--value", unit).stdout.strip()
        assert NEXT in hub.machine.run(["readlink", f"/proc/{show}/exe"]).stdout
        command(hub, "rollback")
        write(boss, "after the rollback")
        assert "after the rollback" in login_page(hub)
    finally:
        command(hub, "disable", "announce")


def follow_page(hub: Hub, boss: Person) -> None:
    """Make the stack of the how-to, add it as a wheel, and use it."""
    points = "[littlest_hub.stacks]\ngreeting = littlest_hub_greeting:MANIFEST\n"
    with tempfile.TemporaryDirectory() as scratch:
        name = "littlest-hub-greeting"
        wheel = wheels.make(Path(scratch), name, files=code_of_page(), entry_points=points)
        hub.machine.copy(wheel, f"/srv/{wheel.name}")
        command(hub, "packages", "add", "--from", f"/srv/{wheel.name}")
    before = files(hub)
    assert "greeting" in command(hub, "list").stdout
    command(hub, "enable", "greeting", "--yes", "--set", "greeting=Good morning")
    try:
        assert "Good morning" in login_page(hub)
        assert boss.browser.get("/services/greeting/").text == "Hello boss"
        assert "greeting: says what you chose" in command(hub, "doctor", "--all").stdout
        fragment = "c.JupyterHub.template_vars = {}\n"
        hub.write_fragment("70-replaced.py", fragment)
        checked = command(hub, "check", check=False)
        assert "70-replaced.py:1" in checked.stdout + checked.stderr
        assert "replaces the greeting" in checked.stdout + checked.stderr
        hub.machine.run(["rm", hub.path("jupyterhub_config.d/70-replaced.py")])
        removed = command(hub, "packages", "remove", "littlest-hub-greeting", check=False)
        assert removed.returncode == 1, "the stack is in use"
        assert "Disable it first: littlest-hub disable greeting" in removed.stderr
    finally:
        command(hub, "disable", "greeting")
    assert files(hub) == before
    command(hub, "packages", "remove", "littlest-hub-greeting")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stacks", description=__doc__)
    parser.add_argument("--tries", type=int, default=30, help="how many times to kill")
    parser.add_argument("--seed", type=int, default=0, help="another number: other moments")
    parser.add_argument("--installer", type=Path, help="default: built from this checkout")
    parser.add_argument("--only", choices=["elsewhere", "killed", "upgrade"], help="one part")
    options = parser.parse_args()
    parts: dict[str, Callable[[Hub, Person], None]] = {
        "elsewhere": follow_page,
        "killed": lambda hub, boss: kill(hub, boss, options.tries, options.seed),
        "upgrade": upgrade,
    }
    with Machine("bookworm") as machine:
        installer = options.installer or build_installer()
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "boss"})
        with hub.person("boss", timeout_s=120) as boss:
            for name, part in parts.items():
                if options.only not in (None, name):
                    continue
                started = time.monotonic()
                part(hub, boss)
                print(f"{name}: passed in {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
