"""Libraries that user servers load on first use, and upstream's program in the place of ours."""

import json
import re
from collections.abc import Iterator

import pytest

from littlest_hub.system.systemctl import ALL_JOURNALS
from tests.client import Person
from tests.hub import Hub

# In the home directory, where users configure their own servers.
CONFIG = """
import os, sys
sys.path.append(os.path.expanduser("~/extensions"))
c.ServerApp.jpserver_extensions = {"mine": True}
"""
# Before its own imports it lists which libraries are loaded; then it uses each of them, some by a
# submodule first.
EXTENSION = """
import json, sys

def loaded():
    return [name for name in (
        "sqlalchemy.orm", "aiohttp.client", "requests.api", "websocket._core", "IPython", "httpx",
        "lark", "yaml", "jupyter_events.schema", "dateutil.parser") if name in sys.modules]

BEFORE = loaded()

from aiohttp.client_exceptions import ClientError
from jupyterhub.orm import User
from requests.exceptions import ConnectionError
import aiohttp, requests, sqlalchemy
from unittest import mock
from jupyter_events import EventLogger, EventSchema
from jupyter_server.base.handlers import APIHandler
from tornado.web import authenticated

def is_caught():
    try:
        requests.get("http://127.0.0.1:9/")
    except ConnectionError:
        return True

SCHEMA = {"$id": "https://example.org/mine", "version": "1", "title": "Mine",
    "description": "Mine", "personal-data": False, "type": "object",
    "properties": {"n": {"title": "N", "type": "integer"}}, "required": ["n"]}

async def events(logger):
    heard = []
    async def listen(logger, schema_id, data):
        heard.append([schema_id.rpartition("/")[2], data.get("n")])
    logger.register_event_schema(SCHEMA)
    logger.add_listener(listener=listen)
    logger.emit(schema_id=SCHEMA["$id"], data={"n": 7})
    await logger.gather_listeners()
    known = logger.schemas
    return [heard, len(known.schema_ids), isinstance(known.get(SCHEMA["$id"]), EventSchema),
        isinstance(logger, EventLogger)]

class Handler(APIHandler):
    @authenticated
    async def get(self):
        import jsonschema
        heard = await events(self.event_logger) if "event" in self.request.query else None
        with sqlalchemy.create_engine("sqlite://").connect() as connection:
            answer = connection.execute(sqlalchemy.text("select 42")).scalar()
        conforms = jsonschema.FormatChecker().conforms
        self.finish(json.dumps({
            "before": BEFORE,
            "heard": heard,
            "answer": answer,
            "clients": [requests.Session.__name__, aiohttp.ClientSession.__name__],
            "caught": [is_caught(), aiohttp.ClientError is ClientError],
            "mock": mock.Mock(return_value=7)(),
            "formats": [conforms(text, format) for text, format in (
                ("https://münchen.example/ä", "iri"), (":", "iri"),
                ("P1D", "duration"), ("1D", "duration"), ("#ff0", "color"))],
            "orm": User.__tablename__,
            "now": loaded(),
        }))

def _load_jupyter_server_extension(app):
    app.web_app.add_handlers(".*", [(app.base_url + "mine", Handler)])
"""
KERNEL = '{"argv": ["false"], "display_name": "Mine", "language": "none"}'
GONE = KERNEL.replace("false", "/srv/no-such-program")


@pytest.fixture(scope="module")
def alice(hub: Hub) -> Iterator[Person]:
    """A user with an extension and a kernel of their own."""
    with hub.person() as alice:
        own = {
            ".jupyter/jupyter_server_config.py": CONFIG,
            "extensions/mine.py": EXTENSION,
            ".ipython/kernels/mine/kernel.json": KERNEL,
        }
        for name, text in own.items():
            path = f"/home/{alice.name}/{name}"
            hub.machine.run(["install", "-D", "/dev/null", path])
            hub.machine.put(path, text)
        hub.machine.run(["chown", "-R", alice.name, f"/home/{alice.name}"])
        alice.start_server()
        yield alice


def get(person: Person, path: str) -> dict[str, object]:
    answer = person.browser.get(f"/user/{person.name}/{path}")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert isinstance(found, dict)
    return found


def test_a_server_ends_at_once_even_if_a_kernel_could_not_be_started(hub: Hub) -> None:
    with hub.person() as bob:
        kernel = f"/home/{bob.name}/.local/share/jupyter/kernels/gone/kernel.json"
        hub.machine.put(kernel, GONE)
        hub.machine.run(["chown", "-R", bob.name, f"/home/{bob.name}"])
        bob.start_server()
        path = f"/user/{bob.name}"
        xsrf = {"X-XSRFToken": bob._xsrf_token(f"{path}/")}
        asked = bob.browser.post(f"{path}/api/kernels", json={"name": "gone"}, headers=xsrf)
        assert asked.status_code == 500, asked.text
        bob.stop_server()
        assert "timed out" not in hub.machine.journal(f"{hub.layout.user_unit(bob.name)}.service")


