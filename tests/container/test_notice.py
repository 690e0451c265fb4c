"""A user server's answer about releases; tests/browser has what users see."""

import re

import httpx

from tests.hub import Hub


def test_a_user_server_tells_only_its_owner_which_release_it_runs(hub: Hub) -> None:
    with hub.person() as alice:
        alice.start_server()
        url = f"{hub.url}/user/{alice.name}/littlest-hub/release"
        status = f"{hub.url}/user/{alice.name}/api/status"
        headers = {"Authorization": f"token {alice.token()}"}
        idle_since = httpx.get(status, headers=headers).json()["last_activity"]

        answer = httpx.get(url, headers=headers)
        version = hub.machine.run(["readlink", "--canonicalize", hub.layout.hub]).stdout
        version = version.strip().rpartition("/")[2]
        assert answer.json() == {"running": version, "active": version}
        assert httpx.get(url).status_code == 403
        now = httpx.get(f"{status}?no_track_activity=1", headers=headers).json()["last_activity"]
        assert now == idle_since, "an open page would keep an idle server alive"


def test_a_page_may_ask_over_https_where_browsers_say_that_it_is_a_script_that_asks(
    hub: Hub,
) -> None:
    with hub.person() as alice:
        alice.start_server()
        path = f"/user/{alice.name}/littlest-hub/release"
        cookie = re.search(r"_xsrf=([^;]+)", alice.cookies(path))
        assert cookie
        headers = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
        assert alice.browser.get(path, headers=headers).status_code == 403
        headers["X-XSRFToken"] = cookie[1]
        assert alice.browser.get(path, headers=headers).json()["running"]
