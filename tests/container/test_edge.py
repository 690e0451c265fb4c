"""Attacks from the network on a freshly installed hub."""

import secrets
import socket
import struct
from collections.abc import Iterator

import httpx
import pytest
import websocket

from tests.client import Person, RefusedError
from tests.eventually import eventually
from tests.hub import Hub

FORGED = {
    "X-Forwarded-For": "10.66.6.6",
    "X-Forwarded-Proto": "https",
    "X-Real-Ip": "10.66.6.6",
    "X-Scheme": "https",
    "Forwarded": "for=10.66.6.6;proto=https",
}


def listeners(hub: Hub) -> set[tuple[str, int]]:
    """Return protocol and port of every socket that the network reaches (proc_net_tcp(5))."""
    found = set()
    for protocol, state in (("tcp", "0A"), ("udp", "07")):
        for table in (protocol, f"{protocol}6"):
            for line in hub.machine.read(f"/proc/net/{table}").splitlines()[1:]:
                digits, _, port = line.split()[1].partition(":")
                if line.split()[3] == state and not is_loopback(digits):
                    found.add((protocol, int(port, 16)))
    return found


def is_loopback(digits: str) -> bool:
    words = [int(digits[i : i + 8], 16) for i in range(0, len(digits), 8)]
    address = struct.pack(f"={len(words)}I", *words)
    return address[-4:-3] == b"\x7f" or address == socket.inet_pton(socket.AF_INET6, "::1")


@pytest.fixture(scope="module")
def alice(hub: Hub) -> Iterator[Person]:
    """A user whose server runs."""
    with hub.person() as alice:
        alice.start_server()
        yield alice


@pytest.mark.row(6)
def test_the_network_reaches_the_public_port_and_no_other(hub: Hub, alice: Person) -> None:
    with alice.open_kernel() as kernel:
        assert kernel.run("6 * 7") == "42"
        assert listeners(hub) == {("tcp", 80)}


@pytest.mark.row(8)
@pytest.mark.parametrize("spelling", ["-", "_"])
def test_forwarded_headers_of_visitors_are_ignored(hub: Hub, alice: Person, spelling: str) -> None:
    with Person(hub.url, alice.name, alice.password) as forger:
        forger.browser.headers.update(
            {name.replace("-", spelling): value for name, value in FORGED.items()}
        )
        forger.log_in()
        # If the hub trusted the headers, the cookie would be marked as one for HTTPS.
        assert [c.secure for c in forger.browser.cookies.jar if "login" in c.name] == [False]
        query = secrets.token_hex(4)
        forger.browser.get(f"/hub/home?{query}")
        us = f"{hub.machine.address.rpartition('.')[0]}.1"
        logged = f"/hub/home?{query} ({alice.name}@{us})"
        eventually(lambda: logged in hub.machine.journal(hub.layout.hub_service), 10, logged)


@pytest.mark.row(9)
def test_an_administrator_without_a_system_password_cannot_log_in(hub: Hub) -> None:
    # "boss" administers the hub and has no system account yet: no visitor can claim the name.
    for password in ("", "boss"):
        with pytest.raises(RefusedError), Person(hub.url, "boss", password) as boss:
            boss.log_in()
    assert httpx.get(f"{hub.url}/hub/signup", trust_env=False).status_code == 404


@pytest.mark.row(10)
def test_a_name_in_capitals_is_the_same_user_with_the_same_password(
    hub: Hub, alice: Person
) -> None:
    with Person(hub.url, alice.name.upper(), alice.password) as shouting:
        shouting.log_in()
        me = shouting.browser.get("/hub/api/user", headers={"Referer": f"{hub.url}/hub/home"})
        assert me.json()["name"] == alice.name


@pytest.mark.row(10)
def test_a_system_account_in_capitals_cannot_log_in_as_the_one_in_small_letters(
    hub: Hub, alice: Person
) -> None:
    name, password = alice.name.capitalize(), secrets.token_urlsafe()
    hub.machine.run(["useradd", "--badname", "--create-home", name])
    try:
        hub.machine.run(["chpasswd"], input=f"{name}:{password}\n")
        with pytest.raises(RefusedError), Person(hub.url, name, password) as attacker:
            attacker.log_in()
    finally:
        hub.machine.run(["userdel", "--remove", name])


