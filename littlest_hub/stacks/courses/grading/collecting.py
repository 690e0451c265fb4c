"""nbgrader's collection of submissions, which believes nothing that a student can write.

The name of a submission's directory says who has handed it in and when, and its owner has chosen
the name. So the owner must have the account of the login in the name. The kernel's record of the
last change, which nobody can set, counts if the time in the name is much earlier.
"""

from __future__ import annotations

import shutil
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nbgrader.exchange.default import ExchangeCollect

from littlest_hub.stacks.courses.grading.copying import copy_tree
from littlest_hub.stacks.courses.jupyter import read_published

_TIMESTAMP = "timestamp.txt"
_PATIENCE_S = 300
"""How long handing in may take."""
_FORGED = "\0"
_MAX_BYTES = 100 << 20


class Collect(ExchangeCollect):  # type: ignore[misc]
    """The collection for a course."""

    src_records: list[dict[str, Any]]

    def init_src(self) -> None:
        """Find the newest submission of each student, among those that are really theirs."""
        self._accounts = read_published("accounts.json")
        super().init_src()
        found: list[dict[str, Any]] = self.src_records
        self.src_records = [e for e in found if not e["username"].startswith(_FORGED)]

    def _path_to_record(self, path: str) -> dict[str, Any]:
        record: dict[str, Any] = super()._path_to_record(path)
        if problem := self._forgery(Path(path), record["username"]):
            self.log.warning("%s is ignored: %s", path, problem)
            # A group of its own: it must not take the place of a real submission.
            record["username"] = f"{_FORGED}{record['filename']}"
        return record

    def _forgery(self, path: Path, login: str) -> str:
        """Return why a submission is not that of a login; "": it is."""
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode):
            return "it is no directory"
        if login not in self._accounts:
            return f"no server of {login} was started so far"
        if status.st_uid != self._accounts[login]:
            return f"it is owned by user {status.st_uid}, who is not {login}"
        return ""

    def do_copy(self, src: str, dest: str, log: Any = None) -> None:
        """Copy a submission, without links and special files, and correct its time."""
        target = Path(dest)
        half = target.with_name(f".{target.name}.half")
        shutil.rmtree(half, ignore_errors=True)
        left_out, changed_s = copy_tree(Path(src), half, _MAX_BYTES)
        for name in left_out:
            self.log.warning("%s in %s is left out: it is no file", name, src)
        self._correct(half / _TIMESTAMP, Path(src).name, changed_s)
        half.replace(target)

    def _correct(self, file: Path, name: str, changed_s: float) -> None:
        claimed = super()._path_to_record(name)["timestamp"].replace(tzinfo=UTC)
        changed = datetime.fromtimestamp(int(changed_s), UTC)
        late = (changed - claimed).total_seconds() > _PATIENCE_S
        if late:
            self.log.warning("%s claims an earlier time than %s, which counts", name, changed)
        # The file may claim another time than the name.
        stamp = changed if late else claimed
        file.unlink(missing_ok=True)
        file.write_text(f"{stamp:%Y-%m-%d %H:%M:%S.%f} UTC\n")
