"""Guests: nobody logs in."""

from pathlib import Path

from tests.catalogue import filled
from tests.eventually import eventually
from tests.hub import Hub
from tests.logins.conftest import kind, person

SOON = 'c.JupyterHub.services[0]["command"][-2:] = ["--timeout=5", "--cull-users=True"]\n'
OFTEN = 'c.JupyterHub.services[0]["command"].append("--cull-every=2")\n'


def test_each_guest_has_a_server_and_none_has_anothers(hub: Hub, trusted: Path) -> None:
    with kind(hub, "41-guests.py", filled("41-guests.py")):
        names = set()
        for _ in range(2):
            with person(hub, "", trusted) as guest:
                page = guest.browser.get("/hub/home")
                assert page.url.path == "/hub/home"
                found = guest.browser.get("/hub/api/user").json()
                assert found["admin"] is False
                guest.name = found["name"]
                # The same browser is the same guest.
                guest.browser.get("/hub/login?next=/hub/home")
                assert guest.browser.get("/hub/api/user").json()["name"] == guest.name
                guest.start_server()
                assert guest.run_cell("open('mine', 'x').close(); 6 * 7") == "42"
                guest.stop_server()
                names.add(guest.name)
        assert len(names) == 2


def test_a_guest_who_has_gone_is_deleted_and_the_files_are_roots(hub: Hub, trusted: Path) -> None:
    with kind(hub, "41-guests.py", filled("41-guests.py", SOON + OFTEN)):
        with person(hub, "", trusted) as guest:
            guest.browser.get("/hub/home")
            guest.name = guest.browser.get("/hub/api/user").json()["name"]
            guest.start_server()
            guest.run_cell("open('mine', 'x').close()")
        former = "/var/lib/private/littlest-hub-former-homes"
        find = ["find", former, "-path", f"*{guest.name}*", "-name", "mine"]
        # A look at the hub's pages would count as the guest's activity.
        eventually(lambda: hub.machine.run(find, check=False).stdout, 120, "its deletion")
        with person(hub, "", trusted) as again:
            again.browser.cookies = guest.browser.cookies

            def is_forgotten() -> bool:
                return again.browser.get("/hub/api/user").status_code == 403

            # The files go first.
            eventually(is_forgotten, 30, "the guest to be forgotten")
        assert hub.machine.run(["stat", "--format=%U %a", former]).stdout == "root 700\n"
