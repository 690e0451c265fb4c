"""The environment of a class in the browser: a terminal changes it, and notebooks see it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys

from tests import wheels
from tests.browser.conftest import open_browser
from tests.browser.pages import answer_to, keep, shown
from tests.browser.test_notice import lab_is_there, notice, notices, press
from tests.container.test_class_environment import Class
from tests.eventually import eventually
from tests.hub import REPOSITORY, Hub
from tests.machine import Machine

PASSWORD = "seven blue umbrellas"
SLIDER = """import ipywidgets as w
s, seen = w.IntSlider(value=7), w.Label("waits")
s.observe(lambda change: setattr(seen, "value", f"now {change.new}"), "value")
w.VBox([s, seen])"""

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def hub(installer: Path) -> Iterator[Hub]:
    """A hub with the stack; `boss` administers it, the others are in the class."""
    with Machine("bookworm", packages=("sudo",)) as machine:
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "boss"})
        # An overlay has no upper layer on the machine's root, which is an overlay itself.
        place = hub.path("environments")
        machine.run(["mkdir", place])
        machine.run(["mount", "-t", "tmpfs", "-o", "mode=0755,size=2500M", "tmpfs", place])
        hub.write_fragment("20-everybody.py", "c.Authenticator.allow_all = True\n")
        machine.run([hub.path("hub/bin/littlest-hub"), "enable", "class", "--yes"])
        for name in ("boss", "maria", "nora", "olga"):
            machine.add_user(name, PASSWORD)
        yield hub


@pytest.fixture
def klass(hub: Hub, tmp_path: Path) -> Class:
    return Class(hub)


def open_lab(hub: Hub, browser: Chrome, name: str) -> None:
    browser.get(f"{hub.url}/hub/login")
    shown(browser, "#username_input").send_keys(name)
    shown(browser, "#password_input").send_keys(PASSWORD, Keys.ENTER)
    shown(browser, ".jp-LauncherCard[data-category='Notebook']", timeout_s=90)


def restart_kernel_and_run(browser: Chrome) -> None:
    """Restart the kernel of the notebook, as its toolbar does, and run its first cell again."""
    shown(
        browser, "[data-jp-item-name='restart'] jp-button, [data-command='kernelmenu:restart']"
    ).click()
    shown(browser, ".jp-Dialog .jp-mod-warn").click()
    cell = shown(browser, ".jp-Notebook .jp-CodeCell .cm-content")
    eventually(lambda: not browser.find_elements("css selector", ".jp-Dialog"), 30, "no dialog")
    cell.click()
    ActionChains(browser).key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()


def output(browser: Chrome) -> str:
    return " ".join(
        each.text for each in browser.find_elements("css selector", ".jp-OutputArea-output")
    )


def test_a_terminal_of_jupyterlab_installs_and_rolls_back_and_a_notebook_sees_it_after_a_restart(
    hub: Hub, klass: Class, browser: Chrome, tmp_path: Path
) -> None:
    made = wheels.make(tmp_path / "wheels", "seen", files={"seen.py": "VERSION = 'one'\n"})
    wheel = hub.machine.copy(made, f"/srv/{made.name}")
    command = "sudo littlest-hub environment"
    before = klass.current()
    open_lab(hub, browser, "maria")
    shown(browser, ".jp-LauncherCard[data-category='Notebook']").click()
    assert "No module named" in answer_to(browser, "import seen; seen.VERSION")
    with open_browser(hub, tmp_path / "boss") as of_boss:
        open_lab(hub, of_boss, "boss")
        shown(of_boss, ".jp-LauncherCard[title*='terminal']").click()

        def type_(line: str) -> None:
            shown(of_boss, ".jp-Terminal .xterm-screen").click()
            ActionChains(of_boss).send_keys(line, Keys.ENTER).perform()

        type_(f"{command} install {wheel}")
        eventually(lambda: klass.current() == before + 1, 120, "the change")
        keep(of_boss, "class-environment-terminal")
        restart_kernel_and_run(browser)
        eventually(lambda: "'one'" in output(browser), 60, "the module")
        keep(browser, "class-environment-notebook")
        type_(f"{command} rollback")
        eventually(lambda: klass.current() == before, 60, "the rollback")
        restart_kernel_and_run(browser)
        eventually(lambda: "No module named" in output(browser), 60, "no module")


def test_a_slider_of_ipywidgets_moves_in_the_notebook_and_its_kernel_hears_of_it(
    hub: Hub, klass: Class, browser: Chrome, tmp_path: Path
) -> None:
    build = [sys.executable, "-m", "construct", "--bundle", "class-environment"]
    subprocess.run([*build, "--output", str(tmp_path)], cwd=REPOSITORY, check=True)
    (made,) = tmp_path.glob("*.tar")
    bundle = hub.machine.copy(made, f"/srv/{made.name}")
    klass.run("import", bundle)
    add = [hub.path("hub/bin/littlest-hub"), "packages", "add"]
    hub.machine.run([*add, "--server", "jupyterlab_widgets", "--from", bundle])
    # Her server starts now, so it has the new package.
    open_lab(hub, browser, "nora")
    shown(browser, ".jp-LauncherCard[data-category='Notebook']").click()
    answer_to(browser, SLIDER)
    handle = shown(browser, ".jp-OutputArea .noUi-handle", timeout_s=60)
    assert shown(browser, ".jp-OutputArea .widget-readout").text == "7"
    handle.send_keys(Keys.ARROW_RIGHT)
    eventually(lambda: "now 8" in shown(browser, ".jp-OutputArea .widget-label").text, 30, "8")
    keep(browser, "class-slider")


def test_jupyterlab_tells_a_person_who_opens_their_server_until_they_have_read_it(
    hub: Hub, browser: Chrome, tmp_path: Path
) -> None:
    open_lab(hub, browser, "olga")
    with open_browser(hub, tmp_path / "boss") as of_boss:
        of_boss.get(f"{hub.url}/hub/login?next=/user/olga/lab")
        shown(of_boss, "#username_input").send_keys("boss")
        shown(of_boss, "#password_input").send_keys(PASSWORD, Keys.ENTER)
        shown(of_boss, "form button[type=submit].btn-jupyter").click()
        shown(of_boss, ".jp-LauncherCard[data-category='Notebook']", timeout_s=90)
        lab_is_there(of_boss, "/hub/announcement")
        assert notices(of_boss, "opened your server") == [], "it is not the visitor's server"
    browser.refresh()
    assert notice(browser, "opened your server").startswith("boss has opened your server, first at")
    keep(browser, "class-visit")
    press(browser, "OK")
    browser.refresh()
    lab_is_there(browser, "/hub/announcement")
    assert notices(browser, "opened your server") == [], "shown again after it was read"
