"""`littlest-hub edit`: edit a copy of a fragment, and replace the original if the check passes."""

from __future__ import annotations

import contextlib
import getpass
import itertools
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from littlest_hub.check import Report, check_fragments, is_service
from littlest_hub.errors import LittlestHubError, as_typed
from littlest_hub.installation import fragment_files
from littlest_hub.layout import Layout
from littlest_hub.system.files import naming
from littlest_hub.system.locks import hold, holder
from littlest_hub.system.ownership import check_owners
from littlest_hub.system.systemctl import show, systemctl

_EDITORS = ("editor", "nano", "vi")
_AGAIN, _QUIT, _SAVE = "eqs"
_SCRATCH = ".edit-"
UNSAVED = ".unsaved"
"""Suffix of a text that was not saved; a number may follow."""
_NUMBER = re.compile(r"^\d+-")


@dataclass(frozen=True)
class _Version:
    """The content and the attributes of a fragment at one moment."""

    content: bytes | None
    """None: it does not exist."""
    mode: int = 0o644
    owner: int = -1
    group: int = -1

    @classmethod
    def of(cls, file: Path) -> _Version:
        try:
            status = file.stat()
            content = file.read_bytes()
        except FileNotFoundError:
            return cls(None)
        return cls(content, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


def short_name(file: str) -> str:
    """Return the name of a fragment without its number and suffix."""
    return _NUMBER.sub("", file.removesuffix(".py"))


def fragment_path(layout: Layout, name: str) -> Path:
    """Return the path of a fragment by its name: "30-limits" or "30-limits.py".

    "limits" is a fragment of this name with a number, if there is exactly one.

    Raises:
        LittlestHubError: no fragment can have this name.
    """
    file = name if name.endswith(".py") else f"{name}.py"
    if (
        "/" in name
        or name.startswith(".")
        or not name.removesuffix(".py")
        or not name.isprintable()
    ):
        raise LittlestHubError(
            f"{name!r} is no name of a fragment",
            f"Expected one in {layout.fragments}, such as 30-limits; the number decides the order",
        )
    fragment = layout.fragments / file
    if not fragment.exists():
        short = file.removesuffix(".py")
        numbered = [each for each in fragment_files(layout) if short_name(each.name) == short]
        if len(numbered) == 1:
            return numbered[0]
    return fragment


def edit(layout: Layout, name: str) -> int:
    """Let the user change a fragment in an editor; save it if all fragments pass the check.

    Returns:
        Exit code: 0 if it was saved or not changed.

    Raises:
        LittlestHubError: another user edits it, or the text could not be saved; where it is kept.
    """
    fragment = fragment_path(layout, name)
    if not layout.fragments.is_dir():
        raise LittlestHubError(f"{layout.fragments} does not exist", "Install first")
    for path in (layout.fragments, fragment):
        check_owners(path)
    if fragment.is_symlink():
        target = fragment.resolve()
        raise LittlestHubError(f"{fragment} is a link", f"Edit the file itself: {target}")
    with _locked(fragment):
        before = _Version.of(fragment)
        with _copy(fragment, before) as copy:
            return _Editing(layout, fragment, before, copy).finish()


class _Editing:
    """One copy of a fragment in one editor."""

    def __init__(self, layout: Layout, fragment: Path, before: _Version, copy: Path) -> None:
        self.layout, self.fragment, self.before, self.copy = layout, fragment, before, copy
        self.is_interactive = sys.stdin.isatty()
        self._command = f"{layout.command} edit {fragment.name}"
        self._original = copy.read_bytes()

    def finish(self) -> int:
        """Open the editor until the text is saved or abandoned; return the exit code."""
        while True:
            self._open_editor()
            if self.copy.read_bytes() == self._original:
                print(f"{self.fragment} is unchanged.")
                return 0
            report = check_fragments(self.layout, {self.fragment: self.copy})
            print_report(report)
            if not report.errors:
                self._save()
                self._offer_reload()
                return 0
            answer = self._choose_next_step()
            if answer == _QUIT:
                print(f"{self.fragment} is as it was.")
                return 1
            if answer == _SAVE:
                self._save()
                print("The hub will neither reload nor restart until this is fixed.")
                return 1

    def _open_editor(self) -> None:
        command = [*editor(self._command, is_interactive=self.is_interactive), str(self.copy)]
        try:
            process = subprocess.Popen(command)
        except OSError as error:
            raise LittlestHubError(
                f"cannot start the editor {command[0]}: {error.strerror}",
                f"Name one: {_with_editor('nano', self._command)}",
            ) from error
        # Ctrl-C and Ctrl-\ are for the editor, which has the terminal now.
        handlers = {n: signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGQUIT)}
        try:
            code = process.wait()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        if not self.copy.exists():
            raise LittlestHubError(f"the editor has removed {self.copy}", "Nothing was changed")
        if code:
            raise LittlestHubError(f"the editor {command[0]} failed ({_code(code)})")

    def _choose_next_step(self) -> str:
        if not self.is_interactive:
            raise LittlestHubError(
                f"{self.fragment} was not changed: the check found problems in the new text"
            )
        while True:
            answer = _prompt("What now? e)dit again, q)uit without saving, s)ave anyway [e]: ")
            if answer is None:
                raise LittlestHubError(f"{self.fragment} was not changed")
            if answer.lower()[:1] in (_AGAIN, _QUIT, _SAVE, ""):
                return answer.lower()[:1] or _AGAIN

    def _save(self) -> None:
        if _Version.of(self.fragment) != self.before:
            raise LittlestHubError(
                f"{self.fragment} was changed by another program meanwhile, and is left as it is"
            )
        with self.copy.open("rb") as copy:
            os.fchmod(copy.fileno(), self.before.mode)
            with contextlib.suppress(PermissionError):
                os.fchown(copy.fileno(), self.before.owner, self.before.group)
            os.fsync(copy.fileno())
        self.copy.replace(self.fragment)
        print(f"{self.fragment} is saved.")

    def _offer_reload(self) -> None:
        unit = self.layout.hub_service
        if not is_service(self.layout):
            print("It takes effect when the hub is started the next time.")
            return
        command = as_typed(f"systemctl reload {self.layout.instance}")
        if not self.is_interactive:
            print(f"To apply it: {command}")
            return
        answer = _prompt("Reload the hub now? User servers are not disturbed. [Y/n] ")
        if answer is None or answer.lower() not in ("", "y", "yes"):
            print(f"To apply it: {command}")
            return
        try:
            systemctl("reload", unit)
        except LittlestHubError as error:
            raise LittlestHubError(
                f"not reloaded: {show(unit, 'StatusText') or 'no reason given'}",
                as_typed(f"journalctl -u {unit} -n 20"),
            ) from error
        print("Reloaded.")


