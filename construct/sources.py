"""Upstream's sources from Debian's archive: fetched through apt, checked and unpacked."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from construct.cache import Cache, sha256_file
from littlest_hub.errors import LittlestHubError

SCHEME = "debian:///"
APT_HELPER = "/usr/lib/apt/apt-helper"


@dataclass(frozen=True)
class Source:
    """One archive of a recipe."""

    url: str
    """``debian:///main/z/zlib/FILE``: the path below ``pool/`` of Debian's archive."""
    sha256: str
    target_directory: str = "."
    """The directory, below the build directory, to unpack it in."""

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


def archives() -> list[str]:
    """Return base addresses of Debian's archive, the preferred one first, each with a final slash.

    ``$LITTLEST_HUB_DEBIAN_ARCHIVE`` if set, otherwise those in the configuration of this machine's
    apt (apt-get(8), ``indextargets``).
    """
    if chosen := os.environ.get("LITTLEST_HUB_DEBIAN_ARCHIVE"):
        return [chosen.rstrip("/") + "/"]
    command = ["apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)"]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        listing = ""
    found = [line.partition(" ")[2] for line in listing.splitlines() if line.startswith("Debian ")]
    if not found:
        raise LittlestHubError(
            "the apt of this machine is configured without a Debian archive, where the sources are",
            "run `apt-get update`, or set LITTLEST_HUB_DEBIAN_ARCHIVE to the address of a mirror",
        )
    return list(dict.fromkeys(found))


def fetch(source: Source, recipe: Path, cache: Cache) -> Path:
    """Return the path of the archive in the cache, with its SHA-256 checked.

    Raise LittlestHubError with the file and the recipe if the archive is gone or altered.
    """
    if not source.url.startswith(SCHEME):
        raise LittlestHubError(f"{recipe}: source {source.url!r} does not start with {SCHEME}")

    def download(target: Path) -> None:
        output = []
        for base in archives():
            url = f"{base}pool/{source.url.removeprefix(SCHEME)}"
            command = [APT_HELPER, "download-file", url, str(target), f"SHA256:{source.sha256}"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0 and sha256_file(target) == source.sha256:
                return
            output += [line for line in done.stderr.splitlines() if line.startswith(("E:", "  "))]
        raise LittlestHubError(
            f"cannot get the source {source.name} with sha256 {source.sha256}:\n"
            + "\n".join(output or ["apt-helper gave no reason"]),
            f"if it was replaced in Debian, put the new file's url and sha256 into {recipe}; "
            f"a copy you trust can be saved as {cache.root}/sources/{source.name}-{source.sha256}",
        )

    path = cache.get("sources", source.name, source.sha256, download)
    if sha256_file(path) != source.sha256:
        raise LittlestHubError(
            f"{path} was altered: its sha256 is not {source.sha256}", f"remove it: rm '{path}'"
        )
    return path


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tar file, without its single top directory, as rattler-build does."""
    aside = target / ".unpacked"
    aside.mkdir(parents=True)
    subprocess.run(["tar", "-x", "--no-same-owner", "-f", archive, "-C", aside], check=True)
    entries = list(aside.iterdir())
    top = entries[0] if len(entries) == 1 and entries[0].is_dir() else aside
    for path in list(top.iterdir()):
        path.rename(target / path.name)
    shutil.rmtree(aside)
