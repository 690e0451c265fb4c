"""Logins of a class: sign-up, first use, one-time codes, and what strangers try with them."""

import dataclasses
import re
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from littlest_hub.stacks.classroom.logins.people import WAITING_OF_SOURCE, file_of
from tests.certificates import make
from tests.client import CellError, Person, RefusedError
from tests.container.test_https import CERTIFICATES, FILES
from tests.container.test_proxy import install
from tests.container.test_stacks import PAGE, write
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

pytestmark = pytest.mark.row(41)

TEACHER, PASSWORD = "teacher", "seven blue umbrellas"
CODE = re.compile(r"[A-Z2-7]{4}(?:-[A-Z2-7]{4}){3}")
EVIL = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}


def run(hub: Hub, *words: str, check: bool = True) -> str:
    return hub.machine.run([hub.path("hub/bin/littlest-hub"), *words], check=check).stdout


def code_in(text: str) -> str:
    found = CODE.search(text)
    assert found, text
    return found[0]


@pytest.fixture
def sign_up(hub: Hub) -> Iterator[str]:
    """Let people sign up; yield the teacher's first one-time code."""
    answers = ("--set", "login=sign-up", "--set", f"admin={TEACHER}")
    printed = run(hub, "enable", "class", "--yes", *answers)
    yield code_in(printed)
    _disable(hub)


@pytest.fixture
def first_use(hub: Hub) -> Iterator[str]:
    """Let people choose a password at the first login; yield the teacher's one-time code."""
    fragment = "c.Authenticator.allow_all = False\nc.Authenticator.allowed_users = {'ada', 'bob'}\n"
    path = hub.write_fragment("21-names.py", fragment)
    answers = ("--set", "login=first-use", "--set", f"admin={TEACHER}")
    printed = run(hub, "enable", "class", "--yes", *answers)
    yield code_in(printed)
    hub.machine.run(["rm", path])
    _disable(hub)


def _disable(hub: Hub) -> None:
    assert "stays" in run(hub, "disable", "class")
    hub.machine.run(["rm", "-r", str(hub.layout.stacks)])


def stranger(hub: Hub, trusted: Path | None = None) -> httpx.Client:
    """Return a browser without a login, which trusts a certificate if the hub has HTTPS."""
    return httpx.Client(
        base_url=hub.url,
        follow_redirects=True,
        timeout=60,
        trust_env=False,
        verify=ssl.create_default_context(cafile=str(trusted) if trusted else None),
    )


def submit(browser: httpx.Client, page: str, /, **fields: str) -> httpx.Response:
    """Fill in the form of a page, and send it."""
    form = browser.get(page)
    tokens = re.findall(r'name="_xsrf"\s+value="([^"]+)"', form.text)
    assert tokens, form.text
    return browser.post(page, data={"_xsrf": tokens[0], **fields})


def ask(browser: httpx.Client, name: str, password: str = PASSWORD) -> httpx.Response:
    """Sign up with a name, and return the answer."""
    passwords = {"new_password": password, "repeated_password": password}
    return submit(browser, "/hub/signup", username=name, note="please", **passwords)


def use_code(browser: httpx.Client, name: str, code: str, password: str) -> httpx.Response:
    passwords = {"new_password": password, "repeated_password": password}
    return submit(browser, "/hub/one-time-code", username=name, code=code, **passwords)


def waiting(teacher: Person) -> dict[str, str]:
    """Return the identifiers of the requests on the teacher's page, by name."""
    page = teacher.browser.get("/hub/class").text
    return {
        found.split()[0]: found for found in re.findall(r'name="request"[^>]*value="([^"]+)"', page)
    }


def approve(teacher: Person, name: str) -> None:
    request = waiting(teacher)[name]
    page = submit(teacher.browser, "/hub/class", decision="approve", request=request)
    assert f"{name}: may log in now" in page.text


def logged_in(hub: Hub, name: str, password: str, trusted: Path | None = None) -> Person:
    person = Person(hub.url, name, password, trusted=trusted)
    person.log_in()
    return person


