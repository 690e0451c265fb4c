"""The teacher's page, as a teacher uses it: on a desktop and a phone, and for a screen reader."""

import re
from collections.abc import Callable, Iterator

import httpx
import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome, Keys

from tests.browser.pages import assert_accessible, assert_fits, fill, follow, keep, shown
from tests.client import Person
from tests.eventually import eventually
from tests.hub import Hub

PASSWORD = "seven blue umbrellas"
CODE = re.compile(r"[A-Z2-7]{4}(?:-[A-Z2-7]{4}){3}")
NOTE = 'Maria <script>document.title = "run"</script>'

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def code(hub: Hub) -> Iterator[str]:
    """People sign up; yields the one-time code of alice, the teacher."""
    place = hub.path("environments")
    hub.machine.run(["mkdir", place])
    # An overlay has no upper layer on the machine's root, which is an overlay itself.
    hub.machine.run(["mount", "-t", "tmpfs", "-o", "mode=0755,size=1500M", "tmpfs", place])
    answers = ("--yes", "--set", "login=sign-up", "--set", "admin=alice")
    found = CODE.search(run(hub, "enable", "class", *answers))
    assert found
    yield found[0]
    run(hub, "disable", "class")
    hub.machine.run(["rm", "-r", str(hub.layout.stacks)])
    hub.machine.run(["umount", "--lazy", place])
    hub.machine.run(["rmdir", place])


def run(hub: Hub, *words: str) -> str:
    return hub.machine.run([hub.path("hub/bin/littlest-hub"), *words]).stdout


def submit(client: httpx.Client, page: str, /, **fields: str) -> None:
    """Fill in a form as a student does, elsewhere."""
    tokens = re.findall(r'name="_xsrf"\s+value="([^"]+)"', client.get(page).text)
    assert client.post(page, data={"_xsrf": tokens[0], **fields}).status_code < 400


def said(browser: Chrome, words: str) -> str:
    """Return what the page says about the last decision, once it is there."""
    selector = "[role=status], [role=alert]"

    def text() -> str:
        try:
            found = shown(browser, selector).text
        except StaleElementReferenceException as error:  # the next page is replacing this one
            raise AssertionError(str(error)) from error
        assert words in found, found
        return found

    return eventually(text, 60, words)


def press(browser: Chrome, label: str) -> None:
    """Press a button with the keyboard."""
    button = shown(browser, f"button[aria-label='{label}']")
    browser.execute_script("arguments[0].focus()", button)
    # The page that follows shows a message of its own.
    browser.execute_script("document.querySelector('[role=status], [role=alert]')?.remove()")
    button.send_keys(Keys.ENTER)


def confirm(browser: Chrome, label: str, name: str = "") -> None:
    """Press a button that asks first, and answer yes.

    Args:
        browser: at the page.
        label: of the button.
        name: for pictures of the question; "": it is not looked at.
    """
    press(browser, label)
    button = shown(browser, "#question button")
    if name:
        look_at(browser, name)
    button.send_keys(Keys.ENTER)


def about(browser: Chrome, name: str) -> str:
    return shown(browser, f"#people > li[data-name='{name}']").text


def look_at(browser: Chrome, name: str) -> None:
    """Assert that the page is usable on a phone and on a desktop."""
    # Colors that change slowly are neither the old nor the new ones for a while.
    still = "document.head.append(Object.assign(document.createElement('style'), arguments[0]))"
    browser.execute_script(still, {"textContent": "* { transition: none !important; }"})
    for width in (360, 1280):
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        keep(browser, f"teacher-{name}-{width}")
        assert_fits(browser, width)
        for theme in ("dark", "light"):
            script = "document.documentElement.setAttribute('data-bs-theme', arguments[0])"
            browser.execute_script(script, theme)
            assert_accessible(browser)


