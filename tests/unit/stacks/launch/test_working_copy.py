"""A person's copy of a repository: theirs stays theirs, whatever upstream or a signal does."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from littlest_hub.stacks.launch.server import working_copy
from littlest_hub.stacks.launch.server.own_files import OWN, ObstacleError, OwnFiles
from littlest_hub.stacks.launch.server.three_way import ABSENT, Decision, decide
from littlest_hub.stacks.launch.server.working_copy import Report
from tests.capabilities import missing

REPOSITORY = Path(__file__).parents[4]
A, B, C = ("a" * 40, "b" * 40, "c" * 40)
# Each delivery flushes its files to disk.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
BESIDE = f".upstream-{B[:12]}"
states = st.sampled_from([ABSENT, "1", "2", "3", "4"])

Tree = Mapping[str, str]


def write(directory: Path, tree: Tree) -> Path:
    """Write files; a text that begins with "-> " is a link."""
    directory.mkdir()
    for path, text in tree.items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            file.symlink_to(text[3:])
        else:
            file.write_text(text)
    return directory


def read(directory: Path) -> dict[str, str]:
    """Return files and links, without ours and reports; an empty directory is "path/": ""."""
    found = {}
    for file in sorted(directory.rglob("*")):
        path = str(file.relative_to(directory))
        if path.startswith((OWN, "launch-report")):
            continue
        if file.is_symlink():
            found[path] = f"-> {os.readlink(file)}"  # noqa: PTH115 - as it is, not normalized
        elif file.is_file():
            found[path] = file.read_text()
        elif not any(file.iterdir()):
            found[f"{path}/"] = ""
    return found


class Person:
    """A person with a home, and a server named "course"."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.home = directory, directory / "home"
        self.home.mkdir(parents=True)
        self.copy = self.home / "launch" / "course"

    def upstream(self, version: str, tree: Tree) -> Path:
        shutil.rmtree(self.directory / version, ignore_errors=True)
        return write(self.directory / version, tree)

    def deliver(self, version: str, tree: Tree) -> Report:
        source = self.upstream(version, tree)
        copy, report = working_copy.deliver(source, self.home, "course", version)
        assert copy == self.copy
        assert list((self.copy / OWN).iterdir()) == [self.copy / OWN / "manifest.json"]
        return report


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


@pytest.fixture
def in_memory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        yield Path(directory)


# --- the rules


@given(states, states, states, st.lists(states, max_size=2))
def test_what_the_person_has_made_is_never_replaced(
    mine: str, theirs: str, delivered: str, begun: list[str]
) -> None:
    decision = decide(mine, theirs, delivered, begun)
    if decision is Decision.TAKE:
        assert mine in (delivered, *begun)
    # Changes of upstream are taken, or named in the report.
    if theirs not in (mine, delivered):
        assert decision is not Decision.NOTHING
    if decision is Decision.BESIDE:
        assert theirs != ABSENT


# --- one delivery after the other


def test_the_first_time_all_files_are_copied(person: Person) -> None:
    tree = {"a.py": "1", "d/e/f.txt": "2", "d/link": "-> ./e/f.txt", "dir": "-> d"}
    source = person.upstream(A, tree)
    (source / "a.py").chmod(0o755)
    _, report = working_copy.deliver(source, person.home, "course", A)
    assert read(person.copy) == tree
    assert sorted(report.written) == sorted(tree)
    assert report.text == ""
    assert (person.copy / "a.py").stat().st_mode & 0o100
    assert not (person.copy / "d/e/f.txt").stat().st_mode & 0o100


def test_the_same_again_touches_nothing(person: Person) -> None:
    person.deliver(A, {"a": "1", "b": "1"})
    (person.copy / "a").write_text("mine")
    (person.copy / "b").unlink()
    before = {file: file.lstat() for file in person.copy.rglob("*")}
    assert person.deliver(A, {"a": "1", "b": "1"}).text == ""
    assert {file: file.lstat().st_mtime_ns for file in person.copy.rglob("*")} == {
        file: status.st_mtime_ns for file, status in before.items()
    }


def test_a_newer_commit_updates_what_the_person_has_not_changed(person: Person) -> None:
    old = {"same": "1", "new": "1", "gone": "1", "d/gone": "1", "link": "-> same", "mine": "1"}
    person.deliver(A, old)
    (person.copy / "mine").write_text("mine")
    (person.copy / "notes").write_text("mine")
    report = person.deliver(
        B, {"same": "1", "new": "2", "link": "-> new", "mine": "1", "more/x": "2"}
    )
    assert report.text == ""
    assert (len(report.written), len(report.removed)) == (3, 2)
    assert read(person.copy) == {
        **{"same": "1", "new": "2", "link": "-> new", "more/x": "2"},
        **{"mine": "mine", "notes": "mine"},
    }