def teacher_of(hub: Hub, code: str, trusted: Path | None = None) -> Person:
    """Return the teacher, logged in with a password that was chosen with the code."""
    with stranger(hub, trusted) as browser:
        assert use_code(browser, TEACHER, code, PASSWORD).url.path == "/hub/login"
    return logged_in(hub, TEACHER, PASSWORD, trusted)


def status_of_login(hub: Hub, name: str, password: str) -> tuple[int, str]:
    with Person(hub.url, name, password) as person:
        answer = person.try_to_log_in()
        return answer.status_code, answer.text


def test_a_stranger_becomes_a_student_when_the_teacher_says_so(hub: Hub, sign_up: str) -> None:
    with stranger(hub) as browser, teacher_of(hub, sign_up) as teacher:
        assert "Sign up" in browser.get("/hub/login").text
        assert "Thank you" in ask(browser, "Student ").text
        status, text = status_of_login(hub, "student", PASSWORD)
        assert status == 403
        assert "has not been approved yet" in text
        # A request is not approved by a link, by another site, or by somebody without rights.
        request = waiting(teacher)["student"]
        answer = teacher.browser.get(f"/hub/class?decision=approve&request={request}")
        assert answer.status_code == 200
        fields = {"decision": "approve", "request": request}
        assert teacher.browser.post("/hub/class", data=fields).status_code == 403
        token = {"_xsrf": teacher.browser.cookies.get("_xsrf", path="/hub/") or ""}
        forged = teacher.browser.post("/hub/class", data={**fields, **token}, headers=EVIL)
        assert forged.status_code == 403
        assert "Another site has sent this form" in forged.text
        assert browser.post("/hub/class", data=fields).status_code == 403
        assert "student" in waiting(teacher)
        hub.reload()
        approve(teacher, "student")
        hub.machine.add_user("student", "an account, which no login needs")
        assert "Class" in teacher.browser.get("/hub/home").text
        with logged_in(hub, "student", PASSWORD) as student:
            assert "Class" not in student.browser.get("/hub/home").text
            assert student.browser.get("/hub/class").status_code == 403
            assert student.browser.get("/hub/change-password").status_code == 200
            student.start_server()
            read = f"print(open({str(file_of(hub.layout))!r}, 'rb').read())"
            with pytest.raises(CellError, match=r"PermissionError|FileNotFoundError"):
                student.run_cell(read)
            page = submit(teacher.browser, "/hub/class", decision="remove", name="student")
            assert "not in this class any more" in page.text
            assert student.browser.get("/hub/home").url.path == "/hub/login"
            unit = hub.layout.user_unit("student") + ".service"
            eventually(
                lambda: hub.machine.systemctl("is-active", unit, check=False).stdout != "active\n",
                30,
                "the end of the server",
            )
        assert status_of_login(hub, "student", PASSWORD)[0] == 403


@pytest.mark.long
def test_who_comes_under_the_name_of_a_removed_student_finds_no_files(
    hub: Hub, sign_up: str
) -> None:
    with stranger(hub) as browser, teacher_of(hub, sign_up) as teacher:

        def let_in() -> Person:
            ask(browser, "leaver")
            approve(teacher, "leaver")
            return logged_in(hub, "leaver", PASSWORD)

        with let_in() as leaver:
            leaver.start_server()
            leaver.run_cell("open('diary', 'w').write('private')")
            submit(teacher.browser, "/hub/class", decision="remove", name="leaver")
        with let_in() as namesake, pytest.raises(RefusedError, match="class keep leaver"):
            namesake.start_server()
        run(hub, "class", "remove", "leaver", "--archive")
        assert "locked out" in teacher.browser.get("/hub/class").text
        page = submit(teacher.browser, "/hub/class", decision="unlock", name="leaver")
        assert "leaver may log in again" in page.text
        with let_in() as namesake:
            namesake.start_server()
            assert namesake.run_cell("import os; 'diary' in os.listdir()") == "False"
            namesake.stop_server()


