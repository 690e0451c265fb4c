"""``python -m construct``: build the installer."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from construct import advisories, conda_forge
from construct.builder import DEVELOPMENT_LEVEL, RELEASE_LEVEL, ROOT, Builder
from construct.cache import Cache, default_root
from littlest_hub.errors import LittlestHubError

DESCRIPTION = """\
Build the self-extracting installer of the hub environment.

What goes in is said in two files: environment.yml lists the packages and their versions,
construct.yaml says how they are installed. From there

  1. CPython and its libraries are compiled from Debian's source packages (recipe/),
     by zig against glibc 2.28, so the result runs on that and everything newer;
  2. the wheels of construct/wheels.lock are downloaded and repackaged for conda;
  3. all packages together are a local conda channel, solved for environment.yml;
  4. the solved environment becomes one file that needs no network to install.
"""
EPILOG = """\
examples:
  python -m construct                 while developing: compressed quickly
  python -m construct --release       what is published: compressed as small as it gets
  python -m construct --update-locks  after a change of versions in environment.yml

Every step is kept in the cache by the content of what went into it ($LITTLEST_HUB_CACHE, now
{cache}); removing it costs time only. Downloads use this machine's apt and
pip configuration. The same checkout gives the same bytes.
"""


def positive(text: str) -> int:
    """A number from one on; ValueError becomes argparse's message."""
    if int(text) < 1:
        raise ValueError
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="python -m construct",
        description=DESCRIPTION,
        epilog=EPILOG.format(cache=default_root()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument(
        "--release",
        action="store_true",
        help="compress with zstd -19 instead of -3 (minutes); refused while a pinned version has a"
        " known vulnerability (construct/advisories.yaml)",
    )
    result.add_argument(
        "--output", type=Path, default=ROOT / "dist", metavar="DIR", help="default: dist/"
    )
    result.add_argument(
        "--jobs",
        type=positive,
        default=os.cpu_count() or 1,
        metavar="N",
        help="compilers and packagers at a time (default: %(default)s, the number of processors)",
    )
    result.add_argument(
        "--update-locks",
        action="store_true",
        help="resolve construct/wheels.lock anew from environment.yml and pyproject.toml, and stop",
    )
    result.add_argument(
        "--with-constructor",
        action="store_true",
        help="build from conda-forge with conda's own constructor, which must be installed",
    )
    return result


def run(arguments: argparse.Namespace) -> Path:
    """Do what the command line asks; the path of the file that was made."""
    level = RELEASE_LEVEL if arguments.release else DEVELOPMENT_LEVEL
    if arguments.release:
        print(advisories.refuse_affected(ROOT), file=sys.stderr)
    if arguments.with_constructor:
        return conda_forge.build(ROOT, arguments.output)
    builder = Builder(Cache(), level=level, jobs=arguments.jobs)
    if arguments.update_locks:
        return builder.update_lock()
    return builder.build(arguments.output)


def main() -> int:
    """0 done, 1 failed; argparse itself exits with 2 for wrong usage."""
    arguments = parser().parse_args()
    started_s = time.monotonic()
    try:
        made = run(arguments)
    except LittlestHubError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was finished is in the cache", file=sys.stderr)
        return 1
    elapsed_s = time.monotonic() - started_s
    print(f"{made.stat().st_size / 1e6:.1f} MB in {elapsed_s:.0f} s", file=sys.stderr)
    print(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
