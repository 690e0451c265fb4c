"""Repositories that mean well, resolved and fetched from a real server."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

from littlest_hub.stacks.launch.resolver import program
from tests.git_server import Repository
from tests.unit.stacks.launch.conftest import Setup

pytestmark = pytest.mark.needs("git")

PROGRAM = "littlest_hub.stacks.launch.resolver.program"
FILES = {"requirements.txt": "six\n", "a/b.ipynb": "{}", "100755 run": "#!/bin/sh\n"}


@pytest.fixture
def repository(setup: Setup, request: pytest.FixtureRequest) -> Repository:
    """A repository with a branch, a tag with a message, one without, and an older commit."""
    made = setup.server.repository(f"repository-{abs(hash(request.node.name))}")
    first = made.commit({"old": "1"})
    made.commit(FILES, "main", first)
    made.commit({"requirements.txt": "six==1.16.0\n"}, "topic/one")
    made.git("tag", "light", first)
    made.git("tag", "-a", "-m", "x", "v1.0", first)
    made.git("tag", "-a", "-m", "x", "v1.0-of-tag", "v1.0")
    return made


def name(repository: Repository) -> str:
    return repository.directory.name


def test_the_page_names_the_python_that_environments_get(setup: Setup) -> None:
    setup.settings = {"channels": {}}
    made = setup.server.repository("another-python")
    made.commit({"requirements.txt": "six\n", "runtime.txt": "python-3.1"})
    asked = setup.resolved("another-python")["environment"]
    assert asked["python"] == platform.python_version()
    [remark] = asked["left_out"]
    assert f"this hub has {platform.python_version()}, which is used instead" in remark["text"]


def test_the_usual_branch_becomes_a_directory_of_plain_files(
    setup: Setup, repository: Repository
) -> None:
    found = setup.resolved(name(repository))
    assert found["commit"] == repository.git("rev-parse", "main")
    assert setup.files(found) == {
        "requirements.txt": "six\n",
        "a/b.ipynb": "{}",
        "run": "#!/bin/sh\n",
    }
    run = setup.sources / found["directory"] / "files" / "run"
    assert [each.stat().st_mode & 0o777 for each in (run, run.parent / "a" / "b.ipynb")] == [
        *(0o755, 0o644)
    ]
    assert found["environment"]["kind"] == "requirements.txt"
    assert (found["ref"], found["date"], found["files"]) == (
        "refs/heads/main",
        "2023-11-14T22:13:20+00:00",
        3,
    )
    source = json.loads((setup.sources / found["directory"] / "source.json").read_text())
    assert (source["ref"], source["url"], source["commit"]) == (
        found["ref"],
        setup.server.url(name(repository)),
        found["commit"],
    )


@pytest.mark.parametrize("protocol", ["", "version=1"])
@pytest.mark.parametrize("ref", ["", "topic/one", "v1.0"])
def test_a_server_without_version_2_of_the_protocol_will_do(
    setup: Setup, repository: Repository, protocol: str, ref: str
) -> None:
    setup.server.behaviors["/"] = lambda handler: handler.backend(protocol)
    found = setup.resolved(name(repository), ref)
    assert found["commit"] == repository.git("rev-parse", f"{ref or 'main'}^{{commit}}")
    names = {"": "refs/heads/main", "topic/one": "refs/heads/topic/one", "v1.0": "refs/tags/v1.0"}
    assert found["ref"] == names[ref]


@pytest.mark.parametrize(
    ("ref", "full"),
    [
        ("topic/one", "refs/heads/topic/one"),
        ("light", "refs/tags/light"),
        ("v1.0", "refs/tags/v1.0"),
        ("v1.0-of-tag", "refs/tags/v1.0-of-tag"),
        ("refs/tags/v1.0", "refs/tags/v1.0"),
    ],
)
def test_a_branch_or_tag_becomes_its_commit(
    setup: Setup, repository: Repository, ref: str, full: str
) -> None:
    found = setup.resolved(name(repository), ref)
    assert found["commit"] == repository.git("rev-parse", f"{ref}^{{commit}}")
    assert found["ref"] == full


@pytest.mark.parametrize("digits", [40, 39, 7])
@pytest.mark.parametrize("where", ["main", "main~1"])
def test_a_commit_may_be_named_whole_or_by_its_beginning(
    setup: Setup, repository: Repository, digits: int, where: str
) -> None:
    commit = repository.git("rev-parse", where)
    found = setup.resolved(name(repository), commit[:digits])
    assert (found["commit"], found["is_reachable"]) == (commit, True)


def test_a_repository_may_name_its_objects_by_sha_256(setup: Setup) -> None:
    made = setup.server.repository("sha256", "--object-format=sha256")
    first = made.commit({"a": "1"})
    made.commit({"a": "2"}, "main", first)
    assert setup.files(setup.resolved("sha256", first)) == {"a": "1"}
    assert len(setup.resolved("sha256")["commit"]) == 64


def test_what_is_there_is_not_fetched_again(setup: Setup, repository: Repository) -> None:
    first = setup.resolved(name(repository))
    setup.server.requests.clear()
    assert setup.resolved(name(repository)) == first
    assert [each[0] for each in setup.server.requests] == ["GET", "POST"]


def test_the_same_commit_of_another_repository_is_its_own_directory(
    setup: Setup, repository: Repository
) -> None:
    first = setup.resolved(name(repository))
    other = name(repository) + "-copy"
    subprocess.run(["cp", "-r", repository.directory, setup.server.root / other], check=True)
    second = setup.resolved(other)
    assert second["commit"] == first["commit"]
    assert second["directory"] != first["directory"]


@pytest.mark.parametrize(
    ("ref", "hint"),
    [
        ("Topic/One", "Similar: topic/one"),
        ("topic/on", "Similar: topic/one"),
        ("xyz", "It has main, topic/one, light, v1.0, v1.0-of-tag"),
        ("0123456789", "It has main"),
    ],
)
def test_who_names_no_branch_is_told_which_there_are(
    setup: Setup, repository: Repository, ref: str, hint: str
) -> None:
    text = setup.refused(name(repository), ref)
    assert f"has no branch, tag or commit '{ref}'" in text
    assert hint in text


def test_a_repository_without_commits_is_empty(setup: Setup) -> None:
    setup.server.repository("empty")
    assert "is empty" in setup.refused("empty")
    setup.server.behaviors["/"] = lambda handler: handler.backend("")
    assert "is empty" in setup.refused("empty")


def test_who_names_no_branch_of_a_repository_that_chooses_none_is_asked_for_one(
    setup: Setup, repository: Repository
) -> None:
    repository.git("symbolic-ref", "HEAD", "refs/heads/gone")
    assert "chooses no branch itself; expected one\nIt has main" in setup.refused(name(repository))


def test_submodules_large_files_and_links_that_lead_out_are_left_out_and_said_so(
    setup: Setup,
) -> None:
    made = setup.server.repository("parts")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n"
    commit = made.commit(
        {
            **{"data/big.bin": pointer, "120000 data/up": "../data/big.bin", "120000 top": "."},
            **{"120000 data/out": "../../etc", "120000 abs": "/etc/passwd", "120000 in": "data/x"},
            **{"120000 data/bent": "up/../../..", "120000 data/home": ".."},
        }
    )
    tree = made.git("ls-tree", commit) + f"\n160000 commit {commit}\tmodule\n"
    made.commit_tree(made.git("mktree", "--missing", data=tree.encode()))
    found = setup.resolved("parts")
    assert setup.files(found) == {
        **{"data/big.bin": pointer, "data/up": "-> ../data/big.bin", "top": "-> ."},
        **{"in": "-> data/x", "data/home": "-> .."},
    }
    about = {each["file"]: each["text"] for each in found["left_out"]}
    assert {*about} == {"data/big.bin", "module", "abs", "data/out", "data/bent"}
    assert "Git LFS" in about["data/big.bin"]
    assert "submodule" in about["module"]
    assert "'/etc/passwd', outside" in about["abs"]


def test_attributes_filters_and_hooks_of_a_repository_do_nothing(setup: Setup) -> None:
    made = setup.server.repository("attributes")
    content = "$Id$ a\r\n"
    files = {
        "a": content,
        "b.crlf": "1\n",
        ".gitattributes": "* text ident filter=x\n*.crlf eol=crlf\na export-ignore\n",
    }
    made.commit(files)
    top = setup.sources / setup.resolved("attributes")["directory"] / "files"
    assert {each.name: each.read_bytes().decode() for each in top.iterdir()} == files


@pytest.mark.parametrize("file", ["settings.json", "no.json"])
def test_the_program_answers_in_lines(setup: Setup, repository: Repository, file: str) -> None:
    arguments = setup.arguments()
    arguments[0] = str(setup.directory / file)
    request = {"repository": setup.server.url(name(repository))}
    done = subprocess.run(
        [sys.executable, "-m", PROGRAM, *arguments],
        input=json.dumps(request),
        capture_output=True,
        text=True,
    )
    *progress, last = map(json.loads, done.stdout.splitlines())
    if file == "settings.json":
        assert progress[0] == {"progress": "looking for the repository"}
        assert last["resolved"]["commit"] == repository.git("rev-parse", "main")
    else:
        assert "expected no port" in last["refused"]
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\xff", b"[]", b'"x"', b"{}", b"[" * 8000, b"{" + b" " * 9000 + b"}"),
        *(b'{"repository": 1}', b'{"repository": null}', b'{"command": "x"}'),
        b'{"repository": "https://github.com/a/b", "ref": "--upload-pack=x"}',
        b'{"repository": "https://a:b@github.com/a/b"}',
        b'{"repository": "https://github.com/a/b", "password": "x\\r\\nHost: y"}',
        b'{"repository": "https://github.com/a/b", "user": "a:b", "password": "x"}',
        b'{"repository": "http://github.com/a/b"}',
        b'{"repository": "https://127.0.0.1/a"}',
    ],
)
def test_what_is_no_request_is_refused_and_nobody_is_asked(setup: Setup, data: bytes) -> None:
    lines: list[dict[str, object]] = []
    program.answer(setup.arguments(), data, lines.append)
    (last,) = lines
    assert last["refused"]
    assert (setup.names.asked, setup.server.requests) == ([], [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"ports": []}', "'ports' is no setting"),
        ('{"policy": {"https_only": false}}', "speaks https only"),
        ('{"policy": {"banned": "a"}}', "banned: found 'a', expected tuple"),
        ('{"networks": ["10.0.0.1/8"]}', "10.0.0.1/8"),
        ('{"limits": {"files": "1"}}', "files: found '1', expected int"),
        ('{"ca_file": "ca.pem"}', "expected an absolute path"),
    ],
)
def test_settings_that_are_wrong_are_named(setup: Setup, text: str, expected: str) -> None:
    arguments = setup.arguments()
    (setup.directory / "settings.json").write_text(text)
    lines: list[dict[str, object]] = []
    program.answer(arguments, b"{}", lines.append)
    assert expected in str(lines[-1]["refused"])
