"""The machine: disks, memory, limits, clock, system."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from littlest_hub.doctor.findings import OK, PROBLEM, UNSEEN, WARNING, Finding
from littlest_hub.doctor.snapshot import Snapshot, output_of
from littlest_hub.helpers import closed_connections
from littlest_hub.system.systemctl import newest

_SYSCTL = "/etc/sysctl.d/60-closed-connections.conf"


def disks(snapshot: Snapshot) -> Iterator[Finding]:
    """Check free space and inodes where hub and users write."""
    layout = snapshot.layout
    system = map(Path, ("/home", "/run", "/tmp", "/var/tmp", "/var/log", "/var/lib"))
    seen: set[int] = set()
    for place in (
        *(layout.base, layout.releases, layout.fragments, layout.state, layout.proxy_state),
        *(layout.database.parent, layout.backups, layout.acme, *layout.dynamic_homes),
        *system,
        *_homes(snapshot),
    ):
        with contextlib.suppress(OSError):
            # A quota of some file systems is a file system of its own.
            device = place.stat().st_dev
            if device in seen:
                continue
            seen.add(device)
            yield from disk(str(place), os.statvfs(place))
    used = re.search(r"take up ([\d.]+)([KMGT])", output_of("journalctl", "--disk-usage"))
    if used:
        gigabytes = float(used[1]) * {"K": 1e-6, "M": 1e-3, "G": 1, "T": 1e3}[used[2]]
        shrink = "journalctl --vacuum-size=500M" if gigabytes > 4 else ""
        severity = WARNING if shrink else OK
        yield Finding(severity, "journal", f"{used[1]}{used[2]} on disk", shrink)


def _homes(snapshot: Snapshot) -> Iterator[Path]:
    """Yield the home directories of the hub's users."""
    if snapshot.is_foreground:
        yield Path.home()
        return
    with contextlib.suppress(sqlite3.Error):
        for (user,) in snapshot.query("SELECT name FROM users"):
            with contextlib.suppress(KeyError):
                yield Path(pwd.getpwnam(user).pw_dir)


def disk(name: str, status: os.statvfs_result) -> Iterator[Finding]:
    """Examine one file system, by statvfs(3)."""
    look = f"du -xh --max-depth=2 {name} | sort -h | tail -n 20"
    if status.f_flag & os.ST_RDONLY:
        remount = f"mount -o remount,rw {name}"
        yield Finding(PROBLEM, f"disk {name}", "is mounted read-only", remount)
    if not status.f_blocks:
        return
    free = status.f_bavail * status.f_frsize
    percent = 100 * status.f_bavail / status.f_blocks
    text = f"{free / 1e9:.2f} GB free ({percent:.0f} %)"
    if percent < 1 or free < 20e6:
        yield Finding(PROBLEM, f"disk {name}", f"is full: {text}", look)
    elif percent < 5:
        yield Finding(WARNING, f"disk {name}", f"is nearly full: {text}", look)
    else:
        yield Finding(OK, f"disk {name}", text)
    if status.f_files and status.f_favail / status.f_files < 0.02:
        text = f"has {status.f_favail} of {status.f_files} inodes left: too many small files"
        count = f"du -x --inodes --max-depth=2 {name} | sort -n | tail -n 20"
        yield Finding(PROBLEM, f"disk {name}", text, count)


def memory(snapshot: Snapshot) -> Iterator[Finding]:
    """Check free memory, and whether the kernel killed processes for lack of it."""
    found = parse_meminfo(Path("/proc/meminfo").read_text())
    total, free = found.get("MemTotal", 0), found.get("MemAvailable", 0)
    swap = found.get("SwapTotal", 0)
    text = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB available, {swap / 1e9:.1f} GB swap"
    if total and free / total < 0.05:
        repair = "systemctl status --no-pager -- '*.user[-@]*'; free -h"
        yield Finding(PROBLEM, "memory", text, repair)
    else:
        yield Finding(OK, "memory", text)
    killed = [
        line
        for line in output_of(
            "journalctl", "--dmesg", "--since=-24h", "--no-pager", "--output=cat", *newest(20000)
        ).splitlines()
        if re.search(r"Out of memory: Killed process|Memory cgroup out of memory: Killed", line)
    ]
    if killed:
        text = f"{len(killed)} processes killed within a day; the last: {killed[0]}"
        yield Finding(WARNING, "memory", text, "journalctl --dmesg -g 'Killed process'")


