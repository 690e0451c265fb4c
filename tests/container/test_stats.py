"""Statistics of a real hub: what is counted, who sees it, and what it survives."""

import csv
import io
import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.client import Person
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine
from tests.stats_hub import (
    ADMIN_PASSWORD,
    FRAGMENT,
    PASSWORD,
    SAMPLER,
    STUDENTS,
    await_servers,
    await_whole_sample,
    enable,
    figures,
    people_fragment,
    run,
    set_values,
    write_past,
)

NAMED = """\
def name_environment(spawner):
    if spawner.user.name == "student001":
        spawner.environment_name = "mechanics"


c.Spawner.pre_spawn_hook = name_environment
"""
DATABASE = "state/stacks/stats/data/stats.sqlite"


@pytest.fixture(scope="module")
def hub(installer: Path) -> Iterator[Hub]:
    """A hub with the stack, two groups of students, and an instructor of one of them."""
    with Machine("bookworm") as machine:
        hub = Hub.install(machine, installer)
        hub.write_fragment("50-people.py", people_fragment())
        hub.write_fragment("51-environments.py", NAMED)
        enable(hub)
        yield hub


@pytest.fixture
def boss(hub: Hub) -> Iterator[Person]:
    with Person(hub.url, "boss", ADMIN_PASSWORD) as person:
        person.log_in()
        yield person


@pytest.fixture
def ina(hub: Hub) -> Iterator[Person]:
    """The instructor of physics."""
    with hub.logged_in("ina", PASSWORD) as person:
        yield person


@pytest.fixture
def student(hub: Hub) -> Iterator[Person]:
    with hub.logged_in("student002", PASSWORD) as person:
        yield person


def statuses(person: Person) -> dict[str, int]:
    """Return the status of each page for a person."""
    pages = (
        "hub",
        "capacity",
        "groups",
        "group?group=physics",
        "group?group=chemistry",
        "me",
    )
    found = {each: person.browser.get(f"/services/stats/{each}").status_code for each in pages}
    for each in pages:
        name, _, query = each.partition("?")
        address = f"/services/stats/{name}.json?{query}"
        assert person.browser.get(address).status_code == found[each]
    return found


def test_the_peak_of_two_servers_is_two_and_each_person_sees_what_they_may(
    hub: Hub, boss: Person, ina: Person, student: Person
) -> None:
    with hub.logged_in("student001", PASSWORD) as other:
        student.start_server()
        other.start_server()
        found = await_servers(boss, 2)
    assert found["summary"]["Most servers at a time"] == 2
    groups = {each["group"]: each["servers"] for each in found["parts"]["groups"]}
    assert groups == {"physics": 1, "chemistry": 1, "teachers": 0}
    environments = {e["environment"]: e["servers"] for e in found["parts"]["environments"]}
    assert environments == {"the hub's own": 1, "mechanics": 1}
    assert sum(each["number"] for each in found["parts"]["durations"]) == 2
    assert statuses(boss) == dict.fromkeys(statuses(boss), 200)
    assert [*statuses(ina).values()] == [403, 403, 200, 200, 403, 200]
    assert [*statuses(student).values()] == [403, 403, 403, 403, 403, 200]
    physics = figures(ina, "group", group="physics", period="hour")
    assert [each["name"] for each in physics["parts"]["people"]] == ["student001"]
    assert "mechanics" not in json.dumps(physics)
    own = figures(student, "me", period="hour")
    assert "student001" not in json.dumps(own)
    assert own["summary"]["Your groups"] == "chemistry"
    answer = student.browser.get("/services/stats/hub")
    assert "Only administrators see the figures of the whole hub" in answer.text
    stranger = httpx.get(f"{hub.url}/services/stats/me", trust_env=False, follow_redirects=True)
    assert stranger.url.path == "/hub/login"


@pytest.mark.long
def test_a_server_keeps_the_name_of_its_environment_when_the_hub_is_reloaded(
    hub: Hub, boss: Person
) -> None:
    def names() -> str:
        text = boss.browser.get("/hub/metrics").text
        assert 'littlest_hub_environment_servers{environment="mechanics"} 1.0' in text
        return text

    with hub.logged_in("student001", PASSWORD) as person:
        person.start_server()
        eventually(names, 60, "the name before the reload")
        hub.reload()
        # The metrics of another process begin anew.
        eventually(names, 60, "the name after the reload")


