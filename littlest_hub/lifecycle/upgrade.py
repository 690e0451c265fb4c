"""From one release to another and back: recorded before it begins, undone if it fails."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Optional, TypedDict

from littlest_hub.errors import LittlestHubError
from littlest_hub.hub import database
from littlest_hub.installation import fragment_files
from littlest_hub.layout import Layout
from littlest_hub.lifecycle import release
from littlest_hub.lifecycle.machine import Described, Machine, is_answer, visit
from littlest_hub.system.files import link, write
from littlest_hub.system.progress import Progress
from littlest_hub.system.sd_daemon import journal
from littlest_hub.system.signals import uninterrupted
from littlest_hub.units.ports import Ports, choose
from littlest_hub.unprivileged.privileges import as_hub

# Servers that may run where we cannot look, from a release that other machines see too.
_ELSEWHERE = re.compile(r"^[^#\n]*batchspawner", re.MULTILINE)
_ERROR, _NOTICE = 3, 5


class Serving(TypedDict):
    """A release as it serves."""

    release: str
    """What the `hub` link holds: releases/VERSION."""
    version: str
    described: Described | None
    """None: it has yet to describe itself."""


# "from" is a keyword of Python's.
Switch = TypedDict(
    "Switch",
    {"verb": str, "from": Serving, "to": Serving, "is_done": bool, "earlier": Optional["Switch"]},
)
"""What state/switch.json holds: the last switch, and the one before until that is done."""


def last(layout: Layout) -> Switch | None:
    """The last switch, which may have been interrupted."""
    try:
        found: Switch = json.loads(layout.on_disk(layout.switch_record).read_text())
        found["from"]["release"], found["to"]["release"], found["is_done"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


def serving(layout: Layout, prefix: Path) -> Serving:
    """A release that serves now."""
    return {
        "release": str(prefix.relative_to(layout.base)),
        "version": release.version_of(layout, prefix),
        "described": Machine(layout).described(),
    }


def before(layout: Layout, prefix: Path) -> Serving | None:
    """What serves while `prefix` is installed; None: nothing, or an earlier state of `prefix`."""
    interrupted = last(layout)
    if interrupted and not interrupted["is_done"]:
        was = interrupted["from"]
        is_there = layout.on_disk(layout.base / was["release"] / "bin" / "python3").exists()
        if is_there and layout.base / interrupted["to"]["release"] == prefix:
            return was
    current = release.active(layout)
    return None if current in (None, prefix) else serving(layout, current)


def rehearse(layout: Layout, say: Progress) -> None:
    """Copy the database, and try on a copy of it what this release will do to it.

    Raises:
        LittlestHubError: it would fail; nothing was changed.
    """
    if place := database.place_of_another(layout):
        say(
            f"{place} has a database of its own: copies and migrations of it are yours; JupyterHub"
            " checks its schema when it starts"
        )
        return
    say("Copying the database ...")
    if as_hub(layout, lambda: database.rehearse(layout)):
        say(f"Its schema is going to change to {database.head()}; a trial on a copy went well")


@contextlib.contextmanager
def switching(
    layout: Layout, was: Serving, to: Serving, verb: str, say: Progress
) -> Iterator[None]:
    """Switch from one release to another inside; what fails or is interrupted is switched back.

    SIGKILL leaves a record by which `undo` does the same.
    """
    earlier = last(layout)
    if earlier and not earlier["is_done"]:
        earlier = earlier["earlier"]
    switch: Switch = {"verb": verb, "from": was, "to": to, "is_done": False, "earlier": earlier}
    _write(layout, switch)
    _log(layout, switch, "begun")
    try:
        yield
    except BaseException as error:
        reason = str(error) or type(error).__name__
        with uninterrupted():
            _log(layout, switch, f"failed: {reason}", _ERROR)
            try:
                _back(layout, switch, say)
            except (LittlestHubError, OSError) as second:
                raise LittlestHubError(
                    f"{reason}\n{was['version']} does not serve either: {second}",
                    f"See: journalctl -u {layout.instance}, and {layout.upgrade_log}",
                ) from error
        raise
    _write(layout, {**switch, "is_done": True, "earlier": None})
    _log(layout, switch, "done")


def undo(layout: Layout, prefix: Path, say: Progress) -> bool:
    """Finish what was killed: switch back from `prefix`, if it did not get to its end.

    Returns:
        Whether the prefix may be removed: nothing uses it.
    """
    switch = last(layout)
    if switch and not switch["is_done"] and layout.base / switch["to"]["release"] == prefix:
        _log(layout, switch, "was killed", _ERROR)
        _back(layout, switch, say)
    elif release.active(layout) == prefix:
        return False
    return prefix.name not in release.users_of(layout)


def _back(layout: Layout, switch: Switch, say: Progress) -> None:
    """Have the release before serve again."""
    was, machine = switch["from"], Machine(layout)
    say(f"Switching back to {was['version']} ...")
    # The hub of that release may put back its own copy of the database then.
    back: Switch = {**switch, "verb": "return", "from": switch["to"], "to": was}
    _write(layout, back)
    link(layout.on_disk(layout.hub), Path(was["release"]))
    if was["described"] is not None and machine.has_systemd:
        changed = machine.restore(was["described"])
        if machine.is_running:
            machine.start(changed, is_switched=True, is_forced=True)
    _log(layout, back, "done")
    if switch["earlier"]:
        _write(layout, switch["earlier"])
    else:
        layout.on_disk(layout.switch_record).unlink(missing_ok=True)


def rollback(layout: Layout, wanted: str | None, say: Progress) -> str:
    """Return to the release before, and to its database if the schema differs.

    Args:
        layout: of the base directory.
        wanted: its version, to be sure; None: whichever it is.
        say: prints progress.

    Returns:
        What the administrator should know now.

    Raises:
        LittlestHubError: there is none, or it does not serve; then all is as before.
    """
    target = _target(layout, wanted)
    current = release.active(layout)
    prefix = layout.base / target["release"]
    if current is None or current == prefix:
        raise LittlestHubError(f"{target['version']} serves already")
    python = [str(layout.on_disk(prefix / "bin" / "python3")), "-I"]
    say(f"Checking the fragments with {target['version']} ...")
    check = [*python, "-m", "littlest_hub", "check"]
    checked = subprocess.run(check, capture_output=True, text=True)
    if checked.returncode:
        raise LittlestHubError(
            f"{target['version']} refuses the fragments:\n{checked.stdout}{checked.stderr}",
            "Mend them, then try again; nothing was changed",
        )
    _check_database(layout, target, python, say)
    machine = Machine(layout)
    ports = choose(layout, None) if machine.has_systemd else Ports()
    is_public = is_answer(visit(ports.public_address, "/hub/login"))
    with switching(layout, serving(layout, current), target, "rollback", say):
        say(f"Switching to {target['version']} ...")
        link(layout.on_disk(layout.hub), Path(target["release"]))
        if machine.has_systemd and target["described"] is not None:
            changed = machine.restore(target["described"])
            if machine.is_running:
                machine.start(changed, is_switched=True)
                say("Watching it ...")
                machine.watch(ports, public=is_public)
    said = remove_unused(layout)
    return "\n".join([f"{target['version']} serves again.", *said])


def _target(layout: Layout, wanted: str | None) -> Serving:
    switch, current = last(layout), release.active(layout)
    if switch is None:
        raise LittlestHubError(
            "there is no release to return to: none has been upgraded from here",
            f"Releases: ls {layout.releases}",
        )
    # After an interrupted rollback, the same again.
    is_there = current == layout.base / switch["to"]["release"]
    is_repeated = not switch["is_done"] and switch["verb"] == "rollback" and not is_there
    target = switch["to"] if is_repeated else switch["from"]
    if wanted not in (None, target["version"]):
        raise LittlestHubError(
            f"{wanted} is not the release before; that is {target['version']}",
            f"littlest-hub rollback --to {target['version']}",
        )
    if not layout.on_disk(layout.base / target["release"] / "bin" / "python3").exists():
        raise LittlestHubError(
            f"{target['version']} is gone from {layout.base / target['release']}",
            "Its installer puts it back there: run that with -s, then try again",
        )
    return target


def _check_database(layout: Layout, target: Serving, python: list[str], say: Progress) -> None:
    file = layout.on_disk(layout.database)
    if not file.exists():
        return
    ask = "from littlest_hub.hub.database import head; print(head())"
    answer = subprocess.run([*python, "-c", ask], capture_output=True, text=True)
    head, found = answer.stdout.strip(), as_hub(layout, lambda: database.revision(file))
    if answer.returncode or found in (None, head):
        return
    copy = database.backup_of(layout, head)
    if not copy.is_file():
        raise LittlestHubError(
            f"the database has the schema {found}, {target['version']} needs {head}, and there is"
            f" no copy of that: {copy}",
            "Put one there from your backup, then try again; nothing was changed",
        )
    say(f"The database returns to its copy {copy}, with the users and servers of now")


def remove_unused(layout: Layout) -> list[str]:
    """Remove releases that nobody needs any more, as `release.remove_unused` says."""
    if any(_ELSEWHERE.search(f.read_text(errors="replace")) for f in fragment_files(layout)):
        return [f"Old releases in {layout.releases} stay: servers on other machines may use them"]
    switch, current = last(layout), release.active(layout)
    keep = {current} if current else set()
    if switch:
        keep |= {layout.base / switch[end]["release"] for end in ("from", "to")}
    return release.remove_unused(layout, keep)


def listing(layout: Layout) -> str:
    """Every release, and why it is there."""
    switch, current, users = last(layout), release.active(layout), release.users_of(layout)
    lines = []
    for prefix in release.installed(layout):
        roles = ["active"] if prefix == current else []
        if switch and layout.base / switch["from"]["release"] == prefix != current:
            roles.append("rollback leads here")
        servers = sorted(u for u in users.get(prefix.name, ()) if ".user-" in u or ".user@" in u)
        roles += [f"{len(servers)} user servers"] if servers else []
        lines.append(f"{prefix.name:12} {', '.join(roles) or 'unused'}")
    return "\n".join(lines)


def _write(layout: Layout, switch: Switch) -> None:
    # The hub reads it, whoever that is.
    mode = 0o644 if layout.hub_user else 0o600
    write(layout.on_disk(layout.switch_record), json.dumps(switch, indent=1) + "\n", mode)


def _log(layout: Layout, switch: Switch, outcome: str, priority: int = _NOTICE) -> None:
    """The first line of it in state/upgrades.log, all in the journal."""
    versions = f"{switch['from']['version']} -> {switch['to']['version']}"
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    one_line = outcome.partition("\n")[0]
    with contextlib.suppress(OSError), layout.on_disk(layout.upgrade_log).open("a") as log:
        log.write(f"{now} {switch['verb']} {versions} {one_line}\n")
    if layout.is_live:
        message = f"{switch['verb']} of {layout.base}, {versions}: {outcome}"
        journal(message, layout.hub_service, priority)
