"""A stack is enabled, used, and disabled: all of it, or nothing."""

import ast
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pexpect
import pytest

from tests.client import Person
from tests.eventually import eventually
from tests.hub import Hub

HOW_TO = Path(__file__).parents[2] / "docs/how-to/services.md"
PAGE = "/services/announce/"
HOSTILE = "</div><script>alert(1)</script> & https://example.org/a"
ESCAPED = (
    "&lt;/div&gt;&lt;script&gt;alert(1)&lt;/script&gt; &amp;"
    ' <a href="https://example.org/a" rel="noopener noreferrer">https://example.org/a</a>'
)
UNIT = "littlest-hub.announce.service"
QUESTION = "whose members may write announcements, besides administrators []: "
CONFIRMATION = "Do it? [Y/n] "
CTRL_C, CTRL_D = "\x03", "\x04"


def run(hub: Hub, *words: str, check: bool = True) -> str:
    done = hub.machine.run([hub.path("hub/bin/littlest-hub"), *words], check=check)
    return done.stdout + done.stderr


@pytest.fixture
def someone(hub: Hub) -> Iterator[Person]:
    """A person who administers nothing, logged in."""
    with hub.person() as person:
        yield person


def files(hub: Hub) -> dict[str, str]:
    """Return what is on the machine, whenever it was written, except the routes."""
    found = hub.snapshot()
    found.pop(str(hub.layout.routes), None)  # each reload writes them
    return {path: re.sub(r"^(f .*?) \d+\.\d+ ", r"\1 ", seen) for path, seen in found.items()}


def write(person: Person, **fields: str) -> httpx.Response:
    """Fill in the form, and send it."""
    page = person.browser.get(PAGE)
    hidden = re.findall(r'name="(_xsrf)" value="([^"]+)"', page.text)
    assert hidden, page.text
    return person.browser.post(PAGE, data={**dict(hidden), **fields})


def login_page(hub: Hub) -> str:
    return httpx.get(f"{hub.url}/hub/login", trust_env=False).text


def test_announce_is_enabled_used_and_disabled_without_a_trace(
    hub: Hub, boss: Person, someone: Person
) -> None:
    before, started = files(hub), hub.main_pid()
    refused = run(hub, "enable", "announce", check=False)
    assert "Without a terminal, confirm with: --yes" in refused
    assert files(hub) == before
    run(hub, "enable", "announce", "--yes", "--set", "group=editors")
    try:
        assert hub.main_pid() == started, "a reload is enough"
        assert 'GROUP = "editors"' in hub.machine.read(
            hub.path("jupyterhub_config.d/55-announce.py")
        )
        assert _deciding_fragment(hub, "JupyterHub.template_vars").endswith("/55-announce.py")
        saved = write(boss, banner=HOSTILE, message="Two\nlines")
        assert "Saved" in saved.text, saved.text
        page = login_page(hub)
        assert ESCAPED in page
        assert "Two<br>\nlines" in page
        told = httpx.get(f"{hub.url}/hub/announcement", trust_env=False).json()
        assert told == {"announcement": ESCAPED, "notices": []}
        assert "Two" in boss.browser.get("/hub/home").text
        assert "banner: </div>" in run(hub, "announce")
        _is_refused_to_others(hub, boss, someone)
        hub.reload()
        assert boss.browser.get(PAGE).status_code == 200, "the login survives a reload"
        hub.machine.systemctl("restart", UNIT)
        assert "Saved" in write(boss, banner="after a restart", message="").text
        assert "after a restart" in login_page(hub)
        process = hub.machine.systemctl(
            "show", "--property=MainPID", "--value", UNIT
        ).stdout.strip()
        assert hub.machine.run(["stat", "--format=%u", f"/proc/{process}"]).stdout.strip() != "0"
    finally:
        printed = run(hub, "disable", "announce")
    assert "announce is disabled" in printed
    assert files(hub) == before
    assert "after a restart" not in login_page(hub)
    assert hub.machine.systemctl("is-active", UNIT, check=False).stdout.strip() == "inactive"
    # The hub's own 404 page: nothing is at that address any more.
    eventually(lambda: boss.browser.get(PAGE).status_code == 404, 10, "no page")


