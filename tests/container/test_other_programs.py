"""A web program in each user's server, as its how-to sets it up, with packages of others."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from construct import bundle
from construct.cache import Cache
from tests.container.conftest import EVERYBODY
from tests.hub import Hub
from tests.machine import Machine

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs/how-to/other-programs.md"


@pytest.fixture(scope="module")
def hub(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with the extension, and the how-to's files."""
    directory = tmp_path_factory.mktemp("programs")
    lists = directory / "programs"
    lists.mkdir()
    (lists / "server.txt").write_text("jupyter-server-proxy\n")
    made = bundle.build(ROOT, bundle.find(ROOT, str(lists)), directory, Cache())
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", HOW_TO.read_text(), re.M | re.S)
    files = dict(reversed(blocks))  # the first of each kind
    with Machine("bookworm", packages=["gunicorn"]) as machine:
        hub = Hub.install(machine, installer)
        hub.write_fragment("20-everybody.py", EVERYBODY)
        hub.reload()
        copied = machine.copy(made, f"/srv/{made.name}")
        machine.run([hub.path("hub/bin/littlest-hub"), "packages", "add", f"--from={copied}"])
        machine.put("/srv/hello/app.py", files["python"])
        machine.put("/etc/jupyter/jupyter_server_config.json", files["json"])
        yield hub


def test_a_program_is_at_a_page_of_its_user_and_of_nobody_else(hub: Hub) -> None:
    with hub.person() as alice, hub.person() as bob:
        alice.start_server()
        page = f"/user/{alice.name}/hello/"
        assert alice.browser.get(page).text == f"Hello {alice.name}"
        refused = bob.browser.get(page)
        assert "Hello" not in refused.text, refused.text
        log = hub.machine.journal(hub.layout.user_unit(alice.name))
        assert "Listening at: unix:/tmp/" in log, "no port that others could connect to"


def test_downloads_of_jupyterlab_are_not_the_programs(hub: Hub) -> None:
    with hub.person() as alice:
        alice.start_server()
        hub.machine.run(["sh", "-c", 'echo mine >"$0"', f"/home/{alice.name}/note.txt"])
        answer = alice.browser.get(f"/user/{alice.name}/files/note.txt?download=1")
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.text == "mine\n"
