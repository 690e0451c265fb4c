"""Records with DOIs, found and fetched from archives that answer as their APIs are documented."""

from __future__ import annotations

import io
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from littlest_hub.stacks.launch.resolver.limits import Limits
from tests.archives import Archives, tarred, zipped
from tests.git_server import HOST
from tests.unit.stacks.launch.conftest import Setup

FILES = {"requirements.txt": "six\n", "data/waves.csv": "1\n"}


@pytest.fixture
def archives(setup: Setup) -> Archives:
    """Archives of which this machine's address is permitted."""
    made = Archives(f"https://{setup.server.place}")
    setup.server.behaviors["/"] = made.answer
    setup.settings = {"services": {"doi": made.site, "figshare": made.site}}
    return made


def limited(setup: Setup, **limits: Any) -> None:
    setup.settings = {**setup.settings, "limits": limits}


def test_a_record_of_zenodo_becomes_a_directory_of_its_files(
    setup: Setup, archives: Archives
) -> None:
    found = setup.resolved(archives.zenodo(7, FILES))
    assert setup.files(found) == FILES
    assert found["environment"]["kind"] == "requirements.txt"
    assert (found["files"], found["size_bytes"]) == (2, 6)
    assert (found["ref"], found["date"][:10], found["is_reachable"]) == ("", "2026-05-01", True)
    assert found["published"] == {
        "title": "Waves",
        "version": "1.0",
        "doi": "10.5281/zenodo.7",
        "kind": "Software",
        "page": f"{archives.site}/records/7",
        "unpacked": "",
    }


def test_a_record_is_named_by_its_files_and_not_by_its_title(
    setup: Setup, archives: Archives
) -> None:
    first = setup.resolved(archives.zenodo(7, FILES))
    again = setup.resolved(archives.zenodo(7, FILES, title="Waves, corrected"))
    assert (again["commit"], again["directory"]) == (first["commit"], first["directory"])
    other = setup.resolved(archives.zenodo(7, {**FILES, "data/waves.csv": "2\n"}))
    assert other["commit"] != first["commit"]
    assert len(first["commit"]) == 64


def test_what_is_there_is_not_fetched_again(setup: Setup, archives: Archives) -> None:
    url = archives.zenodo(7, FILES)
    first = setup.resolved(url)
    archives.asked.clear()
    assert setup.resolved(url) == first
    assert not any("content" in each for each in archives.asked)
    archives.asked.clear()
    assert setup.resolved(url, first["commit"]) == first
    assert archives.asked == []


def test_a_state_that_is_gone_is_not_replaced_by_another_one(
    setup: Setup, archives: Archives
) -> None:
    refusal = setup.refused(archives.zenodo(7, FILES), "0" * 64)
    assert "10.5281/zenodo.7 has changed: it is" in refusal
    assert "expected 000000000000…" in refusal


def test_the_doi_of_all_versions_leads_to_the_newest_one(setup: Setup, archives: Archives) -> None:
    archives.zenodo(7, FILES)
    url = archives.doi("10.5281/zenodo.1", f"{archives.site}/doi/10.5281/zenodo.1")
    archives.put("/doi/10.5281/zenodo.1", "/records/7", 302)
    first = setup.resolved(url)
    assert first["published"]["doi"] == "10.5281/zenodo.7"
    archives.zenodo(8, {"b": "2"})
    archives.put("/doi/10.5281/zenodo.1", "/records/8", 302)
    second = setup.resolved(url)
    assert (second["published"]["doi"], setup.files(second)) == ("10.5281/zenodo.8", {"b": "2"})
    # The launch is still the one that somebody has seen and approved.
    assert setup.resolved(url, first["commit"])["commit"] == first["commit"]


