"""A class that moves: its backup on another machine, and at a hub that is not root."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import Person
from tests.container.test_backup import command, fetch, send
from tests.container.test_class_accounts import WHO
from tests.container.test_class_logins import (
    PASSWORD,
    TEACHER,
    approve,
    ask,
    code_in,
    logged_in,
    stranger,
    teacher_of,
    waiting,
)
from tests.documentation import ROOT
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

pytestmark = pytest.mark.long

ANSWERS = ("--yes", "--set", "login=sign-up", "--set", f"admin={TEACHER}")
GROUPS = ("sed", "-i", 's/^ACCOUNT_GROUPS = .*/ACCOUNT_GROUPS = {"course": ["*"]}/')
HOOK = '#!/bin/sh\necho "$1 $2" >>/var/log/new-accounts\n'
BACKUP, HOMES = "/root/hub.tar.gz", "/root/homes.tar.gz"
BY_HAND = ROOT / "docs/how-to/hub-as-its-own-user.md"


def install(machine: Machine, installer: Path, user: str = "") -> Hub:
    own = {"LITTLEST_HUB_USER": user} if user else {}
    return Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "boss", **own})


def fill(hub: Hub) -> None:
    """Make a class: ada and leaver have a file each, leaver is locked, and late waits."""
    with teacher_of(hub, code_in(command(hub, "enable", "class", *ANSWERS))) as teacher:
        fragment = hub.path("jupyterhub_config.d/60-class.py")
        hub.machine.run([*GROUPS, fragment])
        hub.reload()
        with stranger(hub) as browser:
            for name in ("ada", "leaver", "late"):
                ask(browser, name)
        approve(teacher, "ada")
        approve(teacher, "leaver")
        for name in ("leaver", "ada"):
            with logged_in(hub, name, PASSWORD) as person:
                person.start_server()
                person.run_cell(f"open('whose', 'w').write('{name}')")
                person.stop_server()
    command(hub, "class", "remove", "leaver", "--lock")


def assert_is_the_same(hub: Hub, account: str) -> None:
    """Assert that the people are as `fill` has made them, and that ada has an account."""
    with logged_in(hub, TEACHER, PASSWORD) as teacher:
        assert list(waiting(teacher)) == ["late"]
    with Person(hub.url, "leaver", PASSWORD) as leaver:
        assert leaver.try_to_log_in().status_code == 403
    with logged_in(hub, "ada", PASSWORD) as ada:
        ada.start_server()
        assert ada.run_cell(WHO) == f"{account} /home/{account}\n"
        assert ada.run_cell("print(open('whose').read())") == "ada\n"
        ada.stop_server()
    assert "course" in hub.machine.run(["id", "-nG", account]).stdout.split()
    said = command(hub, "class", "people")
    assert re.search(rf"^ada +{account} ", said, re.MULTILINE)
    assert re.search(r"^leaver .* locked$", said, re.MULTILINE)
    assert "people can log in; 1 wait" in command(hub, "doctor", "--all", check=False)


@pytest.fixture(scope="module")
def moved(installer: Path) -> Iterator[tuple[bytes, bytes]]:
    """Make a class, and yield its backup and its home directories."""
    with Machine("bookworm", packages=("sudo",)) as machine:
        hub = install(machine, installer)
        fill(hub)
        command(hub, "backup", "--secrets", BACKUP)
        machine.run(["tar", "-czf", HOMES, "-C", "/home", "jupyter-ada"])
        yield fetch(hub, BACKUP), fetch(hub, HOMES)


def test_people_and_their_accounts_move_to_another_machine(
    moved: tuple[bytes, bytes], installer: Path
) -> None:
    backup, homes = moved
    with Machine("bookworm", packages=("sudo",)) as machine:
        hub = install(machine, installer)
        command(hub, "enable", "class", *ANSWERS)
        send(hub, HOMES, homes)
        machine.run(["tar", "-xzf", HOMES, "-C", "/home", "--numeric-owner"])
        command(hub, "restore", "--yes", send(hub, BACKUP, backup))
        eventually(hub.answers, 30, "the login page of the restored hub")
        machine.put(hub.path("jupyterhub_config.d/root-hooks/new-account"), HOOK, mode=0o755)
        assert_is_the_same(hub, "jupyter-ada")
        # The account is new on this machine, so the administrator's step runs for it, once.
        assert machine.read("/var/log/new-accounts") == "jupyter-ada ada\n"
        # A person whose home was not copied gets an empty one.
        command(hub, "class", "unlock", "leaver")
        with logged_in(hub, "leaver", PASSWORD) as leaver:
            leaver.start_server()
            assert leaver.run_cell("import os; print(os.path.exists('whose'))") == "False\n"
            leaver.stop_server()


def test_a_hub_that_is_not_root_gets_its_class_back_by_hand_as_the_page_says(
    installer: Path,
) -> None:
    packages = ["polkitd", "libpam-google-authenticator"]
    with Machine("bookworm", packages=packages) as machine:
        hub = install(machine, installer, "lhub")
        fill(hub)
        backup = f"{hub.path('hub/bin/littlest-hub')} backup --secrets - >{BACKUP}"
        machine.run(["sh", "-c", backup])
        command(hub, "uninstall", "--purge", "--yes")
        hub = install(machine, installer, "lhub")
        command(hub, "enable", "class", *ANSWERS)
        machine.run(["sh", "-ec", by_hand()])
        eventually(hub.answers, 60, "the login page of the restored hub")
        assert_is_the_same(hub, "ada")


def by_hand() -> str:
    """Return the page's commands that follow the installation, in the order of their typing."""
    page = BY_HAND.read_text().partition("## Switch an existing hub")[2].partition("\n## ")[0]
    commands = [line.strip() for line in page.splitlines() if line.startswith("    ")]
    begin = next(i for i, line in enumerate(commands) if line.startswith("systemctl stop"))
    end = next(i for i, line in enumerate(commands) if line.startswith("systemctl start"))
    # The page has the stack's commands after the block; they are typed before its last command.
    return "\n".join([*commands[begin:end], *commands[end + 1 :], commands[end]])
