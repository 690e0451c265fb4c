"""nbgrader's collection of submissions, which believes nothing that a student can write.

The name of a submission's directory says who has handed it in and when, and its owner has chosen
the name. So the owner must have the account of the login in the name. The kernel's record of the
last change, which nobody can set, counts if the time in the name is much earlier. No submission
keeps those of others from being collected.
"""

from __future__ import annotations

import shutil
import stat
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nbgrader.exchange.default import ExchangeCollect

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses.grading import extensions
from littlest_hub.stacks.courses.grading.copying import copy_tree
from littlest_hub.stacks.courses.jupyter import read_published, submission_mb

_TIMESTAMP, _SECRET = "timestamp.txt", "submission_secret.txt"
_PATIENCE_S = 300
"""The longest time that handing in may take."""
_Record = dict[str, Any]


class Collect(ExchangeCollect):  # type: ignore[misc]
    """The collection for a course."""

    duedate: datetime | None

    def init_src(self) -> None:
        """Find the submissions of students, the newest first, without those that others forged."""
        self._accounts = read_published("accounts.json")
        self._extensions = extensions.read(Path(self.coursedir.root) / extensions.FILE)
        self._max_bytes = submission_mb() << 20
        self._submissions: dict[str, list[_Record]] = defaultdict(list)
        """Submissions by login, without forged ones."""
        super().init_src()
        for records in self._submissions.values():
            records.sort(key=lambda each: each["timestamp"], reverse=True)

    def _path_to_record(self, path: str) -> _Record:
        """Return the record in a name; keep the submission if it is that student's."""
        record: _Record = {"filename": Path(path).name, "timestamp": datetime.min}
        try:
            record = super()._path_to_record(path)
            problem = self._forgery(Path(path), record["username"])
        # Students choose names, and nbgrader's readers of times fail in many ways.
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        if problem:
            self.log.warning("%r is ignored: %s", path, problem)
            # A group of its own: nbgrader must not take it for the newest of somebody.
            return {**record, "username": f"\0{record['filename']}"}
        self._submissions[record["username"]].append(record)
        return record

    def _forgery(self, path: Path, login: str) -> str:
        """Return the reason why a submission is not that of a login; "": it is."""
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode):
            return "it is no directory"
        if login not in self._accounts:
            return f"no server of {login!r} was started so far"
        if status.st_uid != self._accounts[login]:
            return f"it is owned by user {status.st_uid}, who is not {login}"
        return ""

    def copy_files(self) -> None:
        """Collect the newest usable submission of each student."""
        course, assignment = self.coursedir.course_id, self.coursedir.assignment_id
        if not self._submissions:
            self.log.warning(
                "No submissions of '%s' for course '%s' to collect", assignment, course
            )
        else:
            text = "Processing %d submissions of '%s' for course '%s'"
            self.log.info(text, len(self._submissions), assignment, course)
        failed = []
        for login, records in sorted(self._submissions.items()):
            try:
                self._collect(login, records)
            except OSError as error:
                self.log.error("%s of %s: %s", assignment, login, error)
                failed.append(login)
        if failed:
            self.fail(f"{assignment} could not be collected of {', '.join(failed)}")

    def _collect(self, login: str, records: list[_Record]) -> None:
        assignment = self.coursedir.assignment_id
        directory = self.coursedir.submitted_directory
        path = self.coursedir.format_path(directory, login, assignment)
        target = Path(path)
        old = target.with_name(f".{target.name}.old")
        if old.is_dir() and not target.exists():
            # A killed command has left it.
            old.replace(target)
        is_there = target.is_dir()
        present = self.coursedir.get_existing_timestamp(path) if is_there else None
        for each in self._preferred(login, records):
            if is_there and not self._replaces(each, present):
                text = "No newer submission to collect" if self.update else "It is there already"
                self.log.info("%s: %s %s", text, login, assignment)
                return
            try:
                self._take(each, target, old)
            # A student can make it unreadable, and remove it meanwhile.
            except (LittlestHubError, PermissionError, FileNotFoundError) as error:
                self.log.warning("%r is refused: %s", each["filename"], error)
                continue
            text = "Updating" if is_there else "Collecting"
            self.log.info("%s submission: %s %s", text, login, assignment)
            return

    def _preferred(self, login: str, records: list[_Record]) -> Iterator[_Record]:
        """Yield submissions of a student in the order in which they should be taken."""
        if not self.before_duedate or self.duedate is None:
            yield from records
            return
        extension = self._extensions.get((self.coursedir.assignment_id, login), "0")
        last = self.duedate + extensions.length(extension)
        yield from (each for each in records if each["timestamp"] <= last)
        yield from (each for each in records if each["timestamp"] > last)

    def _replaces(self, record: _Record, present: datetime | None) -> bool:
        """Return whether a submission takes the place of the one that is collected."""
        if self.before_duedate:
            return bool(present != record["timestamp"])
        return bool(self.update and (present is None or record["timestamp"] > present))

    def _take(self, record: _Record, target: Path, old: Path) -> None:
        """Copy a submission, without links and special files, and correct its time."""
        source = Path(self.inbound_path) / record["filename"]
        half = target.with_name(f".{target.name}.half")
        for each in (half, old):
            shutil.rmtree(each, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            left_out, changed_s = copy_tree(source, half, self._max_bytes)
            _check_end(half)
        except (LittlestHubError, OSError):
            shutil.rmtree(half, ignore_errors=True)
            raise
        for name in left_out:
            self.log.warning("%r in %r is left out: it is no file", name, record["filename"])
        self._correct(half / _TIMESTAMP, record, changed_s)
        if target.is_dir():
            target.replace(old)
        half.replace(target)
        shutil.rmtree(old, ignore_errors=True)

    def _correct(self, file: Path, record: _Record, changed_s: float) -> None:
        claimed = record["timestamp"].replace(tzinfo=UTC)
        changed = datetime.fromtimestamp(int(changed_s), UTC)
        is_late = (changed - claimed).total_seconds() > _PATIENCE_S
        if is_late:
            text = "%r claims an earlier time than %s, which counts"
            self.log.warning(text, record["filename"], changed)
        # The file may claim another time than the name, and be a directory.
        if file.is_dir():
            shutil.rmtree(file)
        file.unlink(missing_ok=True)
        stamp = changed if is_late else claimed
        file.write_text(f"{stamp:%Y-%m-%d %H:%M:%S.%f} UTC\n")


def _check_end(submission: Path) -> None:
    """Refuse a submission that is still being handed in: nbgrader writes the secret last."""
    file = submission / _SECRET
    if not file.is_file() or not file.stat().st_size:
        raise LittlestHubError(f"it was not handed in whole: it has no {_SECRET} to read")
