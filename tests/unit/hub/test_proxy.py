"""Rules, routes file and static configuration, and the real traefik reading all three."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import hashlib
import http.client
import json
import random
import re
import shutil
import ssl
import stat
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jupyterhub.utils import url_escape_path, url_path_join
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from traitlets import TraitError
from traitlets.config import Config

from littlest_hub.errors import LittlestHubError
from littlest_hub.hub.app import KEPT_TIMEOUT_S
from littlest_hub.hub.guard import GUARD
from littlest_hub.hub.proxy import HubProxy
from littlest_hub.proxy import routes as routes_module
from littlest_hub.proxy.certificates import DEFAULT_CERTIFICATE_NAME
from littlest_hub.proxy.configuration import merge_static_config, ready_config, static_config
from littlest_hub.proxy.https import make_default_certificate
from littlest_hub.proxy.matcher import rule
from littlest_hub.proxy.routes import RoutesFile
from littlest_hub.system.toml import to_toml
from tests.capabilities import PATH, missing
from tests.eventually import eventually
from tests.network import free_port
from tests.unit.hub.test_guard import Helper, listening_program

pytestmark = pytest.mark.unit

TRAEFIK = shutil.which("traefik", path=PATH)
HOSTILE = "ab\\\"'`|&(){}[]#=.,:;?!%+ \x00\x01\t\n\x7fé😀\u200b"


def hostile_names(number: int, seed: int) -> Iterator[str]:
    chance = random.Random(seed)
    for _ in range(number):
        yield "".join(chance.choice(HOSTILE) for _ in range(chance.randint(1, 12)))


# --- rules


def test_rule_of_a_user_matches_the_path_below_and_without_its_slash() -> None:
    assert rule("/user/alice/") == 'PathPrefix("/user/alice/") || Path("/user/alice")'


def test_rule_of_the_hub_matches_everything() -> None:
    assert rule("/") == 'PathPrefix("/")'


def test_rule_of_a_host_is_for_that_host_without_its_port() -> None:
    assert rule("alice.example.org:8000/") == 'Host("alice.example.org") && (PathPrefix("/"))'


@pytest.mark.parametrize("host", ["a`b", 'a"b', "a b", "a..b", "a||b"])
def test_a_host_that_is_no_host_name_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="is not a host name"):
        rule(f"{host}/user/")


def test_rule_keeps_reserved_characters_encoded_and_decodes_the_rest() -> None:
    assert rule("/user/a%3ab%20c%2Fd%25/").startswith(r'PathPrefix("/user/a%3Ab\x20c%2Fd%25/")')


@pytest.mark.row(1)
def test_rules_contain_only_our_own_matchers_for_any_name() -> None:
    for name in hostile_names(2000, seed=1):
        for encoded in (quote(name, safe="@~"), name.replace("/", "")):
            assert OURS_ALONE.fullmatch(rule(f"/user/{encoded}/")), repr(name)


LITERAL = r'"(?:[A-Za-z0-9/._~:@%+,;=&!$\'()*\[\]-]|\\x[0-9a-f]{2})*"'
OURS_ALONE = re.compile(rf"PathPrefix\({LITERAL}\) \|\| Path\({LITERAL}\)")
# Any text, and more often characters that are special in a rule, a URL or a shell.
NAMES = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from(HOSTILE + "%/.~"), min_size=1
) | st.lists(
    st.sampled_from(
        ["`", '"', ") || ", "PathPrefix(", "Host(", "`/`", '"/"', "%2f", "%2e", "..", "\n", "a"]
    ),
    min_size=1,
).map("".join)


@pytest.mark.row(1)
@given(user=NAMES, server=st.none() | NAMES)
@settings(derandomize=True, database=None, deadline=None, max_examples=500)
def test_rules_contain_only_our_own_matchers_for_any_name_from_hypothesis(
    user: str, server: str | None
) -> None:
    assert OURS_ALONE.fullmatch(rule(routespec(user, server)))


def routespec(user: str, server: str | None) -> str:
    """Return it as JupyterHub does: jupyterhub.user.User.proxy_spec, with a named server below."""
    names = filter(None, (user, server))
    return str(url_path_join("/user", *map(url_escape_path, names), "/"))


# --- the file


@pytest.fixture
def routes(tmp_path: Path) -> RoutesFile:
    return RoutesFile(tmp_path / "rules.toml")


def a_route(name: str) -> dict[str, Any]:
    """Return a route as jupyterhub-traefik-proxy makes it."""
    routes = {"router_x": {"router": "router_x", "service": "service_x", "data": {"user": name}}}
    return {
        "http": {
            "routers": {"router_x": {"rule": name, "service": "service_x"}},
            "services": {"service_x": {"loadBalancer": {"servers": [{"url": name}]}}},
        },
        "jupyterhub": {"routes": routes},
    }


def test_the_routes_file_reads_back_with_any_names(routes: RoutesFile) -> None:
    for name in hostile_names(300, seed=2):
        data = a_route(name)
        routes.atomic_dump(data)
        assert routes.load() == data, repr(name)


def test_the_routes_file_is_readable_by_the_proxy_and_no_temporary_file_stays(
    routes: RoutesFile,
) -> None:
    routes.atomic_dump({"http": {}})
    assert stat.S_IMODE(routes.path.stat().st_mode) == 0o644
    assert list(routes.path.parent.iterdir()) == [routes.path]


def test_a_failed_write_leaves_the_old_routes(routes: RoutesFile) -> None:
    routes.atomic_dump(a_route("old"))
    with pytest.raises(UnicodeEncodeError):
        routes.atomic_dump({"broken": "\udc80"})
    assert routes.load() == a_route("old")
    assert list(routes.path.parent.iterdir()) == [routes.path]


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_routes_that_a_full_disk_kept_from_being_written_count_as_changed(
    routes: RoutesFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes.atomic_dump(a_route("old"))
    with monkeypatch.context() as patch:
        patch.setattr("littlest_hub.proxy.routes.write", full)
        with pytest.raises(OSError, match="No space"):
            routes.atomic_dump(a_route("new"))
    assert not routes.is_as_written
    routes.atomic_dump(a_route("new"))
    assert routes.is_as_written


@pytest.mark.parametrize("damage", [None, b"", b"[[\xff"], ids=["removed", "empty", "no text"])
def test_routes_that_another_program_changed_are_noticed_and_written_again(
    routes: RoutesFile, damage: bytes | None
) -> None:
    data = a_route("x")
    routes.atomic_dump(data)
    assert routes.is_as_written
    if damage is None:
        routes.path.unlink()
    else:
        routes.path.write_bytes(damage)
    assert not routes.is_as_written
    routes.atomic_dump(data)
    assert routes.is_as_written
    assert routes.load() == data


def test_only_routes_are_read_back_from_disk(routes: RoutesFile) -> None:
    """Neither the last hub's password nor settings that have left the fragments are read."""
    before = a_route("x")
    before["http"]["routers"]["route_api"] = {"rule": "old"}
    before["http"]["middlewares"] = {"auth_api": {"basicAuth": {"users": ["hub:old"]}}}
    before["tls"] = {"certificates": [{"certFile": "/old.crt", "keyFile": "/old.key"}]}
    routes.atomic_dump(before)
    assert routes.load() == a_route("x")


