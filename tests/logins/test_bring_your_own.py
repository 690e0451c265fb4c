"""Packages of one's own in use, without a network: a login, an extension, an upgrade, and back.

The provider of identities, the repository and the package index run beside the hub.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from selenium.webdriver import Chrome

from construct import bundle
from construct.builder import ROOT
from construct.cache import Cache
from littlest_hub import __version__
from tests import identity_provider, releases
from tests.browser.conftest import open_browser
from tests.browser.pages import shown
from tests.browser.test_class_material import COURSE, REPOSITORY
from tests.catalogue import filled
from tests.client import Person
from tests.hub import Hub
from tests.identity_provider import Provider
from tests.launch_machine import listening_on
from tests.logins.conftest import secure_hub
from tests.logins.test_browser import log_in, picture, trusting
from tests.machine import Machine
from tests.package_index import PackageIndex

NEXT = "2026.12.0"
HOMES = "/var/lib/private/littlest-hub-homes"
"""Homes of people without accounts."""
USERS = {name: {"preferred_username": name} for name in ("ada", "bob")}
OPENED = ".jp-MarkdownViewer, .jp-FileEditor"
PULL = (
    f"hub/user-redirect/git-pull?repo={REPOSITORY}&targetpath=course"
    "&urlpath=lab/tree/course/week1/start.md"
)


@dataclass(frozen=True)
class Site:
    """A hub with a provider."""

    hub: Hub
    provider: Provider
    certificate: Path

    def command(self, *words: str, check: bool = True) -> str:
        program = self.hub.path("hub/bin/littlest-hub")
        done = self.hub.machine.run([program, *words], check=check)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    lists = directory / "course"
    lists.mkdir()
    (lists / "server.txt").write_text("nbgitpuller\n")
    made = bundle.build(ROOT, bundle.find(ROOT, str(lists)), directory, Cache())
    with secure_hub(installer, directory, ["git"]) as (hub, certificate):
        assert isinstance(hub.machine, Machine)
        callback = f"{hub.url}/hub/oauth_callback"
        with identity_provider.provider(hub.machine, directory, callback, USERS) as provider:
            hub.machine.put("/etc/littlest-hub/oidc.secret", provider.client_secret, mode=0o600)
            more = 'c.Authenticator.allowed_users = {"ada", "bob"}\n'
            hub.write_fragment(
                "41-oidc.py", filled("41-oidc.py", provider.settings(callback) + more)
            )
            found = Site(hub, provider, certificate)
            target = hub.machine.copy(made, f"/srv/{made.name}")
            found.command("packages", "add", f"--from={target}")
            hub.machine.run(["rm", target])
            hub.machine.run(["sh", "-c", COURSE])
            hub.reload()
            yield found


@contextmanager
def served(site: Site, ada: Person) -> Iterator[list[str]]:
    """Visit the login page and a server all the time; yield what has failed."""
    failed: list[str] = []
    visits = 0
    is_over = threading.Event()

    def visit() -> None:
        nonlocal visits
        while not is_over.wait(0.05):
            for path in ("/hub/login", "/user/ada/lab"):
                try:
                    answer = ada.browser.get(path, timeout=60)
                    if answer.status_code != 200:
                        failed.append(f"{path}: {answer.status_code}")
                except httpx.HTTPError as error:
                    failed.append(f"{path}: {error!r}")
                visits += 1

    thread = threading.Thread(target=visit)
    thread.start()
    try:
        yield failed
    finally:
        is_over.set()
        thread.join()
    assert visits > 20
    print(f"{visits} visits, {len(failed)} failed")


def pulls(site: Site, browser: Chrome) -> None:
    """Open the link that brings the repository, and see its file."""
    browser.get(f"{site.hub.url}/{PULL}")
    shown(browser, OPENED, timeout_s=180)


def test_a_login_and_an_extension_go_on_through_an_upgrade_and_back_without_a_network(
    site: Site, tmp_path: Path
) -> None:
    hub, machine = site.hub, site.hub.machine
    trusted = tmp_path / "trusted.pem"
    trusted.write_text(site.certificate.read_text() + site.provider.certificate.read_text())
    arguments = trusting(site.provider.certificate, site.certificate)
    assert machine.run(["ip", "route", "show", "default"], check=False).stdout == ""
    with (
        open_browser(hub, tmp_path, arguments) as browser,
        Person(hub.url, "ada", "", trusted=trusted) as ada,
    ):
        log_in(hub, browser, "ada")
        shown(browser, ".jp-LauncherCard[data-category='Notebook']", timeout_s=120)
        pulls(site, browser)
        picture(browser, "byo-1-pulled")
        pulled = f"{HOMES}/ada/course/week1/start.md"
        assert machine.read(pulled) == "Read this first.\n"
        identity_provider.log_in(ada.browser, "ada")
        assert ada.sees("/user/ada/lab")

        _refuses_the_conflict(site, tmp_path)
        with served(site, ada) as failed:
            machine.install(releases.build(NEXT))
            assert f"/{NEXT}/" in site.command("packages", "list", "--json")
        assert failed == []
        pulls(site, browser)
        _logs_in_and_pulls(site, tmp_path / "next", arguments)
        with served(site, ada) as failed:
            site.command("rollback")
            assert f"/{__version__}/" in site.command("packages", "list", "--json")
        assert failed == []
        pulls(site, browser)
        picture(browser, "byo-2-after-rollback")


def _refuses_the_conflict(site: Site, directory: Path) -> None:
    """Add a package from an index that the next release cannot have, and remove it again."""
    machine = site.hub.machine
    assert isinstance(machine, Machine)
    with PackageIndex(directory / "index", listening=listening_on(machine)) as index:
        index.add("picky", requires=["littlest-hub<2026.12"])
        machine.put("/etc/pip.conf", f"[global]\nindex-url = {index.address}\n")
        site.command("packages", "add", "picky")
        refused = machine.install(releases.build(NEXT), check=False)
        assert refused.returncode == 1
        place = f"{site.hub.layout.packages}/hub.txt:1"
        assert f"{place}: picky 1.0 needs littlest-hub<2026.12" in refused.stderr
        assert f"releases/{__version__}" in machine.run(["readlink", site.hub.path("hub")]).stdout
        site.command("packages", "remove", "picky")
    machine.run(["rm", "/etc/pip.conf"])


def _logs_in_and_pulls(site: Site, directory: Path, arguments: list[str]) -> None:
    """Let somebody else do in the next release what ada did in the one before."""
    directory.mkdir()
    with open_browser(site.hub, directory, arguments) as browser:
        log_in(site.hub, browser, "bob")
        shown(browser, ".jp-LauncherCard[data-category='Notebook']", timeout_s=120)
        pulls(site, browser)
    unit = f"{site.hub.layout.user_unit('bob')}.service"
    started = site.hub.machine.systemctl("show", "--property=ExecStart", unit).stdout
    assert f"/releases/{NEXT}/" in started
