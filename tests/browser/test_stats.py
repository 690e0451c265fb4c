"""Statistics in a browser: pictures, tables behind them, and who may see which."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, Keys

from tests.browser.conftest import open_browser
from tests.browser.pages import (
    assert_accessible,
    assert_fits,
    errors,
    fill,
    follow,
    keep,
    shown,
)
from tests.hub import Hub
from tests.machine import Machine
from tests.stats_hub import (
    ADMIN_PASSWORD,
    PASSWORD,
    await_servers,
    enable,
    figures,
    people_fragment,
    write_past,
)

pytestmark = pytest.mark.long

NO_MOTION = "* { transition: none !important; }"


@pytest.fixture(scope="module")
def hub(installer: Path) -> Iterator[Hub]:
    """A hub with a week of figures, and three servers that run now."""
    with Machine("bookworm") as machine:
        hub = Hub.install(machine, installer)
        hub.write_fragment("50-people.py", people_fragment())
        enable(hub)
        write_past(hub, days=7, step_s=300)
        yield hub


def log_in(hub: Hub, browser: Chrome, name: str, password: str) -> None:
    browser.get(f"{hub.url}/hub/login?next=/hub/home")
    fill(browser, username=name, password=password)
    shown(browser, "#login_submit").click()
    shown(browser, "#start, #stop")


def look_at(browser: Chrome, name: str) -> None:
    """Assert that the page is usable on a phone and on a desktop."""
    still = "document.head.append(Object.assign(document.createElement('style'), arguments[0]))"
    assert errors(browser) == []
    browser.execute_script(still, {"textContent": NO_MOTION})
    for width in (360, 1280):
        height = 3200 if width == 360 else 2400
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        keep(browser, f"stats-{name}-{width}")
        assert_fits(browser, width)
        assert_accessible(browser)
        browser.execute_script("document.querySelectorAll('details').forEach(e => e.open = true)")
        assert_fits(browser, width)
        assert_accessible(browser)
        browser.execute_script("document.querySelectorAll('details').forEach(e => e.open = false)")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_an_administrator_sees_a_week_in_pictures_and_the_figures_behind_them(
    hub: Hub, browser: Chrome
) -> None:
    log_in(hub, browser, "boss", ADMIN_PASSWORD)
    with (
        hub.logged_in("boss", ADMIN_PASSWORD) as boss,
        hub.logged_in("student001", PASSWORD) as one,
        hub.logged_in("student002", PASSWORD) as two,
        hub.logged_in("student003", PASSWORD) as three,
    ):
        for each in (one, two, three):
            each.start_server()
        await_servers(boss, 3)
        follow(browser, "Statistics")
        shown(browser, "#part-servers svg")
        assert browser.title == "The hub · Statistics"
        look_at(browser, "hub-day")
        shown(browser, "#periods a[href*='period=hour']").send_keys(Keys.ENTER)
        assert "the most is 3 at" in shown(browser, "#part-servers figcaption").text
        assert "Servers now\n3" in shown(browser, "#summary").text
        look_at(browser, "hub-hour")
        for period in ("week", "month", "term", "year"):
            shown(browser, f"#periods a[href*='period={period}']").send_keys(Keys.ENTER)
            shown(browser, f"#periods a[aria-current][href*='period={period}']")
            look_at(browser, f"hub-{period}")
        shown(browser, "#periods a[href*='period=week']").send_keys(Keys.ENTER)
        shown(browser, "#periods a[aria-current][href*='period=week']")
        described = shown(browser, "#part-servers figcaption").text
        assert "Nothing was counted for" in described, "the hub was down on one day"
        assert browser.find_elements("css selector", "#part-servers rect.gap")
        week = figures(boss, "hub", period="week")["parts"]
        assert len(week["people"]) >= 12
        assert week["people"][0]["memory_bytes"] > 10**8
        # Each picture has its figures in a table.
        drawn = ("servers", "memory", "processors", "active", "starts", "durations")
        for part in (*drawn, "environments"):
            summary = shown(browser, f"#part-{part} summary")
            summary.send_keys(Keys.ENTER)
            rows = browser.find_elements("css selector", f"#part-{part} tbody tr")
            assert len(rows) == len(week[part]), part
        shown(browser, "#part-groups a[href*='group=physics']").send_keys(Keys.ENTER)
        shown(browser, "#part-people")
        assert "Group physics" in shown(browser, "h1").text
        look_at(browser, "group-week")


def test_an_instructor_sees_the_own_group_and_no_other(hub: Hub, browser: Chrome) -> None:
    log_in(hub, browser, "ina", PASSWORD)
    follow(browser, "Statistics")
    shown(browser, "#part-groups")
    text = shown(browser, "main").text
    assert "physics" in text
    assert "chemistry" not in text
    look_at(browser, "groups-instructor")
    shown(browser, "#part-groups a[href*='group=physics']").send_keys(Keys.ENTER)
    shown(browser, "#part-people")
    look_at(browser, "group-instructor")
    browser.get(f"{hub.url}/services/stats/group?group=chemistry")
    assert "You may not see the figures of this group" in shown(browser, "[role=alert]").text
    browser.get(f"{hub.url}/services/stats/hub")
    assert "Only administrators" in shown(browser, "[role=alert]").text


def test_a_student_sees_own_figures_and_what_is_stored(hub: Hub, browser: Chrome) -> None:
    log_in(hub, browser, "student005", PASSWORD)
    follow(browser, "Statistics")
    shown(browser, "#stored")
    text = shown(browser, "main").text
    assert "Your figures, student005" in text
    assert "What is stored about you" in text
    assert "student001" not in text
    look_at(browser, "me-month")
    stored = shown(browser, "#stored a").get_attribute("href")
    browser.get(str(stored))
    text = shown(browser, "body").text
    assert '"name": "student005"' in text
    assert '"hours": [{"time_s":' in text
    browser.get(f"{hub.url}/services/stats/hub")
    assert "Only administrators" in shown(browser, "[role=alert]").text
    look_at(browser, "refused")


def test_nobody_sees_figures_without_a_login(hub: Hub, tmp_path: Path) -> None:
    with open_browser(hub, tmp_path) as browser:
        browser.get(f"{hub.url}/services/stats/me")
        shown(browser, "#login_submit")
