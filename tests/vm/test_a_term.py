"""A term of a class by the calendar, on a virtual machine whose clock is moved: `make test-term`.

At night, the backup runs because its time has come, and a student logs in. In the morning, the
daily look follows. Certificates are of an authority that issues them for three days: traefik, which
looks for those that are due once a minute, has to renew them in time. On the fifth of a month, a
backup is restored for a test. A lesson on the sixth day, and then every 30 days, brings a package
for everybody. On the second day, the hub is killed, of which the administrator has to be told.
Nobody repairs anything. At the end, the machine reboots.

tests/container/test_a_term.py has a whole class that logs in on each day, with the clock as it is.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from littlest_hub.proxy.https import fetch_certificate
from tests.acme import authority, obtain, start_authority
from tests.certificates import trusting
from tests.client import Person
from tests.clock import WITHOUT_DELAYS, WITHOUT_DELAYS_FILE, Clock
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine
from tests.network import resolving
from tests.term import (
    COLUMNS,
    IGNORED,
    NOISE,
    PACKAGES,
    RUN,
    STUDENTS,
    WATCH,
    Term,
    assert_nothing_grows,
    command,
    set_up,
    table,
)
from tests.virtual import VIRTUAL_S, Vm
from tests.vm.conftest import FRAGMENT

pytestmark = [pytest.mark.long, pytest.mark.timeout(6 * 3600)]

DAYS = int(os.environ.get("LITTLEST_HUB_DAYS", "5"))
# The same variable as for all tests: no further day begins then.
UNTIL_S = float(os.environ.get("LITTLEST_HUB_TESTS_UNTIL", "inf"))
NAME = "hub.example.org"
NIGHT, RESTORE, MORNING, LESSON = "03:30", "05:00", "06:31", "10:00"
RESTORE_TEST = "littlest-hub.backups-test"
# traefik renews a certificate 20 minutes before its end, if it is told that they last an hour. So
# it is due on every third night, whether it was issued at once or minutes later.
LIFETIME_S = 3 * 86400 + 600
SESSION_DAYS = 14
# What the hub and servers do every 5 minutes by the clock that cannot be set.
OFTEN = """
from jupyterhub.app import JupyterHub

JupyterHub.purge_expired_tokens_interval = 20
interval = {"JUPYTERHUB_ACTIVITY_INTERVAL": "20"}
c.JupyterHub.services[0]["environment"] = interval
c.Spawner.environment.update(interval)
"""
CULLING = "s/^CULL_EVERY_S = .*/CULL_EVERY_S = 20/"
REPOSITORY = "/var/backups/littlest-hub"
SAMPLE_EVERY = 7 if DAYS >= 28 else 1


@pytest.fixture(scope="module")
def vm(installer: Path) -> Iterator[Vm]:
    """A machine with a hub and the stacks, enabled before it boots, at this machine's speed."""

    def prepare(machine: Machine) -> None:
        hub = Hub.install(machine, installer)
        fragments = {"20-everybody.py": FRAGMENT, "70-often.py": OFTEN}
        # A hub is slow to answer there.
        set_up(hub, fragments, CULLING, f"{IGNORED},login page")
        machine.put(WITHOUT_DELAYS_FILE, WITHOUT_DELAYS)
        machine.systemctl("stop", hub.layout.hub_service, hub.layout.proxy_service)

    with Vm("bookworm", prepare, (*PACKAGES, "pebble"), is_prepared_booted=True) as vm:
        yield vm


