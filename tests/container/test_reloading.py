"""Changing the configuration, and losing the hub, while users work."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.client import Person, RefusedError
from tests.eventually import eventually
from tests.hub import Hub

ANNOUNCEMENT = 'c.JupyterHub.template_vars = {"announcement": "%s"}\n'
FAILS_WHEN_IT_SERVES = """\
from jupyterhub.app import JupyterHub

def fail(hub):
    raise RuntimeError("too late for any check")

JupyterHub.init_signal = fail
"""


def test_a_reload_picks_up_fragments_in_order_while_a_kernel_lives_on(hub: Hub) -> None:
    with hub.person() as alice:
        alice.start_server()
        with alice.open_kernel() as kernel:
            kernel.run("x = 41")
            pid = hub.main_pid()
            hub.write_fragment("70-first.py", ANNOUNCEMENT % "overruled")
            try:
                with hub.fragment("71-second.py", ANNOUNCEMENT % "Closed on Sunday"):
                    page = alice.browser.get("/hub/home").text
                    assert "Closed on Sunday" in page
                    assert "overruled" not in page
                    assert kernel.run("x + 1") == "42"
                    assert hub.main_pid() == pid, "the hub was restarted, not reloaded"
            finally:
                hub.machine.run(["rm", str(hub.layout.fragments / "70-first.py")])
                hub.reload()
            assert "Closed on Sunday" not in alice.browser.get("/hub/home").text
            assert kernel.run("x + 1") == "42"


def test_a_broken_fragment_is_refused_with_its_line_and_the_old_configuration_stays(
    hub: Hub,
) -> None:
    with hub.person() as alice, hub.fragment("70-good.py", ANNOUNCEMENT % "The old one"):
        broken = hub.write_fragment("80-broken.py", "# a comment\nc.JupyterHub.port = \n")
        try:
            refused = hub.reload(check=False)
            assert refused.returncode != 0
            assert f"{broken}:2" in hub.machine.journal(hub.layout.hub_service)
            assert f"Not reloaded: {broken}:2: SyntaxError" in hub.status()
            assert "The old one" in alice.browser.get("/hub/home").text
            check = hub.machine.run([hub.path("hub/bin/littlest-hub"), "check"], check=False)
            assert check.returncode == 1
            assert f"{broken}:2" in check.stderr + check.stdout
        finally:
            hub.machine.run(["rm", broken])
        hub.reload()
        assert "Not reloaded" not in hub.status()


def test_a_configuration_that_fails_only_when_it_serves_gives_way_to_the_one_before(
    hub: Hub,
) -> None:
    with hub.person() as alice, hub.fragment("70-good.py", ANNOUNCEMENT % "The old one"):
        pid = hub.main_pid()
        # The check's own hub does not serve: it cannot see an error of this step.
        late = hub.write_fragment("80-late.py", FAILS_WHEN_IT_SERVES)
        try:
            assert hub.reload(check=False).returncode != 0
            assert "too late for any check" in hub.status()
            assert "The next hub failed: " in hub.machine.journal(hub.layout.hub_service)
            assert "The old one" in alice.browser.get("/hub/home").text
            assert hub.main_pid() == pid
        finally:
            hub.machine.run(["rm", late])
        hub.reload()
        assert "Not reloaded" not in hub.status()


def test_a_server_that_is_starting_during_a_reload_starts(hub: Hub) -> None:
    with hub.person() as alice:
        with ThreadPoolExecutor() as background:
            starting = background.submit(alice.start_server)
            user_unit = f"{hub.layout.user_unit(alice.name)}.service"
            eventually(
                lambda: hub.machine.systemctl("is-active", user_unit, check=False).returncode == 0,
                30,
                "the server's unit",
            )
            hub.reload()
            starting.result(timeout=60)
        assert alice.run_cell("6 * 7") == "42"


def test_reloads_at_once_all_return_when_the_last_configuration_answers(hub: Hub) -> None:
    with hub.person() as alice:
        path = hub.write_fragment("70-first.py", ANNOUNCEMENT % "The new one")
        try:
            pid = hub.main_pid()
            with ThreadPoolExecutor() as background:
                reloads = [background.submit(hub.reload) for _ in range(3)]
                for reload in reloads:
                    reload.result(timeout=120)
                    assert "The new one" in alice.browser.get("/hub/home").text
            assert hub.main_pid() == pid
        finally:
            hub.machine.run(["rm", path])
            hub.reload()


def test_no_request_that_changes_something_is_lost_in_a_reload(hub: Hub) -> None:
    # The proxy repeats a GET if the hub has closed a kept connection, but never a POST.
    with hub.person() as alice:
        token, path = alice.token(), f"/hub/api/users/{alice.name}/activity"
        seen = {"last_activity": "2026-01-01T00:00:00Z"}
        over = threading.Event()

        def send() -> set[int]:
            headers = {"Authorization": f"token {token}"}
            with httpx.Client(
                base_url=hub.url, headers=headers, timeout=60, trust_env=False
            ) as browser:
                answers = set()
                while not over.wait(0.05):
                    answers.add(browser.post(path, json=seen).status_code)
            return answers

        with ThreadPoolExecutor() as background:
            sending = [background.submit(send) for _ in range(4)]
            try:
                for _ in range(3):
                    hub.reload()
            finally:
                over.set()
            assert [each.result() for each in sending] == [{200}] * 4


def test_a_wrong_password_is_refused_during_a_reload_as_ever(hub: Hub) -> None:
    # PAM delays its refusal; the reload lets it finish while other users are served.
    with (
        hub.person() as alice,
        Person(hub.url, alice.name, "wrong") as mallory,
        ThreadPoolExecutor() as background,
    ):
        refused = background.submit(mallory.log_in)
        hub.reload()
        with pytest.raises(RefusedError):
            refused.result(timeout=60)


def test_user_server_and_kernel_survive_a_restart_of_the_hub(hub: Hub) -> None:
    with hub.person() as alice:
        alice.start_server()
        with alice.open_kernel() as kernel:
            kernel.run("x = 41")
            hub.machine.systemctl("restart", hub.layout.hub_service)
            assert kernel.run("x + 1") == "42"
        # The new hub still knows the server, and the proxy takes new routes from it.
        with alice.connect(kernel.id) as again:
            assert again.run("x + 1") == "42"
        with hub.person() as bob:
            bob.start_server()
            assert bob.run_cell("6 * 7") == "42"


def test_a_killed_hub_comes_back_and_no_request_fails_meanwhile(hub: Hub) -> None:
    with hub.person() as alice:
        alice.start_server()
        with alice.open_kernel() as kernel:
            kernel.run("x = 41")
            pid = hub.main_pid()
            hub.machine.systemctl("kill", "--signal=KILL", hub.layout.hub_service)
            assert hub.answers(), "a request made while the hub was dead failed"
            assert hub.main_pid() not in {0, pid}
            assert kernel.run("x + 1") == "42"
        assert alice.run_cell("6 * 7") == "42"


def test_a_killed_hub_process_is_replaced_by_its_supervisor(hub: Hub) -> None:
    with hub.person() as alice:
        alice.start_server()
        with alice.open_kernel() as kernel:
            kernel.run("x = 41")
            supervisor, served = hub.main_pid(), hub.serving_pid()
            hub.machine.run(["sh", "-c", f"kill -KILL {served}"])
            assert hub.answers(), "a request made while the hub was dead failed"
            assert hub.main_pid() == supervisor
            assert hub.serving_pid() != served
            cullers = "grep -l 'idle_[c]uller' /proc/[0-9]*/cmdline"
            eventually(
                lambda: len(hub.machine.run(["sh", "-c", cullers]).stdout.split()) == 1,
                20,
                "the dead hub's idle culler to be gone",
            )
            assert kernel.run("x + 1") == "42"
        assert alice.run_cell("6 * 7") == "42"


def test_a_hub_killed_while_its_successor_prepares_loses_nothing(hub: Hub) -> None:
    with hub.fragment("70-slow.py", "import time\ntime.sleep(2)\n"):
        supervisor, served = hub.main_pid(), hub.serving_pid()
        with ThreadPoolExecutor() as background:
            reloading = background.submit(hub.reload)
            children = f"/proc/{supervisor}/task/{supervisor}/children"
            eventually(
                lambda: len(hub.machine.read(children).split()) > 1, 60, "the next hub's process"
            )
            hub.machine.run(["sh", "-c", f"kill -KILL {served}"])
            assert hub.answers()
            reloading.result(timeout=120)
        assert hub.main_pid() == supervisor


def test_a_killed_proxy_comes_back_with_every_route(hub: Hub) -> None:
    with hub.person() as alice:
        alice.start_server()
        with alice.open_kernel() as kernel:
            kernel.run("x = 41")
        hub.machine.systemctl("kill", "--signal=KILL", hub.layout.proxy_service)
        page = f"/user/{alice.name}/api/kernels/{kernel.id}"
        eventually(lambda: alice.sees(page), 20, "the user server's route")
        with alice.connect(kernel.id) as again:
            assert again.run("x + 1") == "42"


def test_a_port_that_is_taken_is_named_with_its_taker_and_served_when_it_is_free(hub: Hub) -> None:
    listen = hub.machine.systemctl("show", "--property=Listen", "--value", hub.layout.hub_socket)
    port = re.findall(r":(\d+) ", listen.stdout)[0]
    # The guard would reserve the port.
    guard = (hub.layout.guard_socket, hub.layout.guard_service)
    hub.machine.systemctl("stop", hub.layout.hub_socket, hub.layout.hub_service, *guard)
    take = f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(600)"
    python = hub.path("hub/bin/python3")
    hub.machine.run(["systemd-run", "--quiet", "--unit=thief", python, "-c", take])
    try:
        visit = f"import socket; socket.create_connection(('127.0.0.1', {port}))"
        eventually(
            lambda: hub.machine.run([python, "-c", visit], check=False).returncode == 0,
            20,
            "the thief",
        )
        refused = hub.machine.systemctl("start", hub.layout.hub_service, check=False)
        assert refused.returncode != 0
        eventually(
            lambda: f"port {port} is taken by thief.service" in hub.status(), 20, "the status"
        )
    finally:
        hub.machine.systemctl("stop", "thief")
        hub.machine.systemctl("start", *guard)
    eventually(hub.answers, 60, "the hub")
    assert hub.status().startswith("JupyterHub answers")


def test_a_stopped_hub_leaves_user_servers_running(hub: Hub) -> None:
    with hub.person() as alice:
        alice.start_server()
        with alice.open_kernel() as kernel:
            kernel.run("x = 41")
            hub.machine.systemctl("stop", hub.layout.hub_socket, hub.layout.hub_service)
            try:
                assert kernel.run("x + 1") == "42"
            finally:
                hub.machine.systemctl("start", hub.layout.hub_socket, hub.layout.hub_service)
            eventually(hub.answers, 30, "the hub")
