"""`littlest-hub backups`: back up now, list, restore, check, and what has to be kept elsewhere."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from littlest_hub.errors import LittlestHubError, as_typed
from littlest_hub.layout import Layout
from littlest_hub.manifest import verbs
from littlest_hub.manifest.verbs import Verbs
from littlest_hub.stacks.backups import settings as fragment
from littlest_hub.stacks.backups.activation import warning
from littlest_hub.stacks.backups.presentation import date, human
from littlest_hub.stacks.backups.repository import choice, integrity, record
from littlest_hub.stacks.backups.repository.creation import prepare
from littlest_hub.stacks.backups.repository.password import adopt_password
from littlest_hub.stacks.backups.repository.place import Place, exclusively
from littlest_hub.stacks.backups.restore import people
from littlest_hub.stacks.backups.restore.hub_archive import write_hub
from littlest_hub.stacks.backups.restore.people import Person
from littlest_hub.stacks.backups.restore.source import Count, Source
from littlest_hub.stacks.backups.settings import STACK
from littlest_hub.stacks.backups.units import run_unit, trial_unit
from littlest_hub.system.files import refuse_unwritable
from littlest_hub.system.progress import to_stderr
from littlest_hub.system.systemctl import show, systemctl

_SHOW_S = 3
_LOOK_S = 0.3
_EXAMPLES = """\
examples:
  {command} now                        back up, and show how far it is
  {command} list                       the backups, with dates
  {command} restore alice              alice's home as of last night, to ~/restored/; if
                                       she has no home any more, all of it comes back
  {command} restore alice thesis/plan.ipynb --as-of 2026-11-20
  {command} restore --hub /root/hub.tar.gz    then: littlest-hub restore /root/hub.tar.gz
  {command} key                        the password, which has to be kept elsewhere
