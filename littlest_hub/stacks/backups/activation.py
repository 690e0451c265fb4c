"""Steps of `enable` and `disable` that are the stack's own: repository, password, leftovers."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.backups import settings as fragment
from littlest_hub.stacks.backups.repository.creation import prepare, refuse_unusable
from littlest_hub.stacks.backups.repository.password import adopt_password
from littlest_hub.stacks.backups.repository.place import Place
from littlest_hub.stacks.backups.settings import Settings
from littlest_hub.system.progress import to_stderr


def before_enable(layout: Layout, answers: Mapping[str, str]) -> None:
    """Try the repository and the password that somebody has named, and change nothing.

    Raises:
        LittlestHubError: no backup could be made there.
    """
    settings = Settings(answers["repository"], answers["password_file"])
    refused = f"{fragment.STACK} is not enabled"
    for variable, text in settings.problems():
        raise LittlestHubError(f"{refused}: {variable.lower()}: {text}")
    to_stderr(f"Trying {settings.repository} ...")
    try:
        refuse_unusable(Place.of(layout), settings)
    except LittlestHubError as error:
        raise LittlestHubError(f"{refused}: {error.message}", error.hint) from error


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
    if beside := _folder_beside(settings):
        yield f"*** {settings.repository} IS ON THE SAME DISK AS {beside}: both are lost together."
        yield "*** Is the disk for backups mounted? REPOSITORY can be an address elsewhere, too."
    elif settings.is_local:
        yield f"*** {settings.repository} is on this machine: if it is no disk or share of its own,"
        yield "*** a broken disk takes the backups along. REPOSITORY can be an address elsewhere."
    yield ""


def _folder_beside(settings: Settings) -> str:
    """Return a folder that is backed up to its own file system; "": none is, as far as is known."""
    if settings.is_local:
        for folder in settings.folders:
            with contextlib.suppress(OSError):
                if Path(folder).stat().st_dev == Path(settings.repository).stat().st_dev:
                    return folder
    return ""


def after_disable(layout: Layout) -> Iterator[str]:
    """Remove everything but the password and secrets, and yield what stays."""
    place = Place.of(layout)
    place.target.unlink(missing_ok=True)
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
