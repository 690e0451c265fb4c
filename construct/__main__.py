"""``python -m construct``: build the installer."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

try:
    from construct import advisories, bundle, conda_forge
    from construct.builder import DEVELOPMENT_LEVEL, RELEASE_LEVEL, ROOT, Builder
    from construct.cache import Cache, default_root
    from littlest_hub.errors import LittlestHubError
except ModuleNotFoundError as error:
    sys.exit(
        f"error: this Python ({sys.executable}) has no module {error.name}\n"
        "run `make venv`, and then .venv/bin/python -m construct"
    )

DESCRIPTION = """\
Build the self-extracting installer of the hub environment.

Two files define it: environment.yml lists the packages and their versions, construct.yaml says
how they are installed. The steps:

  1. CPython and its libraries are compiled from Debian's source packages (recipe/),
     by zig against glibc 2.28, so the result runs with that version and newer ones;
  2. the wheels of construct/wheels.lock are downloaded and repackaged for conda;
  3. all packages form a local conda channel, from which environment.yml is solved;
  4. the solved environment becomes one file, which installs without a network.
"""
EPILOG = """\
examples:
  python -m construct                 for development: compressed quickly
  python -m construct --release       for publication: compressed as small as possible
  python -m construct --update-locks  after a change of versions in environment.yml
  python -m construct --bundle class  the packages of the stack `class`, for hubs without a network

The cache ($LITTLEST_HUB_CACHE, now {cache}) keeps the result of every step
and reuses it while the step's inputs are the same. It may be deleted: the next build then
takes longer. Downloads use this machine's apt and pip configuration. The same checkout gives
the same bytes.
"""


def positive(text: str) -> int:
    """Parse a number of at least one. argparse reports a ValueError."""
    if int(text) < 1:
        raise ValueError
    return int(text)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
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
        "--channel",
        action="store_true",
        help="also write the packages as a conda channel, to DIR/channel",
    )
    result.add_argument(
        "--jobs",
        type=positive,
        default=os.cpu_count() or 1,
        metavar="N",
        help="number of parallel jobs (default: %(default)s, the number of processors)",
    )
    result.add_argument(
        "--update-locks",
        action="store_true",
        help="only resolve construct/wheels.lock again, from environment.yml and pyproject.toml",
    )
    result.add_argument(
        "--bundle",
        metavar="NAME",
        help="only write the packages of a stack to one file, DIR/littlest-hub-NAME-VERSION.tar, or"
        " those of the lists hub.txt, server.txt and tools.txt in a directory; with --update-locks,"
        " choose their versions again",
    )
    result.add_argument(
        "--keep",
        action="store_true",
        help="with --update-locks: change no version that still fits, as when a package is added",
    )
    result.add_argument(
        "--with-constructor",
        action="store_true",
        help="build from conda-forge with conda's own constructor, which must be installed",
    )
    return result


def run(arguments: argparse.Namespace) -> Path:
    """Build what the command line requests. Return the path of the file."""
    level = RELEASE_LEVEL if arguments.release else DEVELOPMENT_LEVEL
    if arguments.release:
        print(advisories.refuse_affected(ROOT), file=sys.stderr)
    if arguments.with_constructor:
        return conda_forge.build(ROOT, arguments.output)
    if arguments.bundle:
        wanted = bundle.find(ROOT, arguments.bundle)
        return bundle.build(
            ROOT, wanted, arguments.output, Cache(), is_new_lock=arguments.update_locks
        )
    builder = Builder(Cache(), level=level, jobs=arguments.jobs)
    if arguments.update_locks:
        return builder.update_lock(keep=arguments.keep)
    return builder.build(arguments.output, with_channel=arguments.channel)


def main() -> int:
    """Return 0 if done, 1 if failed. argparse exits with 2 for wrong usage."""
    arguments = parser().parse_args()
    started_s = time.monotonic()
    try:
        made = run(arguments)
    except LittlestHubError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; finished steps are in the cache", file=sys.stderr)
        return 1
    elapsed_s = time.monotonic() - started_s
    print(f"{made.stat().st_size / 1e6:.1f} MB in {elapsed_s:.0f} s", file=sys.stderr)
    print(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
