"""Kernels of shared environments: they run in the generation that is present when they start."""

from pathlib import Path

import pytest

from littlest_hub.singleuser.environments import in_generation


@pytest.fixture
def environments(tmp_path: Path) -> Path:
    directory = tmp_path / "environments"
    (directory / ".class" / "7" / "bin").mkdir(parents=True)
    (directory / ".class" / "7" / "share/jupyter/kernels/bash").mkdir(parents=True)
    (directory / "class").symlink_to(".class/7")
    return directory


def test_the_link_to_the_environment_is_followed_once(environments: Path) -> None:
    python = str(environments / "class" / "bin" / "python3")
    command = [python, "-m", "ipykernel_launcher"]
    found = in_generation(command, command, "/elsewhere", environments)
    assert found == [str(environments / ".class/7/bin/python3"), "-m", "ipykernel_launcher"]


def test_python_of_a_spec_in_the_environment_is_the_one_beside_it(environments: Path) -> None:
    spec = environments / "class" / "share/jupyter/kernels/bash"
    found = in_generation(["/hub/bin/python3"], ["python"], str(spec), environments)
    assert found == [str(environments / ".class/7/bin/python")]


def test_kernels_of_users_and_of_the_release_stay_as_they_are(
    environments: Path, tmp_path: Path
) -> None:
    own = tmp_path / "home" / "venv"
    (tmp_path / "real").mkdir()
    own.parent.mkdir()
    own.symlink_to(tmp_path / "real")
    for command in ([f"{own}/bin/python"], ["R", "--slave"], ["/hub/bin/python3", "-m", "x"]):
        spec = str(tmp_path / "home/.local/share/jupyter/kernels/mine")
        assert in_generation(command, ["python"], spec, environments) == command
