"""The launch stack on a machine: enabled, configured, disabled, removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from littlest_hub.stacks.launch.builder.units import user_of
from tests.archives import HOSTS, Archives, zipped
from tests.client import hidden_fields, visible_text
from tests.container.conftest import EVERYBODY
from tests.eventually import eventually
from tests.hub import Hub
from tests.launch_machine import PACKAGES, PAGE, START, LaunchMachine, launch_machine, serving
from tests.machine import Machine

pytestmark = pytest.mark.needs("git")
PERMISSIONS = "littlest-hub.launch-permissions.service"
PATH = "/opt/littlest-hub/jupyterhub_config.d/65-launch.py"


@pytest.fixture(scope="module")
def launching(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaunchMachine]:
    with Machine("bookworm", packages=PACKAGES) as machine:
        hub = Hub.install(machine, installer)
        hub.write_fragment("20-everybody.py", EVERYBODY)
        with launch_machine(hub, tmp_path_factory.mktemp("launching")) as found:
            found.wheel("colors", colors="RED = 'red'\n")
            found.repository("course", {"requirements.txt": "colors\n", "start.ipynb": START})
            yield found


@pytest.fixture
def archives(launching: LaunchMachine, tmp_path: Path) -> Iterator[Archives]:
    """doi.org and Zenodo as the machine sees them, with one record."""
    machine = launching.machine
    assert isinstance(machine, Machine)
    found = Archives("https://zenodo.org")
    files = {"waves-1.0/requirements.txt": "colors\n", "waves-1.0/start.ipynb": START}
    found.zenodo(4711, {"waves-1.0.zip": zipped(files)}, title="Waves & tides")
    found.save(tmp_path / "answers.json")
    changed = ("/etc/hosts", "/etc/git-ca.pem")
    before = {path: machine.read(path) for path in changed}
    with serving(machine, "tests.archives", str(tmp_path), "127.0.0.3"):
        added = f"127.0.0.3 {' '.join(HOSTS)}\n", (tmp_path / "ca.pem").read_text()
        for path, text in zip(changed, added, strict=True):
            machine.put(path, before[path] + text)
        try:
            yield found
        finally:
            for path, text in before.items():
                machine.put(path, text)


def users(machine: LaunchMachine) -> str:
    return machine.machine.run(["getent", "passwd", user_of(machine.layout)], check=False).stdout


def test_a_link_becomes_a_server_that_has_the_packages_of_the_repository(
    launching: LaunchMachine,
) -> None:
    with (
        launching.hub.person() as alice,
        launching.launched(alice, "course", path="start.ipynb") as log,
    ):
        assert "Starting course … The server course is starting." in log
        with alice.open_kernel(server="course") as kernel:
            assert kernel.run("import colors; print(colors.RED, end='')") == "red"
        page = launching.opened(alice, "course", path="start.ipynb")
        assert page.url.path == f"/user/{alice.name}/course/lab/tree/start.ipynb"


def test_two_people_share_one_environment_and_other_servers_do_not_see_it(
    launching: LaunchMachine,
) -> None:
    launching.repository("shared", {"requirements.txt": "colors\n"})
    with (
        launching.hub.person() as alice,
        launching.hub.person() as bob,
        launching.launched(alice, "shared"),
    ):
        before = launching.built()
        with launching.launched(bob, "shared") as log:
            assert "nothing was built" in log
        assert launching.built() == before
        bob.start_server()
        cell = f"import subprocess; print(subprocess.getoutput('ls {launching.place.built}'))"
        assert bob.run_cell(cell).endswith("Permission denied\n")


@pytest.mark.long
def test_a_link_of_binder_to_a_doi_becomes_a_server(
    launching: LaunchMachine, archives: Archives
) -> None:
    with launching.hub.person() as alice:
        link = "/v2/zenodo/10.5281/zenodo.4711/"
        page = alice.browser.get(link, params={"labpath": "start.ipynb"}, timeout=60)
        said = visible_text(page)
        assert "Waves & tides (Software), at https://zenodo.org/records/4711" in said
        assert "unpacked from waves-1.0.zip" in said
        form = {"repo": link.removeprefix("/v2/"), "path": "start.ipynb"}
        with launching.launched(alice, "waves", **form) as log:
            assert "Starting waves …" in log
            with alice.open_kernel(server="waves") as kernel:
                home = "os.path.expanduser('~/launch/waves')"
                found = kernel.run(f"import colors, os; print(*sorted(os.listdir({home})))")
                assert found.split() == [".littlest-hub", "requirements.txt", "start.ipynb"]
            same = launching.opened(alice, "waves", **form)
            assert same.url.path == f"/user/{alice.name}/waves/lab/tree/start.ipynb"


def test_doctor_finds_nothing_wrong_with_the_stack(launching: LaunchMachine) -> None:
    lines = launching.command("doctor", "--all", check=False).stdout.splitlines()
    about = [
        line.strip() for line in lines if "launch" in line and not line.strip().startswith("$")
    ]
    wrong = [line for line in about if not line.startswith("ok ")]
    # A container has no packet filter.
    assert [
        line for line in wrong if "in a container, systemd filters no packets" not in line
    ] == []
    assert "ok       launch: git, uv and py-rattler are there" in about


def test_a_wrong_value_is_refused_with_its_line_and_changes_nothing(
    launching: LaunchMachine,
) -> None:
    settings = str(launching.layout.stacks / "launch/resolver.json")
    before, text = launching.machine.read(settings), launching.machine.read(PATH)
    launching.machine.put(PATH, text.replace("127.0.0.0/8", "127.0.0.0/80"))
    try:
        assert launching.hub.reload(check=False).returncode != 0
        said = launching.command("check", check=False).stdout
        line = text.splitlines().index("NETWORKS = ['127.0.0.0/8']") + 1
        assert f"{PATH}:{line}: NETWORKS: '127.0.0.0/80' is no network" in said
        launching.machine.systemctl("start", "--wait", PERMISSIONS, check=False)
        assert launching.machine.read(settings) == before
    finally:
        launching.machine.put(PATH, text)
    launching.hub.reload()


def test_a_banned_repository_is_refused_as_soon_as_the_fragment_says_so(
    launching: LaunchMachine,
) -> None:
    launching.repository("banned", {"requirements.txt": "colors\n"})
    with launching.hub.person() as alice:
        assert "Launch banned?" in launching.opened(alice, "banned").text
        launching.configure(BANNED=["*/banned"])
        try:
            refused = launching.opened(alice, "banned").text
        finally:
            launching.configure(BANNED=[])
    assert "this hub does not launch this repository" in refused


def test_a_fragment_that_is_saved_many_times_in_a_row_is_still_followed(
    launching: LaunchMachine,
) -> None:
    text = launching.machine.read(PATH)

    def settings() -> str:
        return launching.machine.read(str(launching.layout.stacks / "launch/resolver.json"))

    def save(pattern: str) -> None:
        launching.machine.put(PATH, text.replace("BANNED = []", f"BANNED = ['{pattern}']"))
        eventually(lambda: pattern in settings(), 30, f"{pattern} in the settings")

    try:
        for number in range(8):
            save(f"*/banned-{number}")
    finally:
        launching.machine.put(PATH, text)
    eventually(lambda: "banned-" not in settings(), 30, "the settings of before")


def test_only_members_of_the_group_of_the_fragment_may_launch(launching: LaunchMachine) -> None:
    link = 'href="/services/launch/"'
    groups = "c.JupyterHub.load_groups = {'physics': {'users': []}}\n"
    with launching.hub.person() as alice, launching.hub.fragment("21-groups.py", groups):
        assert alice.browser.get("/hub/home").text.count(link) == 1
        launching.configure(GROUP="physics")
        try:
            assert link not in alice.browser.get("/hub/home").text
            assert launching.opened(alice, "course").status_code == 403
        finally:
            launching.configure(GROUP="")
        assert "Launch course?" in launching.opened(alice, "course").text


@pytest.mark.long
def test_whoever_frees_the_disk_may_remove_the_files_of_repositories(
    launching: LaunchMachine,
) -> None:
    launching.repository("freed", {"requirements.txt": "colors\n", "start.ipynb": START})
    cache = str(launching.layout.stack_cache("launch"))
    with launching.hub.person() as alice:
        with launching.launched(alice, "freed"):
            launching.machine.run(["rm", "-rf", cache])
        # The service still runs, with the directory that is gone in its view.
        assert "were removed from this machine" in launching.launch(alice, "freed")
        with launching.launched(alice, "freed") as log:
            assert "The server freed is starting." in log
        launching.machine.systemctl("stop", "littlest-hub.launch.service")
        launching.machine.run(["rm", "-rf", cache])
        launching.repository("freed-2", {"requirements.txt": "colors\n"})
        with launching.launched(alice, "freed-2") as log:
            assert "The server freed-2 is starting." in log


@pytest.mark.long
def test_a_restored_hub_has_what_people_approved_with_the_versions_of_then(
    launching: LaunchMachine,
) -> None:
    launching.wheel("shades", "1.0", shades="VERSION = 1\n")
    launching.repository("approved", {"requirements.txt": "shades\n"})
    with launching.hub.person() as alice:
        page = launching.opened(alice, "approved")
        fields = {**hidden_fields(page), "decision": "launch", "ask": "never-commit"}
        alice.browser.post(f"{PAGE}launch", data=fields, timeout=180)
        alice.await_server(server="approved")
        alice.stop_server(server="approved")
        launching.command("backup", "/root/launches.tar.gz")
        launching.wheel("shades", "2.0", shades="VERSION = 2\n")
        data = launching.layout.stack_data("launch")
        launching.machine.run(["sh", "-c", f"rm -rf {data}/* {launching.place.home}/*"])
        assert "Launch approved?" in launching.opened(alice, "approved").text, "it is forgotten"
        launching.command("restore", "--yes", "/root/launches.tar.gz")
        eventually(launching.hub.answers, 30, "the login page of the restored hub")
    with launching.hub.logged_in(alice.name, alice.password) as alice:
        query = {"repo": f"{launching.url}approved", "name": "approved"}
        page = alice.browser.get(PAGE, params=query, timeout=180)
        assert "Launch approved?" not in page.text, "nobody is asked again"
        alice.await_server(server="approved")
        with alice.open_kernel(server="approved") as kernel:
            assert kernel.run("import shades; print(shades.VERSION, end='')") == "1"
        alice.stop_server(server="approved")


@pytest.mark.long
def test_a_disk_that_becomes_full_during_a_build_is_named_and_nothing_of_the_build_stays(
    launching: LaunchMachine,
) -> None:
    zeros = "#" * (64 << 20)
    launching.wheel("heavy", **{f"heavy_{number}": zeros for number in range(40)})
    launching.repository("heavy", {"requirements.txt": "heavy\n"})
    machine, home, user = launching.machine, str(launching.place.home), user_of(launching.layout)
    # 2 GB is what a build needs to start.
    machine.run(["sh", "-c", f"mount -t tmpfs -o size=2300M,mode=0755 small {home}"])
    try:
        machine.run(["chown", f"{user}:{user}", home])
        with launching.hub.person() as alice:
            log = launching.launch(alice, "heavy")
            assert "No space left on device" in log
            assert launching.built() == launching.unfinished() == []
            taken = machine.run(["du", "-sm", home]).stdout.split()[0]
            assert int(taken) < 300, machine.run(["du", "-m", home]).stdout
            with launching.launched(alice, "course") as log:
                assert "The server course is starting." in log
    finally:
        machine.run(["umount", "--lazy", home])


def test_a_shared_server_reads_a_volume_and_sees_no_home(launching: LaunchMachine) -> None:
    launching.machine.run(["sh", "-c", "mkdir /srv/data && echo 42 >/srv/data/answer"])
    volumes = {"data": {"path": "/srv/data", "read": ["*"]}}
    with launching.hub.person() as alice, launching.hub.person() as bob:
        launching.configure(VOLUMES=volumes)
        try:
            with launching.launched(alice, "course", share=bob.name, mount="data"):
                theirs = f"{alice.name}/course"
                assert bob.open_shared(theirs).status_code == 200
                cell = (
                    "import os, subprocess; print(os.listdir('/home'), subprocess.getoutput("
                    "'cd ~/launch/course/volumes/data && cat answer; touch x'))"
                )
                with bob.open_kernel(server=theirs) as kernel:
                    said = kernel.run(cell)
        finally:
            launching.configure(VOLUMES={})
    assert said == "[] 42\ntouch: cannot touch 'x': Read-only file system\n"


def test_disabling_keeps_what_servers_use_and_leaves_nothing_later(
    launching: LaunchMachine,
) -> None:
    with launching.hub.person() as alice:
        launching.launch(alice, "course")
        alice.await_server(server="course")
        with alice.open_kernel(server="course") as kernel:
            done = launching.command("disable", "launch")
            unit = f"littlest-hub.user-{alice.name}:course.service"
            assert f"stays while servers have environments in it: {unit}" in done.stderr
            assert kernel.run("import colors; print(colors.RED, end='')") == "red"
        # Without the stack, the hub itself has no named servers.
        launching.machine.systemctl("stop", unit)
        assert users(launching)
        launching.command("enable", "launch", "--yes")
        assert launching.machine.read(PATH).count("127.0.0.0/8") == 1, "with earlier changes"
        with launching.launched(alice, "course") as log:
            assert "The server course is starting." in log
    launching.command("disable", "launch")
    assert users(launching) == ""
    own = launching.layout.stacks / "launch"
    left = launching.machine.run(["ls", "-A", str(own)]).stdout.split()
    assert left == ["cleaning.json", "data", "resolver.json", "token"]
    assert (
        launching.machine.run(["test", "-e", str(launching.place.home)], check=False).returncode
        == 1
    )
    places = "/etc/systemd/system /run /var/lib/systemd/timers"
    units = launching.machine.run(["sh", "-c", f"ls {places} | grep launch"], check=False)
    assert units.stdout == ""
    launching.command("enable", "launch", "--yes")


def test_an_uninstalled_hub_leaves_no_environments_and_one_that_comes_back_launches_again(
    launching: LaunchMachine, installer: Path
) -> None:
    machine = launching.machine
    launching.command("uninstall")
    assert users(launching) == ""
    there = machine.run(["ls", "-A", str(launching.layout.base)]).stdout.split()
    assert "environments" not in there
    Hub.install(launching.hub.machine, installer)
    with launching.hub.person() as alice, launching.launched(alice, "course") as log:
        assert "The server course is starting." in log
