"""Folders of WebDAV servers: which there can be, who gets passwords, what is reached for them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.stacks.launch.configuration import (
    Caps,
    Choices,
    Configuration,
    FormError,
    form_of,
    of_form,
)
from littlest_hub.stacks.launch.fragment import Values
from littlest_hub.stacks.launch.links import Form
from littlest_hub.stacks.launch.repository import Policy
from littlest_hub.stacks.launch.resolver.connection import Credentials
from littlest_hub.stacks.launch.resolver.settings import Settings as Permitted
from littlest_hub.stacks.launch.server.spawner import RefusedError
from littlest_hub.stacks.launch.webdav import carrier, order, program
from littlest_hub.stacks.launch.webdav.folder import checked, place_of
from littlest_hub.stacks.launch.webdav.kept import KEPT, MOST, Kept
from littlest_hub.stacks.launch.webdav.order import Order
from littlest_hub.stacks.launch.webdav.spawner import NoFolderError
from littlest_hub.stacks.launch.webdav.units import units
from littlest_hub.system import rclone
from tests.git_server import GitServer, Handler
from tests.unit import unit_files
from tests.unit.stacks.launch.hub_and_service import (
    COMMIT,
    PATH,
    URL,
    Browser,
    Site,
    hidden,
    target,
)
from tests.unit.stacks.launch.test_launch_spawner import CONFIGURATION, ME, SETTINGS, House

FOLDER = "https://cloud.example.org/remote.php/dav/files/alice/data"
REPOSITORY = "https://github.com/org/repo"
USER, PASSWORD = "alice", "a-secret-of-hers"
WITH = replace(CONFIGURATION, webdav=FOLDER)
needs_systemd = pytest.mark.needs("systemd-analyze")


# --- addresses


def test_a_folder_has_one_spelling() -> None:
    policy = Policy(hosts=("cloud.lan:8443",))
    for text in (FOLDER, f" {FOLDER}/ ", FOLDER.replace("example.org", "Example.org:443")):
        assert checked(text, policy) == FOLDER
    assert checked("https://cloud.example.org/a b/é/100%", policy) == (
        "https://cloud.example.org/a%20b/%C3%A9/100%25"
    )
    assert checked("https://cloud.example.org", policy) == "https://cloud.example.org/"
    found = checked("https://cloud.lan:8443/dav//x", policy)
    assert found == "https://cloud.lan:8443/dav/x"
    assert checked(found, policy) == found
    assert place_of(found) == ("cloud.lan", 8443)
    assert place_of(FOLDER) == ("cloud.example.org", 443)
    assert checked("", policy) == ""


@pytest.mark.parametrize(
    "text",
    [
        "http://cloud.example.org/data",
        "https://127.0.0.1/data",
        "https://[::1]/data",
        "https://2130706433/data",
        "https://localhost/data",
        "https://nas.lan/data",
        "https://cloud.example.org:8443/data",
        "https://banned.example.org/data",
        "https://cloud.example.org/../etc",
        "https://cloud.example.org/%2e%2e/etc",
        "https://cloud.example.org/a\nb",
        "https://cloud.example.org/a%0Ab",
        "https://cloud.example.org/%00",
        "https://cloud.example.org/%ff",
        "https://cloud.example.org/a?b=c",
        "https://cloud.example.org/a#b",
        "https://cloud.example.org\\@127.0.0.1/",
        "file:///etc",
        "sftp://cloud.example.org/data",
        ":local:/etc",
        "cloud.example.org/data",
        f"https://cloud.example.org/{'a' * 500}",
    ],
)
def test_everything_else_is_no_folder(text: str) -> None:
    with pytest.raises(LittlestHubError):
        checked(text, Policy(banned=("banned.example.org/*",)))


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(LittlestHubError) as error:
        checked(f"https://{USER}:{PASSWORD}@cloud.example.org/data", Policy())
    assert PASSWORD not in error.value.message


# --- forms


def asked(**fields: str) -> Configuration:
    choices = Choices(collaborators=3, may_be_temporary=True, may_be_private=True)
    choices = replace(choices, may_have_webdav=True)
    form = Form(repo=REPOSITORY, name="course", webdav=FOLDER, **fields)
    return of_form(form, Policy(), Caps(), choices)


def test_a_folder_is_a_part_of_what_is_approved() -> None:
    found = asked(temporary="yes")
    assert found.webdav == found.opened == FOLDER
    assert found.has_volumes
    assert form_of(found).webdav == FOLDER
    assert found.id != replace(found, webdav="").id
    assert "webdav" not in Configuration(REPOSITORY).canonical
    assert Configuration(REPOSITORY, private=True).opened == REPOSITORY


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"share": "bob"}, "others use this server, and would read your folder"),
        ({"private": "yes"}, "a launch asks for one name and password"),
    ],
)
def test_a_folder_is_not_for_others_and_not_beside_a_private_repository(
    fields: dict[str, str], reason: str
) -> None:
    with pytest.raises(FormError, match=reason):
        asked(**fields)


def test_there_are_folders_only_if_the_administrator_says_so_and_never_for_guests() -> None:
    form = Form(repo=REPOSITORY, webdav=FOLDER)
    assert Values().settings().choices_for("alice", ()).may_have_webdav is False
    allowing = Values(webdav=True, guests=1).settings()
    assert of_form(form, Policy(), Caps(), allowing.choices_for("alice", ())).webdav
    for choices in (None, allowing.choices_of_guests):
        with pytest.raises(FormError, match="opens no folders"):
            of_form(form, Policy(), Caps(), choices)
    assert Values(webdav="yes").problems()  # type: ignore[arg-type]
    prepared = {"Ours": {"repo": REPOSITORY, "name": "course", "webdav": FOLDER}}
    values = Values(webdav=True, prepared=prepared, one_click={"physics": ["Ours"]})
    assert values.problems() == [
        ("ONE_CLICK", "physics: 'Ours' has a folder, so everybody is asked for a password")
    ]


# --- pages


@pytest.fixture
def alice(running_hub: Site) -> Browser:
    running_hub.reset()
    return Browser(running_hub).log_in()


FORM = {"repo": URL, "name": "course", "webdav": FOLDER}


def test_a_password_is_asked_for_at_each_launch_and_reaches_the_hub_alone(alice: Browser) -> None:
    page = alice.open(**FORM)
    assert "Your access to cloud.example.org" in page.text
    assert not alice.site.resolver.requests
    page = alice.post(PATH, data={**hidden(page), "user": USER, "password": PASSWORD})
    assert f"volumes/WebDAV: {FOLDER}" in page.text
    assert 'id="never-commit"' not in page.text
    assert target(alice.press(page, "launch"))
    alice.wait_for("course")
    arrived = (alice.site.directory / f"{alice.name}:course folder").read_text()
    assert arrived == hashlib.sha256(PASSWORD.encode()).hexdigest()
    for request in alice.site.resolver.requests:
        assert [*request] == ["repository", "ref"], "the repository's host gets the password"
    for file in alice.site.directory.rglob("*"):
        assert not file.is_file() or PASSWORD.encode() not in file.read_bytes(), file
    alice.stop("course")
    assert "Your access to cloud.example.org" in alice.open(**FORM).text


def test_a_button_without_a_password_leads_back_to_the_question(alice: Browser) -> None:
    fields = {**hidden(alice.open(**FORM)), "decision": "launch", "commit": COMMIT}
    for access in ("", "0" * 32):
        page = alice.post(f"{PATH}launch", data={**fields, "access": access})
        assert "Your access to cloud.example.org" in page.text
    assert "course" not in alice.servers()


def test_nobody_gives_a_password_for_the_server_of_somebody_else(alice: Browser) -> None:
    bob = Browser(alice.site).log_in()
    headers = {"X-XSRFToken": hidden(bob.get("/hub/home"))["_xsrf"], "Sec-Fetch-Mode": "cors"}
    body = {"configuration": "a" * 64, "user": USER, "password": PASSWORD}
    path = "/hub/api/launch-webdav/{}/course"
    for who, status, wrong in (
        (alice.name, 404, {}),
        (bob.name, 204, {}),
        (bob.name, 400, {"password": "a\nb"}),
        (bob.name, 400, {"user": None}),
        (bob.name, 400, {"configuration": "../x"}),
    ):
        answer = bob.post(path.format(who), json={**body, **wrong}, headers=headers)
        assert answer.status_code == status, answer.text


# --- what the hub keeps


def test_a_password_is_for_one_start_of_one_server() -> None:
    async def keep() -> None:
        kept, one = Kept(), Credentials(USER, PASSWORD)
        kept.keep("alice", "course", "a", one)
        assert kept.of("alice", "course", "a") == one
        for other in (("bob", "course", "a"), ("alice", "other", "a"), ("alice", "course", "b")):
            assert kept.of(*other) is None
        for number in range(MOST):
            kept.keep("alice", f"s{number}", "a", one)
        assert kept.of("alice", "course", "a") is None
        assert kept.of("alice", f"s{MOST - 1}", "a") == one
        kept.forget("alice", "s0")
        kept.forget("alice", "s0")
        assert kept.of("alice", "s0", "a") is None

    asyncio.run(keep())


def test_an_order_is_what_it_was_and_nothing_else() -> None:
    wanted = Order(FOLDER, USER, PASSWORD)
    assert Order.of_text(wanted.text) == wanted
    assert PASSWORD not in repr(wanted)
    for text in ("", "[]", "{}", '{"address": 1, "user": "", "password": ""}', "x" * 9):
        with pytest.raises(LittlestHubError, match="there is no order"):
            Order.of_text(text)
    for bad in (None, 1, "a\nb", "\0", "x" * 3000):
        assert not order.is_secret(bad)
    assert order.is_secret("größe %(x)s \"'")


def test_rclone_has_the_password_in_no_argument() -> None:
    words = rclone.command(3)
    found = rclone.variables(FOLDER, USER, "obscured", "http://127.0.0.1:1", "/etc/ca.pem")
    assert words[:4] == ["rclone", "mount2", ":webdav:", "/dev/fd/3"]
    assert not {FOLDER, USER, "obscured"} & {*words}
    assert found["RCLONE_WEBDAV_VENDOR"] == "nextcloud"
    assert found["SSL_CERT_FILE"] == "/etc/ca.pem"
    assert "SSL_CERT_FILE" not in rclone.variables(FOLDER, USER, "x", "y")


# --- servers


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


ALLOWING = replace(SETTINGS, webdav=True)


def test_a_server_starts_with_its_folder_only_if_the_password_is_known(house: House) -> None:
    made = house.server(id := house.approve(WITH), settings=ALLOWING)

    async def started() -> Any:
        with pytest.raises(NoFolderError, match="asked for at each start") as error:
            await made.run_pre_spawn_hook()
        assert error.value.status_code == 403
        assert "Launch it again" in error.value.jupyterhub_html_message
        KEPT.keep(ME, "course", id, Credentials(USER, PASSWORD))
        try:
            assert made._folder_order() == Order(FOLDER, USER, PASSWORD)
            return made._prepare(made._account())
        finally:
            KEPT.forget(ME, "course")

    launch = asyncio.run(started())
    unit = order.unit_of(house.layout, made._unit)
    assert launch.properties["Requires"] == launch.properties["After"] == [unit]
    key = order.key_of(made._unit)
    shown = f"/run/littlest-hub.launch-webdav-mounts/{key}:/run/jupyter/volumes/WebDAV"
    assert shown in launch.properties["BindReadOnlyPaths"]
    assert "/run/jupyter/volumes:ro,mode=0755,size=1M" in launch.properties["TemporaryFileSystem"]
    assert PASSWORD not in " ".join(launch.systemd_run(Path("/env")))
    assert PASSWORD not in str(launch.environment)
    assert json.loads(launch.environment["LITTLEST_HUB_LAUNCH"])["volumes"]


def test_other_servers_have_nothing_of_it(house: House) -> None:
    made = house.server(house.approve(), settings=ALLOWING)
    assert made._folder_order() is None
    launch = made._prepare(made._account())
    assert not {"Requires", "After"} & {*launch.properties}


def test_a_folder_that_no_form_can_ask_for_is_in_no_server(house: House) -> None:
    for settings, address in (
        (SETTINGS, FOLDER),
        (ALLOWING, "https://127.0.0.1/x"),
        (ALLOWING, "https://cloud.example.org/x\nBindPaths=/"),
        (ALLOWING, f"{FOLDER}/"),
    ):
        id = house.approve(replace(WITH, webdav=address))
        with pytest.raises(RefusedError):
            house.server(id, settings=settings).launched()


# --- what is reached


class Cloud:
    """A server at this machine, and the unit of the proxy as a thread."""

    def __init__(self, directory: Path) -> None:
        self.git = GitServer(directory / "git")
        self.address = f"https://localhost:{self.git.port}/data"
        policy = Policy(hosts=(f"localhost:{self.git.port}",))
        self.permitted = Permitted(policy, ("127.0.0.0/8", "::1/128"))
        self.place = directory / "socket"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.place))
        self._listener.listen()
        self.ended = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                carrier.serve(connection, self.permitted)
            self.ended.set()

    def answer(self, status: int) -> None:
        def behave(handler: Handler) -> None:
            handler.send_response(status)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        self.git.behaviors["/data"] = behave


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.setattr(Handler, "do_PROPFIND", Handler._answer, raising=False)
    found = Cloud(tmp_path)
    yield found
    found.git.shutdown()


def test_a_folder_is_looked_at_with_name_and_password_through_the_proxy(cloud: Cloud) -> None:
    cloud.answer(207)
    connection, port = program.reached(cloud.place, cloud.address)
    wanted = Order(cloud.address, USER, PASSWORD)
    program.look(wanted, port, str(cloud.git.ca_file))
    ((method, path, headers),) = cloud.git.requests
    assert (method, path, headers["Depth"]) == ("PROPFIND", "/data/", "0")
    assert headers["Authorization"] == Credentials(USER, PASSWORD).header["Authorization"]
    for status, reason in (
        (401, "does not accept this name and password"),
        (404, "no such folder"),
        (302, "answers with 302, expected 207"),
    ):
        cloud.answer(status)
        with pytest.raises(LittlestHubError, match=reason):
            program.look(wanted, port, str(cloud.git.ca_file))
    with pytest.raises(LittlestHubError, match="its certificate is not valid"):
        program.look(wanted, port, "")
    connection.close()
    assert cloud.ended.wait(10), "the proxy goes on without its unit"


def test_no_other_place_is_reached_for_it(cloud: Cloud) -> None:
    connection, port = program.reached(cloud.place, cloud.address)
    for place in (f"127.0.0.1:{cloud.git.port}", "localhost:1", "example.org:443"):
        with socket.create_connection(("127.0.0.1", port), 30) as client:
            client.sendall(f"CONNECT {place} HTTP/1.1\r\n\r\n".encode())
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 403")
    connection.close()


def test_addresses_are_judged_as_those_of_repositories(cloud: Cloud) -> None:
    cloud.permitted = Permitted(cloud.permitted.policy)
    with pytest.raises(LittlestHubError, match="not one of the internet"):
        program.reached(cloud.place, cloud.address)
    with pytest.raises(LittlestHubError, match="expected https://, found http://"):
        program.reached(cloud.place, "http://localhost/data")


# --- units


@needs_systemd
def test_systemd_verifies_the_units_and_they_expose_little(tmp_path: Path) -> None:
    files = unit_files.write(units(Layout(DEFAULT_BASE)), tmp_path)
    assert unit_files.complaints(files.values(), "webdav") == []
    unit_files.exposes_at_most(files["littlest-hub.launch-webdav@.service"], 1.3)
    unit_files.exposes_at_most(files["littlest-hub.launch-webdav-reach@.service"], 1.3)
