"""A person's own copy of the files of a repository, which a later commit updates.

It runs as the person, before the server starts, and reads files that only root or the resolver can
change. A manifest in the copy lists the files that were delivered: without one, every file that
differs counts as the person's. A delivery that is interrupted goes on at the next start. On a full
disk, files stay as they are.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from littlest_hub.stacks.launch.server.own_files import (
    OWN,
    ObstacleError,
    OwnFiles,
    Seen,
    state,
    target_of,
)
from littlest_hub.stacks.launch.server.three_way import ABSENT, Decision, decide

DIRECTORY = "launch"
"""The directory in a home that has the copies, by name of the server. It is no hidden one, since
people look for their files with other programs too."""
_MANIFEST = "manifest.json"
_MOST_BEGUN = 4
"""The most interrupted deliveries that are remembered; files of others count as the person's."""
_SHOWN_OF_VERSION = 12
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass
class Report:
    """The outcome for each file."""

    version: str
    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    beside: list[tuple[str, str]] = field(default_factory=list)
    """Files that both have changed, and where upstream's are."""
    kept: list[str] = field(default_factory=list)
    """Files that the person has changed, and that upstream has removed."""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """Files that a copy must not have, and why."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Files that could not be written, and why."""

    @property
    def text(self) -> str:
        """The report for the person; "": there is nothing to look at."""
        sections = (
            (
                "You and the repository have changed these. Yours are as they were; the"
                " repository's are beside them:",
                [f"{yours}: {theirs}" for yours, theirs in self.beside],
            ),
            ("The repository has removed these. You have changed them, so they stay:", self.kept),
            ("These are left out:", [f"{path}: {why}" for path, why in self.left_out]),
            (
                "These could not be written. The next start of the server tries again:",
                [f"{path}: {why}" for path, why in self.failed],
            ),
        )
        lines = [f"# Files of the commit {self.version[:_SHOWN_OF_VERSION]}"]
        for title, found in sections:
            if found:
                lines += ["", title, "", *(f"- {each}" for each in found)]
        return "\n".join([*lines, ""]) if len(lines) > 1 else ""


@dataclass(frozen=True)
class Manifest:
    """States of the delivered files, by path."""

    version: str = ""
    """"": nothing, or not the whole."""
    delivered: Mapping[str, str] = field(default_factory=dict)
    begun: tuple[Mapping[str, str], ...] = ()
    """Deliveries since then that were interrupted."""

    @classmethod
    def of_json(cls, text: str) -> Manifest:
        """Return what a file contains; nothing if it is damaged."""
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
            found = json.loads(text)
            delivered, *begun = ({**each} for each in (found["delivered"], *found["begun"]))
            states = [state for each in (delivered, *begun) for state in each.values()]
            if all(isinstance(each, str) for each in (found["version"], *states)):
                return cls(found["version"], delivered, tuple(begun))
        return cls()

    def to_json(self) -> str:
        return json.dumps(
            {"version": self.version, "delivered": self.delivered, "begun": self.begun}
        )


def deliver(source: Path, home: Path, name: str, version: str) -> tuple[Path, Report]:
    """Bring a copy up to a commit; return its directory, and what has become of the files.

    Args:
        source: the files of the commit, which cannot change.
        home: of the person.
        name: of the copy.
        version: names the repository and the commit, which the name of a file can contain.

    Raises:
        ObstacleError: something that is no directory has the copy's name, or one above it.
        OSError: there is no copy, and it cannot be made.
    """
    report = Report(version)
    with contextlib.closing(OwnFiles(home, DIRECTORY, name)) as copy:
        try:
            _deliver(source, copy, report)
        except OSError as error:
            report.failed.append((error.filename or "The files", error.strerror or str(error)))
        with contextlib.suppress(OSError, ObstacleError):
            _leave(copy, report)
        return copy.path, report


def _deliver(source: Path, copy: OwnFiles, report: Report) -> None:
    version = report.version
    manifest = Manifest.of_json(copy.own_text(_MANIFEST))
    if manifest.version == version:
        return
    if not source.is_dir():
        why = "they are not on this machine any more. Launch the repository again"
        report.failed.append(("All files", why))
        return
    theirs = dict(_files(source, report))
    begun = (*(each for each in manifest.begun if each != theirs), theirs)[-_MOST_BEGUN:]
    copy.write_own(_MANIFEST, Manifest("", manifest.delivered, begun).to_json())
    _Delivery(copy, source, manifest, report).run(theirs)
    if not report.failed:
        # Not the whole file system, which others write to as well.
        for path in (*report.written, *(beside for _, beside in report.beside)):
            copy.flush(path)
        copy.write_own(_MANIFEST, Manifest(version, theirs).to_json())


