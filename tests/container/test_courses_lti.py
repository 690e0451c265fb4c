"""A course of a learning platform of our own, tests/learning_services.py: roster and grades."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.certificates import make
from tests.client import Person, visible_text
from tests.courses import PASSWORD, Campus
from tests.eventually import eventually
from tests.hub import Hub
from tests.learning_services import Services, Trouble, member, serving
from tests.machine import Machine

# `make test-courses` runs them.
pytestmark = pytest.mark.long

PAGE = "/hub/courses"
KEY = "/opt/littlest-hub/state/stacks/courses/lti/tool.key"
# Runs a command with the rights of the program that asks platforms.
AS_PROGRAM = """
import subprocess, sys
from pathlib import Path
from littlest_hub.layout import Layout
from littlest_hub.stacks.courses.lti.session import command_of
argv = command_of(Layout(Path("/opt/littlest-hub")), "ps131")
sys.exit(subprocess.run([*argv[:argv.index("--") + 1], *sys.argv[1:]]).returncode)
"""


@pytest.fixture(scope="module")
def campus(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campus]:
    """A hub with the course ps131, which alice teaches and nobody takes."""
    with Machine("bookworm") as machine:
        hub = Hub.install(machine, installer)
        campus = Campus.enabled(hub, tmp_path_factory.mktemp("courses"))
        campus.course("create", "ps131", "--instructors=alice")
        yield campus


@pytest.fixture(scope="module")
def services(campus: Campus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """The platform, on the host's side of the machine's network; the machine trusts it."""
    address = campus.machine.address.rpartition(".")[0] + ".1"
    certificate, key = make(tmp_path_factory.mktemp("platform"), address)
    campus.machine.put("/etc/ssl/certs/ca-certificates.crt", certificate.read_text())
    keys = f"{campus.hub.url}/hub/courses/keys.json"
    found = Services(
        f"https://{address}:9445", lambda: dict(httpx.get(keys, trust_env=False).json())
    )
    refused = campus.course("lti", "roster", "ps131", check=False)
    assert (refused.returncode, "is not connected" in refused.stderr) == (1, True)
    campus.course("lti", "connect", "ps131", *found.options, "--strip-domain")
    with serving(found, certificate, key):
        yield found


def press(person: Person, decision: str, **fields: str) -> str:
    """Press a button on the page of courses; return the words of the page when all is done."""
    found = re.search(r'xsrf_token: "([^"]+)"', person.browser.get(PAGE).text)
    assert found
    data = {"_xsrf": found[1], "decision": decision, "course": "ps131", **fields}
    # Without a file, browsers send a part without a name.
    files = {"file": (None, b"")}
    answer = person.browser.post(PAGE, data=data, files=files, follow_redirects=False)
    if not answer.is_redirect:
        return visible_text(answer)

    def look() -> str:
        page = person.browser.get(PAGE)
        return "" if 'http-equiv="refresh"' in page.text else visible_text(page)

    return eventually(look, 120, "the end of a change")


def test_a_course_takes_its_students_from_the_platform_and_gives_it_their_grades(
    campus: Campus, services: Services
) -> None:
    services.members = [
        member("bob"),
        member("carol"),
        member("alice", "Instructor"),
        member("dave", status="Inactive"),
    ]
    assert "BEGIN PUBLIC KEY" in campus.course("lti", "key").stdout
    said = campus.course("lti", "roster", "ps131", "--dry-run").stdout
    assert "2 students; new: bob, carol; dropped out: nobody" in said
    assert campus.course("show", "ps131").stdout.count("bob") == 0
    services.troubles["members"] = [Trouble(429, {"Retry-After": "1"})]
    assert "2 students" in campus.course("lti", "roster", "ps131").stdout

    campus.release("ps131", "ps1")
    for name in ("bob", "carol"):
        with campus.student(name) as student:
            student.fetch("ps1")
            student.solve("ps1", "def square(x): return x * x")
            assert "Submitted as: ps131 ps1" in student.submit("ps1")
    campus.nbgrader("ps131", "collect", "ps1")
    assert "2 graded" in campus.course("autograde", "ps131", "ps1").stdout
    assert "by hand: bob, carol" in campus.course("lti", "grades", "ps131", "ps1").stdout
    with campus.instructor("ps131") as alice:
        alice.grade("ps1", "bob", 1)
        alice.grade("ps1", "carol", 2)

    services.troubles["scores"] = [Trouble(503), Trouble(422), Trouble(401)]
    done = campus.course("lti", "grades", "ps131", "ps1", check=False)
    assert (done.returncode, "ps1: 1 sent" in done.stdout) == (1, True), done.stdout + done.stderr
    assert re.search(
        r"^(bob|carol): .* answers 422 .* to /course/7/columns/1/scores", done.stderr, re.M
    )
    with campus.hub.logged_in("alice", PASSWORD) as instructor:
        said = press(instructor, "grades", assignment="ps1")
    assert "ps1: 1 sent, 1 as the platform has them." in said
    for name, score in (("bob", 4), ("carol", 5)):
        found = services.grade(name, "ps1")
        assert found
        assert (found["scoreGiven"], found["scoreMaximum"]) == (score, 5)
    assert "0 sent, 2 as" in campus.course("lti", "grades", "ps131", "ps1").stdout
    # Killed at whatever moment, the command leaves nothing that goes on; the next one completes it.
    services.delay_s = 2
    command = campus.hub.path("hub/bin/littlest-hub")
    killed = f"timeout -s KILL 5 {command} course lti grades ps131 ps1 --again"
    campus.machine.run(["sh", "-c", killed], check=False)
    services.delay_s = 0
    running = ["systemctl", "list-units", "--plain", "--no-legend", "*courses-lti-*"]
    eventually(lambda: not campus.machine.run(running).stdout, 60, "the end of the program")
    assert "ps1: " in campus.course("lti", "grades", "ps131", "ps1").stdout
    assert "0 sent, 2 as" in campus.course("lti", "grades", "ps131", "ps1").stdout
    assert len(services.columns) == 1
    assert "the platform has 2 grades" in campus.course("lti", "show", "ps131").stdout


def test_who_is_inactive_there_loses_the_course_here(campus: Campus, services: Services) -> None:
    services.members = [member("bob"), member("carol")]
    campus.course("lti", "roster", "ps131")
    services.members = [member("bob"), member("carol", status="Inactive")]
    with campus.hub.logged_in("alice", PASSWORD) as alice:
        assert "would lose ps131: carol. New: nobody." in press(alice, "platform")
        said = press(alice, "platform", may_drop="1")
    assert "ps131 has 1 student. New: nobody. Dropped out: carol." in said
    assert "dropped out  carol" in campus.course("show", "ps131").stdout
    services.members = []
    refused = campus.course("lti", "roster", "ps131", check=False)
    assert (refused.returncode, "names no active student" in refused.stderr) == (1, True)
    assert "bob" in campus.course("show", "ps131").stdout


def test_the_program_on_the_network_reads_no_key_and_no_secret_is_in_the_journal(
    campus: Campus, services: Services
) -> None:
    services.members = [member("bob")]
    campus.course("lti", "roster", "ps131")
    machine = campus.machine
    python = campus.hub.path("hub/bin/python3")
    for file in (KEY, "/opt/littlest-hub/state/jupyterhub_cookie_secret", "/etc/shadow"):
        machine.run(["test", "-f", file])
        tried = machine.run([python, "-c", AS_PROGRAM, "cat", file], check=False)
        assert tried.returncode != 0
        assert "denied" in tried.stderr
        assert tried.stdout == ""
    assert machine.run(["stat", "-c", "%U %a", KEY]).stdout.strip() == "root 600"
    journal = machine.run(["journalctl", "--no-pager", "-q"]).stdout
    private = machine.run(["cat", KEY]).stdout.splitlines()[1]
    assert services.tokens
    assert not [each for each in (private, *services.tokens) if each in journal]
    with campus.hub.logged_in("bob", PASSWORD, timeout_s=60) as bob:
        bob.start_server()
        with bob.open_kernel() as kernel:
            look = f"try:\n    open({KEY!r})\nexcept OSError as error:\n    print(error.strerror)"
            assert "Permission denied" in kernel.run(look)


def test_a_deleted_course_has_no_platform(campus: Campus, services: Services) -> None:
    campus.course("create", "chem1", "--instructors=alice")
    campus.course("lti", "connect", "chem1", *services.options)
    campus.course("delete", "chem1", "--yes")
    assert "chem1" not in campus.machine.run(["ls", str(Path(KEY).parent)]).stdout
