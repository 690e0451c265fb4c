"""Attempts of somebody hostile with a job, and with the form (`make test-cluster`)."""

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from littlest_hub.stacks.slurm.units import address_of
from tests.client import Person, RefusedError
from tests.cluster.test_a_job import ALL_OF_A_NODE
from tests.cluster.test_time_limit import limit_of
from tests.hub import Hub
from tests.slurm import Cluster

pytestmark = pytest.mark.long

REPORT = """
import os, urllib.request, urllib.error, json
def report(body, token=os.environ["JUPYTERHUB_API_TOKEN"]):
    request = urllib.request.Request(
        os.environ["JUPYTERHUB_API_URL"] + "/slurm/port",
        json.dumps(body).encode(),
        {"Authorization": "token " + token, "Content-Type": "application/json"},
    )
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code
"""
JOB = "import os\nprint(os.environ['SLURM_JOB_ID'])"
ARGUMENTS = """
import os, glob
secret = os.environ["JUPYTERHUB_API_TOKEN"].encode()
found = []
for name in glob.glob("/proc/[0-9]*/cmdline"):
    try:
        found.append(open(name, "rb").read())
    except OSError:
        pass
print(len(found) > 3, any(secret in each for each in found))
"""


HALF_A_NODE = {"partition": "main", "processors": "1"}
TOGETHER = 'c.SlurmSpawner.sbatch_options = ["--nodelist=c1"]\n'
SECRET = "of-the-victim-4d2f"
WORKS = f"""
import os
open("secret.txt", "w").write({SECRET!r})
print(os.getpid(), os.environ["SLURM_JOB_ID"], os.environ["JUPYTERHUB_SERVICE_URL"])
"""


@pytest.fixture(scope="module")
def pair(cluster: Cluster, hub: Hub) -> Iterator[tuple[Person, Person]]:
    """Two users whose servers run on one node: somebody at work, and mallory."""
    with cluster.person(hub, "victim") as victim, cluster.person(hub, "mallory") as mallory:
        with hub.fragment("60-together.py", TOGETHER):
            for person in (victim, mallory):
                person.submit_form(HALF_A_NODE)
                person.await_server(timeout_s=120)
        yield victim, mallory


@pytest.fixture(scope="module")
def mallory(pair: tuple[Person, Person]) -> Person:
    """A user whose server runs on a node."""
    return pair[1]


class Victim(NamedTuple):
    """Somebody at work on the same node, as anyone there may know them."""

    job: str
    kernel: int
    address: str
    """Address of the server on the node."""


@pytest.fixture(scope="module")
def victim(pair: tuple[Person, Person]) -> Iterator[Victim]:
    with pair[0].open_kernel() as kernel:
        pid, job, url = kernel.run(WORKS).split()
        port = urlsplit(url).port
        yield Victim(job, int(pid), f"http://127.0.0.1:{port}/user/victim")


@pytest.mark.parametrize("body", [{"port": 4321}, {"cmd": ["sh"]}, {"port": 1, "cmd": ["sh"]}, []])
def test_a_job_reports_once_and_changes_nothing_else(mallory: Person, body: object) -> None:
    # 409 from the hub that has started the server, 403 from one after it, which has no token.
    assert mallory.run_cell(f"{REPORT}\nprint(report({body!r}))") in ("409\n", "403\n")


def test_another_token_reports_for_nobody(mallory: Person) -> None:
    token = mallory.token()
    assert mallory.run_cell(f"{REPORT}\nprint(report({{'port': 1}}, {token!r}))") == "403\n"
    assert mallory.run_cell(f"{REPORT}\nprint(report({{'port': 1}}, 'no-token'))") == "403\n"


def test_the_token_is_on_no_command_line(mallory: Person) -> None:
    assert mallory.run_cell(ARGUMENTS) == "True False\n"


