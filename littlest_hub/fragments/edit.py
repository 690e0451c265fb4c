"""`littlest-hub edit`: a fragment is changed in a copy, which takes its place when it is good."""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
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
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout

_EDITORS = ("editor", "nano", "vi")
_AGAIN, _QUIT, _SAVE = "eqs"


@dataclass(frozen=True)
class _Version:
    """A fragment as it was when we began."""

    content: bytes | None
    """None: there was none."""
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


def fragment_path(layout: Layout, name: str) -> Path:
    """The fragment that somebody calls so: "30-limits" or "30-limits.py".

    Raises:
        LittlestHubError: no fragment can be called so.
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
    return layout.fragments / file


def edit(layout: Layout, name: str) -> int:
    """Have somebody change a fragment in their editor; it is replaced when the whole is in order.

    Returns:
        Exit code: 0 it is saved, or nothing was changed.

    Raises:
        LittlestHubError: it is somebody else's turn, or the text could not be saved; where it is.
    """
    fragment = fragment_path(layout, name)
    if not layout.fragments.is_dir():
        raise LittlestHubError(f"{layout.fragments} does not exist", "Install first")
    if fragment.is_symlink():
        target = fragment.resolve()
        raise LittlestHubError(f"{fragment} is a link", f"Edit the file itself: {target}")
    with _alone(fragment):
        before = _Version.of(fragment)
        with _copy(fragment, before) as copy:
            return _Editing(layout, fragment, before, copy).finish()


class _Editing:
    """One text in one editor."""

    def __init__(self, layout: Layout, fragment: Path, before: _Version, copy: Path) -> None:
        self.layout, self.fragment, self.before, self.copy = layout, fragment, before, copy
        self.is_interactive = sys.stdin.isatty()
        self._stock = copy.read_bytes()

    def finish(self) -> int:
        """Edit until the text is saved or given up."""
        while True:
            self._open_editor()
            if self.copy.read_bytes() == self._stock:
                print(f"{self.fragment} is unchanged.")
                self.copy.unlink()
                return 0
            report = check_fragments(self.layout, {self.fragment: self.copy})
            show(report)
            if not report.errors:
                self._save()
                self._offer_reload()
                return 0
            answer = self._ask_what_now()
            if answer == _QUIT:
                print(f"{self.fragment} is as it was.")
                self.copy.unlink()
                return 1
            if answer == _SAVE:
                self._save()
                print("The hub will not reload, nor start anew, before this is mended.")
                return 1

    def _open_editor(self) -> None:
        command = [*editor(), str(self.copy)]
        try:
            process = subprocess.Popen(command)
        except OSError as error:
            raise LittlestHubError(
                f"cannot start the editor {command[0]}: {error.strerror}",
                "Name one: EDITOR=nano littlest-hub edit …",
            ) from error
        # Ctrl-C and Ctrl-\ are for the editor, which has the terminal now.
        ours = {n: signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGQUIT)}
        try:
            code = process.wait()
        finally:
            for number, handler in ours.items():
                signal.signal(number, handler)
        if not self.copy.exists():
            raise LittlestHubError(f"the editor has removed {self.copy}", "Nothing was changed")
        if code:
            raise LittlestHubError(f"the editor {command[0]} failed ({_code(code)})")

    def _ask_what_now(self) -> str:
        if not self.is_interactive:
            raise LittlestHubError(f"{self.fragment} was not changed: the new text is not in order")
        while True:
            answer = ask("What now? e)dit again, q)uit without saving, s)ave anyway [e]: ")
            if answer is None:
                raise LittlestHubError(f"{self.fragment} was not changed")
            if answer.lower()[:1] in (_AGAIN, _QUIT, _SAVE, ""):
                return answer.lower()[:1] or _AGAIN

    def _save(self) -> None:
        if _Version.of(self.fragment) != self.before:
            raise LittlestHubError(
                f"{self.fragment} was changed by somebody else meanwhile, and is left as it is"
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
            print("It counts when the hub is started the next time.")
            return
        command = f"systemctl reload {self.layout.instance}"
        if not self.is_interactive:
            print(f"To apply it: {command}")
            return
        answer = ask("Reload the hub now? Servers and people go on undisturbed. [Y/n]: ")
        if answer is None or answer.lower()[:1] == "n":
            print(f"To apply it: {command}")
        elif subprocess.run(["systemctl", "reload", unit]).returncode == 0:
            print("Reloaded.")
        else:
            show_status = ["systemctl", "show", "--property=StatusText", "--value", unit]
            status = subprocess.run(show_status, capture_output=True, text=True).stdout.strip()
            raise LittlestHubError(
                f"not reloaded: {status or 'no reason given'}", f"See: journalctl -u {unit} -n 20"
            )


def editor() -> list[str]:
    """The command of whoever calls, as sudoedit(8) finds it.

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
    for name in _EDITORS:
        if shutil.which(name):
            return [name]
    raise LittlestHubError("no editor found", "Name one: EDITOR=/usr/bin/joe littlest-hub edit …")


