"""Shared folders as directories, made by root's helper.

The directory of the folders belongs to root, and so does each folder in it: nobody can put a link
in their place. The content of a folder is never changed or removed.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.helpers.hooks import run_program
from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.shared.settings import (
    DROP_BOX,
    OF_A_GROUP,
    READ_ONLY,
    Folder,
    Shared,
    place_of,
)
from littlest_hub.system import acl
from littlest_hub.system.ownership import loose_step

# The mode of a folder, and permissions of group and others for new entries, which belong to the
# folder's group (setgid).
_MODES = {READ_ONLY: (0o2775, 0o7, 0o5), OF_A_GROUP: (0o2770, 0o7, 0o0)}
# Everybody may pass through a drop box to a folder of their own.
_DROP_BOX = 0o751
_OWN = (0o2750, 0o5, 0o0)
_CLOSED = 0o700


def make(layout: Layout, shared: Shared) -> None:
    """Make the folders with their groups, and close those that are not shared any more.

    Raises:
        LittlestHubError: a folder cannot be made.
    """
    place = layout.on_disk(place_of(layout))
    if not shared.folders and not place.exists():
        return
    if loose := loose_step(place_of(layout), layout.root):
        text = f"{place} cannot have shared folders: {loose.reason}, so others can put a link there"
        raise LittlestHubError(text, loose.repair)
    place.mkdir(mode=0o755, parents=True, exist_ok=True)
    place.chmod(0o755)  # independent of the umask
    for folder in shared.folders:
        with _opened(place / folder.name) as directory:
            _share(directory, folder)
    names = {folder.name for folder in shared.folders}
    for entry in os.scandir(place):
        if entry.name not in names and entry.is_dir(follow_symlinks=False):
            with _opened(Path(entry.path)) as directory:
                os.fchown(directory, 0, 0)
                os.fchmod(directory, _CLOSED)


def make_own(layout: Layout, shared: Shared, account: str) -> None:
    """Make the folders of an account in the drop boxes.

    Raises:
        LittlestHubError: a folder cannot be made.
    """
    person = pwd.getpwnam(account)
    for folder in shared.folders:
        box = layout.on_disk(place_of(layout)) / folder.name
        if folder.kind != DROP_BOX or not box.exists() or person.pw_gid == 0:
            continue
        own = box / account
        with _opened(own) as directory:
            if os.fstat(directory).st_uid == person.pw_uid:
                continue  # its owner may have given it other permissions
            # It is new, or somebody made it while the shared folder was of another kind.
            mode, group, others = _OWN
            _set_default(own, directory, group, others)
            os.fchown(directory, person.pw_uid, _number_of(folder.group))
            os.fchmod(directory, mode)


def _share(directory: int, folder: Folder) -> None:
    if folder.kind == DROP_BOX:
        acl.remove_default(directory)
        os.fchown(directory, 0, _number_of(folder.group))
        os.fchmod(directory, _DROP_BOX)
        return
    mode, group, others = _MODES[folder.kind]
    _set_default(Path(folder.name), directory, group, others)
    os.fchown(directory, 0, _number_of(folder.group))
    os.fchmod(directory, mode)


def _set_default(name: Path, directory: int, group: int, others: int) -> None:
    try:
        acl.set_default(directory, 0o7, group, others)
    except OSError as error:
        if not acl.is_unsupported(error):
            raise
        text = f"{name} cannot be shared: its filesystem has no access control lists"
        raise LittlestHubError(text, "Mount it with the option acl") from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a directory, which is made if it is missing; refuse a link."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=_CLOSED)
    try:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags)
    except OSError as error:
        raise LittlestHubError(f"{path} cannot be shared: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _number_of(group: str) -> int:
    """Return the number of a group of the machine, which is made if it is missing."""
    with contextlib.suppress(KeyError):
        return grp.getgrnam(group).gr_gid
    if reason := run_program("groupadd", "--force", group):
        raise LittlestHubError(reason)
    return grp.getgrnam(group).gr_gid
