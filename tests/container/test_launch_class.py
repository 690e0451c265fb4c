"""The link of a class, opened by forty people at the same moment who have yet to log in.

Each types a password, waits at the page of the launch and then at that of the start, as a browser
does, and runs a cell in the notebook's kernel; all kernels stay until the last one has answered.
`pytest -s` prints how long it took, and what it needed.
"""

from __future__ import annotations

import contextlib
import html
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from threading import Barrier
from typing import Any

import pytest

from tests.bench.usage import memory_mib
from tests.client import Person, hidden_fields, visible_text
from tests.container.conftest import EVERYBODY
from tests.hub import Hub
from tests.launch_machine import NOTEBOOK, PACKAGES, PAGE, LaunchMachine, launch_machine
from tests.machine import Machine

pytestmark = [pytest.mark.long, pytest.mark.needs("git")]

MEMBERS = tuple(f"member{number:02}" for number in range(1, 41))
PASSWORD = "a password of all members"
GROUP, TITLE, NAME, FILE = "statistics-101", "Statistics", "statistics", "week1/start.ipynb"
PATIENCE_S = 600
"""Time limit of each step of a member: other work may keep the processors busy."""
GROUPS = f"c.JupyterHub.load_groups = {{{GROUP!r}: {{'users': {list(MEMBERS)!r}}}}}\n"
ACCOUNTS = """\
for name; do
    useradd --create-home --shell /bin/bash "$name"
    echo "$name:$PASSWORD"
done | chpasswd
"""
SOURCE = "import lesson\nprint(lesson.ANSWER)"
CELL = f"{SOURCE}\nimport sys; print(sys.prefix)"
WEEK = {
    **NOTEBOOK,
    "cells": [
        {
            **{"cell_type": "code", "id": "first", "metadata": {}, "source": SOURCE},
            **{"execution_count": None, "outputs": []},
        }
    ],
}
STEPS = ("the environment", "the notebook", "the answer")
BUILT = re.compile(r"built \d+ packages in [\d.]+ s")


@dataclass
class Member:
    """One member of the class, and how it went."""

    person: Person
    log: str = ""
    """The words of the page of the launch."""
    times_s: dict[str, float] = field(default_factory=dict)
    """Time from the click to each step."""
    environment: str = ""
    failure: str = ""

    def attend(
        self, link: dict[str, str], together: Barrier, kernels: contextlib.ExitStack
    ) -> None:
        """Follow the link, log in, wait for the server, open the notebook, and run the cell."""
        together.wait()
        begun = time.monotonic()
        try:
            for step in self._steps(link, kernels):
                self.times_s[step] = time.monotonic() - begun
        except Exception as error:
            after_s = time.monotonic() - begun
            self.failure = f"after {after_s:.0f} s: {type(error).__name__}: {error}"

    def _steps(self, link: dict[str, str], kernels: contextlib.ExitStack) -> Iterator[str]:
        """Take the steps, and yield each one that is done."""
        environment, notebook, answer = STEPS
        target = self._launch(link)
        yield environment
        self._open(target)
        yield notebook
        self._compute(kernels)
        yield answer

    def _launch(self, link: dict[str, str]) -> str:
        """Return the page of the start, to which that of the launch goes on."""
        browser = self.person.browser
        form = browser.get(PAGE, params=link)
        typed = {"username": self.person.name, "password": PASSWORD, **hidden_fields(form)}
        page = browser.post(str(form.url), data=typed)
        self.log = visible_text(page)
        found = re.search(r'<meta http-equiv="refresh" content="0; url=([^"]+)">', page.text)
        assert found, f"{page.status_code} {page.url}: {self.log[-500:]}"
        return html.unescape(found[1])

    def _open(self, target: str) -> None:
        browser = self.person.browser
        browser.get(target).raise_for_status()
        heard: list[dict[str, Any]] = []
        self.person.progress(heard, timeout_s=PATIENCE_S, server=NAME)
        assert heard[-1].get("ready"), heard[-1]
        page = browser.get(target)
        own = f"/user/{self.person.name}/{NAME}"
        assert (page.status_code, page.url.path) == (200, f"{own}/lab/tree/{FILE}")
        notebook = browser.get(f"{own}/api/contents/{FILE}").raise_for_status().json()["content"]
        assert [each["source"] for each in notebook["cells"]] == [SOURCE]

    def _compute(self, kernels: contextlib.ExitStack) -> None:
        kernel = kernels.enter_context(self.person.open_kernel(server=NAME))
        answer, self.environment = kernel.run(CELL, timeout_s=PATIENCE_S).splitlines()
        assert answer == "499500"