def test_what_both_have_changed_stays_and_upstreams_is_beside_it(person: Person) -> None:
    person.deliver(A, {"d/a": "1", "removed": "1", "deleted": "1"})
    (person.copy / "d/a").write_text("mine")
    (person.copy / "removed").write_text("mine")
    (person.copy / "deleted").unlink()
    (person.copy / "added").write_text("mine")
    report = person.deliver(B, {"d/a": "2", "deleted": "2", "added": "2"})
    assert read(person.copy) == {
        **{"d/a": "mine", f"d/a{BESIDE}": "2", "removed": "mine"},
        **{f"deleted{BESIDE}": "2", "added": "mine", f"added{BESIDE}": "2"},
    }
    text = (person.copy / f"launch-report-{B[:12]}.md").read_text()
    assert text == report.text
    for path in ("d/a", "added", "deleted"):
        assert f"- {path}: {path}{BESIDE}\n" in text
    assert "- removed\n" in text


def test_nothing_is_written_over_a_file_that_has_the_name_beside(person: Person) -> None:
    person.deliver(A, {"a": "1"})
    for name in ("a", f"a{BESIDE}", f"launch-report-{B[:12]}.md"):
        (person.copy / name).write_text("mine")
    person.deliver(B, {"a": "2"})
    assert read(person.copy) == {"a": "mine", f"a{BESIDE}": "mine", f"a{BESIDE}.2": "2"}
    assert (person.copy / f"launch-report-{B[:12]}.md").read_text() == "mine"
    assert f"a{BESIDE}.2" in (person.copy / f"launch-report-{B[:12]}-2.md").read_text()


def test_without_the_files_a_copy_stays_and_the_person_is_told(person: Person) -> None:
    person.deliver(A, {"a": "1"})
    missing = person.directory / "missing"
    assert working_copy.deliver(missing, person.home, "course", A)[1].text == ""
    report = working_copy.deliver(missing, person.home, "course", B)[1]
    assert "Launch the repository again" in report.text
    assert read(person.copy) == {"a": "1"}
    assert person.deliver(B, {"a": "2"}).text == ""
    assert read(person.copy) == {"a": "2"}


def test_a_file_becomes_a_directory_and_the_other_way_round(person: Person) -> None:
    person.deliver(A, {"a": "1", "b/c": "1", "link": "-> b"})
    new = {"a/x": "2", "b": "2", "link/y": "2"}
    assert person.deliver(B, new).text == ""
    assert read(person.copy) == new


def test_a_directory_in_the_place_of_a_file_stays(person: Person) -> None:
    person.deliver(A, {"a": "1", "b/c": "1"})
    (person.copy / "a").unlink()
    (person.copy / "a").mkdir()
    (person.copy / "a" / "mine").write_text("mine")
    shutil.rmtree(person.copy / "b")
    (person.copy / "b").write_text("mine")
    person.deliver(B, {"a": "2", "b/c": "2", "b/d": "2"})
    assert read(person.copy) == {
        **{"a/mine": "mine", f"a{BESIDE}": "2"},
        **{"b": "mine", f"b{BESIDE}/c": "2", f"b{BESIDE}/d": "2"},
    }


def test_without_a_manifest_what_differs_is_the_persons(person: Person) -> None:
    for damage in (
        "",
        "[",
        '{"version": 1}',
        '{"delivered": {"a": 1}, "begun": [], "version": ""}',
    ):
        person.deliver(A, {"a": "1", "b": "1"})
        (person.copy / OWN / "manifest.json").write_text(damage)
        person.deliver(B, {"a": "1", "b": "2"})
        assert read(person.copy) == {"a": "1", "b": "1", f"b{BESIDE}": "2"}
        shutil.rmtree(person.copy)


# --- any order of what happens


PATHS = ("a", "b", "d/e", "d/f", "d")
trees = st.dictionaries(st.sampled_from(PATHS[:-1]), st.sampled_from("123")).flatmap(
    lambda tree: (
        st.just(tree)
        if any(path.startswith("d/") for path in tree)
        else st.sampled_from([tree, {**tree, "d": "1"}, {**tree, "d": "2"}])
    )
)


