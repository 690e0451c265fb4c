"""Terminals: whose they are, and which programs they find."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from littlest_hub.singleuser import terminals
from tests.container.conftest import MORE_PACKAGES
from tests.hub import Hub
from tests.machine import Machine
from tests.terminal import opened

RESET = "PATH=/usr/bin:/bin\nexport PATH FROM_PROFILE=yes\n"
# In these words, the shells agree.
LOOK = 'echo "path=$PATH, profile=$FROM_PROFILE, own=$OWN, zdotdir=$ZDOTDIR."'


# --- the script that starts them, with each shell


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A machine without a hub, on which /etc/profile replaces PATH."""
    with Machine("bookworm", packages=MORE_PACKAGES, booted=False) as machine:
        directory = Path(terminals.__file__).parent / "terminal"
        for file in directory.iterdir():
            machine.put(f"/opt/terminal/{file.name}", file.read_text())
        machine.put("/etc/profile", RESET)
        machine.put("/etc/zsh/zprofile", RESET)
        own = "export OWN=yes\nPATH=/own:$PATH\n"
        for name in (".profile", ".zprofile"):
            machine.put(f"/root/{name}", own)
        machine.put("/root/.zshrc", "PS1='$ '\n")
        machine.put("/root/.config/fish/config.fish", "set -gx OWN yes\n")
        yield machine


@pytest.mark.parametrize(
    ("shell", "path"),
    [
        ("/bin/bash", "/own:/ours:/usr/bin:/bin"),
        ("/usr/bin/zsh", "/own:/ours:/usr/bin:/bin"),
        # The server's directories come first of all in these two.
        ("/bin/sh", "/ours:/own:/usr/bin:/bin"),
        ("/usr/bin/fish", "/ours:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        # It was removed.
        ("/usr/bin/tcsh", "/own:/ours:/usr/bin:/bin"),
    ],
)
def test_the_servers_programs_come_first_whatever_the_machines_profile_says(
    machine: Machine, shell: str, path: str
) -> None:
    start = ["/bin/sh", "/opt/terminal/start.sh", "/ours", "300"]
    terminal = machine.terminal(["env", f"SHELL={shell}", *start], timeout_s=20)
    try:
        terminal.sendline(LOOK)
        profile = "" if shell.endswith("fish") else "yes"
        terminal.expect_exact(f"path={path}, profile={profile}, own=yes, zdotdir=.")
        terminal.sendline("cat /proc/self/oom_score_adj; exit")
        terminal.expect_exact("300")
    finally:
        terminal.close(force=True)


# --- at a real server


def wheel(name: str) -> bytes:
    """Return a wheel with a module and a program that print the name's place."""
    source = "def main(): print(__file__)\n"
    info = f"{name}-1.dist-info"
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{each},,\n" for each in [*files, f"{info}/RECORD"])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return buffer.getvalue()


def test_python_and_pip_in_terminals_and_cells_are_the_servers(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "minimal-1-py3-none-any.whl").write_bytes(wheel("minimal"))
    hub.machine.copy(tmp_path / "minimal-1-py3-none-any.whl", "/srv/minimal-1-py3-none-any.whl")
    release = hub.machine.run(["readlink", "-f", hub.path("hub")]).stdout.strip()
    with hub.person() as alice:
        alice.start_server()
        home = f"/home/{alice.name}"
        with opened(alice) as terminal:
            found = terminal.run("command -v python pip jupyter").split()
            assert found == [f"{release}/bin/{name}" for name in ("python", "pip", "jupyter")]
            said = terminal.run("pip install --no-index /srv/minimal-1-py3-none-any.whl; hash -r")
            assert "Successfully installed minimal-1" in said
            assert "not on PATH" not in said
            assert terminal.run("minimal").startswith(f"{home}/.local/lib/python3")
        cell = "import minimal, subprocess\n!command -v python minimal\nprint(minimal.__file__)"
        python, program, module = alice.run_cell(cell).split()
        assert python == f"{release}/bin/python"
        assert program == f"{home}/.local/bin/minimal"
        assert module.startswith(f"{home}/.local/lib/python3")
        # Not even a package of the same name as one of the server's keeps it from starting.
        alice.stop_server()
        site = str(Path(module).parent)
        hub.machine.put(f"{site}/tornado.py", "raise SystemExit('broken')\n")
        alice.start_server()
        with opened(alice) as terminal:
            assert terminal.run(f"rm -f {site}/tornado.py && echo mended") == "mended\n"
        assert alice.run_cell("6 * 7") == "42"


def test_the_variables_of_a_server_are_those_of_its_account(hub: Hub) -> None:
    cell = """
import getpass, os, pwd
account = pwd.getpwuid(os.getuid())
print(getpass.getuser() == account.pw_name == pwd.getpwnam(os.environ["LOGNAME"]).pw_name)
print(account.pw_name, account.pw_dir == os.environ["HOME"], os.environ["SHELL"])
"""
    shells = {"plain": ("/bin/sh", "/bin/sh"), "closed": ("/usr/sbin/nologin", "/bin/bash")}
    template = 'c.SystemdSpawner.username_template = "jupyter-{USERNAME}"\n'
    with hub.fragment("70-template.py", template):
        for name, (shell, expected) in shells.items():
            account = f"jupyter-{name}"
            hub.machine.run(["useradd", "--create-home", "--shell", shell, account])
            with hub.person(name) as person:
                person.start_server()
                assert person.run_cell(cell) == f"True\n{account} True {expected}\n"
                with opened(person) as terminal:
                    assert terminal.run("whoami; echo $SHELL") == f"{account}\n{expected}\n"