@pytest.mark.long
def test_nobody_signs_up_as_somebody_else(hub: Hub, sign_up: str) -> None:
    with stranger(hub) as browser, teacher_of(hub, sign_up) as teacher:
        claimed = (TEACHER, "TEACHER", "Teacher ", "\uff34eacher", "boss", "root", "daemon")
        answers = {ask(browser, name).text.replace(name, "?") for name in claimed}
        assert waiting(teacher) == {}
        assert all("Thank you" in answer for answer in answers)
        for name in (TEACHER, "root", "boss"):
            status, text = status_of_login(hub, name, "another blue umbrella")
            assert status == 403
            assert "Wrong user name or password" in text
        for name in ("te\u0430cher", "a b", "../x", "x" * 64, ""):
            assert ask(browser, name).status_code == 400
        assert status_of_login(hub, "TEACHER", PASSWORD)[0] == 200


@pytest.mark.long
def test_a_page_never_says_whether_a_name_is_taken(hub: Hub, sign_up: str) -> None:
    def seconds(name: str) -> float:
        started = time.monotonic()
        assert ask(browser, name).status_code == 200
        return time.monotonic() - started

    with stranger(hub) as browser, teacher_of(hub, sign_up):
        seconds("first")
        # In turn, and the fastest of each, because other programs slow some of them down. Without
        # a hash for a taken name, its answer would be many times faster.
        pairs = [(seconds(TEACHER), seconds(f"free{number}")) for number in range(12)]
        taken, free = map(min, zip(*pairs, strict=True))
        assert 1 / 3 < taken / free < 3, (taken, free)
        bad = [use_code(browser, name, "ABCD-EFGH-IJKL-MNOP", PASSWORD) for name in (TEACHER, "x")]
        assert [answer.status_code for answer in bad] == [400, 400]


@pytest.mark.long
def test_ten_thousand_requests_fill_neither_the_disk_nor_the_hub(hub: Hub, sign_up: str) -> None:
    with stranger(hub) as browser, teacher_of(hub, sign_up) as teacher:
        form = browser.get("/hub/signup")
        token = re.findall(r'name="_xsrf"\s+value="([^"]+)"', form.text)[0]
        password = {"new_password": PASSWORD, "repeated_password": PASSWORD}

        def send(number: int) -> int:
            fields = {"_xsrf": token, "username": f"x{number}", "note": "x" * 200, **password}
            return browser.post("/hub/signup", data=fields).status_code

        with ThreadPoolExecutor(4) as threads:
            statuses = list(threads.map(send, range(10_000)))
        assert statuses.count(200) == WAITING_OF_SOURCE
        assert set(statuses) <= {200, 429}
        assert len(waiting(teacher)) == WAITING_OF_SOURCE
        size = hub.machine.run(["stat", "--format=%s", str(file_of(hub.layout))]).stdout
        assert int(size) < 200_000
        page = submit(teacher.browser, "/hub/class", decision="refuse", request="x 1.0")
        assert "Nobody was chosen" in page.text


@pytest.mark.long
def test_passwords_are_changed_and_too_long_ones_are_refused(hub: Hub, sign_up: str) -> None:
    with stranger(hub) as browser, teacher_of(hub, sign_up) as teacher:
        long = ask(browser, "student", "x1y2z3w4" * 10)
        assert long.status_code == 400
        assert "at most 72 bytes" in long.text
        status, text = status_of_login(hub, TEACHER, "x1y2z3w4" * 10)
        assert status == 403
        assert "at most 72 bytes" in text
        assert "at least 8 characters" in ask(browser, "student", "short").text
        new = {"new_password": "eight green kites", "repeated_password": "eight green kites"}
        wrong = submit(teacher.browser, "/hub/change-password", present_password="guess", **new)
        assert wrong.status_code == 400
        assert "not your password" in wrong.text
        with logged_in(hub, TEACHER, PASSWORD) as elsewhere:
            page = submit(teacher.browser, "/hub/change-password", present_password=PASSWORD, **new)
            assert "Your password is changed" in page.text
            assert elsewhere.browser.get("/hub/home").url.path == "/hub/login"
        assert teacher.browser.get("/hub/class").status_code == 200
        assert status_of_login(hub, TEACHER, PASSWORD)[0] == 403
        # A code is valid once, and voids the password.
        code = code_in(run(hub, "class", "token", TEACHER))
        assert status_of_login(hub, TEACHER, "eight green kites")[0] == 403
        assert use_code(browser, TEACHER, code, PASSWORD).status_code == 200
        assert use_code(browser, TEACHER, code, "a thief's password").status_code == 400
        assert status_of_login(hub, TEACHER, PASSWORD)[0] == 200