class Histories(RuleBasedStateMachine):
    """Commits and changes of a person, in any order; texts of the person's are never upstream's."""

    @initialize()
    def begin(self) -> None:
        self.person = Person(Path(tempfile.mkdtemp(dir=MEMORY)))
        self.number = 0
        self.deliver({"a": "1", "d/e": "1"})

    @rule(path=st.sampled_from(PATHS))
    def change(self, path: str) -> None:
        file = self.person.copy / path
        if file.is_dir() or (file.parent != self.person.copy and file.parent.is_file()):
            return
        self.number += 1
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"mine {self.number}")

    @rule(path=st.sampled_from(PATHS))
    def delete(self, path: str) -> None:
        file = self.person.copy / path
        if file.is_file():
            file.unlink()

    @rule(tree=trees)
    def deliver(self, tree: Tree) -> None:
        before = read(self.person.copy) if self.person.copy.exists() else {}
        mine = {path: text for path, text in before.items() if text.startswith("mine")}
        self.number += 1
        report = self.person.deliver(f"{self.number:040x}", tree)
        after = read(self.person.copy)
        assert {path: after.get(path) for path in mine} == mine
        assert report.failed == []
        # Each file of upstream's is there, or the person has changed or deleted it.
        told = {path for path, _ in report.beside}
        for path, text in tree.items():
            if after.get(path) != text and path not in told:
                assert self.tree.get(path) == text
        for path, place in report.beside:
            assert after[place] == tree[path]
        self.tree = tree

    tree: Tree = {}

    def teardown(self) -> None:
        if hasattr(self, "person"):
            shutil.rmtree(self.person.directory)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)


# --- killed, and a full disk

_CHANGES = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.symlink"}