def test_a_hostile_name_is_refused_and_is_neither_echoed_nor_logged_unescaped(hub: Hub) -> None:
    name = '"><script>alert(1)</script>`) || PathPrefix(`/\nforged line'
    with Person(hub.url, name, "x") as attacker:
        page = attacker.try_to_log_in()
    assert page.status_code == 403
    assert "<script>alert" not in page.text
    journal = hub.machine.journal(hub.layout.hub_service)
    assert "PAM refuses" in journal
    assert not [line for line in journal.splitlines() if line.partition("]: ")[2] == "forged line"]


@pytest.mark.row(1)
def test_a_server_with_a_hostile_name_is_refused(hub: Hub) -> None:
    names = ("a`b", "a%60%29%20%7C%7C%20PathPrefix%28%60%2F", "..%2F..", "a%0Ab", "x" * 300)
    named = "c.JupyterHub.allow_named_servers = True\n"
    with hub.fragment("60-named.py", named), hub.person() as bob:
        for name in names:
            with pytest.raises(RefusedError, match=r"^40[04]: "):
                bob.start_server(server=name)
        assert hub.machine.read(str(hub.layout.routes)).count(f"/user/{bob.name}/") == 0


@pytest.mark.row(13)
def test_a_form_of_another_site_is_refused(hub: Hub, alice: Person) -> None:
    form = {"username": alice.name, "password": alice.password}
    answer = httpx.post(f"{hub.url}/hub/login", data=form, trust_env=False)
    assert answer.status_code == 403
    assert "_xsrf" in answer.text
    # Not even with her cookies, which her browser sends along.
    tokens = alice.browser.post(f"/hub/api/users/{alice.name}/tokens", json={})
    assert tokens.status_code == 403


@pytest.mark.row(13)
def test_no_page_of_hub_or_server_can_be_framed(alice: Person) -> None:
    for path in ("/hub/login", "/hub/home", f"/user/{alice.name}/lab"):
        page = alice.browser.get(path)
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"], path


@pytest.mark.row(13)
def test_a_token_in_a_url_gives_no_access(hub: Hub, alice: Person) -> None:
    token = alice.token()
    for path in ("/hub/api/user", f"/user/{alice.name}/api/contents"):
        url = f"{hub.url}{path}"
        header = {"Authorization": f"token {token}"}
        assert httpx.get(url, headers=header, trust_env=False).status_code == 200, path
        refused = httpx.get(url, params={"token": token}, trust_env=False)
        assert refused.status_code in {302, 403}, path


@pytest.mark.row(13)
def test_a_page_of_another_site_cannot_open_a_kernel(hub: Hub, alice: Person) -> None:
    with alice.open_kernel() as kernel:
        path = f"/user/{alice.name}/api/kernels/{kernel.id}/channels"
        with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
            websocket.create_connection(
                f"{hub.url.replace('http', 'ws', 1)}{path}",
                cookie=alice.cookies(path),
                origin="http://evil.example.org",
                timeout=30,
            )


@pytest.mark.row(28)
def test_a_link_of_another_site_to_a_servers_logout_leaves_its_cookie(alice: Person) -> None:
    path = f"/user/{alice.name}/logout"
    for headers in (
        {"Referer": "http://evil.example.org/"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {},
    ):
        answer = alice.browser.get(path, headers=headers, follow_redirects=False)
        assert answer.headers["location"].endswith("/hub/logout")
        assert f"jupyterhub-user-{alice.name}" not in answer.headers.get("set-cookie", "")


# --- the proxy on its own


@pytest.mark.row(20)
def test_a_proxy_that_restarts_without_a_hub_serves_all_its_routes(hub: Hub, alice: Person) -> None:
    units = (hub.layout.hub_socket, hub.layout.hub_service)
    with alice.open_kernel() as kernel:
        kernel.run("x = 42")
        hub.machine.systemctl("stop", *units)
        try:
            hub.machine.systemctl("restart", hub.layout.proxy_service)
            with alice.connect(kernel.id) as again:
                assert again.run("x") == "42"
        finally:
            hub.machine.systemctl("start", *units)
    eventually(hub.answers, 30, "the hub")


@pytest.mark.row(20)
@pytest.mark.parametrize("damage", ['rm "$1"', ': >"$1"', 'printf "[[\\377" >"$1"'])
def test_lost_rules_are_written_again(hub: Hub, alice: Person, damage: str) -> None:
    rules = str(hub.layout.routes)
    before = hub.machine.read(rules)
    hub.machine.run(["sh", "-c", damage, "sh", rules])
    again = hub.machine.run
    eventually(lambda: again(["cat", rules], check=False).stdout == before, 30, "the rules")
    eventually(hub.answers, 30, "the route to the hub")
    eventually(lambda: alice.sees(f"/user/{alice.name}/lab"), 30, "the route to alice's server")
