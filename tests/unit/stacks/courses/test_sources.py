"""The files of a course: addresses of repositories, what is taken from one, archives."""

import gzip
import io
import json
import os
import sqlite3
import tarfile
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses.course import Student
from littlest_hub.stacks.courses.sources import archive, transfer
from littlest_hub.stacks.courses.sources.fetching import FILES_BYTES, chosen
from littlest_hub.stacks.courses.sources.repository import checked, in_course
from littlest_hub.system.git import LINK, MODULE, Entry

FILE = 0o100644


@pytest.mark.parametrize(
    "url", ["https://example.org/a/b.git", "https://git.example.org:8443/~me/course"]
)
def test_an_https_address_is_accepted(url: str) -> None:
    assert checked(url, "2026/spring").url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/a.git",
        "ssh://example.org/a.git",
        "git@example.org:a/b.git",
        "file:///etc",
        "ext::sh -c id",
        "--upload-pack=id",
        "https://",
        "https://example.org",
        "https://example.org/a b",
        "https://example.org/a\nb",
        "https://example.org:x/a",
        "https://example.org/ü",
        "https://example.org/" + "a" * 500,
    ],
)
def test_what_is_no_plain_https_address_is_refused(url: str) -> None:
    with pytest.raises(LittlestHubError, match="is no address of a repository"):
        checked(url)


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(LittlestHubError) as refused:
        checked("https://me:secret@example.org/a.git")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("branch", ["-x", "a..b", "a b", "a.lock", "$(id)", "a" * 201])
def test_a_branch_that_is_none_is_refused(branch: str) -> None:
    with pytest.raises(LittlestHubError, match="is no branch"):
        checked("https://example.org/a.git", branch)


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "/etc/passwd", ".git/config", "a/.GIT/x", ""]
)
def test_a_path_that_leaves_the_course_or_is_git_s_own_is_not_in_it(path: str) -> None:
    assert not in_course(path)


def entry(path: str, mode: int = FILE, size_bytes: int = 1) -> Entry:
    return Entry(mode, "0" * 40, size_bytes, path.encode())


def test_the_directory_source_of_a_repository_is_taken_or_all_of_it() -> None:
    wanted, _ = chosen([entry("README.md"), entry("source/ps1/work.ipynb")])
    assert [*wanted] == ["ps1/work.ipynb"]
    wanted, _ = chosen([entry("README.md"), entry("ps1/work.ipynb")])
    assert [*wanted] == ["README.md", "ps1/work.ipynb"]


def test_links_and_submodules_of_a_repository_are_left_out() -> None:
    wanted, left_out = chosen([entry("a"), entry("b", LINK), entry("c", MODULE, 0)])
    assert [*wanted] == ["a"]
    assert left_out == ["b is left out: it is a link", "c is left out: it is a submodule"]


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([], "has no files"),
        ([entry("a", LINK)], "has no files"),
        ([entry("../x")], "not safe"),
        ([entry(".git/hooks/post-checkout")], "not safe"),
        ([entry("a", size_bytes=FILES_BYTES), entry("b")], "expected at most 1024 MB"),
        ([entry(str(number)) for number in range(20_001)], "more than 20000 files"),
    ],
)
def test_a_repository_that_is_empty_too_large_or_malicious_is_refused(
    entries: list[Entry], why: str
) -> None:
    with pytest.raises(LittlestHubError, match=why):
        chosen(entries)


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a course, in which its grader's programs run."""
    directory = tmp_path / "ps131"
    for name in ("source/ps1", "submitted/bob/ps1"):
        (directory / name).mkdir(parents=True)
        (directory / name / "work.ipynb").write_text(name)
    monkeypatch.chdir(directory)
    return directory


