"""Settings that root reads in the fragment of the stack backups."""

from pathlib import Path
from typing import Any

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.manifest import plain_values
from littlest_hub.stacks.backups import activation
from littlest_hub.stacks.backups.repository import choice
from littlest_hub.stacks.backups.repository.password import adopt_password, new_password
from littlest_hub.stacks.backups.repository.place import Place
from littlest_hub.stacks.backups.restore.people import Person
from littlest_hub.stacks.backups.settings import FRAGMENT, Settings
from littlest_hub.system.restic import Snapshot, explained

STOCK = Path(__file__).parents[4] / "jupyterhub_config.d" / FRAGMENT


def test_the_stock_fragment_has_the_defaults() -> None:
    found = plain_values.parse(STOCK.read_text(), Settings)
    for name in Settings.__dataclass_fields__:
        assert f"\n{name.upper()} = " in STOCK.read_text()
        value = getattr(found, name)
        assert (tuple(value) if isinstance(value, list) else value) == getattr(Settings(), name)
    assert found.problems() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("repository", "backups"),
        ("repository", "/"),
        ("repository", "/tmp/backups"),
        ("repository", "/srv/../etc"),
        ("repository", "ftp://somewhere/backups"),
        ("repository", "rest:https://alice:secret@backup.example/"),
        ("repository", ""),
        ("folders", "/home"),
        ("folders", ["home"]),
        ("folders", ["/"]),
        ("folders", ["/proc/1"]),
        ("folders", []),
        ("databases", ["course/gradebook.db"]),
        ("daily", -1),
        ("weekly", "8"),
        ("monthly", True),
        ("people_restore", "yes"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: Any) -> None:
    ((found, text),) = Settings(**{name: value}).problems()
    assert found == name.upper()
    assert text


def test_backups_of_which_none_would_be_kept_are_refused() -> None:
    ((found, _),) = Settings(daily=0, weekly=0, monthly=0).problems()
    assert found == "DAILY"


@pytest.mark.parametrize(
    "address", ["/mnt/usb", "sftp:hub@nas.lan:/backups", "rest:https://nas.lan/", "s3:https://x/y"]
)
def test_a_directory_and_addresses_of_servers_are_accepted(address: str) -> None:
    assert Settings(repository=address).problems() == []


def test_secrets_of_a_server_are_read_from_a_file_that_only_root_reads(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path / "cache")
    place.variables.write_text("# of the storage\nAWS_SECRET_ACCESS_KEY=a=b c\n\n")
    place.variables.chmod(0o600)
    environment = place.repository(Settings()).environment()
    assert environment["AWS_SECRET_ACCESS_KEY"] == "a=b c"
    assert environment["RESTIC_REPOSITORY"] == "/var/backups/littlest-hub"
    place.variables.chmod(0o644)
    with pytest.raises(LittlestHubError, match="others may read"):
        place.repository(Settings())


@pytest.mark.parametrize("line", ["LD_PRELOAD=/x", "RESTIC_PASSWORD_COMMAND=id", "no assignment"])
def test_variables_that_run_programs_are_refused(tmp_path: Path, line: str) -> None:
    place = Place(tmp_path, tmp_path / "cache")
    place.variables.write_text(f"A=b\n{line}\n")
    place.variables.chmod(0o600)
    with pytest.raises(LittlestHubError, match=r"variables:2: expected NAME=VALUE"):
        place.repository(Settings())


def test_the_address_with_a_password_is_not_that_of_the_fragment(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path / "cache")
    place.variables.write_text("RESTIC_REPOSITORY=rest:https://hub:secret@nas.lan/\n")
    place.variables.chmod(0o600)
    repository = place.repository(Settings())
    assert repository.address == "rest:https://hub:secret@nas.lan/"
    # Errors go to the journal, the record and mails.
    error = explained(repository, 1, "connection refused")
    assert "rest:https://hub:***@nas.lan/ cannot be reached" in error.message