def killed(person: Person, source: Path, number: int) -> bool:
    """Kill a delivery at one of its system calls; return whether it had so many."""
    child = os.fork()
    if child == 0:
        calls = itertools.count(1)

        def kill(event: str, _: object) -> None:
            if event in _CHANGES and next(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(kill)
            working_copy.deliver(source, person.home, "course", source.name)
        finally:
            os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def test_a_killed_delivery_leaves_old_or_new_files_and_goes_on(in_memory: Path) -> None:
    old = {"a": "1", "gone/x": "1", "b": "1", "c": "1", "link": "-> a"}
    new = {"a": "2", "gone": "2", "b": "2", "c": "2", "link": "-> b", "d/new": "2"}
    newest = {**new, "a": "3", "d/new": "3"}
    number, is_killed = 0, True
    while is_killed:
        number += 1
        person = Person(in_memory / str(number))
        person.deliver(A, old)
        (person.copy / "b").write_text("mine")
        (person.copy / "c").unlink()
        is_killed = killed(person, person.upstream(B, new), number)
        for path, text in read(person.copy).items():
            assert text in (old.get(path), new.get(path), "mine", "2", "")
        # Half of them go on with the same commit, half of them with a later one.
        version, tree = (B, new) if number % 2 else (C, newest)
        report = person.deliver(version, tree)
        beside = f".upstream-{version[:12]}"
        found = {p: t for p, t in read(person.copy).items() if ".upstream-" not in p}
        expected = {path: text for path, text in tree.items() if path != "c"}
        assert found == {**expected, "b": "mine"}
        if is_killed or version == C:
            assert {path for path, _ in report.beside} <= {"b", "c"}
        if is_killed and version == B:
            assert (person.copy / f"b{beside}").read_text() == "2"
    assert number > 50


def test_a_first_delivery_that_was_killed_goes_on(in_memory: Path) -> None:
    tree = {f"d{number}/file": str(number) for number in range(3)}
    number, is_killed = 0, True
    while is_killed:
        number += 1
        person = Person(in_memory / str(number))
        is_killed = killed(person, person.upstream(A, tree), number)
        assert person.deliver(A, tree).text == ""
        assert read(person.copy) == tree
    assert number > 15


_DELIVERY = """
import sys
from pathlib import Path
from littlest_hub.stacks.launch.server import working_copy
_, report = working_copy.deliver(Path(sys.argv[1]), Path(sys.argv[2]), "course", sys.argv[3])
print(report.text)
"""
_ON_A_SMALL_DISK = """
mount -t tmpfs -o size=256k none "$1/home" && cd "$4" &&
"$2" -c "$3" "$1/a" "$1/home" a && "$2" -c "$3" "$1/b" "$1/home" b && cp -a "$1/home" "$1/full" &&
mount -o remount,size=2M "$1/home" && "$2" -c "$3" "$1/b" "$1/home" b && cp -a "$1/home" "$1/later"
"""


def test_on_a_full_disk_files_stay_whole_and_the_next_start_goes_on(person: Person) -> None:
    old = dict.fromkeys("vwxyz", "1" * 20000)
    new = dict.fromkeys("vwxyz", "2" * 60000)
    person.upstream("a", old)
    person.upstream("b", new)
    as_root = ["unshare", "--user", "--map-root-user", "--mount"]
    probe = subprocess.run([*as_root, "true"], check=False, capture_output=True, text=True)
    if probe.returncode:
        missing(f"no user namespaces: {probe.stderr}")
    words = ["sh", str(person.directory), sys.executable, _DELIVERY, str(REPOSITORY)]
    command = [*as_root, "sh", "-c", _ON_A_SMALL_DISK, *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "No space left on device" in done.stdout
    full = read(person.directory / "full" / "launch" / "course")
    assert full.keys() == old.keys()
    assert {*full.values()} <= {"1" * 20000, "2" * 60000}
    assert "1" * 20000 in full.values()
    assert read(person.directory / "later" / "launch" / "course") == new


# --- a home belongs to its person, or to somebody who works in their name


def test_links_do_not_lead_a_delivery_elsewhere(person: Person) -> None:
    victim = person.directory / "victim"
    write(victim, {"a": "victim", "manifest.json": "victim"})
    source = person.upstream(A, {"a": "1", "d/a": "1"})
    for place in ("launch", "launch/course", f"launch/course/{OWN}"):
        link = person.home / place
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(victim)
        with pytest.raises(ObstacleError):
            working_copy.deliver(source, person.home, "course", A)
        link.unlink()
    (person.copy / "d").symlink_to(victim)
    (person.copy / "a").symlink_to(victim / "a")
    person.deliver(A, {"a": "1", "d/a": "1"})
    beside = f".upstream-{A[:12]}"
    assert (person.copy / f"a{beside}").read_text() == "1"
    assert (person.copy / f"d{beside}" / "a").read_text() == "1"
    assert (person.copy / "d").is_symlink()
    assert read(victim) == {"a": "victim", "manifest.json": "victim"}


def test_what_the_resolver_should_have_left_out_is_left_out(person: Person) -> None:
    bad = {
        ".git/config": "x",
        "d/.GIT/config": "x",
        f"{OWN}/manifest.json": "x",
        "out": "-> ../../.ssh",
        "root": "-> /etc",
        "line\nbreak": "x",
    }
    report = person.deliver(A, {"good": "1", **bad})
    assert read(person.copy) == {"good": "1"}
    assert len(report.left_out) == len(bad)
    assert "\\n" in report.text
    assert person.deliver(A, {"good": "1", **bad}).written == []


def test_a_file_that_changes_meanwhile_is_left_alone(person: Person) -> None:
    person.deliver(A, {"a": "1"})
    new = person.upstream(B, {"a": "2"}) / "a"
    copy = OwnFiles(person.home, "launch", "course")
    seen = copy.seen("a")
    (person.copy / "a").write_text("mine")
    assert not copy.write("a", new, seen)
    assert not copy.remove("a", seen)
    absent = copy.seen("b")
    (person.copy / "b").write_text("mine")
    assert not copy.write("b", new, absent)
    copy.close()
    assert read(person.copy) == {"a": "mine", "b": "mine"}


def test_two_servers_do_not_update_one_copy_at_the_same_time(person: Person) -> None:
    first = OwnFiles(person.home, "launch", "course")
    with pytest.raises(BlockingIOError, match="another server"):
        person.deliver(A, {"a": "1"})
    first.close()
    assert person.deliver(A, {"a": "1"}).written == ["a"]


def test_a_file_that_cannot_be_written_is_tried_again(person: Person) -> None:
    person.deliver(A, {"d/a": "1", "e": "1"})
    source = person.upstream(B, {"d/a": "2", "e": "2"})
    (person.copy / "d").chmod(0o500)
    # Root without rights over files.
    command = [
        "unshare",
        "--user",
        sys.executable,
        "-c",
        _DELIVERY,
        *map(str, (source, person.home, B)),
    ]
    done = subprocess.run(command, check=False, cwd=REPOSITORY, capture_output=True, text=True)
    if "unshare failed" in done.stderr:
        missing(f"no user namespaces: {done.stderr}")
    assert "d/a: Permission denied" in done.stdout, done.stderr
    (person.copy / "d").chmod(0o700)
    assert read(person.copy) == {"d/a": "1", "e": "2"}
    assert person.deliver(B, {"d/a": "2", "e": "2"}).text == ""
    assert read(person.copy) == {"d/a": "2", "e": "2"}


def test_the_manifest_says_what_was_delivered(person: Person) -> None:
    person.deliver(A, {"a": "1"})
    found = json.loads((person.copy / OWN / "manifest.json").read_text())
    digest = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    assert found == {"version": A, "delivered": {"a": digest}, "begun": []}
