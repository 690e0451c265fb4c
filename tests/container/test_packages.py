"""Packages that the release does not bring: added without a network, kept by an upgrade."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from construct import bundle
from construct.builder import ROOT
from construct.cache import Cache
from littlest_hub import __version__
from tests import releases, wheels
from tests.client import Person
from tests.container.conftest import EVERYBODY
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

NEXT = "2026.12.0"
WHEELS = "/srv/wheels"
INDEX = "/srv/index"
# An extension of user servers that others have written, with all that it needs.
EXTENSION = "nbgitpuller"
LOGIN = """\
from door import Door
c.JupyterHub.authenticator_class = Door
c.Authenticator.allow_all = True
"""
DOOR = """\
from jupyterhub.auth import DummyAuthenticator


class Door(DummyAuthenticator):
    login_service = "the door"
"""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of wheels: one from the package index, the others ours."""
    directory = tmp_path_factory.mktemp("wheels")
    target = ["--only-binary=:all:", "--no-deps", f"--dest={directory}"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", *target, EXTENSION]
    subprocess.run(command, check=True)
    wheels.make(directory, "door", files={"door.py": DOOR})
    wheels.labextension(directory, "marked")
    wheels.make(directory, "picky", requires=["littlest-hub<2026.12"])
    wheels.make(directory, "broken", files={"broken.py": "raise SystemExit('broken')\n"})
    return directory


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with the extension, as the builder makes it from a list."""
    place = tmp_path_factory.mktemp("bundle")
    lists = place / "course"
    lists.mkdir()
    (lists / "server.txt").write_text(f"{EXTENSION}\n")
    wanted = bundle.find(ROOT, str(lists))
    return bundle.build(ROOT, wanted, place, Cache())


@pytest.fixture(scope="module")
def hub(installer: Path, shelf: Path) -> Iterator[Hub]:
    with Machine("bookworm") as machine:
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "boss"})
        hub.write_fragment("20-everybody.py", EVERYBODY)
        hub.reload()
        machine.run(["mkdir", "--parents", WHEELS])
        for wheel in shelf.iterdir():
            machine.copy(wheel, f"{WHEELS}/{wheel.name}")
        yield hub


def packages(hub: Hub, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return hub.machine.run([hub.path("hub/bin/littlest-hub"), "packages", *arguments], check=check)


def labextensions(person: Person) -> list[str]:
    """Return the names of the labextensions that somebody's JupyterLab loads."""
    page = person.browser.get(f"/user/{person.name}/lab").text
    config = json.loads(page.partition('type="application/json">')[2].partition("</script>")[0])
    return [each["name"] for each in config["federated_extensions"]]


def shown(hub: Hub) -> list[dict[str, Any]]:
    command = [hub.path("hub/bin/littlest-hub"), "show", "--json"]
    settings: list[dict[str, Any]] = json.loads(hub.machine.run(command).stdout)["settings"]
    return settings


def login_page(hub: Hub) -> str:
    return httpx.get(f"{hub.url}/hub/login", trust_env=False).text


@contextmanager
def added(hub: Hub, *arguments: str, source: str = WHEELS) -> Iterator[None]:
    """Add packages for the time of the block."""
    packages(hub, "add", f"--from={source}", *arguments)
    listed = json.loads(packages(hub, "list", "--json").stdout)["packages"]
    try:
        yield
    finally:
        packages(hub, "remove", *(each["name"] for each in listed if each["requested"]))


def test_an_extension_of_a_bundle_is_there_for_servers_that_start_from_now_on(
    hub: Hub, bundled: Path
) -> None:
    hub.machine.copy(bundled, f"/srv/{bundled.name}")
    with hub.person() as before, hub.person() as after:
        before.start_server()
        with added(hub, source=f"/srv/{bundled.name}"):
            listed = json.loads(packages(hub, "list", "--json").stdout)["packages"]
            assert [(each["set"], each["name"]) for each in listed] == [("server", EXTENSION)]
            after.start_server()
            assert after.sees(f"/user/{after.name}/git-pull?repo=x")
            assert not before.sees(f"/user/{before.name}/git-pull?repo=x")
            assert after.run_cell("print(6 * 7)") == "42\n"
            seen = "import importlib.util as u; print(u.find_spec('nbgitpuller'))"
            assert after.run_cell(seen) == "None\n", "kernels have their own packages"


def test_jupyterlab_loads_the_labextension_of_a_package(hub: Hub) -> None:
    with added(hub, "--server", "marked"), hub.person() as person:
        person.start_server()
        lab = f"/user/{person.name}/lab"
        assert "marked" in labextensions(person)
        script = person.browser.get(f"{lab}/extensions/marked/{wheels.SCRIPT}")
        assert script.text == "// of marked\n"


def test_a_fragment_uses_an_authenticator_that_was_added_and_keeps_it(hub: Hub) -> None:
    with added(hub, "door"), hub.fragment("30-door.py", LOGIN):
        assert "Sign in with the door" in login_page(hub)
        settings = {each["name"]: each for each in shown(hub)}
        setting = settings["JupyterHub.authenticator_class"]
        assert (setting["value"], setting["line"]) == ("door.Door", 2)
        refused = packages(hub, "remove", "door", check=False)
        assert refused.returncode == 1
        assert f"{hub.layout.fragments}/30-door.py:1" in refused.stderr
        assert "Sign in with the door" in login_page(hub)


def test_a_package_that_ends_whoever_imports_it_is_refused_with_its_line(hub: Hub) -> None:
    pid = hub.serving_pid()
    with added(hub, "broken"):
        fragment = hub.write_fragment("30-broken.py", "\nimport broken\n")
        refused = hub.machine.run([hub.path("hub/bin/littlest-hub"), "check"], check=False)
        assert f"{fragment}:2:" in refused.stdout
        assert hub.reload(check=False).returncode == 1
        hub.machine.run(["rm", fragment])
    assert hub.answers()
    assert pid, "the hub did not run"


def test_an_audit_knows_the_releases_advisories_without_an_index(hub: Hub) -> None:
    with added(hub, "door"):
        audited = packages(hub, "audit", "--json", check=False)
        found = json.loads(audited.stdout)
        assert (audited.returncode, found["vulnerabilities"], found["packages"]) == (0, [], 1)
        assert found["release_date"] > "2026-11"
        assert found["index_error"]


@pytest.mark.parametrize(
    ("name", "file", "mark", "reason"),
    [
        ("mason", "mason-1.0.tar.gz", "", "mason has no wheel for this Python, only sources"),
        ("gone", "gone-1.0-py3-none-any.whl", 'data-yanked="broken"', "gone 1.0 was withdrawn"),
    ],
)
def test_what_an_index_has_and_nobody_should_install_is_refused(
    hub: Hub, tmp_path: Path, name: str, file: str, mark: str, reason: str
) -> None:
    made, address = wheels.make(tmp_path, name), "http://127.0.0.1:8099"
    place = f"{INDEX}/simple/{name}"
    hub.machine.run(["mkdir", "--parents", place])
    hub.machine.copy(made, f"{place}/{file}")
    hub.machine.put(f"{place}/index.html", f'<a href="{file}" {mark}>{file}</a>')
    serve = [hub.path("hub/bin/python3"), "-m", "http.server", "--directory", INDEX, "8099"]
    hub.machine.run(["systemd-run", "--quiet", "--collect", f"--unit=index-{name}", *serve])
    try:
        get = f"import urllib.request as u; u.urlopen('{address}')"
        python = [hub.path("hub/bin/python3"), "-c", get]
        started = partial(hub.machine.run, python, check=False)
        eventually(lambda: started().returncode == 0, 20, f"an index at {address}")
        add = [hub.path("hub/bin/littlest-hub"), "packages", "add", f"{name}==1.0"]
        refused = hub.machine.run(["env", f"PIP_INDEX_URL={address}/simple", *add], check=False)
    finally:
        hub.machine.systemctl("stop", f"index-{name}")
    assert reason in refused.stderr
    assert refused.returncode == 1


def test_of_two_changes_at_once_one_waits_for_the_other_and_says_so(hub: Hub) -> None:
    add = f"{hub.path('hub/bin/littlest-hub')} packages add --from={WHEELS}"
    both = f"{add} door 2>/tmp/first & {add} broken 2>/tmp/second; wait"
    hub.machine.run(["sh", "-c", both], check=False)
    said = hub.machine.read("/tmp/first") + hub.machine.read("/tmp/second")
    assert f"is changing {hub.layout.base}" in said
    (added_name,) = (
        each["name"] for each in json.loads(packages(hub, "list", "--json").stdout)["packages"]
    )
    packages(hub, "remove", added_name)


def test_a_full_disk_changes_nothing(hub: Hub) -> None:
    directory = str(hub.layout.packages)
    hub.machine.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", directory])
    try:
        refused = packages(hub, "add", f"--from={WHEELS}", "--server", EXTENSION, check=False)
        assert refused.returncode == 1
        assert "No space left on device" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert json.loads(packages(hub, "list", "--json").stdout)["packages"] == []
        assert hub.answers()
    finally:
        hub.machine.run(["umount", directory])


def test_without_an_index_the_way_offline_is_named(hub: Hub) -> None:
    refused = packages(hub, "add", "nbgitpuller", check=False)
    assert refused.returncode == 1
    assert "littlest-hub packages add --from" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_packages_survive_an_upgrade_and_a_rollback(hub: Hub) -> None:
    packages(hub, "add", f"--from={WHEELS}", "--server", EXTENSION)
    packages(hub, "add", f"--from={WHEELS}", "picky")
    refused = hub.machine.install(releases.build(NEXT), check=False)
    assert refused.returncode == 1
    place = f"{hub.layout.packages}/hub.txt:1"
    assert f"{place}: picky 1.0 needs littlest-hub<2026.12" in refused.stderr
    packages(hub, "remove", "picky")
    hub.machine.run(["rm", "--recursive", WHEELS])
    hub.machine.install(releases.build(NEXT))
    listed = json.loads(packages(hub, "list", "--json").stdout)
    assert [each["name"] for each in listed["packages"]] == [EXTENSION]
    assert f"/{NEXT}/" in listed["overlay"]
    with hub.person() as person:
        person.start_server()
        assert person.sees(f"/user/{person.name}/git-pull?repo=x")
    hub.machine.run([hub.path("hub/bin/littlest-hub"), "rollback"])
    listed = json.loads(packages(hub, "list", "--json").stdout)
    assert f"/{__version__}/" in listed["overlay"]
