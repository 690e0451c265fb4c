"""Repositories that are malicious, or too large: nothing of them gets out of their directory."""

from __future__ import annotations

import hashlib
import subprocess
import time
import zlib
from pathlib import Path

import pytest

from tests.git_server import Handler, Repository
from tests.unit.stacks.launch.conftest import Setup

pytestmark = pytest.mark.needs("git")

FILE, LINK, DIRECTORY = "100644", "120000", "40000"
_COMMIT, _TREE, _BLOB, _DELTA = 1, 2, 3, 7
"""Types of objects in a pack (gitformat-pack)."""


@pytest.fixture
def repository(setup: Setup, request: pytest.FixtureRequest) -> Repository:
    return setup.server.repository(f"repository-{abs(hash(request.node.nodeid))}")


def name(repository: Repository) -> str:
    return repository.directory.name


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        *((FILE, each) for each in ("..", ".", ".git", ".GIT", "git~1", ".g\u200cit", "")),
        *((FILE, each) for each in ("a/b", "../escaped", "/tmp/escaped")),
        *((DIRECTORY, each) for each in ("..", ".gIt", ".git\u200c", "/tmp/escaped")),
    ],
)
def test_a_name_with_which_nobody_means_well_is_refused(
    setup: Setup, repository: Repository, kind: str, path: str
) -> None:
    content = repository.blob(b"x")
    if kind == DIRECTORY:
        content = repository.tree([(FILE, b"config", content)])
    repository.commit_tree(repository.tree([(kind, path.encode(), content)]))
    assert setup.refused(name(repository))
    assert not Path("/tmp/escaped").exists()


@pytest.mark.parametrize(
    "path",
    [
        *(
            b"new\nline",
            b"tab\there",
            b"esc\x1b[31m",
            b"back\\slash",
            b"..\\..\\up",
            b"no-utf8\xff",
        ),
        *("right-to-left\u202e".encode(), b"x" * 256, b"\x7f", "\u2028".encode()),
    ],
)
def test_a_name_that_no_one_should_type_is_left_out_and_shown_without_harm(
    setup: Setup, repository: Repository, path: bytes
) -> None:
    content = repository.blob(b"x")
    entries = sorted([(FILE, path, content), (FILE, b"good", content)], key=lambda each: each[1])
    repository.commit_tree(repository.tree(entries))
    found = setup.resolved(name(repository))
    assert setup.files(found) == {"good": "x"}
    (remark,) = found["left_out"]
    assert remark["file"].isprintable()
    assert len(remark["file"]) <= 80


def test_a_path_that_is_too_long_is_left_out(setup: Setup, repository: Repository) -> None:
    repository.commit({"/".join(["d" * 50] * 10): "x", "a": "x"})
    found = setup.resolved(name(repository))
    assert setup.files(found) == {"a": "x"}
    assert "more than 500 characters" in found["left_out"][0]["text"]


def test_names_that_differ_in_case_are_two_files(setup: Setup, repository: Repository) -> None:
    repository.commit({"a": "1", "A": "2", "B/c": "3", "b/c": "4"})
    assert setup.files(setup.resolved(name(repository))) == {
        **{"a": "1", "A": "2", "B/c": "3", "b/c": "4"}
    }


def test_nothing_is_written_through_a_link(setup: Setup, repository: Repository) -> None:
    outside = setup.directory / "outside"
    outside.mkdir()
    link = repository.blob(str(outside).encode())
    inner = repository.tree([(FILE, b"x", repository.blob(b"escaped"))])
    repository.commit_tree(repository.tree([(LINK, b"a", link), (DIRECTORY, b"a", inner)]))
    assert "duplicateEntries" in setup.refused(name(repository))
    assert [*outside.iterdir()] == []


def test_links_through_links_stay_inside(setup: Setup, repository: Repository) -> None:
    repository.commit(
        {
            **{"120000 d/e/l1": "../../x", "120000 l2": "d/e/l1/../../..", "x/f": "1"},
            **{"120000 l3": "l4", "120000 l4": "l3", "120000 l5": "d/../..", "120000 l6": ""},
            **{"120000 l7": "a\nb", "120000 l8": "x" * 2000, "120000 l9": "//etc/passwd"},
            "120000 d/..hidden": "../..hidden",
        }
    )
    found = setup.resolved(name(repository))
    assert setup.files(found) == {
        **{"d/..hidden": "-> ../..hidden", "d/e/l1": "-> ../../x", "l3": "-> l4", "l4": "-> l3"},
        "x/f": "1",
    }
    top = setup.sources / found["directory"] / "files"
    for link in (top / "d/e/l1", top / "d/..hidden"):
        assert link.resolve().is_relative_to(top)


