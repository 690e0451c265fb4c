"""The files of a commit, or of a record, as a plain directory, safe to read and to copy.

Directories and files are made before the first link, so nothing is ever written through one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.environment.contents import Remark
from littlest_hub.stacks.launch.resolver.limits import Limits, TooMuchError, in_megabytes
from littlest_hub.system import git
from littlest_hub.system.git import Entry

MOST_REMARKS = 100
_LONGEST_NAME = 255  # of a file, in bytes: NAME_MAX of limits.h
_LONGEST_TARGET = 1000
_LFS = b"version https://git-lfs.github.com/spec/"
_LFS_BYTES = 1024
"""Specification of Git LFS: a pointer is smaller."""
Contents = Callable[[Iterable[Entry]], Iterator[tuple[Entry, Iterator[bytes]]]]
"""Yields entries in their order, and the parts of their contents."""


@dataclass
class Tree:
    """The files of a commit that were written."""

    files: list[str] = field(default_factory=list)
    """Paths of regular files."""
    links: list[str] = field(default_factory=list)
    size_bytes: int = 0
    left_out: list[Remark] = field(default_factory=list)
    """Files that were left out, with the reason."""

    def leave_out(self, path: str, why: str) -> None:
        """Remark that something is missing."""
        if len(self.left_out) < MOST_REMARKS:
            self.left_out.append(Remark(path, 1, why))


def write(entries: Iterable[Entry], contents: Contents, directory: Path, limits: Limits) -> Tree:
    """Write files.

    Args:
        entries: all of them, as somebody else has named them.
        contents: gives what is in them.
        directory: does not exist.
        limits: what it may contain.

    Raises:
        LittlestHubError: there is too much of it, or it is damaged or malicious.
    """
    tree = Tree()
    permitted = _permitted(entries, tree, limits)
    links = [each for each in permitted if each.mode == git.LINK]
    files = [each for each in permitted if each.mode != git.LINK]
    directory.mkdir()
    made = {directory}
    try:
        for entry, parts in contents(files):
            path = directory / os.fsdecode(entry.path)
            _make(path.parent, made, limits)
            beginning = _write_file(path, entry, parts)
            tree.files.append(os.fsdecode(entry.path))
            if entry.size_bytes < _LFS_BYTES and beginning.startswith(_LFS):
                tree.leave_out(tree.files[-1], "its content is in Git LFS, which is not fetched")
        for entry, parts in contents(links):
            path = directory / os.fsdecode(entry.path)
            _make(path.parent, made, limits)
            _write_link(path, os.fsdecode(entry.path), b"".join(parts), tree)
    except (FileExistsError, NotADirectoryError) as error:
        # git refuses such trees; on a file system without upper case, two names may be one.
        raise LittlestHubError(f"two files have the same name: {error.filename!r}") from None
    return tree


def _permitted(entries: Iterable[Entry], tree: Tree, limits: Limits) -> list[Entry]:
    """Return the entries to be written."""
    found = []
    for number, entry in enumerate(entries):
        if number >= limits.files:
            raise TooMuchError(
                f"the repository has more than {limits.files} files, the most at this hub"
            )
        tree.size_bytes += entry.size_bytes
        if tree.size_bytes > limits.files_bytes:
            raise TooMuchError(
                f"the files have more than {in_megabytes(limits.files_bytes)}, the most at this hub"
            )
        path, why = _judged(entry, limits)
        if why:
            tree.size_bytes -= entry.size_bytes
            tree.leave_out(path, why)
        else:
            found.append(entry)
    return found


def _judged(entry: Entry, limits: Limits) -> tuple[str, str]:
    """Return a path that may be shown, and why there will be no such file; "": there will be.

    Raises:
        LittlestHubError: nobody could mean well with it.
    """
    names = entry.path.split(b"/")
    shown = entry.path.decode(errors="backslashreplace")
    if not shown.isprintable():
        shown = repr(shown)[1:-1]
    if any(each in (b"", b".", b"..") or each.lower() == b".git" for each in names):
        raise LittlestHubError(f"the repository contains a file {shown[:80]!r}, as an attack does")
    try:
        text = entry.path.decode()
    except UnicodeDecodeError:
        return shown[:80], "its name is not in UTF-8"
    if not text.isprintable() or "\\" in text:
        return shown[:80], "its name has a control character or a backslash"
    if len(text) > limits.longest_path or max(map(len, names)) > _LONGEST_NAME:
        return shown[:80], f"its path has more than {limits.longest_path} characters"
    if entry.mode == git.LINK and entry.size_bytes > _LONGEST_TARGET:
        return shown, f"it is a link to a place with more than {_LONGEST_TARGET} characters"
    if entry.mode == git.MODULE:
        return shown, "it is a submodule, which is not fetched"
    return shown, ""


def _make(directory: Path, made: set[Path], limits: Limits) -> None:
    """Make a directory, and those above it, none of which is a link yet."""
    if directory in made:
        return
    # A few objects of git can be any number of directories.
    if len(made) > limits.files:
        raise TooMuchError(
            f"the repository has more than {limits.files} directories, the most at this hub"
        )
    _make(directory.parent, made, limits)
    directory.mkdir()
    made.add(directory)


def _write_file(path: Path, entry: Entry, parts: Iterator[bytes]) -> bytes:
    """Write a file, and return its beginning."""
    mode = 0o755 if entry.mode & 0o100 else 0o644
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    beginning = b""
    with open(descriptor, "wb") as file:
        for part in parts:
            beginning = beginning or part
            file.write(part)
    return beginning


def _write_link(path: Path, name: str, content: bytes, tree: Tree) -> None:
    """Make a link, unless it leads out of the repository."""
    try:
        target = content.decode()
    except UnicodeDecodeError:
        target = "\0"
    if not target.isprintable() or "\\" in target or not stays(PurePosixPath(name), target):
        return tree.leave_out(name, f"it is a link to {target[:80]!r}, outside of the repository")
    path.symlink_to(target)
    tree.links.append(name)


def stays(link: PurePosixPath, target: str) -> bool:
    """Return whether a link leads to a place in the repository, whatever other links there are.

    Only at its beginning may it go up: the directories above a link are no links themselves, while
    "a/.." may be anywhere, if "a" is a link.
    """
    if not target or target.startswith("/"):
        return False
    names = target.split("/")
    ups = next((n for n, each in enumerate(names) if each not in ("..", ".")), len(names))
    deepest = len(link.parents) - 1
    return names[:ups].count("..") <= deepest and ".." not in names[ups:]
