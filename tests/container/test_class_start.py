"""`class start`: servers of a group before its class begins."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.client import Person
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

pytestmark = pytest.mark.long

PASSWORD, ADMIN_PASSWORD = "a password of all", "a much longer password of administrators"
# Names of the system, as the last one, get no account.
PHYSICS = [*(f"physicist{number:02}" for number in range(14)), "games"]
CHEMISTRY = [f"chemist{number}" for number in range(4)]
BIOLOGY = [f"biologist{number}" for number in range(6)]
HERE, LOCKED, *ABSENT, FAILS = PHYSICS
LIMIT = 3
PEOPLE = f"""\
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = {PASSWORD!r}
c.SharedPasswordAuthenticator.admin_password = {ADMIN_PASSWORD!r}
c.Authenticator.admin_users = {{"boss"}}
c.Authenticator.allowed_users = {set(PHYSICS + CHEMISTRY + BIOLOGY)!r}
c.JupyterHub.load_groups = {{
    "physics": {{"users": {PHYSICS!r}}},
    "chemistry": {{"users": {CHEMISTRY!r}}},
    "biology": {{"users": {BIOLOGY!r}}},
}}
c.UnitSpawner.concurrent_starts = {LIMIT}
"""


@pytest.fixture(scope="module")
def school(installer: Path) -> Iterator[Hub]:
    """A hub with the stack and two groups of people, who get accounts at their first start."""
    with Machine("bookworm") as machine:
        hub = Hub.install(machine, installer)
        hub.write_fragment("41-people.py", PEOPLE)
        run(hub, "enable", "class", "--yes", "--set", "login=other")
        yield hub


@pytest.fixture
def boss(school: Hub) -> Iterator[Person]:
    with Person(school.url, "boss", ADMIN_PASSWORD) as person:
        person.log_in()
        yield person


def run(hub: Hub, *words: str, code: int = 0) -> str:
    """Run `littlest-hub`, and return what it prints on standard output."""
    done = hub.machine.run([hub.path("hub/bin/littlest-hub"), *words], check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if not code else done.stdout + done.stderr


def starting(boss: Person) -> int:
    """Return how many servers start, or wait to start, at this moment."""
    people = boss._api("GET", "users?state=active").json()
    servers = [each for person in people for each in person["servers"].values()]
    return sum(each["pending"] == "spawn" for each in servers)


def test_twelve_servers_start_in_waves_and_who_cannot_is_named_with_the_reason(
    school: Hub, boss: Person
) -> None:
    run(school, "class", "remove", LOCKED, "--lock")
    # The reload has left them out of the group, because they may not log in.
    boss.add_user(LOCKED)
    boss._api("POST", "groups/physics/users", json={"users": [LOCKED]})
    with school.logged_in(HERE, PASSWORD) as here:
        here.start_server()
        before = school.main_pid(f"{school.layout.user_unit(f'jupyter-{HERE}')}.service")
        with ThreadPoolExecutor() as pool:
            words = ("class", "start", "physics", "--at-a-time", "2", "--json")
            printed = pool.submit(run, school, *words, code=1)
            most = 0
            while not printed.done():
                most = max(most, starting(boss))
        found = json.loads(printed.result())
        outcomes = {each["name"]: each["outcome"] for each in found["members"]}
        special = {HERE: "runs", LOCKED: "locked", FAILS: "failed"}
        assert outcomes == dict.fromkeys(PHYSICS, "started") | special
        (reason,) = [each["reason"] for each in found["members"] if each["reason"]]
        assert "gets no account: it is a name of the system" in reason
        assert 1 <= most <= 2
        assert here.has_server()
        unit = f"{school.layout.user_unit(f'jupyter-{HERE}')}.service"
        assert school.main_pid(unit) == before
    assert len(ABSENT) == 12
    for name in ABSENT:
        server = boss._api("GET", f"users/{name}").json()["servers"][""]
        assert server["ready"], name
    # A second time, those who run are left alone; one has stopped. The hub's limit is kept.
    again = run(school, "class", "start", "physics", "--at-a-time", "50", code=1)
    assert f"physics: 15 members, 2 to start, {LIMIT} at a time, the most that the hub all" in again
    assert "physics: 1 started; 12 ran already; 1 locked, so" in again
    assert "nothing was started; 1 did not start" in again
    assert f"  {FAILS}: " in again


def test_ctrl_c_asks_for_no_more_servers_and_the_next_time_goes_on(
    school: Hub, boss: Person
) -> None:
    script = f"""
        {school.path("hub/bin/littlest-hub")} class start chemistry --at-a-time 1 >/root/said 2>&1 &
        until grep -q '^.1/4. ' /root/said; do sleep 0.1; done
        kill -INT $!
        wait $!; echo $?"""
    assert school.machine.run(["sh", "-c", script]).stdout.strip() == "130"
    said = school.machine.read("/root/said")
    assert "No more servers are asked for" in said
    assert "not asked for, because of Ctrl-C" in said
    assert starting(boss) == 0
    said = run(school, "class", "start", "chemistry")
    assert "did not" not in said
    for name in CHEMISTRY:
        assert boss._api("GET", f"users/{name}").json()["servers"][""]["ready"]


def test_a_reload_of_the_hub_in_between_changes_nothing(school: Hub, boss: Person) -> None:
    with ThreadPoolExecutor() as pool:
        printed = pool.submit(run, school, "class", "start", "biology", "--at-a-time", "1")
        eventually(lambda: starting(boss), 60, "the first start")
        school.reload()
        assert not printed.done()
        said = printed.result()
    assert "biology: 6 started" in said or "ran already" in said, said
    for name in BIOLOGY:
        assert boss._api("GET", f"users/{name}").json()["servers"][""]["ready"]


def test_a_wrong_group_a_wrong_number_and_a_user_without_rights_are_told_so(school: Hub) -> None:
    said = run(school, "class", "start", "physic", code=1)
    assert "The hub has no such group; it has: biology, chemistry, physics" in said
    assert "expected a number from 1" in run(
        school, "class", "start", "physics", "--at-a-time", "x", code=2
    )
    machine = school.machine
    command = school.path("hub/bin/littlest-hub")
    done = machine.run(
        ["runuser", "-u", "nobody", "--", command, "class", "start", "physics"], check=False
    )
    assert done.returncode
    with school.logged_in(CHEMISTRY[0], PASSWORD) as person:
        answer = person.browser.get("/hub/api/class/start", params={"group": "physics"})
        assert answer.status_code == 403
    place = str(school.layout.stack_hub_data("class") / "start.json")
    assert machine.run(["stat", "--format=%a %U", place]).stdout.split() == ["600", "root"]
