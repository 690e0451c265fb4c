"""`littlest-hub nodes`: a short job on each node says whether servers can run there."""

from __future__ import annotations

import argparse
import json
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

from littlest_hub import __version__, installation
from littlest_hub.check import effective_configuration
from littlest_hub.doctor import is_well, report
from littlest_hub.doctor.findings import OK, PROBLEM, UNSEEN, WARNING, Finding
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import DEFAULT_BASE, Layout, PackageSet
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.slurm.commands import environment
from littlest_hub.stacks.slurm.node_probe import WAIT_S
from littlest_hub.stacks.slurm.probes import is_lost
from littlest_hub.stacks.slurm.submission import as_user

PROBE = "littlest_hub.stacks.slurm.node_probe"
_AT_ONCE = 16
_QUEUE_S = 15
"""Time that a job may wait for its node."""
_TIMEOUT_S = _QUEUE_S + 3 * WAIT_S
_CLOCK_S = 5
"""Most seconds between two clocks; munge(7) refuses after 300 s, but logs are compared as well."""
_SECTION = "Machine"
# Printed by the shell on a node without the release.
_MISSING = "no-release"
_SCRIPT = f'[ -x "$1" ] || {{ echo {_MISSING}; exit 0; }}; exec "$1" -I -m {PROBE} "$2" "$3"'
_BUSY = "Requested nodes are busy"


@dataclass(frozen=True)
class Node:
    """A node, as sinfo shows it."""

    name: str
    state: str
    """The short form of it."""
    partition: str
    """One of those that have it."""


@dataclass(frozen=True)
class Site:
    """The settings of the fragments that concern nodes."""

    python: str
    hub_url: str = ""
    node_address: str = "{node}"
    options: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    """Those that people may choose."""
    install: str = ""
    """The command that installs the files of the release on a node."""
    packages: str = ""
    """The directory of packages that were added for user servers; "": there are none."""

    @classmethod
    def of(cls, layout: Layout) -> Site:
        """Return those of an installation.

        Raises:
            LittlestHubError: the fragments do not run.
        """
        found = effective_configuration(layout)
        if found.problems:
            raise LittlestHubError("\n".join(map(str, found.problems)), f"{layout.command} check")
        values = {each.name: each.value for each in found.settings}
        own = {name: values.get(f"SlurmSpawner.{name}") for name in ("python", "node_address")}
        url = values.get("SlurmSpawner.hub_connect_url") or values.get("Spawner.hub_connect_url")
        return cls(
            own["python"] or f"{installation.release_of_this_interpreter()}/bin/python3",
            url or "",
            own["node_address"] or "{node}",
            tuple(values.get("SlurmSpawner.sbatch_options") or ()),
            tuple(values.get("SlurmSpawner.partitions") or ()),
            install_files(layout),
            _packages(layout),
        )


def after_enable(layout: Layout, stack: EnabledStack) -> Iterator[str]:
    """Yield the next steps for the person who has enabled the stack."""
    if stack.answers.get("address"):
        yield "Each node needs the files of this release at the same path: share them, or run there"
        yield f"  {install_files(layout)}"
    yield f"Then see whether servers can run on the nodes: {layout.command} nodes"


def install_files(layout: Layout) -> str:
    """Return the command that installs the files of this release on a node, and nothing else."""
    is_usual = layout.base == DEFAULT_BASE
    base = "" if is_usual else f"LITTLEST_HUB_BASE={shlex.quote(str(layout.base))} "
    return f"{base}bash littlest-hub-{__version__}-Linux-x86_64.sh -b -s"