def test_another_inveniordm_lists_files_in_a_document_of_their_own(
    setup: Setup, archives: Archives
) -> None:
    found = setup.resolved(archives.invenio("ab12c-3de45", "10.48436/ab12c-3de45", FILES))
    assert setup.files(found) == FILES
    assert found["published"]["kind"] == "Dataset"
    assert found["published"]["doi"] == "10.48436/ab12c-3de45"
    assert found["date"] == ""


@pytest.mark.parametrize("version", [".v1", ""])
def test_files_of_figshare_are_where_it_redirects_to(
    setup: Setup, archives: Archives, version: str
) -> None:
    url = archives.figshare(9782777, {"a.py": "1", "b.txt": "2"}).removesuffix(".v1")
    found = setup.resolved(f"{url}{version}")
    assert setup.files(found) == {"a.py": "1", "b.txt": "2"}
    assert (found["published"]["version"], found["date"][:10]) == ("1", "2026-07-01")
    assert found["published"]["doi"] == "10.6084/m9.figshare.9782777.v1"


def test_a_page_that_looks_like_one_of_figshare_is_none(setup: Setup, archives: Archives) -> None:
    archives.figshare(9782777, {"a.py": "1"})
    journal = archives.doi("10.7554/elife.9782777", f"{archives.site}/articles/9782777")
    assert "knows no files of software or data" in setup.refused(journal)


def test_a_dataset_of_a_dataverse_has_directories_and_original_tables(
    setup: Setup, archives: Archives
) -> None:
    plain = archives.dataverse_file(5, "six\n", "requirements.txt")
    table = archives.dataverse_file(6, "x,y\n", "winds.tab", directoryLabel="data/2026")
    table["dataFile"] |= {
        **{"originalFileName": "winds.csv", "originalFileFormat": "text/csv"},
        **{"originalFileSize": 4, "filesize": 99},
    }
    archives.put("/api/access/datafile/6?format=original", b"x,y\n")
    closed = {**archives.dataverse_file(7, "secret", "names.csv"), "restricted": True}
    url = archives.dataverse("10.7910/dvn/tjclkp", [plain, table, closed])
    found = setup.resolved(url)
    assert setup.files(found) == {"requirements.txt": "six\n", "data/2026/winds.csv": "x,y\n"}
    assert (found["published"]["version"], found["published"]["title"]) == ("2.1", "Winds")
    assert found["left_out"] == [{"file": "names.csv", "line": 1, "text": "it is restricted"}]
    assert "/api/access/datafile/7" not in archives.asked


def test_one_file_of_a_dataverse_is_not_its_dataset(setup: Setup, archives: Archives) -> None:
    place = f"{archives.site}/file.xhtml?persistentId=doi:10.7910/DVN/TJCLKP/ABC"
    url = archives.doi("10.7910/dvn/tjclkp/abc", place)
    assert "is the DOI of a single file" in setup.refused(url)


# --- archive files


def test_the_only_file_is_unpacked_without_the_directory_around_it(
    setup: Setup, archives: Archives
) -> None:
    whole = {
        "org-waves-1a2b/requirements.txt": "six\n",
        "org-waves-1a2b/run.sh": "#!/bin/sh\n",
        "org-waves-1a2b/link": "run.sh",
        "org-waves-1a2b/.git/config": "[core]\nfsmonitor = id\n",
        "__MACOSX/org-waves-1a2b/._run.sh": "x",
    }
    packed = zipped(whole, **{"run.sh": 0o100755, "link": stat.S_IFLNK | 0o777})
    found = setup.resolved(archives.zenodo(7, {"org/waves-1.0.zip": packed}))
    expected = {"requirements.txt": "six\n", "run.sh": "#!/bin/sh\n", "link": "-> run.sh"}
    assert setup.files(found) == expected
    run = setup.sources / found["directory"] / "files" / "run.sh"
    assert run.stat().st_mode & 0o777 == 0o755
    assert found["published"]["unpacked"] == "waves-1.0.zip"
    (remark,) = found["left_out"]
    assert (remark["file"], remark["text"]) == (
        "org-waves-1a2b/.git",
        "it is a repository of git",
    )