"""


def run(layout: Layout, arguments: Sequence[str]) -> int:
    """Run `littlest-hub backups …`."""
    command = f"{layout.command} {STACK}"
    parser = argparse.ArgumentParser(
        prog=command,
        description="Encrypted backups of homes, shared folders, and the hub.",
        epilog=_EXAMPLES.format(command=command),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for word, unit, what, text in (
        ("now", run_unit(layout), "run", "make a backup now, and wait for it"),
        ("test", trial_unit(layout), "test", "run the restore test now, and wait for it"),
    ):
        verbs.add(commands, word, partial(_start, unit, what), text)
    listed = verbs.add(commands, "list", _list, "list the backups")
    listed.add_argument("--json", action="store_true", help="print JSON")
    _add_restore(commands)
    check = verbs.add(commands, "check", _check, "check the repository")
    check.add_argument(
        "--read-data", action="store_true", help="read all of its data, which takes long"
    )
    verbs.add(commands, "key", _key, "print what has to be kept elsewhere: the password")
    verbs.add(commands, "init", _init, "make the repository, if there is none at REPOSITORY")
    restic = verbs.add(commands, "restic", _restic, "run any command of restic with the repository")
    restic.add_argument("arguments", nargs=argparse.REMAINDER, metavar="…")
    return verbs.run(parser, layout, arguments)


def _add_restore(commands: Verbs) -> None:
    restore = verbs.add(
        commands,
        "restore",
        _restore,
        "restore files of a person, or the hub",
        "Restore files of a person to the folder restored/ of the home. If the home directory does"
        " not exist, all of it is restored in its place. With --hub, write the hub's own backup to"
        " a file, for `littlest-hub restore FILE`.",
    )
    restore.add_argument("person", nargs="?", metavar="PERSON", help="the account of the person")
    restore.add_argument(
        "path", nargs="?", default="", metavar="PATH", help="in the home; default: all"
    )
    restore.add_argument("--hub", type=Path, metavar="FILE", help="write the hub's backup there")
    restore.add_argument(
        "--as-of", metavar="WHEN", help="a date, a date and a time, or the id of a backup"
    )
    restore.add_argument("--host", metavar="NAME", help="the machine that was backed up")
    restore.set_defaults(parser=restore)


def _start(unit: str, what: str, layout: Layout, options: argparse.Namespace) -> int:
    """Start a unit, show its status until it ends, and print how it ended.

    Ctrl-C ends only the showing.

    Args:
        unit: its name.
        what: the field of the record that has its outcome.
        layout: the installation.
        options: none.

    Raises:
        LittlestHubError: it cannot be started, or has failed.
    """
    before = getattr(record.read(Place.of(layout)), what)
    systemctl("start", "--no-block", unit)
    try:
        _follow(unit)
    except KeyboardInterrupt:
        to_stderr(f"It goes on. To see it: {as_typed(f'systemctl status {unit}')}")
        return 0
    outcome = getattr(record.read(Place.of(layout)), what)
    see = f"See: {as_typed(f'journalctl -u {unit} -n 30')}"
    if outcome == before:
        raise LittlestHubError(f"{unit} was ended before it was done", see)
    if outcome.problem:
        raise LittlestHubError(outcome.problem, see)
    print(outcome.text)
    warning = record.read(Place.of(layout)).warning
    if warning and what == "run":
        to_stderr(f"warning: {warning}")
    return 0


def _follow(unit: str) -> None:
    last = ""
    while True:
        state, text = show(unit, "ActiveState"), show(unit, "StatusText")
        if text and text != last:
            last = text
            to_stderr(text)
        is_waiting = show(unit, "Job") not in ("", "0")
        if not is_waiting and state not in ("activating", "active", "reloading"):
            return
        time.sleep(_LOOK_S)


def _list(layout: Layout, options: argparse.Namespace) -> int:
    """Print the backups, the newest last."""
    place = Place.of(layout)
    place.make()
    found = place.repository(fragment.read(layout)).snapshots(layout.instance)
    if options.json:
        rows = [
            {"id": each.id, "time": each.time, "host": each.host, "paths": list(each.paths)}
            for each in found
        ]
        print(json.dumps({"backups": rows}, indent=1))
        return 0
    for each in found:
        staging = place.staging_in(each)
        folders = " ".join(path for path in each.paths if path != staging)
        print(f"{each.id[:8]}  {date(each.time)}  {each.host:16} {folders}")
    if not found:
        print(f"There is no backup yet. To make one: {layout.command} {STACK} now")
    known = record.read(place)
    if known.run.problem:
        print(f"The last run has failed: {known.run.problem}")
    return 0


def _restore(layout: Layout, options: argparse.Namespace) -> int:
    if (options.hub is None) == (options.person is None):
        options.parser.error("expected PERSON, or --hub FILE")
    if options.hub is not None:
        refuse_unwritable(options.hub.absolute())
    place = Place.of(layout)
    place.make()
    repository = place.repository(fragment.read(layout))
    everything = repository.snapshots(layout.instance)
    found = choice.own(everything, options.host)
    snapshot = choice.as_of(found, options.as_of, everything)
    when = date(snapshot.time)
    if options.hub is not None:
        target = options.hub.absolute()
        staging = place.staging_in(snapshot)
        write_hub(repository, snapshot, f"{staging}/{place.hub.name}", target)
        print(f"{target}: the hub as of {when}. To go on: {layout.command} restore {target}")
        return 0
    person = Person.of(options.person)
    path = person.path_of(options.path)
    node = people.look(repository, snapshot.id, person, path).get(path)
    if node is None:
        others = [f"Other backups: {layout.command} {STACK} list"]
        others += filter(None, [choice.elsewhere(everything, snapshot.host)])
        raise LittlestHubError(
            f"{path} is not in the backup of {snapshot.host} of {when}", "\n".join(others)
        )
    if node.kind not in ("dir", "file"):
        raise LittlestHubError(f"{path} is a link; restore the directory that contains it")
    source = Source(repository, place, snapshot, node, person, is_filtered=False)
    if path == person.home and not Path(person.home).exists():
        to_stderr(f"{person.home} does not exist: restoring all of it, as of {when}")
        count = source.home_made(_Told())
        where = person.home
    else:
        to_stderr(f"Restoring {path} as of {when}")
        where, count = source.restored(_Told())
    number = "1 file" if count.files == 1 else f"{count.files} files"
    print(f"{where}: {number}, {human(count.size_bytes)}, of {person.account}")
    return 0


class _Told:
    """Shows how much has been restored, every few seconds."""

    def __init__(self) -> None:
        self._next_s = time.monotonic() + _SHOW_S

    def __call__(self, count: Count) -> None:
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _SHOW_S
            to_stderr(f"  {count.files} files, {human(count.size_bytes)}")


def _check(layout: Layout, options: argparse.Namespace) -> int:
    place = Place.of(layout)
    repository = place.repository(fragment.read(layout))
    with exclusively(place):
        part = integrity.EVERYTHING if options.read_data else ""
        integrity.check(place, repository, to_stderr, part)
    known = record.read(place).check
    if known.problem:
        again = f"{layout.command} {STACK} check --read-data"
        raise LittlestHubError(f"an earlier check has found damage: {known.problem}", again)
    print(f"The repository is whole: {known.text}.")
    return 0


def _key(layout: Layout, _: argparse.Namespace) -> int:
    place, settings = Place.of(layout), fragment.read(layout)
    if not place.password.exists():
        raise LittlestHubError(f"{place.password} is missing", f"{layout.command} {STACK} init")
    print("Keep these elsewhere, on paper or in a password manager, to read the backups without")
    print("this machine:\n")
    print(f"  repository  {place.repository(settings).address}")
    print(f"  password    {place.password.read_text().strip()}\n")
    print(f"How to restore with them: {layout.documentation}/how-to/backups.md")
    if place.variables.exists():
        print(f"You need the secrets in {place.variables} as well.")
    if not record.read(place).key_shown_s:
        record.update(place, key_shown_s=time.time())
    return 0


def _init(layout: Layout, _: argparse.Namespace) -> int:
    place, settings = Place.of(layout), fragment.read(layout)
    adopt_password(place, settings.password_file)
    is_new = prepare(place, settings)
    print(f"{'Made' if is_new else 'Found'} a repository at {settings.repository}.")
    print("\n".join(warning(layout, settings)))
    return 0


def _restic(layout: Layout, options: argparse.Namespace) -> int:
    place = Place.of(layout)
    repository = place.repository(fragment.read(layout))
    sys.stdout.flush()
    try:
        return subprocess.run(
            ["restic", *options.arguments], env=repository.environment(), check=False
        ).returncode
    except OSError as error:
        raise LittlestHubError(f"restic cannot be started: {error}") from error