@pytest.mark.long
def test_the_peak_of_many_real_servers_is_their_number(hub: Hub, boss: Person) -> None:
    with ExitStack() as people:
        for number in range(1, STUDENTS + 1):
            name = f"student{number:03}"
            people.enter_context(hub.logged_in(name, PASSWORD)).start_server(timeout_s=120)
        found = await_servers(boss, STUDENTS)
        page = boss.browser.get("/services/stats/hub", params={"period": "hour"})
        assert f"the most is {STUDENTS} at" in page.text
        assert found["summary"]["Most servers at a time"] == STUDENTS
        begun = figures(boss, "hub", period="hour")["parts"]["people"]
        assert len({each["name"] for each in begun} & {f"student{n:03}" for n in range(20)}) == 12
    # Everybody is gone: the peak stays.
    found = await_servers(boss, 0)
    assert found["summary"]["Most servers at a time"] == STUDENTS


@pytest.mark.long
def test_processors_of_a_person_who_computes_are_counted(hub: Hub, boss: Person) -> None:
    with hub.logged_in("student004", PASSWORD) as busy:
        busy.start_server()
        await_servers(boss, 1)
        busy.run_cell("import time; end = time.time() + 8\nwhile time.time() < end: pass")

        def used() -> float:
            people = figures(boss, "hub", period="hour")["parts"]["people"]
            return float(next(e["cpu_s"] for e in people if e["name"] == "student004") or 0)

        assert eventually(lambda: used() if used() > 3 else None, 90, "time of processors") < 60


@pytest.mark.long
def test_the_capacity_follows_from_what_was_measured(hub: Hub, boss: Person) -> None:
    write_past(hub, days=7, step_s=900)
    found = json.loads(run(hub, "stats", "capacity", "--json"))
    machine, (_, memory, processors) = found["machine"], found["limits"]
    assert processors["people"] == int(machine["processors"] / processors["each"])
    assert memory["each"] > 150e6
    # There are machines on which systemd does not count memory.
    if machine["others_bytes"] is None:
        assert memory["people"] is found["people_who_work"] is None
    else:
        assert 0 < machine["hub_bytes"] <= machine["others_bytes"]
        left = machine["memory_bytes"] * 0.9 - machine["others_bytes"]
        assert memory["people"] == int(left / memory["each"])
        assert found["people_who_work"] == min(memory["people"], processors["people"])
    expected = "unknown" if machine["others_bytes"] is None else found["people_who_work"]
    assert f"people who can work at a time: {expected}" in run(hub, "stats", "capacity")
    (row,) = [
        each
        for each in figures(boss, "capacity")["parts"]["limits"]
        if each["limit"] == processors["what"]
    ]
    assert row["people"] == processors["people"]
    assert "How many people" in boss.browser.get("/services/stats/capacity").text


@pytest.mark.long
def test_csv_has_what_the_page_shows(hub: Hub, boss: Person) -> None:
    write_past(hub, days=7, step_s=900)
    query = {"period": "week", "part": "people"}
    answer = boss.browser.get("/services/stats/hub.csv", params=query)
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    shown = figures(boss, "hub", period="week")["parts"]["people"]
    assert {each["name"] for each in rows} == {each["name"] for each in shown}
    assert len(rows) >= STUDENTS
    assert {"server_s", "cpu_s", "memory_bytes"} <= rows[0].keys()
    wrong = boss.browser.get("/services/stats/hub.csv", params={"period": "week"})
    assert wrong.status_code == 400
    assert "people" in wrong.text
    assert boss.browser.get("/services/stats/hub", params={"period": "x"}).status_code == 400