def run(layout: Layout, arguments: Sequence[str]) -> int:
    """Examine the nodes that are named, or all."""
    parser = argparse.ArgumentParser(
        prog=f"{layout.command} nodes",
        description="Run a job of seconds on each node, and say whether servers can run there: the"
        " release, the way to the hub and back, home directories, the clock.",
    )
    parser.add_argument("nodes", metavar="NODE", nargs="*", help="only these (default: all)")
    parser.add_argument(
        "--user", metavar="NAME", default="", help="whose jobs they are (default: your own)"
    )
    options = parser.parse_args(arguments)
    listed = _output("sinfo", "--noheader", "--Node", "--format=%N|%t|%R")
    known = nodes(listed)
    if unknown := sorted({*options.nodes} - {*known}):
        raise LittlestHubError(f"sinfo knows no node {', '.join(unknown)}", "sinfo --Node")
    site = Site.of(layout)
    chosen = [known[name] for name in options.nodes or known]
    with ThreadPoolExecutor(_AT_ONCE) as jobs:
        found = jobs.map(lambda node: [*examine(site, node, options.user)], chosen)
        findings = [
            *missing_address(layout, site, chosen),
            *missing_partitions(layout, site, listed),
            *chain.from_iterable(found),
        ]
    print(report(findings, everything=True, colour=sys.stdout.isatty()))
    return 0 if is_well(findings) else 1


def nodes(listed: str) -> dict[str, Node]:
    """Return the nodes by name.

    Args:
        listed: lines with name, state, and partition of a node.

    Raises:
        LittlestHubError: there is none.
    """
    rows = [line.strip().split("|") for line in listed.splitlines()]
    found = {row[0]: Node(*row) for row in reversed(rows) if len(row) == 3 and row[0]}
    if not found:
        raise LittlestHubError("sinfo lists no node", "sinfo; scontrol ping")
    return dict(sorted(found.items()))


def missing_address(layout: Layout, site: Site, chosen: Sequence[Node]) -> Iterator[Finding]:
    """Report that several nodes do not know where the hub is."""
    if len(chosen) > 1 and not site.hub_url:
        text = "the nodes do not know the address of the hub: ADDRESS of 50-slurm.py is empty"
        edit = f"{layout.command} edit 50-slurm"
        yield Finding(PROBLEM, "hub", text, edit, _SECTION)


def missing_partitions(layout: Layout, site: Site, listed: str) -> Iterator[Finding]:
    """Report partitions of the fragments that are not in the cluster, so not in the form.

    Args:
        layout: of the hub.
        site: the settings that concern nodes.
        listed: as in `nodes`.
    """
    known = {line.strip().rpartition("|")[2] for line in listed.splitlines()}
    for name in site.partitions:
        if name not in known:
            text = f"partition {name}: Slurm lists no node in it, and the form does not offer it"
            yield Finding(WARNING, "partitions", text, f"{layout.command} edit 50-slurm", _SECTION)


def examine(site: Site, node: Node, user: str = "") -> Iterator[Finding]:
    """Yield what a job on a node finds.

    Args:
        site: the settings that concern nodes.
        node: one that Slurm knows.
        user: whose job it is; "": the caller's.
    """
    name = node.name
    if is_lost(node.state):
        text = f"runs no jobs: Slurm calls it {node.state}"
        yield Finding(PROBLEM, name, text, "sinfo --list-reasons", _SECTION)
        return
    command = [
        *("srun", f"--nodelist={name}", "--nodes=1", "--ntasks=1"),
        *(f"--partition={node.partition}", f"--immediate={_QUEUE_S}", "--time=2"),
        *("--chdir=/", "--job-name=littlest-hub-nodes", *site.options),
        *("sh", "-c", _SCRIPT, "sh", site.python, site.hub_url, site.packages),
    ]
    address = site.node_address.format(node=name)
    first, rest, error = _answer(as_user(user, *command) if user else command, address)
    if first.strip() == _MISSING:
        text = f"{site.python} is not there: install the files of the release, or share them"
        yield Finding(PROBLEM, name, text, f"{site.install}   # on {name}", _SECTION)
        return
    try:
        found = json.loads(rest)
        port = int(json.loads(first)["port"])
        yield from judge(site, name, f"{address}:{port}", found, user)
    except (ValueError, TypeError, KeyError):
        said = _plain(" ".join((error or rest or first).split()))
        text = "is not free now" if _BUSY in said else f"runs no job: {said or 'no answer'}"
        severity = UNSEEN if _BUSY in said else PROBLEM
        yield Finding(severity, name, text, f"scontrol show node {name}", _SECTION)


