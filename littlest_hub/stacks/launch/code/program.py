"""The program of the code tier's unit: one job of the builder's, on standard input.

    python -I -m littlest_hub.stacks.launch.code.program WORK

It builds wheels with pip, or runs a script in a copy of an environment. The code that it runs has
the same user and may do anything to it: so nothing here protects anything. The unit does, and the
builder, which believes nothing of the answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from littlest_hub.stacks.launch.code import handover, jobs
from littlest_hub.stacks.launch.code.handover import HandoverError, Limits
from littlest_hub.stacks.launch.code.jobs import Job, Wheel

MODULE = "littlest_hub.stacks.launch.code.program"
_LONGEST_LINE, _MOST_LINES, _KEPT_LINES, _SHOWN_LINES = 500, 5000, 100, 4
# Errors of pip, Python's exceptions, and errors of compilers.
_ERROR = re.compile(r"\bERROR: |^\w*Error: |\berror: (?!subprocess-exited)")
_LAST_WORDS_S = 5
_EPOCH = "315532800"
"""The first time that a zip file can have: the same source becomes the same wheel, and is found in
environments that exist."""
_PIP = ("--no-input", "--disable-pip-version-check", "--no-color", "--retries=1", "--no-cache-dir")


class FailedError(Exception):
    """A job that has failed, with the reason for people."""


class Program:
    """A job that is being done.

    Args:
        work: a directory of its own, empty.
        job: what to do.
        answer: takes the answer.
        proxy: address of the proxy.
    """

    def __init__(self, work: Path, job: Job, answer: IO[bytes], proxy: str) -> None:
        self._work, self._job, self._answer, self._proxy = work, job, answer, proxy
        self._lines = 0
        self._is_done = False
        self._saying = threading.Lock()
        self.child = 0
        """The process group that is running; 0: none has run."""
        self.repository = work / "repository"

    def run(self) -> None:
        """Do the job, and send the result."""
        (self._work / "home").mkdir()
        (self._work / "tmp").mkdir()
        if self._job.script:
            self._run_script()
            self._say(done={})
            handover.send(Path(self._job.environment), self._answer)
            return
        found = [self._build(number, each) for number, each in enumerate(self._job.wheels)]
        self._say(done={})
        for number, wheel in enumerate(found):
            handover.send_file(wheel, f"{number}/{wheel.name}", self._answer)
        handover.end(self._answer)

    def failed(self, why: str) -> None:
        """Say that there is no result."""
        self._say(failed=why)

    def _build(self, number: int, wheel: Wheel) -> Path:
        result = self._work / f"wheel-{number}"
        listed = self._work / f"wheel-{number}.txt"
        what = wheel.what
        if what.startswith("./"):
            what = str(self.repository / what.removeprefix("./"))
        hashes = "".join(f" --hash={each}" for each in wheel.hashes)
        listed.write_text(f"{what}{hashes}\n")
        limits = self._work / "limits.txt"
        limits.write_text("".join(f"{each}\n" for each in self._job.constraints))
        # Tools of a build are wheels too: nobody has approved other sources.
        options = ["--no-deps", "--only-binary=:all:", f"--wheel-dir={result}"]
        options += [f"--no-binary={wheel.name}"] if wheel.name else []
        command = [self._job.python, *pip_program(), "wheel", *_PIP, *options]
        command += ["--constraint", str(limits), "--requirement", str(listed)]
        self._line(f"building {wheel.what}")
        last = self._execute(command, self._variables(), self._work)
        found = [*result.glob("*.whl")] if result.is_dir() else []
        if len(found) != 1:
            raise FailedError(f"{wheel.what} cannot be built: {last}")
        return found[0]

    def _run_script(self) -> None:
        environment, script = Path(self._job.environment), self.repository / self._job.script
        # repo2docker does the same.
        script.chmod(0o755)
        tools = self._work / "tools"
        tools.mkdir()
        if spec := find_spec("pip"):
            [place] = spec.submodule_search_locations or [""]
            (tools / "modules").mkdir()
            (tools / "modules" / "pip").symlink_to(place)
            program = f'#!/bin/sh\nexec "{environment}/bin/python" -m pip "$@"\n'
            for name in ("pip", "pip3"):
                (tools / name).write_text(program)
                (tools / name).chmod(0o755)
        variables = {
            **self._variables(),
            "PATH": f"{environment}/bin:{tools}:/usr/local/bin:/usr/bin:/bin",
            "VIRTUAL_ENV": str(environment),
            "NB_PYTHON_PREFIX": str(environment),
            "REPO_DIR": str(self.repository),
            # `python -m pip` is usual in scripts, and the environment has no pip.
            "PYTHONPATH": str(tools / "modules"),
        }
        self._line(f"running {self._job.script}")
        command = [str(script)]
        if not script.read_bytes().startswith(b"#!"):
            command = ["/bin/sh", str(script)]
        self._execute(command, variables, self.repository, must_succeed=self._job.script)

    def _variables(self) -> dict[str, str]:
        indexes = self._job.indexes
        variables = {
            "HOME": str(self._work / "home"),
            "TMPDIR": str(self._work / "tmp"),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "USER": "build",
            "SOURCE_DATE_EPOCH": _EPOCH,
            # The files of the repository have no history to find a version in.
            "SETUPTOOLS_SCM_PRETEND_VERSION": "0",
            "GIT_TERMINAL_PROMPT": "0",
            "PIP_CONFIG_FILE": "/dev/null",
        }
        if not indexes:
            return {**variables, "PIP_NO_INDEX": "1"}
        names = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO")
        if self._job.certificates:
            variables |= dict.fromkeys(names, self._job.certificates)
        names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
        return {
            **variables,
            **dict.fromkeys(names, self._proxy),
            "PIP_INDEX_URL": indexes[0],
            "PIP_EXTRA_INDEX_URL": " ".join(indexes[1:]),
            "PIP_FIND_LINKS": " ".join(self._job.find_links),
        }

    def _execute(
        self,
        command: Sequence[str],
        variables: Mapping[str, str],
        directory: Path,
        must_succeed: str = "",
    ) -> str:
        """Run a program, and return its last lines."""
        last: list[str] = []
        try:
            running = subprocess.Popen(
                command,
                env=variables,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise FailedError(f"{must_succeed or command[0]}: {error.strerror}") from None
        self.child = running.pid
        reading = threading.Thread(target=self._read, args=[running, last], daemon=True)
        reading.start()
        code = running.wait()
        # Programs that it has left in the background hold nobody up.
        _end_group(running.pid)
        reading.join(_LAST_WORDS_S)
        if must_succeed and code:
            raise FailedError(f"{must_succeed} has ended with {code}: {_reason(last)}")
        return _reason(last)

    def _read(self, running: subprocess.Popen[bytes], last: list[str]) -> None:
        """Pass on what a program prints, and keep the last lines."""
        assert running.stdout
        while part := running.stdout.readline(_LONGEST_LINE):
            if line := part.decode(errors="replace").strip():
                last.append(line)
                del last[:-_KEPT_LINES]
                self._line(line)

    def _line(self, text: str) -> None:
        self._lines += 1
        if self._lines <= _MOST_LINES:
            self._say(line=text)

    def _say(self, **record: object) -> None:
        with self._saying:
            # A program that goes on in the background may print something; a result follows.
            if not self._is_done:
                self._is_done = "line" not in record
                self._answer.write(json.dumps(record).encode() + b"\n")
                self._answer.flush()


def _reason(lines: Sequence[str]) -> str:
    """Return the lines of a program that say why it has failed, or the last ones."""
    errors = [each for each in lines if _ERROR.search(each)]
    return " / ".join((errors or lines)[-_SHOWN_LINES:])


def pip_program() -> list[str]:
    """Return the arguments with which an interpreter runs pip of this one."""
    spec = find_spec("pip")
    [place] = (spec and spec.submodule_search_locations) or [""]
    return ["-I", f"{place}/__pip-runner__.py"]


def serve(connection: socket.socket, work: Path) -> None:
    """Do the job that a connection asks for, below a directory."""
    listening = socket.create_server(("127.0.0.1", 0))
    proxy = f"http://127.0.0.1:{listening.getsockname()[1]}"
    socket.send_fds(connection, [jobs.READY], [listening.fileno()])
    listening.close()
    reader, answer = connection.makefile("rb"), connection.makefile("wb")
    job = jobs.of_json(reader.readline(jobs.LIMIT_BYTES))
    program = Program(work, job, answer, proxy)
    try:
        handover.receive(reader, program.repository, Limits())
        if job.script:
            environment = Path(job.environment)
            handover.receive(reader, environment, Limits(), targets=[job.python])
        _end_with(connection, program)
        program.run()
    except FailedError as error:
        program.failed(str(error))
    except HandoverError as error:
        program.failed(error.message)
    except OSError as error:
        program.failed(f"{error.filename or 'the build'}: {error.strerror}")
    answer.close()


def _end_with(connection: socket.socket, program: Program) -> None:
    """End this program and what it runs as soon as the builder has ended."""

    def watch() -> None:
        poll = select.poll()
        poll.register(connection, select.POLLRDHUP | select.POLLHUP)
        poll.poll()
        _end_group(program.child)
        # systemd ends whatever is left.
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _end_group(leader: int) -> None:
    if leader:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader, signal.SIGKILL)


def main() -> None:
    """Do the job on standard input."""
    os.umask(0o022)
    with socket.socket(fileno=os.dup(0)) as connection:
        serve(connection, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