def test_unreadable_routes_count_as_none(routes: RoutesFile) -> None:
    routes.path.write_text("[http\n")
    with pytest.raises(FileNotFoundError):
        routes.load()


# --- static configuration


OURS = static_config(public=":80", api="127.0.0.1:15002", dynamic_config=Path("/dynamic"))


def test_a_fragment_may_add_to_the_static_configuration_in_any_case() -> None:
    merge = merge_static_config(
        OURS, {"entrypoints": {"HTTP": {"transport": {"keepAliveMaxTime": "1h"}}}}
    )
    transport = merge["entryPoints"]["http"]["transport"]
    assert transport["keepAliveMaxTime"] == "1h"
    assert transport["lifeCycle"] == {"graceTimeOut": "30m"}
    assert set(merge) == set(OURS)
    assert "keepAliveMaxTime" not in OURS["entryPoints"]["http"]["transport"]


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ({"entryPoints": {"http": {"address": ":81"}}}, "entryPoints.http.address"),
        ({"entrypoints": {"AUTH_API": {"http": {}, "address": ""}}}, "entryPoints.auth_api"),
        ({"entryPoints": {"ready": {"address": ":82"}}}, "entryPoints.ready"),
        ({"providers": {"file": {"watch": False}}}, "providers.file"),
        ({"api": {"basePath": "/x"}}, "api.basePath"),
        ({"entryPoints": None}, "entryPoints: expected a dict"),
        ("log", "expected a dict"),
    ],
)
def test_fragments_may_not_change_what_hub_and_supervisor_rely_on(extra: Any, named: str) -> None:
    with pytest.raises(LittlestHubError, match=re.escape(named)):
        merge_static_config(OURS, extra)


