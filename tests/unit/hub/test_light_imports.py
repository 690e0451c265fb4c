"""The imports of a hub."""

from __future__ import annotations

import importlib
import socket
import subprocess
import sys
from pathlib import Path

import jupyterhub
import pytest
from alembic.script import ScriptDirectory

from littlest_hub.hub import database
from littlest_hub.hub.light_imports import ALEMBIC, OPTIONAL

pytestmark = pytest.mark.unit

REPOSITORY = Path(__file__).parents[3]


def run(code: str) -> str:
    """Run code in a Python process of its own; return what it prints."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


LIGHT = """
import gc, sys
from littlest_hub.hub.light_imports import ALEMBIC, OPTIONAL, light_imports
with light_imports():
    import littlest_hub.hub.app
"""


def test_optional_modules_are_imported_only_on_use() -> None:
    heavy = {"aiodns", "alembic.runtime", "arrow", "pygments.lexer"}
    assert run(f"{LIGHT}print({heavy} & set(sys.modules))") == "set()"
    after = "[name for name in (*OPTIONAL, *ALEMBIC) if name in sys.modules]"
    assert run(f"{LIGHT}import alembic.command, pygments; print({after}, gc.isenabled())")
    assert run(f"{LIGHT}print({after}, gc.isenabled())") == "[] True"


def test_an_authenticator_that_no_fragment_names_is_not_imported() -> None:
    code = f"""{LIGHT}
from importlib.metadata import entry_points
littlest_hub.hub.app.LittlestHub().classes
offered = {{each.module for each in entry_points(group="jupyterhub.authenticators")}}
others = {{name for name in offered if not name.startswith("jupyterhub")}}
print(len(others) > 5, others & set(sys.modules), "ldap3" in sys.modules)
"""
    assert run(code) == "True set() False"


COUNT = """
import importlib.metadata, sys
scans, before = [], importlib.metadata.entry_points
def count(*, group):
    if group.startswith("jupyterhub"):
        scans.append((group, *sys.path))
    return before(group=group)
importlib.metadata.entry_points = count
"""
PACKAGE = {
    "METADATA": "Metadata-Version: 2.1\nName: later\nVersion: 1\n",
    "entry_points.txt": "[jupyterhub.spawners]\n"
    "later = jupyterhub.spawner:SimpleLocalProcessSpawner\n",
}


def test_packages_are_searched_for_entry_points_once_for_each_search_path(tmp_path: Path) -> None:
    (tmp_path / "later-1.dist-info").mkdir()
    for name, text in PACKAGE.items():
        (tmp_path / "later-1.dist-info" / name).write_text(text)
    config = "Config({'JupyterHub': {'spawner_class': name}})"
    use = (
        "from traitlets.config import Config\n"
        f"for name in ('simple', 'later'):\n    sys.path.append('{tmp_path}')\n"
        f"    print(littlest_hub.hub.app.LittlestHub(config={config}).spawner_class.__name__)\n"
        "print(len(scans) == len(set(scans)) > 3)\n"
    )
    spawner = "SimpleLocalProcessSpawner"
    assert run(f"{COUNT}{LIGHT}{use}").splitlines() == [spawner, spawner, "True"]


EVENTS = """
import io, json, logging
from littlest_hub.hub.app import LittlestHub
from traitlets.config import Config

written = io.StringIO()
hub = LittlestHub(config=Config({"EventLogger": {"handlers": [logging.StreamHandler(written)]}}))
hub.init_eventlog()
event = {"schema_id": "https://schema.jupyter.org/jupyterhub/events/server-action",
         "data": {"action": "start", "username": "alice", "servername": ""}}
hub.eventlog.emit(**event)
print(json.loads(written.getvalue())["username"])
"""


def test_events_are_logged_without_the_optional_modules() -> None:
    assert run(LIGHT + EVENTS) == "alice"


def test_check_accepts_a_fragment_that_configures_events(tmp_path: Path) -> None:
    fragments = tmp_path / "jupyterhub_config.d"
    fragments.mkdir()
    (tmp_path / "state").mkdir()
    text = "import logging\nc.EventLogger.handlers = [logging.StreamHandler()]\n"
    (fragments / "50-events.py").write_text(text)
    code = "from pathlib import Path; from littlest_hub.check import check_fragments;"
    code += " from littlest_hub.layout import Layout;"
    code += f" print(check_fragments(Layout(Path('{tmp_path}'))).errors)"
    assert run(code) == "[]"


def test_another_jupyterhub_imports_alembic_itself() -> None:
    other = "import jupyterhub\njupyterhub.__version__ = '6.2.0'\n"
    assert run(f"{other}{LIGHT}print('alembic.runtime' in sys.modules)") == "True"


def test_every_deferred_module_is_installed() -> None:
    for name in (*OPTIONAL, *ALEMBIC):
        importlib.import_module(name)


def test_alembic_is_used_for_new_and_old_databases_only(tmp_path: Path) -> None:
    session = f"orm.new_session_factory('sqlite:///{tmp_path}/hub.sqlite')()"
    asked = "print('alembic.runtime' in sys.modules)"
    imports = f"{LIGHT}from jupyterhub import orm\n"
    code = f"{imports}{session}\n{asked}"
    assert run(code) == "True"  # to stamp a new database
    assert run(code) == "False"
    older = database._history()[1]
    run(
        f"import sqlite3; c = sqlite3.connect('{tmp_path}/hub.sqlite');"
        f" c.execute('UPDATE alembic_version SET version_num = ?', ['{older}']); c.commit()"
    )
    refused = "try:\n    " + session + "\nexcept orm.DatabaseSchemaMismatch: print('refused')"
    assert run(f"{imports}{refused}") == "refused"


def test_alembic_is_imported_on_use_in_a_process_that_is_not_a_hub(tmp_path: Path) -> None:
    check = "from littlest_hub.check import evaluator\nfrom jupyterhub import orm, dbutil\n"
    session = f"orm.new_session_factory('sqlite:///{tmp_path}/hub.sqlite')()"
    assert run(f"{check}{session}\nprint(orm.ScriptDirectory.__name__)") == "ScriptDirectory"


def test_the_history_of_the_schema_is_that_which_alembic_finds() -> None:
    scripts = ScriptDirectory(str(Path(jupyterhub.__file__).parent / "alembic"))
    assert database._history() == [script.revision for script in scripts.walk_revisions()]


READY = """
import os
sys.argv[1:] = [{port!r}, {directory!r}]
from littlest_hub.hub.app import LittlestHub
from tests.unit.hub.small_hub import LAYOUT, c

def count():
    print(len(gc.get_objects()), gc.get_freeze_count(), flush=True)
    os._exit(0)

LAYOUT.state.mkdir()
LittlestHub.instance(loaded_config=c, layout=LAYOUT, on_ready=count).launch_instance([])
"""


def test_garbage_collection_does_not_look_at_what_a_started_hub_keeps(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told = run(LIGHT + READY.format(port=str(port), directory=str(tmp_path))).splitlines()[-1]
    looked_at, kept = map(int, told.split())
    assert looked_at < kept / 50
