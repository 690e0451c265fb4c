"""Growth within a term of a class, with 40 logins a day: `make test-term DAYS=120`.

The clock stays as it is, so nothing expires within these days but the tokens of browsers, which
last for a minute here; and the hub does every 20 s what it would do every 5 minutes or every hour.
Each week the backup and the daily look run as their timers start them, the teacher installs a
package for everybody, and two students start a server and leave it; every fourth week, one of them
leaves a loop without an end. Mail is delivered on the machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import Hub
from tests.machine import Machine
from tests.term import (
    COLUMNS,
    HTTPS,
    NOISE,
    PACKAGES,
    RUN,
    WATCH,
    Term,
    assert_nothing_grows,
    put_certificate,
    set_up,
    table,
)

pytestmark = [pytest.mark.long, pytest.mark.timeout(2 * 3600)]

DAYS = int(os.environ.get("LITTLEST_HUB_DAYS", "14"))
FRAGMENT = """\
from jupyterhub.app import JupyterHub

c.Authenticator.allow_all = True
c.JupyterHub.oauth_token_expires_in = 60
JupyterHub.purge_expired_tokens_interval = 20
"""
CULLING = "s/^CULL_EVERY_S = .*/CULL_EVERY_S = 20/; s/^CULL_MAX_AGE_S = .*/CULL_MAX_AGE_S = 60/"


@pytest.fixture(scope="module")
def hub(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with HTTPS and the stacks, as a teacher has it."""
    with Machine("bookworm", packages=PACKAGES) as machine:
        hub = Hub.install(machine, installer)
        directory = tmp_path_factory.mktemp("certificate")
        put_certificate(machine, directory, machine.address, days=90)
        set_up(hub, {"20-everybody.py": FRAGMENT, "20-https.py": HTTPS}, CULLING)
        yield Hub(machine, hub.layout, f"https://{machine.address}")


def test_40_logins_a_day_and_a_package_a_week_let_nothing_grow(hub: Hub, tmp_path: Path) -> None:
    trusted = tmp_path / "trusted.pem"
    trusted.write_text(hub.machine.read("/etc/ssl/hub.crt"))
    term = Term(hub, trusted)
    begun_s = time.monotonic()
    while term.day < DAYS:
        term.day += 1
        term.let_in(term.people())
        hub.machine.run(["sh", "-c", NOISE])
        if term.day % 7 == 1:
            term.await_no_servers()
            for unit in RUN, WATCH:
                hub.machine.systemctl("start", f"{unit}.service")
            term.hold_class(tmp_path, has_loop=term.day % 28 == 1)
        if term.day % 7 == 0:
            print(table([term.sample()], COLUMNS).splitlines()[-1], flush=True)
            print(f"{time.monotonic() - begun_s:.0f} s", flush=True)
    print(table(term.samples, COLUMNS))
    mails = hub.machine.read("/var/mail/root")
    print(mails)
    # The mail names what this machine lacks, such as limits of memory.
    assert mails.count("\nSubject: ") == 1, "told once, and then left alone"
    term.await_no_servers()
    term.hold_class(tmp_path, has_loop=False)
    assert_nothing_grows(term)
