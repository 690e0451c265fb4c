"""construct.yaml and environment.yml: read by both builders, and the same for both."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from construct import conda_forge, definition, wheels
from littlest_hub.errors import LittlestHubError

ROOT = Path(definition.__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def read(folder: Path, text: str) -> definition.Definition:
    (folder / "environment.yml").write_text("dependencies:\n  - python 3.13.*\n")
    (folder / "construct.yaml").write_text(text)
    return definition.read(folder / "construct.yaml", {})


MINIMAL = """\
name: hub
version: 1.2.3
environment_file: environment.yml
default_prefix: /opt/hub
"""


def test_the_products_definition_is_read() -> None:
    found = definition.read(ROOT / "construct.yaml", {})
    assert found.name == PROJECT["name"]
    assert found.version == PROJECT["version"]
    assert found.default_prefix.endswith(f"/releases/{found.version}")
    assert found.channels == ("conda-forge",)
    assert found.post_install is not None
    assert found.license is not None
    assert found.license.isascii(), "upstream's constructor cannot read another licence"


def test_the_channel_comes_from_the_environment() -> None:
    found = definition.read(ROOT / "construct.yaml", {"LITTLEST_HUB_CHANNEL": "file:///channel"})
    assert found.channels == ("file:///channel",)


def test_both_ways_to_build_read_the_same_specs() -> None:
    """Upstream installs `environment_file` and takes `specs` from nowhere else."""
    text = definition.ENVIRONMENT.sub("conda-forge", (ROOT / "construct.yaml").read_text())
    document = yaml.safe_load(text)
    assert not {"specs", "environment", "extra_envs", "exclude"} & document.keys()
    environment = yaml.safe_load((ROOT / document["environment_file"]).read_text())
    found = definition.read(ROOT / "construct.yaml", {})
    assert list(found.specs) == environment["dependencies"]
    constructor = conda_forge.commands(ROOT, ROOT / "build" / "channel", ROOT / "dist")[-1]
    assert constructor[:2] == ["constructor", str(ROOT)], "it reads the construct.yaml there"


def test_upstream_finds_our_package_in_its_channel(tmp_path: Path) -> None:
    variables = conda_forge.environment(tmp_path, {"PATH": "/bin"})
    assert variables == {"PATH": "/bin", "CONDA_CHANNELS": tmp_path.as_uri()}
    built = conda_forge.commands(ROOT, tmp_path, ROOT / "dist")[0]
    assert built[built.index("--output-dir") + 1] == str(tmp_path)


def test_a_missing_constructor_is_an_error_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LittlestHubError, match=r"rattler-build, constructor\n.*-c conda-forge"):
        conda_forge.build(ROOT, tmp_path / "dist")


def test_the_recipe_requires_what_the_project_requires() -> None:
    recipe = yaml.safe_load((ROOT / "recipe/littlest-hub/recipe.yaml").read_text())
    project = {
        f"{wheels.conda_name(requirement.name)} {wheels.conda_version(requirement.specifier)}"
        for requirement in map(Requirement, PROJECT["dependencies"])
    }
    run = {_sorted_spec(spec) for spec in recipe["requirements"]["run"]}
    python = f"python {PROJECT['requires-python']}"
    assert run == {spec.strip() for spec in project} | {python}
    assert recipe["context"]["version"] == PROJECT["version"]
    scripts = [f"{name} = {call}" for name, call in PROJECT["scripts"].items()]
    assert recipe["build"]["python"]["entry_points"] == scripts


def _sorted_spec(spec: str) -> str:
    name, _, versions = spec.partition(" ")
    return f"{name} {','.join(sorted(versions.split(',')))}".strip()


def test_the_lock_satisfies_environment_yml() -> None:
    locked = {
        wheels.conda_name(entry.name): entry.version
        for entry in wheels.read_lock((ROOT / "construct" / "wheels.lock").read_text())
    }
    for spec in definition.read_specs(ROOT / "environment.yml"):
        name, _, version = spec.partition(" ")
        if name not in ("python", "littlest-hub"):
            assert f"=={locked[name]}" == version


def test_a_key_that_the_embedded_builder_does_not_support_is_named(tmp_path: Path) -> None:
    with pytest.raises(LittlestHubError, match=r"'initialize_conda'.*\n.*--with-constructor"):
        read(tmp_path, MINIMAL + "initialize_conda: false\n")


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(LittlestHubError, match="'default_prefix' is missing"):
        read(tmp_path, MINIMAL.replace("default_prefix: /opt/hub\n", ""))


def test_a_value_of_the_wrong_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LittlestHubError, match=r"version is 1\.2, not a str"):
        read(tmp_path, MINIMAL.replace("1.2.3", "1.2"))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("installer_type: pkg", "installer_type is 'pkg', not 'sh'"),
        ("register_envs: true", "register_envs is True, not False"),
        ("menu_packages:\n  - jupyterlab", "menu_packages is ['jupyterlab'], not []"),
        (
            "virtual_specs:\n  - __glibc >=2.34",
            "virtual_specs is ['__glibc >=2.34'], not ['__glibc >=2.28']",
        ),
        (
            "build_outputs:\n  - hash:\n      algorithm: md5",
            "build_outputs: hash is {'algorithm': 'md5'}, not {'algorithm': 'sha256'}",
        ),
        (
            "build_outputs:\n  - licenses:\n      include_text: true",
            "build_outputs: licenses is {'include_text': True}, not {}",
        ),
    ],
)
def test_a_value_that_the_embedded_builder_does_not_support_is_refused(
    tmp_path: Path, lines: str, message: str
) -> None:
    with pytest.raises(LittlestHubError, match=re.escape(message)) as refusal:
        read(tmp_path, f"{MINIMAL}{lines}\n")
    assert "construct.yaml: " in str(refusal.value)


def test_a_list_in_brackets_is_refused_with_its_line(tmp_path: Path) -> None:
    """Upstream would evaluate it as a condition and fail without saying why."""
    with pytest.raises(LittlestHubError, match=re.escape("construct.yaml:5:")):
        read(tmp_path, MINIMAL + "channels: [conda-forge]\n")


def test_a_pip_section_is_refused(tmp_path: Path) -> None:
    environment = tmp_path / "environment.yml"
    environment.write_text("dependencies:\n  - python\n  - pip:\n    - numpy\n")
    with pytest.raises(LittlestHubError, match="no conda spec"):
        definition.read_specs(environment)
