"""An announcement, and the file that contains it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.system.files import fingerprint

FILE = "announcement.json"
BANNER_LENGTH, MESSAGE_LENGTH = 200, 4000
"""The most characters that a banner, and a message of the day, may have."""
_MAX_BYTES = 1 << 16


@dataclass(frozen=True)
class Announcement:
    """An announcement on the hub's pages."""

    banner: str = ""
    """One line, on every page."""
    message: str = ""
    """Some lines, on the login page and on the page that users see first."""
    author: str = ""
    """The author: a user of the hub, or root."""
    time: str = ""
    """The time at which it was written."""

    @classmethod
    def written(cls, banner: str, message: str, author: str) -> Announcement:
        """Return what somebody has written now.

        Raises:
            LittlestHubError: it is too long.
        """
        # Control characters could turn a terminal's output around.
        banner = " ".join("".join(filter(str.isprintable, banner.replace("\n", " "))).split())
        lines = message.replace("\r\n", "\n").split("\n")
        message = "\n".join("".join(filter(str.isprintable, line)).rstrip() for line in lines)
        message = message.strip("\n")
        for what, text, most in (
            ("the banner", banner, BANNER_LENGTH),
            ("the message of the day", message, MESSAGE_LENGTH),
        ):
            if len(text) > most:
                raise LittlestHubError(
                    f"{what} has {len(text)} characters; expected at most {most}"
                )
        return cls(banner, message, author, time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()))


def save(directory: Path, announcement: Announcement) -> None:
    """Write the announcement in one step.

    The directory belongs to the service, and root writes here too: no link in it is followed.
    """
    place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        name = f".{FILE}.{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o644, dir_fd=place)
        try:
            with open(descriptor, "w") as file:
                os.fchmod(descriptor, 0o644)
                file.write(json.dumps(asdict(announcement), indent=1) + "\n")
                file.flush()
                os.fsync(descriptor)
            os.replace(name, FILE, src_dir_fd=place, dst_dir_fd=place)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=place)
            raise
    finally:
        os.close(place)


def read(directory: Path) -> Announcement:
    """Return the announcement in a directory; an empty one if there is none.

    The directory belongs to the service, whose user has no rights. So this believes nothing: no
    link is followed, and what is no announcement raises an error.

    Raises:
        ValueError, OSError: it cannot be read.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(directory / FILE, flags)
    except FileNotFoundError:
        return Announcement()
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no regular file")
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ValueError(f"it has more than {_MAX_BYTES} bytes")
    try:
        return Announcement(**{key: str(value) for key, value in json.loads(content).items()})
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is no announcement: {error}") from error


class Current:
    """The announcement at this moment; a changed file is read again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: tuple[object, Announcement] = (None, Announcement())

    def get(self) -> Announcement:
        """Return it; an empty one if it cannot be read."""
        now = fingerprint(self._directory / FILE)
        if now != self._known[0]:
            announcement = Announcement()
            with contextlib.suppress(ValueError, OSError):
                announcement = read(self._directory)
            self._known = (now, announcement)
        return self._known[1]