@pytest.mark.long
def test_a_first_password_is_chosen_by_whom_a_fragment_names_and_nobody_else(
    hub: Hub, first_use: str
) -> None:
    database = str(file_of(hub.layout))
    # Nothing is stored for a stranger, or for an administrator without a code.
    for name in ("mallory", TEACHER, "Teacher", "boss", "root"):
        status, text = status_of_login(hub, name, PASSWORD)
        assert status == 403
        assert "Wrong user name or password" in text
    stored = hub.machine.run(["grep", "-c", "mallory", database], check=False)
    assert stored.stdout.strip() in ("", "0")
    assert "at most 72 bytes" in status_of_login(hub, "bob", "x1y2z3w4" * 10)[1]
    assert "You choose your password now" in status_of_login(hub, "bob", "short")[1]
    with logged_in(hub, "bob", PASSWORD) as bob:
        assert bob.browser.get("/hub/signup").status_code == 404
    assert status_of_login(hub, "BOB", "another blue umbrella")[0] == 403
    assert status_of_login(hub, "\uff22ob", PASSWORD)[0] == 200
    with teacher_of(hub, first_use) as teacher:
        page = submit(teacher.browser, "/hub/class", decision="reset", name="bob")
        assert status_of_login(hub, "bob", "a stranger who was faster")[0] == 403
        with stranger(hub) as browser:
            use_code(browser, "bob", code_in(page.text), "a second good password")
        assert status_of_login(hub, "bob", "a second good password")[0] == 200
        # A name that is deleted on the admin page can be used again after a reload.
        teacher.delete_user("bob")
        assert status_of_login(hub, "bob", "a second good password")[0] == 403
        hub.reload()
        assert status_of_login(hub, "bob", "a third good password")[0] == 200
    with hub.fragment("22-out.py", 'c.Authenticator.blocked_users = {"bob", "ada"}\n'):
        assert status_of_login(hub, "bob", "a third good password")[0] == 403
        assert status_of_login(hub, "ada", PASSWORD)[0] == 403
    assert "people can log in" in run(hub, "doctor", "--all", check=False)


@pytest.mark.long
def test_who_was_logged_in_before_stays_only_if_a_fragment_lets_everybody_in(hub: Hub) -> None:
    answers = ("--set", "login=sign-up", "--set", f"admin={TEACHER}")
    hub.machine.add_user("early", PASSWORD)
    with logged_in(hub, "early", PASSWORD) as person:
        run(hub, "enable", "class", "--yes", *answers)
        try:
            assert person.browser.get("/hub/home").url.path == "/hub/home"
            with hub.fragment("21-nobody.py", "c.Authenticator.allow_all = False\n"):
                assert person.browser.get("/hub/home").url.path == "/hub/login"
        finally:
            _disable(hub)


@pytest.mark.long
def test_announcements_and_sign_up_go_together_and_nothing_is_shown_twice(
    hub: Hub, sign_up: str
) -> None:
    banner, message = "Bring a laptop", "Room 12 is open"
    people, password, announce = "/hub/class", "/hub/change-password", PAGE
    run(hub, "enable", "announce", "--yes")
    try:
        with teacher_of(hub, sign_up) as teacher, stranger(hub) as browser:
            assert "Saved" in write(teacher, banner=banner, message=message).text
            for page in ("/hub/login", "/hub/signup", "/hub/one-time-code"):
                assert browser.get(page).text.count(banner) == 1
            login = browser.get("/hub/login").text
            assert [login.count(text) for text in (message, ">Sign up<")] == [1, 1]
            ask(browser, "ada")
            approve(teacher, "ada")
            home = teacher.browser.get("/hub/home").text
            links = [f'href="{path}"' for path in (people, password, announce)]
            assert [home.count(text) for text in (banner, message, *links)] == [1] * 5
            with logged_in(hub, "ada", PASSWORD) as ada:
                home = ada.browser.get("/hub/home").text
                found = [home.count(text) for text in (banner, message, *links)]
                assert found == [1, 1, 0, 1, 0]
                assert ada.browser.get(PAGE).status_code == 403
    finally:
        run(hub, "disable", "announce")
    with stranger(hub) as browser:
        login = browser.get("/hub/login").text
        assert [login.count(text) for text in (banner, ">Sign up<")] == [0, 1]