@contextmanager
def enabling(hub: Hub, stack: str) -> Iterator["pexpect.spawn[str]"]:
    """Run `littlest-hub enable STACK` in a terminal."""
    command = [hub.path("hub/bin/littlest-hub"), "enable", stack]
    terminal = hub.machine.terminal(command, timeout_s=60)
    try:
        yield terminal
    finally:
        terminal.close(force=True)


def ended(terminal: "pexpect.spawn[str]", says: str) -> int | None:
    """Wait until the command has said something and ended, and return its exit code."""
    terminal.expect_exact(says)
    terminal.expect(pexpect.EOF)
    terminal.close()
    return terminal.exitstatus


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ([(QUESTION, CTRL_C)], "interrupted"),
        ([(QUESTION, CTRL_D)], "the terminal is gone; nothing was changed"),
        ([(QUESTION, "\n"), (CONFIRMATION, CTRL_C)], "interrupted"),
        ([(QUESTION, "\n"), (CONFIRMATION, "n\n")], "Nothing was changed."),
    ],
    ids=["Ctrl-C at a question", "Ctrl-D", "Ctrl-C at the end", "no"],
)
def test_whoever_leaves_the_questions_of_a_stack_changes_nothing(
    hub: Hub, typed: Sequence[tuple[str, str]], says: str
) -> None:
    before, started = files(hub), hub.main_pid()
    with enabling(hub, "announce") as terminal:
        for prompt, keys in typed:
            terminal.expect_exact(prompt)
            terminal.send(keys)
        assert ended(terminal, says) == 1
    assert files(hub) == before
    assert hub.main_pid() == started


def test_the_answers_of_a_person_at_a_terminal_are_what_is_enabled(hub: Hub) -> None:
    before = files(hub)
    with enabling(hub, "announce") as terminal:
        terminal.expect_exact(QUESTION)
        terminal.sendline("two words")
        terminal.expect_exact("Expected the name of a group, or nothing.")
        terminal.expect_exact(QUESTION)
        terminal.sendline("editors")
        terminal.expect_exact(CONFIRMATION)
        assert f"install and start {UNIT}" in str(terminal.before)
        terminal.sendline("")
        assert ended(terminal, "announce is enabled.") == 0
    try:
        fragment = hub.machine.read(hub.path("jupyterhub_config.d/55-announce.py"))
        assert 'GROUP = "editors"' in fragment
    finally:
        run(hub, "disable", "announce", "--yes")
    assert files(hub) == before


def test_enter_takes_the_answer_that_a_question_shows(hub: Hub) -> None:
    before = files(hub)
    with enabling(hub, "class") as terminal:
        terminal.expect_exact("says) [system]: ")
        terminal.sendline("password")
        terminal.expect_exact("Expected system, first-use, sign-up, or other.")
        terminal.expect_exact("[system]: ")
        terminal.sendline("")
        terminal.expect_exact("who does already []: ")
        terminal.sendline("")
        terminal.expect_exact(CONFIRMATION)
        terminal.sendline("no")
        assert ended(terminal, "Nothing was changed.") == 1
    assert files(hub) == before


def _deciding_fragment(hub: Hub, setting: str) -> str:
    found = json.loads(run(hub, "show", "--json"))["settings"]
    return str(next(each["file"] for each in found if each["name"] == setting))


def _is_refused_to_others(hub: Hub, boss: Person, someone: Person) -> None:
    without_field = boss.browser.post(PAGE, data={"banner": "forged"})
    assert "forged" not in login_page(hub), without_field.text
    assert someone.browser.get(PAGE).status_code == 403
    stranger = httpx.get(f"{hub.url}{PAGE}", trust_env=False, follow_redirects=True)
    assert stranger.url.path == "/hub/login"