@pytest.mark.row(28)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("partition", "debug"),
        ("partition", "main\n#SBATCH --uid=0"),
        ("hours", "9"),
        ("hours", "-1"),
        ("processors", "1 --uid=0"),
        ("processors", "200"),
        ("memory_gb", "1e9"),
        ("gpus", "1"),
        ("account", "root"),
        ("reservation", "$(id)"),
    ],
)
def test_what_is_not_offered_is_refused_and_not_remembered(
    cluster: Cluster, hub: Hub, eve: Person, field: str, value: str
) -> None:
    with pytest.raises(RefusedError, match=f"400 .*{field}: expected"):
        eve.submit_form({**ALL_OF_A_NODE, field: value})
    assert cluster.jobs("eve") == {}
    stored = "SELECT user_options FROM spawners JOIN users ON users.id = user_id WHERE users.name"
    script = (
        "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall())"
    )
    command = [hub.path("hub/bin/python3"), "-c", script, str(hub.layout.database)]
    shown = hub.machine.run([*command, f"{stored} = 'eve'"]).stdout
    assert value not in shown
    assert "partition" not in shown


@pytest.fixture(scope="module")
def eve(cluster: Cluster, hub: Hub) -> Iterator[Person]:
    """A user without a server."""
    with cluster.person(hub, "eve") as eve:
        yield eve


def test_options_that_no_form_has_are_discarded(cluster: Cluster, hub: Hub) -> None:
    with cluster.person(hub, "api") as person:
        person.start_server(timeout_s=120, processors="2", sbatch_options="--uid=0", cmd="sh")
        who = person.run_cell("import getpass, os\nprint(getpass.getuser())")
        assert who == "api\n"


@pytest.mark.row(28)
@pytest.mark.parametrize(
    "command",
    [
        "scancel {job}",
        "scancel --signal=INT --full {job}",
        "scontrol update JobId={job} TimeLimit=1",
        "scontrol update JobId={job} Comment=x",
        "scontrol suspend {job}",
        "scontrol requeue {job}",
        "scontrol write batch_script {job} -",
        "scontrol notify {job} hello",
        "srun --jobid={job} --overlap id",
        "sattach {job}.batch",
        "sbatch --uid=victim --wrap=id",
        "cat /home/victim/secret.txt",
        "cat /proc/{kernel}/environ",
        "ls /proc/{kernel}/fd",
        "ls /proc/{kernel}/cwd/",
        "sh -c 'kill -INT {kernel}'",
        "cat /var/lib/slurm/slurmd/job{job:0>5}/slurm_script",
        "cat /etc/munge/munge.key",
    ],
)
def test_on_a_node_nobody_reaches_the_job_of_another(
    cluster: Cluster, mallory: Person, victim: Victim, command: str
) -> None:
    tried = command.format(**victim._asdict())
    ran = mallory.run_cell(
        "import shlex, subprocess\n"
        f"done = subprocess.run(shlex.split({tried!r}), capture_output=True, text=True)\n"
        # Some of Slurm's commands end with 0 all the same.
        "print('nothing' if done.stderr and not done.stdout else done.stdout, done.stderr)"
    )
    assert ran.startswith("nothing "), ran
    print(f"{tried}: {ran}")
    assert cluster.jobs("victim") == {victim.job: "RUNNING"}
    assert limit_of(cluster, "victim") == "1:00:00"


@pytest.mark.row(28)
def test_on_a_node_the_server_of_another_asks_for_a_login(
    pair: tuple[Person, Person], victim: Victim
) -> None:
    tries = (
        "import os, urllib.error, urllib.request\n"
        "own = os.environ['JUPYTERHUB_API_TOKEN']\n"
        "for path in ('/api/kernels', '/api/contents/secret.txt', '/files/secret.txt'):\n"
        "    for headers in ({}, {'Authorization': 'token ' + own}):\n"
        f"        request = urllib.request.Request({victim.address!r} + path, None, headers)\n"
        "        try:\n"
        "            answer = urllib.request.build_opener().open(request)\n"
        "            print('/hub/login' in answer.url and 'login')\n"
        "        except urllib.error.HTTPError as error:\n"
        # The hub's page, which is not at this address.
        "            print('login' if '/hub/' in error.url else error.code)\n"
    )
    said = pair[1].run_cell(tries).split()
    assert len(said) == 6
    assert {*said} <= {"403", "login"}, said


