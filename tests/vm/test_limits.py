"""Memory limits and changes of the clock, which need a kernel of the machine's own."""

import re

import pytest

from tests import stats_hub
from tests.client import Person
from tests.eventually import eventually
from tests.hub import Hub
from tests.virtual import VIRTUAL_S, Vm

HOARD = "hoard = []\nwhile True:\n    hoard.append(b'x' * 2**20)\n"


@pytest.mark.long
@pytest.mark.row(14)
def test_a_cell_that_takes_all_memory_ends_its_kernel_alone_which_starts_again(hub: Hub) -> None:
    with (
        hub.person(timeout_s=VIRTUAL_S) as alice,
        hub.person(timeout_s=VIRTUAL_S) as bob,
    ):
        for person in alice, bob:
            person.start_server(timeout_s=VIRTUAL_S)
        with alice.open_kernel() as doomed, bob.open_kernel() as kernel:
            pid = hub.main_pid()
            kernel.run("x = 41", timeout_s=VIRTUAL_S)
            doomed.send(HOARD)
            unit = hub.layout.user_unit(alice.name)
            eventually(
                lambda: "killed by the OOM killer" in hub.machine.journal(f"{unit}.service"),
                VIRTUAL_S,
                "Linux to end the kernel",
            )
            assert hub.answers(VIRTUAL_S)
            assert hub.main_pid() == pid
            assert kernel.run("x + 1", timeout_s=VIRTUAL_S) == "42"
        assert alice.has_server()
        with alice.connect(doomed.id) as anew:
            assert anew.run("6 * 7", timeout_s=VIRTUAL_S) == "42"


@pytest.mark.long
def test_a_clock_that_jumps_by_a_day_stops_no_server(hub: Hub, vm: Vm) -> None:
    with hub.person(timeout_s=VIRTUAL_S) as alice:
        alice.start_server(timeout_s=VIRTUAL_S)
        with alice.open_kernel() as kernel:
            kernel.run("x = 41", timeout_s=VIRTUAL_S)
            for jump in "1 day", "2 days ago", "1 day":
                vm.run(["date", f"--set={jump}"])
                assert kernel.run("x + 1", timeout_s=VIRTUAL_S) == "42"
                assert alice.sees("/hub/home")
                with hub.person(timeout_s=VIRTUAL_S):
                    pass  # a new user logs in
            hub.reload()
            assert kernel.run("x + 1", timeout_s=VIRTUAL_S) == "42"
        with alice.connect(kernel.id) as again:
            assert again.run("x + 1", timeout_s=VIRTUAL_S) == "42"


# Servers report their activity every 10 s, and the culler looks every 5.
OFTEN = """
culler = c.JupyterHub.services[0]
culler["command"].append("--cull-every=5")
culler["environment"] = c.Spawner.environment = {"JUPYTERHUB_ACTIVITY_INTERVAL": "10"}
"""
BUSY = "import time\nwhile True: time.sleep(1)"


@pytest.mark.long
def test_a_server_that_computes_is_not_stopped_for_a_day_that_the_clock_has_jumped(
    hub: Hub, vm: Vm
) -> None:
    with (
        hub.fragment("70-often.py", OFTEN),
        hub.person(timeout_s=VIRTUAL_S) as alice,
        hub.person(timeout_s=VIRTUAL_S) as bob,
    ):
        for person in alice, bob:
            person.start_server(timeout_s=VIRTUAL_S)
        with alice.open_kernel() as kernel:
            kernel.send(BUSY)
        vm.run(["date", "--set=1 day"])
        eventually(lambda: not bob.has_server(), VIRTUAL_S, "the end of an idle server")
        assert alice.has_server()
        assert "the clock has jumped by 86" in vm.journal(f"{hub.layout.hub_service}")


