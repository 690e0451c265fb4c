"""Repositories become servers, as people see it, and as other sites would like it to be."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from html import escape
from pathlib import Path
from urllib.parse import quote

import pytest
from selenium.webdriver import Keys

from littlest_hub.stacks.launch.builder.units import build_unit
from tests.browser.launching import DECIDE, PROBLEM, OtherSite, Visitor, visiting
from tests.browser.pages import fill, follow, shown
from tests.eventually import eventually
from tests.hub import Hub
from tests.launch_machine import PACKAGES, START, LaunchMachine, launch_machine
from tests.machine import Machine

PEOPLE = "c.Authenticator.allow_all = True\n"
SURROUNDINGS = {
    "TITLE": "Physics Hub",
    "DOCUMENTATION": {"About launching": "https://physics.example.org/launch"},
    "CREDITS": {"The Institute": "https://physics.example.org/", "Somebody": ""},
    "HUBS": {"Chemistry Hub": "https://chemistry.example.org/"},
}
ASK_NEVER = "#never-commit"
COMPLETE = "return document.readyState === 'complete'"


@pytest.fixture(scope="module")
def launch(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaunchMachine]:
    """A hub where everybody may launch, and a package `alpha` in two versions."""
    with Machine("bookworm", packages=PACKAGES) as machine:
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "alice"})
        hub.write_fragment("50-people.py", PEOPLE)
        directory = tmp_path_factory.mktemp("launch")
        with launch_machine(hub, directory, values=SURROUNDINGS) as found:
            for version in ("1.0", "2.0"):
                found.wheel("alpha", version)
            yield found


@pytest.fixture
def arguments() -> list[str]:
    """Additional command line arguments for the browser."""
    return []


@pytest.fixture
def mia(launch: LaunchMachine, tmp_path: Path, arguments: list[str]) -> Iterator[Visitor]:
    """A new user, who is not logged in."""
    with visiting(launch, tmp_path, arguments) as visitor:
        yield visitor


@pytest.fixture
def other_site(launch: LaunchMachine) -> Iterator[OtherSite]:
    site = OtherSite(launch.hub)
    yield site
    site.close()


def course(launch: LaunchMachine, name: str, requirements: str = "alpha==1.0\n") -> str:
    """Make a repository with a notebook, and return the name of its commit."""
    files = {"requirements.txt": requirements, "start.ipynb": START}
    return launch.repository(name, files).git("rev-parse", "main")


def test_a_form_becomes_a_notebook_that_imports_the_packages_of_its_repository(
    launch: LaunchMachine, mia: Visitor
) -> None:
    commit = course(launch, "course")
    goes_on = launch.index.hold("alpha-1.0-py3-none-any.whl")
    mia.log_in()
    with mia.leaving():
        follow(mia.browser, "Launch")
    fill(mia.browser, repo=f"{launch.url}course", ref="main", path="start.ipynb", name="week1")
    mia.press("#own button")
    page = mia.text()
    assert commit in page
    assert f"{launch.url}course" in page
    mia.approve()
    shown(mia.browser, ".log")
    # The log is there while the environment is built.
    assert launch.index.wait_for_held(60)
    eventually(lambda: "resolving" in mia.text(".log"), 30, "the log")
    goes_on.set()
    assert mia.answer("week1", "import alpha; print(alpha.VERSION)") == "1.0"


@pytest.mark.long
def test_a_commit_that_changes_a_notebook_builds_nothing(
    launch: LaunchMachine, mia: Visitor
) -> None:
    repository = launch.repository("notes", {"requirements.txt": "alpha\n", "start.ipynb": START})
    link = mia.link("notes", path="start.ipynb")
    mia.log_in()
    mia.open(link)
    mia.approve()
    shown(mia.browser, "#jp-main-dock-panel", timeout_s=90)
    before = launch.built()
    notebook = {**json.loads(START), "metadata": {}}
    repository.commit({"requirements.txt": "alpha\n", "start.ipynb": json.dumps(notebook)})
    begun_s = time.monotonic()
    mia.open(link)
    mia.approve()
    shown(mia.browser, "#jp-main-dock-panel", timeout_s=60)
    assert time.monotonic() - begun_s < 20
    assert launch.built() == before
    names = [name for name, is_running in mia.servers().items() if is_running]
    assert len(names) == 2, "a launch without a name makes another server"


@pytest.mark.long
def test_binders_own_link_leads_through_the_login_to_the_notebook(
    launch: LaunchMachine, mia: Visitor, other_site: OtherSite
) -> None:
    commit = course(launch, "from-binder")
    binder = f"{mia.hub.url}/v2/git/{quote(f'{launch.url}from-binder', safe='')}/main"
    page = other_site.page(f'<a id="x" href="{binder}?labpath=start.ipynb">Open in Binder</a>')
    mia.open(page)
    mia.press("#x")
    mia.fill_in_login()
    assert commit in mia.text("#launch")
    assert other_site.host in mia.text("#source")
    assert "start.ipynb" in mia.text("dl")
    mia.approve()
    shown(mia.browser, ".jp-Notebook .cm-content", timeout_s=90)
    assert "/lab/tree/start.ipynb" in mia.browser.current_url


@pytest.mark.long
@pytest.mark.parametrize("is_secure", [False, True], ids=["plain HTTP", "as with HTTPS"])
def test_a_page_of_another_site_starts_nothing(
    launch: LaunchMachine,
    tmp_path: Path,
    other_site: OtherSite,
    is_secure: bool,
) -> None:
    """Over plain HTTP, a browser sends no Sec-Fetch-Site; with this argument, it does."""
    secure = f"--unsafely-treat-insecure-origin-as-secure={launch.hub.url}"
    name = f"evil-{'https' if is_secure else 'http'}"
    commit = course(launch, name)
    with visiting(launch, tmp_path, [secure] if is_secure else []) as mia:
        mia.log_in()
        link = mia.link(name, name="evil")
        # Nothing is asked about this one any more: the other site may only open it, as mia would.
        unasked = mia.link(name, name="quiet")
        mia.open(unasked)
        shown(mia.browser, ASK_NEVER).click()
        mia.approve()
        mia.in_lab("quiet")
        mia.stop("quiet")

        hub = mia.hub.url
        options = f"opt-launch={'0' * 64}&launch={'0' * 64}"
        spawn = f"{hub}/hub/spawn/{mia.name}/evil?{options}"
        fields = {"repo": f"{launch.url}{name}", "name": "evil", "commit": commit}
        inputs = "".join(
            f'<input name="{key}" value="{escape(value)}">'
            for key, value in {**fields, "decision": "launch", "_xsrf": "x"}.items()
        )
        address = f"{hub}/services/launch/launch"
        evil = other_site.page(
            f'<form id="post" method="post" action="{address}">{inputs}</form>'
            f'<form id="start" method="post" action="{spawn}"><input name="launch"></form>'
            f'<a id="spawn" href="{spawn}">x</a>'
            f'<img src="{escape(unasked)}"><img src="{escape(spawn)}">'
            f'<iframe src="{escape(unasked)}"></iframe><object data="{escape(unasked)}"></object>'
            f'<script>fetch("{hub}/hub/api/users/{mia.name}/servers/evil", {{method: "POST",'
            ' mode: "no-cors", credentials: "include", headers: {"Content-Type": "text/plain"},'
            f' body: JSON.stringify({{user_options: {{launch: "{"0" * 64}"}}}})}});</script>'
        )
        goes_there = other_site.page(f"<script>location = {json.dumps(link)}</script>", "/auto")
        spawns = other_site.page(f"<script>location = {json.dumps(spawn)}</script>", "/spawn")

        mia.open(goes_there)
        assert other_site.host in mia.text("#source")
        shown(mia.browser, DECIDE.format("launch"))
        mia.open(spawns)
        shown(mia.browser, "a#start, .error")
        mia.open(evil)
        eventually(lambda: mia.browser.execute_script(COMPLETE), 30, "images and frames")
        for form, what in (("post", "#launch .alert-danger, .error"), ("start", ".error")):
            mia.open(evil)
            with mia.leaving():
                mia.browser.execute_script(f"document.getElementById('{form}').submit()")
            shown(mia.browser, what)
        assert mia.servers() == {"quiet": False}


@pytest.mark.long
def test_the_api_starts_only_what_its_owner_has_approved(
    launch: LaunchMachine, mia: Visitor, tmp_path: Path
) -> None:
    course(launch, "owned")
    mia.log_in()
    mia.open(mia.link("owned", name="owned"))
    mia.approve()
    mia.in_lab("owned")
    mia.servers()
    model = json.loads(mia.api(f"/users/{mia.name}").partition(" ")[2])
    theirs = model["servers"]["owned"]["user_options"]["launch"]
    with visiting(launch, tmp_path / "bob") as bob:
        bob.log_in()
        path = f"/users/{bob.name}/servers/mine"
        for id in ("0" * 64, theirs):
            answer = bob.api(path, {"user_options": {"launch": id}})
            assert f"{bob.name} has approved no configuration {id}" in answer
        answer = bob.api(f"/users/{mia.name}/servers/owned2", {})
        assert answer.startswith(("403", "404"))
        assert not any(bob.servers().values())


@pytest.mark.long
def test_only_the_identical_launch_is_not_asked_about_again(
    launch: LaunchMachine, mia: Visitor
) -> None:
    course(launch, "again")
    link = mia.link("again", name="again")
    mia.log_in()
    mia.open(link)
    shown(mia.browser, ASK_NEVER).click()
    mia.approve()
    mia.in_lab("again")
    mia.stop("again")
    for other in ({"path": "start.ipynb"}, {"name": "again2"}, {"as_of": "2026-05-01"}):
        mia.open(mia.link("again", **{"name": "again", **other}))
        shown(mia.browser, "#decide")
    mia.open(link)
    mia.in_lab("again")
    mia.open(f"{mia.hub.url}/services/launch/")
    assert "1 launch starts without a question" in mia.text()
    mia.press("form[action$='ask-again'] button")
    mia.stop("again")
    mia.open(link)
    shown(mia.browser, "#decide")


@pytest.mark.long
def test_a_server_that_is_there_is_kept_updated_or_left_beside_another_one(
    launch: LaunchMachine, mia: Visitor
) -> None:
    first = {"requirements.txt": "alpha==1.0\n", "start.ipynb": START, "data.txt": "one"}
    repository = launch.repository("reuse", first)
    second = {**first, "requirements.txt": "alpha==2.0\n", "data.txt": "two", "new.txt": "new"}
    commit = repository.commit(second, "second")
    link = mia.link("reuse", ref="main", path="start.ipynb", name="proj")
    changed = mia.link("reuse", ref="second", path="start.ipynb", name="proj")
    mia.log_in()

    mia.open(link)
    mia.approve()
    cell = "print(sum(open(each, 'a').write('mine') for each in ('mine.txt', 'data.txt')))"
    assert mia.answer("proj", cell) == "8"
    mia.stop("proj")
    mia.open(link)
    assert "You have this server already" in mia.text("#same")
    mia.look("same")
    mia.approve()
    mia.in_lab("proj")
    assert "mine.txt" in mia.files()

    mia.open(changed)
    text = mia.text("#changed")
    assert "main becomes second" in text
    mia.look("changed")
    mia.press("#decide a.btn-primary")
    mia.in_lab("proj")
    assert "new.txt" not in mia.files()

    mia.open(changed)
    mia.approve("another")
    assert mia.answer("proj-2", "import alpha; print(alpha.VERSION)") == "2.0"
    assert {"new.txt", "data.txt"} < {*mia.files()}
    assert "mine.txt" not in mia.files()

    mia.open(changed)
    mia.approve("update")
    assert mia.answer("proj", "import alpha; print(alpha.VERSION, open('data.txt').read())") == (
        "2.0 onemine"
    )
    files = mia.files()
    assert {"mine.txt", "new.txt", f"data.txt.upstream-{commit[:12]}"} < {*files}, files

    shutil.rmtree(repository.directory)
    mia.stop("proj")
    mia.open(changed)
    assert "You have launched proj before" in mia.text("#again")
    mia.look("gone")
    mia.press("#again button", to_log=True)
    mia.in_lab("proj")
    assert "mine.txt" in mia.files()


@pytest.mark.long
def test_what_this_hub_cannot_make_is_said_before_a_build(
    launch: LaunchMachine, mia: Visitor
) -> None:
    apt = {"apt.txt": "# for sounds\nfluidsynth\n", "Dockerfile": "FROM debian\n"}
    launch.repository("unsupported", {**apt, "requirements.txt": "alpha\n"})
    launch.repository("docker", {"Dockerfile": "FROM debian\n"})
    mia.log_in()
    mia.open(mia.link("unsupported"))
    text = mia.text()
    for each in ("apt.txt:2", "fluidsynth", "Dockerfile"):
        assert each in text
    mia.look("unsupported")
    mia.open(mia.link("docker"))
    assert "Dockerfile" in mia.text("#refused")
    assert not mia.has("#decide")
    mia.look("refused")
    mia.open(mia.link("no-such-repository"))
    assert "no-such-repository" in mia.text(".alert-danger")
    mia.look("no-repository")
    mia.open(mia.link("unsupported", name="No Name", as_of="yesterday", path="../x"))
    assert "yesterday" in mia.text("#as_of-problem")
    mia.look("wrong-form")
    assert mia.servers() == {}


@pytest.mark.long
def test_pins_that_conflict_are_named_and_leave_nothing(
    launch: LaunchMachine, mia: Visitor
) -> None:
    launch.index.add("beta", requires=["gamma<2"])
    launch.index.add("gamma", "2.0")
    launch.repository("impossible", {"requirements.txt": "gamma==2.0\nbeta==1.0\n"})
    mia.log_in()
    before = launch.built()
    mia.open(mia.link("impossible"))
    mia.approve()
    text = shown(mia.browser, PROBLEM, timeout_s=60).text
    for each in ("beta==1.0", "gamma<2", "gamma==2.0"):
        assert each in text
    mia.look("conflict")
    assert launch.built() == before
    assert launch.unfinished() == []
    assert mia.servers() == {}


@pytest.mark.long
def test_an_old_commit_gets_versions_of_its_day_if_somebody_wants_them(
    launch: LaunchMachine, mia: Visitor
) -> None:
    launch.index.add("delta", "1.0")
    launch.index.add("delta", "2.0", uploaded="2026-01-01T00:00:00Z")
    course(launch, "old", "delta\n")
    mia.log_in()
    mia.open(mia.link("old", name="old", path="start.ipynb"))
    mia.press("dd a[href*='as_of=2023-11-14']")
    assert "as of 2023-11-14" in mia.text("dl")
    mia.approve()
    assert mia.answer("old", "import delta; print(delta.VERSION)") == "1.0"


@pytest.mark.long
def test_a_badge_on_another_site_leads_to_what_would_be_launched(
    launch: LaunchMachine, mia: Visitor, other_site: OtherSite
) -> None:
    commit = course(launch, "badge")
    mia.log_in()
    mia.open(mia.link("badge", path="start.ipynb", name="badge"))
    mia.press("a[href*='launch/links?']")
    snippets = {
        format: str(shown(mia.browser, f"#{format}").get_attribute("value"))
        for format in ("Markdown", "reStructuredText", "HTML")
    }
    assert snippets["Markdown"].startswith("[![launch on Physics Hub](")
    assert snippets["reStructuredText"].startswith(".. image:: ")
    mia.look("links")
    mia.open(other_site.page(snippets["HTML"]))
    picture = shown(mia.browser, "img")
    eventually(lambda: picture.size["height"] == 20 and picture.size["width"] > 100, 30, "a badge")
    mia.press("a")
    assert commit in mia.text("dl")
    assert other_site.host in mia.text("#source")
    mia.look("confirmation-source")
    other = shown(mia.browser, "a[href^='https://chemistry.example.org/services/launch/']")
    assert f"repo={quote(launch.url, safe='')}badge" in str(other.get_attribute("href"))


@pytest.mark.long
def test_a_launch_needs_no_mouse(launch: LaunchMachine, mia: Visitor) -> None:
    course(launch, "keyboard")
    held = launch.index.hold("epsilon-1.0-py3-none-any.whl")
    launch.wheel("epsilon")
    course(launch, "keyboard2", "epsilon\n")
    mia.log_in()
    mia.open(f"{mia.hub.url}/services/launch/")
    shown(mia.browser, "#own summary")
    mia.look("form")
    mia.tab_to("#own summary")
    mia.tab_to("#repo")
    mia.type(f"{launch.url}keyboard2")
    mia.tab_to("#name")
    mia.type("keys")
    mia.tab_to("#own button")
    with mia.leaving():
        mia.type(Keys.ENTER)
    shown(mia.browser, DECIDE.format("launch"))
    mia.look("confirmation")
    mia.tab_to("#ask")
    mia.tab_to("#decide button")
    with mia.leaving(to_log=True):
        mia.type(Keys.ENTER)
    assert launch.index.wait_for_held(60)
    eventually(lambda: "resolving" in mia.text(".log"), 30, "the log")
    mia.look("log", is_complete=False)
    mia.tab_to(".log")
    held.set()
    mia.in_lab("keys")


@pytest.mark.long
def test_a_launch_goes_on_after_the_service_and_the_build_were_killed(
    launch: LaunchMachine, mia: Visitor
) -> None:
    launch.wheel("zeta")
    course(launch, "killed", "zeta\n")
    held = launch.index.hold("zeta-1.0-py3-none-any.whl")
    mia.log_in()
    mia.open(mia.link("killed", name="killed", path="start.ipynb"))
    mia.approve()
    assert launch.index.wait_for_held(60)
    address = mia.browser.current_url

    kill = ("kill", "--kill-whom=all", "--signal=KILL")
    launch.machine.systemctl(*kill, build_unit(launch.layout, "*"))
    text = shown(mia.browser, PROBLEM, timeout_s=60).text
    assert "the build has been ended" in text
    mia.look("killed")
    mia.press(f"{PROBLEM} ~ p a.btn-primary", to_log=True)
    assert launch.index.wait_for_held(60)
    assert mia.browser.current_url == address

    service = launch.layout.stack_unit("launch", ".service")
    before = launch.hub.main_pid(service)
    launch.machine.systemctl(*kill, service)
    eventually(lambda: launch.hub.main_pid(service) != before, 30, "the end of the service")
    # The next request starts it again.
    mia.press("main a[href='']", to_log=True)
    eventually(lambda: "resolving" in mia.text(".log"), 30, "the log")
    assert mia.browser.current_url == address
    held.set()
    assert mia.answer("killed", "import zeta; print(zeta.VERSION)") == "1.0"
    assert launch.unfinished() == []
