"""A student deletes a notebook, and restores yesterday's version from the page."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from tests.browser.pages import assert_accessible, assert_fits, fill, follow, keep, shown
from tests.eventually import eventually
from tests.hub import Hub

PASSWORD = "seven blue umbrellas"
pytestmark = [pytest.mark.long, pytest.mark.needs("restic")]


@pytest.fixture(scope="module")
def backed_up(hub: Hub) -> Iterator[Hub]:
    """A hub with a backup of yesterday and one of today."""
    machine = hub.machine
    program = shutil.which("restic")
    assert program
    machine.copy(Path(program), "/usr/local/bin/restic")
    machine.run(["chmod", "755", "/usr/local/bin/restic"])
    hub.write_fragment("20-everybody.py", "c.Authenticator.allow_all = True\n")
    for name in ("alice", "bob"):
        machine.add_user(name, PASSWORD)
        machine.run(["chmod", "700", f"/home/{name}"])
    run(hub, "enable", "backups", "--yes")
    script = (
        "cd; mkdir -p work/deeper 'odd & <b>names'; echo '{\"cells\": []}' >work/plan.ipynb;"
        " for i in $(seq 30); do head -c 20000 /dev/urandom >work/deeper/$i; done"
    )
    machine.run(["runuser", "-u", "alice", "--", "sh", "-c", script])
    machine.run(["runuser", "-u", "bob", "--", "sh", "-c", "cd; echo secret >diary"])
    # What somebody else has in her home.
    machine.run(["install", "-m", "600", "-o", "bob", "/dev/null", "/home/alice/of-bob"])
    run(hub, "backups", "now")
    machine.run(["runuser", "-u", "alice", "--", "sh", "-c", "rm ~/work/plan.ipynb"])
    run(hub, "backups", "now")
    yield hub
    run(hub, "disable", "backups")


def run(hub: Hub, *words: str) -> str:
    return hub.machine.run([hub.path("hub/bin/littlest-hub"), *words], timeout_s=240).stdout


def names(browser: Chrome) -> list[str]:
    found = browser.find_elements(By.CSS_SELECTOR, "#entries > li > span")
    return [each.text.splitlines()[0] for each in found]


def look_at(browser: Chrome, name: str) -> None:
    """Assert that the page is usable on a phone and on a desktop."""
    for width in (360, 1280):
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        keep(browser, f"backups-{name}-{width}")
        assert_fits(browser, width)
        assert_accessible(browser)


def log_in(hub: Hub, browser: Chrome, name: str) -> None:
    browser.get(f"{hub.url}/hub/login?next=/hub/home")
    fill(browser, username=name, password=PASSWORD)
    shown(browser, "#login_submit").click()
    follow(browser, "Restore files")
    shown(browser, "#backup")


def test_a_student_restores_a_deleted_notebook_and_sees_nothing_of_others(
    backed_up: Hub, browser: Chrome
) -> None:
    hub = backed_up
    log_in(hub, browser, "alice")
    assert {"work/", "odd & <b>names/", ".bashrc"} <= set(names(browser))
    assert "of-bob" not in names(browser)
    look_at(browser, "home")
    follow(browser, "work/")
    eventually(lambda: names(browser) == ["deeper/"], 30, "today's folder, without the notebook")

    Select(shown(browser, "#backup")).select_by_index(1)
    shown(browser, "form[method=get] button").click()
    eventually(lambda: names(browser) == ["deeper/", "plan.ipynb"], 30, "the folder as it was")
    look_at(browser, "folder")
    button = shown(browser, "button[aria-label='Restore plan.ipynb']")
    button.send_keys(Keys.ENTER)
    said = shown(browser, ".alert-success").text
    assert "Restored plan.ipynb (1 file" in said
    assert "/home/alice/restored/" in said
    look_at(browser, "restored")
    script = ["sh", "-c", "cat ~/restored/*/plan.ipynb"]
    assert hub.machine.run(script, user="alice").stdout == '{"cells": []}\n'

    # The link leads to her server, in which the folder is.
    shown(browser, ".alert-success a").click()
    eventually(lambda: "/lab/tree/restored" in browser.current_url, 90, "JupyterLab")
    shown(browser, ".jp-DirListing-item", timeout_s=90)
    keep(browser, "backups-lab")

    for path in ("../bob", "/home/bob", "of-bob"):
        browser.get(f"{hub.url}/services/backups/?{urlencode({'path': path})}")
        assert shown(browser, ".alert-danger").text
        assert names(browser) == []
        assert "diary" not in browser.page_source
    look_at(browser, "refused")


def test_a_link_in_place_of_restored_is_explained(backed_up: Hub, browser: Chrome) -> None:
    hub = backed_up
    log_in(hub, browser, "bob")
    assert "diary" in names(browser)
    assert "work/" not in names(browser)
    hub.machine.run(["runuser", "-u", "bob", "--", "ln", "-s", "/etc", "/home/bob/restored"])
    shown(browser, "button[aria-label='Restore diary']").click()
    assert "is a link or a file" in shown(browser, ".alert-danger").text
    look_at(browser, "link")
    shown(browser, "button[name=forget]").click()
    eventually(
        lambda: not browser.find_elements(By.CSS_SELECTOR, ".alert-danger"), 30, "no message"
    )