class _Delivery:
    """One delivery, file by file."""

    def __init__(self, copy: OwnFiles, source: Path, manifest: Manifest, report: Report) -> None:
        self._copy, self._source, self._manifest, self._report = copy, source, manifest, report

    def run(self, theirs: Mapping[str, str]) -> None:
        """Deliver all files.

        Raises:
            OSError: the disk is full.
        """
        former = set(self._manifest.delivered).union(*self._manifest.begun)
        # First what is removed: a file may become a directory, and the other way round.
        gone = sorted(former - theirs.keys(), reverse=True)
        for path in (*gone, *sorted(theirs)):
            try:
                self._one(path, theirs.get(path, ABSENT))
            except OSError as error:
                self._report.failed.append((path, error.strerror or str(error)))
                if error.errno in _FULL:
                    return
            except ObstacleError as error:
                self._report.failed.append((path, str(error)))

    def _one(self, path: str, theirs: str) -> None:
        try:
            seen = self._copy.seen(path)
        except ObstacleError as error:
            if theirs != ABSENT and theirs != self._manifest.delivered.get(path, ABSENT):
                # A file or link of the person's stands where the repository has a directory.
                self._put_beside(path, error.path)
            return
        delivered = self._manifest.delivered.get(path, ABSENT)
        begun = [each.get(path, ABSENT) for each in self._manifest.begun]
        decision = decide(seen.state, theirs, delivered, begun)
        if decision is Decision.TAKE:
            self._take(path, theirs, seen)
        elif decision is Decision.BESIDE:
            self._put_beside(path, path)
        elif decision is Decision.KEEP:
            self._report.kept.append(path)
        if theirs == ABSENT:
            self._copy.remove_empty_above(path)

    def _take(self, path: str, theirs: str, seen: Seen) -> None:
        if theirs == ABSENT:
            is_done, done = self._copy.remove(path, seen), self._report.removed
        else:
            is_done = self._copy.write(path, self._source / path, seen)
            done = self._report.written
        if is_done:
            done.append(path)
        else:
            self._report.failed.append((path, "it has changed just now"))

    def _put_beside(self, path: str, top: str) -> None:
        """Write upstream's file beside the person's, never over something else.

        Args:
            path: of the file.
            top: what of the path is the person's: all of it, or something that is no directory.
        """
        theirs = self._source / path
        for number in ("", *(f".{number}" for number in range(2, 100))):
            version = self._report.version[:_SHOWN_OF_VERSION]
            name = f"{top}.upstream-{version}{number}{path.removeprefix(top)}"
            # Something else may have that name, too.
            with contextlib.suppress(ObstacleError):
                seen = self._copy.seen(name)
                if seen.state == state(theirs) or (
                    seen.state == ABSENT and self._copy.write(name, theirs, seen)
                ):
                    self._report.beside.append((path, name))
                    return
        self._report.failed.append((path, "all names for a file beside it are taken"))


def _files(source: Path, report: Report) -> Iterator[tuple[str, str]]:
    """Yield path and state of all that is delivered; the resolver has judged the names."""

    def fail(error: OSError) -> None:
        raise error

    for place, directories, names in os.walk(source, onerror=fail):
        # os.walk counts links to directories among the directories.
        links = [each for each in directories if Path(place, each).is_symlink()]
        for name in (*names, *links):
            file = Path(place, name)
            path = str(file.relative_to(source))
            if why := _objection(path, file):
                report.left_out.append((ascii(path), why))
            else:
                yield path, state(file)


def _objection(path: str, file: Path) -> str:
    """Return why a file must not be delivered, whatever the resolver has thought; "": it may."""
    names = [each.lower() for each in path.split("/")]
    if not path.isprintable() or "\\" in path:
        return "its name has a control character or a backslash"
    if ".git" in names:
        # git would take its configuration, which names programs, for the person's own.
        return "it would be taken for a part of a git repository of yours"
    if names[0] == OWN:
        return "this name is used by the hub"
    if file.is_symlink():
        from littlest_hub.stacks.launch.resolver.tree import stays  # few repositories have links

        if not stays(PurePosixPath(path), target_of(state(file)) or ""):
            return "it is a link that leads out of the repository"
    return ""


def _leave(copy: OwnFiles, report: Report) -> None:
    """Leave a report in the copy, if there is something that the person should look at."""
    if not report.text:
        return
    name = f"launch-report-{report.version[:_SHOWN_OF_VERSION]}"
    with tempfile.NamedTemporaryFile("w", suffix=".md") as written:
        written.write(report.text)
        written.flush()
        file = Path(written.name)
        for path in (f"{name}.md", *(f"{name}-{number}.md" for number in range(2, 100))):
            seen = copy.seen(path)
            if seen.state == state(file):
                return
            if seen.state == ABSENT and copy.write(path, file, seen):
                return