def test_a_teacher_sees_who_is_here_and_does_everything_for_them_on_one_page(
    hub: Hub, browser: Chrome, code: str
) -> None:
    machine, page = hub.machine, f"{hub.url}/services/class/"

    def again() -> None:
        browser.get(page)
        shown(browser, "#machine")

    browser.get(f"{hub.url}/hub/one-time-code")
    fill(browser, username="alice", code=code, new_password=PASSWORD, repeated_password=PASSWORD)
    shown(browser, "#code-form button").click()
    shown(browser, "#login_submit")
    browser.get(f"{hub.url}/hub/login?next=/hub/home")
    fill(browser, username="alice", password=PASSWORD)
    shown(browser, "#login_submit").click()
    follow(browser, "Class")
    assert "administrator" in about(browser, "alice")
    assert "Nobody waits" in shown(browser, "main").text

    # Somebody is added, somebody else is let in.
    fill(browser, new_name="Bob" + Keys.ENTER)
    text = said(browser, "bob chooses a password")
    assert CODE.search(text)
    assert "has no password yet" in about(browser, "bob")
    look_at(browser, "added")
    fill(browser, new_name="bob" + Keys.ENTER)
    said(browser, "bob is in this class already")
    # The hub has no user for somebody who has never logged in.
    confirm(browser, "Lock out bob", "lock-out")
    said(browser, "bob cannot log in, and has no session and no server")
    press(browser, "Unlock bob")
    said(browser, "bob may log in again")
    with httpx.Client(base_url=hub.url, follow_redirects=True, trust_env=False) as client:
        passwords = {"new_password": PASSWORD, "repeated_password": PASSWORD}
        submit(client, "/hub/signup", username="maria", note=NOTE, **passwords)
        submit(client, "/hub/signup", username="mallory", note="", **passwords)
    again()
    assert NOTE in shown(browser, "#waiting").text
    look_at(browser, "waiting")
    shown(browser, "input[value^='maria ']").send_keys(Keys.SPACE)
    shown(browser, "#waiting button[value=approve]").send_keys(Keys.ENTER)
    said(browser, "maria: may log in now")
    shown(browser, "#all").send_keys(Keys.SPACE)
    shown(browser, "#waiting button[value=refuse]").send_keys(Keys.ENTER)
    said(browser, "mallory: were refused")
    assert NOTE in about(browser, "maria")

    with Person(hub.url, "maria", PASSWORD) as maria:
        maria.log_in()
        maria.start_server()
        unit = f"{hub.layout.user_unit('maria')}.service"
        _servers(hub, browser, again, unit, maria)
        _disk(hub, browser, again)
        _failed_start(hub, browser, again, maria)
        _lock_out(hub, browser, again, maria)
        _group(hub, browser, again, maria)
        _environment(hub, browser, again)

        # The account of a person who is removed is nobody's.
        again()
        confirm(browser, "Remove maria", "remove")
        said(browser, "maria is not in this class any more")
        assert not browser.find_elements("css selector", "li[data-name=maria]")
        assert maria.browser.get("/hub/home").url.path == "/hub/login"
        assert machine.run(["test", "-d", "/home/jupyter-maria"]).returncode == 0
    assert browser.title == "Class"


def _servers(
    hub: Hub, browser: Chrome, again: Callable[[], None], unit: str, maria: Person
) -> None:
    def invocation() -> str:
        show = ("show", "--property=InvocationID", "--value", unit)
        return hub.machine.systemctl(*show).stdout.strip()

    again()
    assert "Server runs" in about(browser, "maria")
    show = ("show", "--property=MemoryCurrent", "--value", unit)
    if hub.machine.systemctl(*show).stdout.strip().isdecimal():
        load = shown(browser, "#people > li[data-name=maria] .load").text
        assert re.fullmatch(r"\d+ MB of \d[\d.]* GB, \d+ % of a processor", load), load
    else:  # tests/vm/test_limits.py sees the figures
        assert "systemd does not count memory" in shown(browser, "main").text
    link = shown(browser, "a[aria-label='Open the server maria']")
    assert link.get_attribute("href") == f"{hub.url}/user/maria/"
    look_at(browser, "running")
    before = invocation()
    confirm(browser, "Restart the server maria")
    said(browser, "The server of maria is starting, or runs")
    eventually(lambda: invocation() not in ("", before), 60, "another server")
    confirm(browser, "Stop the server maria")
    said(browser, "The server of maria has stopped")
    assert not browser.find_elements("css selector", ".server")
    maria.start_server()


