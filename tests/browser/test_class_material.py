"""Material of a class in the browser: a link to a git repository, and Notebook's own pages."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, Keys

from tests.browser.pages import assert_fits, errors, keep, shown
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

pytestmark = pytest.mark.long

PASSWORD = "seven blue umbrellas"
WHEELS = "/srv/wheels"
PACKAGES = ("nbgitpuller", "notebook")
REPOSITORY = "git://127.0.0.1/course.git"
# The repository of a teacher, and a server that gives it to everybody.
COURSE = """
set -e
mkdir -p /srv/git/work/week1
cd /srv/git/work
git init --quiet --initial-branch=main .
echo 'Read this first.' >week1/start.md
git add .
git -c user.name=t -c user.email=t@example.org commit --quiet --message=first
git clone --quiet --bare . /srv/git/course.git
git remote add origin /srv/git/course.git
chown -R root:root /srv/git
systemd-run --quiet --unit=course git daemon --export-all --base-path=/srv/git --listen=127.0.0.1
"""
MORE = """
set -e
cd /srv/git/work
echo 'Then this.' >week1/more.md
git add .
git -c user.name=t -c user.email=t@example.org commit --quiet --message=second
git push --quiet origin main
"""


@pytest.fixture(scope="module")
def hub(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub of accounts with the stack, nbgitpuller and Notebook; alice administers it."""
    shelf = tmp_path_factory.mktemp("wheels")
    target = ["--only-binary=:all:", "--no-deps", f"--dest={shelf}"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", *target, *PACKAGES]
    subprocess.run(command, check=True)
    with Machine("bookworm", packages=("git",)) as machine:
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "alice"})
        hub.write_fragment("20-everybody.py", "c.Authenticator.allow_all = True\n")
        program = hub.path("hub/bin/littlest-hub")
        machine.run([program, "enable", "class", "--yes"])
        machine.run(["mkdir", WHEELS])
        for wheel in shelf.iterdir():
            machine.copy(wheel, f"{WHEELS}/{wheel.name}")
        for name in ("alice", "bob"):
            machine.add_user(name, PASSWORD)
        machine.run(["sh", "-c", COURSE])
        yield hub


def log_in(hub: Hub, browser: Chrome, name: str) -> None:
    browser.get(f"{hub.url}/hub/logout")
    browser.get(f"{hub.url}/hub/login?next=/hub/home")
    shown(browser, "#username_input").send_keys(name)
    shown(browser, "#password_input").send_keys(PASSWORD, Keys.ENTER)
    shown(browser, "#start, #stop")


def make_link(hub: Hub, browser: Chrome) -> str:
    """Make a link on the teacher's page, and return it."""
    browser.get(f"{hub.url}/hub/assignment-link")
    shown(browser, "#repository").send_keys("course", Keys.ENTER)
    assert "https://" in shown(browser, "#repository ~ .invalid-feedback").text
    shown(browser, "#repository").clear()
    shown(browser, "#repository").send_keys(REPOSITORY)
    shown(browser, "#path").send_keys("week1/start.md", Keys.ENTER)
    return str(shown(browser, "#link").get_attribute("href"))


def test_a_student_gets_an_assignment_by_a_link_and_what_is_new_and_opens_notebook(
    hub: Hub, browser: Chrome
) -> None:
    machine = hub.machine
    program = hub.path("hub/bin/littlest-hub")
    log_in(hub, browser, "alice")
    browser.get(f"{hub.url}/hub/assignment-link")
    assert "packages add --server nbgitpuller" in shown(browser, ".alert-warning").text
    machine.run([program, "packages", "add", "--server", "--from", WHEELS, *PACKAGES])
    link = make_link(hub, browser)
    assert not browser.find_elements("css selector", ".alert-warning")
    browser.set_window_size(500, 900)
    assert_fits(browser, 500)
    keep(browser, "assignment-link")
    browser.set_window_size(1400, 1000)

    log_in(hub, browser, "bob")
    browser.get(link)
    go_on(browser)
    opened = ".jp-MarkdownViewer, .jp-FileEditor"
    shown(browser, opened, timeout_s=180)
    start = "/home/bob/course/week1/start.md"
    assert machine.read(start) == "Read this first.\n"
    machine.run(["sh", "-c", f"echo mine >>{start}"])
    machine.run(["sh", "-c", MORE])
    browser.get(link)
    more = ["cat", "/home/bob/course/week1/more.md"]
    eventually(lambda: machine.run(more, check=False).stdout == "Then this.\n", 180, "what is new")
    eventually(lambda: machine.read(start).endswith("mine\n"), 30, "the student's own change")

    browser.get(f"{hub.url}/user/bob/tree/course/week1")
    shown(browser, ".jp-DirListing-item[title*='start.md']", timeout_s=180)
    # The release does not look for settings of Notebook among packages that are added.
    unknown = "/lab/api/settings/@jupyter-notebook/"
    assert [each for each in errors(browser) if unknown not in each] == []


def go_on(browser: Chrome) -> None:
    """Confirm that the server starts, if the hub asks."""
    for element in browser.find_elements("css selector", "main a.btn, main button[type=submit]"):
        if element.is_displayed():
            element.click()
            return
