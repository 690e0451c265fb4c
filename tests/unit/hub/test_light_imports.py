"""What a hub imports, and what it does without."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import jupyterhub
import pytest
from alembic.script import ScriptDirectory

from littlest_hub.hub import database
from littlest_hub.hub.light_imports import ALEMBIC, OPTIONAL

pytestmark = pytest.mark.unit


def run(code: str) -> str:
    """In a Python of its own, where nothing is imported yet."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


LIGHT = """
import gc, sys
from littlest_hub.hub.light_imports import ALEMBIC, OPTIONAL, light
with light():
    import littlest_hub.hub.app
"""


def test_a_hub_is_imported_without_what_it_does_not_need_and_gets_it_later() -> None:
    heavy = {"aiohttp", "alembic.runtime", "arrow", "jsonschema", "pydantic", "pygments.lexer"}
    assert run(f"{LIGHT}print({heavy} & set(sys.modules))") == "set()"
    after = "[name for name in (*OPTIONAL, *ALEMBIC) if name in sys.modules]"
    assert run(f"{LIGHT}import alembic.command, pygments; print({after}, gc.isenabled())")
    assert run(f"{LIGHT}print({after}, gc.isenabled())") == "[] True"


SHARE = """
from jupyterhub.apihandlers import shares
def share(**asked):
    try:
        return shares.ShareGrantRequest(**asked).user
    except shares.ValidationError as error:
        return error.errors()[0]["type"]
print(share(user="bob"), share(user="bob", group="class"), share(other=1))
print(shares.ShareCodeGrantRequest(expires_in=60).expires_in, len(shares.default_handlers))
"""


def test_whoever_shares_a_server_is_checked_as_ever() -> None:
    as_ever = run(SHARE)
    assert as_ever.startswith("bob value_error extra_forbidden\n60 ")
    assert run(f"{LIGHT}{SHARE}") == as_ever
    failing_first = SHARE.replace('share(user="bob"), ', "")
    assert run(f"{LIGHT}{failing_first}") == as_ever.removeprefix("bob ")


ASK = """
import asyncio, http.server, socket, threading
from jupyterhub import app, httpclient, proxy, utils
from traitlets.config import Config

class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302 if "away" in self.path else 503 if "ill" in self.path else 200)
        self.send_header("Location", "/elsewhere")
        self.send_header("X-JupyterHub-Version", "6")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *_): ...

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
closed = socket.create_server(("127.0.0.1", 0))
nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
closed.close()

async def look(where):
    try:
        answer = await utils.wait_for_http_server(where, timeout=0.3)
        return answer.status, answer.headers["X-JupyterHub-Version"]
    except TimeoutError:
        return "nobody"

async def ask():
    httpclient.JupyterHubHTTPClient.instance(config=Config(CONFIG))
    print([await look(where) for where in (url, url + "/away", url + "/ill", nobody)])
    try:
        await proxy.fetch(url + "/ill")
    except proxy.ClientResponseError as error:
        print(error.status)
    try:
        await proxy.fetch(nobody)
    except proxy.ClientConnectionError as error:
        print(type(error).__name__)
    print(await (await httpclient.fetch(url, method="GET")).text())
    print([await look(where) for where in (url, url + "/away", url + "/ill", nobody)])

asyncio.run(ask())
"""


@pytest.mark.parametrize("config", ["", "JupyterHubHTTPClient={'connector_options': {'limit': 1}}"])
def test_servers_and_proxies_are_asked_as_ever(config: str) -> None:
    asked = ASK.replace("CONFIG", config)
    as_ever = run(asked)
    looks, *_ = as_ever.splitlines()
    assert looks == "[(200, '6'), (302, '6'), 'nobody', 'nobody']"
    assert as_ever == "\n".join([looks, "503", "ClientConnectorError", "ok", looks])
    assert run(f"{LIGHT}{asked}") == as_ever


