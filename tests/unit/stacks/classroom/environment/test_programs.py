"""The programs that people type, and the kernel specs: who gets what."""

import json
import subprocess
from pathlib import Path

import pytest
from traitlets.config import Config

from littlest_hub.layout import Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.classroom import units
from littlest_hub.stacks.classroom.environment import programs
from littlest_hub.stacks.classroom.environment.place import Place

ECHO = '#!/bin/sh\necho "{} $*"\n'


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An environment, and a machine whose programs only say how they were called."""
    layout = Layout(tmp_path / "base")
    found = Place.of(layout)
    found.home.mkdir(parents=True)
    programs.write(layout, found)
    for name, file in {
        "python": found.link / "bin" / "python3",
        "hub": layout.hub / "bin" / "littlest-hub",
        "id": tmp_path / "bin" / "id",
    }.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(ECHO.format(name) if name != "id" else "#!/bin/sh\necho ${MY_UID-1000}\n")
        file.chmod(0o755)
    return found


def typed(place: Place, *words: str, sudo: str = "", **variables: str) -> list[str]:
    """Type a command, on a machine where sudo is this script, and return what is printed."""
    path = place.link.parents[2] / "bin"
    if sudo:
        (path / "sudo").write_text(f"#!/bin/sh\n{sudo}\n")
        (path / "sudo").chmod(0o755)
    environ = {"PATH": f"{path}:/usr/bin:/bin", **variables}
    command = [str(place.programs / words[0]), *words[1:]]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    return (done.stderr + done.stdout).splitlines()


ALLOWED = 'case $* in "-n -l"*) exit 0 ;; *) shift; echo "sudo $*" ;; esac'
REFUSED = "exit 1"


def test_an_administrator_installs_for_everybody(place: Place) -> None:
    command = f"{place.link.parents[1]}/hub/bin/littlest-hub"
    assert typed(place, "pip", "install", "a b", "c", sudo=ALLOWED) == [
        f"sudo {command} environment run -- pip install a b c"
    ]
    assert typed(place, "pip3", "uninstall", "x", sudo=ALLOWED) == [
        f"sudo {command} environment run -- pip3 uninstall x"
    ]
    assert typed(place, "pip", "install", "x", MY_UID="0") == [
        "hub environment run -- pip install x"
    ]


@pytest.mark.parametrize("sudo", [REFUSED, ""])
def test_others_install_for_themselves_and_are_told_so(place: Place, sudo: str) -> None:
    assert typed(place, "pip", "install", "x", sudo=sudo) == [
        "This is for you alone, in your home. Administrators with sudo install for everybody.",
        "python -m pip install --user x",
    ]
    assert typed(place, "pip", "uninstall", "x", sudo=sudo) == ["python -m pip uninstall x"]


@pytest.mark.parametrize(
    "words",
    [
        ["list"],
        [],
        ["--version"],
        ["install", "--user", "x"],
        ["install", "--target=d", "x"],
        ["install", "--help"],
    ],
)
def test_what_changes_nothing_for_others_is_plain_pip(place: Place, words: list[str]) -> None:
    said = typed(place, "pip", *words, sudo=ALLOWED)
    assert said == [" ".join(["python -m pip", *words])]


def test_conda_says_what_to_type_instead_or_is_used_if_it_is_there(place: Place) -> None:
    (said,) = typed(place, "mamba", "install", "x", sudo=ALLOWED)
    assert said.startswith("mamba is not installed here; type: pip install NAME")
    conda = place.link / "bin" / "conda"
    conda.write_text(ECHO.format("conda"))
    conda.chmod(0o755)
    command = f"{place.link.parents[1]}/hub/bin/littlest-hub"
    assert typed(place, "conda", "install", "x", sudo=ALLOWED) == [
        f"sudo {command} environment run -- conda install x"
    ]
    assert typed(place, "conda", "list", sudo=ALLOWED) == ["conda list"]
    assert typed(place, "conda", "install", "-p", "d", "x", sudo=ALLOWED) == [
        "conda install -p d x"
    ]
    (said,) = typed(place, "conda", "install", "x", sudo=REFUSED)
    assert "Only an administrator changes the environment" in said


def test_kernels_of_the_class_are_the_default_and_the_hubs_own_remains(place: Place) -> None:
    ours, others = place.kernels
    specs = {
        file.parent.name: json.loads(file.read_text())
        for file in (ours / "kernels").glob("*/kernel.json")
    }
    assert specs["python3"]["argv"][0] == str(place.link / "bin" / "python3")
    assert specs["python3"]["display_name"] == "Python 3 (class)"
    assert specs["python3-hub"]["argv"][0] == "python", "jupyter_client puts the server's there"
    (place.link / "share/jupyter/kernels/ir").mkdir(parents=True)
    assert [each.name for each in others.iterdir()] == ["kernels"], (
        "no extensions of JupyterLab come from there"
    )
    assert (others / "kernels" / "ir").is_dir()


def test_the_fragment_adds_to_what_others_have_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.prefix", str(tmp_path / "base" / "releases" / "1"))
    from littlest_hub.stacks.classroom import environment

    c = Config()
    c.Spawner.environment = {"OTHER": "1"}
    environment.configure(c)
    base = tmp_path / "base" / "environments"
    assert c.Spawner.environment == {
        "OTHER": "1",
        "JUPYTER_PATH": f"{base}/.class/jupyter:{base}/.class/more",
    }
    assert c.UnitSpawner.extra_paths.get_value([]) == [f"{base}/.class/bin", f"{base}/class/bin"]


def test_the_unit_of_the_environment_belongs_to_the_stack() -> None:
    layout = Layout(Path("/opt/littlest-hub"))
    found = {unit.name: unit.text() for unit in units.units(layout, EnabledStack("class"))}
    text = found["littlest-hub.class-environment.service"]
    assert "ExecStart=/opt/littlest-hub/hub/bin/littlest-hub environment make" in text
