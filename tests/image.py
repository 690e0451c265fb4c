"""Root directories of plain Debian servers, made by mmdebstrap and cached by their contents."""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from construct.cache import Cache, key_of

# Packages of a freshly installed server that a minimal bootstrap lacks. No Python and no compiler,
# so that the hub cannot use them.
SERVER_PACKAGES = ("dbus", "libpam-systemd", "login", "passwd", "systemd-sysv", "udev")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# How long an image is kept after its last use.
UNUSED_S = 30 * 24 * 3600
BOOTSTRAP = [
    "--quiet",
    "--variant=minbase",
    "--format=directory",
    # Each machine gets its own name and resolver.
    '--customize-hook=rm -f "$1/etc/hostname" "$1/etc/resolv.conf"',
]
UML = "user-mode-linux"
# modprobe(8) looks for the modules of the running kernel there.
MODULES = '--customize-hook=cd "$1/usr/lib"; mkdir -p modules; cd modules; ln -s ../uml/modules/* .'


class ImageError(RuntimeError):
    """An image could not be made on this machine; the message has the reason."""


@dataclass(frozen=True)
class Image:
    """A Debian release (`bullseye`, `bookworm`, …) as a server, with more packages if named."""

    suite: str
    packages: tuple[str, ...] = ()

    def root(self) -> Path:
        """Return the image's directory, which is made first if it is not cached.

        It must not be written to: a machine puts an overlay over it.

        Raises:
            ImageError: the machine's apt sources or mmdebstrap cannot make it.
        """
        sources = apt_sources(self.suite)
        packages = sorted({*SERVER_PACKAGES, *self.packages})
        hooks = [MODULES] if UML in packages else []
        options = [*BOOTSTRAP, *hooks, f"--include={','.join(packages)}", self.suite]
        key = key_of([*options, *sources])
        cache = Cache()
        cache.prune(["images"], UNUSED_S)
        return cache.get("images", self.suite, key, lambda root: _bootstrap(options, sources, root))


def apt_sources(suite: str) -> list[str]:
    """Return one-line sources of a release in the Debian archive that this machine uses.

    They contain only the release itself, without updates and security: it is the same everywhere,
    and stays when a release's updates have moved to the archive. apt lists its own sources, so
    every format of them works (apt-get(8), `indextargets`).

    Raises:
        ImageError: apt is missing or has no Debian archive among its sources.
    """
    own_suite = _os_release().get("VERSION_CODENAME", "")
    apt_get = shutil.which("apt-get")
    if _os_release().get("ID") != "debian" or apt_get is None:
        raise ImageError("images are made from a Debian machine's own apt sources; this is not one")
    rows = subprocess.run(
        [apt_get, "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    archives = sorted({tuple(row.split()) for row in rows if row.split()[1] == own_suite})
    if not archives:
        raise ImageError(f"apt's sources have no release named {own_suite!r}; apt-get update")
    options = f" [signed-by={KEYRING}]" if KEYRING.exists() else ""
    return [f"deb{options} {uri} {suite} {component}" for uri, _, component in archives]


def _bootstrap(options: Sequence[str], sources: Sequence[str], root: Path) -> None:
    mmdebstrap = shutil.which("mmdebstrap")
    if mmdebstrap is None:
        raise ImageError("mmdebstrap is not installed: make deps")
    started_s = time.monotonic()
    print(f"machine image {options[-1]}: bootstrapping …", file=sys.stderr)
    command = [mmdebstrap, *options, str(root), "-"]
    done = subprocess.run(
        command,
        input="\n".join(sources) + "\n",
        capture_output=True,
        text=True,
        env={**os.environ, **_apt_proxy()},
    )
    if done.returncode != 0:
        tail = "\n".join(done.stderr.splitlines()[-20:])
        raise ImageError(f"{shlex.join(command)} failed ({done.returncode}):\n{tail}")
    print(f"machine image {options[-1]}: {time.monotonic() - started_s:.0f} s", file=sys.stderr)


def _apt_proxy() -> dict[str, str]:
    """Return the proxy of the machine's apt configuration, which mmdebstrap does not read."""
    proxy = subprocess.run(
        ["apt-config", "dump", "--format", "%v", "Acquire::http::Proxy"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    return {"http_proxy": proxy} if proxy else {}


def _os_release() -> dict[str, str]:
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key: "".join(shlex.split(value)) for key, _, value in pairs}