# --- with the real traefik


class Backend(BaseHTTPRequestHandler):
    """A server that answers with its name."""

    protocol_version = "HTTP/1.1"
    name: str

    def do_GET(self) -> None:
        body = self.name.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Echo(Backend):
    """A server that answers with the address that it was asked for."""

    def do_GET(self) -> None:
        self.name = self.path
        super().do_GET()


@contextlib.contextmanager
def backend(name: str) -> Iterator[str]:
    handler = type("NamedBackend", (Backend,), {"name": name})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Traefik:
    """The real traefik with our static configuration and `routes`."""

    def __init__(self, directory: Path, trusted_proxies: Sequence[str] = ()) -> None:
        self.port, self.api_port = free_port(), free_port()
        self.routes = RoutesFile(directory / "dynamic" / "rules.toml")
        self.routes.path.parent.mkdir()
        self.routes.atomic_dump({})
        (self.routes.path.parent / "ready.toml").write_text(to_toml(ready_config()))
        self.static = directory / "traefik.toml"
        self.static.write_text(
            to_toml(
                static_config(
                    public=f"127.0.0.1:{self.port}",
                    api=f"127.0.0.1:{self.api_port}",
                    dynamic_config=self.routes.path.parent,
                    trusted_proxies=trusted_proxies,
                )
            )
        )
        self.log = directory / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [TRAEFIK or "traefik", f"--configFile={self.static}"],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
        return get(self.port, path, headers)

    def ask_api(self, password: str) -> int:
        credentials = base64.b64encode(f"hub:{password}".encode()).decode()
        return get(self.api_port, "/api/overview", {"Authorization": f"Basic {credentials}"})[0]


