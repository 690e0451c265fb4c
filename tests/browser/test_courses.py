"""A course in Chromium: an instructor and a student, from an assignment to feedback."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By

from tests.browser.conftest import open_browser
from tests.browser.pages import assert_accessible, assert_fits, fill, keep, shown
from tests.courses import ASSIGNMENT, COURSES, PASSWORD, ROSTER, Campus
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

pytestmark = pytest.mark.long

FORMGRADER = "/services/course-ps131/formgrader/"
SOLVE = """
const [path, done] = arguments;
const page = JSON.parse(document.getElementById("jupyter-config-data").textContent);
const token = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/)[1];
const headers = {"X-XSRFToken": token, "Content-Type": "application/json"};
const address = page.baseUrl + "api/contents/" + path;
fetch(address, {headers}).then(answer => answer.json()).then(model => {
  model.content.cells[0].source = "def square(x): return x * x";
  model.content.cells[2].source = "Because.";
  return fetch(address, {method: "PUT", headers, body: JSON.stringify(model)});
}).then(answer => done(answer.status));
"""


@pytest.fixture(scope="module")
def campus(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campus]:
    """A hub with the course ps131 of bob and carol, which alice teaches."""
    with Machine("bookworm") as machine:
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "boss"})
        campus = Campus.enabled(hub, tmp_path_factory.mktemp("courses"))
        machine.add_user("boss", PASSWORD)
        campus.create("ps131", ROSTER)
        yield campus


def log_in(browser: Chrome, campus: Campus, name: str, page: str) -> None:
    browser.get(f"{campus.hub.url}/hub/login?next={page}")
    fill(browser, username=name, password=PASSWORD)
    shown(browser, "#login_submit").click()


def click(browser: Chrome, path: str, *, timeout_s: float = 60) -> None:
    """Click an element as soon as it can be clicked."""

    def clicked() -> bool:
        try:
            browser.find_element(By.XPATH, path).click()
        except WebDriverException as error:
            raise AssertionError(str(error).splitlines()[0]) from error
        return True

    eventually(clicked, timeout_s, path)


def choose(browser: Chrome, column: str) -> None:
    """Click the icon of ps1 in a column of the formgrader, and close what it reports."""
    click(browser, f"//tr[contains(., 'ps1')]/td[contains(@class, '{column}')]//a")
    dialog = shown(browser, ".modal.show, .modal.in", timeout_s=120)
    eventually(lambda: dialog.text.strip(), 30, "a report")
    assert "success" in dialog.text.lower(), dialog.text
    browser.refresh()


def grade_by_hand(browser: Chrome, campus: Campus, points: str) -> None:
    """Give the only submission points for its text."""
    browser.get(f"{campus.hub.url}{FORMGRADER}gradebook/ps1/work")
    click(browser, "//a[contains(., 'Submission #1')]")
    shown(browser, "input.score")
    field = [e for e in browser.find_elements(By.CSS_SELECTOR, "input.score") if e.is_enabled()][-1]
    field.clear()
    field.send_keys(points + Keys.TAB)
    row = campus.grades
    eventually(lambda: row("ps131")["bob", "ps1"]["needs_grading"] == "no", 60, "the points")
    keep(browser, "courses-manual")


def test_an_instructor_and_a_student_bring_an_assignment_from_source_to_feedback(
    campus: Campus, tmp_path: Path
) -> None:
    place = f"{COURSES}/ps131/source/ps1"
    campus.machine.run(["mkdir", "-p", place])
    campus.machine.put(f"{place}/work.ipynb", json.dumps(ASSIGNMENT))
    campus.machine.run(["chown", "-R", "grader-ps131:", place])
    with (
        open_browser(campus.hub, tmp_path / "alice") as alice,
        open_browser(campus.hub, tmp_path / "bob") as bob,
    ):
        log_in(alice, campus, "alice", "/hub/courses")
        shown(alice, "#course-ps131")
        assert_accessible(alice)
        keep(alice, "courses-page")
        click(alice, "//a[normalize-space()='Grade ps131']")
        link = shown(alice, "td.name a").get_attribute("href") or ""
        assert link.endswith("/services/course-ps131/lab/tree/source/ps1")
        choose(alice, "assign")
        choose(alice, "release")
        keep(alice, "courses-formgrader")

        log_in(bob, campus, "bob", "/hub/spawn")
        click(bob, "//li[contains(., 'Nbgrader')]", timeout_s=120)
        click(bob, "//li[contains(@class, 'lm-Menu-item')][contains(., 'Assignment List')]")
        click(bob, "//*[@id='released_assignments_list']//button[.='Fetch']")
        submit = "//*[@id='fetched_assignments_list']//button[.='Submit']"
        eventually(lambda: bob.find_elements(By.XPATH, submit), 60, "what is fetched")
        keep(bob, "courses-assignments")
        assert bob.execute_async_script(SOLVE, "ps131/ps1/work.ipynb") == 200
        click(bob, "//*[@id='fetched_assignments_list']//a[contains(., 'ps1')]")
        click(bob, "//*[@id='fetched_assignments_list']//button[.='Validate']")
        valid = "//*[contains(., 'Success') and contains(@class, 'jp-Dialog-content')]"
        eventually(lambda: bob.find_elements(By.XPATH, valid), 90, "a valid notebook")
        click(bob, "//*[contains(@class, 'jp-Dialog-footer')]//button")
        click(bob, submit)
        handed_in = "//*[@id='submitted_assignments_list'][contains(., 'ps1')]"
        eventually(lambda: bob.find_elements(By.XPATH, handed_in), 60, "what is submitted")

        choose(alice, "collect")
        click(alice, "//tr[contains(., 'ps1')]/td[contains(@class, 'num-submissions')]//a")
        click(alice, "//td[contains(@class, 'autograde')]//a")
        dialog = shown(alice, ".modal.show, .modal.in", timeout_s=120)
        eventually(lambda: dialog.text.strip(), 30, "a report")
        assert "success" in dialog.text.lower(), dialog.text
        assert campus.grades("ps131")["bob", "ps1"]["score"] == "3.0"

        grade_by_hand(alice, campus, "1.5")
        assert campus.grades("ps131")["bob", "ps1"]["score"] == "4.5"
        alice.get(f"{campus.hub.url}{FORMGRADER}manage_assignments")
        choose(alice, "generate-feedback")
        choose(alice, "release-feedback")
        click(bob, "//*[@id='refresh_assignments_list']")
        click(bob, "//*[@id='submitted_assignments_list']//button[.='Fetch Feedback']")
        seen = "//*[@id='submitted_assignments_list'][contains(., 'view feedback')]"
        eventually(lambda: bob.find_elements(By.XPATH, seen), 60, "feedback")
        keep(bob, "courses-feedback")


def test_whoever_presses_a_button_of_a_formgrader_that_is_killed_reads_how_to_go_on(
    campus: Campus, tmp_path: Path
) -> None:
    place = f"{COURSES}/ps131/source/stopped"
    campus.machine.run(["mkdir", "-p", place])
    campus.machine.put(f"{place}/work.ipynb", json.dumps(ASSIGNMENT))
    campus.machine.run(["chown", "-R", "grader-ps131:", place])
    unit = "littlest-hub.courses-formgrader-ps131.service"
    with open_browser(campus.hub, tmp_path / "alice") as alice:
        log_in(alice, campus, "alice", FORMGRADER)
        generate = "//tr[contains(., 'stopped')]/td[contains(@class, 'assign')]//a"
        eventually(lambda: alice.find_elements(By.XPATH, generate), 60, "the assignment")
        campus.machine.systemctl("kill", "--signal=STOP", unit)
        click(alice, generate)
        campus.machine.systemctl("kill", "--signal=KILL", unit)
        dialog = shown(alice, ".modal.show, .modal.in", timeout_s=120)
        eventually(lambda: "do it again" in dialog.text, 30, "how to go on")
        keep(alice, "courses-killed")
        alice.refresh()
        click(alice, generate)
        dialog = shown(alice, ".modal.show, .modal.in", timeout_s=120)
        eventually(lambda: "Success" in dialog.text, 30, "a report")


@pytest.mark.parametrize("width", [1400, 400])
def test_the_page_of_courses_fits_every_screen(campus: Campus, tmp_path: Path, width: int) -> None:
    with open_browser(campus.hub, tmp_path / "alice") as alice:
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        alice.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        log_in(alice, campus, "alice", "/hub/courses")
        shown(alice, "#course-ps131 summary").click()
        assert "bob" in shown(alice, "#course-ps131 table").text
        assert_fits(alice, width)
        keep(alice, f"courses-{width}")


@pytest.mark.parametrize("width", [1400, 400])
def test_an_administrator_makes_a_course_on_every_screen(
    campus: Campus, tmp_path: Path, width: int
) -> None:
    name = f"chem{width}"
    roster = tmp_path / "roster.csv"
    roster.write_text(ROSTER)
    with open_browser(campus.hub, tmp_path / "boss") as boss:
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        boss.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        log_in(boss, campus, "boss", "/hub/courses")
        shown(boss, "#make summary").click()
        fill(boss, course=name, title="Chemistry", instructors="alice, a/b")
        shown(boss, "#make [name=file]").send_keys(str(roster))
        assert_accessible(boss)
        assert_fits(boss, width)
        keep(boss, f"courses-make-{width}")
        shown(boss, "#make button[value=create]").send_keys(Keys.ENTER)
        assert "'a/b' is no login" in shown(boss, "#make .invalid-feedback").text
        assert_accessible(boss)
        fill(boss, instructors="alice")
        shown(boss, "#make [name=file]").send_keys(str(roster))
        shown(boss, "#make button[value=create]").send_keys(Keys.ENTER)
        shown(boss, "#change.alert-info", timeout_s=60)
        keep(boss, f"courses-making-{width}")
        said = shown(boss, "#change.alert-success", timeout_s=120).text
        assert said == f"{name} is ready, with 2 students."
        shown(boss, f"#course-{name} details + details summary").click()
        form = f"#course-{name} form"
        shown(boss, f"{form} textarea").send_keys("username\nbob\n")
        assert_accessible(boss)
        assert_fits(boss, width)
        shown(boss, f"{form} button[value=roster]").send_keys(Keys.ENTER)
        assert "would lose" in shown(boss, "#doubt").text
        assert_accessible(boss)
        assert_fits(boss, width)
        keep(boss, f"courses-doubt-{width}")

        boss.get(f"{campus.hub.url}/hub/courses")
        course = f"#course-{name} details:last-of-type"
        shown(boss, f"{course} summary").click()
        assert_accessible(boss)
        assert_fits(boss, width)
        keep(boss, f"courses-administer-{width}")
        shown(boss, f"{course} [name=confirmation]").send_keys("chem", Keys.ENTER)
        wrong = shown(boss, f"{course} .invalid-feedback").text
        assert wrong == f"Nothing was changed: to delete it, type its name, {name}."
        assert_accessible(boss)
        assert_fits(boss, width)
        field = shown(boss, f"{course} [name=confirmation]")
        field.clear()
        field.send_keys(name, Keys.ENTER)
        # The page loads itself anew meanwhile.
        deleted = f"//*[@id='change'][.='{name} is deleted.']"
        eventually(lambda: boss.find_elements(By.XPATH, deleted), 120, "the end")
        assert not boss.find_elements(By.ID, f"course-{name}")