def _disk(hub: Hub, browser: Chrome, again: Callable[[], None]) -> None:
    large = "/home/jupyter-maria/large"
    hub.machine.run(["dd", "if=/dev/zero", f"of={large}", "bs=1M", "count=70", "status=none"])
    hub.machine.systemctl("start", f"{hub.layout.stack_unit('class', '-disk')}.service")
    hub.machine.run(["rm", large])
    again()
    found = re.search(r"Disk: (\d+) MB", about(browser, "maria"))
    assert found, about(browser, "maria")
    assert 70 <= int(found[1]) < 200
    assert "left at 20" in shown(browser, "#machine").text


def _failed_start(hub: Hub, browser: Chrome, again: Callable[[], None], maria: Person) -> None:
    maria.stop_server()
    home = "/home/jupyter-maria"
    hub.machine.run(["chmod", "000", home])
    try:
        again()
        assert maria.start_for("maria") >= 400

        def failure() -> str:
            again()
            return shown(browser, "#failures").text

        text = eventually(failure, 90, "the failed start")
    finally:
        hub.machine.run(["chmod", "700", home])
    assert "may not enter it" in text
    assert "chmod u+rwx ~jupyter-maria" in text
    look_at(browser, "failed")
    press(browser, "Start again: the server of maria")
    said(browser, "The server of maria is starting, or runs")

    def is_gone() -> bool:
        again()
        return not browser.find_elements("css selector", "#failures")

    eventually(is_gone, 90, "no failed start")


def _lock_out(hub: Hub, browser: Chrome, again: Callable[[], None], maria: Person) -> None:
    def expiry() -> str:
        return hub.machine.run(["getent", "shadow", "jupyter-maria"]).stdout.split(":")[7]

    confirm(browser, "Lock out maria")
    said(browser, "maria cannot log in, and has no session and no server")
    assert "locked out" in about(browser, "maria")
    assert expiry() == "1"
    assert maria.browser.get("/hub/home").url.path == "/hub/login"
    assert maria.try_to_log_in().status_code == 403
    look_at(browser, "locked")
    hub.reload()
    assert maria.try_to_log_in().status_code == 403
    again()
    press(browser, "Unlock maria")
    said(browser, "maria may log in again")
    assert expiry() == ""
    maria.log_in()


def _group(hub: Hub, browser: Chrome, again: Callable[[], None], maria: Person) -> None:
    maria.stop_server()
    text = "Room 12 <b>today</b>"
    with hub.fragment("70-groups.py", 'c.JupyterHub.load_groups = {"lab": {"users": ["maria"]}}'):

        def servers(number: int) -> None:
            again()
            assert f"lab: {number} of 1 have a server" in shown(browser, "#group-name").text

        servers(0)
        shown(browser, "#group button[value=start_group]").send_keys(Keys.ENTER)
        said(browser, "lab: 1 server starts")
        maria.await_server()
        servers(1)
        shown(browser, "#group button[value=start_group]").send_keys(Keys.ENTER)
        said(browser, "All members of lab who may log in have a server")
        fill(browser, message=text + Keys.ENTER)
        said(browser, "Members of lab see the message")
        look_at(browser, "group")
        assert maria.browser.get("/hub/announcement").json()["notices"] == [f"alice: {text}"]
        assert "Room 12 &lt;b&gt;today" in maria.browser.get("/hub/home").text
        press(browser, "Withdraw all messages to lab")
        said(browser, "Messages to lab: 1 withdrawn")
        assert maria.browser.get("/hub/announcement").json()["notices"] == []


def _environment(hub: Hub, browser: Chrome, again: Callable[[], None]) -> None:
    link = hub.path("environments/class")
    run(hub, "environment", "run", "--", "touch", f"{link}/marker")
    again()
    assert "touch" in shown(browser, "#generations").text
    look_at(browser, "generations")
    press(browser, "Use this one: generation 1")
    said(browser, "The environment is generation 1; it was 2")
    assert hub.machine.run(["readlink", link]).stdout.strip().endswith("/1")
    press(browser, "Use this one: generation 2")
    said(browser, "The environment is generation 2; it was 1")