def show(report: Report) -> None:
    """What a check has found, for whoever sits at the terminal."""
    if report.printed:
        print(f"The fragments printed:\n{report.printed.rstrip()}", file=sys.stderr)
    if report.note:
        print(report.note, file=sys.stderr)
    for problem in report.problems:
        print(problem)


def ask(question: str) -> str | None:
    """An answer from the terminal; None: there is nobody there any more."""
    print(question, end="", flush=True)
    answer = sys.stdin.readline()
    if not answer:
        print()
    return answer.strip() if answer else None


@contextlib.contextmanager
def _alone(fragment: Path) -> Iterator[None]:
    """Keep a second person from editing the same fragment.

    Raises:
        LittlestHubError: somebody does; who.
    """
    lock = fragment.with_name(f".{fragment.name}.lock")
    while True:
        held = lock.open("a+")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.seek(0)
            who = held.read().strip() or "somebody"
            held.close()
            raise LittlestHubError(f"{fragment} is being edited by {who}") from None
        # Somebody may have finished, and removed it, between our two steps.
        if lock.exists() and os.path.samestat(lock.stat(), os.fstat(held.fileno())):
            break
        held.close()
    with held:
        held.truncate(0)
        held.write(_who_we_are())
        held.flush()
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _who_we_are() -> str:
    name = os.environ.get("SUDO_USER", "")
    with contextlib.suppress(OSError, KeyError):
        name = name or getpass.getuser()
    with contextlib.suppress(OSError, ValueError):
        name += f" at {os.ttyname(sys.stdin.fileno())}"
    return f"{name}, process {os.getpid()}, since {time.strftime('%H:%M')}"


@contextlib.contextmanager
def _copy(fragment: Path, before: _Version) -> Iterator[Path]:
    """A copy to edit; what is in it when all ends early stays there."""
    # A leading dot: no fragment. Its end: editors know what it is.
    descriptor, name = tempfile.mkstemp(".py", f".{fragment.stem}.", fragment.parent)
    copy = Path(name)
    begin = before.content
    if begin is None:
        begin = f"# {fragment.name}: what this is for, in a line that `list` shows\n".encode()
    with os.fdopen(descriptor, "wb") as file:
        file.write(begin)
    try:
        yield copy
    except BaseException as error:
        if copy.exists() and copy.read_bytes() == begin:
            copy.unlink()
            raise
        if not copy.exists():
            raise
        kept = f"Your text is kept in {copy}"
        if isinstance(error, LittlestHubError):
            raise LittlestHubError(
                error.message, f"{error.hint}\n{kept}" if error.hint else kept
            ) from error
        with contextlib.suppress(OSError):
            print(f"\n{kept}", file=sys.stderr, flush=True)
        raise


def _code(code: int) -> str:
    return f"exit code {code}" if code > 0 else signal.Signals(-code).name
