"""Launch public repositories that Binder launches, and print what becomes of each.

The release's own Python resolves, builds and runs them, with packages from the index that pip is
configured for on this machine. Its programs are those of the units; instead of systemd, the code
tier is in namespaces as in the tests. The first cell runs in the kernel that a server would start.
A repository is served by git over https on this machine, and fetched by the resolver.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uv import find_uv_bin

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.stacks.launch.builder.pythons import Python
from littlest_hub.stacks.launch.environment.channels import Channels
from littlest_hub.stacks.launch.environment.environment_files import environment
from littlest_hub.stacks.launch.order import of_environment
from littlest_hub.stacks.launch.resolver import program as resolver
from littlest_hub.system.uv import Indexes, NoSolutionError, Uv
from tests.git_server import HOST, GitServer, Names
from tests.hub import build_installer
from tests.launch_site import builder_at
from tests.launches.repositories import REPOSITORIES, Launched

# The release's jupyter_client starts the kernel, as the server does.
_CLIENT = """
import sys
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="python3", startup_timeout=300)
show = lambda message: print(message["content"].get("text", ""), end="")
reply = client.execute_interactive(sys.argv[1], timeout=300, output_hook=show)
client.stop_channels()
manager.shutdown_kernel(now=True)
content = reply["content"]
sys.exit(content["status"] != "ok" and f"{content['ename']}: {content['evalue']}")
"""


_CHANNELS = Channels({})
"""The channels of conda: none."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a launch."""

    launched: Launched
    outcome: str
    seconds: float
    size_mb: float
    told: tuple[str, ...]
    """The texts for a person: unfulfilled wishes, reasons for code, and for a failure."""

    @property
    def row(self) -> str:
        """A row of a table in Markdown."""
        name, commit = self.launched.name, self.launched.commit
        told = "; ".join(self.told).replace("|", "\\|") or "nothing"
        cells = (f"{name} `{commit[:8]}`", self.launched.kinds, self.outcome)
        figures = (f"{self.seconds:.1f}", f"{self.size_mb:.0f}")
        return f"| {' | '.join((*cells, *figures, told))} |"


class Launching:
    """A release, a git server, and a place to build in.

    Args:
        release: prefix of the release.
        directory: an empty one.
        server: serves the repositories.
    """

    def __init__(self, release: Path, directory: Path, server: GitServer) -> None:
        self._release, self._directory, self._server = release, directory, server
        self._place = Place(directory / "launch")
        self._place.make()
        for name in ("sources", "work"):
            (directory / name).mkdir()
        names = Names(directory / "names", {HOST: [["127.0.0.1"]]})
        settings = {
            "policy": {"hosts": [server.place]},
            "networks": ["127.0.0.0/8"],
            "ca_file": str(server.ca_file),
            "channels": {**_CHANNELS.addresses},
            "pythons": [Python.of(release).version],
        }
        (directory / "settings.json").write_text(json.dumps(settings))
        places = (directory / "settings.json", directory / "sources", directory / "work")
        self._arguments = [*map(str, places), str(names.place)]

    def launch(self, launched: Launched) -> Outcome:
        """Resolve, build, and run the first cell."""
        self._server.repository(launched.name).commit(self._files(launched))
        began, before = time.monotonic(), self._size_bytes()
        told: list[str] = []
        try:
            outcome = self._launched(launched, told)
        except LittlestHubError as error:
            told.append(f"{error.message}{f'. {error.hint}' if error.hint else ''}")
            if isinstance(error, NoSolutionError) and error.sources:
                told.append(f"a button: build {', '.join(error.sources)} from source")
            outcome = "not launched"
        size_mb = (self._size_bytes() - before) / 1e6
        return Outcome(launched, outcome, time.monotonic() - began, size_mb, tuple(told))

    def _launched(self, launched: Launched, told: list[str]) -> str:
        found = self._resolved(launched)
        remarks = found["environment"]
        for each in (*remarks["refused"], *remarks["left_out"], *found["left_out"]):
            told.append(_remark(each))
        if remarks["refused"]:
            return "refused"
        told += [f"runs code: {_remark(each)}" for each in remarks["code"]]
        files = self._directory / "sources" / str(found["directory"]) / "files"

        def read(file: str, limit_bytes: int) -> bytes:
            return (files / file).read_bytes()[:limit_bytes]

        paths = [str(each.relative_to(files)) for each in files.rglob("*") if each.is_file()]
        asked = environment(paths, read, [Python.of(self._release).version], _CHANNELS)
        order = of_environment(asked, read, source=found["directory"])
        builder = builder_at(self._place, self._release, Indexes.of_pip(), _CHANNELS, self._program)
        result = builder.build(order, lambda line: print(f"    {line}", file=sys.stderr))
        builder.finish(result)
        return f"a cell printed: {self._cell(launched, result.key)}"

    def _resolved(self, launched: Launched) -> dict[str, Any]:
        lines: list[dict[str, Any]] = []
        request = json.dumps({"repository": self._server.url(launched.name), "ref": ""})
        resolver.answer(self._arguments, request.encode(), lines.append)
        if "resolved" not in lines[-1]:
            raise LittlestHubError(lines[-1]["refused"], lines[-1]["hint"])
        found: dict[str, Any] = lines[-1]["resolved"]
        return found

    def _cell(self, launched: Launched, key: str) -> str:
        directory = self._place.environment(key)
        done = subprocess.run(
            [self._program, "-I", "-c", _CLIENT, launched.cell],
            env={
                "HOME": str(self._directory),
                "PATH": "/usr/bin:/bin",
                "JUPYTER_PATH": str(directory / "share/jupyter"),
            },
            capture_output=True,
            text=True,
        )
        if done.returncode or not done.stdout.startswith("42 "):
            last = (done.stdout + done.stderr).strip().splitlines()[-1:]
            raise LittlestHubError(f"the cell has failed: {''.join(last)}")
        return done.stdout.strip()

    @property
    def _program(self) -> str:
        return str(self._release / "bin/python3")

    def _files(self, launched: Launched) -> dict[str, bytes | str]:
        files: dict[str, bytes | str] = {**launched.files, "start.ipynb": "{}"}
        if launched.pins:
            files["uv.lock"] = self._uv_lock(launched)
        return files

    def _uv_lock(self, launched: Launched) -> str:
        """Return the lock file that uv writes with the versions of the repository's own."""
        with tempfile.TemporaryDirectory() as project:
            Path(project, "pyproject.toml").write_text(launched.files["pyproject.toml"])
            options = [word for pin in launched.pins for word in ("--upgrade-package", pin)]
            uv = Uv(Path(find_uv_bin()), self._directory / "author", Indexes.of_pip())
            command = [str(uv.program), "lock", "--quiet", "--project", project, *options]
            command += ["--cache-dir", str(uv.cache), "--python", self._program]
            variables = {"PATH": "/usr/bin:/bin", "HOME": project, **uv.indexes.variables}
            subprocess.run(command, env=variables, check=True)
            return Path(project, "uv.lock").read_text()

    def _size_bytes(self) -> int:
        done = subprocess.run(["du", "-sk", self._place.home], capture_output=True, check=True)
        return int(done.stdout.split()[0]) * 1024