@pytest.mark.long
def test_a_start_that_fails_is_counted_with_its_reason(hub: Hub, boss: Person) -> None:
    wrong = 'c.UnitSpawner.unit_extra_properties = {"ExecStartPre": "/bin/sh -c \'exit 7\'"}\n'
    with hub.fragment("70-failing.py", wrong), Person(hub.url, "student006", PASSWORD) as person:
        person.log_in()
        assert person.start_for("student006") >= 400

        def reason() -> str:
            found = figures(boss, "hub", period="hour")["parts"]
            assert sum(each["failed"] for each in found["starts"]) >= 1
            return str(next(e["reason"] for e in found["failures"] if e["name"] == "student006"))

        assert eventually(reason, 150, "the reason of the failed start")
        own = figures(person, "me", period="day")["parts"]["failures"]
        assert [each["name"] for each in own] == ["student006"]


@pytest.mark.long
def test_a_hub_that_is_down_is_a_gap_and_a_restart_is_none(hub: Hub, boss: Person) -> None:
    await_whole_sample(hub)
    hub.machine.systemctl("stop", hub.layout.hub_service, "littlest-hub.socket")
    eventually(lambda: "no sample: the hub does not answer" in journal(hub), 60, "a gap")
    assert "the hub does not answer" in run(hub, "stats")
    hub.machine.systemctl("start", "littlest-hub.socket", hub.layout.hub_service)
    eventually(lambda: "samples are taken again" in journal(hub), 120, "samples again")
    eventually(hub.answers, 60, "the hub")
    assert figures(boss, "hub", period="hour")["parts"]["servers"]


def journal(hub: Hub) -> str:
    return hub.machine.run(["journalctl", "--unit", SAMPLER, "--lines", "5"]).stdout


@pytest.mark.long
def test_a_damaged_database_is_set_aside_which_doctor_says(hub: Hub, boss: Person) -> None:
    machine, file = hub.machine, hub.path(DATABASE)
    await_whole_sample(hub)
    machine.systemctl("stop", SAMPLER)
    machine.run(["sh", "-c", f"rm -f {file}-wal {file}-shm"])
    damage = "dd if=/dev/urandom bs=4096 count=3 seek=1 conv=notrunc status=none"
    machine.run(["sh", "-c", f"{damage} of={file}"])
    machine.systemctl("start", SAMPLER)
    eventually(lambda: "damaged" in run(hub, "doctor", check=False), 60, "a finding of doctor")
    assert "damaged, and set aside" in run(hub, "stats")
    eventually(lambda: figures(boss, "hub", period="hour"), 60, "figures that begin anew")
    eventually(lambda: "problem:" not in run(hub, "stats"), 60, "samples again")
    machine.run(["sh", "-c", f"rm {file}.damaged-*"])
    eventually(lambda: "damaged" not in run(hub, "doctor", check=False), 60, "no finding")


@pytest.mark.long
def test_a_restore_brings_figures_back_and_samples_go_on(hub: Hub, boss: Person) -> None:
    await_whole_sample(hub)
    place = "/root/hub-backup.tar.gz"
    run(hub, "backup", place)
    began = int(json.loads(run(hub, "stats", "--json"))["sampled_s"])
    rows = len(figures(boss, "hub", period="day")["parts"]["servers"])
    before = hub.main_pid(SAMPLER)
    run(hub, "restore", place, "--yes")
    assert hub.main_pid(SAMPLER) not in (0, before)

    def is_later() -> bool:
        found = json.loads(run(hub, "stats", "--json"))
        return bool(found["sampled_s"] > began and not found["problem"])

    eventually(is_later, 60, "a sample after the restore")
    with Person(hub.url, "boss", ADMIN_PASSWORD) as again:
        again.log_in()
        assert len(figures(again, "hub", period="day")["parts"]["servers"]) >= rows
    hub.machine.run(["rm", place])


@pytest.mark.long
def test_a_full_disk_stops_samples_and_nothing_else(hub: Hub, boss: Person) -> None:
    machine, data = hub.machine, str(hub.layout.stack_data("stats"))
    machine.systemctl("stop", SAMPLER, "littlest-hub.stats.service")
    machine.run(["cp", "-a", data, "/root/stats-data"])
    machine.run(["mount", "-t", "tmpfs", "-o", "size=2M,mode=755", "tmpfs", data])
    try:
        machine.run(["sh", "-c", f"cp -a /root/stats-data/stats.sqlite* {data}"])
        machine.systemctl("start", SAMPLER)
        eventually(lambda: "problem:" not in run(hub, "stats"), 60, "samples")
        machine.run(["sh", "-c", f"dd if=/dev/zero of={data}/full bs=4k status=none || true"])
        eventually(lambda: "full" in run(hub, "stats") or _is_late(hub), 120, "a problem")
        assert boss.browser.get("/services/stats/me").status_code == 200
        machine.run(["rm", f"{data}/full"])
        eventually(lambda: "problem:" not in run(hub, "stats"), 120, "samples again")
    finally:
        machine.systemctl("stop", SAMPLER, "littlest-hub.stats.service")
        machine.run(["umount", data])
        machine.run(["rm", "-r", "/root/stats-data"])
        machine.systemctl("start", SAMPLER)


