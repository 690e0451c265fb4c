"""Changing the configuration and losing the hub, while people work."""

from tests.eventually import eventually
from tests.hub import Hub

ANNOUNCEMENT = 'c.JupyterHub.template_vars = {"announcement": "%s"}\n'


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
            assert "The old one" in alice.browser.get("/hub/home").text
            check = hub.machine.run([hub.path("hub/bin/littlest-hub"), "check"], check=False)
            assert check.returncode == 1
            assert f"{broken}:2" in check.stderr + check.stdout
        finally:
            hub.machine.run(["rm", broken])


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
