"""Launches without systemd, with the real programs: confined children in place of units."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from uv import find_uv_bin

from littlest_hub import installation
from littlest_hub.installation import overlays_of
from littlest_hub.layout import Layout, PackageSet
from littlest_hub.lifecycle.foreground import ChildSpawner
from littlest_hub.stacks.launch import STACK, permissions
from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.stacks.launch.configuration import Caps, FormError, of_form
from littlest_hub.stacks.launch.fragment import Values
from littlest_hub.stacks.launch.links import Form
from littlest_hub.stacks.launch.own_computer import confined
from littlest_hub.stacks.launch.own_computer.programs import Programs
from littlest_hub.stacks.launch.repository import Policy
from littlest_hub.stacks.launch.resolver.units import sources_of
from littlest_hub.stacks.launch.server.spawner import settings_of_children, with_launch
from littlest_hub.stacks.launch.settings import Settings
from littlest_hub.system import landlock
from tests.git_server import GitServer
from tests.package_index import PackageIndex
from tests.unit.stacks.launch.conftest import stocked_index
from tests.unit.stacks.launch.hub_and_service import (
    Browser,
    Site,
    Surroundings,
    hidden,
    running,
    target,
)

pytestmark = pytest.mark.unit

REPOSITORY = Path(__file__).parents[4]
NOTEBOOK = json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


@dataclass
class Here:
    """A base directory of an ordinary user, with a hub and what it reaches."""

    site: Site
    layout: Layout
    git: GitServer
    index: PackageIndex
    programs: Programs

    def open(self, browser: Browser, name: str) -> str:
        """Return the text of the page that a link to a repository leads to."""
        return browser.open(repo=self.url(name), name=name).text

    def url(self, name: str) -> str:
        return f"https://localhost:{self.git.port}/{name}"

    def launch(self, browser: Browser, name: str) -> str:
        """Launch a repository, and return what the page says."""
        page = browser.open(repo=self.url(name), path="start.ipynb", name=name)
        done = browser.press(page, "launch")
        assert target(done), done.text
        return done.text

    def run(self, text: str) -> str:
        """Run a program in the only environment."""
        [python] = Place.of(self.layout).built.glob("*/bin/python")
        command = [str(python), "-I", "-c", text]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def release_with_programs(base: Path, release: Path) -> Path:
    """Make a release that has this code, the packages of the tests, and uv; return its Python."""
    prefix = base / "releases" / release.name
    prefix.parent.mkdir(parents=True)
    subprocess.run(["cp", "-al", str(release), str(prefix)], check=True)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = prefix / "lib" / version / "site-packages"
    packages.mkdir()
    places = [each for each in sys.path if each.endswith("site-packages")]
    (packages / "own.pth").write_text("\n".join([str(REPOSITORY), *places]))
    overlays = overlays_of(Layout(base), prefix)
    program = overlays / "one" / PackageSet.TOOLS / "bin" / "uv"
    program.parent.mkdir(parents=True)
    shutil.copy2(find_uv_bin(), program)
    (overlays / "active").symlink_to("one")
    return prefix / "bin" / "python3"


@pytest.fixture(scope="module")
def here(
    tmp_path_factory: pytest.TempPathFactory,
    git_server: GitServer,
    release: Path,
    python_copy: Path,
) -> Iterator[Here]:
    directory = tmp_path_factory.mktemp("own")
    layout = Layout(directory / "hub")
    python = release_with_programs(layout.base, release)
    work = directory / "work"
    for each in (work, layout.stacks / STACK, layout.stack_data(STACK)):
        each.mkdir(parents=True)
    Place.of(layout).home.mkdir(parents=True)
    subprocess.run(["cp", "-al", str(python_copy), str(Place.of(layout).pythons)], check=True)
    git_server.behaviors.clear()
    place = f"localhost:{git_server.port}"
    values = Values(
        hosts=[place], networks=["127.0.0.0/8", "::1/128"], ca_file=str(git_server.ca_file)
    )
    with stocked_index(directory / "index") as index, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_INDEX_URL", index.address)
        patch.setattr(installation, "release_of_this_interpreter", lambda: python.parents[1])
        permissions.write_settings(layout, values)
        patch.undo()
        patch.setenv("PIP_INDEX_URL", index.address)
        programs = Programs(layout, values, work, python)
        surroundings = Surroundings(
            programs.resolve,
            programs.start,
            sources_of(layout),
            Place.of(layout).logs,
            Place.of(layout).results,
        )
        # The orders are where the service of this hub writes them.
        orders = layout.stack_data(STACK) / "orders"
        orders.symlink_to(directory / "site/records/orders")
        with running(directory / "site", surroundings, [place]) as site:
            yield Here(site, layout, git_server, index, programs)


@pytest.fixture
def alice(here: Here) -> Browser:
    return Browser(here.site).log_in()


def test_a_link_becomes_an_environment_with_the_pinned_package(here: Here, alice: Browser) -> None:
    here.index.add("alpha", "1.0")
    here.index.add("alpha", "2.0")
    repository = here.git.repository("pinned")
    repository.commit({"requirements.txt": "alpha==1.0\n", "start.ipynb": NOTEBOOK})
    assert "built " in here.launch(alice, "pinned")
    assert here.run("import alpha; print(alpha.VERSION)") == "1.0"
    # Two people who launch the same wait for one build, and the second finds it.
    assert "nothing was built" in here.launch(Browser(here.site).log_in(), "pinned")
    assert not [*here.programs.work.iterdir()]


def test_an_ended_build_leaves_nothing_half_and_is_built_by_the_next_launch(
    here: Here, alice: Browser
) -> None:
    here.index.add("beta", "1.0")
    held = here.index.hold("beta-1.0-py3-none-any.whl")
    here.git.repository("ended").commit({"requirements.txt": "beta\n"})
    page = alice.open(repo=here.url("ended"), name="ended")
    place = Place.of(here.layout)
    before = {*place.records.glob("*")}
    texts: list[str] = []

    def press() -> None:
        texts.append(alice.post("/services/launch/launch", data=fields).text)

    fields = {**hidden(page), "decision": "launch"}
    thread = threading.Thread(target=press)
    thread.start()
    assert here.index.wait_for_held(60)
    found = subprocess.run(
        ["pgrep", "-f", f"^{here.programs.python} .*builder.program"],
        capture_output=True,
        text=True,
    ).stdout.split()
    assert found
    subprocess.run(["kill", *found], check=True)
    thread.join(60)
    assert "the build has been ended" in texts[0]
    assert {*place.records.glob("*")} == before
    held.set()
    assert "built " in here.launch(alice, "ended")


@pytest.mark.parametrize(
    ("files", "where"),
    [
        ({"postBuild": "#!/bin/sh\ntouch ~/ran\n", "requirements.txt": ""}, "postBuild:1"),
        ({"requirements.txt": "alpha @ https://example.org/alpha.tar.gz\n"}, "requirements.txt:1"),
        ({"pyproject.toml": '[project]\nname = "own"\nversion = "1"\n[build-system]\n'
          'requires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'}, "pyproject.toml:1"),
    ],
)  # fmt: skip
def test_what_runs_code_is_refused_on_the_page(
    here: Here, alice: Browser, files: dict[str, str], where: str
) -> None:
    name = f"code-{where.partition(':')[0].lower().replace('.', '-')}"
    here.git.repository(name).commit(files)
    settings = settings_of_children(Settings())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "littlest_hub.stacks.launch.settings.Settings.from_json",
            lambda _: replace(settings, policy=Policy(hosts=(f"localhost:{here.git.port}",))),
        )
        page = alice.open(repo=here.url(name), name=name)
        text = page.text.partition('id="refused"')[2]
        assert where in text
        assert "a hub that runs without systemd runs no code while it builds" in text
        assert 'value="launch"' not in text
        # A request of the button without the page gets nothing either.
        commit = re.findall(r"[0-9a-f]{40}", page.text)[0]
        here.git.repository(f"{name}-plain").commit({"requirements.txt": ""})
        page = alice.open(repo=here.url(f"{name}-plain"))
        fields = {**hidden(page), "decision": "launch"}
        asked = {"repo": here.url(name), "name": name, "commit": commit}
        done = alice.post("/services/launch/launch", data={**fields, **asked})
        assert "runs no code while it builds" in done.text.partition('id="problem"')[2]
    assert here.site.started_with(alice.name, name) is None


def test_nothing_is_offered_that_child_processes_cannot_have() -> None:
    given = Settings(caps=Caps(memory_gb=4), guests=3, collaborators=5, one_click={"a": ("b",)})
    settings = with_launch(ChildSpawner, given).launch_settings
    assert settings == settings_of_children(given)
    choices = settings.choices_for("alice", ["a"])
    for field, value in (
        ("memory_gb", "1"), ("built", "six"), ("share", "bob"), ("temporary", "yes"),
        ("mount", "data"),
    ):  # fmt: skip
        form = Form(repo="https://github.com/org/repo", name="here", **{field: value})
        with pytest.raises(FormError) as error:
            of_form(form, settings.policy, settings.caps, choices)
        assert [*error.value.problems] == [field]


@pytest.mark.skipif(not landlock.is_usable(), reason="this kernel has no Landlock")
def test_a_confined_program_reads_and_writes_what_it_is_given_and_nothing_else(
    here: Here, tmp_path: Path
) -> None:
    given, secret, own = tmp_path / "given.json", tmp_path / "secret.json", tmp_path / "own"
    for each in (given, secret):
        each.write_text("{}")
    own.mkdir()

    def tried(*arguments: Path) -> bool:
        program = ["json.tool", *map(str, arguments)]
        command = confined.command(here.programs.python, 1, [given], [own], program)
        return subprocess.run(command, capture_output=True).returncode == 0

    assert tried(given, own / "new.json")
    assert not tried(secret)
    assert not tried(given, tmp_path / "new.json")
    assert not tried(given, given)
    assert not tried(here.layout.stack_token(STACK))
