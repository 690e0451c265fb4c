"""nbgrader's release of an assignment: students see it whole, or as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

from nbgrader.exchange.default import ExchangeReleaseAssignment

_FILE_MODE, _DIRECTORY_MODE = 0o644, 0o755


class Release(ExchangeReleaseAssignment):  # type: ignore[misc]
    """The release for a course."""

    src_path: str
    dest_path: str

    def copy_files(self) -> None:
        """Copy the assignment beside its place, and put it there in one step."""
        target = Path(self.dest_path)
        course, name = self.coursedir.course_id, self.coursedir.assignment_id
        if target.is_dir() and not self.force:
            self.fail(f"{course} {name} is released already; to replace it, add --force")
        # Students list names that begin with no dot.
        new, old = (target.with_name(f".{target.name}.{each}") for each in ("new", "old"))
        for half in (new, old):
            shutil.rmtree(half, ignore_errors=True)
        self.do_copy(self.src_path, str(new))
        self.set_perms(str(new), fileperms=_FILE_MODE, dirperms=_DIRECTORY_MODE)
        if target.is_dir():
            target.replace(old)
        new.replace(target)
        shutil.rmtree(old, ignore_errors=True)
        self.log.info("Released as: %s %s", course, name)
