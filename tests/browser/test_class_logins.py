"""A class in the browser: sign up, be let in, log in, open JupyterLab; on a desktop and a phone."""

import re
from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By

from tests.browser.pages import (
    assert_accessible,
    assert_fits,
    fill,
    follow,
    keep,
    shown,
    stop_server,
)
from tests.hub import Hub

PASSWORD = "seven blue umbrellas"

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def teacher(hub: Hub) -> Iterator[str]:
    """People sign up; yields the one-time code of alice, the teacher."""
    littlest_hub = hub.path("hub/bin/littlest-hub")
    answers = ("--yes", "--set", "login=sign-up", "--set", "admin=alice")
    hub.machine.run([littlest_hub, "enable", "class", *answers])
    yield littlest_hub
    hub.machine.run([littlest_hub, "disable", "class"])
    hub.machine.run(["rm", "-r", str(hub.layout.stacks)])


def log_in(hub: Hub, browser: Chrome, name: str) -> None:
    browser.get(f"{hub.url}/hub/login?next=/hub/home")
    fill(browser, username=name, password=PASSWORD)
    shown(browser, "#login_submit").click()
    shown(browser, "#start, #stop")


def log_out(hub: Hub, browser: Chrome) -> None:
    browser.get(f"{hub.url}/hub/logout")
    shown(browser, "#username_input")


def test_a_student_signs_up_and_opens_jupyterlab_once_the_teacher_has_approved(
    hub: Hub, browser: Chrome, teacher: str, width: int
) -> None:
    def look(name: str) -> None:
        assert_fits(browser, width)
        if name != "login":  # JupyterHub's page
            assert_accessible(browser)
        keep(browser, f"class-{name}-{width}")

    student = f"maria.lopez{width}"
    hub.machine.add_user(student, "an account, which no login needs")
    printed = hub.machine.run([teacher, "class", "token", "alice"]).stdout
    (code,) = re.findall(r"[A-Z2-7]{4}(?:-[A-Z2-7]{4}){3}", printed)
    browser.get(f"{hub.url}/hub/login")
    look("login")
    follow(browser, "Sign up")
    fill(browser, username="Maria López", new_password="short", repeated_password="short")
    shown(browser, "#signup button").click()
    problem = shown(browser, "#username[aria-invalid] ~ .invalid-feedback")
    assert "without accents" in problem.text
    assert "at least 8" in shown(browser, "#new_password-problem").text
    look("signup-problems")
    note = "Maria López, group 3 <script>alert(1)</script>"
    fill(browser, username=student, new_password=PASSWORD, repeated_password=PASSWORD, note=note)
    look("signup")
    shown(browser, "#note").send_keys(Keys.ENTER)
    assert "Thank you" in shown(browser, "#noted").text
    look("noted")

    browser.get(f"{hub.url}/hub/login")
    follow(browser, "I have a one-time code")
    fill(browser, username="alice", code=code.lower(), new_password=PASSWORD)
    fill(browser, repeated_password=PASSWORD)
    look("code")
    shown(browser, "#code-form button").click()
    shown(browser, "#login_submit")
    log_in(hub, browser, "alice")
    follow(browser, "Class (1)")
    assert note in shown(browser, "#waiting").text
    assert "an account of this name" in shown(browser, "#waiting").text
    look("people")
    shown(browser, f"input[value^='{student} ']").click()
    shown(browser, "#waiting button[value=approve]").click()
    assert f"{student}: may log in now" in shown(browser, "[role=status]").text
    look("approved")
    shown(browser, f"button[aria-label='New password for {student}']")
    log_out(hub, browser)

    log_in(hub, browser, student)
    assert not browser.find_elements(By.LINK_TEXT, "Class")
    follow(browser, "Password")
    shown(browser, "#password-form")
    look("password")
    browser.get(f"{hub.url}/hub/spawn")
    shown(browser, ".jp-LauncherCard[data-category='Notebook']", timeout_s=90)
    keep(browser, f"class-lab-{width}")
    browser.get(f"{hub.url}/hub/home")
    stop_server(browser)
    log_out(hub, browser)
