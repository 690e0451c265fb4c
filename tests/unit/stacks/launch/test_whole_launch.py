"""Launches from link to server, with the real resolver, builder, git and uv; without systemd."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from littlest_hub.stacks.launch.builder import starter
from littlest_hub.stacks.launch.order import Order
from littlest_hub.stacks.launch.records import Approved, approved
from littlest_hub.stacks.launch.resolver import program
from tests.eventually import eventually
from tests.git_server import HOST, GitServer, Names
from tests.launch_site import Site as BuildSite
from tests.projects import add_source, project
from tests.unit.stacks.launch.conftest import Setup, stocked_index
from tests.unit.stacks.launch.hub_and_service import (
    PATH,
    Browser,
    Site,
    Surroundings,
    hidden,
    running,
    target,
)

NOTEBOOK = json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


@dataclass
class Programs:
    """The resolver, and the starter with the builder, as their units would run them."""

    setup: Setup
    build_site: BuildSite
    orders: Path
    builds: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    """The builds, by order: systemd starts a unit once."""
    started: list[str] = field(default_factory=list)
    """The text of orders whose builds were started."""
    waiting: list[str] = field(default_factory=list)
    """The same of those whose end somebody has waited for."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    async def resolve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()
        lines: list[dict[str, object]] = []
        arguments = self.setup.arguments()
        await asyncio.to_thread(program.answer, arguments, data, lines.append)
        writer.write("".join(f"{json.dumps(line)}\n" for line in lines).encode())
        writer.close()

    async def start(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.to_thread(self._wait, starter.order_of(await reader.read()))
        writer.write(b'{"ended": {}}\n')
        writer.close()

    def _wait(self, order: str) -> None:
        with self.lock:
            build = self.builds.get(order)
            if build is None or build.poll() is not None:
                found = json.loads((self.orders / f"{order}.json").read_text())
                self.started.append(_text(found))
                build = self.builds[order] = self.build_site.start(Order(**found))
            self.waiting.append(_text(json.loads((self.orders / f"{order}.json").read_text())))
        build.wait()


def _text(order: dict[str, Any]) -> str:
    return "".join(order["files"].values())


@dataclass
class Whole:
    """A hub with everything that launches."""

    site: Site
    programs: Programs
    git: GitServer

    def launched(self, browser: Browser, name: str, decision: str = "launch") -> httpx.Response:
        """Launch a repository, and return the page of the launch."""
        page = browser.open(repo=self.git.url(name), path="start.ipynb", name=name)
        return browser.press(page, decision)

    def approved(self, browser: Browser, name: str) -> Approved:
        """Return what a server was started with."""
        id = self.site.started_with(browser.name, name)["launch"]
        return approved(self.site.records, browser.name, id)

    def run(self, environment: str, code: str) -> str:
        """Run a program in an environment."""
        python = self.programs.build_site.place.environment(environment) / "bin/python"
        command = [str(python), "-I", "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
    git_server: GitServer,
    release: Path,
    python_copy: Path,
) -> Iterator[Whole]:
    directory = tmp_path_factory.mktemp("whole")
    for name in ("sources", "work"):
        (directory / name).mkdir()
    git_server.behaviors.clear()
    names = Names(directory / "names", {HOST: [["127.0.0.1"]]})
    setup = Setup(directory, git_server, names)
    with stocked_index(directory / "index") as index:
        build_site = BuildSite(directory / "launch", release, index)
        copies = str(build_site.place.pythons)
        subprocess.run(["cp", "-al", f"{python_copy}/.", copies], check=True)
        programs = Programs(setup, build_site, directory / "hub/records/orders")
        logs = build_site.place.logs
        surroundings = Surroundings(
            programs.resolve, programs.start, setup.sources, logs, build_site.place.results
        )
        with running(directory / "hub", surroundings, [git_server.place]) as site:
            yield Whole(site, programs, git_server)


@pytest.fixture
def alice(whole: Whole) -> Browser:
    return Browser(whole.site).log_in()


def test_a_link_becomes_a_server_with_the_packages_of_the_repository(
    whole: Whole, alice: Browser
) -> None:
    whole.programs.build_site.index.add("alpha", "1.0")
    repository = whole.git.repository("course")
    commit = repository.commit({"requirements.txt": "alpha\n", "start.ipynb": NOTEBOOK})
    page = whole.launched(alice, "course")
    assert target(page).endswith("/lab/tree/start.ipynb")
    found = whole.approved(alice, "course")
    assert found.configuration.commit == commit
    assert whole.run(found.environment, "import alpha; print(alpha.VERSION)") == "1.0"


def test_a_commit_that_changes_a_notebook_builds_nothing(whole: Whole, alice: Browser) -> None:
    whole.programs.build_site.index.add("beta", "1.0")
    repository = whole.git.repository("notes")
    repository.commit({"requirements.txt": "beta\n", "start.ipynb": NOTEBOOK})
    whole.launched(alice, "notes")
    before = whole.approved(alice, "notes")
    commit = repository.commit({"requirements.txt": "beta\n", "start.ipynb": f"{NOTEBOOK}\n"})
    page = whole.launched(alice, "notes", "update")
    assert "nothing was built" in page.text
    after = whole.approved(alice, "notes")
    assert after.configuration.commit == commit
    assert after.environment == before.environment


def test_two_people_who_launch_the_same_wait_for_one_build(whole: Whole, alice: Browser) -> None:
    index = whole.programs.build_site.index
    index.add("gamma", "1.0")
    whole.git.repository("both").commit({"requirements.txt": "gamma\n"})
    goes_on = index.hold("gamma-1.0-py3-none-any.whl")
    people = [alice, Browser(whole.site).log_in()]
    pages: list[httpx.Response] = []
    threads = [
        threading.Thread(target=lambda who=each: pages.append(whole.launched(who, "both")))
        for each in people
    ]
    for each in threads:
        each.start()
    assert index.wait_for_held(60)
    programs = whole.programs
    eventually(lambda: programs.waiting.count("gamma\n") == 2, 60, "both to wait for it")
    goes_on.set()
    for each in threads:
        each.join(60)
    assert all(target(page) for page in pages)
    assert len({whole.approved(each, "both").environment for each in people}) == 1
    assert programs.started.count("gamma\n") == 1


def test_a_killed_build_is_said_and_looking_again_builds_it(whole: Whole, alice: Browser) -> None:
    index = whole.programs.build_site.index
    index.add("delta", "1.0")
    whole.git.repository("killed").commit({"requirements.txt": "delta\n"})
    held = index.hold("delta-1.0-py3-none-any.whl")
    page = alice.open(repo=whole.git.url("killed"), name="killed")
    fields = {**hidden(page), "decision": "launch"}
    with alice.stream("POST", f"{PATH}launch", data=fields) as answer:
        assert index.wait_for_held(60)
        for build in whole.programs.builds.values():
            build.kill()
        answer.read()
        assert "the build has been ended" in answer.text
        path = answer.url.path
    assert whole.site.started_with(alice.name, "killed") is None
    held.set()
    assert target(alice.get(path))
    assert whole.run(whole.approved(alice, "killed").environment, "import delta") == ""


def test_an_environment_that_is_lost_is_built_again_from_its_lock(
    whole: Whole, alice: Browser
) -> None:
    index, place = whole.programs.build_site.index, whole.programs.build_site.place
    index.add("eta", "1.0")
    whole.git.repository("lost").commit({"requirements.txt": "eta\n"})
    whole.launched(alice, "lost")
    before = whole.approved(alice, "lost").environment
    alice.stop("lost")
    for each in (*place.results.iterdir(), place.record(before)):
        each.unlink()
    index.add("eta", "2.0")
    assert target(whole.launched(alice, "lost"))
    assert whole.approved(alice, "lost").environment == before
    assert whole.run(before, "import eta; print(eta.VERSION)") == "1.0"


def test_an_environment_that_is_lost_is_built_again_although_its_repository_is_gone(
    whole: Whole, alice: Browser
) -> None:
    site = whole.programs.build_site
    site.index.add("omicron", "1.0")
    repository = whole.git.repository("gone")
    repository.commit({"requirements.txt": "omicron\n"})
    whole.launched(alice, "gone")
    before = whole.approved(alice, "gone").environment
    alice.stop("gone")
    shutil.rmtree(repository.directory)
    for each in (*site.place.results.iterdir(), site.place.record(before)):
        each.unlink()
    for each in whole.programs.setup.sources.iterdir():
        shutil.rmtree(each)
    site.index.add("omicron", "2.0")
    page = whole.launched(alice, "gone")
    assert "What was launched before is used" in page.text
    assert target(page)
    assert whole.approved(alice, "gone").environment == before
    assert whole.run(before, "import omicron; print(omicron.VERSION)") == "1.0"


def test_what_cannot_be_installed_is_said_with_the_packages_that_conflict(
    whole: Whole, alice: Browser
) -> None:
    index = whole.programs.build_site.index
    index.add("epsilon", "1.0", requires=["zeta>=2"])
    index.add("zeta", "1.0")
    index.add("zeta", "2.0")
    whole.git.repository("conflict").commit({"requirements.txt": "epsilon\nzeta<2\n"})
    page = whole.launched(alice, "conflict")
    assert not target(page)
    assert "zeta" in page.text.partition('id="problem"')[2]
    assert whole.site.started_with(alice.name, "conflict") is None


def test_a_branch_that_is_not_there_is_said_on_the_form(whole: Whole, alice: Browser) -> None:
    whole.git.repository("master-only").commit({"requirements.txt": ""}, "master")
    page = alice.open(repo=whole.git.url("master-only"), ref="main")
    assert page.status_code == 400
    assert "master" in page.text


@pytest.mark.needs("unshare", "ip")
def test_code_of_a_repository_runs_once_its_page_was_approved(whole: Whole, alice: Browser) -> None:
    whole.programs.build_site.index.add("alpha", "1.0")
    script = "#!/bin/sh\nset -e\ncat data.txt\necho 'READY = True' >\"$(python -c 'import own; \
print(own.__file__)')\"\n"
    files = {**project("own"), "postBuild": script, "data.txt": "of the repository\n"}
    repository = whole.git.repository("code")
    repository.commit(files)
    page = alice.open(repo=whole.git.url("code"), name="code")
    for text in ("postBuild:1", "pyproject.toml:1", "no others"):
        assert text in page.text
    launched = alice.press(page, "launch")
    assert target(launched), launched.text
    assert "of the repository" in launched.text
    before = whole.approved(alice, "code").environment
    assert whole.run(before, "import own; print(own.READY)") == "True"
    repository.commit({**files, "data.txt": "of another commit\n"})
    launched = whole.launched(alice, "code", "update")
    assert "of another commit" in launched.text
    assert whole.approved(alice, "code").environment != before


@pytest.mark.needs("unshare", "ip")
def test_a_package_without_a_wheel_is_built_after_a_second_question(
    whole: Whole, alice: Browser
) -> None:
    index = whole.programs.build_site.index
    add_source(index, "theta")
    index.add("iota", requires=["theta"])
    whole.git.repository("source").commit({"requirements.txt": "iota\n"})
    page = whole.launched(alice, "source")
    assert "It needs to run code of theta while it is built, which nobody has approved" in page.text
    [link] = re.findall(r'href="([^"]+)">Build them from source', page.text)
    asked = alice.get(unescape(link))
    assert "theta: built from source, as you have asked" in asked.text
    assert target(alice.press(asked, "launch"))
    key = whole.approved(alice, "source").environment
    assert whole.run(key, "import iota, theta; print(theta.MADE)") == "1.0"
