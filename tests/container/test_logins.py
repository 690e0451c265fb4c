"""Passwords: PAM's modules work as for login(1), and strangers delay no one."""

import html
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from littlest_hub.hub.login_limits import FREE_FAILURES
from tests import identity_provider
from tests.catalogue import filled
from tests.client import Person
from tests.hub import Hub
from tests.machine import Machine

WRONG = "Wrong user name or password, or you may not use this hub."
NO_ANSWER = "The system did not say in time whether this password is right"
SERVICE = "locking"
LOCKING = """\
auth     required                    pam_faillock.so preauth deny=3 unlock_time=600
auth     [success=1 default=ignore]  pam_unix.so
auth     [default=die]               pam_faillock.so authfail deny=3 unlock_time=600
auth     sufficient                  pam_faillock.so authsucc deny=3 unlock_time=600
account  required                    pam_unix.so
"""
# Three wrong passwords that the hub does not see.
FAIL = """
import sys, pamela
service, name = sys.argv[1:]
for _ in range(3):
    try: pamela.authenticate(name, "wrong", service=service)
    except pamela.PAMError: pass
"""
# Forty wrong passwords one after another would take more than 80 seconds.
NOT_QUEUED_S = 20
# A login on the machine itself: from another network than the tests'.
LOG_IN = """
import html, re, sys, time, httpx
name, password = sys.argv[1:]
browser = httpx.Client(base_url="http://127.0.0.1", follow_redirects=True, timeout=60)
form = browser.get("/hub/login").text
xsrf = html.unescape(re.search('name="_xsrf" value="([^"]*)"', form)[1])
began = time.monotonic()
data = {"username": name, "password": password, "_xsrf": xsrf}
answer = browser.post("/hub/login?next=/hub/home", data=data)
print(answer.status_code, time.monotonic() - began)
"""


def account(hub: Hub, name: str) -> tuple[str, str]:
    """Return the name and the password of a new account."""
    password = f"password of {name}"
    hub.machine.add_user(name, password)
    return name, password


def log_in(hub: Hub, name: str, password: str) -> tuple[int, str, float]:
    """Return status, message, and duration of a login in a new browser."""
    with Person(hub.url, name, password) as person:
        began = time.monotonic()
        answer = person.try_to_log_in()
        took_s = time.monotonic() - began
    found = re.search(r'class="login_error">\s*(.*?)\s*<', answer.text, re.DOTALL)
    return answer.status_code, html.unescape(found[1]) if found else "", took_s


@contextmanager
def pam_service(hub: Hub, text: str) -> Iterator[None]:
    hub.machine.put(f"/etc/pam.d/{SERVICE}", text)
    with hub.fragment("21-pam.py", f"c.PAMAuthenticator.service = {SERVICE!r}\n"):
        yield
    hub.machine.run(["rm", f"/etc/pam.d/{SERVICE}"])


@pytest.mark.row(38)
def test_an_account_that_was_locked_elsewhere_stays_out(hub: Hub) -> None:
    name, password = account(hub, "lockedout")
    with pam_service(hub, LOCKING):
        assert log_in(hub, name, password)[0] == 200
        hub.machine.run([hub.path("hub/bin/python3"), "-I", "-c", FAIL, SERVICE, name])
        # As some versions of pam_faillock leave it.
        hub.machine.run(["chmod", "0600", f"/run/faillock/{name}"])
        status, message, _ = log_in(hub, name, password)
        assert status == 403
        assert "locked due to 3 failed logins" in message


@pytest.mark.row(38)
@pytest.mark.parametrize("kind", ["", "c.JupyterHub.authenticator_class = 'pam'\n"])
def test_failures_are_counted_and_the_page_shows_what_pam_says(hub: Hub, kind: str) -> None:
    name, password = account(hub, f"counted{len(kind)}")
    with pam_service(hub, LOCKING), hub.fragment("22-kind.py", kind):
        answers = [log_in(hub, name, "wrong") for _ in range(3)]
        assert {answer[:2] for answer in answers} == {(403, WRONG)}
        status, message, _ = log_in(hub, name, password)
        assert status == 403
        # JupyterHub's own class shows no message.
        assert ("locked due to 3 failed logins" in message) is (kind == "")
        hub.machine.run(["faillock", "--user", name, "--reset"])
        assert log_in(hub, name, password)[0] == 200


