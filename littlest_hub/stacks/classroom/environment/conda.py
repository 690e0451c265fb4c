"""Packages of conda channels: `python -I -m …conda OVERLAY PREFIX CHANNEL… -- SPEC…`.

py-rattler solves and installs them; an administrator adds this tool with `littlest-hub packages add
--tool py-rattler`. Packages in conda's records keep their versions; pip manages those of Python.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout, PackageSet
from littlest_hub.system import authorities, import_path

_TOOL = "py-rattler"


def command(
    layout: Layout, prefix: Path, channels: Sequence[str], specs: Sequence[str]
) -> list[str]:
    """Return the command that installs packages of conda channels into a prefix.

    Raises:
        LittlestHubError: py-rattler is missing, or a word is neither a channel nor a spec.
    """
    overlay = installation.active_overlay(layout, installation.release_of_this_interpreter())
    if overlay is None or not (overlay / PackageSet.TOOLS / "rattler").is_dir():
        raise LittlestHubError(
            f"packages of conda need {_TOOL}",
            f"Add it: {layout.command} packages add --tool {_TOOL}",
        )
    for word in (*channels, *specs):
        if word.startswith("-") or not word.isprintable():
            raise LittlestHubError(f"{word!r} is neither a channel nor a package")
    addresses = [_address(channel) for channel in channels]
    program = [sys.executable, "-I", "-m", __name__, str(overlay), str(prefix)]
    return [*program, *addresses, "--", *specs]


def _address(channel: str) -> str:
    """Return a channel as rattler takes it: a directory, an address, or the name of a channel."""
    path = Path(channel)
    return path.resolve().as_uri() if path.is_dir() else channel


async def install(prefix: Path, channels: Sequence[str], specs: Sequence[str]) -> None:
    """Install packages and their dependencies; present packages stay."""
    import rattler

    files = sorted((prefix / "conda-meta").glob("*.json"))
    present: list[Any] = [rattler.PrefixRecord.from_path(file) for file in files]
    found = await rattler.solve(
        channels,
        specs,
        platforms=["linux-64", "noarch"],
        pinned_packages=present,
        virtual_packages=rattler.VirtualPackage.detect(),
    )
    # The solution contains only what the specs need; the other packages stay as well.
    chosen = {record.name.normalized for record in found}
    kept = [record for record in present if record.name.normalized not in chosen]
    with tempfile.TemporaryDirectory() as cache:
        await rattler.install(
            [*kept, *found],
            prefix,
            cache_dir=Path(cache),
            installed_packages=present,
            show_progress=False,
        )


def main() -> None:
    """Install the packages that the command line names."""
    overlay, prefix, *words = sys.argv[1:]
    import_path.append_packages(overlay, PackageSet.TOOLS)
    if not authorities.file():
        # Without any, rattler fails ("builder error"), even if the channel is a directory.
        os.environ.setdefault("SSL_CERT_FILE", str(Path(sys.prefix, "ssl", "cacert.pem")))
    border = words.index("--")
    code = 0
    try:
        asyncio.run(install(Path(prefix), words[:border], words[border + 1 :]))
    except Exception as error:  # rattler has no common class for its errors
        print(str(error), file=sys.stderr, flush=True)
        code = 1
    # Threads of rattler may abort the interpreter while it exits.
    os._exit(code)


if __name__ == "__main__":
    main()
