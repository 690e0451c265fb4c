"""The program of a user server, and upstream's program in its place."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import littlest_hub
from littlest_hub.singleuser import TESTED_VERSIONS

pytestmark = pytest.mark.unit

REPOSITORY = Path(littlest_hub.__file__).parents[1]


def test_the_tested_versions_are_those_that_are_pinned() -> None:
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text())
    pinned = dict(re.findall(r"^(\S+) ==(\S+)$", "\n".join(environment["dependencies"]), re.M))
    lock = (REPOSITORY / "construct/wheels.lock").read_text()
    locked = dict(re.findall(r"^(\S+)==(\S+) ", lock, re.M))
    for name, tested in TESTED_VERSIONS.items():
        project = name.replace("_", "-")
        hint = f"run make test-upstream, then change TESTED_VERSIONS for {name}"
        assert pinned.get(project, tested) == tested, hint
        assert locked[project] == tested, hint


# A program that calls `main` with fakes of JupyterHub's packages, then upstream's program, which
# reports on standard output. Each case breaks something first.
MAIN = """
import sys
import littlest_hub.singleuser
from littlest_hub.singleuser import patches
{broken}
littlest_hub.singleuser.main()
"""
UPSTREAM = """
import gc, json, os, sys
from importlib.metadata import entry_points
changed = [name for name in sys.modules if name.startswith("littlest_hub") or name in {names}]
print(json.dumps(dict(argv=sys.argv[1:], pid=os.getpid(), gc=gc.isenabled(), changed=changed)))
"""
PREPARED = """
def main():
    import gc, json, os, sys
    print(json.dumps(dict(argv=sys.argv[1:], prepared="patches.done" in sys.modules)))
"""
HALF_WAY = r"""
from littlest_hub.system.lazy_imports import lazy_modules, placeholder, placeholders
def half_way():
    import importlib.metadata
    with lazy_modules(["sqlite3"]), placeholders({"rfc3987_syntax": placeholder("x")}):
        import sqlite3
        importlib.metadata.entry_points = None
        raise RuntimeError("the middle\nof it")
patches.lazy_event_schemas = half_way
"""
NAMES = ("rfc3987_syntax", "sqlite3", "jupyter_events", "jupyterhub.httpclient")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with fakes of the packages, in their tested versions."""
    for name, version in TESTED_VERSIONS.items():
        info = tmp_path / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
        (tmp_path / name).mkdir()
    package = tmp_path / "jupyterhub/singleuser"
    package.mkdir()
    (tmp_path / "jupyterhub/__init__.py").touch()
    (package / "__init__.py").write_text(PREPARED)
    (package / "__main__.py").write_text(UPSTREAM.format(names=NAMES))
    return tmp_path


def run(site: Path, broken: str, **environment: str) -> tuple[dict[str, object], str, int]:
    """Return what the program reports, its standard error, and its process ID."""
    path = os.pathsep.join([str(site), str(REPOSITORY)])
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN.format(broken=broken), "--port=1", "a b"],
        env={**os.environ, "PYTHONPATH": path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return json.loads(output), errors, process.pid


def check_upstream(report: dict[str, object], pid: int) -> None:
    assert report == {"argv": ["--port=1", "a b"], "pid": pid, "gc": True, "changed": []}


WARNING = "<4>The user server runs without Littlest Hub's patches, slower and larger: "


def test_a_prepared_server_runs_with_its_arguments(site: Path) -> None:
    done = "def done(): sys.modules['patches.done'] = sys\npatches.import_server = done"
    report, errors, _ = run(site, done)
    assert report == {"argv": ["--port=1", "a b"], "prepared": True}
    assert errors == ""


@pytest.mark.parametrize("name", TESTED_VERSIONS)
def test_another_version_makes_upstreams_program_run(site: Path, name: str) -> None:
    tested = TESTED_VERSIONS[name]
    info = site / f"{name}-{tested}.dist-info"
    (info / "METADATA").write_text(f"Name: {name}\nVersion: {tested}.post1\n")
    info.rename(site / f"{name}-{tested}.post1.dist-info")
    report, errors, pid = run(site, "")
    check_upstream(report, pid)
    reason = f"UntestedVersionError: {name} {tested}.post1 instead of {tested}"
    assert errors == f"{WARNING}{reason}\n"


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("patches.import_server = lambda: 1 / 0", "ZeroDivisionError: division by zero"),
        (HALF_WAY, "RuntimeError: the middle of it"),
        ("sys.modules['littlest_hub.singleuser.patches'] = None", "ModuleNotFoundError: .*"),
    ],
)
def test_an_error_in_the_preparation_makes_upstreams_program_run_unchanged(
    site: Path, broken: str, reason: str
) -> None:
    if "None" in broken:
        broken += "\ndel littlest_hub.singleuser.patches"
    report, errors, pid = run(site, broken)
    check_upstream(report, pid)
    assert re.fullmatch(f"{re.escape(WARNING)}{reason}\n", errors)


@pytest.mark.parametrize("name", ["JUPYTERHUB_SINGLEUSER_APP", "JUPYTERHUB_SINGLEUSER_EXTENSION"])
def test_another_server_of_jupyterhubs_is_run_by_upstreams_program(site: Path, name: str) -> None:
    report, errors, pid = run(site, "", **{name: "1"})
    check_upstream(report, pid)
    assert errors == ""