def get(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode()


@pytest.fixture
def traefik(tmp_path: Path) -> Iterator[Traefik]:
    if TRAEFIK is None:
        missing("no traefik on PATH")
    with running(Traefik(tmp_path)) as traefik:
        yield traefik


@contextlib.contextmanager
def running(traefik: Traefik) -> Iterator[Traefik]:
    try:
        yield traefik
    finally:
        traefik.process.terminate()
        traefik.process.wait(10)


def route(routes: dict[str, str]) -> dict[str, Any]:
    """Return what the hub writes for these routespecs and targets."""
    proxy = HubProxy.__new__(HubProxy)
    merged: dict[str, Any] = {"http": {"routers": {}, "services": {}}}
    for routespec, target in routes.items():
        dynamic, _ = proxy._dynamic_config_for_route(routespec, target, {})
        for kind, entries in dynamic["http"].items():
            merged["http"][kind].update(entries)
    return merged


def credentials(password: str, api_port: int) -> dict[str, Any]:
    digest = base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()
    return {
        "http": {
            "routers": {
                "route_api": {
                    "rule": "Host(`127.0.0.1`) && PathPrefix(`/api`)",
                    "entryPoints": ["auth_api"],
                    "service": "api@internal",
                    "middlewares": ["auth_api"],
                }
            },
            "middlewares": {"auth_api": {"basicAuth": {"users": [f"hub:{{SHA}}{digest}"]}}},
        }
    }


def test_traefik_logs_nothing_about_our_static_configuration(traefik: Traefik) -> None:
    eventually(lambda: traefik.get("/")[0] == 404, 20, "traefik to listen")
    assert traefik.log.read_text() == ""


@pytest.mark.row(3, 32)
def test_a_failure_is_logged_without_its_address_which_a_stranger_chooses(
    traefik: Traefik,
) -> None:
    traefik.routes.atomic_dump(route({"/": f"http://127.0.0.1:{free_port()}"}))
    eventually(lambda: traefik.get("/a/path?token=a-secret")[0] == 502, 20, "the route")
    eventually(lambda: " 502 " in traefik.log.read_text(), 10, "the line about it")
    assert "token" not in traefik.log.read_text()
    # Longer than tornado accepts, which would be another failure.
    assert traefik.get(f"/?{'a' * 60_000}")[0] == 431


@pytest.mark.row(1)
def test_every_name_is_routed_to_its_own_server_and_the_rest_to_the_hub(traefik: Traefik) -> None:
    names = [
        "alice",
        "al",
        "a.b@c~d",
        "a b",
        "a:b",
        "a+b&c",
        "été",
        "%",
        "a`b",
        'a"b',
        "a\\b",
        "a'b",
    ]
    names += ["x`) || PathPrefix(`/", 'x") || PathPrefix("/', *hostile_names(60, seed=3)]
    names = [n for n in dict.fromkeys(names) if "\x00" not in n and "/" not in n]
    with contextlib.ExitStack() as stack:
        targets = {"/": stack.enter_context(backend("hub"))}
        for number, name in enumerate(names):
            targets[f"/user/{quote(name, safe='@~')}/"] = stack.enter_context(
                backend(f"server {number}")
            )
        traefik.routes.atomic_dump(route(targets))
        eventually(lambda: traefik.get("/hub/login") == (200, "hub"), 20, "the route to the hub")
        for number, name in enumerate(names):
            own = f"/user/{quote(name, safe='@~')}"
            for path in (own, f"{own}/", f"{own}/lab/tree/a%2Fb%20c%23?x=1"):
                assert traefik.get(path) == (200, f"server {number}"), (name, path)
        for path in ("/", "/hub/login", "/user/nobody/", "/user/alicex/", "/hub/user/alice/"):
            assert traefik.get(path) == (200, "hub"), path
    assert "ERR" not in traefik.log.read_text()


@pytest.mark.row(39)
@pytest.mark.parametrize(
    ("asked", "received"),
    [
        ("v/https://a.example//b?x=1;y=2", "v/https://a.example//b?x=1%3By=2"),
        ("a/./b", "a/./b"),
        ("a/%2e%2e/b", "a/../b"),
        ("../bob/", "../bob/"),
        ("a%2Fb%3Bc;d%5C%25?q=a%3Bb&d=+%20", "a%2Fb%3Bc;d%5C%25?q=a%3Bb&d=+%20"),
    ],
)
def test_an_address_reaches_the_server_of_its_beginning_as_the_visitor_sent_it(
    traefik: Traefik, asked: str, received: str
) -> None:
    with echo(traefik) as path:
        assert traefik.get(path + asked) == (200, path + received)


# Characters that RFC 3986 calls special, others, and those that may look like either.
PIECES = (
    *(
        "/",
        "//",
        "/.",
        "/..",
        ".",
        "..",
        ";",
        ":",
        "@",
        "?",
        "&",
        "=",
        "+",
        "~",
        "!",
        "$",
        "'",
        "*",
    ),
    *("a", "b=c", "https://x.example/", "%2F", "%2f", "%2E", "%2e%2e", "%3B", "%25", "%5C", "%20"),
    *("%3F", "%23", "%41", "%7e", "%C3%A9", "%c3%a9", "%7C", "%22", "[", "]", "(", ")", ","),
)


def equivalent(address: str) -> str:
    """Return the spelling of an address that traefik passes on (RFC 3986, 6.2.2), and of ";"."""

    def spelled(found: re.Match[str]) -> str:
        character = chr(int(found[1], 16))
        is_unreserved = character.isascii() and (character.isalnum() or character in "-._~")
        return character if is_unreserved else found[0].upper()

    path, mark, query = address.partition("?")
    path = re.sub("%([0-9A-Fa-f]{2})", spelled, path)
    return path + mark + query.replace(";", "%3B")


@pytest.mark.row(39)
def test_any_address_reaches_a_server_with_no_more_than_its_spelling_changed(
    traefik: Traefik,
) -> None:
    with echo(traefik) as path:

        @given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
        @settings(max_examples=200, deadline=None, database=None)
        def check(address: str) -> None:
            assert traefik.get(path + address) == (200, equivalent(path + address))

        check()


@contextlib.contextmanager
def echo(traefik: Traefik) -> Iterator[str]:
    """Serve addresses below the returned one with themselves; there are other servers too."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server, backend("bob") as bob:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        target = f"http://127.0.0.1:{server.server_port}"
        path = "/services/echo/"
        targets = {"/": bob, path: target, "/services/bob/": bob}
        traefik.routes.atomic_dump(route(targets))
        eventually(lambda: traefik.get(path) == (200, path), 20, "the route")
        yield path
        server.shutdown()


@contextlib.asynccontextmanager
async def hub_of(traefik: Traefik) -> AsyncIterator[HubProxy]:
    """Return a hub's proxy object, connected to this traefik."""
    proxy = HubProxy(
        should_start=False,
        traefik_api_url=f"http://127.0.0.1:{traefik.api_port}",
        dynamic_config_file=str(traefik.routes.path),
        public_url=f"http://127.0.0.1:{traefik.port}",
    )
    await proxy.get_all_routes()
    yield proxy


def test_adding_and_deleting_a_route_return_when_traefik_has_done_so(traefik: Traefik) -> None:
    async def scenario(target: str) -> None:
        async with hub_of(traefik) as proxy:
            for _ in range(3):
                await proxy.add_route("/user/alice/", target, {"user": "{{ alice \x7f"})
                assert traefik.get("/user/alice/") == (200, "alice")
                await proxy.delete_route("/user/alice/")
                assert traefik.get("/user/alice/")[0] == 404
            await proxy.delete_route("/user/alice/")  # when there was none

    with backend("alice") as target:
        asyncio.run(asyncio.wait_for(scenario(target), 60))
    assert "ERR" not in traefik.log.read_text()


def test_a_route_that_could_not_be_added_is_not_in_a_later_write(
    traefik: Traefik, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(target: str) -> None:
        async with hub_of(traefik) as hubs:
            with monkeypatch.context() as patch:
                patch.setattr("littlest_hub.proxy.routes.write", full)
                with pytest.raises(OSError, match="No space"):
                    await hubs.add_route("/user/alice/", target, {})
            await hubs.add_route("/user/bob/", target, {})
            assert traefik.get("/user/bob/") == (200, "bob")
            assert traefik.get("/user/alice/")[0] == 404

    with backend("bob") as target:
        asyncio.run(asyncio.wait_for(scenario(target), 60))


@pytest.mark.row(26)
@pytest.mark.needs("root")
@pytest.mark.parametrize("is_added", [True, False])
def test_the_port_of_a_route_is_given_up_when_traefik_has_dropped_it_later(
    traefik: Traefik, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_added: bool
) -> None:
    helper = Helper(tmp_path)
    monkeypatch.setattr(GUARD, "address", tmp_path / "control")

    async def scenario(port: int) -> None:
        place, route = ("127.0.0.1", port), ("/user/alice/", f"http://127.0.0.1:{port}")
        async with hub_of(traefik) as hubs:
            if is_added:
                await hubs.add_route(*route, {"user": "alice"})
            with monkeypatch.context() as patch:
                patch.setattr("littlest_hub.proxy.routes.write", full)
                if is_added:
                    await hubs.delete_route(route[0])
                else:
                    with pytest.raises(OSError, match="No space"):
                        await hubs.add_route(*route, {"user": "alice"})
                await GUARD.release(place)
                await hubs._keep_ports()
                # The route may still be there.
                assert place in helper.ports._held
            await hubs._keep_ports()
            assert place not in helper.ports._held

    with listening_program() as port:
        asyncio.run(asyncio.wait_for(scenario(port), 60))


class Held(Backend):
    """A backend whose answers have to be awaited."""

    go: ClassVar[threading.Event]
    held: ClassVar[threading.Semaphore]

    def do_GET(self) -> None:
        if self.path.endswith("/held"):
            self.held.release()
            self.go.wait(30)
        super().do_GET()


@pytest.mark.row(29)
@pytest.mark.parametrize("is_behind_a_proxy", [False, True])
def test_one_address_cannot_use_up_the_hub_nor_its_users_servers(
    is_behind_a_proxy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if TRAEFIK is None:
        missing("no traefik on PATH")
    monkeypatch.setattr(routes_module, "REQUESTS_PER_SOURCE", 5)
    trusted = ["127.0.0.0/8"] if is_behind_a_proxy else []
    held, go = threading.Semaphore(0), threading.Event()

    def ask(path: str, source: int) -> int:
        # Clients differ in their address, or in the one that the proxy in front reports.
        sender = (f"127.0.0.{source}", 0)
        headers = {"X-Forwarded-For": f"192.0.2.{source}"} if is_behind_a_proxy else {}
        connection = http.client.HTTPConnection(
            "127.0.0.1", edge.port, timeout=20, source_address=sender
        )
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers)
            return connection.getresponse().status

    async def scenario(traefik: Traefik, target: str) -> None:
        async with hub_of(traefik) as proxy:
            proxy.trusted_proxies = trusted
            await proxy._setup_traefik_dynamic_config()
            await proxy.add_route("/", target, {"hub": True})
            await proxy.add_route("/user/alice/", target, {"user": "alice"})

    handler = type("HeldBackend", (Held,), {"name": "all", "held": held, "go": go})
    with (
        running(Traefik(tmp_path, trusted)) as edge,
        ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        ThreadPoolExecutor(20) as flood,
    ):
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        target = f"http://127.0.0.1:{server.server_port}"
        asyncio.run(asyncio.wait_for(scenario(edge, target), 60))
        try:
            waiting = [flood.submit(ask, "/hub/held", 2) for _ in range(5)]
            assert all(held.acquire(timeout=20) for _ in waiting)
            assert ask("/hub/login", 2) == 429
            assert ask("/hub/login", 3) == 200
            assert ask("/user/alice/", 2) == 200
        finally:
            go.set()
        assert [each.result() for each in waiting] == [200] * 5
        assert ask("/hub/login", 2) == 200
        server.shutdown()
    # An earlier release, after a rollback, finds its own routes.
    assert "middlewares" not in json.dumps(edge.routes.load())


def test_many_routes_at_once_are_two_writes_and_the_next_hub_reads_them(
    traefik: Traefik, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"/user/person{number}/" for number in range(200)]

    async def scenario(target: str) -> None:
        async with hub_of(traefik) as proxy:
            written: list[float] = []
            dump = RoutesFile.atomic_dump

            def recorded(routes: RoutesFile, data: dict[str, Any]) -> None:
                written.append(time.monotonic())
                dump(routes, data)

            monkeypatch.setattr(RoutesFile, "atomic_dump", recorded)
            first = asyncio.ensure_future(proxy.add_route("/", target, {}))
            await asyncio.sleep(0)
            await asyncio.gather(first, *(proxy.add_route(n, target, {"user": n}) for n in names))
            assert len(written) == 2
            await asyncio.gather(*map(proxy.delete_route, names[:100]))
            assert len(written) == 3
            assert traefik.get(names[150]) == (200, "all")
        async with hub_of(traefik) as proxy:
            routes = await proxy.get_all_routes()
            assert set(routes) == {"/", *names[100:]}
            assert routes[names[150]]["data"] == {"user": names[150]}

    with backend("all") as target:
        asyncio.run(asyncio.wait_for(scenario(target), 60))


def test_writing_the_routes_is_one_event_in_the_directory_that_traefik_watches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = RoutesFile(tmp_path / "dynamic" / "rules.toml")
    routes.atomic_dump(a_route("x"))
    moved: list[Path] = []
    replace = Path.replace

    def recorded(self: Path, target: Path) -> Path:
        moved.append(self)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", recorded)
    routes.atomic_dump(a_route("y"))
    assert [each.parent for each in moved] == [tmp_path]
    assert list(routes.path.parent.iterdir()) == [routes.path]


def test_our_default_certificate_is_recognized_as_traefiks_own() -> None:
    store = make_default_certificate().dynamic_config()["tls"]["stores"]["default"]
    files = store["defaultCertificate"]
    assert DEFAULT_CERTIFICATE_NAME.encode() in ssl.PEM_cert_to_DER_cert(files["certFile"])
    assert "PRIVATE KEY" in files["keyFile"]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    if TRAEFIK is None:
        missing("no traefik on PATH")
    with contextlib.ExitStack() as stack:
        traefik = stack.enter_context(running(Traefik(tmp_path_factory.mktemp("crowd"))))
        names = ["hub", *(f"server {number}" for number in range(MOST))]
        yield Crowd(traefik, {name: stack.enter_context(backend(name)) for name in names})


MOST = 6
"""The number of servers at a time."""


class Crowd:
    """The hub and some user servers behind a traefik."""

    def __init__(self, traefik: Traefik, backends: dict[str, str]) -> None:
        self.traefik, self.backends = traefik, backends
        self._turns = 0

    def move(self, specs: list[str]) -> None:
        """Replace the routes by these, to servers 0, 1, …; return when traefik has loaded them."""
        self._turns += 1
        turn = f"/turn/{self._turns}/"
        targets = {"/": self.backends["hub"], turn: self.backends["server 0"]}
        for number, spec in enumerate(specs):
            targets[spec] = self.backends[f"server {number}"]
        self.traefik.routes.atomic_dump(route(targets))
        eventually(
            lambda: self.traefik.get(turn) == (200, "server 0"), 20, "the routes", interval_s=0.02
        )


@pytest.mark.row(1)
@given(servers=st.lists(st.tuples(NAMES, st.none() | NAMES), max_size=MOST, unique=True))
@settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_with_any_names_from_hypothesis_all_users_reach_their_own_server_and_the_hub(
    crowd: Crowd, servers: list[tuple[str, str | None]]
) -> None:
    specs = list(dict.fromkeys(routespec(*server) for server in servers))
    crowd.move(specs)
    for path in ("/", "/hub/login", "/hub/user/a/", "/user/-nobody-/", "/user/"):
        assert crowd.traefik.get(path) == (200, "hub"), path
    for number, spec in enumerate(specs):
        # Browsers resolve . and .. themselves, and traefik refuses NUL: such servers cannot be
        # reached, which harms only their owners.
        if {".", ".."} & set(spec.split("/")) or "%00" in spec:
            continue
        for path in (f"{spec}-lab-/tree", spec, spec.rstrip("/")):
            assert crowd.traefik.get(path) == (200, f"server {number}"), (path, specs)


def test_a_rotated_api_password_replaces_the_old_one(traefik: Traefik) -> None:
    traefik.routes.atomic_dump(credentials("first", traefik.api_port))
    eventually(lambda: traefik.ask_api("first") == 200, 20, "the first password to be known")
    traefik.routes.atomic_dump(credentials("second", traefik.api_port))
    eventually(lambda: traefik.ask_api("second") == 200, 20, "the second password to be known")
    assert traefik.ask_api("first") == 401


# Every header in which hub and servers read where a request comes from, and whether by HTTPS.
FORGED = {
    "X-Forwarded-For": "10.66.6.6",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example.org",
    "X-Forwarded-Port": "666",
    "X-Real-Ip": "10.66.6.6",
    "X-Scheme": "https",
    "Forwarded": "for=10.66.6.6;proto=https",
}


@contextlib.contextmanager
def spy() -> Iterator[tuple[str, dict[str, str]]]:
    """Run a server; its URL, and the headers of the last request."""
    seen: dict[str, str] = {}

    class Spy(Backend):
        name = "spy"

        def do_GET(self) -> None:
            seen.clear()
            seen.update(self.headers.items())
            super().do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), Spy) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()