def test_enabling_that_is_killed_while_the_hub_reloads_is_undone_in_the_hub_too(
    hub: Hub, someone: Person
) -> None:
    before = files(hub)
    command = f"{hub.path('hub/bin/littlest-hub')} enable announce --yes"
    script = f"{command} >/run/enabling.log 2>&1 & echo $! >/run/enabling.pid"
    hub.machine.run(["sh", "-c", script])
    eventually(lambda: state_of_hub(hub) == "reloading", 60, "the reload", interval_s=0.02)
    hub.machine.run(["sh", "-c", "kill -KILL $(cat /run/enabling.pid)"])
    eventually(lambda: state_of_hub(hub) == "active", 60, "the end of the reload")
    assert someone.browser.get(PAGE).status_code == 403, "the hub does not know it yet"
    undo = "enable --finish"
    assert undo in run(hub, "doctor", check=False)
    run(hub, *undo.split())
    # A hub that has just started removes stale routes after it answers.
    eventually(lambda: someone.browser.get(PAGE).status_code == 404, 30, "no page")
    hub.machine.run(["rm", "/run/enabling.log", "/run/enabling.pid"])
    assert files(hub) == before


def state_of_hub(hub: Hub) -> str:
    show = ["show", "--property=ActiveState", "--value", hub.layout.hub_service]
    return hub.machine.systemctl(*show).stdout.strip()


def test_a_failing_check_undoes_all_of_it(hub: Hub) -> None:
    taken = hub.write_fragment(
        "99-taken.py", 'c.JupyterHub.services.append({"name": "announce"})\n'
    )
    try:
        before = files(hub)
        printed = run(hub, "enable", "announce", "--yes", check=False)
        assert "service 'announce' is defined 2 times" in printed
        assert files(hub) == before
    finally:
        hub.machine.run(["rm", taken])


@pytest.mark.long
def test_a_service_that_fails_whenever_it_starts_undoes_all_of_it(hub: Hub) -> None:
    drop_in = f"/etc/systemd/system/{UNIT}.d/broken.conf"
    hub.machine.put(drop_in, "[Service]\nExecStart=\nExecStart=/bin/false\n")
    try:
        before = files(hub)
        printed = run(hub, "enable", "announce", "--yes", check=False)
        assert "its service does not work: it fails each time it starts" in printed
        assert f"journalctl -u {UNIT}" in printed
        assert files(hub) == before
    finally:
        hub.machine.run(["rm", "-r", str(Path(drop_in).parent)])


def test_a_web_application_of_any_kind_is_behind_the_hub_as_the_how_to_says(
    hub: Hub, boss: Person, someone: Person
) -> None:
    blocks = re.findall(r"^( *)```(\w+)\n(.*?)^\1```", HOW_TO.read_text(), re.M | re.S)
    token, fragment, unit, program = (textwrap.dedent(block) for _, _, block in blocks)
    assert len(ast.parse(fragment).body) == 3
    machine = hub.machine
    machine.put("/opt/counter/counter.py", program)
    python = hub.path("hub/bin/python3")
    unit = unit.replace("/opt/counter/bin/python", python)
    machine.put("/etc/systemd/system/counter.service", unit)
    # There is no sudo on this machine, and no openssl.
    create = "head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n'"
    machine.run(["sh", "-c", token.replace("sudo ", "").replace("openssl rand -hex 32", create)])
    try:
        with hub.fragment("60-counter.py", fragment):
            machine.systemctl("enable", "--now", "counter")
            page = eventually(lambda: _answer(boss, "/services/counter/"), 30, "the application")
            assert re.fullmatch(r"Hello boss, there are \d+ users\.", page)
            assert someone.browser.get("/services/counter/").status_code == 403
    finally:
        machine.systemctl("disable", "--now", "counter", check=False)
        machine.run(["rm", "-rf", "/etc/systemd/system/counter.service", "/opt/counter"])
        machine.run(["rm", "-f", hub.path("jupyterhub_config.d/counter.token")])
        machine.systemctl("daemon-reload")


def _answer(person: Person, path: str) -> str | None:
    answer = person.browser.get(path)
    return answer.text if answer.status_code == 200 else None