def test_sources_are_packed_and_unpacked_without_links_and_submissions(
    course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (course / "source/ps1/stolen").symlink_to("/etc/passwd")
    os.link(course / "source/ps1/work.ipynb", course / "source/ps1/same.ipynb")
    os.mkfifo(course / "source/pipe")
    packed = io.BytesIO()
    archive.pack_sources(packed)
    target = tmp_path / "new"
    (target / "source").mkdir(parents=True)
    monkeypatch.chdir(target)
    archive.unpack_sources(io.BytesIO(packed.getvalue()))
    files = {str(each.relative_to(target)) for each in target.rglob("*") if not each.is_dir()}
    assert files == {"source/ps1/work.ipynb", "source/ps1/same.ipynb"}
    assert (target / "source/ps1/same.ipynb").read_text() == "source/ps1"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("source/../../x", tarfile.REGTYPE),
        ("/etc/x", tarfile.REGTYPE),
        ("nbgrader_config.py", tarfile.REGTYPE),
        ("source/link", tarfile.SYMTYPE),
        ("source/hard", tarfile.LNKTYPE),
        ("source/device", tarfile.CHRTYPE),
    ],
)
def test_an_archive_with_anything_but_sources_is_refused(
    course: Path, name: str, kind: bytes
) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w|") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "source/ps1/work.ipynb"
        tar.addfile(info)
    with pytest.raises(LittlestHubError, match="cannot be part of a course"):
        archive.unpack_sources(io.BytesIO(stream.getvalue()))


def test_a_course_without_sources_is_not_copied(course: Path) -> None:
    (course / "source/ps1/work.ipynb").unlink()
    with pytest.raises(LittlestHubError, match="no sources"):
        archive.pack_sources(io.BytesIO())


def test_an_export_has_sources_submissions_and_the_record_and_names_nobody_of_the_machine(
    course: Path,
) -> None:
    stream = io.BytesIO()
    archive.export(stream, "ps131", json.dumps({"name": "ps131"}).encode(), EXCHANGE)
    with tarfile.open(fileobj=io.BytesIO(stream.getvalue())) as tar:
        members = {each.name: each for each in tar}
        record = tar.extractfile("ps131/course.json")
        assert record
        assert json.load(record) == {"name": "ps131"}
    assert "ps131/source/ps1/work.ipynb" in members
    assert "ps131/submitted/bob/ps1/work.ipynb" in members
    assert {(each.uid, each.uname, each.mode & 0o77) for each in members.values()} == {(0, "", 0)}


def test_the_copy_of_a_gradebook_is_consistent_while_it_is_written_to(course: Path) -> None:
    file = course / "gradebook.db"
    with sqlite3.connect(file) as book:
        book.execute("CREATE TABLE grade (score)")
        book.execute("INSERT INTO grade VALUES (3)")
    book.execute("INSERT INTO grade VALUES (4)")  # not committed
    with archive.consistent_copy(file) as copy, sqlite3.connect(copy) as read:
        assert read.execute("SELECT score FROM grade").fetchall() == [(3,)]
    book.close()


EXCHANGE = Path("exchange-of-nobody")


def exported(exchange: Path = EXCHANGE, **record: object) -> bytes:
    """Return an export of the course in which the test runs."""
    people: dict[str, object] = {"students": [], "former": [], "instructors": ["alice"]}
    stream = io.BytesIO()
    text = json.dumps({"name": "ps131", "title": "Physics", **people, **record})
    archive.export(stream, "ps131", text.encode(), exchange)
    return stream.getvalue()