def test_a_link_is_not_read_as_a_file_for_the_environment(
    setup: Setup, repository: Repository
) -> None:
    repository.commit({"120000 requirements.txt": "secret", "secret": "six\n"})
    assert setup.resolved(name(repository))["environment"]["kind"] == ""


def test_submodules_that_attack_git_are_refused(setup: Setup, repository: Repository) -> None:
    repository.commit({".gitmodules": '[submodule "a"]\n\tpath = a\n\turl = --upload-pack=x\n'})
    assert "gitmodules" in setup.refused(name(repository))


def test_a_branch_that_is_no_commit_is_refused(setup: Setup, repository: Repository) -> None:
    repository.commit({"a": "1"})
    repository.git("tag", "tree", "main^{tree}")
    repository.git("tag", "file", "main:a")
    assert "no commit, but a tree" in setup.refused(name(repository), "tree")
    assert "no commit, but a blob" in setup.refused(name(repository), "file")


def test_a_commit_of_the_year_100_000_has_no_date(setup: Setup, repository: Repository) -> None:
    tree = repository.tree([(FILE, b"a", repository.blob(b"x"))])
    who = "a <a@example.org> 3093527980800 +0000"
    text = f"tree {tree}\nauthor {who}\ncommitter {who}\n\nx\n"
    commit = repository.git("hash-object", "-t", "commit", "-w", "--stdin", data=text.encode())
    repository.git("update-ref", "refs/heads/main", commit)
    assert setup.resolved(name(repository))["date"] == ""


def test_too_many_files_are_not_unpacked(setup: Setup, repository: Repository) -> None:
    setup.settings["limits"] = {"files": 10}
    repository.commit({f"f{number}": "1" for number in range(11)})
    assert "more than 10 files" in setup.refused(name(repository))
    setup.settings["limits"] = {"files": 11}
    assert setup.resolved(name(repository))["files"] == 11


def test_a_file_that_is_too_large_is_not_unpacked(setup: Setup, repository: Repository) -> None:
    setup.settings["limits"] = {"files_bytes": 1 << 20}
    repository.commit({"big": bytes(1 << 20)})
    assert setup.resolved(name(repository))["size_bytes"] == 1 << 20
    repository.commit({"big": bytes((1 << 20) + 1)})
    assert "more than 1 MB" in setup.refused(name(repository))


def test_a_pack_that_is_too_large_is_not_read_to_its_end(
    setup: Setup, repository: Repository
) -> None:
    setup.settings["limits"] = {"pack_bytes": 100_000}
    noise = b"".join(hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(10_000))
    repository.commit({"noise": noise})
    assert "more than 0.0954 MB" in setup.refused(name(repository))


def test_trees_that_contain_each_other_are_not_unpacked(
    setup: Setup, repository: Repository
) -> None:
    """A "git bomb": ten objects that are 10,000,000,000 files."""
    entry, kind = repository.blob(b"x"), FILE
    for _ in range(10):
        entry = repository.tree([(kind, b"d%d" % number, entry) for number in range(10)])
        kind = DIRECTORY
    repository.commit_tree(entry)
    assert "more than 20000 files" in setup.refused(name(repository))


def test_few_objects_that_are_many_directories_are_not_unpacked(
    setup: Setup, repository: Repository
) -> None:
    entry = repository.tree([(FILE, b"a", repository.blob(b"x"))])
    for number in range(20):
        names = [b"a", b"b"] if number < 4 else [b"a"]
        entry = repository.tree([(DIRECTORY, each, entry) for each in names])
    repository.commit_tree(entry)
    setup.settings["limits"] = {"files": 20}
    assert "more than 20 directories" in setup.refused(name(repository))


def test_directories_without_files_that_contain_each_other_take_no_longer_than_the_limit(
    setup: Setup, repository: Repository
) -> None:
    entry = repository.tree([])
    for _ in range(10):
        entry = repository.tree([(DIRECTORY, b"d%d" % number, entry) for number in range(10)])
    repository.commit_tree(entry)
    setup.settings["limits"] = {"seconds": 0.8}
    began = time.monotonic()
    assert "took too long" in setup.refused(name(repository))
    assert time.monotonic() - began < 3


