"""Somebody with sudo follows the pages on a fresh machine and types what they say, in order."""

from __future__ import annotations

import ast
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import httpx
import pytest

from littlest_hub import __version__
from littlest_hub.layout import DEFAULT_BASE, Layout
from tests.certificates import make
from tests.client import Person
from tests.documentation import ROOT, Command, Fragment, steps
from tests.hub import Hub
from tests.machine import Machine

TUTORIAL = ROOT / "docs/tutorial/first-hub.md"
CLASS_TUTORIAL = ROOT / "docs/tutorial/first-class.md"
HOW_TO = ROOT / "docs/how-to"
# Pages that need one hub; one that removes the hub gets its own.
FOLLOWED = (
    "accounts",
    "back-up",
    "change-the-configuration",
    "find-out-what-is-wrong",
    "homes",
    "https",
    "options-and-links",
    "user-servers",
)
PASSWORD = "correct-horse-0"
# The reader has no terminal here, so the editor has to be named.
EDITOR = "/usr/local/bin/readers-editor"
SUDOERS = "Defaults env_keep += EDITOR\nteacher ALL=(ALL) NOPASSWD: ALL\n"
AS_OF = re.compile(r"\d{4}-\d\d-\d\d")
ADDRESS = re.compile(r"^The hub answers at (http://\S+)$", re.MULTILINE)


class Reader:
    """A person who may use sudo, has the installer in the home directory, and reads our pages."""

    def __init__(self, machine: Machine, installer: Path) -> None:
        self.machine = machine
        self.layout = Layout(DEFAULT_BASE)
        self.printed: dict[str, str] = {}
        """By command: its output."""
        machine.add_user("teacher", PASSWORD)
        machine.put("/etc/sudoers.d/teacher", SUDOERS, mode=0o440)
        sh = f"/home/teacher/littlest-hub-{__version__}-Linux-x86_64.sh"
        machine.copy(installer, sh)
        # It writes the text that the page shows.
        machine.put(EDITOR, '#!/bin/sh\ncat /run/shown >"$1"\n', mode=0o755)

    def follow(self, page: Path, *, before: str = "") -> None:
        """Type the commands of a page, up to the first that contains `before`."""
        self.type(steps(page), before=before)

    def type(self, todo: list[Command | Fragment], *, before: str = "") -> None:
        """Type commands; what a command opens in the editor, the next such fragment shows."""
        edited: set[int] = set()
        for number, step in enumerate(todo):
            if isinstance(step, Fragment):
                continue
            if before and before in step.text:
                return
            if name := re.search(r"littlest-hub edit (\S+)", step.text):
                edited.add(self._prepare_editor(todo, number, name[1]))
            self._type(step)
        fragments = [
            (number, step) for number, step in enumerate(todo) if isinstance(step, Fragment)
        ]
        self._check([step for number, step in fragments if number not in edited])

    def _prepare_editor(self, todo: list[Command | Fragment], after: int, name: str) -> int:
        for number, step in enumerate(todo[after:], after):
            if isinstance(step, Fragment) and step.name.removesuffix(".py") == name:
                self.machine.put("/run/shown", self._whole(step))
                return number
        raise AssertionError(f"the page opens {name} and does not show what to write into it")

    def _whole(self, fragment: Fragment) -> str:
        """Return the text of a fragment, of which the page may show only lines that change."""
        if not fragment.text.splitlines()[0].endswith("these lines of it"):
            return fragment.text
        text = self.machine.run(
            ["sudo", "cat", str(self.layout.fragments / fragment.name)], user="teacher"
        ).stdout
        for new in ast.parse(fragment.text).body:
            assert isinstance(new, ast.Assign)
            target = ast.unparse(new.targets[0])
            (old,) = (each for each in ast.parse(text).body if _assigns(each, target))
            lines = text.splitlines()
            lines[old.lineno - 1 : old.end_lineno] = [ast.unparse(new)]
            text = "\n".join([*lines, ""])
        return text

    def _type(self, command: Command) -> None:
        answers = f"{PASSWORD}\n" * 2 if re.search(r"\bpasswd \w+ *(#|$)", command.text) else ""
        typed = ["bash", "-c", f"cd && exec 2>&1\nexport EDITOR={EDITOR}\n{command.text}"]
        done = self.machine.run(typed, user="teacher", input=answers, check=False)
        self.printed[command.text] = done.stdout
        missing = command.missing_from(done.stdout)
        assert missing is None, f"$ {command.text}\ndid not print: {missing}\n{done.stdout}"
        # A command whose failure is the point shows what it prints.
        assert done.returncode == 0 or command.shown, (
            f"$ {command.text}\nexited with {done.returncode}:\n{done.stdout}"
        )

    def _check(self, shown: list[Fragment]) -> None:
        """Check the fragments that a page only shows, together with those that are there."""
        paths = [str(self.layout.fragments / fragment.name) for fragment in shown]
        for path, fragment in zip(paths, shown, strict=True):
            self.machine.put(path, fragment.text)
        if shown:
            done = self.machine.run(["littlest-hub", "check"], check=False)
            self.machine.run(["rm", "--force", *paths])
            assert done.returncode == 0, done.stdout

    def put_back(self) -> None:
        """Remove what a page has added to the fragments."""
        fragments = str(self.layout.fragments)
        added = ["-name", "*.py*", "!", "-name", "10-users.py", "-print", "-delete"]
        if self.machine.run(["find", fragments, *added]).stdout:
            self.machine.systemctl("reload", self.layout.hub_service)

    def url(self) -> str:
        """Return the address that the installer has printed."""
        found = ADDRESS.search("".join(self.printed.values()))
        assert found, self.printed
        return found[1].rstrip("/")

    @contextmanager
    def working(self, name: str) -> Iterator[Person]:
        """Yield a person who has logged in there and has a server."""
        with Person(self.url(), name, PASSWORD) as person:
            person.log_in()
            person.start_server()
            yield person