def test_an_export_is_read_again_without_what_it_says_about_grades(
    course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (course / "nbgrader_config.py").write_text("c = get_config()")
    (course / "extensions.csv").write_text("ps1,bob,2d")
    data = exported()
    target = tmp_path / "new"
    (target / "source").mkdir(parents=True)
    monkeypatch.chdir(target)
    archive.restore(io.BytesIO(data), "ps131", EXCHANGE)
    files = {str(each.relative_to(target)) for each in target.rglob("*") if each.is_file()}
    assert files == {
        "source/ps1/work.ipynb",
        "submitted/bob/ps1/work.ipynb",
        "nbgrader_config.py",
        "extensions.csv",
    }


def test_students_see_again_what_was_handed_out_before_an_export(
    course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = tmp_path / "exchange", tmp_path / "other"
    (before / "outbound" / "ps1" / "data").mkdir(parents=True)
    (before / "outbound" / "ps1" / "data" / "a.csv").write_text("1")
    for name in ("feedback", "inbound"):
        (before / name).mkdir()
        (before / name / "page.html").write_text("seen by one")
    for name in ("outbound", "feedback", "inbound"):
        (after / name).mkdir(mode=0o711, parents=True)
    data = exported(before)
    target = tmp_path / "new"
    target.mkdir()
    monkeypatch.chdir(target)
    umask = os.umask(0o077)
    try:
        archive.restore(io.BytesIO(data), "ps131", after)
    finally:
        os.umask(umask)
    found = {
        str(each.relative_to(after)): oct(each.stat().st_mode & 0o777) for each in after.rglob("*")
    }
    assert found == {
        **dict.fromkeys(("outbound", "feedback", "inbound"), "0o711"),
        **dict.fromkeys(("outbound/ps1", "outbound/ps1/data"), "0o755"),
        **dict.fromkeys(("outbound/ps1/data/a.csv", "feedback/page.html"), "0o644"),
    }
    assert not (target / "exchange").exists()


def test_an_export_that_was_cut_off_is_refused(course: Path) -> None:
    data = exported()
    for length in (10, len(data) // 2, len(data) - 1):
        with pytest.raises((EOFError, tarfile.TarError)):
            archive.restore(io.BytesIO(data[:length]), "ps131", EXCHANGE)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ps131/source/../../x", tarfile.REGTYPE),
        ("ps131/source//x", tarfile.REGTYPE),
        ("ps131/.profile", tarfile.REGTYPE),
        ("ps131/exchange/inbound/x", tarfile.REGTYPE),
        ("ps131/exchange/x", tarfile.REGTYPE),
        ("ps131/exchange/outbound/../inbound/x", tarfile.REGTYPE),
        ("ps131/exchange/outbound/x", tarfile.SYMTYPE),
        ("ps131/.grading/../x", tarfile.REGTYPE),
        ("ps131/x/late.py", tarfile.REGTYPE),
        ("other/source/x", tarfile.REGTYPE),
        ("/etc/x", tarfile.REGTYPE),
        ("ps131/source/link", tarfile.SYMTYPE),
        ("ps131/gradebook.db", tarfile.LNKTYPE),
        ("ps131/source/device", tarfile.CHRTYPE),
    ],
)
def test_an_export_with_anything_but_a_course_is_refused(
    course: Path, name: str, kind: bytes
) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w|gz") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "source/ps1/work.ipynb"
        tar.addfile(info)
    with pytest.raises(LittlestHubError, match="cannot be part of a course"):
        archive.restore(io.BytesIO(stream.getvalue()), "ps131", EXCHANGE)


def test_the_people_in_an_export_are_checked(course: Path, tmp_path: Path) -> None:
    file = tmp_path / "export.tar.gz"
    bob = {"login": "bob", "first_name": "B\x1bob", "last_name": "", "email": "", "lms_id": ""}
    file.write_bytes(exported(students=[bob], former=["carol"]))
    found = transfer.recorded(file)
    assert (found.name, found.title, found.instructors) == ("ps131", "Physics", ("alice",))
    assert found.students == {"bob": Student("bob", "Bob")}
    assert found.former == {"carol"}
    for wrong in (
        {"name": "../etc"},
        {"instructors": ["a/b"]},
        {"students": [{**bob, "login": "../x"}]},
        {"students": [{**bob, "email": 7}]},
        {"students": ["bob"]},
        {"former": None},
    ):
        file.write_bytes(exported(**wrong))
        with pytest.raises(LittlestHubError, match="is no export of a course"):
            transfer.recorded(file)


# The time is in a compressed file, and would be in the name of the test.
@pytest.mark.parametrize("data", [b"", b"x", b"\x1f\x8b\x08", gzip.compress(b"x" * 5000, mtime=0)])
def test_what_is_no_archive_is_no_export(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "export.tar.gz"
    file.write_bytes(data)
    with pytest.raises(LittlestHubError, match=r"is no export of a course|cannot be read"):
        transfer.recorded(file)