@pytest.mark.parametrize(
    ("name", "mode"), [("a.tar.gz", "w:gz"), ("a.tgz", "w:gz"), ("a.tar", "w")]
)
def test_a_tar_archive_is_unpacked_too(
    setup: Setup, archives: Archives, name: str, mode: str
) -> None:
    link = tarfile.TarInfo()
    link.type, link.linkname = tarfile.SYMTYPE, "../requirements.txt"
    hard = tarfile.TarInfo()
    hard.type, hard.linkname = tarfile.LNKTYPE, "./top/requirements.txt"
    device = tarfile.TarInfo()
    device.type = tarfile.CHRTYPE
    directory = tarfile.TarInfo()
    directory.type = tarfile.DIRTYPE
    packed = tarred(
        ("./top", directory),
        ("./top/requirements.txt", "six\n"),
        ("./top/sub/link", link),
        ("./top/hard", hard),
        ("./top/device", device),
        (f"./top/{'long/' * 30}b.txt", "b" * 100_000),
        mode=mode,
    )
    found = setup.resolved(archives.zenodo(7, {name: packed}))
    assert setup.files(found) == {
        "requirements.txt": "six\n",
        "sub/link": "-> ../requirements.txt",
        f"{'long/' * 30}b.txt": "b" * 100_000,
    }
    assert {each["text"] for each in found["left_out"]} == {
        "it is a hard link",
        "it is no regular file",
    }


def test_an_archive_beside_other_files_stays_as_it_is(setup: Setup, archives: Archives) -> None:
    url = archives.zenodo(7, {"a.tar": "not even one", "paper.pdf": "2"})
    assert setup.files(setup.resolved(url)) == {"a.tar": "not even one", "paper.pdf": "2"}


def test_packed_names_that_lead_out_are_an_attack(setup: Setup, archives: Archives) -> None:
    for name in ("../a", "/etc/a", "a/../../b", "x//y"):
        for file, packed in (("a.zip", zipped({name: "1", "b/c": "2"})), ("a.tgz", b"")):
            content = packed or tarred((name, "1"), ("b/c", "2"))
            refusal = setup.refused(archives.zenodo(7, {file: content}))
            assert "as an attack does" in refusal, (name, file)


def test_a_packed_link_that_leads_out_is_left_out(setup: Setup, archives: Archives) -> None:
    packed = zipped({"a": "/etc/passwd", "b": "1"}, a=stat.S_IFLNK | 0o777)
    found = setup.resolved(archives.zenodo(7, {"a.zip": packed}))
    assert setup.files(found) == {"b": "1"}
    assert "outside of the repository" in found["left_out"][0]["text"]


def test_a_file_below_a_packed_link_is_refused(setup: Setup, archives: Archives) -> None:
    link = tarfile.TarInfo()
    link.type, link.linkname = tarfile.SYMTYPE, "b"
    packed = tarred(("x/a", link), ("x/a/c", "1"), ("x/b/d", "2"))
    assert "two files have the same name" in setup.refused(archives.zenodo(7, {"a.tgz": packed}))


def test_what_becomes_large_when_it_is_unpacked_is_refused_before(
    setup: Setup, archives: Archives
) -> None:
    limited(setup, files_bytes=1 << 20)
    zeros = bytes(2 << 20)
    for name, packed in (("a.zip", zipped({"a": zeros})), ("a.tgz", tarred(("a", zeros)))):
        assert len(packed) < 10_000
        assert "more than 1 MB" in setup.refused(archives.zenodo(7, {name: packed}))


def test_a_packed_file_that_is_larger_than_it_says_is_refused(
    setup: Setup, archives: Archives
) -> None:
    packed = bytearray(zipped({"a": bytes(100_000)}))
    size = (100_000).to_bytes(4, "little")
    assert packed.count(size) == 2
    lie = bytes(packed).replace(size, (10).to_bytes(4, "little"))
    assert "cannot be unpacked" in setup.refused(archives.zenodo(7, {"a.zip": lie}))


