"""The hub is looked at every day, and the administrator gets mail when something is wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

SERVICE, TIMER = "littlest-hub.watch.service", "littlest-hub.watch.timer"
TIMERS = "/var/lib/systemd/timers"
STAMP = f"stamp-{TIMER}"
BACKUP = """[Service]
Type=oneshot
ExecStart=/usr/local/bin/littlest-hub backup /dev/null/
"""


@pytest.fixture(scope="module")
def watched(installer: Path) -> Iterator[Hub]:
    """A hub on a machine that delivers mail to its own users."""
    with Machine("bookworm", packages=("dma",)) as machine:
        hub = Hub.install(machine, installer)
        command(hub, "enable", "watch", "--yes", "--set", "mail=root", "--set", "ignore=backup")
        yield hub


def command(hub: Hub, *words: str) -> str:
    done = hub.machine.run([hub.path("hub/bin/littlest-hub"), *words])
    return done.stdout + done.stderr


def mails(hub: Hub) -> list[str]:
    """Return root's mails, once none is under way."""
    script = "find /var/spool/dma -type f -size +0 ! -name flush; cat /var/mail/root"
    lines = hub.machine.run(["sh", "-c", script], check=False).stdout
    assert "/var/spool/dma/" not in lines, "mail is under way"
    return [f"From {mail}" for mail in lines.split("\nFrom ")] if lines.strip() else []


def look(hub: Hub) -> list[str]:
    """Look as the timer does, and return root's mails."""
    hub.machine.systemctl("start", SERVICE)
    return eventually(lambda: mails(hub), 30, "mail")


def test_mail_tells_once_what_is_wrong_and_that_all_is_well_again(watched: Hub) -> None:
    hub, machine = watched, watched.machine
    assert command(hub, "watch", "--try").endswith("Sent.\n")
    (trial,) = eventually(lambda: mails(hub), 30, "mail")
    assert "littlest-hub: a trial" in trial
    # This machine's other faults, such as an unsynchronized clock, come first.
    number = len(look(hub))
    machine.systemctl("kill", "--kill-whom=main", "--signal=KILL", hub.layout.hub_service)
    eventually(hub.answers, 60, "the hub")
    machine.put("/etc/systemd/system/hub-backup.service", BACKUP)
    machine.systemctl("start", "hub-backup.service", check=False)
    told = look(hub)
    assert len(told) == number + 1
    assert "littlest-hub.service: has failed 1 times within a day" in told[-1]
    assert "hub-backup.service: the backup has failed" in told[-1]
    assert "sudo littlest-hub doctor" in told[-1]
    assert len(look(hub)) == number + 1, "it is no news the next day"
    assert command(hub, "watch").strip() == "Nothing new."


def test_the_timer_starts_it_every_day_and_nothing_stays_after_disable(watched: Hub) -> None:
    hub, machine = watched, watched.machine
    shown = machine.systemctl("list-timers", TIMER, "--no-legend").stdout
    assert SERVICE in shown
    machine.run(["rm", "--force", "/etc/systemd/system/hub-backup.service"])
    before = machine.run(["ls", TIMERS]).stdout
    assert "watch is disabled" in command(hub, "disable", "watch")
    try:
        assert STAMP in before
        left = machine.run(["ls", "/etc/systemd/system", TIMERS]).stdout
        assert "watch" not in left
        assert "stacks" not in machine.run(["ls", str(hub.layout.state)]).stdout
    finally:
        command(hub, "enable", "watch", "--yes", "--set", "mail=root", "--set", "ignore=backup")
