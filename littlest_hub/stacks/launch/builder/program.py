"""The program of the builder's unit: `python -I -m …builder.program build ID WORD…`, or `clean`.

A word is a network, which code reaches although it is not public, or a channel of conda,
NAME=ADDRESS; the administrator permits both.

The order is its standard input, a file that systemd opens: the builder sees nothing else of the
service's. The result is in `results/ID.json` and, for people, in `logs/ID.jsonl`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout, PackageSet
from littlest_hub.stacks.launch import order
from littlest_hub.stacks.launch.address import networks
from littlest_hub.stacks.launch.builder import build, cleaning, pythons
from littlest_hub.stacks.launch.builder import lock as locks
from littlest_hub.stacks.launch.builder.build import Plan
from littlest_hub.stacks.launch.builder.build_log import BuildLog
from littlest_hub.stacks.launch.builder.conda import Conda, is_of_conda, rattler_of
from littlest_hub.stacks.launch.builder.lock import Local, Lock, Tier
from littlest_hub.stacks.launch.builder.place import Place, checked_key
from littlest_hub.stacks.launch.builder.pythons import Python
from littlest_hub.stacks.launch.code.approved import Code, code_of
from littlest_hub.stacks.launch.environment import environment_files
from littlest_hub.stacks.launch.environment.channels import Channels
from littlest_hub.stacks.launch.environment.environment_files import Environment, Kind
from littlest_hub.stacks.launch.order import Order
from littlest_hub.system import files
from littlest_hub.system.progress import Progress
from littlest_hub.system.uv import Indexes, NoSolutionError, Uv

MODULE = "littlest_hub.stacks.launch.builder.program"


@dataclass(frozen=True)
class Result:
    """The result of an order."""

    key: str
    lock: str
    python: str
    """The copy of Python for which the lock was made."""


class Builder:
    """Builds environments of one release's Python in one place.

    Args:
        place: where.
        uv: the program, with the shared cache.
        python: the release's Python.
        code: what runs code that somebody has approved; None: nothing does.
        conda: the tools for packages of conda; None: there are none.
    """

    def __init__(
        self,
        place: Place,
        uv: Uv,
        python: Python,
        code: Code | None = None,
        conda: Conda | None = None,
    ) -> None:
        self._place, self._uv, self._python, self._code = place, uv, python, code
        self._conda = conda or Conda(uv, python.program(place))

    def build(self, asked: Order, report: Progress) -> Result:
        """Build the environment of an order, unless it is there.

        Raises:
            NoSolutionError: its requirements cannot be satisfied together.
            LittlestHubError: it cannot be built for another reason.
        """
        environment = self._environment(asked)
        lock = self._known(asked) or self._resolve(environment, asked, report)
        script = environment.post_build
        # The products of a private repository's code are its owner's alone.
        identity = asked.owner if asked.code or asked.built else ""
        if script:
            identity = _identity(asked, script)
        tier = Tier.CODE if script else Tier.WHEEL
        key = locks.key(lock, self._python, self._uv.version, tier, identity)

        def run_script(directory: Path) -> None:
            self._runner().run_script(script, environment, asked, directory, report)

        plan = Plan(self._python, lock, run_script if script else None, self._conda)
        if build.build(self._place, self._uv, plan, key, report):
            record = build.read_record(self._place, key)
            report(f"built {lock.count} packages in {record.seconds if record else 0:.1f} s")
        else:
            report("the environment is there already: nothing was built")
        result = Result(key, lock.text, self._python.digest)
        noted = self._place.result(asked.id)
        files.write(noted, json.dumps(asdict(result)) + "\n")
        os.utime(noted)  # also if it is the same as before: whoever waits sees that a build is done
        return result

    def finish(self, result: Result) -> None:
        """Do what the environment of an order can be used without."""
        build.add_bytecode(self._place, self._python, result.key)

    def offer(self, asked: Order) -> str:
        """Return the date as of which an order without a solution has one; "": there is none."""
        # A build that runs code has taken long enough.
        if asked.as_of or not asked.committed or asked.code or asked.built:
            return ""
        try:
            earlier = replace(asked, as_of=asked.committed)
            self._resolve(self._environment(asked), earlier, lambda _: None)
        except LittlestHubError:
            return ""
        return asked.committed

    def result(self, name: str) -> Result | None:
        """Return what an order has become with this Python; None: nothing yet."""
        try:
            data = json.loads(self._place.result(name).read_text())
            found = Result(str(data["key"]), str(data["lock"]), str(data["python"]))
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return found if found.python == self._python.digest else None

    def _known(self, asked: Order) -> Lock | None:
        """Return the lock that an order has had already; None: it is made now."""
        known = self.result(asked.id)
        text = known.lock if known else asked.lock
        lock = locks.of_text(text) if text else None
        # Wheels that were built here are removed with the last environment that has them.
        has_all = lock and all((self._place.wheels / each).is_file() for each in lock.built)
        return lock if has_all else None

    def _runner(self) -> Code:
        if self._code is None:
            raise LittlestHubError("this hub runs no code of repositories")
        return self._code

    def _environment(self, asked: Order) -> Environment:
        """Return what is built: judged again, from the text that is built."""

        def read(file: str, limit_bytes: int) -> bytes:
            return asked.files[file].encode()[:limit_bytes]

        versions, channels = [self._python.version], self._conda.channels
        found = environment_files.environment(asked.files, read, versions, channels)
        if found.refused:
            raise LittlestHubError("; ".join(map(str, found.refused)))
        if found.kind is Kind.USUAL:
            raise LittlestHubError("the repository asks for no environment of its own")
        locks.check_tier(found, asked.code)
        return found

    def _resolve(self, environment: Environment, asked: Order, report: Progress) -> Lock:
        pythons.ensure(self._python, self._place)
        report(f"resolving {environment.kind}" + (f" as of {asked.as_of}" if asked.as_of else ""))
        program = self._python.program(self._place)
        built: list[str] = []
        if environment.wanted.built or asked.built:
            built = self._runner().wheels(environment, asked, report)
        local = Local(tuple(built), self._place.wheels)
        files, as_of = asked.files, asked.as_of
        if is_of_conda(environment):
            found = self._conda.resolve(environment, files, as_of, local, report)
        else:
            found = locks.resolve(self._uv, program, environment, files, as_of, local)
        report(f"resolved {found.count} packages")
        return found


def serve(make: Callable[[], Builder], place: Place, name: str, text: str) -> int:
    """Build an order, with a log; return an exit code.

    Args:
        make: returns the builder, or raises a LittlestHubError.
        place: where.
        name: the order's id.
        text: the order.
    """
    # All the time: the copy of Python is used before an environment names it.
    with BuildLog(place.log(name)) as log, build.no_cleaning(place):
        try:
            asked = order.of_json(text, name)
            builder = make()
            try:
                result = builder.build(asked, log.line)
            except NoSolutionError as error:
                log.failed(error.message, error.hint, builder.offer(asked), error.sources)
                return 1
            log.done(result.key)
            builder.finish(result)
        except LittlestHubError as error:
            log.failed(error.message, error.hint)
            return 1
        except OSError as error:
            log.failed(f"{error.filename or place.home}: {error.strerror}")
            return 1
        except Exception:
            log.failed("the builder has failed", "The administrator finds why in the journal")
            raise
    return 0


def _identity(asked: Order, script: str) -> str:
    """Return what a script is, and which files it sees."""
    parts = (asked.source, script, asked.files[script], asked.hosts, asked.is_online)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def uv_of(layout: Layout, release: Path, place: Place) -> Uv:
    """Return uv of an installation.

    Raises:
        LittlestHubError: it has none.
    """
    overlay = installation.active_overlay(layout, release)
    program = overlay / PackageSet.TOOLS / "bin" / "uv" if overlay else None
    if program is None or not program.is_file():
        raise LittlestHubError(
            "environments need uv", f"Add it: {layout.command} packages add --tool uv"
        )
    return Uv(program, place.cache, Indexes.of_pip())


def builder_of(layout: Layout, release: Path, place: Place, permitted: Sequence[str]) -> Builder:
    """Return the builder of an installation.

    Args:
        layout: the installation.
        release: whose Python environments have.
        place: where they are built.
        permitted: the words of the command line, by which the administrator permits networks and
            channels.

    Raises:
        LittlestHubError: a program is missing.
    """
    uv, python = uv_of(layout, release, place), Python.of(release)
    reached = networks(each for each in permitted if "=" not in each)
    channels = Channels.of_words(each for each in permitted if "=" in each)
    rattler = rattler_of(layout, release, place)
    conda = Conda(uv, python.program(place), rattler, channels)
    return Builder(place, uv, python, code_of(layout, uv, python, reached), conda)


def main() -> None:
    """Build the order on standard input, or clean as it says there."""
    os.umask(0o022)
    verb, *words = sys.argv[1:]
    try:
        release = installation.release_of_this_interpreter()
        layout = installation.of_prefix(release)
        place = Place.of(layout)
        place.make()
        text = sys.stdin.buffer.read(order.LIMIT_BYTES + 1).decode(errors="replace")
        if verb == "build":
            name, *permitted = words
            make = partial(builder_of, layout, release, place, permitted)
            sys.exit(serve(make, place, checked_key(name), text))
        _clean(place, uv_of(layout, release, place), json.loads(text))
    except (LittlestHubError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def _clean(place: Place, uv: Uv, asked: dict[str, Any]) -> None:
    done = cleaning.clean(
        place,
        uv,
        int(asked["budget_bytes"]),
        frozenset(map(str, asked.get("kept", ()))),
        {str(name): float(value) for name, value in asked.get("used", {}).items()},
    )
    print(json.dumps(asdict(done)))


if __name__ == "__main__":
    main()