def test_too_many_packed_files_are_refused(setup: Setup, archives: Archives) -> None:
    limited(setup, files=20, objects=50)
    many = {f"{number}": "" for number in range(21)}
    directories = {f"{number}/": "" for number in range(51)}
    assert "more than 20 files" in setup.refused(archives.zenodo(7, {"a.zip": zipped(many)}))
    for name, packed in (
        ("a.zip", zipped(directories)),
        ("a.tgz", tarred(*((name, "") for name in directories))),
    ):
        assert "more than 50 files" in setup.refused(archives.zenodo(7, {name: packed}))


def test_lists_that_would_fill_the_memory_are_not_read(setup: Setup, archives: Archives) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a")
        info.pax_headers = {"comment": "x" * (2 << 20)}
        archive.addfile(info)
    refusal = setup.refused(archives.zenodo(7, {"a.tgz": data.getvalue()}))
    assert "lists of files that are too long" in refusal
    # The end of a zip archive says how long its list is, and how many files are in it.
    end = bytearray(zipped({}))
    end[8:12] = (1).to_bytes(2, "little") * 2
    end[12:16] = (9 << 20).to_bytes(4, "little")
    refusal = setup.refused(archives.zenodo(7, {"a.zip": bytes(9 << 20) + bytes(end)}))
    assert "lists of files that are too long" in refusal


@pytest.mark.parametrize("name", ["a.zip", "a.tgz", "a.tar"])
def test_a_damaged_archive_is_said_to_be_damaged(
    setup: Setup, archives: Archives, name: str
) -> None:
    whole = {
        "a.zip": zipped({"a": "1" * 5000, "b": "2"}),
        "a.tgz": tarred(("a", "1" * 5000), ("b", "2")),
        "a.tar": tarred(("a", "1" * 5000), ("b", "2"), mode="w"),
    }[name]
    broken = whole[:6000] + b"x" * 600 + whole[6600:] if name == "a.tar" else whole[:-30]
    for content in (b"", b"x" * 2000, broken):
        assert "cannot be unpacked" in setup.refused(archives.zenodo(7, {name: content}))


def test_an_encrypted_file_is_left_out(setup: Setup, archives: Archives) -> None:
    packed = bytearray(zipped({"a": "1", "b": "2"}))
    place = packed.find(b"PK\x01\x02")
    packed[place + 8] |= 1
    found = setup.resolved(archives.zenodo(7, {"a.zip": bytes(packed)}))
    assert setup.files(found) == {"b": "2"}
    assert "encrypted" in found["left_out"][0]["text"]


# --- what cannot be launched


def test_a_doi_that_nobody_has_registered(setup: Setup, archives: Archives) -> None:
    refusal = setup.refused("https://doi.org/10.5281/zenodo.404")
    assert "there is no DOI 10.5281/zenodo.404" in refusal
    archives.put("/api/handles/10.5281/zenodo.405?type=URL", {"responseCode": 100}, 404)
    assert "there is no DOI" in setup.refused("https://doi.org/10.5281/zenodo.405")


def test_a_paper_is_no_software(setup: Setup, archives: Archives) -> None:
    url = archives.doi("10.1038/s41586-020-2649-2", f"{archives.site}/journal/paper")
    refusal = setup.refused(url)
    assert f"leads to '{setup.server.place}', where this hub knows no files" in refusal
    assert "Expected a DOI of Zenodo" in refusal


@pytest.mark.parametrize("access", ["closed", "restricted", "embargoed"])
def test_a_closed_record_of_zenodo(setup: Setup, archives: Archives, access: str) -> None:
    refusal = setup.refused(archives.zenodo(7, FILES, access_right=access))
    assert "10.5281/zenodo.7 has no files that everybody may read" in refusal


