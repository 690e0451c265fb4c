"""Servers of git that are slow, broken or malicious, and names that lead to other places."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from littlest_hub.stacks.launch.resolver import lookup
from littlest_hub.stacks.launch.resolver.pkt_line import line
from littlest_hub.stacks.launch.resolver.sources import Sources
from littlest_hub.system.processes import process_ids
from tests.eventually import eventually
from tests.git_server import HOST, OTHER_HOST, GitServer, Handler, Names, Repository
from tests.unit.stacks.launch.conftest import Setup

pytestmark = pytest.mark.needs("git")

PROGRAM = "littlest_hub.stacks.launch.resolver.program"
SECRET = "correct-horse"
ALICE, BOB = "a1" * 32, "b0" * 32
"""Digests of two people."""
ADVERTISEMENT = b"000eversion 2\n000cls-refs\n0011fetch=filter\n0000"
ALL_INTO_ONE_MB = {"refs_bytes": 1 << 20, "pack_bytes": 1 << 20, "history_bytes": 1 << 20}


@pytest.fixture
def repository(setup: Setup, request: pytest.FixtureRequest) -> Repository:
    """A repository with two commits on one branch."""
    made = setup.server.repository(f"repository-{abs(hash(request.node.name))}")
    first = made.commit({"a": "1"})
    made.commit({"a": "2"}, "main", first)
    return made


def name(repository: Repository) -> str:
    return repository.directory.name


def test_a_repository_that_was_renamed_is_followed_and_named_anew(
    setup: Setup, repository: Repository
) -> None:
    def moved(handler: Handler) -> None:
        handler.redirect(handler.path.replace("/old", f"/{name(repository)}"))

    setup.server.behaviors["/old/"] = moved
    found = setup.resolved("old")
    assert (found["moved"], found["repository"]) == (True, setup.server.url(name(repository)))
    # By the address that was launched, the server finds its files.
    place = Sources(setup.sources).place(setup.server.url("old"), found["commit"])
    assert found["directory"] == place.name
    setup.settings["policy"] = {"hosts": [setup.server.place], "banned": [f"*{name(repository)}"]}
    assert "does not launch this repository" in setup.refused("old")


def test_a_redirect_that_only_adds_git_at_the_end_is_no_other_name(setup: Setup) -> None:
    setup.server.repository("suffix.git").commit({"a": "1"})
    setup.server.behaviors["/suffix/"] = lambda handler: handler.redirect(
        handler.path.replace("/suffix/", "/suffix.git/")
    )
    found = setup.resolved("suffix")
    assert (found["moved"], found["repository"]) == (False, setup.server.url("suffix"))


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("http://git.example.org/a/info/refs?service=git-upload-pack", "found http://"),
        ("https://127.0.0.1/a/info/refs?service=git-upload-pack", "found an address"),
        ("https://127.1/a/info/refs?service=git-upload-pack", "found an address"),
        ("https://[::1]/a/info/refs?service=git-upload-pack", "no IPv6 address"),
        ("https://localhost/a/info/refs?service=git-upload-pack", "no name in the public DNS"),
        ("https://169.254.169.254/a/info/refs?service=git-upload-pack", "found an address"),
        ("https://inside.example.org/a/info/refs?service=git-upload-pack", "10.0.0.1, which is"),
        ("https://u:p@github.com/a/b/info/refs?service=git-upload-pack", "name or password"),
        ("https://github.com:22/a/b/info/refs?service=git-upload-pack", "expected no port"),
        ("file:///etc/info/refs?service=git-upload-pack", "expected the address"),
        ("ext::sh/info/refs?service=git-upload-pack", "expected the address"),
        ("https://git.example.org/login", "private, or does not exist"),
        ("/login?to=/info/refs", "private, or does not exist"),
        ("https://[/info/refs?service=git-upload-pack", "status 302"),
        ("", "status 302"),
    ],
)
def test_a_redirect_to_a_place_that_is_not_permitted_is_not_followed(
    setup: Setup, location: str, expected: str
) -> None:
    setup.names.answers["inside.example.org"] = [["10.0.0.1"]]
    setup.server.behaviors["/a/"] = lambda handler: handler.redirect(location)
    assert expected in setup.refused("a")
    assert len(setup.server.requests) == 1


def test_redirects_in_a_circle_end(setup: Setup) -> None:
    setup.server.behaviors["/a/"] = lambda handler: handler.redirect(handler.path)
    assert "more than 5 times" in setup.refused("a")
    assert len(setup.server.requests) == 6


def test_only_the_first_request_may_be_redirected(setup: Setup, repository: Repository) -> None:
    def behavior(handler: Handler) -> None:
        if handler.command == "POST":
            handler.redirect("https://git.example.org/other/git-upload-pack")
        else:
            handler.backend()

    setup.server.behaviors["/"] = behavior
    assert "status 302" in setup.refused(name(repository))


def test_a_host_is_resolved_once_whatever_its_name_server_says_later(
    setup: Setup, repository: Repository
) -> None:
    setup.names.answers[HOST] = [["127.0.0.1"], ["127.0.0.66"], ["10.0.0.1"]]
    assert setup.resolved(name(repository), repository.git("rev-parse", "main~1"))
    assert setup.names.asked == [HOST]
    assert len(setup.server.requests) > 3


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["10.0.0.1"], "not one of the internet"),
        (["127.0.0.1", "10.0.0.1"], "10.0.0.1, which is not one of the internet"),
        (["::ffff:10.0.0.1"], "not one of the internet"),
        (["127.0.0.1/8"], "no IP address"),
        ([], "has no address"),
    ],
)
def test_a_host_with_an_address_that_is_not_permitted_is_not_connected_to(
    setup: Setup, answers: list[str], expected: str
) -> None:
    setup.names.answers[HOST] = [answers]
    assert expected in setup.refused("a")
    assert setup.server.requests == []


def test_without_an_exception_this_machine_is_not_connected_to(setup: Setup) -> None:
    setup.settings["networks"] = []
    assert "not one of the internet" in setup.refused("a")
    setup.settings["networks"] = ["192.168.0.0/16"]
    assert "not one of the internet" in setup.refused("a")
    assert setup.server.requests == []


def test_another_address_of_the_host_is_tried_if_one_does_not_answer(
    setup: Setup, repository: Repository
) -> None:
    setup.names.answers[HOST] = [["127.0.0.1", "127.0.0.0"]]
    assert setup.resolved(name(repository))


def test_a_certificate_of_an_unknown_authority_or_of_another_host_is_refused(
    setup: Setup, repository: Repository
) -> None:
    setup.settings["ca_file"] = ""
    text = setup.refused(name(repository))
    assert "certificate is not valid" in text
    assert "ca_file" in text
    del setup.settings["ca_file"]
    place = f"third.example.org:{setup.server.port}"
    setup.settings["policy"] = {"hosts": [place]}
    setup.names.answers["third.example.org"] = [["127.0.0.1"]]
    assert "certificate is not valid" in setup.refused(f"https://{place}/{name(repository)}")
    assert setup.server.requests == []


def _silent(handler: Handler) -> None:
    handler.rfile.read()


def _dripping_head(handler: Handler) -> None:
    _repeat(handler, b"HTTP/1.1 200 OK\r\nX-A: ", b"a", 0.01)


def _dripping_body(handler: Handler) -> None:
    handler.say("advertisement", b"ff00")
    _repeat(handler, b"", b"a", 0.01)


def _endless(handler: Handler) -> None:
    handler.say("advertisement", b"000eversion 2\n")
    _repeat(handler, b"", b"000cls-refs\n" * 1000)


def _endless_head(handler: Handler) -> None:
    _repeat(handler, b"HTTP/1.1 200 OK\r\n", b"X-A: a\r\n")


def _endless_line(handler: Handler) -> None:
    _repeat(handler, b"HTTP/1.1 200 OK\r\nX-A: ", b"a" * 1000)


def _endless_continues(handler: Handler) -> None:
    _repeat(handler, b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0.01)


def _repeat(handler: Handler, first: bytes, part: bytes, every_s: float = 0) -> None:
    """Send a part again and again, until the client goes."""
    handler.wfile.write(first)
    if every_s:
        handler.connection.settimeout(every_s)
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(part)
            if every_s:
                with contextlib.suppress(TimeoutError):
                    handler.connection.recv(1)


@pytest.mark.parametrize(
    ("behavior", "expected"),
    [
        (_dripping_head, "took more than 0.6 s"),
        (_dripping_body, "took more than 0.6 s"),
        (_endless_continues, "took more than 0.6 s"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_server_that_takes_too_long_is_left(
    setup: Setup, behavior: Callable[[Handler], None], expected: str
) -> None:
    setup.settings["limits"] = {"seconds": 0.6}
    setup.server.behaviors["/a/"] = behavior
    began = time.monotonic()
    assert expected in setup.refused("a")
    assert time.monotonic() - began < 3


def test_a_server_that_is_silent_is_left(setup: Setup) -> None:
    setup.settings["limits"] = {"silence_s": 0.3}
    setup.server.behaviors["/a/"] = _silent
    began = time.monotonic()
    assert "does not answer in time" in setup.refused("a")
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("behavior", "expected"),
    [
        (_endless, "more than 1 MB"),
        (_endless_head, "breaks the rules of HTTP"),
        (_endless_line, "breaks the rules of HTTP"),
    ],
)
def test_a_server_that_says_too_much_is_left(
    setup: Setup, behavior: Callable[[Handler], None], expected: str
) -> None:
    setup.settings["limits"] = ALL_INTO_ONE_MB
    setup.server.behaviors["/a/"] = behavior
    assert expected in setup.refused("a")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "does not speak git's protocol"),
        (b"<html>", "does not speak git's protocol"),
        (b"0000", "is empty"),
        (b"000eversion 2", "ended in the middle"),
        (b"0003", "does not speak git's protocol"),
        (b"+00a", "does not speak git's protocol"),
        (b"000eversion 3\n0000", "does not speak git's protocol"),
        (b"0012ERR no access\n", "the server says 'no access'"),
        (b"0032" + b"z" * 40 + b" HEAD" + b"\n0000", "does not speak git's protocol"),
        (b"\x00" * 100, "does not speak git's protocol"),
    ],
)
def test_a_greeting_that_is_garbage_is_refused(setup: Setup, body: bytes, expected: str) -> None:
    setup.server.behaviors["/a/"] = lambda handler: handler.say("advertisement", body)
    assert expected in setup.refused("a")


@pytest.mark.parametrize(
    ("status", "expected"),
    [(401, "private"), (403, "private"), (404, "no repository"), (429, "429"), (500, "500")],
)
def test_a_status_becomes_a_sentence(setup: Setup, status: int, expected: str) -> None:
    def behavior(handler: Handler) -> None:
        handler.send_response(status)
        handler.end_headers()

    setup.server.behaviors["/a/"] = behavior
    assert expected in setup.refused("a")


def test_pages_and_encodings_are_no_repositories(setup: Setup) -> None:
    def page(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.end_headers()

    setup.server.behaviors["/a/"] = page
    assert "is a web page" in setup.refused("a")
    setup.server.behaviors["/a/"] = lambda handler: handler.say(
        "advertisement", b"\x1f\x8b", Content_Encoding="gzip"
    )
    assert "encoding that was not asked for" in setup.refused("a")

    def other_protocol(handler: Handler) -> None:
        handler.wfile.write(b"SSH-2.0-x\r\n")

    setup.server.behaviors["/a/"] = other_protocol
    assert "breaks the rules of HTTP: BadStatusLine" in setup.refused("a")
    setup.server.behaviors["/a/"] = lambda handler: handler.say(
        "advertisement", ADVERTISEMENT, Content_Length="1000"
    )
    assert "IncompleteRead" in setup.refused("a")


def _answering(refs: bytes, files: Iterator[bytes]) -> Callable[[Handler], None]:
    """Return a server whose answers are given."""

    def behavior(handler: Handler) -> None:
        if handler.command == "GET":
            handler.say("advertisement", ADVERTISEMENT)
        elif b"command=ls-refs" in handler.body:
            handler.say("result", refs)
        else:
            handler.say("result", b"000dpackfile\n")
            with contextlib.suppress(OSError):
                for part in files:
                    handler.wfile.write(part)

    return behavior


HEAD = b"0032" + b"a" * 40 + b" HEAD\n0000"
PROGRESS = b"0009\x02abcd" * 1000
DATA = b"0405\x01" + b"a" * 1024


@pytest.mark.parametrize(
    ("refs", "files", "expected"),
    [
        (HEAD, [], "ended in the middle"),
        (HEAD, [b"0000"], "git index-pack"),
        (HEAD, [b"0009\x01PACK0000"], "git index-pack"),
        (HEAD, [b"0011\x01PACK\0\0\0\x02\xff\xff\xff\xff0000"], "4294967295 files"),
        (HEAD, [b"000c\x03goodbye0000"], "the server says 'goodbye'"),
        (HEAD, [b"000c\x04goodbye0000"], "does not speak"),
        (HEAD, itertools.repeat(PROGRESS), "more than 0.191 MB"),
        (HEAD, itertools.repeat(b"0005\x01" * 1000), "more than 0.191 MB"),
        (HEAD, itertools.repeat(DATA), "1633771873 files"),
        (b"0032" + b"A" * 40 + b" HEAD\n0000", [], "does not speak"),
        (b"0031" + b"-" * 39 + b" HEAD\n0000", [], "does not speak"),
        (b"0009HEAD\n0000", [], "does not speak"),
        (HEAD[:-4], [], "ended in the middle"),
    ],
)
def test_files_that_are_garbage_are_refused(
    setup: Setup, refs: bytes, files: list[bytes], expected: str
) -> None:
    setup.settings["limits"] = {"pack_bytes": 200_000}
    setup.server.behaviors["/a/"] = _answering(refs, iter(files))
    assert expected in setup.refused("a")


@pytest.mark.parametrize("target", ["refs/heads/--upload-pack=x", "refs/heads/a..b", "main", ""])
def test_a_branch_with_a_name_that_is_no_argument_is_not_passed_on(
    setup: Setup, repository: Repository, target: str
) -> None:
    commit = repository.git("rev-parse", "main")
    answer = line(f"{commit} HEAD symref-target:{target}") + b"0000"

    def behavior(handler: Handler) -> None:
        if b"command=ls-refs" in handler.body:
            handler.say("result", answer)
        else:
            handler.backend()

    setup.server.behaviors["/"] = behavior
    found = setup.resolved(name(repository))
    assert (found["commit"], found["ref"]) == (commit, "HEAD")


def test_a_commit_that_the_server_does_not_send_is_missed(
    setup: Setup, repository: Repository
) -> None:
    other = setup.server.repository(f"{name(repository)}-other")
    other.commit({"b": "1"})
    pack = subprocess.run(
        ["git", "-C", other.directory, "pack-objects", "--stdout", "--all", "-q"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    ).stdout
    part = f"{len(pack) + 5:04x}".encode() + b"\x01" + pack + b"0000"
    setup.server.behaviors["/a/"] = _answering(HEAD, iter([part]))
    assert "git cat-file" in setup.refused("a")


@pytest.fixture(scope="module")
def branches(git_server: GitServer) -> Repository:
    """A repository with 100,000 branches."""
    made = git_server.repository("branches")
    commit = made.commit({"a": "1"})
    lines = "".join(f"{commit} refs/heads/b{number:05d}\n" for number in range(100_000))
    (made.directory / "packed-refs").write_text(f"# pack-refs with: peeled fully-peeled\n{lines}")
    return made


@pytest.mark.parametrize("protocol", ["version=2", ""])
def test_100_000_branches_do_not_hide_one(
    setup: Setup, branches: Repository, protocol: str
) -> None:
    setup.server.behaviors["/"] = lambda handler: handler.backend(protocol)
    assert setup.resolved("branches", "b77777")["files"] == 1


def test_of_100_000_branches_some_are_shown(setup: Setup, branches: Repository) -> None:
    assert "Similar: b00" in setup.refused("branches", "b0000")


def test_too_many_branches_are_not_read(setup: Setup, branches: Repository) -> None:
    setup.settings["limits"] = ALL_INTO_ONE_MB
    assert setup.resolved("branches")["files"] == 1
    assert "the list of branches and tags has more than 1 MB" in setup.refused("branches", "c")


@pytest.fixture
def lost(repository: Repository) -> str:
    """A commit that is in the repository, and on no branch: so are those of forks on GitHub."""
    commit = repository.commit({"a": "malicious"}, "temporary")
    repository.git("update-ref", "-d", "refs/heads/temporary")
    return commit


def test_a_commit_that_is_on_no_branch_is_refused(
    setup: Setup, repository: Repository, lost: str
) -> None:
    assert "is on no branch and under no tag" in setup.refused(name(repository), lost)
    assert "no branch, tag or commit" in setup.refused(name(repository), lost[:9])


def test_a_commit_whose_branch_is_unknown_is_said_to_be_so(
    setup: Setup, repository: Repository, lost: str
) -> None:
    repository.git("config", "uploadpack.allowFilter", "false")
    assert setup.resolved(name(repository), lost)["is_reachable"] is False
    assert "expected all of its digits" in setup.refused(name(repository), lost[:9])
    setup.settings["policy"] = {"hosts": [setup.server.place], "allowed": ["git.example.org*"]}
    assert "launches chosen repositories only" in setup.refused(name(repository), lost)
    setup.server.behaviors["/"] = lambda handler: handler.backend("")
    del setup.settings["policy"]
    other = repository.commit({"a": "another"}, "temporary")
    repository.git("update-ref", "-d", "refs/heads/temporary")
    assert "not our ref" in setup.refused(name(repository), other)


def test_a_history_that_is_too_long_is_not_read(setup: Setup, repository: Repository) -> None:
    setup.settings["limits"] = {"history_bytes": 100}
    old = repository.git("rev-parse", "main~1")
    for _ in range(2):  # the second time, its files are there
        assert setup.resolved(name(repository), old)["is_reachable"] is False


def _private(handler: Handler) -> None:
    if handler.headers.get("Authorization") == "Basic YWxpY2U6Y29ycmVjdC1ob3JzZQ==":
        handler.backend()
    else:
        handler.send_response(401)
        handler.end_headers()


def test_a_private_repository_is_for_those_who_have_its_password(
    setup: Setup, repository: Repository
) -> None:
    setup.server.behaviors["/"] = _private
    assert "is private" in setup.refused(name(repository))
    found = setup.resolved(name(repository), user="alice", password=SECRET, owner=ALICE)
    assert setup.files(found)
    # Its files are there now, which is of no use to others.
    text = setup.refused(name(repository), user="bob", password=SECRET + "x", owner=BOB)
    assert "this name and token do not open it" in text
    assert SECRET not in text
    text = setup.refused(name(repository), repository.git("rev-parse", "main"))
    assert "is private" in text
    assert "say on the form that it is private" in text


def test_files_of_a_private_repository_are_one_persons_and_nobody_elses(
    setup: Setup, repository: Repository
) -> None:
    setup.server.behaviors["/"] = _private
    given = {"user": "alice", "password": SECRET}
    first = setup.resolved(name(repository), **given, owner=ALICE)["directory"]
    assert setup.resolved(name(repository), **given, owner=ALICE)["directory"] == first
    assert "unpacking" not in setup.progress, "they were fetched again"
    second = setup.resolved(name(repository), **given, owner=BOB)["directory"]
    assert "unpacking" in setup.progress
    setup.server.behaviors.clear()
    public = setup.resolved(name(repository))["directory"]
    assert "unpacking" in setup.progress
    assert len({first, second, public}) == 3
    commit = repository.git("rev-parse", "main")
    assert all(each.startswith(f"{commit}-") for each in (first, second, public))


def test_a_password_without_a_person_is_refused_and_so_is_each_where_it_is_forbidden(
    setup: Setup, repository: Repository
) -> None:
    given = {"user": "alice", "password": SECRET}
    assert "whose name and password" in setup.refused(name(repository), **given)
    assert "whose name and password" in setup.refused(name(repository), **given, owner="../x")
    setup.settings["private"] = False
    text = setup.refused(name(repository), **given, owner=ALICE)
    assert "launches no private repositories" in text
    assert SECRET not in text
    setup.server.behaviors["/"] = _private
    assert "say on the form" not in setup.refused(name(repository))
    assert all("Authorization" not in headers for *_, headers in setup.server.requests)


def test_a_password_is_not_sent_to_where_a_server_redirects(
    setup: Setup, repository: Repository
) -> None:
    setup.names.answers[OTHER_HOST] = [["127.0.0.1"]]
    places = [setup.server.place, f"{OTHER_HOST}:{setup.server.port}"]
    setup.settings["policy"] = {"hosts": places}
    setup.server.behaviors["/old/"] = lambda handler: handler.redirect(
        f"https://{places[1]}{handler.path.replace('/old/', f'/{name(repository)}/')}"
    )
    assert setup.resolved("old", user="alice", password=SECRET, owner=ALICE)["moved"]
    sent = [(headers["Host"], "Authorization" in headers) for *_, headers in setup.server.requests]
    assert {*sent} == {(places[0], True), (places[1], False)}
    setup.server.behaviors[f"/{name(repository)}/"] = _private
    text = setup.refused("old", user="alice", password=SECRET, owner=BOB)
    assert "the name and token are for another host" in text


@pytest.fixture
def waiting(setup: Setup) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A resolver in the middle of fetching, and the name of its repository."""
    made = setup.server.repository(f"waiting-{time.monotonic_ns()}")
    made.commit({f"f{number}": os.urandom(3000) for number in range(100)})

    def behavior(handler: Handler) -> None:
        if b"command=fetch" in handler.body:
            handler.say("result", b"000dpackfile\n0011\x01PACK\0\0\0\x02\0\0\0\x09")
            handler.rfile.read()
        else:
            handler.backend()

    setup.server.behaviors["/"] = behavior
    process = subprocess.Popen(
        [sys.executable, "-m", PROGRAM, *setup.arguments()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    url = setup.server.url(made.directory.name)
    request = {"repository": url, "user": "alice", "password": SECRET, "owner": ALICE}
    assert process.stdin
    process.stdin.write(json.dumps(request))
    process.stdin.close()
    process.stdin = None
    eventually(lambda: _children(process.pid), 5, "git to run", interval_s=0.01)
    yield process, made.directory.name
    process.kill()
    process.communicate()


def _children(pid: int) -> list[int]:
    found = []
    for each in process_ids():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[1] == str(pid):
                found.append(each)
    return found


def test_a_password_is_in_no_arguments_variables_and_messages(
    setup: Setup, waiting: tuple[subprocess.Popen[str], str]
) -> None:
    process, _ = waiting
    for pid in (process.pid, *_children(process.pid)):
        for file in ("cmdline", "environ"):
            shown = Path(f"/proc/{pid}/{file}").read_bytes()
            assert SECRET.encode() not in shown
            assert b"YWxpY2U6" not in shown
    process.send_signal(signal.SIGTERM)
    output = "".join(process.communicate(timeout=5))
    assert SECRET not in output
    assert "YWxpY2U6" not in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_resolver_that_is_ended_leaves_nothing_half(
    setup: Setup, waiting: tuple[subprocess.Popen[str], str], number: signal.Signals
) -> None:
    process, name = waiting
    children = _children(process.pid)
    process.send_signal(number)
    process.communicate(timeout=5)
    for child in children:
        eventually(lambda pid=child: not Path(f"/proc/{pid}/exe").exists(), 5, "git to end")  # type: ignore[misc]
    left = [*(setup.directory / "work").iterdir()]
    assert bool(left) == (number == signal.SIGKILL)
    assert [*setup.sources.iterdir()] == []
    setup.server.behaviors.clear()
    # In its unit, this directory is gone with it.
    for each in left:
        subprocess.run(["rm", "-r", each], check=True)
    assert setup.resolved(name)["files"] == 100


def test_what_a_killed_resolver_was_unpacking_is_removed_by_the_next_one(
    setup: Setup, repository: Repository
) -> None:
    partial = setup.sources / ".partial-0"
    (partial / "files").mkdir(parents=True)
    (partial / "files" / "a").write_text("half")
    setup.resolved(name(repository))
    assert not partial.exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [(os.urandom(60_000), "git index-pack"), (bytes(60_000), "has failed: File too large")],
)
def test_a_full_disk_becomes_a_sentence(
    setup: Setup, repository: Repository, content: bytes, expected: str
) -> None:
    repository.commit({"a": content, "b": "1"})
    done = subprocess.run(
        ["prlimit", "--fsize=50000", sys.executable, "-m", PROGRAM, *setup.arguments()],
        input=json.dumps({"repository": setup.server.url(name(repository))}),
        capture_output=True,
        text=True,
    )
    assert expected in json.loads(done.stdout.splitlines()[-1])["refused"]
    assert [*setup.sources.iterdir()] == []


def test_two_who_want_the_same_at_the_same_time_both_get_it(
    setup: Setup, repository: Repository
) -> None:
    arguments = setup.arguments()
    processes = []
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-m", PROGRAM, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin
        processes.append(process)
    request = json.dumps({"repository": setup.server.url(name(repository))})
    for process in processes:
        assert process.stdin
        process.stdin.write(request)
        process.stdin.close()
        process.stdin = None
    found: list[dict[str, Any]] = [
        json.loads(process.communicate(timeout=10)[0].splitlines()[-1])["resolved"]
        for process in processes
    ]
    assert found[0] == found[1]
    assert setup.files(found[0]) == {"a": "2"}


@pytest.mark.parametrize("request_", [b"", b"a b", b"-x", b"A.example.org", b"a" * 254, b"\xff"])
def test_what_is_no_name_is_not_looked_up(request_: bytes) -> None:
    assert lookup.answer(request_) == {"refusal": "expected the name of a host"}


def test_the_program_for_names_answers_with_addresses() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "littlest_hub.stacks.launch.resolver.lookup"],
        input=b"localhost",
        capture_output=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert "127.0.0.1" in found["addresses"]
    assert "127.0.0.1" in found["own"]
    assert lookup.ask("localhost", None)[0] == found["addresses"]


def test_without_the_program_for_names_nothing_is_connected_to(setup: Setup) -> None:
    setup.names = Names(setup.directory / "other", {})
    assert "has no address" in setup.refused("a")
    setup.names.place = setup.directory / "none"
    assert "cannot be looked up" in setup.refused("a")
    assert setup.server.requests == []
