"""`littlest-hub nodes`: whether servers can run on the nodes; with a node's program for real."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from littlest_hub import __version__
from littlest_hub.doctor.findings import OK, PROBLEM, UNSEEN, WARNING
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.slurm import node_probe, nodes
from littlest_hub.stacks.slurm.nodes import Node, Site
from littlest_hub.stacks.slurm.submission import script

NODE = Node("c1", "idle", "main")
Srun = Callable[[str], Path]


@pytest.fixture
def srun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Srun:
    """A command of this name, which is a shell script; it keeps its arguments."""

    def write(text: str) -> Path:
        program = tmp_path / "srun"
        program.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/arguments\n{text}\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return tmp_path / "arguments"

    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return write


# The options end where the program begins, which runs here.
HERE = 'while [ "$1" != sh ]; do shift; done; exec "$@"'


class Answer(BaseHTTPRequestHandler):
    """A hub, as far as a node asks it; or another web server, at /other."""

    def do_GET(self) -> None:
        is_hub = self.path == "/hub/api"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"version": "6.1.1"}' if is_hub else b"<html>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def hub_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


# The output of a node without problems.
RIGHT = {"release": __version__, "is_reached": True, "hub": "", "home": "", "apart_s": 0.1}


def site(
    hub_url: str = "",
    address: str = "127.0.0.1",
    python: str = "",
    *options: str,
    packages: str = "",
) -> Site:
    return Site(
        python or sys.executable,
        hub_url,
        address,
        options,
        install="bash files.sh",
        packages=packages,
    )


def test_a_node_that_is_right_is_found_so_by_a_job_on_it(srun: Srun, hub_url: str) -> None:
    arguments = srun(HERE)
    (found,) = nodes.examine(site(hub_url, "127.0.0.1", "", "--qos=interactive"), NODE)
    assert (found.severity, found.subject) == (OK, "c1")
    assert f"has release {__version__}, reaches {hub_url}, is reached at 127.0.0.1:" in found.text
    started = arguments.read_text()
    assert "--nodelist=c1 " in started
    assert "--partition=main " in started
    assert " --qos=interactive sh -c " in started


def test_a_node_without_the_release_gets_the_command_that_installs_its_files(srun: Srun) -> None:
    srun(HERE)
    (found,) = nodes.examine(site(python="/no/such/python3"), NODE)
    assert found.severity == PROBLEM
    assert found.text.startswith("/no/such/python3 is not there")
    assert found.command == "bash files.sh   # on c1"


@pytest.mark.parametrize(
    ("path", "text"), [(":1", "Connection refused"), ("/other", "another program answers")]
)
def test_a_node_that_does_not_reach_the_hub_says_why(
    srun: Srun, hub_url: str, path: str, text: str
) -> None:
    srun(HERE)
    url = f"http://127.0.0.1{path}" if path.startswith(":") else f"{hub_url}{path}"
    (found,) = nodes.examine(site(url), NODE)
    assert found.severity == PROBLEM
    assert found.text.startswith(f"does not reach the hub at {url}: ")
    assert text in found.text


def test_a_node_that_this_machine_does_not_reach_is_a_problem() -> None:
    printed = io.StringIO()
    node_probe.run("", printed, wait_s=0.01)
    first, rest = map(json.loads, printed.getvalue().splitlines())
    report = {**rest, "apart_s": 0}
    (found,) = nodes.judge(site(), "c1", f"c1.cluster:{first['port']}", report)
    assert found.severity == PROBLEM
    assert "does not reach c1.cluster:" in found.text
    assert found.command.startswith("getent hosts c1.cluster ")


@pytest.mark.parametrize(
    ("report", "severity", "text"),
    [
        ({"apart_s": -61.0}, WARNING, "its clock is 61 s behind"),
        ({"home": "/home/al\x1b[2Jice is not there"}, PROBLEM, "/home/al?[2Jice is not there"),
        ({"release": "2020.1.0"}, WARNING, "has release 2020.1.0 as "),
    ],
)
def test_another_clock_a_missing_home_and_another_release_are_reported(
    report: dict[str, object], severity: str, text: str
) -> None:
    (found,) = nodes.judge(site(), "c1", "c1:4000", RIGHT | report)
    assert found.severity == severity
    assert found.text.startswith(text)


def test_a_node_without_the_packages_that_were_added_is_reported(
    srun: Srun, tmp_path: Path
) -> None:
    srun(HERE)
    there, missing = site(packages=str(tmp_path)), site(packages=f"{tmp_path}/no")
    assert [each.severity for each in nodes.examine(there, NODE)] == [OK]
    (found,) = nodes.examine(missing, NODE)
    assert found.severity == WARNING
    assert f"added for user servers: {tmp_path}/no is not there" in found.text


# srun of Slurm 22.05.8.
@pytest.mark.parametrize(
    ("printed", "severity", "text"),
    [
        (
            "srun: job 9 queued and waiting for resources\n"
            "srun: error: Unable to allocate resources: Requested nodes are busy\n",
            UNSEEN,
            "is not free now",
        ),
        ("srun: error: Unable to contact slurm controller\n", PROBLEM, "runs no job: srun: error"),
        ("", PROBLEM, "runs no job: no answer"),
    ],
)
def test_a_node_that_runs_no_job_now_is_reported_as_slurm_says_it(
    srun: Srun, tmp_path: Path, printed: str, severity: str, text: str
) -> None:
    (tmp_path / "said").write_text(printed)
    srun(f"cat {tmp_path}/said >&2; exit 1")
    (found,) = nodes.examine(site(), NODE)
    assert found.severity == severity
    assert found.text.startswith(text)


@pytest.mark.parametrize("printed", ["{}", "null", "[]", '{"port": "x"}', '{"port": 1}\n{}'])
def test_nonsense_from_a_node_is_a_problem_and_not_an_error(srun: Srun, printed: str) -> None:
    srun(f"echo '{printed}'")
    (found,) = nodes.examine(site(), NODE)
    assert found.severity == PROBLEM


def test_a_node_that_slurm_has_lost_gets_no_job(srun: Srun) -> None:
    arguments = srun("exit 1")
    (found,) = nodes.examine(site(), Node("c1", "down*", "main"))
    assert found.text == "runs no jobs: Slurm calls it down*"
    assert not arguments.exists()


def test_who_enables_the_stack_reads_what_the_nodes_need() -> None:
    installer = f"littlest-hub-{__version__}-Linux-x86_64.sh"
    several = EnabledStack("slurm", {"address": "http://head"})
    said = "\n".join(nodes.after_enable(Layout(DEFAULT_BASE), several))
    assert f"  bash {installer} -b -s\n" in said
    assert said.endswith("littlest-hub nodes")
    elsewhere = Layout(Path("/srv/physics"))
    said = "\n".join(nodes.after_enable(elsewhere, several))
    assert f"  LITTLEST_HUB_BASE=/srv/physics bash {installer} -b -s\n" in said
    only = nodes.after_enable(elsewhere, EnabledStack("slurm", {"address": ""}))
    assert "bash" not in "\n".join(only), "this machine has the release"


def test_each_node_is_examined_once_in_one_of_its_partitions() -> None:
    listed = "c1|idle|main\nc1|idle|gpu\nc2|mix|main\n"
    assert nodes.nodes(listed) == {
        "c1": Node("c1", "idle", "main"),
        "c2": Node("c2", "mix", "main"),
    }
    with pytest.raises(LittlestHubError, match="lists no node"):
        nodes.nodes("\n")


def test_several_nodes_need_the_address_of_the_hub() -> None:
    layout = Layout(Path("/srv/hub"))
    several = [NODE, Node("c2", "idle", "main")]
    (found,) = nodes.missing_address(layout, site(), several)
    assert found.severity == PROBLEM
    assert not list(nodes.missing_address(layout, site("http://head"), several))
    assert not list(nodes.missing_address(layout, site(), [NODE]))


def test_a_partition_of_the_fragments_that_slurm_does_not_have_is_named() -> None:
    chosen = Site("/python3", partitions=("main", "gpu"))
    (found,) = nodes.missing_partitions(Layout(Path("/srv/hub")), chosen, "c1|idle|main\n")
    assert (found.severity, found.text.split(":")[0]) == (WARNING, "partition gpu")


def test_the_home_of_whose_jobs_they_are_is_named_and_looked_for() -> None:
    (found,) = nodes.judge(site(), "c1", "c1:4000", RIGHT, "alice")
    assert found.text.endswith(", has the home of alice")
    missing = RIGHT | {"home": "/home/alice is not there"}
    (found,) = nodes.judge(site(), "c1", "c1:4000", missing, "alice")
    assert found.command == "id alice; ls -ld ~alice   # on c1"


def test_the_log_of_a_job_on_a_node_without_the_release_says_so() -> None:
    text = script({"SECRET": "x"}, ["/no/such/py'thon3", "-I"])
    done = subprocess.run(["sh"], input=text, capture_output=True, text=True)
    assert done.returncode == 127
    assert "littlest-hub: /no/such/py'thon3 is not on node " in done.stderr
    assert done.stderr.endswith("your administrator runs: littlest-hub nodes\n")