ENDLESS = """
import asyncio
import littlest_hub.hub.app
from jupyterhub import utils

async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n1\\r\\n.\\r\\n")

async def ask():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    looked = utils.wait_for_http_server(f"http://127.0.0.1:{port}", timeout=30)
    print((await asyncio.wait_for(looked, 60)).status)

asyncio.run(ask())
"""


def test_a_server_whose_first_answer_has_no_end_is_there() -> None:
    assert run(LIGHT + ENDLESS) == "200"


EVENTS = """
import io, json, logging
from littlest_hub.hub.app import LittlestHub
from traitlets.config import Config

written = io.StringIO()
handlers = [logging.StreamHandler(written)] if FROM_THE_START else []
hub = LittlestHub(config=Config({"EventLogger": {"handlers": handlers}} if handlers else {}))
hub.init_eventlog()
event = {"schema_id": "https://schema.jupyter.org/jupyterhub/events/server-action",
         "data": {"action": "start", "username": "alice", "servername": ""}}
hub.eventlog.emit(**event)
if not handlers:
    print(written.getvalue(), 'jsonschema' in sys.modules, end=" ")
    hub.eventlog.register_handler(logging.StreamHandler(written))
    hub.eventlog.emit(**event)
print(json.loads(written.getvalue())["username"])
"""


def test_events_are_logged_for_whoever_wants_them() -> None:
    assert run(LIGHT + EVENTS.replace("FROM_THE_START", "True")) == "alice"
    assert run(LIGHT + EVENTS.replace("FROM_THE_START", "False")) == "False alice"


def test_a_fragment_that_has_events_logged_is_no_mistake(tmp_path: Path) -> None:
    fragments = tmp_path / "jupyterhub_config.d"
    fragments.mkdir()
    (tmp_path / "state").mkdir()
    text = "import logging\nc.EventLogger.handlers = [logging.StreamHandler()]\n"
    (fragments / "50-events.py").write_text(text)
    code = "from pathlib import Path; from littlest_hub.check import check_fragments;"
    code += " from littlest_hub.layout import Layout;"
    code += f" print(check_fragments(Layout(Path('{tmp_path}'))).errors)"
    assert run(code) == "[]"


def test_all_of_it_is_there_to_be_left_out() -> None:
    for name in (*OPTIONAL, *ALEMBIC):
        importlib.import_module(name)


def test_a_database_that_is_new_or_old_is_what_alembic_is_for(tmp_path: Path) -> None:
    session = f"orm.new_session_factory('sqlite:///{tmp_path}/hub.sqlite')()"
    asked = "print('alembic.runtime' in sys.modules)"
    code = f"{LIGHT}from jupyterhub import orm\n{session}\n{asked}"
    assert run(code) == "True"  # it is stamped
    assert run(code) == "False"
    older = database._history()[1]
    run(
        f"import sqlite3; c = sqlite3.connect('{tmp_path}/hub.sqlite');"
        f" c.execute('UPDATE alembic_version SET version_num = ?', ['{older}']); c.commit()"
    )
    refused = "try:\n    " + session + "\nexcept orm.DatabaseSchemaMismatch: print('refused')"
    assert run(f"{LIGHT}from jupyterhub import orm\n{refused}") == "refused"


def test_whoever_is_not_a_hub_has_alembic_when_it_is_needed(tmp_path: Path) -> None:
    check = "from littlest_hub.check import evaluator\nfrom jupyterhub import orm, dbutil\n"
    session = f"orm.new_session_factory('sqlite:///{tmp_path}/hub.sqlite')()"
    assert run(f"{check}{session}\nprint(orm.ScriptDirectory.__name__)") == "ScriptDirectory"


def test_the_history_of_the_schema_is_that_which_alembic_finds() -> None:
    scripts = ScriptDirectory(str(Path(jupyterhub.__file__).parent / "alembic"))
    assert database._history() == [script.revision for script in scripts.walk_revisions()]
