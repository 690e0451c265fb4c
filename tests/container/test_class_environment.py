"""The environment of a class: changes reach kernels, and no failed change breaks it."""

import itertools
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from construct import bundle
from construct.builder import ROOT
from construct.cache import Cache
from tests import terminal, wheels
from tests.channel import add_package
from tests.client import CellError, Kernel, Person
from tests.container.conftest import EVERYBODY
from tests.container.test_packages import packages
from tests.eventually import eventually
from tests.hub import REPOSITORY, Hub
from tests.machine import Machine

# The machine's root is an overlay, on which another overlay cannot have its upper layer.
SIZE = "1500M"


class Class:
    """A hub with the stack, and its environment."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.link = hub.path("environments/class")
        self.home = hub.path("environments/.class")

    def run(self, *words: str, check: bool = True) -> str:
        """Run `littlest-hub environment …` as root."""
        command = [self.hub.path("hub/bin/littlest-hub"), "environment", *words]
        done = self.hub.machine.run(command, check=check)
        return done.stdout + done.stderr

    def fails(self, *words: str) -> str:
        """Run a command that is refused, and return what it says."""
        command = [self.hub.path("hub/bin/littlest-hub"), "environment", *words]
        done = self.hub.machine.run(command, check=False)
        assert done.returncode == 1, done.stdout
        return done.stdout + done.stderr

    def current(self) -> int:
        return int(next(each["number"] for each in self.list() if each["is_current"]))

    def list(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("list", "--json"))
        return found

    def sum(self, number: int) -> str:
        """Return a sum of everything in a generation: names, modes and contents."""
        script = (
            f"cd {self.home}/{number} && "
            "{ find . -printf '%p %y %m %u %l\\n'; find . -type f -print0 | sort -z"
            " | xargs -0 sha256sum; } | sort | sha256sum"
        )
        return self.hub.machine.run(["sh", "-c", script]).stdout

    def wheels(self, *files: str) -> tuple[str, str, str]:
        """Put versions 1.0 and 2.0 of a new module on the machine; return its name and the paths.

        Args:
            files: more modules of version 1.0.
        """
        name = f"greeter{next(self._names)}"
        paths = []
        for version in ("1.0", "2.0"):
            contents = {f"{name}.py": f"VERSION = {version!r}\n"}
            if version == "1.0":
                contents |= dict.fromkeys(files, "HERE = 1\n")
            made = wheels.make(self.scratch, name, version, files=contents)
            paths.append(self.hub.machine.copy(made, f"/srv/{made.name}"))
        return name, paths[0], paths[1]

    scratch: Path
    _names = itertools.count()


@pytest.fixture(scope="module")
def klass(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Class]:
    """A hub with the class stack; its administrator `boss` has sudo."""
    with Machine("bookworm", packages=("sudo",)) as machine:
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "boss"})
        found = Class(hub)
        found.scratch = tmp_path_factory.mktemp("wheels")
        place = hub.path("environments")
        machine.run(["mkdir", place])
        machine.run(["mount", "-t", "tmpfs", "-o", f"mode=0755,size={SIZE}", "tmpfs", place])
        hub.write_fragment("20-everybody.py", EVERYBODY)
        started = time.monotonic()
        machine.run([hub.path("hub/bin/littlest-hub"), "enable", "class", "--yes"])
        print(f"enable class: {time.monotonic() - started:.1f} s")
        yield found


@pytest.fixture(autouse=True)
def _same_generation(klass: Class) -> Iterator[None]:
    """Return to the generation with which a test began."""
    before = klass.current()
    yield
    klass.run("rollback", str(before), check=False)


@pytest.fixture
def student(klass: Class) -> Iterator[Person]:
    with klass.hub.person() as person:
        person.start_server()
        yield person


@pytest.fixture
def boss(klass: Class) -> Iterator[Person]:
    """The administrator, with a server."""
    klass.hub.machine.run(["sh", "-c", "id boss || useradd --create-home --shell /bin/bash boss"])
    klass.hub.machine.run(["chpasswd"], input="boss:a password\n")
    with klass.hub.logged_in("boss", "a password") as person:
        person.start_server()
        yield person


@contextmanager
def kernel(person: Person) -> Iterator[Kernel]:
    with person.open_kernel() as opened:
        yield opened


def test_what_an_administrator_installs_is_there_when_a_kernel_is_restarted(
    klass: Class, student: Person, boss: Person
) -> None:
    before = klass.current()
    with kernel(student) as running:
        assert running.run("import sys; print(sys.prefix)").strip() == f"{klass.home}/{before}"
        name, first, second = klass.wheels("late.py")
        version = f"import {name}; {name}.VERSION"
        with terminal.opened(boss) as shell:
            printed = shell.run(f"pip install {first}", timeout_s=120)
            assert f"+ {name} 1.0" in printed, printed
            with kernel(student) as restarted:
                assert restarted.run(version) == "'1.0'"
                printed = shell.run(f"sudo pip install {second}", timeout_s=120)
                assert f"{name} 1.0 -> 2.0" in printed, printed
                # The kernel stays in its generation, even for modules that it imports later.
                assert restarted.run("import late; late.HERE") == "1"
            with pytest.raises(CellError, match=f"No module named '{name}'"):
                running.run(version)
            assert student.run_cell(version) == "'2.0'"
            assert "* " in shell.run("sudo -n littlest-hub environment list")
        assert switched(boss, before) == (200, before, before)
        assert klass.current() == before
        assert switched(boss, before + 2) == (200, before + 2, before + 2)
        assert student.browser.get("/hub/class").status_code == 403
    assert "2.0 -> 1.0" in klass.run("diff", str(before + 2), str(before + 1))
    began = time.monotonic()
    klass.run("rollback")
    print(f"rollback, with the start of the command: {time.monotonic() - began:.2f} s")
    assert student.run_cell(version) == "'1.0'"


def switched(person: Person, number: int) -> tuple[int, int, int]:
    """Choose a generation on the teacher's page, and return its answer.

    Returns:
        The status of the answer, the number in its message, and that of the generation in use.
    """
    page = person.browser.get("/services/class/")
    (token, *_) = re.findall(r'name="_xsrf" value="([^"]+)"', page.text)
    fields = {"_xsrf": token, "decision": "switch", "generation": str(number)}
    answer = person.browser.post(page.url.path, data=fields)
    said = re.findall(r"The environment is generation (\d+); it was", answer.text)
    used = re.findall(r"<strong>(\d+)</strong>\s+<span[^>]*>in use</span>", answer.text)
    assert said, answer.text
    assert used, answer.text
    return answer.status_code, int(said[0]), int(used[0])


@pytest.mark.long
def test_a_student_changes_nothing_for_others(klass: Class, student: Person) -> None:
    before, total = klass.current(), klass.sum(klass.current())
    attempts = f"""