def _remark(remark: dict[str, Any]) -> str:
    *place, text = remark.values()
    return f"{':'.join(map(str, place))}: {text}"


@contextlib.contextmanager
def _installed(installer: Path) -> Iterator[Path]:
    """Yield the prefix of a release that an ordinary user has installed."""
    with tempfile.TemporaryDirectory(prefix="launches-", dir="/var/tmp") as home:
        command = ["bash", shutil.copy(installer, home), "-b"]
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(home, nobody.pw_uid, nobody.pw_gid)
            ids = [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
            command = ["setpriv", *ids, *command]
        variables = {**os.environ, "HOME": home, "LITTLEST_HUB_BASE": f"{home}/hub"}
        subprocess.run(command, cwd=home, env=variables, check=True, capture_output=True)
        # In its namespaces, the code tier has no rights over what belongs to that user.
        subprocess.run(["chmod", "-R", "a+rX", home], check=True)
        yield Path(home, "hub/hub").resolve()


def main() -> int:
    """Launch all, and print a table; fail if one whose cell should run does not."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.launches")
    add = parser.add_argument
    add("--installer", type=Path, metavar="PATH", help="the .sh of the release (built)")
    add("--only", default="", metavar="TEXT", help="repositories with this in their name")
    options = parser.parse_args()
    installer = (options.installer or build_installer()).resolve()
    outcomes = []
    with (
        _installed(installer) as release,
        tempfile.TemporaryDirectory(prefix="launches-", dir="/var/tmp") as scratch,
        GitServer(Path(scratch, "git")) as server,
    ):
        directory = Path(scratch, "site")
        directory.mkdir()
        launching = Launching(release, directory, server)
        for each in REPOSITORIES:
            if options.only in each.name:
                print(each.name, file=sys.stderr)
                outcomes.append(launching.launch(each))
                print(outcomes[-1].row, file=sys.stderr, flush=True)
        server.shutdown()
    print("| repository | kinds | outcome | s | MB | what a person is told |")
    print("|---|---|---|---|---|---|")
    for outcome in outcomes:
        print(outcome.row)
    return any(each.launched.cell and "42" not in each.outcome for each in outcomes)


if __name__ == "__main__":
    sys.exit(main())