@pytest.mark.long
def test_over_https_people_sign_up_log_in_and_use_codes_and_cookies_are_for_https_alone(
    hub: Hub, sign_up: str, tmp_path: Path
) -> None:
    address = hub.machine.address
    trusted, key = make(tmp_path, address)
    install(hub, CERTIFICATES, trusted, key)
    secure = dataclasses.replace(hub, url=f"https://{address}")
    with hub.fragment("22-https.py", FILES), stranger(secure, trusted) as browser:
        for page in ("/hub/signup", "/hub/one-time-code", "/hub/class"):
            answer = httpx.get(f"{hub.url}{page}", trust_env=False)
            assert answer.headers["Location"] == f"{secure.url}{page}"
        with teacher_of(secure, sign_up, trusted) as teacher:
            assert "Thank you" in ask(browser, "ada").text
            approve(teacher, "ada")
            with logged_in(secure, "ada", PASSWORD, trusted) as ada:
                ada.start_server()
                assert ada.run_cell("6 * 7") == "42"
                new = {
                    "new_password": "eight green kites",
                    "repeated_password": "eight green kites",
                }
                changed = submit(
                    ada.browser, "/hub/change-password", present_password=PASSWORD, **new
                )
                assert "Your password is changed" in changed.text
                cookies = [each for each in ada.browser.cookies.jar if each.name != "_xsrf"]
                assert cookies
                assert all(each.secure for each in cookies)
                ada.stop_server()
            code = code_in(submit(teacher.browser, "/hub/class", decision="reset", name="ada").text)
        saved = f"{secure.url}/hub/login?username=ada&saved=1"
        assert use_code(browser, "ada", code, PASSWORD).url == saved
        logged_in(secure, "ada", PASSWORD, trusted).browser.close()


@pytest.fixture(scope="module")
def unprivileged(installer: Path) -> Iterator[Hub]:
    """A hub that runs as a user of its own; its administrator is `boss`."""
    options = {"LITTLEST_HUB_ADMIN": "boss", "LITTLEST_HUB_USER": "jupyter"}
    with Machine("bookworm", packages=["polkitd", "libpam-google-authenticator"]) as machine:
        yield Hub.install(machine, installer, env=options)


@pytest.mark.long
def test_people_sign_up_at_a_hub_that_is_not_root(unprivileged: Hub) -> None:
    hub = unprivileged
    printed = run(hub, "enable", "class", "--yes", "--set", "login=sign-up", "--set", "admin=boss")
    file = str(file_of(hub.layout._replace(hub_user="jupyter")))
    assert hub.machine.run(["stat", "--format=%U %a", file]).stdout == "jupyter 600\n"
    with stranger(hub) as browser:
        assert use_code(browser, "boss", code_in(printed), PASSWORD).url.path == "/hub/login"
        with logged_in(hub, "boss", PASSWORD) as boss:
            ask(browser, "student")
            hub.reload()
            approve(boss, "student")
            with logged_in(hub, "student", PASSWORD):
                pass
    # Root opens the file as the hub's user, who could have put a link in its place.
    code = code_in(run(hub, "class", "token", "student"))
    assert status_of_login(hub, "student", PASSWORD)[0] == 403
    with stranger(hub) as browser:
        use_code(browser, "student", code, "a second good password")
    assert status_of_login(hub, "student", "a second good password")[0] == 200
    assert "people can log in; 0 wait" in run(hub, "doctor", "--all", check=False)
    assert "stays" in run(hub, "disable", "class")