import os, sys, pathlib, subprocess
places = ["{klass.link}", "{klass.home}", sys.prefix, sys.prefix + "/lib/python3.13/os.py"]
places += ["{klass.home}/jupyter/kernels/python3/kernel.json", "{klass.home}/bin/pip"]
print([each for each in places if os.access(each, os.W_OK)])
for attempt in (
    lambda: os.unlink("{klass.link}"),
    lambda: os.rename("{klass.home}", "/tmp/x"),
    lambda: open("{klass.home}/imports.txt", "a"),
    lambda: open("{klass.home}/lock", "r"),
):
    try:
        attempt()
    except OSError as error:
        print(error.errno in (1, 13, 18, 30))
print(subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode)
print(subprocess.run(["{klass.hub.path("hub/bin/littlest-hub")}", "environment", "rollback"],
      capture_output=True).returncode)
"""
    assert student.run_cell(attempts).split() == ["[]", *["True"] * 4, "1", "1"]
    # A kernel spec of that name in a student's home affects nobody, not even the student.
    poison = {"argv": ["/bin/false"], "display_name": "poison", "language": "python"}
    home = f"/home/{student.name}/.local/share/jupyter/kernels/python3"
    klass.hub.machine.put(f"{home}/kernel.json", json.dumps(poison))
    assert student.run_cell("1 + 1") == "2"
    name, mine, _ = klass.wheels()
    with terminal.opened(student) as shell:
        printed = shell.run(f"pip install --no-index {mine}", timeout_s=120)
        assert "This is for you alone, in your home" in printed, printed
        assert "pip install NAME" in shell.run("conda install numpy")
        made = shell.run(
            "python3 -m venv ~/mine && ~/mine/bin/pip --version && echo made", timeout_s=120
        )
        assert "made" in made, made
    assert student.run_cell(f"import {name}; {name}.VERSION") == "'1.0'"
    with klass.hub.person() as other:
        other.start_server()
        with pytest.raises(CellError, match="No module named"):
            other.run_cell(f"import {name}")
    assert (klass.current(), klass.sum(before)) == (before, total)


@pytest.mark.long
def test_what_would_break_kernels_is_refused(klass: Class) -> None:
    before, total = klass.current(), klass.sum(klass.current())
    site = f"{klass.link}/lib/python3.13/site-packages"
    for words, reason in (
        (["remove", "ipykernel"], "no kernel starts"),
        (["run", "--", "rm", "-r", f"{site}/comm"], "no kernel starts"),
        (["run", "--", "rm", f"{klass.link}/bin/python3.13"], "No such file"),
        (["install", "/srv/nothing.whl"], "the environment is as it was"),
        (["run", "--", "nothing"], "the environment is as it was"),
    ):
        assert reason in klass.fails(*words), words
    assert "has changed" in klass.run("run", "--", "pip", "list")
    imports = f"{klass.home}/imports.txt"
    name, wheel, _ = klass.wheels()
    klass.hub.machine.run(["sh", "-c", f"echo {name} >>{imports}"])
    try:
        klass.run("install", wheel)
        assert f"import {name} fails" in klass.fails("remove", name)
    finally:
        klass.hub.machine.run(["sed", "-i", f"/{name}/d", imports])
    klass.run("rollback", str(before))
    assert klass.sum(before) == total


@pytest.mark.long
def test_a_broken_environment_stops_no_server_and_is_rolled_back(klass: Class) -> None:
    number = klass.current()
    klass.run("install", klass.wheels()[1])
    broken = klass.current()
    assert broken != number
    # As root, without a command of ours.
    klass.hub.machine.run(["rm", "-rf", f"{klass.home}/{broken}/lib", f"{klass.home}/{broken}/bin"])
    assert (
        "has no Python"
        in klass.hub.machine.run(
            [klass.hub.path("hub/bin/littlest-hub"), "doctor"], check=False
        ).stdout
    )
    assert "no kernel starts" in klass.run("check", check=False)
    with klass.hub.person() as person:
        person.start_server()
        with pytest.raises(Exception):  # noqa: B017, PT011 - any error: there is no kernel
            person.run_cell("1 + 1")
        specs = person.browser.get(f"/user/{person.name}/api/kernelspecs").json()
        assert specs["default"] == "python3"
        assert "python3-hub" in specs["kernelspecs"]
        klass.run("rollback", str(number))
        assert person.run_cell("1 + 1") == "2"
    klass.hub.machine.run(["rm", "-rf", f"{klass.home}/{broken}"])


@pytest.mark.long
def test_a_deleted_environment_is_made_again_by_the_command_that_doctor_names(klass: Class) -> None:
    littlest_hub = klass.hub.path("hub/bin/littlest-hub")
    klass.run("install", klass.wheels()[1])
    klass.hub.machine.run(["sh", "-c", f"rm -rf {klass.home}/[0-9]* {klass.link}"])
    said = klass.hub.machine.run([littlest_hub, "doctor"], check=False).stdout
    assert "$ littlest-hub environment make" in said
    # Terminals of JupyterLab have such a umask.
    klass.hub.machine.run(["sh", "-c", f"umask 077; {littlest_hub} environment make"])
    assert "a kernel starts" in klass.run("check")
    with klass.hub.person() as person:
        person.start_server()
        assert person.run_cell("1 + 1") == "2"


@pytest.mark.long
def test_doctor_finds_that_a_part_was_deleted_and_its_command_helps(klass: Class) -> None:
    littlest_hub = klass.hub.path("hub/bin/littlest-hub")

    def delete_a_part() -> str:
        module = f"{klass.link}/lib/python3.13/site-packages/comm"
        klass.hub.machine.run(["rm", "-r", module])
        said = klass.hub.machine.run([littlest_hub, "doctor"], check=False).stdout
        assert "no kernel starts" in said
        assert "No module named 'comm'" in said
        return said

    klass.run("install", klass.wheels()[1])
    assert "$ littlest-hub environment rollback\n" in delete_a_part()
    klass.run("rollback")
    assert "a kernel starts" in klass.run("check")
    # Remove all generations, so that there is none to go back to.
    klass.hub.machine.run(["sh", "-c", f"rm -rf {klass.home}/[0-9]* {klass.link}"])
    klass.run("make")
    assert "$ littlest-hub environment make --new\n" in delete_a_part()
    klass.run("make", "--new")
    assert "a kernel starts" in klass.run("check")
    assert "leads to" not in klass.hub.machine.run([littlest_hub, "doctor"], check=False).stdout
    # The damaged generation must not be there for later tests, which roll back.
    klass.hub.machine.run(["sh", "-c", f"rm -rf {klass.home}/[0-9]* {klass.link}"])
    klass.run("make")


@pytest.mark.long
def test_a_question_that_nobody_answers_can_be_ended(klass: Class, boss: Person) -> None:
    before, total = klass.current(), klass.sum(klass.current())
    with terminal.opened(boss) as shell:
        shell.type("pip uninstall ipykernel")
        shell.await_text("(Y/n)", timeout_s=60)
        said = klass.fails("rollback")
        found = re.search(
            r"\(environment run -- pip uninstall ipykernel\).*(kill \d+)$", said.strip(), re.DOTALL
        )
        assert found, said
        klass.hub.machine.run(["sh", "-c", found[1]])
        eventually(lambda: not mounts(klass), 30, "the end of the change")
    klass.run("rollback", str(before))
    assert klass.sum(before) == total


def test_killed_at_any_moment_it_is_the_old_one_or_the_new_one(klass: Class) -> None:
    choose = random.Random(int(os.environ.get("LITTLEST_HUB_SEED", "0")))
    versions = klass.wheels()[1:]
    command = f"{klass.hub.path('hub/bin/littlest-hub')} environment install"
    began = time.monotonic()
    klass.run("install", versions[0])
    takes_s = time.monotonic() - began
    for attempt in range(int(os.environ.get("LITTLEST_HUB_KILLS", "2"))):
        before = klass.current()
        total = klass.sum(before)
        after_s = choose.uniform(0, takes_s)
        wheel = versions[(attempt + 1) % 2]
        script = f"{command} {wheel} & sleep {after_s:.2f}; kill -KILL $!; wait"
        klass.hub.machine.run(["sh", "-c", script], check=False)
        now = klass.current()
        assert now in (before, before + 1), "after the kill"
        assert klass.sum(before) == total, "a generation has changed"
        assert "a kernel starts" in klass.run("check")
        assert not mounts(klass), "the mount of the change has ended"
        # The next command works, and removes what the killed one has left.
        klass.run("rollback", str(before))
        klass.run("install", wheel)
        names = klass.hub.machine.run(["ls", klass.home]).stdout.split()
        assert {each for each in names if not each.isdecimal()} == {
            *("bin", "imports.txt", "jupyter", "lock", "more")
        }


def mounts(klass: Class) -> list[str]:
    """Return the mounts of overlays over a generation in all processes."""
    script = "cat /proc/[0-9]*/mounts 2>/dev/null"
    printed = klass.hub.machine.run(["sh", "-c", script], check=False).stdout
    return re.findall(rf"^overlay {re.escape(klass.home)}.*$", printed, re.MULTILINE)


@pytest.mark.long
def test_a_bundle_brings_the_usual_packages_without_a_network(
    klass: Class, student: Person, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    build = [sys.executable, "-m", "construct", "--bundle", "class-environment"]
    subprocess.run([*build, "--output", str(bundle)], cwd=REPOSITORY, check=True)
    (made,) = bundle.glob("*.tar")
    path = klass.hub.machine.copy(made, f"/srv/{made.name}")
    began = time.monotonic()
    printed = klass.run("import", path)
    print(f"import of the bundle: {time.monotonic() - began:.1f} s")
    assert "+ pandas " in printed
    cell = """