def test_closed_records_of_the_other_archives(setup: Setup, archives: Archives) -> None:
    closed = {"record": "public", "files": "restricted"}
    listed = [{**archives.dataverse_file(7, "secret", "a"), "restricted": True}]
    for url in (
        archives.invenio("ab12c-3de45", "10.48436/ab12c-3de45", FILES, access=closed),
        archives.figshare(9782777, FILES, is_embargoed=True),
        archives.dataverse("10.7910/dvn/tjclkp", listed),
    ):
        assert "has no files that everybody may read" in setup.refused(url)
    archives.put("/api/records/ab12c-3de45", {"status": 403}, 403)
    url = "https://doi.org/10.48436/ab12c-3de45"
    assert "has no files that everybody may read" in setup.refused(url)


def test_a_record_that_was_removed(setup: Setup, archives: Archives) -> None:
    url = archives.zenodo(7, FILES)
    archives.put("/api/records/7", {"status": 410}, 410)
    assert "has no record for 10.5281/zenodo.7 (any more)" in setup.refused(url)


def test_a_record_that_is_too_large_is_not_fetched(setup: Setup, archives: Archives) -> None:
    limited(setup, pack_bytes=1 << 20)
    url = archives.zenodo(7, {"a": bytes(2 << 20)})
    refusal = setup.refused(url)
    assert "the files have 2 MB; this hub fetches at most 1 MB" in refusal
    limited(setup, files=2)
    assert "3 files; this hub fetches at most 2" in setup.refused(
        archives.zenodo(8, {"a": "1", "b": "2", "c": "3"})
    )
    assert not any("content" in each for each in archives.asked)


@pytest.mark.parametrize("content", [b"six\n!", b"sixx", b"", b"x" * 100_000])
def test_another_file_than_the_record_names_is_refused(
    setup: Setup, archives: Archives, content: bytes
) -> None:
    url = archives.zenodo(7, FILES)
    archives.put("/api/records/7/files/requirements.txt/content", content)
    assert "is not the file that the record names" in setup.refused(url)


def test_redirects_lead_to_no_private_place(setup: Setup, archives: Archives) -> None:
    url = archives.zenodo(7, FILES)
    place = "/api/records/7/files/requirements.txt/content"
    for target, expected in (
        ("https://127.0.0.1/a", "found an address"),
        ("https://intranet.local/a", "is no name in the public DNS"),
        (f"http://{setup.server.place}/a", "expected https://, found http://"),
        ("https://user@git.example.org/a", "is no address of a file"),
        (f"https://{HOST}:8443/a", "expected no port"),
        ("file:///etc/passwd", "is no address of a file"),
        (f"{archives.site}{place}", "redirects more than 5 times"),
    ):
        archives.put(place, target, 302)
        assert expected in setup.refused(url), target


def test_an_address_that_is_registered_is_judged_like_any_other(
    setup: Setup, archives: Archives
) -> None:
    for target, expected in (
        ("https://127.0.0.1/records/7", "found an address"),
        ("http://wiki.corp/records/7", "is no name in the public DNS"),
        ("javascript:alert(1)//records/7", "is no address of a file"),
        ("ftp://zenodo.org/records/7", "is no address of a file"),
        (f"https://{HOST}:8443/records/7", "expected no port"),
    ):
        assert expected in setup.refused(archives.doi("10.5281/zenodo.7", target)), target


def test_what_is_banned_is_banned_wherever_a_doi_leads(setup: Setup, archives: Archives) -> None:
    url = archives.zenodo(7, FILES)
    for banned, expected in (
        (f"{setup.server.place}/records/*", "this hub launches nothing from there"),
        (f"{setup.server.place}/api/records/7/files/*", "this hub launches nothing from there"),
        ("doi.org/10.5281/*", "does not launch this repository"),
    ):
        policy = {"hosts": [setup.server.place], "banned": [banned]}
        setup.settings = {**setup.settings, "policy": policy}
        assert expected in setup.refused(url)
    allowed = {"hosts": [setup.server.place], "allowed": ["doi.org/10.5281/zenodo.*"]}
    setup.settings = {**setup.settings, "policy": allowed}
    assert setup.resolved(url)
    other = setup.refused(archives.figshare(9782777, FILES))
    assert "does not launch this repository" in other


