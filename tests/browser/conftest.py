"""A hub on a machine, and a real Chromium."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from tests.hub import Hub
from tests.machine import Machine

CHROMIUM = Path("/usr/bin/chromium")
CHROMEDRIVER = Path("/usr/bin/chromedriver")


@pytest.fixture(scope="module")
def hub(installer: Path) -> Iterator[Hub]:
    """A hub on Debian 12 whose only user, and administrator, is `alice`."""
    with Machine("bookworm") as machine:
        yield Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "alice"})


@pytest.fixture
def arguments() -> list[str]:
    """Additional command line arguments that a module's tests need for the browser."""
    return []


@contextmanager
def open_browser(
    hub: Hub, directory: Path, arguments: Sequence[str] = (), *, waits: bool = True
) -> Iterator[Chrome]:
    """Open a browser, which connects to nothing but the hub.

    It runs in the network of the hub's machine. In the host's network Chromium would cancel
    requests (ERR_NETWORK_CHANGED) whenever another test boots or removes a machine.

    Args:
        hub: the hub.
        directory: for its program and its profile.
        arguments: more of the command line.
        waits: False: each step returns before the page is complete, as tests need whose pages are
            sent bit by bit.
    """
    machine = hub.machine
    assert isinstance(machine, Machine)
    directory.mkdir(exist_ok=True)
    program = directory / "chromium"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(machine.in_network([str(CHROMIUM)]))} "$@"\n')
    program.chmod(0o755)
    options = ChromeOptions()
    options.binary_location = str(program)
    for argument in (
        "--headless=new",
        "--no-sandbox",  # the tests run as root, which Chromium's sandbox refuses
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--no-proxy-server",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1400,1000",
        "--remote-debugging-pipe",  # chromedriver is in another network
        f"--user-data-dir={directory / 'profile'}",
        *arguments,
    ):
        options.add_argument(argument)
    options.page_load_strategy = "normal" if waits else "none"
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = Chrome(options=options, service=ChromeService(str(CHROMEDRIVER)))
    try:
        yield chrome
    finally:
        chrome.quit()


@pytest.fixture
def browser(hub: Hub, tmp_path: Path, arguments: list[str]) -> Iterator[Chrome]:
    """A new browser."""
    with open_browser(hub, tmp_path, arguments) as chrome:
        yield chrome


@pytest.fixture(params=[1400, 400], ids=["desktop", "phone"])
def width(request: pytest.FixtureRequest, browser: Chrome) -> int:
    """Width in pixels of the screen, which the browser has from now on."""
    screen = {"width": request.param, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    return int(request.param)