import matplotlib, numpy, pandas, ipywidgets
print(pandas.DataFrame({"a": numpy.arange(4)}).a.sum(), ipywidgets.IntSlider(value=7).value)
"""
    assert student.run_cell(cell, timeout_s=120).split() == ["6", "7"]
    assert "imports ipykernel, ipywidgets, matplotlib, numpy, pandas" in klass.run("check")
    klass.run("rollback")
    assert "import numpy fails" in klass.fails("check")
    # Modules that a rollback has removed do not make a later change fail.
    klass.run("install", klass.wheels()[1])
    klass.hub.machine.run(["sed", "-i", "/^#\\|^ipykernel$/!d", f"{klass.home}/imports.txt"])


@pytest.mark.long
def test_a_full_disk_leaves_the_environment_as_it_was(klass: Class) -> None:
    before, total = klass.current(), klass.sum(klass.current())
    machine = klass.hub.machine
    filler = klass.hub.path("environments/filler")
    wheel = klass.wheels()[1]
    for left_kb in (0, 64, 512, 4096):
        script = (
            f"free=$(df --output=avail -k {klass.home} | tail -1);"
            f" head -c $(((free - {left_kb}) * 1024)) /dev/zero >{filler}"
        )
        machine.run(["sh", "-c", script], check=False)
        try:
            done = machine.run(
                [klass.hub.path("hub/bin/littlest-hub"), "environment", "install", wheel],
                check=False,
            )
        finally:
            machine.run(["rm", "-f", filler])
        assert klass.sum(before) == total
        if done.returncode:
            assert klass.current() == before
            assert "No space left on device" in done.stdout + done.stderr
        assert "a kernel starts" in klass.run("check")
        klass.run("rollback", str(before))


@pytest.mark.long
def test_ten_generations_stay_and_each_costs_what_it_changes(klass: Class) -> None:
    paths = klass.wheels()[1:]
    for number in range(11):
        klass.run("install", paths[number % 2])
    numbers = [each["number"] for each in klass.list()]
    assert len(numbers) == 10
    used = klass.hub.machine.run(["du", "-sm", klass.home]).stdout.split()[0]
    one = klass.hub.machine.run(["du", "-sm", f"{klass.home}/{numbers[-1]}"]).stdout.split()[0]
    print(f"ten generations: {used} MiB; one alone: {one} MiB")
    assert int(used) < 1.5 * int(one)
    # The name of a removed generation leads to the present one, for scripts in homes.
    first = klass.hub.machine.run([f"{klass.home}/1/bin/python3", "-c", "print(1)"]).stdout
    assert first == "1\n"


@pytest.mark.long
def test_a_shell_in_a_terminal_of_jupyterlab_is_one_change(klass: Class, boss: Person) -> None:
    name, first, _ = klass.wheels("more.py")
    following = int(klass.list()[-1]["number"]) + 1
    with terminal.opened(boss) as shell:
        enter(klass, shell)
        assert shell.run("test -t 0 && echo a terminal") == "a terminal\n"
        # Ctrl-C ends the program, but not the shell.
        shell.type("sleep 5000")
        eventually(lambda: "sleep 5000" in klass.hub.machine.processes(), 20, "a program")
        shell.press("\x03")
        shell.run(f"pip install --quiet {first}", timeout_s=120)
        assert shell.run(f"rm {klass.link}/lib/python3.*/site-packages/more.py") == ""
        leave(shell, "exit", f"Generation {following}:\r\n+ {name} 1.0")
        version = f"import {name}; print({name}.VERSION)"
        assert shell.run(f'python3 -c "{version}"') == "1.0\n"
        assert "No module" in shell.run('python3 -c "import more"')
        enter(klass, shell)
        leave(shell, "exit 3", "Nothing has changed")
        enter(klass, shell)
        shell.run(f"touch {klass.link}/half")
    # A closed terminal is no `exit`, so the change is discarded.
    eventually(lambda: not mounts(klass), 60, "the end of the change")
    assert klass.current() == following
    assert klass.hub.machine.run(["ls", f"{klass.link}/half"], check=False).returncode


def enter(klass: Class, shell: terminal.Terminal) -> None:
    """Open a shell for a change."""
    since = len(shell.shown)
    shell.type(f"sudo {klass.hub.path('hub/bin/littlest-hub')} environment shell")
    shell.await_text("everything counts after `exit`", timeout_s=60, since=since)
    shell.await_text("bash-", timeout_s=20, since=since)


def leave(shell: terminal.Terminal, word: str, says: str) -> None:
    """Leave the shell, and wait for the prompt: sudo drops what is typed before it."""
    since = len(shell.shown)
    shell.type(word)
    shell.await_text(says, timeout_s=120, since=since)
    shell.await_text("boss@", timeout_s=60, since=since)


@pytest.mark.long
def test_a_list_at_an_address_is_imported(klass: Class) -> None:
    machine, port = klass.hub.machine, 8123
    name, first, _ = klass.wheels()
    before = klass.current()
    file = Path(first).name
    machine.put("/srv/www/list.txt", f"{name} @ http://127.0.0.1:{port}/{file}\n")
    machine.run(["cp", first, "/srv/www"])
    serve = ["-I", "-m", "http.server", "--bind=127.0.0.1", "--directory=/srv/www", str(port)]
    unit = ["systemd-run", "--quiet", "--unit=www.service", klass.hub.path("hub/bin/python3")]
    machine.run([*unit, *serve])
    try:
        answers = [klass.hub.path("hub/bin/python3"), "-I", "-c"]
        answers += [f"import urllib.request as r; r.urlopen('http://127.0.0.1:{port}/list.txt')"]
        eventually(lambda: not machine.run(answers, check=False).returncode, 60, "a web server")
        address = f"http://127.0.0.1:{port}/list.txt"
        assert f"+ {name} 1.0" in klass.run("import", address)
        assert klass.list()[-1]["command"] == f"import {address}"
        made = klass.current()
        assert made > before
        assert "404" in klass.fails("import", f"http://127.0.0.1:{port}/nothing.txt")
        assert klass.current() == made
    finally:
        machine.systemctl("stop", "www.service")


@pytest.mark.long
def test_packages_come_from_a_channel_of_conda_that_is_a_directory(
    klass: Class, tmp_path: Path
) -> None:
    machine = klass.hub.machine
    channel = tmp_path / "channel"
    add_package(channel, "tool", {"bin/tool": "#!/bin/sh\necho works\n"}, ["data"])
    add_package(channel, "data", {"share/data.txt": "of conda"})
    for file in channel.rglob("*"):
        if file.is_file():
            path = f"/srv/channel/{file.relative_to(channel)}"
            machine.run(["mkdir", "--parents", str(Path(path).parent)])
            machine.copy(file, path)
    install = ("install", "--conda", "tool", "--channel", "/srv/channel")
    assert "packages add --tool py-rattler" in klass.fails(*install)
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "tools.txt").write_text("py-rattler\n")
    made = bundle.build(ROOT, bundle.find(ROOT, str(lists)), tmp_path, Cache())
    packages(klass.hub, "add", f"--from={machine.copy(made, f'/srv/{made.name}')}")
    before, total = klass.current(), klass.sum(klass.current())
    try:
        printed = klass.run(*install)
        assert "+ data 1.0" in printed
        assert "+ tool 1.0" in printed
        assert machine.read(f"{klass.link}/share/data.txt") == "of conda"
        assert "a kernel starts" in klass.run("check")
        assert "no-such-thing" in klass.fails(
            "install", "--conda", "no-such-thing", "--channel", "/srv/channel"
        )
        klass.run("rollback")
        assert klass.current() == before
        assert klass.sum(before) == total
        assert machine.run(["ls", f"{klass.link}/bin/tool"], check=False).returncode
    finally:
        packages(klass.hub, "remove", "py-rattler")