def test_the_first_request_to_a_server_may_be_for_a_kernel(hub: Hub) -> None:
    with hub.person() as bob:
        bob.start_server()
        assert bob.run_cell("6 * 7") == "42"
        assert get(bob, "api/contents")["type"] == "directory"


def test_a_users_extension_has_every_library_that_is_loaded_on_first_use(
    alice: Person,
) -> None:
    assert get(alice, "mine?event") == {
        "before": [],
        "now": [
            *("sqlalchemy.orm", "aiohttp.client", "requests.api", "lark"),
            *("yaml", "jupyter_events.schema"),
        ],
        "heard": [[["mine", 7]], 4, True, True],
        "answer": 42,
        "clients": ["Session", "ClientSession"],
        "caught": [True, True],
        "mock": 7,
        "formats": [True, False, True, False, True],
        "orm": "users",
    }


def test_jupyterlab_gets_what_it_requests_when_it_is_opened(alice: Person) -> None:
    specs = get(alice, "api/kernelspecs")["kernelspecs"]
    assert isinstance(specs, dict)
    assert set(specs) == {"python3", "mine"}
    # Language servers: none is installed, and the search for them has ended.
    assert get(alice, "lsp/status")["sessions"] == {}
    page = alice.browser.get(f"/user/{alice.name}/lab").text
    config = json.loads(page.partition('type="application/json">')[2].partition("</script>")[0])
    assert config["extensionManager"]["name"] == "PyPI"
    assert config["hubUser"] == alice.name
    # Without a network the list of extensions is empty, but there is one.
    alice.browser.get(f"/user/{alice.name}/lab/api/extensions?query=theme")
    now = get(alice, "mine")["now"]
    assert isinstance(now, list)
    assert "httpx" in now
    assert "IPython" not in now


def test_settings_of_servers_in_a_fragment_apply(hub: Hub) -> None:
    text = (
        "c.Spawner.args = ['--ServerApp.terminals_enabled=False']\n"
        "c.Spawner.notebook_dir = '~/work'\n"
        "c.Spawner.default_url = '/lab/tree/here.txt'\n"
        "c.Spawner.environment = {'MINE': '7'}\n"
    )
    with hub.fragment("70-servers.py", text), hub.person() as bob:
        hub.machine.run(
            ["install", "-D", "-o", bob.name, "/dev/null", f"/home/{bob.name}/work/here.txt"]
        )
        bob.start_server()
        found = bob.browser.get(f"/user/{bob.name}/", follow_redirects=False)
        assert found.headers["location"] == f"/user/{bob.name}/lab/tree/here.txt?"
        content = get(bob, "api/contents")["content"]
        assert isinstance(content, list)
        assert [each["name"] for each in content] == ["here.txt"]
        assert bob.browser.get(f"/user/{bob.name}/api/terminals").status_code == 404
        assert bob.run_cell("import os; print(os.environ['MINE'])").strip() == "7"


def test_a_fragment_can_choose_jupyterhubs_other_server(hub: Hub) -> None:
    text = "c.Spawner.environment = {'JUPYTERHUB_SINGLEUSER_EXTENSION': '0'}\n"
    with hub.fragment("70-servers.py", text), hub.person() as bob:
        bob.start_server()
        assert bob.run_cell("print(6 * 7)").strip() == "42"


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (
            "s.TESTED_VERSIONS['jupyterlab'] = '0'",
            "UntestedVersionError: jupyterlab [0-9.]+ instead",
        ),
        ("from littlest_hub.singleuser import patches; patches.no_ipython = lambda: 1/0", "Zero"),
    ],
)
def test_upstreams_program_runs_and_the_journal_says_why(
    hub: Hub, broken: str, reason: str
) -> None:
    program = f"import littlest_hub.singleuser as s; {broken}; s.main()"
    command = [f"{hub.layout.hub}/bin/python3", "-I", "-c", program]
    with hub.fragment("70-servers.py", f"c.Spawner.cmd = {command}\n"), hub.person() as bob:
        bob.start_server()
        assert bob.run_cell("6 * 7") == "42"
        assert "PyPI" in bob.browser.get(f"/user/{bob.name}/lab").text
        unit = hub.layout.user_unit(bob.name)
        pid = hub.machine.run(["systemctl", "show", "--value", "-p", "MainPID", unit]).stdout
        running = hub.machine.read(f"/proc/{pid.strip()}/cmdline")
        assert running.split("\0")[1:4] == ["-I", "-m", "jupyterhub.singleuser"]
        look = ["journalctl", ALL_JOURNALS, "--unit", unit, "--priority", "4..4", "--output", "cat"]
        said = hub.machine.run(look).stdout
        assert re.findall(f"without Littlest Hub's patches, slower and larger: {reason}", said)
        assert said.count("Littlest Hub's patches") == 1