def editor(command: str, *, is_interactive: bool) -> list[str]:
    """Return the user's editor command, found as sudoedit(8) does.

    Args:
        command: how this command is typed, for messages.
        is_interactive: whether there is a terminal; without one, the user has to name the editor.

    Raises:
        LittlestHubError: there is none.
    """
    for variable in ("SUDO_EDITOR", "VISUAL", "EDITOR"):
        value = os.environ.get(variable, "").strip()
        if value:
            try:
                return shlex.split(value)
            except ValueError as error:
                raise LittlestHubError(f"{variable}={value}: {error}") from error
    if not is_interactive:
        raise LittlestHubError(
            "there is no terminal for an editor",
            "Write the file by other means; or name a program that needs no terminal:"
            f" {_with_editor('/root/change.sh', command)}",
        )
    for name in _EDITORS:
        if shutil.which(name):
            return [name]
    raise LittlestHubError(
        "no editor found",
        "Install one, such as nano; or name one that is there:"
        f" {_with_editor('/path/to/editor', command)}",
    )


def _with_editor(program: str, command: str) -> str:
    """Return a command with another editor: sudo takes variables only after its own name."""
    sudo = "sudo " if command.startswith("sudo ") else ""
    return f"{sudo}EDITOR={program} {command.removeprefix(sudo)}"


def print_report(report: Report) -> None:
    """Print the results of a check."""
    if report.printed:
        print(f"The fragments printed:\n{report.printed.rstrip()}", file=sys.stderr)
    if report.note:
        print(report.note, file=sys.stderr)
    for problem in report.problems:
        print(problem)
    for change in report.pending:
        print(f"warning: {change}")


def _prompt(text: str) -> str | None:
    """Return the user's answer; None: the terminal is gone."""
    print(text, end="", flush=True)
    answer = sys.stdin.readline()
    if not answer:
        print()
    return answer.strip() if answer else None


@contextlib.contextmanager
def _locked(fragment: Path) -> Iterator[None]:
    """Keep another user from editing the same fragment.

    Raises:
        LittlestHubError: another user does; the name.
    """
    lock = fragment.with_name(f".{fragment.name}.lock")
    held = hold(lock, text=_this_editor())
    if held is None:
        raise LittlestHubError(f"{fragment} is being edited by {holder(lock) or 'another user'}")
    with held:
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _this_editor() -> str:
    """Return who edits, where and since when, for another user."""
    name = os.environ.get("SUDO_USER", "")
    with contextlib.suppress(OSError, KeyError):
        name = name or getpass.getuser()
    with contextlib.suppress(OSError, ValueError):
        name += f" at {os.ttyname(sys.stdin.fileno())}"
    return f"{name}, process {os.getpid()}, since {time.strftime('%H:%M')}"


@contextlib.contextmanager
def _copy(fragment: Path, before: _Version) -> Iterator[Path]:
    """Make a copy to edit; keep it if it was changed and the block fails."""
    for left in fragment.parent.glob(f"{_SCRATCH}*/{fragment.name}"):
        # We hold the lock, so the edit that made it was killed.
        print(f"An earlier edit was not saved: {_keep(left, fragment)}", file=sys.stderr)
        shutil.rmtree(left.parent)
    # Editors write files beside the one that they edit; in this directory nobody reads them.
    directory = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=fragment.parent))
    copy = directory / fragment.name
    original = before.content
    if original is None:
        original = f"# {fragment.name}: what this is for, in a line that `list` shows\n".encode()
    try:
        with naming(fragment, copy):
            copy.touch(mode=0o600)
            copy.write_bytes(original)
        yield copy
    except BaseException as error:
        if not copy.exists() or copy.read_bytes() in (original, b""):
            raise
        kept = f"Your text is kept in {_keep(copy, fragment)}"
        if isinstance(error, LittlestHubError):
            raise LittlestHubError(
                error.message, f"{error.hint}\n{kept}" if error.hint else kept
            ) from error
        with contextlib.suppress(OSError):
            print(f"\n{kept}", file=sys.stderr, flush=True)
        raise
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _keep(copy: Path, fragment: Path) -> Path:
    """Give a text that was not saved a name that `list` and `doctor` show; return it."""
    name = fragment.with_name(f"{fragment.name}{UNSAVED}")
    for number in itertools.count(2):
        if not name.exists():
            break
        name = fragment.with_name(f"{fragment.name}{UNSAVED}-{number}")
    return copy.rename(name)


def _code(code: int) -> str:
    return f"exit code {code}" if code > 0 else signal.Signals(-code).name