def limits(snapshot: Snapshot) -> Iterator[Finding]:
    """Check whether limits of memory, CPU and closed connections can be enforced."""
    if snapshot.is_foreground:
        return  # it has one user, and no limits
    yield from _closed_connections()
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    if not controllers.exists():
        text = "cgroup v1: memory limits are enforced only in part; systemd or kernel is old"
        kernel = "add systemd.unified_cgroup_hierarchy=1 to the kernel's command line"
        yield Finding(WARNING, "limits", text, f"cat /proc/cmdline   # {kernel}")
        return
    missing = {"memory", "cpu", "pids"} - set(controllers.read_text().split())
    if missing:
        text = f"not enforced: missing controllers {', '.join(sorted(missing))}"
        yield Finding(
            WARNING, "limits", text, "cat /sys/fs/cgroup/cgroup.controllers /proc/cmdline"
        )
    else:
        yield Finding(OK, "limits", "cgroup v2, enforced")


def _closed_connections() -> Iterator[Finding]:
    limit, most = int(closed_connections.LIMIT.read_text()), closed_connections.most()
    if limit > most:
        name = "net.ipv4.tcp_max_tw_buckets"
        text = f"{name} is {limit}; expected at most {most}, or one user can keep all ports in use"
        lower = f"echo {name}={most} >{_SYSCTL} && sysctl -p {_SYSCTL}"
        yield Finding(WARNING, "limits", text, lower)


def clock(snapshot: Snapshot) -> Iterator[Finding]:
    """Check the clock, which tokens and certificates depend on."""
    shown = parse_properties(output_of("timedatectl", "show"))
    yield from synchronization(shown)
    with contextlib.suppress(OSError):
        ahead_s = snapshot.layout.hub.resolve().stat().st_mtime - time.time()
        if snapshot.layout.database.exists():
            ahead_s = max(ahead_s, snapshot.layout.database.stat().st_mtime - time.time())
        if ahead_s > 60:
            text = f"is wrong: files of the hub are {ahead_s / 3600:.1f} hours in the future"
            yield Finding(PROBLEM, "clock", text, "timedatectl set-ntp true")


def synchronization(shown: Mapping[str, str]) -> Iterator[Finding]:
    """Interpret `timedatectl show`."""
    if not shown:
        yield Finding(UNSEEN, "clock", "timedatectl does not answer")
    elif shown.get("NTPSynchronized") == "yes":
        yield Finding(OK, "clock", "synchronized")
    elif shown.get("CanNTP") == "no":
        # A container has its host's clock.
        text = "not synchronized by this system, perhaps by the host of this container or machine"
        yield Finding(OK, "clock", text, "apt-get install systemd-timesyncd || dnf install chrony")
    elif shown.get("NTP") == "no":
        yield Finding(WARNING, "clock", "is not synchronized", "timedatectl set-ntp true")
    else:
        look = "timedatectl timesync-status || chronyc tracking"
        yield Finding(WARNING, "clock", "is not synchronized yet: no time server answers", look)


def system(snapshot: Snapshot) -> Iterator[Finding]:
    """Check versions, and what else logins and servers depend on."""
    version = systemd_version(output_of("systemctl", "--version"))
    if version is not None and version < 247:
        yield Finding(PROBLEM, "systemd", f"{version}; the oldest that was tested is 247")
    os_release = Path("/etc/os-release")
    name = parse_properties(os_release.read_text()) if os_release.exists() else {}
    text = f"{name.get('PRETTY_NAME', 'unknown')}, kernel {os.uname().release}"
    yield Finding(OK, "system", f"{text}, systemd {version}" if version else text)
    if snapshot.is_foreground:
        return  # neither PAM nor visitors from elsewhere
    if not Path("/etc/pam.d/login").exists():
        text = "/etc/pam.d/login is missing: logins with a system account's password fail"
        install = "apt-get install --reinstall login || dnf reinstall util-linux"
        yield Finding(WARNING, "PAM", text, install)
    enforce = Path("/sys/fs/selinux/enforce")
    if enforce.exists() and enforce.read_text().strip() == "1":
        look = "ausearch -m avc -ts today"
        yield Finding(OK, "SELinux", "enforcing; what it denies is in the audit log", look)
    yield Finding(OK, "firewall", "unknown: try to reach the hub from another machine")


def parse_meminfo(text: str) -> dict[str, int]:
    """Parse /proc/meminfo: bytes by name."""
    found = re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)
    return {name: int(number) * 1024 for name, number in found}


def parse_properties(text: str) -> dict[str, str]:
    """Parse NAME=value lines, as in os-release(5) and `timedatectl show`."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {key: value.strip("\"'") for key, separator, value in pairs if separator}


def systemd_version(text: str) -> int | None:
    """Return the number in the first line of `systemctl --version`."""
    found = re.match(r"systemd (\d+)", text)
    return int(found[1]) if found else None
