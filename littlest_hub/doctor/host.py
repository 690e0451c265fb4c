"""The machine below: disks, memory, clock, kernel."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from littlest_hub.doctor.observed import (
    OK,
    PROBLEM,
    UNSEEN,
    WARNING,
    Finding,
    Observed,
    modified_at,
    parse_meminfo,
    parse_properties,
    systemd_version,
)


def disks(machine: Observed) -> Iterator[Finding]:
    """Space and inodes where we and users write."""
    seen: set[int] = set()
    for name in (str(machine.layout.base), "/home", "/run", "/tmp", "/var/log"):
        with contextlib.suppress(OSError):
            device = Path(name).stat().st_dev
            if device in seen:
                continue
            seen.add(device)
            yield from disk(name, os.statvfs(name))
    used = re.search(r"take up ([\d.]+)([KMGT])", machine.run("journalctl", "--disk-usage"))
    if used:
        gigabytes = float(used[1]) * {"K": 1e-6, "M": 1e-3, "G": 1, "T": 1e3}[used[2]]
        shrink = "journalctl --vacuum-size=500M" if gigabytes > 4 else ""
        severity = WARNING if shrink else OK
        yield Finding(severity, "journal", f"{used[1]}{used[2]} on disk", shrink)


def disk(name: str, status: os.statvfs_result) -> Iterator[Finding]:
    """What statvfs(3) says about one file system."""
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


def memory(machine: Observed) -> Iterator[Finding]:
    """How much is left, and who was killed for want of it."""
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
        for line in machine.run(
            "journalctl", "--dmesg", "--since=-24h", "--no-pager", "--output=cat", "--lines=20000"
        ).splitlines()
        if re.search(r"Out of memory: Killed process|Memory cgroup out of memory: Killed", line)
    ]
    if killed:
        text = f"{len(killed)} processes killed within a day; the last: {killed[-1]}"
        yield Finding(WARNING, "memory", text, "journalctl --dmesg -g 'Killed process'")


def limits(machine: Observed) -> Iterator[Finding]:
    """Whether limits of memory and CPU can be enforced."""
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    if not controllers.exists():
        text = "cgroup v1: limits of memory are enforced in part; this systemd or kernel is old"
        kernel = "add systemd.unified_cgroup_hierarchy=1 to the kernel's command line"
        yield Finding(WARNING, "limits", text, f"cat /proc/cmdline   # {kernel}")
        return
    missing = {"memory", "cpu", "pids"} - set(controllers.read_text().split())
    if missing:
        text = f"not enforced, controllers missing: {', '.join(sorted(missing))}"
        yield Finding(
            WARNING, "limits", text, "cat /sys/fs/cgroup/cgroup.controllers /proc/cmdline"
        )
    else:
        yield Finding(OK, "limits", "cgroup v2, enforced")


def clock(machine: Observed) -> Iterator[Finding]:
    """Tokens and certificates depend on it."""
    shown = parse_properties(machine.run("timedatectl", "show"))
    yield from synchronised(shown)
    with contextlib.suppress(OSError):
        ahead = modified_at(machine.layout.hub.resolve()) - time.time()
        if machine.layout.database.exists():
            ahead = max(ahead, modified_at(machine.layout.database) - time.time())
        if ahead > 60:
            text = f"is wrong: files of ours are from {ahead / 3600:.1f} hours in the future"
            yield Finding(PROBLEM, "clock", text, "timedatectl set-ntp true")


def synchronised(shown: Mapping[str, str]) -> Iterator[Finding]:
    """What `timedatectl show` means."""
    if not shown:
        yield Finding(UNSEEN, "clock", "timedatectl gives no answer")
    elif shown.get("NTPSynchronized") == "yes":
        yield Finding(OK, "clock", "synchronised")
    elif shown.get("CanNTP") == "no":
        # A container has its host's clock.
        text = "nothing synchronises it here, unless the host of this container or machine does"
        yield Finding(OK, "clock", text, "apt-get install systemd-timesyncd || dnf install chrony")
    elif shown.get("NTP") == "no":
        yield Finding(WARNING, "clock", "is not synchronised", "timedatectl set-ntp true")
    else:
        look = "timedatectl timesync-status || chronyc tracking"
        yield Finding(WARNING, "clock", "is not synchronised yet: no time server answers", look)


def system(machine: Observed) -> Iterator[Finding]:
    """Versions, and what else decides whether a login or a server works."""
    version = systemd_version(machine.run("systemctl", "--version"))
    if version is not None and version < 247:
        yield Finding(PROBLEM, "systemd", f"{version}; 247 is the oldest we know to work")
    os_release = Path("/etc/os-release")
    name = parse_properties(os_release.read_text()) if os_release.exists() else {}
    text = f"{name.get('PRETTY_NAME', 'unknown')}, kernel {os.uname().release}, systemd {version}"
    yield Finding(OK, "system", text)
    if not machine.is_foreground and not Path("/etc/pam.d/login").exists():
        text = "/etc/pam.d/login is missing: nobody can log in with a system account's password"
        install = "apt-get install --reinstall login || dnf reinstall util-linux"
        yield Finding(WARNING, "PAM", text, install)
    enforce = Path("/sys/fs/selinux/enforce")
    if enforce.exists() and enforce.read_text().strip() == "1":
        look = "ausearch -m avc -ts today"
        yield Finding(OK, "SELinux", "enforcing; what it denies is in the audit log", look)
    yield Finding(OK, "firewall", "cannot be known from here: try the address from outside")
