"""The contents of a backup, what a restore refuses, and what survives its interruption."""

import contextlib
import dataclasses
import gzip
import hashlib
import io
import json
import os
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from littlest_hub.backup import archive as backup_module
from littlest_hub.backup import last
from littlest_hub.backup.archive import backup, database_elsewhere, summary
from littlest_hub.backup.exchange import FORWARD, TIDY, Exchange, Replacement, exclusive, finish
from littlest_hub.backup.restore import restore
from littlest_hub.backup.unpacking import unpack
from littlest_hub.doctor.data import last_backup
from littlest_hub.doctor.findings import OK, WARNING
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import fragment_files
from littlest_hub.layout import Layout, PackageSet
from littlest_hub.manifest import enabled
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.packages import changes, source
from tests import wheels


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setattr(backup_module, "database_elsewhere", lambda *_: "")
    for module in ("contents", "exchange"):
        name = f"littlest_hub.backup.{module}.drop_in_directories"
        monkeypatch.setattr(name, lambda _: [])
    monkeypatch.setattr("littlest_hub.backup.restore.serves", lambda _: False)
    return _base(tmp_path / "hub")


def _base(base: Path) -> Layout:
    layout = Layout(base)
    for directory in (layout.fragments, layout.dynamic_config, layout.releases):
        directory.mkdir(parents=True)
    with sqlite3.connect(layout.database) as database:
        database.execute("CREATE TABLE users (name)")
        database.execute("INSERT INTO users VALUES ('alice')")
        database.execute("CREATE TABLE spawners (state, server_id)")
    (layout.fragments / "10-users.py").write_text("c.Authenticator.allow_all = True\n")
    layout.cookie_secret.write_text("deadbeef" * 8)
    layout.routes.write_text("made anew")
    (layout.dynamic_config / "tls.toml").write_text("[tls]\n")
    (layout.dynamic_config / "tls.pem").touch(mode=0o600)
    (layout.dynamic_config / "tls.pem").write_text("-----BEGIN PRIVATE KEY-----\nx\n")
    (layout.state / "stack").mkdir()
    (layout.state / "stack" / "data").write_text("x")
    return layout


def _progress(_: str) -> None:
    pass


def _names(file: Path) -> set[str]:
    with tarfile.open(file) as tar:
        return set(tar.getnames())


def _users(layout: Layout) -> list[str]:
    with sqlite3.connect(layout.database) as database:
        return [row[0] for row in database.execute("SELECT name FROM users")]


@pytest.mark.row(25)
def test_secrets_are_in_a_backup_only_when_asked_for(layout: Layout) -> None:
    plain = backup(layout, None, secrets=False, progress=_progress)
    assert plain.file is not None
    assert plain.file.parent == layout.state / "backups"
    assert plain.file.stat().st_mode & 0o777 == 0o600
    expected = {
        "database/jupyterhub.sqlite",
        "jupyterhub_config.d/10-users.py",
        "state/proxy/dynamic/tls.toml",
        "state/stack/data",
        "manifest.json",
    }
    assert _names(plain.file) == expected
    full = backup(layout, layout.base / "full.tar.gz", secrets=True, progress=_progress)
    assert full.file is not None
    assert _names(full.file) == expected | {
        "state/jupyterhub_cookie_secret",
        "state/proxy/dynamic/tls.pem",
    }


def test_the_database_of_a_stack_is_whole_in_a_backup_while_it_is_written_to(
    layout: Layout, tmp_path: Path
) -> None:
    file = layout.stack_hub_data("class") / "people.sqlite"
    file.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as writing:
        writing.execute("CREATE TABLE people AS SELECT 'alice' AS name")
        writing.execute("BEGIN IMMEDIATE")
        writing.execute("INSERT INTO people VALUES ('half')")
        assert file.with_name("people.sqlite-journal").exists()
        made = backup(layout, None, secrets=False, progress=_progress)
    assert made.file is not None
    inside = {name for name in _names(made.file) if "stacks" in name}
    assert inside == {"state/stacks/class/hub/people.sqlite"}
    with tarfile.open(made.file) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    copied = tmp_path / "out" / "state/stacks/class/hub/people.sqlite"
    with contextlib.closing(sqlite3.connect(copied)) as reading:
        assert reading.execute("SELECT name FROM people").fetchall() == [("alice",)]
    file.write_bytes(b"damaged" * 1000)
    assert inside <= _names(backup(layout, tmp_path / "b", secrets=False, progress=_progress).file)  # type: ignore[arg-type]