def _assigns(statement: ast.stmt, name: str) -> bool:
    return isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name


@contextmanager
def reader_of_a_new_machine(installer: Path) -> Iterator[Reader]:
    with Machine("bookworm", packages=("sudo",)) as machine:
        yield Reader(machine, installer)


@pytest.fixture(scope="module")
def reader(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A reader who has followed the README up to its first login, and has a certificate."""
    with reader_of_a_new_machine(installer) as reader:
        reader.follow(ROOT / "README.md", before="edit")
        Hub.found_on(reader.machine)
        files = make(tmp_path_factory.mktemp("certificate"), "hub.uni.edu", reader.machine.address)
        for file, mode in zip(files, (0o644, 0o600), strict=True):
            reader.machine.put(f"/etc/ssl/hub{file.suffix}", file.read_text(), mode=mode)
        yield reader


def test_the_tutorial_leads_from_nothing_to_a_class_and_back_to_nothing(installer: Path) -> None:
    with reader_of_a_new_machine(installer) as reader:
        reader.follow(TUTORIAL, before="uninstall")
        # From another machine, at the address that was printed.
        assert httpx.get(f"{reader.url()}/hub/login", trust_env=False).status_code == 200
        for name in ("alice", "bob"):
            with reader.working(name) as person:
                assert person.run_cell("6 * 7") == "42"
        reader.type([step for step in steps(TUTORIAL)[-2:] if isinstance(step, Command)])
        left = reader.machine.run(["ls", "/opt", "/home"]).stdout
        assert "littlest-hub" not in left
        assert "alice" in left


def test_the_tutorial_for_teachers_leads_from_nothing_to_a_student_who_computes(
    installer: Path,
) -> None:
    with reader_of_a_new_machine(installer) as reader:
        place = str(reader.layout.environments)
        # An overlay has no upper layer on the machine's root, which is an overlay itself.
        reader.machine.run(["mkdir", "--parents", place])
        reader.machine.run(["mount", "-t", "tmpfs", "-o", "mode=0755,size=1500M", "tmpfs", place])
        reader.follow(CLASS_TUTORIAL, before="edit 60-class")
        code = re.search(r"\b[A-Z2-7]{4}(-[A-Z2-7]{4}){3}\b", "".join(reader.printed.values()))
        assert code, reader.printed
        _submit(reader, "/hub/one-time-code", username="alice", code=code[0])
        _submit(reader, "/hub/signup", username="ada", note="Ada, group 2")
        with reader.working("alice") as alice:
            (request,) = re.findall(
                r'name="request"[^>]*value="([^"]+)"', alice.browser.get("/hub/class").text
            )
            fields = {"decision": "approve", "request": request}
            said = _post(alice.browser, "/hub/class", fields).text
            assert "ada: may log in now" in said
        with reader.working("ada") as ada:
            assert ada.run_cell("6 * 7") == "42"
            ada.stop_server()
        todo = steps(CLASS_TUTORIAL)
        edit = next(n for n, step in enumerate(todo) if "edit 60-class" in step.text)
        reader.type(todo[edit:-1])
        with reader.working("ada") as ada:
            folders = ada.run_cell("import os; sorted(os.listdir('shared'))")
            assert folders == "['data', 'hand-in']"
        reader.type(todo[-1:])
        left = reader.machine.run(["ls", "/opt/littlest-hub", "/home"]).stdout.split()
        assert "releases" not in left
        assert {"jupyterhub_config.d", "jupyter-ada"} <= {*left}


def _submit(reader: Reader, page: str, **fields: str) -> None:
    """Fill in a form with a new password."""
    passwords = {"new_password": PASSWORD, "repeated_password": PASSWORD}
    with httpx.Client(base_url=reader.url(), follow_redirects=True, trust_env=False) as client:
        answer = _post(client, page, {**passwords, **fields})
        assert answer.status_code == 200, answer.text


def _post(client: httpx.Client, page: str, fields: dict[str, str]) -> httpx.Response:
    (token, *_) = re.findall(r'name="_xsrf"\s+value="([^"]+)"', client.get(page).text)
    return client.post(page, data={"_xsrf": token, **fields})


@pytest.mark.parametrize("name", FOLLOWED)
def test_each_command_of_a_how_to_does_what_the_page_says(reader: Reader, name: str) -> None:
    # Only that page manages a server, and stops it at the end.
    with reader.working("alice") if name == "user-servers" else nullcontext():
        try:
            reader.follow(HOW_TO / f"{name}.md")
        finally:
            reader.put_back()


def test_people_without_accounts_work_in_a_workshop(reader: Reader) -> None:
    page = HOW_TO / "workshop.md"
    todo = steps(page)
    saved = next(n for n, step in enumerate(todo) if "workshop.tar.gz" in step.text)
    try:
        reader.follow(page, before="workshop.tar.gz")
        with Person(reader.url(), "ada", "green-meadow") as ada:
            ada.log_in()
            ada.start_server()
            assert ada.run_cell("open('result', 'w').write('42')") == "2"
        reader.type(todo[saved:])
        assert (
            "ada/result"
            in reader.machine.run(["tar", "-tf", "/home/teacher/workshop.tar.gz"]).stdout
        )
    finally:
        reader.put_back()


def test_jupyterlab_says_nothing_of_upgrades_once_the_page_about_them_was_followed(
    reader: Reader,
) -> None:
    try:
        reader.follow(HOW_TO / "upgrade-notice.md")
        with reader.working("alice") as alice:
            page = alice.browser.get("/user/alice/lab").text
            found = re.search(r'id="jupyter-config-data"[^>]*>(.*?)</script>', page, re.DOTALL)
            assert found
            assert "littlest-hub:notice" in json.loads(found[1])["disabledExtensions"]
            alice.stop_server()
    finally:
        reader.machine.run(["rm", "--recursive", "--force", "/etc/jupyter"])


@pytest.mark.long
@pytest.mark.needs("restic")
def test_homes_and_hub_are_backed_up_and_restored_on_another_machine_as_the_page_says(
    installer: Path, tmp_path: Path
) -> None:
    todo = [each for each in steps(HOW_TO / "backups.md") if isinstance(each, Command)]
    elsewhere = next(n for n, each in enumerate(todo) if "/root/backups-password" in each.text)
    make_plan = "mkdir thesis && echo chapter >thesis/plan.ipynb"
    archive = tmp_path / "repository.tar"
    with reader_of_a_new_machine(installer) as reader:
        machine = reader.machine
        _install_restic(machine)
        reader.follow(ROOT / "README.md", before="edit")
        machine.run(["sh", "-c", f"cd && {make_plan}"], user="alice")
        today = machine.run(["date", "+%F"]).stdout.strip()
        reader.type([Command(re.sub(AS_OF, today, c.text), c.shown) for c in todo[:elsewhere]])
        of_alice = "cd ~alice/restored; cat */plan.ipynb */thesis/plan.ipynb"
        found = machine.run(["sh", "-c", of_alice]).stdout
        assert found == "chapter\n" * 2
        password = re.search(r"^  password +(\S+)$", "".join(reader.printed.values()), re.MULTILINE)
        assert password
        machine.run(["tar", "-cf", "/root/repository.tar", "-C", "/mnt", "."])
        archive.write_bytes((machine.files / "root/repository.tar").read_bytes())
    with reader_of_a_new_machine(installer) as reader:
        machine = reader.machine
        _install_restic(machine)
        machine.run(["sh", "-c", "bash /home/teacher/littlest-hub-*.sh -b"])
        machine.copy(archive, "/root/repository.tar")
        machine.run(["tar", "-xf", "/root/repository.tar", "-C", "/mnt"])
        machine.put("/usr/local/bin/nano", f"#!/bin/sh\necho {password[1]} >$1\n", mode=0o755)
        reader.type([*todo[elsewhere:]])
        found = machine.run(["cat", "/home/alice/thesis/plan.ipynb"], user="alice").stdout
        assert found == "chapter\n"
        assert "alice" in machine.read(str(reader.layout.fragments / "10-users.py"))


def _install_restic(machine: Machine) -> None:
    """Install this host's restic, and a disk for backups."""
    program = shutil.which("restic")
    assert program
    machine.copy(Path(program), "/usr/local/bin/restic")
    machine.run(["sh", "-c", "chmod 755 /usr/local/bin/restic; mkdir /mnt/backup-disk"])


def test_the_documentation_is_on_the_machine(reader: Reader) -> None:
    find = ["find", str(reader.layout.documentation) + "/", "-type", "f", "-printf", "%P\\n"]
    shipped = reader.machine.run(find).stdout.split()
    pages = {str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/**/*.md")}
    assert {name for name in shipped if name.endswith(".md")} == pages
    assert "pictures/machine.svg" in shipped


def test_the_page_about_upgrades_repairs_and_removes_a_hub(installer: Path) -> None:
    with reader_of_a_new_machine(installer) as reader:
        reader.follow(ROOT / "README.md", before="edit")
        reader.follow(HOW_TO / "upgrade.md")
        left = reader.machine.run(
            ["sh", "-c", "ls -d /opt/littlest-hub /etc/systemd/system/little*; true"]
        )
        assert not left.stdout
