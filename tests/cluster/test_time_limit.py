"""The end of a server's time on a cluster: the warning, and more time (`make test-cluster`)."""

import secrets
from collections.abc import Iterator
from datetime import datetime

import pytest
from selenium.webdriver import Chrome, Keys

from tests.browser.pages import errors, keep, shown
from tests.browser.test_notice import notice, notices, press
from tests.client import Person
from tests.eventually import eventually
from tests.hub import Hub
from tests.slurm import WHERE, Cluster

pytestmark = pytest.mark.long

PROLONG = "/hub/slurm/prolong"
SHORT = {"partition": "main", "hours": "0.2"}
ALLOWED = "c.SlurmSpawner.prolong_hours = {hours}\n"


@pytest.fixture
def short(cluster: Cluster, hub: Hub) -> Iterator[Person]:
    """A user whose server has 12 minutes, so it is about to end from its start on."""
    with cluster.person(hub, f"short{secrets.token_hex(2)}") as person:
        person.submit_form(SHORT)
        person.await_server(timeout_s=120)
        yield person


def limit_of(cluster: Cluster, user: str) -> str:
    listed = ["squeue", "--noheader", f"--user={user}", "--format=%l"]
    return cluster.head.run(listed).stdout.strip()


def told(person: Person) -> list[str]:
    found: list[str] = person.browser.get("/hub/announcement").json()["notices"]
    return found


def prolong(person: Person, **fields: str) -> int:
    """Press the button, whether or not it is there; return the status."""
    return person.browser.post(PROLONG, data=fields).status_code


def xsrf(person: Person) -> str:
    person.browser.get("/hub/home")
    return person._xsrf_token("/hub/")


def test_a_server_gets_more_time_up_to_the_limit_of_its_partition(
    cluster: Cluster, hub: Hub, short: Person
) -> None:
    where = short.run_cell(WHERE)
    job = where.split()[1]
    ends = ["squeue", "--noheader", f"--jobs={job}", "--format=%e"]
    at = datetime.fromisoformat(cluster.head.run(ends).stdout.strip())
    (text,) = told(short)
    assert text.startswith(f"Your server ends at {at:%H:%M} ")
    assert "prolong" not in text, "it is not allowed by default"
    assert "Prolong" not in short.browser.get("/hub/home").text
    assert prolong(short, _xsrf=xsrf(short)) == 409

    with hub.fragment("60-prolong.py", ALLOWED.format(hours=5)):
        eventually(lambda: "You may prolong it" in told(short)[0], 60, "the hub to know its limit")
        assert prolong(short) == 403, "another site knows no XSRF token"
        with cluster.person(hub, "other") as other:
            assert prolong(other, _xsrf=xsrf(other)) == 404, "it is somebody else's"
        assert prolong(short, _xsrf=xsrf(short), server="second") == 404
        assert limit_of(cluster, short.name) == "12:00"
        assert prolong(short, _xsrf=xsrf(short)) in (200, 302)
        assert limit_of(cluster, short.name) == "1:00:00", "MaxTime= of the partition"
        assert told(short) == []
        assert prolong(short, _xsrf=xsrf(short)) == 409, "it is not about to end any more"
        assert limit_of(cluster, short.name) == "1:00:00"
    assert short.run_cell(WHERE) == where


def test_a_job_cannot_prolong_itself_with_its_token(
    cluster: Cluster, hub: Hub, short: Person
) -> None:
    ask = (
        "import os, urllib.error, urllib.request\n"
        "request = urllib.request.Request(\n"
        f"    'http://head{PROLONG}', b'server=',\n"
        "    {'Authorization': 'token ' + os.environ['JUPYTERHUB_API_TOKEN']},\n"
        ")\n"
        "try:\n"
        "    print(urllib.request.urlopen(request).url)\n"
        "except urllib.error.HTTPError as error:\n"
        "    print(error.code)\n"
    )
    with hub.fragment("60-prolong.py", ALLOWED.format(hours=5)):
        assert short.run_cell(ask) == "403\n"
        assert limit_of(cluster, short.name) == "12:00"


def test_jupyterlab_says_when_the_server_ends_and_a_button_prolongs_it(
    cluster: Cluster, hub: Hub, browser: Chrome
) -> None:
    allowed = hub.fragment("60-prolong.py", ALLOWED.format(hours=0.5))
    # The server is stopped at the end, whatever the browser has come to.
    with allowed, cluster.person(hub, "lena") as lena:
        lena.submit_form(SHORT)
        lena.await_server(timeout_s=120)
        (job,) = cluster.jobs("lena")
        browser.get(f"{hub.url}/user/lena/lab")
        shown(browser, "#username_input").send_keys("lena")
        shown(browser, "#password_input").send_keys(lena.password, Keys.ENTER)
        shown(browser, ".jp-LauncherCard[data-category='Notebook']", timeout_s=120)
        assert "You may prolong it on the hub's page." in notice(browser, "Your server ends at")
        keep(browser, "slurm-end")
        lab = browser.current_window_handle
        press(browser, "Hub's page")
        (other,) = (each for each in browser.window_handles if each != lab)
        browser.switch_to.window(other)
        button = shown(browser, f"#ends-{job} button")
        assert button.text.startswith("Prolong until ")
        keep(browser, "slurm-prolong")
        button.click()
        eventually(lambda: limit_of(cluster, "lena") == "42:00", 30, "the new limit")
        shown(browser, "#stop")
        assert not browser.find_elements("css selector", f"#ends-{job}")
        browser.close()
        browser.switch_to.window(lab)
        browser.refresh()
        shown(browser, ".jp-LauncherCard[data-category='Notebook']", timeout_s=60)
        assert notices(browser, "Your server ends at") == []
        assert errors(browser) == []