# A filesystem with quotas for home directories, and a limit of 20 MB for one account: setquota(8)
# would need a package, and calls the kernel as here (quotactl_fd, Q_SETQUOTA, QIF_BLIMITS).
QUOTAS = """
set -e
truncate --size=200M /srv/homes.img
mkfs.ext4 -q -O quota /srv/homes.img
mkdir -p /srv/homes
mount -o loop,usrquota /srv/homes.img /srv/homes
usermod --home /srv/homes/quinn --move-home quinn
"""
LIMIT = """
import ctypes, os, pwd, struct
record = struct.pack("=8QI4x", 20480, 20480, 0, 0, 0, 0, 0, 0, 1)
place = os.open("/srv/homes", os.O_RDONLY)
uid = pwd.getpwnam("quinn").pw_uid
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(443, place, ctypes.c_uint(0x800008 << 8), ctypes.c_uint(uid), record):
    raise SystemExit(os.strerror(ctypes.get_errno()))
"""
FILL = """
try:
    with open("large", "wb") as file:
        file.write(bytes(30 << 20))
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.long
def test_a_home_with_a_quota_is_full_alone_and_its_owner_sees_the_limit(hub: Hub, vm: Vm) -> None:
    with (
        hub.person("quinn", timeout_s=VIRTUAL_S) as quinn,
        hub.person(timeout_s=VIRTUAL_S) as other,
    ):
        vm.run(["sh", "-c", QUOTAS])
        vm.run([hub.path("hub/bin/python3"), "-c", LIMIT])
        for person in quinn, other:
            person.start_server(timeout_s=VIRTUAL_S)
        report = "/user/quinn/littlest-hub/resources"
        before = quinn.browser.get(report).json()["disk"]
        assert before["limit"] == 20 << 20
        assert before["used"] < 5 << 20
        assert "quota exceeded" in quinn.run_cell(FILL, timeout_s=VIRTUAL_S)
        assert quinn.browser.get(report).json()["disk"]["used"] > 15 << 20
        memory = quinn.browser.get(report).json()["memory"]
        assert 0 < memory["used"] < memory["limit"] == 600 << 20
        written = "open('large', 'wb').write(bytes(30 << 20))"
        assert other.run_cell(written, timeout_s=VIRTUAL_S) == str(30 << 20)


@pytest.mark.long
def test_the_teachers_page_shows_what_each_server_takes_of_its_limits(hub: Hub) -> None:
    littlest_hub = hub.path("hub/bin/littlest-hub")
    hub.machine.run([littlest_hub, "enable", "class", "--yes", "--set", "admin=teacher"])
    try:
        with (
            hub.person("teacher", timeout_s=VIRTUAL_S) as teacher,
            hub.person(timeout_s=VIRTUAL_S) as alice,
        ):
            alice.start_server(timeout_s=VIRTUAL_S)
            with alice.open_kernel() as kernel:
                kernel.send("while True: pass")

                def load() -> tuple[int, int]:
                    page = teacher.browser.get("/hub/class").text
                    shown = r"(\d+) MB of 629 MB, (\d+) % of a processor"
                    found = re.search(shown, page)
                    assert found, page
                    return int(found[1]), int(found[2])

                memory, _ = load()
                assert 20 < memory < 629
                eventually(lambda: load()[1] > 40, VIRTUAL_S, "a busy server")
    finally:
        hub.machine.run([littlest_hub, "disable", "class"])


@pytest.mark.long
def test_statistics_count_the_memory_and_processors_of_each_server(hub: Hub) -> None:
    with (
        hub.person("nora", timeout_s=VIRTUAL_S) as nora,
        hub.person("olaf", timeout_s=VIRTUAL_S) as olaf,
    ):
        stats_hub.run(hub, "enable", "stats", "--yes")
        try:
            stats_hub.set_values(hub, EVERY_S=stats_hub.EVERY_S)
            for person in nora, olaf:
                person.start_server(timeout_s=VIRTUAL_S)
            nora.run_cell("large = b'x' * (100 << 20)", timeout_s=VIRTUAL_S)

            def counted(person: Person) -> int:
                summary = stats_hub.figures(person, "me", period="hour")["summary"]
                assert summary["Time of processors"] is not None
                return int(summary["Most memory"] or 0)

            eventually(lambda: counted(nora) > 130 << 20, VIRTUAL_S, "the memory of a server")
            assert counted(nora) - counted(olaf) > 80 << 20
            shown = nora.browser.get("/user/nora/littlest-hub/resources").json()["memory"]["used"]
            assert abs(counted(nora) - shown) < 40 << 20
        finally:
            hub.machine.run([hub.path("hub/bin/littlest-hub"), "disable", "stats"])