def test_answers_of_another_kind_are_refused_with_one_sentence(
    setup: Setup, archives: Archives
) -> None:
    url = archives.zenodo(7, FILES)
    links = {"self": "/a"}
    entry = {"key": "a", "size": 1, "checksum": "md5:" + "0" * 32, "links": links}
    usual = {"id": 7, "metadata": {"title": "t"}, "files": [entry]}
    answers: tuple[Any, ...] = (
        *([], "text", {}, {"id": 7}, {**usual, "metadata": []}, {**usual, "id": "../x"}),
        *({**usual, "files": ["a"]}, {**usual, "files": [{**entry, "size": -1}]}),
        *({**usual, "files": [{**entry, "size": "1"}]}, {**usual, "files": [{**entry, "key": 1}]}),
        {**usual, "files": [{**entry, "size": 1e400}]},
        {**usual, "files": [{**entry, "checksum": "md5:x"}]},
        {**usual, "files": [{**entry, "links": {}}]},
        {**usual, "files": [{**entry, "checksum": "rot13:" + "0" * 32}]},
        {**usual, "metadata": {"title": {"en": "x"}}},
        b"[" * 100_000,
        b"<html>",
    )
    for found in answers:
        archives.put("/api/records/7", found if isinstance(found, (bytes, dict, list)) else b'"x"')
        refusal = setup.refused(url)
        assert "something else" in refusal, found
    handles: list[Any] = [{}, {"responseCode": 1}, {"responseCode": 1, "values": [{"type": "URL"}]}]
    for answer in handles:
        archives.put("/api/handles/10.5281/zenodo.7?type=URL", answer)
        assert "something else" in setup.refused(url)


def test_names_of_files_are_judged_like_those_of_git(setup: Setup, archives: Archives) -> None:
    for name in ("../a", "/a", ".git/config", "a/../b"):
        assert "as an attack does" in setup.refused(archives.zenodo(7, {name: "1", "b": "2"}))
    found = setup.resolved(archives.zenodo(7, {"a\nb": "1", "c\\d": "2", "e": "3"}))
    assert setup.files(found) == {"e": "3"}
    assert len(found["left_out"]) == 2


def test_texts_of_strangers_are_on_one_line_and_short(setup: Setup, archives: Archives) -> None:
    title = "a\n\x1b[31mb\u202e" + "c" * 1000
    found = setup.resolved(archives.zenodo(7, FILES, title=title))
    assert found["published"]["title"].isprintable()
    assert len(found["published"]["title"]) <= 300


def test_a_doi_has_no_branches_and_no_password(setup: Setup, archives: Archives) -> None:
    url = archives.zenodo(7, FILES)
    assert "has no branches" in setup.refused(url, "main")
    refusal = setup.refused(url, user="a", password="b", owner="0" * 64)
    assert "not for everybody" in refusal


def test_settings_name_where_dois_are_asked_for(setup: Setup, archives: Archives) -> None:
    url = archives.zenodo(7, FILES)
    for services in ({}, {"doi": "http://doi.org", "figshare": archives.site}):
        setup.settings = {"services": services}
        assert "services, doi: expected https://HOST" in setup.refused(url)


def test_limits_are_those_of_git() -> None:
    assert (Limits().pack_bytes, Limits().files) == (256 << 20, 20_000)


def test_nothing_stays_of_a_download_that_ends_early(setup: Setup, archives: Archives) -> None:
    url = archives.zenodo(7, {"a": "1", "b": "2"})
    del archives.answers["/api/records/7/files/b/content"]
    assert "answers with status 404" in setup.refused(url)
    assert [*Path(setup.sources).iterdir()] == []