@pytest.mark.row(35)
def test_a_helper_that_does_not_answer_is_not_a_wrong_password(hub: Hub) -> None:
    name, password = account(hub, "unanswered")
    socket = hub.layout.password_socket
    hub.machine.systemctl("stop", socket)
    try:
        for _ in range(2 * FREE_FAILURES):
            status, message, _ = log_in(hub, name, password)
            assert (status, message.partition(".")[0]) == (503, NO_ANSWER)
    finally:
        hub.machine.systemctl("start", socket)
    assert log_in(hub, name, password)[0] == 200


@pytest.mark.row(35)
def test_forty_wrong_passwords_delay_no_right_one(hub: Hub) -> None:
    victim, password = account(hub, "victim")
    neighbor, neighbors_password = account(hub, "neighbor")
    with ThreadPoolExecutor(41) as threads:
        wrong = [threads.submit(log_in, hub, victim, "wrong") for _ in range(40)]
        status, _, took_s = log_in(hub, neighbor, neighbors_password)
        assert status == 200
        assert took_s < NOT_QUEUED_S
        python = [hub.path("hub/bin/python3"), "-I", "-c", LOG_IN, victim, password]
        status_text, took_text = hub.machine.run(python).stdout.split()
        assert status_text == "200"
        assert float(took_text) < NOT_QUEUED_S
        answers = [each.result() for each in wrong]
    assert {answer[0] for answer in answers} <= {403, 429}
    # The delay of a wrong password keeps no one else waiting.
    assert all(answer[2] > 2 for answer in answers if answer[0] == 403)
    refused = [answer for answer in answers if answer[0] == 429]
    assert len(refused) > 20
    message = r"Too many wrong passwords\. Try again in \d+ seconds?\."
    assert all(re.fullmatch(message, answer[1]) for answer in refused)


@pytest.mark.row(35)
def test_a_known_browser_is_not_delayed_by_a_stranger_in_its_network(hub: Hub) -> None:
    name, password = account(hub, "known")
    with Person(hub.url, name, password) as person:
        person.log_in()
        with ThreadPoolExecutor(20) as threads:
            wrong = [threads.submit(log_in, hub, name, "wrong") for _ in range(20)]
            assert 429 in {each.result()[0] for each in wrong}
        for cookie in ("jupyterhub-hub-login", "jupyterhub-session-id"):
            person.browser.cookies.delete(cookie)
        person.log_in()


# --- passwords that the hub never sees; the other kinds: tests/logins


def test_a_person_logs_in_at_an_identity_provider_and_works_without_an_account(
    hub: Hub, tmp_path: Path
) -> None:
    assert isinstance(hub.machine, Machine)
    callback = f"{hub.url}/hub/oauth_callback"
    claims = {"groups": ["admins"], "admin": True}
    users = {name: {"preferred_username": name, **claims} for name in ("olga", "Olga", "oleg")}
    with identity_provider.provider(hub.machine, tmp_path, callback, users) as there:
        hub.machine.put("/etc/littlest-hub/oidc.secret", there.client_secret, mode=0o600)
        more = 'c.Authenticator.allowed_users = {"olga"}\n'
        with hub.fragment("41-oidc.py", filled("41-oidc.py", there.settings(callback) + more)):
            with Person(hub.url, "olga", "", trusted=there.certificate) as olga:
                assert identity_provider.log_in(olga.browser, "olga").url.path == "/hub/home"
                assert olga.browser.get("/hub/admin").status_code == 403
                olga.start_server()
                assert olga.run_cell("import getpass; getpass.getuser()") == "'olga'"
                olga.stop_server()
            for name, reason in (
                ("Olga", "another spelling is not another person"),
                ("oleg", "You are oleg at single sign-on, but may not use this hub."),
            ):
                with Person(hub.url, name, "", trusted=there.certificate) as stranger:
                    page = identity_provider.log_in(stranger.browser, name)
                    assert page.status_code == 403
                    assert reason in html.unescape(page.text)
                    assert stranger.browser.get("/hub/home").url.path == "/hub/login"
            journal = hub.machine.journal(lines=1000)
            assert "Login of 'oleg' from " in journal
            # The provider's answers are in the addresses of requests.
            assert "/hub/oauth_callback?code=[secret]" in journal
            assert not re.search(r"/oauth_callback\?code=(?!\[secret])", journal)
