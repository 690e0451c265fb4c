"""Settings of the class stack: culling, shared folders, limits, and settings of JupyterLab."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.client import Kernel, Person
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

pytestmark = pytest.mark.long

PASSWORD = "a password of all"
FRAGMENT = "60-class.py"
LOGIN = f"""\
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = {PASSWORD!r}
c.Authenticator.allow_all = True
"""
BUSY = "import time\nwhile True: time.sleep(60)"


@pytest.fixture(scope="module")
def school(installer: Path) -> Iterator[Hub]:
    """A hub with the stack, at which anybody may log in."""
    with Machine("bookworm") as machine:
        hub = Hub.install(machine, installer)
        hub.write_fragment("41-login.py", LOGIN)
        words = ["enable", "class", "--yes", "--set", "login=other"]
        hub.machine.run([hub.path("hub/bin/littlest-hub"), *words])
        yield hub


@contextmanager
def settings(hub: Hub, **values: Any) -> Iterator[None]:
    """Change plain settings at the top of the fragment during the block."""
    place = str(hub.layout.fragments / FRAGMENT)
    before = hub.machine.read(place)
    lines = before.splitlines()
    for name, value in values.items():
        (index,) = [i for i, line in enumerate(lines) if line.startswith(f"{name} = ")]
        lines[index] = f"{name} = {value!r}"
    try:
        hub.machine.put(place, "\n".join(lines) + "\n")
        hub.reload()
        yield
    finally:
        hub.machine.put(place, before)
        hub.reload()


def kernels(person: Person) -> set[str]:
    """Return the ids of the kernels of a person's server."""
    answer = person.browser.get(f"/user/{person.name}/api/kernels")
    assert answer.status_code == 200, answer.text
    return {kernel["id"] for kernel in answer.json()}


def test_idle_servers_and_kernels_are_stopped_as_the_fragment_says_and_a_busy_one_is_not(
    school: Hub,
) -> None:
    # Servers report their activity each second. The limit of idle time is longer than the delay of
    # a report on a busy machine.
    often = """\
c.Spawner.environment.update({"JUPYTERHUB_ACTIVITY_INTERVAL": "1"})
c.JupyterHub.load_groups.update({"thesis": {"users": ["thinker"]}})
"""
    times = {"CULL_IDLE_S": 20, "CULL_EVERY_S": 1, "CULL_KERNEL_IDLE_S": 20}
    groups = {"thesis": {"idle_s": 86_400}}
    with (
        school.fragment("70-often.py", often),
        settings(
            school, CULL_KERNELS=True, CULL_CONNECTED_KERNELS=True, CULL_GROUPS=groups, **times
        ),
        school.logged_in("idle", PASSWORD) as idle,
        school.logged_in("thinker", PASSWORD) as thinker,
        school.logged_in("busy", PASSWORD) as busy,
    ):
        # It is idle for longer than the one that is stopped, in a group that may be.
        thinker.start_server()
        busy.start_server()
        idle.start_server()
        with busy.open_kernel() as computing, busy.open_kernel() as other:
            assert other.run("6 * 7") == "42"
            computing.send(BUSY)
            eventually(lambda: not idle.has_server(), 120, "the end of an idle server")
            eventually(lambda: kernels(busy) == {computing.id}, 120, "the end of an idle kernel")
            assert busy.has_server()
            assert thinker.has_server()


FOLDERS = {
    "data": {"kind": "read-only", "group": "teachers"},
    "project": {"kind": "group", "group": "project"},
    "hand-in": {"kind": "drop-box", "group": "teachers"},
}
GROUPS = {"teachers": ["teacher"], "project": ["ann", "cleo"]}
PLACE = "/srv/littlest-hub-shared"
TOGETHER = """
import os, shutil
from pathlib import Path
shared = Path.home() / "shared"
def what(do):
    try:
        return do()
    except OSError as error:
        return error.strerror
"""