def test_the_proxy_keeps_its_connection_to_the_hub_for_a_moment(traefik: Traefik) -> None:
    opened: list[object] = []
    closed = threading.Semaphore(0)

    class Counting(Backend):
        name = "hub"

        def handle(self) -> None:
            opened.append(self)
            super().handle()
            closed.release()

    async def scenario(target: str) -> None:
        async with hub_of(traefik) as proxy:
            await proxy._setup_traefik_dynamic_config()
            await proxy.add_route("/", target, {"hub": True})

    with ThreadingHTTPServer(("127.0.0.1", 0), Counting) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        asyncio.run(asyncio.wait_for(scenario(f"http://127.0.0.1:{server.server_port}"), 60))
        for _ in range(20):
            assert traefik.get("/hub/login") == (200, "hub")
        assert len(opened) < 20, "a connection for each request"
        for _ in opened:
            assert closed.acquire(timeout=KEPT_TIMEOUT_S), "a hub that ends waits no longer"
        server.shutdown()


@pytest.mark.row(8)
@pytest.mark.parametrize("spelling", ["-", "_"])
def test_forwarded_headers_of_visitors_reach_no_server(traefik: Traefik, spelling: str) -> None:
    with spy() as (url, seen):
        traefik.routes.atomic_dump(route({"/": url}))
        eventually(lambda: traefik.get("/")[0] == 200, 20, "the route")
        forged = {name.replace("-", spelling): value for name, value in FORGED.items()}
        traefik.get("/", {**forged, "X-Mine": "kept"})
        assert seen["X-Mine"] == "kept"
        assert not [name for name in seen if "_" in name]
        forged_values = ("66.6", "https")
        assert not [v for v in seen.values() if v == "666" or any(t in v for t in forged_values)], (
            seen
        )
        assert seen["X-Forwarded-For"] == "127.0.0.1"
        assert seen["X-Forwarded-Proto"] == "http"