def judge(
    site: Site, node: str, address: str, found: Mapping[str, Any], user: str = ""
) -> Iterator[Finding]:
    """Yield findings about what a node has reported.

    Args:
        site: the settings that concern nodes.
        node: its name.
        address: address and port at which the job has listened.
        found: as `node_probe.run` prints it, and the difference of clocks, "apart_s".
        user: whose job it was; "": the caller's.
    """
    problems = []
    if not found["is_reached"]:
        text = f"this machine does not reach {address}; servers listen at any port"
        command = f"getent hosts {address.partition(':')[0]}   # and the firewall of {node}"
        problems.append(Finding(PROBLEM, node, text, command, _SECTION))
    if found["hub"]:
        text = f"does not reach the hub at {_plain(site.hub_url)}: {_plain(found['hub'])}"
        command = f"curl {site.hub_url}/hub/api   # on {node}"
        problems.append(Finding(PROBLEM, node, text, command, _SECTION))
    if found["home"]:
        command = f"id {shlex.quote(user)}; ls -ld ~{shlex.quote(user)}   # on {node}"
        text = _plain(found["home"])
        problems.append(Finding(PROBLEM, node, text, command if user else "", _SECTION))
    problems += _skew(site, node, found)
    if abs(apart := float(found["apart_s"])) > _CLOCK_S:
        text = f"its clock is {abs(apart):.0f} s {'ahead' if apart > 0 else 'behind'}"
        problems.append(Finding(WARNING, node, text, f"timedatectl   # on {node}", _SECTION))
    reaches = f", reaches {site.hub_url}" if site.hub_url else ""
    home = f", has the home of {user}" if user else ""
    text = f"has release {_plain(found['release'])}{reaches}, is reached at {address}{home}"
    yield from problems or [Finding(OK, node, text, section=_SECTION)]


def _skew(site: Site, node: str, found: Mapping[str, Any]) -> Iterator[Finding]:
    """Report that servers would have other software than the hub has chosen."""
    if (release := found["release"]) != __version__:
        text = f"has release {_plain(release)} as {site.python}, and this hub is {__version__}"
        yield Finding(WARNING, node, text, f"{site.install}   # on {node}", _SECTION)
    # Probes of earlier releases do not report packages.
    elif not found.get("has_packages", True):
        text = f"lacks the packages that were added for user servers: {site.packages} is not there"
        yield Finding(WARNING, node, text, f"ls -d {site.packages}   # on {node}", _SECTION)


def _packages(layout: Layout) -> str:
    overlay = installation.active_overlay(layout, installation.release_of_this_interpreter())
    own = overlay / PackageSet.SERVER if overlay else None
    return str(own) if own and own.is_dir() and any(own.iterdir()) else ""


def _answer(command: Sequence[str], address: str) -> tuple[str, str, str]:
    """Run the probe, connect to it, and return its first line, the rest, and standard error."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd="/",
        env=environment(),
    )
    with process:
        watchdog = threading.Timer(_TIMEOUT_S, process.kill)
        watchdog.start()
        try:
            assert process.stdout
            first = process.stdout.readline()
            with suppress(OSError, ValueError, TypeError, KeyError):
                _connect(address, int(json.loads(first)["port"]))
            rest, error = process.communicate()
        finally:
            watchdog.cancel()
    with suppress(ValueError, TypeError, KeyError):
        found = json.loads(rest)
        rest = json.dumps({**found, "apart_s": found["clock"] - time.time()})
    return first, rest, error


def _connect(address: str, port: int) -> None:
    with socket.create_connection((address, port), WAIT_S / 2):
        pass


def _output(*command: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment(), timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LittlestHubError(f"{command[0]}: {error}", "scontrol ping") from error
    if done.returncode:
        raise LittlestHubError(" ".join(done.stderr.split()), "scontrol ping")
    return done.stdout


def _plain(text: object) -> str:
    """Return a text of a node for the terminal."""
    return "".join(each if each.isprintable() else "?" for each in str(text))[:300]