@pytest.fixture(scope="module")
def hub(vm: Vm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """The hub, at the name for which it will have certificates."""
    hub = Hub.found_on(vm)
    # restic chooses how much a password costs by the speed of the machine that makes a repository.
    vm.run(["rm", "--recursive", REPOSITORY])
    command(hub, "backups", "init")
    directory = tmp_path_factory.mktemp("authority")
    start_authority(vm, directory, vm.address, days=1000, lifetime_s=LIFETIME_S)
    with resolving(NAME, vm.address):
        yield Hub(vm, hub.layout, f"https://{NAME}")


@dataclass
class Calendar:
    """A term, day after day.

    Args:
        term: its people.
        clock: of the machine.
        loyal: a student whose browser stays open all the time.
        directory: for files.
    """

    term: Term
    clock: Clock
    loyal: Person
    directory: Path
    asked: list[int] = field(default_factory=list)
    """Days on which the loyal student was asked for the password."""
    certificates: list[int] = field(default_factory=list)
    """Serial numbers, in the order in which they were seen."""

    def pass_day(self) -> None:
        """Let a day pass, and check what people notice."""
        term, clock, machine = self.term, self.clock, self.term.hub.machine
        term.day += 1
        with clock.at(term.day, NIGHT, f"{RUN}.service"):
            self.come()
            machine.run(["sh", "-c", NOISE])
            # Every day by the clock that cannot be set.
            machine.systemctl("start", "systemd-tmpfiles-clean.service")
        eventually(self.has_certificate, VIRTUAL_S, "the renewed certificate", interval_s=1)
        if clock.time(term.day, RESTORE).day == 5:
            with clock.at(term.day, RESTORE, f"{RESTORE_TEST}.service"):
                pass
        with clock.at(term.day, MORNING, f"{WATCH}.service"):
            pass
        if term.day % SAMPLE_EVERY == 0:
            self.sample()
        if term.day % 30 == 6:
            with clock.at(term.day, LESSON):
                term.hold_class(self.directory, has_loop=False, students=1)

    def sample(self) -> None:
        """Measure what may grow, once no server runs."""
        self.term.await_no_servers()
        print(table([self.term.sample()], COLUMNS).splitlines()[-1], flush=True)

    def come(self) -> None:
        """Let the students of this day in; one of them expects to be logged in already."""
        self.term.let_in(self.term.people())
        if self.loyal.browser.get("/hub/home").url.path != "/hub/home":
            self.loyal.log_in()
            self.asked.append(self.term.day)

    def has_certificate(self) -> bool:
        """Return whether visitors get a certificate that is not due for renewal."""
        found = self.certificate()
        now = self.clock.time(self.term.day, NIGHT)
        assert found.not_valid_before_utc <= now + timedelta(hours=1)
        if found.serial_number not in self.certificates:
            self.certificates.append(found.serial_number)
        return found.not_valid_after_utc > now + timedelta(hours=12)

    def certificate(self) -> x509.Certificate:
        """Return what visitors get now."""
        found = fetch_certificate(443, NAME, self.term.hub.machine.address)
        assert found, "no certificate"
        return found

    def kill_hub(self) -> None:
        """Kill the hub; who comes meanwhile waits."""
        hub = self.term.hub
        kill = ["kill", "--kill-whom=main", "--signal=KILL", hub.layout.hub_service]
        hub.machine.systemctl(*kill)
        assert self.loyal.sees("/hub/home")


@pytest.fixture(scope="module")
def clock(vm: Vm) -> Clock:
    return Clock(vm)


@pytest.fixture(scope="module")
def term(hub: Hub, clock: Clock) -> Term:
    """A term whose first day has passed: there is a certificate, a backup, and a daily look."""
    with clock.at(1, NIGHT, f"{RUN}.service"):
        pass
    # Not beside the backup: a reload gives the next hub a minute.
    obtain(hub, "http-01", NAME, timeout_s=VIRTUAL_S)
    with clock.at(1, MORNING, f"{WATCH}.service"):
        pass
    return Term(hub, trusting(authority(hub)), logins=1, day=1)


def test_a_term_passes_and_nothing_needs_a_hand(
    term: Term, clock: Clock, vm: Vm, tmp_path: Path
) -> None:
    begun_s = time.monotonic()
    with term.person(STUDENTS[-1]) as loyal:
        days = Calendar(term, clock, loyal, tmp_path)
        while term.day < DAYS and time.time() < UNTIL_S:
            days.pass_day()
            if term.day == 2:
                days.kill_hub()
            print(f"day {term.day}: {time.monotonic() - begun_s:.0f} s", flush=True)
    days.sample()
    print(table(term.samples, COLUMNS))
    print(f"{len(days.certificates)} certificates; passwords asked for on days {days.asked}")
    mails = vm.read("/var/mail/root")
    print(mails)
    assert_well(term.hub)
    assert_nothing_grows(term)
    assert len(days.certificates) == 1 + (term.day - 1) // 3
    for earlier, later in itertools.pairwise(days.asked):
        assert later - earlier in (SESSION_DAYS, SESSION_DAYS + 1)
    # It is told again each week, until somebody runs the command in the mail.
    assert told(mails) == {term.hub.layout.hub_service}, "the killed hub, and nothing else"
    assert_reboots(days, vm)


def told(mails: str) -> set[str]:
    """Return what the daily look has warned of."""
    return set(re.findall(r"^  (?:warning|problem): (.+?): ", mails, re.MULTILINE))


def assert_well(hub: Hub) -> None:
    """Examine the hub; some of it may not end in time there."""
    doctor = [hub.path("hub/bin/littlest-hub"), "doctor", "--json"]
    found = json.loads(hub.machine.run(doctor, check=False).stdout)
    found = [each for each in found["findings"] if each["severity"] != "ok"]
    print(json.dumps(found, indent=1))
    left = {each["subject"] for each in found if each["severity"] != "unseen"}
    assert left <= {hub.layout.hub_service, "login page"}
    assert not hub.machine.systemctl("list-units", "--failed", "--plain", "--no-legend").stdout


def assert_reboots(days: Calendar, vm: Vm) -> None:
    """Reboot at the end of the term: the authority is gone then, and the certificate is not."""
    before = eventually(days.certificate, VIRTUAL_S, "the certificate")
    last: datetime = days.clock.now()
    days.clock.keep()
    vm.reboot()
    assert days.clock.now() >= last
    days.term.log_in(STUDENTS[0])
    assert eventually(days.certificate, VIRTUAL_S, "the certificate") == before
    assert not vm.systemctl("list-units", "--failed", "--plain", "--no-legend").stdout