def test_shared_folders_are_for_whom_the_fragment_names_and_stay_when_it_does_not(
    school: Hub,
) -> None:
    with (
        school.logged_in("teacher", PASSWORD) as teacher,
        school.logged_in("ann", PASSWORD) as ann,
        school.logged_in("bob", PASSWORD) as bob,
        school.logged_in("cleo", PASSWORD) as cleo,
    ):
        with settings(school, SHARED=FOLDERS, ACCOUNT_GROUPS=GROUPS):
            for person in (teacher, ann, bob, cleo):
                person.start_server()
            with (
                teacher.open_kernel() as teaching,
                ann.open_kernel() as learning,
                bob.open_kernel() as guest,
                cleo.open_kernel() as partner,
            ):
                for kernel in (teaching, learning, guest, partner):
                    kernel.run(TOGETHER)
                teaching.run("(shared / 'data/table.csv').write_text('1,2')")
                # Everybody reads the data, and only members of the group write them.
                assert guest.run("(shared / 'data/table.csv').read_text()") == "'1,2'"
                refused = "what(lambda: (shared / 'data/mine').touch())"
                assert "Read-only" in guest.run(refused)
                # Members of a group write the same file.
                learning.run("(shared / 'project/plan').write_text('a')")
                partner.run("(shared / 'project/plan').write_text('ab')")
                assert learning.run("(shared / 'project/plan').read_text()") == "'ab'"
                assert guest.run("sorted(os.listdir(shared))") == "['data', 'hand-in']"
                # The teacher can read a file that is moved there from a home, and nobody else.
                learning.run("Path('essay').write_text('mine')")
                learning.run("shutil.move('essay', shared / 'hand-in/essay')")
                guest.run("(shared / 'hand-in/essay').write_text('other')")
                essays = "{p.parent.name: p.read_text() for p in shared.glob('hand-in/*/essay')}"
                found = eval(teaching.run(essays))
                assert found == {"jupyter-ann": "mine", "jupyter-bob": "other"}
                changed = "what(lambda: next(shared.glob('hand-in/*/essay')).write_text('x'))"
                assert "Read-only" in teaching.run(changed)
                assert guest.run("os.listdir(shared / 'hand-in')") == "['essay']"
                of_ann = f"{PLACE}/hand-in/jupyter-ann/essay"
                assert "No such" in guest.run(f"what(lambda: open({of_ann!r}))")
                # JupyterLab's file browser shows the folders.
                listed = ann.browser.get("/user/ann/api/contents/shared/hand-in").json()
                assert [each["name"] for each in listed["content"]] == ["essay"]
        # Servers that still run lose the folders, too.
        with learning_again(ann) as kernel:
            gone = "what(lambda: os.listdir(shared / 'project'))"
            eventually(lambda: "Permission" in kernel.run(gone), 60, "no access")
    assert school.machine.read(f"{PLACE}/hand-in/jupyter-ann/essay") == "mine"
    modes = school.machine.run(["stat", "-c", "%a %U", f"{PLACE}/data", f"{PLACE}/project"])
    assert modes.stdout == "700 root\n700 root\n"


@contextmanager
def learning_again(person: Person) -> Iterator[Kernel]:
    with person.open_kernel() as kernel:
        kernel.run(TOGETHER)
        yield kernel


def test_a_server_has_the_limits_of_everybody_of_the_group_or_of_the_person(school: Hub) -> None:
    limits = {
        "*": {"memory": "1G", "cpu": 1, "tasks": 300},
        "group:project": {"memory": "2G"},
        "teacher": {"cpu": 1.5},
    }
    # Names of properties in systemd 252.
    names = ("MemoryMax", "CPUQuotaPerSecUSec", "TasksMax")
    with (
        settings(school, LIMITS=limits, ACCOUNT_GROUPS=GROUPS),
        school.logged_in("teacher", PASSWORD) as teacher,
        school.logged_in("ann", PASSWORD) as ann,
    ):
        for person, expected in (
            (teacher, ["1073741824", "1.500000s", "300"]),
            (ann, ["2147483648", "1s", "300"]),
        ):
            person.start_server()
            unit = f"{school.layout.user_unit(person.name)}.service"
            for name, value in zip(names, expected, strict=True):
                show = ["show", "--value", f"--property={name}", unit]
                assert school.machine.systemctl(*show).stdout.strip() == value
            limit = person.run_cell("import os; print(os.environ['MEM_LIMIT'])")
            assert limit.strip() == expected[0]


def test_settings_of_jupyterlab_are_everybodys_and_a_mistake_in_them_changes_nothing(
    school: Hub,
) -> None:
    file = str(school.layout.fragments / "overrides.json")
    theme = "@jupyterlab/apputils-extension:themes"
    path = f"/user/ann/lab/api/settings/{theme}"
    school.machine.put(file, f'{{"{theme}": {{"theme": "JupyterLab Dark"}}}}\n')
    try:
        school.reload()
        with school.logged_in("ann", PASSWORD) as ann:
            # The setting applies when the serving hub has read the file.
            eventually(lambda: has_default(ann, path, "JupyterLab Dark"), 120, "dark by default")
        school.machine.put(file, f'{{\n  "{theme}": {{\n    "theme": "x",\n  }}\n}}\n')
        refused = school.reload(check=False)
        assert refused.returncode
        assert f"{file}:" in school.status()
        with school.logged_in("ann", PASSWORD) as ann:
            assert has_default(ann, path, "JupyterLab Dark")
    finally:
        school.machine.run(["rm", file])
        school.reload()


def has_default(person: Person, path: str, theme: str) -> bool:
    """Start the server, and return whether the theme is the default."""
    person.start_server()
    default = person.browser.get(path).json()["schema"]["properties"]["theme"]["default"]
    if default != theme:
        person.stop_server()
        eventually(lambda: not person.has_server(), 60, "the end of the server")
    return bool(default == theme)
