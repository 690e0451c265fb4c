"""nbgrader's release of assignments and feedback: students see it whole, or as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

from nbgrader.exchange.default import ExchangeReleaseAssignment, ExchangeReleaseFeedback
from nbgrader.utils import notebook_hash

from littlest_hub.errors import LittlestHubError

_FILE_MODE, _DIRECTORY_MODE = 0o644, 0o755
_SECRET = "submission_secret.txt"
_MAX_SECRET = 1000


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


class ReleaseFeedback(ExchangeReleaseFeedback):  # type: ignore[misc]
    """The release of feedback for a course: a student's in whole, and one does not stop others'."""

    src_path: str
    dest_path: str

    def copy_files(self) -> None:
        """Release what was made whole."""
        left_out = {*filter(None, self.coursedir.student_id_exclude.split(","))}
        refused = {}
        for directory in sorted(Path("/").glob(self.src_path.lstrip("/"))):
            login = directory.parent.name
            if login in left_out:
                continue
            try:
                self._release(login, directory)
                self.log.info("Released feedback of %s for %s", directory.name, login)
            except LittlestHubError as error:
                refused[login] = str(error)
        if refused:
            named = "; ".join(f"{login}: {why}" for login, why in refused.items())
            self.fail(f"feedback was not released for {named}")

    def _release(self, login: str, directory: Path) -> None:
        """Release the pages of one submission.

        Raises:
            LittlestHubError: they are not whole, or the student cannot find them.
        """
        secret = _secret(directory)
        graded = Path(
            self.coursedir.format_path(
                self.coursedir.autograded_directory, login, self.coursedir.assignment_id
            )
        )
        notebooks = sorted(each.stem for each in graded.glob("*.ipynb"))
        pages = [directory / f"{each}.html" for each in notebooks]
        if not pages or not all(map(_is_whole, pages)):
            raise LittlestHubError("it is not whole: generate it again")
        for page in pages:
            name = notebook_hash(secret=secret, notebook_id=page.stem)
            half = Path(self.dest_path) / f".{name}.half"
            shutil.copyfile(page, half)
            half.chmod(_FILE_MODE)
            half.replace(half.with_name(f"{name}.html"))


def _is_whole(page: Path) -> bool:
    """Return whether a page was written to its end."""
    try:
        with page.open("rb") as opened:
            opened.seek(0, 2)
            opened.seek(max(0, opened.tell() - 100))
            return opened.read().rstrip().endswith(b"</html>")
    except FileNotFoundError:
        return False


def _secret(directory: Path) -> str:
    """Return the secret that names the pages of a submission; its student has written it."""
    try:
        with (directory / _SECRET).open("rb") as opened:
            found = opened.read(_MAX_SECRET + 1).decode()
    except (OSError, UnicodeDecodeError):
        found = ""
    if not found or len(found) > _MAX_SECRET:
        raise LittlestHubError(f"{_SECRET} of the submission is missing or damaged")
    return found