@pytest.mark.row(35)
def test_the_hub_recognizes_what_came_through_the_proxy_and_no_server_learns_how(
    traefik: Traefik,
) -> None:
    async def scenario(target: str) -> HubProxy:
        async with hub_of(traefik) as proxy:
            await proxy._setup_traefik_dynamic_config()
            await proxy.add_route("/", target, {"hub": True})
            await proxy.add_route("/user/alice/", target, {"user": "alice"})
            return proxy

    def request(headers: dict[str, str]) -> HTTPServerRequest:
        return HTTPServerRequest("GET", "/", headers=HTTPHeaders(headers))

    forged = {"X-Forwarded-For": "192.0.2.1", routes_module.MARK_HEADER: "forged"}
    with spy() as (url, seen):
        proxy = asyncio.run(asyncio.wait_for(scenario(url), 60))
        traefik.get("/hub/login", forged)
        assert proxy.has_sent(request(seen))
        traefik.get("/user/alice/", forged)
        assert seen[routes_module.MARK_HEADER] == "forged"
    for headers in ({}, forged, {**forged, routes_module.MARK_HEADER: "\xff"}):
        assert not proxy.has_sent(request(headers))


@pytest.mark.row(8)
@pytest.mark.parametrize(("trusted", "is_trusted"), [("127.0.0.0/8", True), ("10.0.0.1", False)])
def test_forwarded_headers_of_a_proxy_in_front_count_only_if_it_is_trusted(
    tmp_path: Path, trusted: str, is_trusted: bool
) -> None:
    if TRAEFIK is None:
        missing("no traefik on PATH")
    with running(Traefik(tmp_path, [trusted])) as traefik, spy() as (url, seen):
        traefik.routes.atomic_dump(route({"/": url}))
        eventually(lambda: traefik.get("/")[0] == 200, 20, "the route")
        traefik.get("/", FORGED)
        assert seen["X-Forwarded-Proto"] == ("https" if is_trusted else "http")
        expected = "10.66.6.6, 127.0.0.1" if is_trusted else "127.0.0.1"
        assert seen["X-Forwarded-For"] == expected
        assert not {"Forwarded", "X-Real-Ip", "X-Scheme"} & set(seen)


def test_trusted_addresses_are_those_of_small_networks_one_by_one() -> None:
    config = Config()
    config.HubProxy.trusted_proxies = ["127.0.0.1", "::1", "10.0.0.0/30", "172.17.0.0/16"]
    proxy = HubProxy(config=config, should_start=True)
    assert proxy.trusted_addresses == [
        "127.0.0.1",
        "::1",
        *(f"10.0.0.{number}" for number in range(4)),
    ]


@pytest.mark.parametrize("wrong", ["localhost", "10.0.0.1/8", "", "0.0.0.0/33"])
def test_a_trusted_proxy_is_an_address_or_a_network(wrong: str) -> None:
    config = Config()
    config.HubProxy.trusted_proxies = [wrong]
    with pytest.raises(TraitError, match="expected IP addresses or networks"):
        HubProxy(config=config, should_start=True)
