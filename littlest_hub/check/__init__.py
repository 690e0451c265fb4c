"""Finding what is wrong with the fragments without touching a hub.

They run in a sandbox (`littlest_hub.check.evaluator`); nothing of JupyterHub is imported here.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from littlest_hub.check import sandbox
from littlest_hub.installation import fragment_files
from littlest_hub.layout import Layout
from littlest_hub.system.addresses import local_addresses, resolve, without_loopback
from littlest_hub.system.tcp import holders, listeners
from littlest_hub.unprivileged.privileges import as_hub

"""How long name servers may take."""
_LISTENS_AT = re.compile(r"([^\s=]*):(\d+) \(")


@dataclass(frozen=True, order=True)
class Problem:
    """Something in a fragment that is wrong, or that is hardly meant so."""

    file: str
    line: int
    """Of the statement's beginning; 0: it is not about a line."""
    message: str
    is_warning: bool = False
    """A reload goes ahead in spite of it."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {'warning: ' if self.is_warning else ''}{self.message}"


class Report(NamedTuple):
    """What a check has found."""

    problems: list[Problem]
    """In order of files and lines, warnings among them."""
    printed: str
    """What the fragments themselves wrote to standard output and standard error."""
    note: str
    """What the sandbox could not keep them from; usually nothing."""

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if not problem.is_warning]

    @property
    def warnings(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.is_warning]


def check(layout: Layout) -> list[Problem]:
    """Every reason not to use the fragments as they are, in order.

    Raises:
        LittlestHubError: the check itself did not work.
        PermissionError: the fragments are not ours to read.
    """
    return examine(layout).errors


def examine(layout: Layout, copies: Mapping[Path, Path] | None = None) -> Report:
    """Everything there is to say about the fragments.

    Args:
        layout: whose fragments.
        copies: files to read instead of fragments, by fragment; one that is not there yet counts
            too. Problems are reported of the fragment.

    Raises:
        LittlestHubError: the check itself did not work.
        PermissionError: the fragments are not ours to read.
    """
    copies = copies or {}
    files = sorted({*fragment_files(layout), *copies})
    shown = {str(copies.get(file, file)): str(file) for file in files}
    ours, rights = local_addresses(), sandbox.rights(layout)
    request = {
        "base": str(layout.base),
        "fragments": str(layout.fragments),
        "files": list(shown),
        "is_service": sandbox.is_service(layout),
        "addresses": sorted(ours),
        "listeners": _other_programs(layout),
        "public": _public(layout),
        "writable": sandbox.writable(layout),
        "becomes_others": rights.becomes_others,
    }
    outcome = sandbox.run(layout, request)
    found = {Problem(**problem) for problem in outcome.reported}
    for fragment in files if layout.hub_user and not copies else ():
        if not as_hub(layout, partial(os.access, fragment, os.R_OK)):
            text = f"the hub, which is {layout.hub_user}, may not read this; chmod a+r {fragment}"
            found.add(Problem(str(fragment), 0, text))
    if not (layout.hub_user or rights.has_others or copies):
        found.update(_out_of_reach([layout.fragments, *files]))
    found.update(_led_astray(outcome.domains, ours))
    if outcome.ended:
        file, line = outcome.where or (str(layout.fragments), 0)
        found.add(Problem(file, line, outcome.ended))
    return Report(sorted(_of_fragments(found, shown)), outcome.printed, outcome.note)


def _out_of_reach(paths: Iterable[Path]) -> Iterator[Problem]:
    """What root can read and the hub cannot: root in a sandbox in which nobody else has rights."""
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue  # which running it tells
        if is_closed_to_hub(status.st_mode, status.st_uid, status.st_gid):
            text = (
                "the hub may not read this, for it is root with no rights over what belongs to"
                f" others; expected it to be root's; chown root:root {shlex.quote(str(path))}"
            )
            yield Problem(str(path), 0, text)


def is_closed_to_hub(mode: int, uid: int, gid: int) -> bool:
    """Whether a root that knows nobody else (PrivateUsers=) may not read, user_namespaces(7).

    CAP_DAC_READ_SEARCH counts for what has an owner and a group that it knows.
    """
    if uid == gid == 0:
        return False
    shift = 6 if uid == 0 else 3 if gid == 0 else 0
    wanted = 0o5 if stat.S_ISDIR(mode) else 0o4
    return mode >> shift & wanted != wanted


def _of_fragments(problems: set[Problem], shown: Mapping[str, str]) -> Iterator[Problem]:
    """The problems, of fragments instead of copies."""
    for problem in problems:
        message = problem.message
        for copy, fragment in shown.items():
            message = message.replace(copy, fragment)
        file = shown.get(problem.file, problem.file)
        yield Problem(file, problem.line, message, problem.is_warning)


# --- what cannot be seen from inside the sandbox


def _led_astray(
    domains: Sequence[tuple[str, str, int]], ours: Collection[str]
) -> Iterator[Problem]:
    """Names that do not lead here."""
    answers = resolve({name for name, _, _ in domains})
    for name, file, line in domains:
        if why := astray(name, answers[name], ours):
            yield Problem(file, line, f"HubProxy.domains: {why}", is_warning=True)


def astray(name: str, answer: set[str] | str, ours: Collection[str]) -> str:
    """Why nobody who asks for a name gets here, if so."""
    if isinstance(answer, str):
        return f"{name} cannot be found ({answer}); expected an entry for it in the DNS"
    known = without_loopback(answer)
    if known and ours and not known & set(ours):
        where = ", ".join(sorted(known))
        return (
            f"{name} leads to {where}, which is no address of this machine; expected that something"
            " there passes visitors on"
        )
    return ""


def _other_programs(layout: Layout) -> list[dict[str, Any]]:
    """Ports that programs other than hub and proxy listen at: address, port, whose."""
    listening = list(listeners())
    owners = holders([listener.inode for listener in listening])
    ours = _held_by_systemd(layout)
    found = []
    for listener in listening:
        pid = owners.get(listener.inode)
        if listener.port in ours or (pid is not None and _is_ours(layout, pid)):
            continue
        name = _read(Path(f"/proc/{pid}/comm")).strip() if pid is not None else ""
        whose = f"{name} (process {pid})" if name else "another program"
        found.append({"address": listener.address, "port": listener.port, "whose": whose})
    return found


def _is_ours(layout: Layout, pid: int) -> bool:
    """Whether a process runs from a release, or in a unit, of this installation."""
    try:
        executable = Path(f"/proc/{pid}/exe").readlink()
    except OSError:
        return False
    if executable.is_relative_to(layout.releases):
        return True
    parts = _read(Path(f"/proc/{pid}/cgroup")).replace("\n", "/").split("/")
    return any(unit in parts for unit in (layout.hub_service, layout.proxy_service))


def _held_by_systemd(layout: Layout) -> set[int]:
    """Ports of our socket units, as they are or as they are going to be."""
    sockets = [unit for unit in layout.units if unit.endswith(".socket")]
    is_active = ["systemctl", "is-active", "--quiet", layout.proxy_https_socket]
    if sandbox.is_service(layout) and subprocess.run(is_active).returncode:
        # It is not going to be ours unless somebody asks for HTTPS.
        sockets.remove(layout.proxy_https_socket)
    return {port for _, port in _listen_streams(layout, *sockets)}


def _public(layout: Layout) -> list[tuple[str, int]]:
    """Addresses and ports of the proxy; none without systemd."""
    return sorted(_listen_streams(layout, layout.proxy_socket))


def _listen_streams(layout: Layout, *sockets: str) -> set[tuple[str, int]]:
    if not sandbox.is_service(layout):
        return set()
    show = ["systemctl", "show", "--property=Listen", *sockets]
    answer = subprocess.run(show, capture_output=True, text=True).stdout
    return {(host, int(port)) for host, port in _LISTENS_AT.findall(answer)}


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
