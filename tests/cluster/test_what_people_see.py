"""The pages that somebody sees, from the form to a notebook on a node (`make test-cluster`)."""

import secrets

import pytest
from selenium.webdriver import Chrome, Keys

from tests.browser.pages import answer_to, errors, keep, shown
from tests.eventually import eventually
from tests.hub import Hub
from tests.slurm import Cluster

pytestmark = pytest.mark.long

CELL = "import os, socket; socket.gethostname() + ' ' + os.environ['SLURM_JOB_ID']"


def test_a_form_a_queue_and_jupyterlab_on_a_node(
    cluster: Cluster, hub: Hub, browser: Chrome
) -> None:
    password = secrets.token_urlsafe()
    cluster.add_user("anna", password)
    with cluster.filled() as filler:
        browser.get(hub.url)
        shown(browser, "#username_input").send_keys("anna")
        shown(browser, "#password_input").send_keys(password, Keys.ENTER)
        hours = shown(browser, "#slurm-hours")
        keep(browser, "slurm-form")
        assert "main: up to 1 h, 2 processors, 2 GB" in shown(browser, "#slurm-partition").text
        hours.clear()
        hours.send_keys("0.5", Keys.ENTER)
        waits = "waits in the queue: all machines are in use"
        eventually(lambda: waits in shown(browser, "#progress-message").text, 60, "the reason")
        keep(browser, "slurm-queue")
        (job,) = cluster.jobs("anna")
        cluster.cancel(filler)
    shown(browser, ".jp-LauncherCard[data-category='Notebook']", timeout_s=120).click()
    node, number = answer_to(browser, CELL).strip("'").split()
    keep(browser, "slurm-notebook")
    assert (node in cluster.names, number) == (True, job)
    assert errors(browser) == []
    cluster.cancel(job)
