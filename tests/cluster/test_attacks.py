"""Attempts of somebody hostile with a job, and with the form (`make test-cluster`)."""

from collections.abc import Iterator

import pytest

from tests.client import Person, RefusedError
from tests.cluster.test_a_job import ALL_OF_A_NODE
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


@pytest.fixture(scope="module")
def mallory(cluster: Cluster, hub: Hub) -> Iterator[Person]:
    """A user whose server runs on a node."""
    with cluster.person(hub, "mallory") as mallory:
        mallory.submit_form(ALL_OF_A_NODE)
        mallory.await_server(timeout_s=120)
        yield mallory


@pytest.mark.parametrize("body", [{"port": 4321}, {"cmd": ["sh"]}, {"port": 1, "cmd": ["sh"]}, []])
def test_a_job_reports_once_and_changes_nothing_else(mallory: Person, body: object) -> None:
    assert mallory.run_cell(f"{REPORT}\nprint(report({body!r}))") == "409\n"


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