def test_a_given_password_is_taken_once_and_another_one_never_replaces_it(tmp_path: Path) -> None:
    place, given = Place(tmp_path / "state", tmp_path / "cache"), tmp_path / "given"
    given.write_text(" seven blue umbrellas\n")
    adopt_password(place, str(given))
    assert place.password.read_text() == "seven blue umbrellas\n"
    assert place.password.stat().st_mode & 0o777 == 0o600
    adopt_password(place, "")
    assert place.password.read_text() == "seven blue umbrellas\n"
    given.unlink()
    adopt_password(place, str(given))
    given.write_text("another one")
    with pytest.raises(LittlestHubError, match="has another password"):
        adopt_password(place, str(given))


def test_a_new_password_can_be_copied_from_paper() -> None:
    first, second = new_password(), new_password()
    assert first != second
    assert len(first) == 35
    assert not set(first) - set("abcdefghjkmnpqrstuvwxyz23456789-")


def test_disabling_leaves_nothing_but_the_password_and_secrets(tmp_path: Path) -> None:
    layout = Layout(Path("/opt/littlest-hub"), tmp_path)
    place = Place.of(layout)
    place.make()
    for each in (place.password, place.variables, place.record, place.lock, place.hub):
        each.write_text("x")
    place.target.parent.mkdir()
    place.target.symlink_to(tmp_path / "repository")
    lines = list(activation.after_disable(layout))
    assert {each.name for each in place.directory.iterdir()} == {"password", "variables"}
    assert not place.target.is_symlink()
    assert "the repository is yours" in lines[0]


def test_a_repository_on_the_disk_of_the_homes_is_named_as_such(tmp_path: Path) -> None:
    layout = Layout(Path("/opt/littlest-hub"), tmp_path)
    for folder, is_told in ((tmp_path, True), (Path("/proc"), False), (tmp_path / "none", False)):
        settings = Settings(repository=str(tmp_path), folders=[str(folder)])
        text = "\n".join(activation.warning(layout, settings))
        assert (f"IS ON THE SAME DISK AS {folder}" in text) == is_told
        assert ("is on this machine" in text) != is_told
    settings = Settings(repository="s3:https://s3.example.org/bucket", folders=[str(tmp_path)])
    assert "disk" not in "\n".join(activation.warning(layout, settings))


def snapshot(number: int, host: str = "one") -> Snapshot:
    return Snapshot(f"{number}" * 64, f"2026-11-0{number}T02:30:00.123456789Z", host, (), ())


def test_a_date_means_its_end_and_an_id_means_one_backup() -> None:
    found = [snapshot(1), snapshot(2), snapshot(4)]
    assert choice.as_of(found, None) == snapshot(4)
    assert choice.as_of(found, "2026-11-03") == snapshot(2)
    assert choice.as_of(found, "2026-11-04") == snapshot(4)
    assert choice.as_of(found, "1111") == snapshot(1)
    with pytest.raises(LittlestHubError, match="the oldest is of"):
        choice.as_of(found, "2026-10-31")
    with pytest.raises(LittlestHubError, match="expected a date"):
        choice.as_of(found, "yesterday")


def test_backups_of_another_machine_are_taken_only_if_there_is_no_doubt() -> None:
    alone = [snapshot(1, "old"), snapshot(2, "old")]
    assert choice.own(alone) == alone
    assert choice.of_this_machine(alone) == []
    with pytest.raises(LittlestHubError, match="there are backups of old, older"):
        choice.own([*alone, snapshot(3, "older")])
    assert choice.own([*alone, snapshot(3, "older")], "older") == [snapshot(3, "older")]


def test_an_id_of_another_machine_is_refused_with_the_option_that_takes_it() -> None:
    found, other = [snapshot(1)], snapshot(2, "two")
    with pytest.raises(LittlestHubError, match=r"of another machine, two\n.*--host two"):
        choice.as_of(found, "2222", [*found, other])
    with pytest.raises(LittlestHubError, match="expected a date"):
        choice.as_of(found, "3333", [*found, other])


def test_other_machines_are_named_only_if_the_repository_has_backups_of_them() -> None:
    found = [snapshot(1)]
    assert choice.elsewhere(found, "one") == ""
    assert choice.elsewhere([*found, snapshot(2, "two")], "one").endswith("of two: --host two")


def test_who_has_no_account_is_told_to_make_one_that_leaves_room_for_the_home() -> None:
    with pytest.raises(LittlestHubError, match="useradd --no-create-home"):
        Person.of("nobody-of-this-name")
