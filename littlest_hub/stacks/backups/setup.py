"""The repository and its password, made when the stack is enabled."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.backups import settings as fragment
from littlest_hub.stacks.backups.place import Place
from littlest_hub.stacks.backups.settings import Settings
from littlest_hub.stacks.backups.units import address_of, run_unit, trial_unit
from littlest_hub.system.files import write

_STAMPS = Path("/var/lib/systemd/timers")
"""Where systemd keeps when a persistent timer has run last (systemd.timer(5))."""
_WORDS = 6
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_WORD_LENGTH = 5
"""A password has 30 characters of 31, 148 bits: one can copy it from paper."""


def after_enable(layout: Layout, _: EnabledStack) -> Iterator[str]:
    """Make password and repository, unless they exist, and yield what people do next.

    Raises:
        LittlestHubError: the repository cannot be used.
    """
    place, settings = Place.of(layout), fragment.read(layout)
    try:
        adopt_password(place, settings.password_file)
        is_new = prepare(place, settings)
    except LittlestHubError as error:
        again = f"{layout.command} {fragment.STACK} init"
        hint = f"{error.hint}; then run: {again}" if error.hint else f"Then run: {again}"
        text = f"no backup can be made yet: {error.message}"
        raise LittlestHubError(text, hint) from error
    yield (
        f"Made a repository at {settings.repository}."
        if is_new
        else f"Found a repository at {settings.repository}, which the password opens."
    )
    yield from warning(layout, settings)
    yield f"The first backup is made tonight. To make it now: {layout.command} backups now"


def warning(layout: Layout, settings: Settings) -> Iterator[str]:
    """Yield what has to be kept elsewhere, and what a directory of this machine is not."""
    yield ""
    yield "*** KEEP THE PASSWORD ELSEWHERE, or the backups are lost together with this machine."
    yield f"*** Nobody can read them without it. To see it: {layout.command} backups key"
    if settings.is_local:
        yield f"*** {settings.repository} is on this machine: if it is no disk or share of its own,"
        yield "*** a broken disk takes the backups along. REPOSITORY can be an address elsewhere."
    yield ""


def adopt_password(place: Place, given: str) -> None:
    """Write the password file, unless there is one: with a given password, or a new one.

    Raises:
        LittlestHubError: the given file cannot be read, or contains none.
    """
    # Once it is taken over, the given file may go.
    if given and not (place.password.exists() and not Path(given).exists()):
        try:
            # As restic: without white space around it.
            password = Path(given).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise LittlestHubError(f"{given} cannot be read: {error}") from error
        if not password:
            raise LittlestHubError(f"{given} is empty; expected the password of a repository")
        if place.password.exists() and place.password.read_text().strip() != password:
            raise LittlestHubError(
                f"{place.password} has another password than {given}",
                f"If that of {given} is right, remove {place.password}",
            )
        write(place.password, f"{password}\n", 0o600)
    elif not place.password.exists():
        write(place.password, f"{new_password()}\n", 0o600)


def new_password() -> str:
    """Return a random password that people can copy from paper."""
    words = ("".join(secrets.choice(_ALPHABET) for _ in range(_WORD_LENGTH)) for _ in range(_WORDS))
    return "-".join(words)


def prepare(place: Place, settings: Settings) -> bool:
    """Make the repository, unless it exists; return whether it was made.

    Raises:
        LittlestHubError: there is one that the password does not open, or none can be made.
    """
    place.make()
    repository = place.repository(settings)
    if repository.exists():
        return False
    if settings.is_local:
        directory = Path(settings.repository)
        if directory.exists() and any(directory.iterdir()):
            raise LittlestHubError(
                f"{directory} contains other files, and no repository",
                "Choose an empty directory, or one that does not exist",
            )
        if not directory.exists():
            try:
                directory.mkdir(mode=0o700, parents=True)
            except OSError as error:
                raise LittlestHubError(f"{directory} cannot be made: {error.strerror}") from error
    repository.run("init")
    return True


def point_at(place: Place, settings: Settings) -> None:
    """Let the unit's sandbox write to the repository, if it is a directory."""
    place.target.unlink(missing_ok=True)
    if settings.is_local:
        place.target.symlink_to(settings.repository)


def after_disable(layout: Layout) -> Iterator[str]:
    """Remove everything but the password and secrets, and yield what stays."""
    place = Place.of(layout)
    place.target.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        # systemd leaves the directory of a socket.
        layout.on_disk(address_of(layout)).parent.rmdir()
    for unit in (run_unit(layout), trial_unit(layout)):
        stamp = f"stamp-{unit.replace('.service', '.timer')}"
        layout.on_disk(_STAMPS / stamp).unlink(missing_ok=True)
    kept = {place.password.name, place.variables.name}
    with contextlib.suppress(FileNotFoundError):
        for each in place.directory.iterdir():
            if each.name in kept:
                continue
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each, ignore_errors=True)
            else:
                each.unlink(missing_ok=True)
    yield "The backups stay where they are: the repository is yours."
    if place.password.exists():
        yield f"Nobody can read them without the password. Is {place.password} the only copy?"
        yield "`uninstall --purge` removes that file, together with all of state/."
