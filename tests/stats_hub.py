"""A hub with the stack `stats`: its settings, its figures, and a past."""

import re
import shlex
from pathlib import Path
from typing import Any

from tests import simulated_statistics
from tests.client import Person
from tests.eventually import eventually
from tests.hub import Hub

PASSWORD, ADMIN_PASSWORD = "a password of all", "a much longer password of administrators"
STUDENTS = 12
SAMPLER = "littlest-hub.stats-sampler.service"
EVERY_S = 10
"""The shortest interval, so that tests do not wait for a minute."""
FRAGMENT = "57-stats.py"


def people_fragment(students: int = STUDENTS) -> str:
    """Return a fragment with people in groups, who need no accounts of the machine."""
    numbers = range(1, students + 1)
    groups = {
        group: [
            simulated_statistics.name_of(each)
            for each in numbers
            if simulated_statistics.group_of(each) == group
        ]
        for group in ("physics", "chemistry")
    }
    groups["teachers"] = ["ina"]
    names = {name for members in groups.values() for name in members}
    return f"""\
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = {PASSWORD!r}
c.SharedPasswordAuthenticator.admin_password = {ADMIN_PASSWORD!r}
c.Authenticator.admin_users = {{"boss"}}
c.Authenticator.allowed_users = {sorted(names)!r}
c.UnitSpawner.dynamic_users = True
c.JupyterHub.load_groups = { {name: {"users": members} for name, members in groups.items()}!r}
"""


def run(hub: Hub, *words: str, check: bool = True) -> str:
    """Run `littlest-hub`, and return what it prints."""
    done = hub.machine.run([hub.path("hub/bin/littlest-hub"), *words], check=check)
    return done.stdout + done.stderr


def set_values(hub: Hub, **values: Any) -> None:
    """Change values at the top of the fragment, and reload the hub."""
    file = str(hub.layout.fragments / FRAGMENT)
    text = hub.machine.read(file)
    for name, value in values.items():
        text, number = re.subn(rf"^{name} = .*$", f"{name} = {value!r}", text, flags=re.M)
        assert number == 1, name
    hub.machine.put(file, text)
    hub.reload()


def enable(hub: Hub, **values: Any) -> None:
    """Enable the stack, with samples every few seconds."""
    run(hub, "enable", "stats", "--yes")
    set_values(hub, EVERY_S=EVERY_S, INSTRUCTORS={"teachers": ["physics"]}, **values)


def figures(person: Person, page: str, **query: str) -> dict[str, Any]:
    """Return what a page shows, as JSON."""
    answer = person.browser.get(f"/services/stats/{page}.json", params=query)
    assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
    found: dict[str, Any] = answer.json()
    return found


def await_servers(boss: Person, number: int) -> dict[str, Any]:
    """Return the figures of the last hour, once so many servers are counted."""

    def counted() -> dict[str, Any]:
        found = figures(boss, "hub", period="hour")
        assert found["summary"]["Servers now"] == number, found["summary"]
        return found

    what = f"{number} servers on the page"
    # Each look makes a whole report.
    return eventually(counted, 3 * EVERY_S + 60, what, interval_s=1)


def await_whole_sample(hub: Hub) -> None:
    """Wait until the sampler has seen all people: it lists them when it starts."""
    hub.machine.systemctl("restart", SAMPLER)
    text = "last sample: 20"
    eventually(lambda: text in run(hub, "stats"), 60, "a sample")


def write_past(hub: Hub, days: int, step_s: int) -> None:
    """Let people have used the hub in the past; the hub knows them already."""
    await_whole_sample(hub)
    machine = hub.machine
    machine.systemctl("stop", SAMPLER)
    script = Path(simulated_statistics.__file__).read_text()
    machine.put("/root/simulated_statistics.py", script)
    data = str(hub.layout.stack_data("stats"))
    python = hub.path("hub/bin/python3")
    words = [python, "-I", "/root/simulated_statistics.py", data, days, STUDENTS, step_s]
    machine.run(["sh", "-c", f"umask 077; {shlex.join(map(str, words))}"])
    machine.run(["rm", "/root/simulated_statistics.py"])
    # It gives the files to its user.
    machine.systemctl("start", SAMPLER)