@pytest.mark.row(28)
def test_on_a_node_directories_of_kernels_and_logs_tell_others_nothing(
    pair: tuple[Person, Person], victim: Victim
) -> None:
    look = (
        "import glob, os, pathlib\n"
        "theirs = [each for each in glob.glob('/tmp/jupyter-*') if not os.access(each, os.R_OK)]\n"
        "log = pathlib.Path('/home/victim/.jupyterhub.log')\n"
        "print(len(theirs), os.access(log, os.R_OK) and log.read_text())\n"
    )
    said = pair[1].run_cell(look)
    assert said.startswith("1 "), "the directory of the server and of its kernels"
    secret = pair[0].run_cell("import os\nprint(os.environ['JUPYTERHUB_API_TOKEN'])").strip()
    assert len(secret) > 20
    assert secret not in said


@pytest.mark.row(28)
def test_the_head_is_open_to_nodes_at_the_ports_of_the_hubs_pages_and_of_slurm(
    cluster: Cluster, hub: Hub, mallory: Person
) -> None:
    scan = (
        "import socket\n"
        "found = []\n"
        "for port in range(1, 65536):\n"
        "    with socket.socket() as tried:\n"
        "        tried.settimeout(2)\n"
        "        if tried.connect_ex(('head', port)) == 0:\n"
        "            found.append(port)\n"
        "print(*found)\n"
    )
    assert mallory.run_cell(scan, timeout_s=120).split() == ["80", "6817"]


@pytest.mark.row(28)
@pytest.mark.parametrize(
    "command",
    [
        "sbatch --uid=victim --wrap=id",
        "cat {layout.database}",
        "ls {layout.hub_state}",
        "ls {layout.server_environments}",
        "runuser -u victim -- id",
    ],
)
def test_on_the_head_an_account_has_nothing_of_the_hub(
    cluster: Cluster, hub: Hub, mallory: Person, command: str
) -> None:
    tried = command.format(layout=hub.layout).split()
    done = hub.machine.run(["runuser", "-u", "mallory", "--", *tried], check=False)
    assert done.returncode, done.stdout
    assert cluster.jobs("mallory").keys() == {mallory.run_cell(JOB).strip()}


@pytest.mark.row(28)
def test_on_the_head_nobody_but_the_hub_reaches_roots_helper(hub: Hub, mallory: Person) -> None:
    address = str(address_of(hub.layout))
    connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    command = [hub.path("hub/bin/python3"), "-I", "-c", connect, address]
    done = hub.machine.run(["runuser", "-u", "mallory", "--", *command], check=False)
    assert "PermissionError" in done.stderr
    assert hub.machine.run(command).returncode == 0, "root, so the hub"


@pytest.mark.row(28)
def test_a_job_that_is_named_like_a_server_is_none(
    cluster: Cluster, hub: Hub, mallory: Person
) -> None:
    named = ["--job-name=jupyterhub-innocent", "--chdir=/", "--output=/dev/null", "--parsable"]
    submit = ["runuser", "-u", "mallory", "--", "sbatch", *named, "--wrap=sleep 600"]
    number = hub.machine.run(submit).stdout.strip()
    try:
        with cluster.person(hub, "innocent") as innocent:
            assert not innocent.has_server()
            innocent.submit_form(HALF_A_NODE)
            innocent.await_server(timeout_s=120)
            assert innocent.run_cell(JOB).strip() != number
            innocent.stop_server()
        assert number in cluster.jobs("mallory"), "the hub ends only what it has on record"
    finally:
        cluster.cancel(number)