@pytest.fixture(scope="module")
def launching(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaunchMachine]:
    """A hub whose administrator has approved a launch for a group."""
    with Machine("bookworm", packages=PACKAGES) as machine:
        hub = Hub.install(machine, installer)
        hub.write_fragment("20-everybody.py", EVERYBODY + GROUPS)
        machine.run(["sh", "-euc", ACCOUNTS, "sh", *MEMBERS], env={"PASSWORD": PASSWORD})
        with launch_machine(hub, tmp_path_factory.mktemp("class")) as found:
            found.wheel("lesson", lesson="ANSWER = sum(range(1000))\n")
            found.repository(NAME, {"requirements.txt": "lesson\n", FILE: json.dumps(WEEK)})
            found.configure(PREPARED={TITLE: link_of(found)}, ONE_CLICK={GROUP: [TITLE]})
            yield found


def link_of(launching: LaunchMachine) -> dict[str, str]:
    return {"repo": f"{launching.url}{NAME}", "ref": "main", "path": FILE, "name": NAME}


def test_of_forty_members_who_follow_the_link_at_once_nobody_fails_and_one_environment_is_built(
    launching: LaunchMachine,
) -> None:
    hub, link = launching.hub, link_of(launching)
    with hub.person() as outsider:
        asked = outsider.browser.get(PAGE, params=link)
        assert f"Launch {NAME}?" in visible_text(asked), "who is not in the group is asked"
    with contextlib.ExitStack() as class_:
        members = [
            Member(class_.enter_context(Person(hub.url, name, PASSWORD, timeout_s=PATIENCE_S)))
            for name in MEMBERS
        ]
        together, begun = Barrier(len(members)), time.monotonic()
        with ThreadPoolExecutor(len(members)) as doors:
            for member in members:
                doors.submit(member.attend, link, together, class_)
        last_s = time.monotonic() - begun
        report(launching, members, last_s)
        failures = [f"{each.person.name} {each.failure}" for each in members if each.failure]
        assert failures == []
        (environment,) = {each.environment for each in members}
        assert launching.built() == [f"{Path(environment).name}.json"]
        assert launching.unfinished() == []
        assert len({told for each in members for told in BUILT.findall(each.log)}) == 1
        units = [f"{hub.layout.user_unit(name, NAME)}.service" for name in MEMBERS]
        states = hub.machine.systemctl("is-active", *units).stdout.split()
        assert states == ["active"] * len(MEMBERS)


def report(launching: LaunchMachine, members: list[Member], last_s: float) -> None:
    """Print the figures of the class."""
    hub, machine = launching.hub, launching.machine
    failed = [each for each in members if each.failure]
    print(f"\n{len(members)} members, {len(failed)} failed; the last answer after {last_s:.1f} s")
    for step in STEPS:
        times = sorted(each.times_s[step] for each in members if step in each.times_s)
        if times:
            shown = ", ".join(f"{each:.1f}" for each in (times[0], median(times), times[-1]))
            print(f"to {step}: {shown} s (first, median, last)")
    told = {words for each in members for words in BUILT.findall(each.log)}
    runs = machine.journal("littlest-hub.launch-build@*").count(": Deactivated successfully")
    print(f"{'; '.join(told) or 'nothing was built'}; the builder ran {runs} times")
    for what, pattern in {
        "servers with their kernels": "littlest-hub.user-*",
        "the hub": hub.layout.hub_service,
        "the proxy": hub.layout.proxy_service,
        "the service": hub.layout.stack_unit("launch", ".service"),
    }.items():
        print(f"{what}: {memory_mib(machine, pattern):.0f} MiB")
