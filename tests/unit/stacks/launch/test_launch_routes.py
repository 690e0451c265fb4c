"""A real hub: by whatever route a start is asked for, only what its owner has approved starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest

from littlest_hub.doctor.findings import OK
from littlest_hub.doctor.journal import JournalEntry
from littlest_hub.doctor.servers import failed_starts
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.layout import Layout
from littlest_hub.stacks.launch.configuration import Configuration
from littlest_hub.stacks.launch.records import Records
from littlest_hub.stacks.launch.settings import OPTION
from tests.eventually import eventually
from tests.network import free_port
from tests.unit.hub import hub_program
from tests.unit.hub.hub_program import xsrf

CONFIGURATION = Configuration(
    "https://github.com/org/repo", "main", "0123456789" * 4, name="course", memory_mb=2048
)


@dataclass
class Hub:
    """A hub, and what people have approved at it."""

    directory: Path
    url: str = ""
    browsers: dict[str, httpx.Client] = field(default_factory=dict)

    def approve(self, who: str, configuration: Configuration = CONFIGURATION) -> str:
        directory = Layout(self.directory).stack_data("launch")
        return Records(directory, who, "2026-01-01").approve(configuration)

    def browser(self, name: str) -> httpx.Client:
        """Return the browser of somebody who is logged in."""
        if name not in self.browsers:
            self.browsers[name] = found = httpx.Client(
                base_url=self.url,
                follow_redirects=True,
                timeout=60,
                trust_env=False,
                headers={"Sec-Fetch-Site": "same-origin"},
            )
            data = {"username": name, "_xsrf": xsrf(found.get("/hub/login"))}
            assert found.post("/hub/login?next=/hub/home", data=data).is_success
        return self.browsers[name]

    def started(self, owner: str, server: str = "course") -> bool:
        return (self.directory / f"{owner}:{server}").exists()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    found = Hub(tmp_path_factory.mktemp("hub"))
    (found.directory / "state").mkdir()
    program = Path(__file__).with_name("spawning_hub.py")
    with hub_program.running(program, free_port(), found.directory) as found.url:
        yield found


def by_page(hub: Hub, owner: str, id: str) -> httpx.Response:
    return hub.browser(owner).get(f"/hub/spawn/{owner}/course", params={OPTION: id})


def by_api(hub: Hub, owner: str, id: str, who: str = "") -> httpx.Response:
    browser = hub.browser(who or owner)
    headers = {
        "X-XSRFToken": xsrf(browser.get("/hub/home")),
        "Sec-Fetch-Mode": "cors",
    }
    body = {"user_options": {OPTION: id}}
    path = f"/hub/api/users/{owner}/servers/course"
    return browser.post(path, json=body, headers=headers)


def by_administrator(hub: Hub, owner: str, id: str) -> httpx.Response:
    hub.browser(owner)  # the user has to exist
    return by_api(hub, owner, id, "boss")


Route = Callable[[Hub, str, str], httpx.Response]
ROUTES = [by_page, by_api, by_administrator]


@pytest.mark.parametrize("ask", ROUTES)
def test_what_its_owner_has_not_approved_does_not_start(hub: Hub, ask: Route) -> None:
    owner = f"not-{ask.__name__}".replace("_", "-")
    others = hub.approve("mallory", replace(CONFIGURATION, minutes=60))
    of_boss = hub.approve("boss")
    for id in ("0" * 64, others, of_boss):
        answer = ask(hub, owner, id)
        assert f"has approved no configuration {id}" in answer.text, answer.text
        assert not hub.started(owner)
    assert ask(hub, owner, "rm -rf /").status_code == 400
    assert not hub.started(owner)


@pytest.mark.parametrize("ask", ROUTES)
def test_what_its_owner_has_approved_starts(hub: Hub, ask: Route) -> None:
    owner = f"has-{ask.__name__}".replace("_", "-")
    id = hub.approve(owner)
    ask(hub, owner, id)
    eventually(lambda: hub.started(owner), 20, "the server to start")
    assert id in (hub.directory / f"{owner}:course").read_text()


def test_statistics_read_which_repository_a_server_has_and_nobody_else_does(hub: Hub) -> None:
    private = replace(CONFIGURATION, repository="https://github.com/ada/diary", private=True)
    usual = "/hub/api/users/una/server"
    una = hub.browser("una")
    headers = {"X-XSRFToken": xsrf(una.get("/hub/home")), "Sec-Fetch-Mode": "cors"}
    assert una.post(usual, headers=headers).is_success
    for owner, configuration in (("lea", CONFIGURATION), ("pia", private)):
        by_api(hub, owner, hub.approve(owner, configuration))
    headers = {"Authorization": "token that-of-the-service-that-counts"}
    with httpx.Client(base_url=hub.url, trust_env=False) as service:

        def environments() -> dict[str, dict[str, str]]:
            answer = service.get("/hub/api/stats/environments", headers=headers)
            found: dict[str, dict[str, str]] = answer.json()["environments"]
            assert found["lea"] == {"course": "github.com/org/repo"}
            return found

        found = eventually(environments, 20, "the environment of a server")
        assert found["pia"] == {"course": "private repositories"}
        assert found["una"] == {}
        assert "diary" not in str(found)
        text = service.get("/hub/metrics", headers=headers).text
        assert 'littlest_hub_environment_servers{environment="github.com/org/repo"}' in text
        assert 'environment="the hub\'s own"' in text
    assert una.get("/hub/api/stats/environments").status_code == 403


def test_doctor_calls_a_refused_start_no_failure_and_says_why(hub: Hub) -> None:
    by_api(hub, "nina", "0" * 64)
    layout = Layout(hub.directory)
    snapshot = Snapshot(layout)
    entries = [
        JournalEntry(number, layout.hub_service, "python3", line, 3)
        for number, line in enumerate((hub.directory / "log").read_text().splitlines())
    ]
    snapshot.__dict__.update(journal=entries, is_foreground=False)
    (found,) = (each for each in failed_starts(snapshot) if each.subject == "nina's server")
    assert found.severity == OK
    reason, meaning = found.text.splitlines()
    assert reason.endswith(
        f": This launch is refused: nina has approved no configuration {'0' * 64}"
    )
    assert meaning.startswith("nothing has failed")