def test_output_of_fragments_does_not_mix_with_a_backup_on_standard_output(layout: Layout) -> None:
    (layout.fragments / "20-loud.py").write_text(
        "import os, sys\nprint('loud')\nos.system('echo louder')\nsys.stdout.flush()\n"
    )
    script = (
        "import sys; from pathlib import Path; from littlest_hub.backup import archive;"
        "from littlest_hub.layout import Layout;"
        "layout = Layout(Path(sys.argv[1])); print('before', file=sys.stderr);"
        "archive.backup(layout, Path('-'), secrets=False, progress=lambda _: None); print('after')"
    )
    command = [sys.executable, "-c", script, str(layout.base)]
    done = subprocess.run(command, capture_output=True, check=True)
    assert {b"loud", b"louder", b"after"} <= set(done.stderr.split())
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        assert tar.getnames()[-1] == "manifest.json"
    gzip.decompress(done.stdout)


@pytest.mark.parametrize(
    "url",
    ['"postgresql://jh:" + os.environ["NOT_HERE"] + "@db/x"', '"postgresql://jh:p/w@99@db/x"'],
)
def test_a_database_on_another_server_is_reported_as_not_included(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    fragment = layout.fragments / "20-db.py"
    fragment.write_text(f"import os\nc.JupyterHub.db_url = {url}\n")
    monkeypatch.setattr(backup_module, "database_elsewhere", database_elsewhere)
    made = backup(layout, None, secrets=False, progress=_progress)
    assert made.file is not None
    assert "database/jupyterhub.sqlite" not in _names(made.file)
    where = str(fragment) if "NOT_HERE" in url else "postgresql://jh:…@db/x"
    assert where in made.database_elsewhere
    assert "NOT IN IT: the database" in summary(layout, made)


def test_the_hubs_database_is_included_if_a_fragment_fails_without_naming_another(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    (layout.fragments / "20-x.py").write_text("# c.JupyterHub.db_url = ''\n1 / 0\n")
    monkeypatch.setattr(backup_module, "database_elsewhere", database_elsewhere)
    assert not backup(layout, None, secrets=False, progress=_progress).database_elsewhere


@pytest.mark.row(25, 34)
@pytest.mark.needs("root")
def test_restored_acme_certificates_are_the_proxys_and_its_links_mislead_nobody(
    layout: Layout, tmp_path: Path
) -> None:
    proxy = 1234
    layout.acme.mkdir()
    layout.acme_storage.write_text("certificates")
    layout.acme_storage.chmod(0o644)
    os.chown(layout.acme, proxy, proxy)
    (layout.acme / "link.json").symlink_to("/etc/shadow")
    made = backup(layout, None, secrets=True, progress=_progress)
    assert made.file is not None
    assert {name for name in _names(made.file) if "acme" in name} == {"state/proxy/acme/acme.json"}
    layout.acme_storage.write_text("others")
    (layout.state / "stack" / "data").write_text("y")
    victim = tmp_path / "roots"
    victim.write_text("roots")
    Replacement(layout.acme_storage, True, True).new.symlink_to(victim)
    restore(layout, made.file, progress=_progress, confirm=lambda: True)
    assert (victim.read_text(), victim.stat().st_uid) == ("roots", 0)
    found = layout.acme_storage.stat()
    assert layout.acme_storage.read_text() == "certificates"
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (proxy, proxy, 0o600)
    assert (layout.state / "stack" / "data").stat().st_uid == 0


@pytest.mark.row(34)
@pytest.mark.needs("root")
def test_nothing_is_restored_below_a_directory_of_others(layout: Layout) -> None:
    pages = layout.fragments / "pages"
    pages.mkdir()
    (pages / "a.html").write_text("as in the backup")
    made = backup(layout, None, secrets=True, progress=_progress)
    assert made.file is not None
    (pages / "a.html").write_text("changed")
    os.chown(pages, 1234, -1)
    with pytest.raises(LittlestHubError, match=f"{pages} belongs to user 1234"):
        restore(layout, made.file, progress=_progress, confirm=lambda: True)
    assert (pages / "a.html").read_text() == "changed"


def test_a_backup_replaces_no_file(layout: Layout, tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_text("mine")
    with pytest.raises(LittlestHubError, match="exists"):
        backup(layout, file, secrets=False, progress=_progress)
    assert file.read_text() == "mine"
    assert not list(tmp_path.glob(".mine*"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [("mine", "exists"), ("missing/new", "no directory"), ("mine/new", "no dir")],
)
def test_a_backup_that_cannot_be_written_is_refused_before_any_work(
    layout: Layout, tmp_path: Path, name: str, reason: str
) -> None:
    (tmp_path / "mine").touch()
    told: list[str] = []
    with pytest.raises(LittlestHubError, match=reason):
        backup(layout, tmp_path / name, secrets=False, progress=told.append)
    assert told == []


def test_doctor_knows_how_old_the_last_backup_is_wherever_it_was_written(
    layout: Layout, tmp_path: Path
) -> None:
    def told() -> tuple[str, str]:
        (finding,) = last_backup(Snapshot(layout))
        return finding.severity, finding.text

    severity, text = told()
    assert (severity, text.partition(" in ")[0]) == (WARNING, "none")
    made = backup(layout, tmp_path, secrets=True, progress=_progress).file
    assert made is not None
    assert told() == (OK, f"the last is 0 days old: {made}")
    again = backup(layout, None, secrets=True, progress=_progress).file
    assert again is not None
    assert not [name for name in _names(again) if "last-backup" in name]
    again.unlink()
    assert told() == (OK, f"the last is 0 days old: {again} (not there any more)")
    record = json.loads(layout.last_backup.read_text())
    layout.last_backup.write_text(json.dumps({**record, "time": record["time"] - 8 * 86400}))
    assert told()[0] == WARNING
    last.note(layout, None, _progress)
    assert told() == (OK, "the last is 0 days old: written to standard output")
    for damaged in ("", "[]", '{"format": 1, "time": 1, "file": "/\\u001b"}'):
        layout.last_backup.write_text(damaged)
        assert told()[0] == WARNING


def test_a_backup_is_restored_and_what_was_there_is_kept(layout: Layout) -> None:
    made = backup(layout, None, secrets=True, progress=_progress)
    assert made.file is not None
    with sqlite3.connect(layout.database) as database:
        database.execute("INSERT INTO users VALUES ('mallory')")
    (layout.fragments / "10-users.py").write_text("# later\n")
    (layout.fragments / "90-new.py").write_text("# later\n")
    (layout.dynamic_config / "tls.pem").unlink()
    (layout.state / "jupyterhub.sqlite-journal").write_text("")

    restore(layout, made.file, progress=_progress, confirm=lambda: True)

    assert _users(layout) == ["alice"]
    assert [file.name for file in fragment_files(layout)] == ["10-users.py"]
    assert "allow_all" in (layout.fragments / "10-users.py").read_text()
    # The proxy, another user, can read it, although the file was private.
    assert (layout.dynamic_config / "tls.pem").stat().st_mode & 0o777 == 0o644
    assert layout.routes.read_text() == "made anew"
    (kept,) = (layout.state / "backups").glob("before-restore-*")
    restore(layout, kept, progress=_progress, confirm=lambda: True)
    assert _users(layout) == ["alice", "mallory"]


def test_without_room_for_what_is_replaced_a_restore_is_undone(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backup(layout, None, secrets=True, progress=_progress)
    assert made.file is not None
    with sqlite3.connect(layout.database) as database:
        database.execute("INSERT INTO users VALUES ('mallory')")
    monkeypatch.setattr("littlest_hub.hub.database.MARGIN_BYTES", 1 << 60)
    with pytest.raises(LittlestHubError, match="MB are free, and a copy of the") as raised:
        restore(layout, made.file, progress=_progress, confirm=lambda: True)
    # The disk that it names is there.
    command = (raised.value.hint or "").removeprefix("Make room: ")
    subprocess.run(command.split(), check=True, capture_output=True)
    assert _users(layout) == ["alice", "mallory"]
    assert list(layout.backups.iterdir()) == [made.file]
    assert not list(layout.base.rglob("*.restored"))


def test_a_damaged_database_is_kept_byte_for_byte_and_replaced(layout: Layout) -> None:
    made = backup(layout, None, secrets=True, progress=_progress)
    assert made.file is not None
    layout.database.write_bytes(b"damaged" * 1000)
    restore(layout, made.file, progress=_progress, confirm=lambda: True)
    assert _users(layout) == ["alice"]
    (kept,) = layout.backups.glob("before-restore-*")
    with tarfile.open(kept) as tar:
        damaged = tar.extractfile("database/damaged.sqlite")
        assert damaged is not None
        assert damaged.read() == b"damaged" * 1000


def test_a_directory_in_the_place_of_a_restored_file_is_replaced(layout: Layout) -> None:
    made = backup(layout, None, secrets=False, progress=_progress)
    assert made.file is not None
    data = layout.state / "stack" / "data"
    data.unlink()
    data.mkdir()
    (data / "inner").write_text("later")
    restore(layout, made.file, progress=_progress, confirm=lambda: True)
    assert data.read_text() == "x"
    assert not list(data.parent.glob(".*"))


def test_nothing_changes_without_consent(layout: Layout) -> None:
    made = backup(layout, None, secrets=False, progress=_progress)
    assert made.file is not None
    (layout.fragments / "10-users.py").write_text("# changed\n")
    with pytest.raises(LittlestHubError, match="Nothing was changed"):
        restore(layout, made.file, progress=_progress, confirm=lambda: False)
    assert (layout.fragments / "10-users.py").read_text() == "# changed\n"
    assert not [p for p in layout.base.rglob(".*") if p.is_file()]


def test_a_database_of_a_later_release_is_refused(layout: Layout) -> None:
    with sqlite3.connect(layout.database) as database:
        database.execute("CREATE TABLE alembic_version (version_num)")
        database.execute("INSERT INTO alembic_version VALUES ('fedcba987654')")
    made = backup(layout, None, secrets=False, progress=_progress)
    assert made.file is not None
    with pytest.raises(LittlestHubError, match="later release"):
        restore(layout, made.file, progress=_progress, confirm=lambda: True)


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.9, 0.99])
def test_a_truncated_backup_is_refused(layout: Layout, tmp_path: Path, keep: float) -> None:
    made = backup(layout, None, secrets=False, progress=_progress)
    assert made.file is not None
    data = made.file.read_bytes()
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(LittlestHubError):
        restore(layout, cut, progress=_progress, confirm=lambda: True)


def test_every_changed_byte_is_detected(layout: Layout, tmp_path: Path) -> None:
    made = backup(layout, None, secrets=False, progress=_progress)
    assert made.file is not None
    data = gzip.decompress(made.file.read_bytes())
    for index in range(600, len(data) - 20_000, len(data) // 40):
        changed = bytearray(data)
        changed[index] ^= 0x40
        file = tmp_path / "changed.tar.gz"
        file.write_bytes(gzip.compress(bytes(changed), 1))
        if bytes(changed[index - 1 : index + 1]).strip(b"\0") or data[index]:
            with pytest.raises(LittlestHubError):
                unpack(file, None)


def _info(name: str, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def _add(tar: tarfile.TarFile, *names: str) -> None:
    for name in names:
        tar.addfile(_info(name))


def _write(tar: tarfile.TarFile, data: bytes) -> None:
    assert tar.fileobj
    tar.fileobj.write(data)


ESCAPES = json.dumps({
    "format": 1, "product": "littlest-hub", "version": "1", "base": "/b", "host": "h",
    "time": "t", "database": None, "secrets": False, "left_out": ["\x1b]0;title\x07"],
    "members": {},
}).encode()  # fmt: skip

HOSTILE: dict[str, Callable[[tarfile.TarFile], None]] = {
    "absolute": lambda tar: tar.addfile(_info("/etc/passwd")),
    "dots": lambda tar: tar.addfile(_info("state/../../../etc/cron.d/x")),
    "dot": lambda tar: tar.addfile(_info("state/./x")),
    "link": lambda tar: tar.addfile(_info("state/x", type=tarfile.SYMTYPE, linkname="/etc")),
    "hard link": lambda tar: tar.addfile(_info("state/x", type=tarfile.LNKTYPE, linkname="/etc/x")),
    "device": lambda tar: tar.addfile(_info("state/x", type=tarfile.CHRTYPE)),
    "pipe": lambda tar: tar.addfile(_info("state/x", type=tarfile.FIFOTYPE)),
    "directory": lambda tar: tar.addfile(_info("state", type=tarfile.DIRTYPE)),
    "elsewhere": lambda tar: tar.addfile(_info("releases/x")),
    "a unit": lambda tar: tar.addfile(_info("drop-ins/sshd.service.d/x.conf")),
    "a drop-in's neighbour": lambda tar: tar.addfile(_info("drop-ins/littlest-hub.service.d/a/b")),
    "hidden": lambda tar: tar.addfile(_info("jupyterhub_config.d/.10-users.py.restored")),
    "line break": lambda tar: tar.addfile(_info("state/a\nb")),
    "twice": lambda tar: _add(tar, "state/x", "state/x"),
    "below a file": lambda tar: _add(tar, "state/x", "state/x/y"),
    "no manifest": lambda tar: tar.addfile(_info("state/x")),
    "long header": lambda tar: tar.addfile(_info("state/x", pax_headers={"a": "x" * (3 << 20)})),
    "long name": lambda tar: tar.addfile(_info("state/" + "x" * (2 << 20))),
    "other manifest": lambda tar: tar.addfile(_info("manifest.json", size=2), io.BytesIO(b"{}")),
    "escapes": lambda tar: tar.addfile(
        _info("manifest.json", size=len(ESCAPES)), io.BytesIO(ESCAPES)
    ),
    "negative size": lambda tar: tar.addfile(_info("state/x", size=-1)),
    "sparse without a map": lambda tar: tar.addfile(
        _info("state/x", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"})
    ),
    "headers of headers": lambda tar: _write(
        tar, tarfile.TarInfo.create_pax_global_header({"a": "b"}) * 3000
    ),
    "no JSON": lambda tar: tar.addfile(_info("manifest.json", size=2), io.BytesIO(b"[[")),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused_and_touches_nothing(
    layout: Layout, tmp_path: Path, what: str
) -> None:
    file = tmp_path / "hostile.tar.gz"
    with tarfile.open(file, "w:gz") as tar:
        HOSTILE[what](tar)
    before = {p: p.stat().st_mtime_ns for p in layout.base.rglob("*") if p.is_file()}
    with pytest.raises(LittlestHubError):
        restore(layout, file, progress=_progress, confirm=lambda: True)
    after = {p: p.stat().st_mtime_ns for p in layout.base.rglob("*") if p.is_file()}
    assert {p for p in after if p.suffix != ".lock"} == set(before)


def test_a_file_that_claims_to_be_larger_than_the_disk_is_refused(
    layout: Layout, tmp_path: Path
) -> None:
    file = tmp_path / "huge.tar.gz"
    with gzip.open(file, "wb") as out:
        out.write(_info("state/huge", size=1 << 60).tobuf(tarfile.GNU_FORMAT))
        out.write(b"\0" * 4096)
    with pytest.raises(LittlestHubError, match=f"do not fit.*\\n.* df -h {layout.state}$"):
        restore(layout, file, progress=_progress, confirm=lambda: True)


def test_drop_ins_of_every_unit_are_in_a_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_module, "database_elsewhere", lambda *_: "")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    units = tmp_path / "units"
    monkeypatch.setattr(Layout, "system_units", units)
    layout = _base(tmp_path / "physics")
    others = (
        "littlest-hub-physics.user-alice:lab.service",
        "littlest-hub-physics.user@a.service",
        "littlest-hub-physics.announce.service",
    )
    for name in (*layout.all_unit_names, *others):
        (units / f"{name}.d").mkdir(parents=True)
        (units / f"{name}.d" / "limits.conf").touch()
    made = backup(layout, None, secrets=False, progress=_progress)
    assert made.file is not None
    expected = {
        f"drop-ins/{name.replace('-physics', '')}.d/limits.conf"
        for name in (*layout.all_unit_names, *others)
    }
    assert expected <= {*unpack(made.file, None).members}


@pytest.mark.parametrize(
    "state",
    [
        "state/backups/x",
        "state/proxy/traefik.toml",
        "state/x.lock",
        "state/stacks.json",
        "state/stacks/announce/token",
    ],
)
def test_files_that_no_backup_has_are_refused(layout: Layout, tmp_path: Path, state: str) -> None:
    file = tmp_path / "odd.tar.gz"
    manifest = {
        "format": 1, "product": "littlest-hub", "version": "1", "base": "/b", "host": "h",
        "time": "t", "database": None, "secrets": False, "left_out": [],
        "members": {state: {"sha256": hashlib.sha256(b"").hexdigest(), "size": 0, "mode": "600"}},
    }  # fmt: skip
    text = json.dumps(manifest).encode()
    with tarfile.open(file, "w:gz") as tar:
        tar.addfile(_info(state))
        tar.addfile(_info("manifest.json", size=len(text)), io.BytesIO(text))
    with pytest.raises(LittlestHubError, match="no name that a backup has"):
        restore(layout, file, progress=_progress, confirm=lambda: True)


@pytest.mark.parametrize("done", range(9))
def test_renames_can_be_completed_or_undone_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    """The process ends before the rename number `done`, whichever that is."""

    class Killed(BaseException):
        pass

    rename = Path.rename
    left = done

    def dying(self: Path, target: Path) -> Path:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        return rename(self, target)

    for is_undone in (False, True):
        layout = Layout(tmp_path / str(is_undone))
        layout.state.mkdir(parents=True)
        replacements = []
        for name, has_new, has_old in (("a", 1, 1), ("b", 1, 0), ("c", 0, 1), ("d", 1, 1)):
            replacement = Replacement(layout.base / name, bool(has_new), not has_old)
            if has_new:
                replacement.new.write_text("new")
            if has_old:
                replacement.target.write_text("old")
            replacements.append(replacement)
        exchange = Exchange(TIDY, tuple(replacements)).forward()
        left = done
        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", dying)
            try:
                exchange.carry_out(layout)
            except Killed:
                pass
            else:
                assert done >= 6
        decided = Exchange.from_json(json.loads(layout.restore_record.read_text()))
        assert decided.replacements == exchange.replacements
        for _ in range(2):
            (exchange.back() if is_undone else exchange).carry_out(layout)
        present = {n: p.read_text() for n in "abcd" if (p := layout.base / n).exists()}
        wanted = "acd" if is_undone else "abd"
        assert present == dict.fromkeys(wanted, "old" if is_undone else "new")


def test_a_failed_switch_is_undone(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    made = backup(layout, None, secrets=False, progress=_progress)
    assert made.file is not None
    (layout.fragments / "10-users.py").write_text("# changed\n")
    (layout.fragments / "90-new.py").write_text("# new\n")
    rename = Path.rename
    count = 0

    def failing(self: Path, target: Path) -> Path:
        nonlocal count
        if self.name.endswith(".restored") and (count := count + 1) == 2:
            raise OSError(28, os.strerror(28), str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="No space"):
        restore(layout, made.file, progress=_progress, confirm=lambda: True)
    assert (layout.fragments / "10-users.py").read_text() == "# changed\n"
    assert (layout.fragments / "90-new.py").exists()
    assert _users(layout) == ["alice"]
    assert not [p for p in layout.base.rglob(".*") if p.is_file()]


@pytest.mark.parametrize("had_journal", [True, False])
def test_journals_of_the_new_database_are_gone_before_the_old_one_returns(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, had_journal: bool
) -> None:
    made = backup(layout, None, secrets=False, progress=_progress)
    assert made.file is not None
    beside = layout.database.with_name(f"{layout.database.name}-wal")
    calls = []

    def systemctl(*arguments: str, **_: object) -> str:
        calls.append(arguments[0])
        if arguments[0] == "start" and calls.count("start") == 1:
            beside.write_text("of the new one")
            raise LittlestHubError("does not start")
        return ""

    monkeypatch.setattr("littlest_hub.backup.restore.serves", lambda _: True)
    monkeypatch.setattr("littlest_hub.backup.restore.guard", lambda _: None)
    monkeypatch.setattr("littlest_hub.backup.restore.systemctl", systemctl)
    monkeypatch.setattr("littlest_hub.backup.restore._keep", lambda *_: beside)
    if had_journal:
        beside.write_text("of the old one")
    said: list[str] = []
    with pytest.raises(LittlestHubError, match="does not start"):
        restore(layout, made.file, progress=said.append, confirm=lambda: True)
    assert said[-1] == "Everything is as it was."
    assert (beside.read_text() == "of the old one") if had_journal else not beside.exists()


@pytest.mark.parametrize("text", ["", "[]", '{"direction": "forward"}', "\0" * 99])
def test_a_damaged_record_prevents_a_start_only_if_files_were_replaced(
    layout: Layout, text: str
) -> None:
    fragment = layout.fragments / "10-users.py"
    laid_out = fragment.with_name(".10-users.py.restored")
    laid_out.write_text("# new\n")
    layout.restore_record.write_text(text)
    finish(layout)
    assert not layout.restore_record.exists()
    assert not laid_out.exists()
    assert fragment.exists()

    replaced = fragment.rename(fragment.with_name(".10-users.py.replaced"))
    layout.restore_record.write_text(text)
    for attempt in (finish, lambda of: backup(of, None, secrets=False, progress=_progress)):
        with pytest.raises(LittlestHubError, match="Move all of these back") as raised:
            attempt(layout)
        assert str(replaced) in str(raised.value)
    assert replaced.exists()


def _killed(layout: Layout, direction: str) -> Path:
    fragment = layout.fragments / "10-users.py"
    replacement = Replacement(fragment, True, True)
    replacement.new.write_text("# new\n")
    Exchange(direction, (replacement,)).record(layout)
    return fragment


def test_a_backup_completes_a_restore_that_was_killed(layout: Layout) -> None:
    fragment = _killed(layout, FORWARD)
    backup(layout, None, secrets=False, progress=_progress)
    assert fragment.read_text() == "# new\n"
    assert not layout.restore_record.exists()


@pytest.mark.parametrize("direction", [FORWARD, TIDY])
def test_a_start_completes_a_restore_while_a_backup_is_in_progress(
    layout: Layout, direction: str
) -> None:
    fragment = _killed(layout, direction)
    with exclusive(layout):
        finish(layout)
        # The holder of the lock may be a restore in progress, which tidies for itself.
        assert layout.restore_record.exists()
    assert (fragment.read_text() == "# new\n") == (direction == FORWARD)
    finish(layout)
    assert not layout.restore_record.exists()
    assert not [p for p in layout.fragments.iterdir() if p.name.startswith(".")]


def test_a_backup_of_a_hub_with_packages_names_what_another_hub_lacks(
    layout: Layout, tmp_path: Path
) -> None:
    prefix = wheels.release(layout.releases / "1.0")
    (prefix / "bin").mkdir()
    (prefix / "bin/python3").touch()
    layout.hub.unlink(missing_ok=True)
    layout.hub.symlink_to("releases/1.0")
    wheels.make(tmp_path / "wheels", "shy")
    layout.cookie_secret.chmod(0o600)
    names = {PackageSet.SERVER: ["shy"]}
    with source.opened(tmp_path / "wheels") as opened:
        changes.add(layout, prefix, names, opened, _progress)
    plain = backup(layout, None, secrets=False, progress=_progress)
    target = layout.base / "full.tar.gz"
    full = backup(layout, target, secrets=False, wheels=True, progress=_progress)
    assert "packages/wheels/shy-1.0-py3-none-any.whl" in full.manifest.members
    assert "packages/lock.json" in plain.manifest.members
    changes.remove(layout, prefix, ["shy"], _progress)
    for made, command in (
        (plain, "packages add --server shy"),
        (full, f"packages add --from {full.file}"),
    ):
        assert made.file
        with pytest.raises(LittlestHubError, match="not here: shy") as refused:
            restore(layout, made.file, progress=_progress, confirm=lambda: True)
        assert command in str(refused.value)
    # The backup is itself a source of wheels.
    with source.opened(target) as opened:
        changes.add(layout, prefix, opened.contents(PackageSet.HUB), opened, _progress)
    assert plain.file
    restore(layout, plain.file, progress=_progress, confirm=lambda: True)


def test_a_backup_of_a_hub_with_a_stack_contains_its_data_and_asks_for_the_stack(
    layout: Layout,
) -> None:
    stack = EnabledStack("announce", {"group": "the editors"}, port=15003)
    enabled.write_record(layout, {"announce": stack})
    enabled.make_directory(layout, stack)
    text = layout.stack_data("announce") / "announcement.json"
    text.write_text("before")
    layout.cookie_secret.chmod(0o600)
    made = backup(layout, None, secrets=True, progress=_progress)
    assert made.file
    members = {name for name in made.manifest.members if "stacks" in name}
    assert members == {"stacks/enabled.json", "state/stacks/announce/data/announcement.json"}
    enabled.write_record(layout, {})
    with pytest.raises(LittlestHubError, match="stacks that are not enabled here: announce") as no:
        restore(layout, made.file, progress=_progress, confirm=lambda: True)
    assert "enable announce --yes --set 'group=the editors'" in str(no.value)
    moved = dataclasses.replace(stack, port=15009)
    enabled.write_record(layout, {"announce": moved})
    token = layout.stack_token("announce").read_text()
    text.write_text("after")
    restore(layout, made.file, progress=_progress, confirm=lambda: True)
    assert text.read_text() == "before"
    assert enabled.read(layout) == {"announce": moved}, "ports are those of the units here"
    assert layout.stack_token("announce").read_text() == token


def test_the_directory_of_a_service_is_exchanged_whole_and_its_links_mislead_nobody(
    layout: Layout, tmp_path: Path
) -> None:
    stack = EnabledStack("announce", {"group": ""}, port=15003)
    enabled.write_record(layout, {"announce": stack})
    enabled.make_directory(layout, stack)
    data = layout.stack_data("announce")
    (data / "orders").mkdir()
    for name in ("same", "changed", "removed", "orders/first"):
        (data / name).write_text(name)
    layout.cookie_secret.chmod(0o600)
    made = backup(layout, None, secrets=True, progress=_progress)
    assert made.file
    mine = tmp_path / "mine"
    mine.mkdir()
    (data / "removed").unlink()
    (data / "changed").write_text("later")
    (data / "later").write_text("later")
    (data / "orders/first").unlink()
    (data / "orders").rmdir()
    (data / "orders").symlink_to(mine)
    # As the service's own user, which systemd allocates, has left it.
    if os.geteuid() == 0:
        os.chown(data, 61000, 61000)
    restore(layout, made.file, progress=_progress, confirm=lambda: True)
    files = {str(each.relative_to(data)): each for each in data.rglob("*") if each.is_file()}
    assert {name: each.read_text() for name, each in files.items()} == {
        name: name for name in ("same", "changed", "removed", "orders/first")
    }
    assert list(mine.iterdir()) == []
    assert sorted(each.name for each in data.parent.iterdir()) == ["data", "token"]