def _is_late(hub: Hub) -> bool:
    """Return whether no sample was kept for some time: the status file does not fit either."""
    found = json.loads(run(hub, "stats", "--json"))
    return bool(found["sampled_s"] < time.time() - 40)


@pytest.mark.long
def test_prometheus_reads_metrics_with_its_token_and_nothing_else(hub: Hub) -> None:
    refused = run(hub, "stats", "token", check=False)
    assert "Set PROMETHEUS = True" in refused
    set_values(hub, PROMETHEUS=True)
    try:
        token = run(hub, "stats", "token").strip()
        assert re.fullmatch("[0-9a-f]{64}", token)
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=hub.url, trust_env=False, headers=headers) as prometheus:
            text = prometheus.get("/hub/metrics").text
            assert "\nlittlest_hub_waiting_servers 0.0\n" in text
            assert "jupyterhub_running_servers" in text
            metric = 'littlest_hub_environment_servers{environment="the hub\'s own"}'
            # Since the reload, there may have been no sample.
            eventually(lambda: metric in prometheus.get("/hub/metrics").text, 60, metric)
            for path in ("users", "groups", "services", "stats/failures", "proxy"):
                assert prometheus.get(f"/hub/api/{path}").status_code in (403, 404), path
        assert httpx.get(f"{hub.url}/hub/metrics", trust_env=False).status_code == 403
    finally:
        set_values(hub, PROMETHEUS=False)


@pytest.mark.long
def test_a_wrong_value_is_refused_with_its_line(hub: Hub) -> None:
    file = str(hub.layout.fragments / FRAGMENT)
    before = hub.machine.read(file)
    hub.machine.put(file, re.sub(r"^KEEP_DAYS = .*$", "KEEP_DAYS = 0", before, flags=re.M))
    try:
        said = run(hub, "check", check=False)
        assert re.search(r"57-stats\.py:\d+: KEEP_DAYS: found 0, expected a number", said), said
        assert hub.reload(check=False).returncode
    finally:
        hub.machine.put(file, before)
    hub.reload()


@pytest.mark.long
def test_who_is_deleted_leaves_no_figures(hub: Hub, boss: Person) -> None:
    boss.add_user("goes")
    await_whole_sample(hub)
    eventually(lambda: is_known(hub, "goes"), 60, "the person")
    boss.delete_user("goes")
    await_whole_sample(hub)
    eventually(lambda: not is_known(hub, "goes"), 60, "no trace of the person")


def is_known(hub: Hub, name: str) -> bool:
    """Return whether the database has a person."""
    query = f"SELECT count(*) FROM person WHERE name = '{name}'"
    connect = f"sqlite3.connect({hub.path(DATABASE)!r})"
    script = f"import sqlite3; print({connect}.execute({query!r}).fetchone()[0])"
    return hub.machine.run([hub.path("hub/bin/python3"), "-c", script]).stdout.strip() == "1"


@pytest.mark.long
def test_disabling_leaves_figures_and_enabling_goes_on_with_them(hub: Hub, boss: Person) -> None:
    await_whole_sample(hub)
    before = len(figures(boss, "hub", period="hour")["parts"]["servers"])
    run(hub, "disable", "stats")
    eventually(lambda: boss.browser.get("/services/stats/hub").status_code == 404, 30, "no page")
    assert not hub.machine.systemctl("is-active", SAMPLER, check=False).stdout.startswith("active")
    enable(hub)
    await_whole_sample(hub)
    after = eventually(lambda: figures(boss, "hub", period="hour"), 60, "figures")
    assert len(after["parts"]["servers"]) >= before
