"""The API that batch jobs report to."""

from __future__ import annotations

import asyncio
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest
from batchspawner import SlurmSpawner
from batchspawner.api import BatchSpawnerAPIHandler
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jupyterhub.apihandlers import default_handlers
from tornado.web import HTTPError

from littlest_hub.hub.batchspawner import PortHandler, quoted
from tests.unit.reports import Request

pytestmark = pytest.mark.unit


class Report(Request, PortHandler):
    """A handler of a request with a token and a body."""


@pytest.fixture
def spawner() -> SimpleNamespace:
    return SimpleNamespace(api_token="own", pending="spawn", port=0, anything="as it was")


@pytest.fixture
def user(spawner: SimpleNamespace) -> SimpleNamespace:
    return SimpleNamespace(spawners={"": spawner})


def test_a_starting_job_reports_its_port(user: Any, spawner: SimpleNamespace) -> None:
    report = Report(user, "own", {"port": 1234})
    report.post()
    assert (report.status, spawner.port) == (201, 1234)


@pytest.mark.parametrize(
    "body",
    [
        {"anything": "changed"},
        {"port": 1234, "anything": "changed"},
        {"port": "1234"},
        {"port": True},
        {"port": 0},
        {"port": 65536},
        {},
        None,
        [1234],
    ],
)
def test_anything_but_a_port_is_refused(user: Any, spawner: SimpleNamespace, body: object) -> None:
    with pytest.raises(HTTPError) as refused:
        Report(user, "own", body).post()
    assert refused.value.status_code == 400
    assert (spawner.port, spawner.anything) == (0, "as it was")


@pytest.mark.parametrize("token", ["", "another's"])
def test_only_the_servers_own_token_may_report(
    user: Any, spawner: SimpleNamespace, token: str
) -> None:
    with pytest.raises(HTTPError) as refused:
        Report(user, token, {"port": 1234}).post()
    assert refused.value.status_code == 403
    assert spawner.port == 0


def test_a_report_of_a_running_server_is_refused(user: Any, spawner: SimpleNamespace) -> None:
    spawner.pending = None
    with pytest.raises(HTTPError) as refused:
        Report(user, "own", {"port": 1234}).post()
    assert refused.value.status_code == 403


def test_batchspawners_own_handler_is_replaced() -> None:
    handlers = [handler for _, handler in default_handlers]
    assert PortHandler in handlers
    assert BatchSpawnerAPIHandler not in handlers


@pytest.mark.row(28)
@given(st.dictionaries(st.from_regex(r"opt_[a-z]{1,8}", fullmatch=True), st.text(), min_size=1))
@example({"opt_a": "$(touch x) `id` 'a' \"b\" \\ ; | & {{cmd}} {cmd} #"})
@settings(max_examples=20, deadline=None)
def test_options_reach_a_job_script_as_words_of_its_shell(options: dict[str, str]) -> None:
    clean = {name: "".join(filter(str.isprintable, text)) for name, text in options.items()}
    template = "".join(f"printf '%s\\n' {{{{{name}}}}}\n" for name in clean)
    job = SlurmSpawner.__new__(SlurmSpawner)
    job.user_options = clean
    # batchspawner adds the options itself.
    job.batch_script = template
    script = asyncio.run(job._get_batch_script(**clean))
    printed = subprocess.run(["sh"], input=script, capture_output=True, text=True).stdout
    assert printed.split("\n")[:-1] == list(clean.values())


@pytest.mark.row(28)
def test_the_name_of_a_user_is_one_word_of_a_command() -> None:
    """As an administrator's `username_pattern` may allow it."""
    job = SlurmSpawner.__new__(SlurmSpawner)
    job.req_username, job.req_homedir, job.req_keepvars = "a b;touch x", "/home/a", "PATH"
    assert job.get_req_subvars()["username"] == "'a b;touch x'"
    job.req_username = "alice.b-c_d@uni"
    assert job.get_req_subvars()["username"] == "alice.b-c_d@uni"


@pytest.mark.row(28)
def test_an_option_of_several_lines_is_refused() -> None:
    with pytest.raises(HTTPError, match="partition: expected printable"):
        quoted({"partition": "main\n#SBATCH --comment=x"})


def test_ordinary_options_are_written_as_they_are() -> None:
    options = {"partition": ["main"], "gres": "gpu:a100:2", "nprocs": 4, "runtime": "", "x": "2G"}
    written = {"partition": "main", "gres": "gpu:a100:2", "nprocs": "4", "runtime": "", "x": "2G"}
    assert quoted(options) == written