def test_a_pack_that_unpacks_to_much_more_is_not_unpacked(
    setup: Setup, repository: Repository
) -> None:
    """6 MB of zeros in 6 KB."""
    setup.settings["limits"] = {"pack_bytes": 100_000, "files_bytes": 4 << 20}
    repository.commit({"zeros": bytes(6 << 20)})
    assert "more than 4 MB" in setup.refused(name(repository))


def _pack(*objects: tuple[int, bytes, bytes]) -> bytes:
    """Return a pack of objects: a type, what stands before the content, and the content."""
    data = b"PACK" + (2).to_bytes(4, "big") + len(objects).to_bytes(4, "big")
    for kind, before, content in objects:
        size = len(content)
        first, size = kind << 4 | size & 15, size >> 4
        while size:
            data += bytes([first | 128])
            first, size = size & 127, size >> 7
        data += bytes([first]) + before + zlib.compress(content)
    return data + hashlib.sha1(data).digest()


def _id(kind: str, content: bytes) -> bytes:
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content).digest()


def _varint(number: int) -> bytes:
    data = b""
    while number > 127:
        data += bytes([number & 127 | 128])
        number >>= 7
    return data + bytes([number])


def _copying(base_bytes: int, times: int) -> bytes:
    """Return a delta that copies its base again and again."""
    copy = bytes([0x80 | 0x70, *base_bytes.to_bytes(3, "little")])
    return _varint(base_bytes) + _varint(base_bytes * times) + copy * times


def test_a_chain_of_deltas_that_grows_without_end_is_refused(
    setup: Setup, repository: Repository
) -> None:
    """Each object is 200 times its predecessor: a pack of 2 KB asks for 12 GB."""
    blob = bytes(300)
    inner = bytes(60_000)
    first = _id("blob", blob)
    second = _id("blob", inner)
    third_bytes = 60_000 * 200
    third = _id("blob", bytes(third_bytes))
    tree = b"100644 a\0" + first
    who = b"a <a@example.org> 1 +0000"
    commit = b"tree " + _id("tree", tree).hex().encode()
    commit += b"\nauthor " + who + b"\ncommitter " + who + b"\n\nx\n"
    pack = _pack(
        (_COMMIT, b"", commit),
        (_TREE, b"", tree),
        (_BLOB, b"", blob),
        (_DELTA, first, _copying(len(blob), 200)),
        (_DELTA, second, _copying(len(inner), 200)),
        (_DELTA, third, _copying(third_bytes, 1000)),
    )
    name_ = _id("commit", commit).hex().encode()

    def behavior(handler: Handler) -> None:
        if handler.command == "GET":
            handler.say("advertisement", b"000eversion 2\n000cls-refs\n0000")
        elif b"command=ls-refs" in handler.body:
            handler.say("result", b"0032" + name_ + b" HEAD\n0000")
        else:
            part = f"{len(pack) + 5:04x}".encode() + b"\x01" + pack
            handler.say("result", b"000dpackfile\n" + part + b"0000")

    setup.server.behaviors["/bomb/"] = behavior
    text = setup.refused("bomb")
    assert "memory" in text
    pack = _pack((_COMMIT, b"", commit), (_TREE, b"", tree), (_BLOB, b"", blob))
    assert setup.resolved("bomb")["files"] == 1


def test_no_program_of_a_repository_or_of_the_machine_runs(
    setup: Setup, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = setup.directory / "home"
    home.mkdir()
    ran = setup.directory / "ran"
    script = setup.directory / "script"
    script.write_text(f"#!/bin/sh\ntouch {ran}\n")
    script.chmod(0o755)
    (home / ".gitconfig").write_text(
        f'[core]\n\thooksPath = {home}\n\tfsmonitor = {script}\n[filter "x"]\n\tsmudge = {script}\n'
        f"\tprocess = {script}\n\trequired = true\n[alias]\n\tindex-pack = !{script}\n"
    )
    for hook in ("post-checkout", "reference-transaction", "post-index-change"):
        subprocess.run(["cp", script, home / hook], check=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(script))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", str(script))
    monkeypatch.setenv("GIT_ALTERNATE_OBJECT_DIRECTORIES", str(home))
    repository.commit({".gitattributes": "* filter=x\n", "a": "1", "postBuild": script.read_text()})
    found = setup.resolved(name(repository))
    assert [each["file"] for each in found["environment"]["code"]] == ["postBuild"]
    assert not ran.exists()
