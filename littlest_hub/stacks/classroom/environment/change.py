"""Changes of an environment: each is made on an overlay, tried, and kept as a new generation."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError, as_typed
from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.environment import contents, programs, seed, tree, trial
from littlest_hub.stacks.classroom.environment.contents import Difference
from littlest_hub.stacks.classroom.environment.generations import Generations, Record
from littlest_hub.stacks.classroom.environment.place import Place
from littlest_hub.system import locks, namespaces, processes
from littlest_hub.system.namespaces import Overlay

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Variables that the caller may have set for programs that download.
_PASSED = re.compile(r"(https?|no|ftp|all)_proxy|PIP_.*|SSL_CERT_.*|REQUESTS_.*|TERM|LANG", re.I)
_MEMORY = "memory"
"""The directory of layers that are in memory, below that of a change."""
_COMMAND = "environment"
"""The word of our command line that precedes what the person typed."""
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


@dataclass(frozen=True)
class Outcome:
    """The result of a change."""

    number: int
    """The present generation."""
    is_new: bool
    """Whether the change has made that generation; otherwise, it had no effect."""
    differences: Sequence[Difference] = ()
    removed: Sequence[int] = ()
    """Old generations that were removed."""


class Environment:
    """The shared environment of an installation."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.place = Place.of(layout)
        self.generations = Generations(self.place)

    def make(self, *, is_new: bool = False) -> int:
        """Make the first generation if there is none, and renew the files around generations.

        Args:
            is_new: make another one, with Python alone, even if there are some.

        Raises:
            LittlestHubError: no kernel starts in the first generation.
        """
        self.place.home.mkdir(mode=0o755, parents=True, exist_ok=True)
        for directory in (self.place.link.parent, self.place.home):
            directory.chmod(0o755)
        with self._changing():
            programs.write(self.layout, self.place)
            if not self.place.imports.exists():
                self.place.imports.write_text(programs.IMPORTS)
            if not is_new and (known := self.generations.numbers()):
                with contextlib.suppress(LittlestHubError):
                    return self.generations.current()
                self.generations.switch(known[-1])
                return known[-1]
            release = installation.release_of_this_interpreter()
            self.generations.next.mkdir(parents=True, mode=0o755)
            seed.copy(release, self.generations.next, self.place.link)
            number = self.generations.add(Record.now("the release's Python", "root"))
            # Only a new one is tried: a broken environment must not prevent starts and upgrades.
            if found := self._problems(None, self.imports()):
                raise LittlestHubError("\n".join(found))
            return number

    def run(self, words: Sequence[str], command: str, *, is_trusted: bool = False) -> Outcome:
        """Run a program that changes the environment, and make the result the next generation.

        Args:
            words: the program, found in the environment first, and its arguments.
            command: the text to record.
            is_trusted: ignore the exit code: that of a shell is its last command's.

        Raises:
            LittlestHubError: the program or the trial failed, and nothing has changed.
        """
        with self._changing():
            number = self.generations.current()
            overlay = self._overlay(number)
            done = subprocess.run(overlay.command(words), env=self._variables())
            if done.returncode and not is_trusted:
                raise LittlestHubError(f"{words[0]} failed; the environment is as it was")
            if not tree.has_changes(overlay.upper):
                return Outcome(number, is_new=False)
            # Only modules that were there before: a rollback may have removed some, for example.
            modules = [m for m in self.imports() if contents.has_module(overlay.lower, m)]
            if found := self._problems(overlay, modules):
                hint = f"The environment is as it was. {self.place.imports} lists what has to work"
                raise LittlestHubError("\n".join(found), hint)
            return self._commit(number, overlay, command)

    def problems(self, *, is_lenient: bool = False) -> list[str]:
        """Return the problems of the present generation.

        Args:
            is_lenient: ignore modules that are not installed, as changes do.
        """
        present, modules = self.place.generation(self.generations.current()), self.imports()
        if is_lenient:
            modules = [each for each in modules if contents.has_module(present, each)]
        return self._problems(None, modules)

    def switch(self, number: int | None) -> tuple[int, int]:
        """Switch to a generation, None: the one before; return the old and the new number."""
        with self._changing():
            now = self.generations.named()
            number = self.generations.before(now) if number is None else number
            self.generations.switch(number)
            return now, number

    def imports(self) -> list[str]:
        """Return the modules that have to work.

        Raises:
            LittlestHubError: a line of the list is no module.
        """
        try:
            lines = self.place.imports.read_text().splitlines()
        except FileNotFoundError:
            return []
        names = [line.partition("#")[0].strip() for line in lines]
        for name in filter(None, names):
            if not _MODULE.fullmatch(name):
                raise LittlestHubError(f"{self.place.imports}: {name!r} is no module")
        return [name for name in names if name]

    def differences(self, before: int, after: int) -> list[Difference]:
        """Return the packages that differ between two generations."""
        found = [contents.packages(self.place.generation(each)) for each in (before, after)]
        return contents.differences(*found)

    def python_packages(self, number: int) -> dict[str, str]:
        """Return the packages of Python in a generation, with their versions."""
        return contents.python_packages(self.place.generation(number))

    def _commit(self, number: int, overlay: Overlay, command: str) -> Outcome:
        try:
            tree.make_next(overlay.lower, overlay.upper, self.generations.next)
            # A generation has its name only if it is complete, even after a power failure.
            subprocess.run(["sync", "--file-system", self.generations.next], check=True)
            new = self.generations.add(Record.now(command, author(), number))
        except (OSError, subprocess.CalledProcessError) as error:
            raise LittlestHubError(f"{error}", "The environment is as it was") from error
        removed = self.generations.prune(self._in_use())
        return Outcome(new, True, self.differences(number, new), removed)

    def _overlay(self, number: int) -> Overlay:
        place, memory = self.place.change, self.place.change / _MEMORY
        lower = self.place.generation(number)
        overlay = Overlay(lower, place / "upper", place / "work")
        reason = _try(overlay)
        if reason:
            # A file system that is an overlay itself cannot have an upper layer; memory can.
            overlay = Overlay(lower, memory / "upper", memory / "work")
            memory.mkdir()
            try:
                namespaces.put_in_memory(memory)
                reason = _try(overlay)
            except (OSError, subprocess.CalledProcessError) as error:
                reason += f"; nor can memory: {error}"
        if reason:
            raise LittlestHubError(
                f"the file system of {self.place.home} cannot carry a change: {reason}",
                f"Mount a directory of ext4, xfs or btrfs at {self.layout.environments}",
            )
        return overlay

    def _problems(self, overlay: Overlay | None, modules: Sequence[str]) -> list[str]:
        """Return the problems of the present generation, or of a change to it."""
        # In /tmp, whatever TMPDIR is, so that an ordinary user can use it.
        with tempfile.TemporaryDirectory(dir="/tmp") as directory:
            os.chown(directory, trial.NOBODY, trial.NOBODY)
            words = trial.command(sys.executable, str(self.place.link), modules, directory)
            command = overlay.command(words) if overlay else words
            done = subprocess.run(command, capture_output=True, text=True)
        if not done.returncode:
            return []
        found = done.stdout.splitlines()
        if not found or found[0].startswith(trial.NO_KERNEL):
            # The last line that the kernel, or the trial itself, has printed.
            found += done.stderr.strip().splitlines()[-1:]
        return found or ["the trial of a kernel failed"]

    def _variables(self) -> dict[str, str]:
        """Return the environment of a program that changes the environment."""
        passed = {name: each for name, each in os.environ.items() if _PASSED.fullmatch(name)}
        return {
            "LANG": "C.UTF-8",
            **passed,
            "HOME": "/root",
            "USER": "root",
            "PATH": f"{self.place.link}/bin:{_SYSTEM_PATH}",
            "CONDA_PREFIX": str(self.place.link),
            "MAMBA_ROOT_PREFIX": str(self.place.link),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
            # Packages in root's home, and bytecode of programs that run, are no part of it.
            "PYTHONNOUSERSITE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def _in_use(self) -> set[int]:
        """Return the generations in which programs run."""
        home = self.place.home.resolve()
        names = {processes.runs_below(pid, home) for pid in processes.process_ids()}
        return {int(name) for name in names if name and name.isdecimal()}

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the lock of changes; first remove what an interrupted change has left."""
        try:
            held = locks.hold(self.place.lock)
        except FileNotFoundError as error:
            hint = f"Make it: {self.layout.command} environment make"
            raise LittlestHubError("there is no environment", hint) from error
        if held is None:
            raise _already_changing(locks.holder(self.place.lock))
        # sudo keeps the umask of JupyterLab's terminals, which lets nobody else read new files.
        umask = os.umask(0o022)
        with held:
            self.generations.clean()
            try:
                yield
            finally:
                os.umask(umask)
                namespaces.free_memory(self.place.change / _MEMORY)
                shutil.rmtree(self.place.change, ignore_errors=True)


def _try(overlay: Overlay) -> str:
    """Make the directories of an overlay, and return why the kernel cannot mount it; "": it can."""
    for directory in (overlay.upper, overlay.work):
        directory.mkdir(parents=True)
    overlay.upper.chmod(0o755)
    done = subprocess.run(overlay.command(["true"]), capture_output=True, text=True)
    return " ".join(done.stderr.split()) if done.returncode else ""


def _already_changing(pid: str) -> LittlestHubError:
    """Return the error that another process is changing the environment, perhaps a forgotten one.

    Args:
        pid: its number.
    """
    words = processes.words(int(pid)) if pid.isdecimal() else []
    typed = shlex.join(words[words.index(_COMMAND) :]) if _COMMAND in words else ""
    what = f"process {pid}" + (f" ({typed})" if typed else "")
    ending = f"end it, which changes nothing: {as_typed(f'kill {pid}')}"
    return LittlestHubError(
        f"{what} is changing the environment", f"Wait for it, answer its question, or {ending}"
    )


def author() -> str:
    """Return the name of the person who has typed the command."""
    return os.environ.get("SUDO_USER") or "root"
