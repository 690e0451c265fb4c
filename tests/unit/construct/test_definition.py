"""construct.yaml and environment.yml: read by both builders, and the same for both."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
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
    assert found.post_install is not None
    assert found.license is not None
    assert found.license.isascii(), "upstream's constructor cannot read another licence"


def test_a_channel_from_which_the_embedded_builder_takes_nothing_is_refused() -> None:
    channel = {"LITTLEST_HUB_CHANNEL": "file:///channel"}
    with pytest.raises(LittlestHubError, match=r"found \['file:///channel'\].*\n.*--with-constr"):
        definition.read(ROOT / "construct.yaml", channel)


def test_both_ways_to_build_read_the_same_specs() -> None:
    """Upstream installs `environment_file` and takes `specs` from nowhere else."""
    text = definition.VARIABLE.sub("conda-forge", (ROOT / "construct.yaml").read_text())
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


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(LittlestHubError, match=r"construct\.yaml:1: found no key 'default_prefix'"):
        read(tmp_path, MINIMAL.replace("default_prefix: /opt/hub\n", ""))


# Line 5 is the first one after MINIMAL. A value stands where its key does.
REFUSED = [
    ("initialize_conda: false", "5: initialize_conda: found the key 'initialize_conda', expected"),
    ("installer_type: pkg", "5: installer_type: found 'pkg', expected 'sh'"),
    ("register_envs: true", "5: register_envs: found True, expected False"),
    ("register_envs: 0", "5: register_envs: found 0, expected False"),
    ("menu_packages:\n  - jupyterlab", "5: menu_packages: found ['jupyterlab'], expected []"),
    ("channels:\n  - defaults", "5: channels: found ['defaults'], expected ['conda-forge']"),
    (
        "virtual_specs:\n  - __glibc >=2.34",
        "5: virtual_specs: found ['__glibc >=2.34'], expected ['__glibc >=2.28']",
    ),
    ("$schema: 3", "5: $schema: found 3, expected text"),
    ("license_file:", "5: license_file: found nothing, expected text"),
    ("license_file: nowhere", "5: license_file: found 'nowhere', expected the name of a file in"),
    ("post_install: .", "5: post_install: found '.', expected the name of a file in"),
    ('conclusion_text: "a\\0b"', "5: conclusion_text: found 'a\\x00b', expected text that can"),
    ('conclusion_text: "\\ud800"', "5: conclusion_text: found '\\ud800', expected text that can"),
    ("script_env_variables:\n  A: 1", "6: script_env_variables.A: found 1, expected text"),
    (
        "script_env_variables:\n  A-B: x",
        "6: script_env_variables.A-B: found 'A-B', expected the name of a variable",
    ),
    (
        "conclusion_text: a\nname: b",
        "6: name: found a second value, expected only that of line 1",
    ),
    ("build_outputs: hash", "5: build_outputs: found 'hash', expected a list"),
    ("build_outputs:\n  - {}\n  - hash", "6: build_outputs[0]: found {}, expected one output"),
    (
        "build_outputs:\n  - lockfile:\n    licenses:",
        "6: build_outputs[0]: found {'lockfile': None, 'licenses': None}, expected one output",
    ),
    (
        "build_outputs:\n  - lockfile\n  - lockfile",
        "7: build_outputs[1]: found 'lockfile', expected",
    ),
    (
        "build_outputs:\n  - info.json",
        "6: build_outputs[0]: found 'info.json', expected one of: hash",
    ),
    (
        "build_outputs:\n  - hash",
        "6: build_outputs[0].hash: found {}, expected {'algorithm': 'sha256'}",
    ),
    (
        "build_outputs:\n  - hash:\n      algorithm: md5",
        "6: build_outputs[0].hash: found {'algorithm': 'md5'}, expected {'algorithm': 'sha256'}",
    ),
    ("build_outputs:\n  - licenses", "6: build_outputs[0].licenses: found {}, expected"),
    (
        "conclusion_text: &a b\nlicense_file: *a",
        "5: license_file: found an alias, expected a value",
    ),
    (
        "conclusion_text: !!python/name:os.system",
        "5: conclusion_text: found '', expected a value of",
    ),
    ("conclusion_text: 2026-13-45", "5: conclusion_text: found '2026-13-45', expected a value of"),
    ("? [a, b] :\n", "5: found a list or mapping as a key, expected text"),
    ("true: b", "5: found true as a key, expected text"),
    ("conclusion_text: a: b", "5: not YAML: mapping values are not allowed here"),
    (
        "\tconclusion_text: a",
        "5: not YAML: found character '\\t' that cannot start any token",
    ),
    ("conclusion_text: [unix", "6: not YAML: expected ',' or ']', but got"),
    # Conditions and templates are not evaluated.
    ("license_file: EULA  # [unix]", "5: found the condition [unix], expected none"),
    ("license_file: EULA  # [win] only there", "5: found the condition [win], expected none"),
    ("license_file: EULA [win]", "5: found [win] at the end of a line, which is a condition"),
    (
        "channels: [conda-forge]",
        "5: found [conda-forge] at the end of a line, which is a condition",
    ),
    ("license_file: {{ license }}", "5: found {{ license }}, expected no template but {{ environ."),
    ('license_file: "{{ license }}"', "5: found {{ license }}, expected no template but"),
    ("{% set license = 'EULA' %}", "5: found {% set license = 'EULA' %}, expected no template but"),
]


@pytest.mark.parametrize(("lines", "message"), REFUSED)
def test_what_the_embedded_builder_does_not_act_on_is_refused_with_its_line(
    tmp_path: Path, lines: str, message: str
) -> None:
    with pytest.raises(LittlestHubError) as refusal:
        read(tmp_path, f"{MINIMAL}{lines}\n")
    assert f"construct.yaml:{message}" in refusal.value.message


def test_only_what_upstream_may_do_is_said_to_need_upstream(tmp_path: Path) -> None:
    for lines, upstream in (("initialize_conda: false", True), ("license_file: {}", False)):
        with pytest.raises(LittlestHubError) as refusal:
            read(tmp_path, f"{MINIMAL}{lines}\n")
        assert ("--with-constructor" in str(refusal.value)) == upstream


@pytest.mark.parametrize("value", ["1.2", "'a b'", "''", "[]", "1_0"])
def test_a_value_of_the_wrong_type_or_form_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(LittlestHubError, match=r"construct\.yaml:2: .*found .*, expected "):
        read(tmp_path, MINIMAL.replace("1.2.3", value))


@pytest.mark.parametrize(
    ("prefix", "is_accepted"),
    [
        ("/opt/hub", True),
        ("$HOME/hub", True),
        ("${BASE:-/opt/x}/releases/1", True),
        ("/opt/$(reboot)", False),
        ("/opt/${X", False),
        ("/opt/`reboot`", False),
        ("/opt/a b", False),
    ],
)
def test_a_default_prefix_cannot_run_commands(
    tmp_path: Path, prefix: str, is_accepted: bool
) -> None:
    text = MINIMAL.replace("/opt/hub", prefix)
    if is_accepted:
        assert read(tmp_path, text).default_prefix == prefix
        return
    with pytest.raises(LittlestHubError, match=r"construct\.yaml:4: default_prefix: found "):
        read(tmp_path, text)


def test_a_schema_for_editors_is_accepted_as_upstream_does(tmp_path: Path) -> None:
    assert read(tmp_path, MINIMAL + "$schema: https://example.org/construct.schema.json\n")


def test_brackets_that_are_no_condition_are_accepted(tmp_path: Path) -> None:
    text = MINIMAL + "conclusion_text: see [the docs] there\n# a comment [unix]\n"
    assert read(tmp_path, text).conclusion == "see [the docs] there"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1: found nothing, expected a mapping"),
        ("- python", "1: found ['python'], expected a mapping"),
        ("dependencies:", "1: dependencies: found nothing, expected a list"),
        ("dependencies: []", "1: dependencies: found [], expected a value"),
        ("name: other\ndependencies: [python]", "1: name: found 'other', expected 'hub'"),
        (
            "channels: [a]\ndependencies: [python]",
            "1: channels: found ['a'], expected ['conda-forge']",
        ),
        (
            "prefix: /x\ndependencies: [python]",
            "1: prefix: found the key 'prefix', expected one of",
        ),
        (
            "dependencies:\n- python\n- pip:\n  - numpy",
            "3: dependencies[1]: found {'pip': ['numpy']}",
        ),
        ("dependencies:\n- python\n- 3", "3: dependencies[1]: found 3, expected text"),
        (
            "dependencies:\n- conda-forge::python",
            "2: dependencies[0]: found 'conda-forge::python', exp",
        ),
        ("dependencies:\n- python=3", "2: dependencies[0]: found 'python=3', expected NAME or"),
        (
            "dependencies:\n- pip ==1\n- pip",
            "3: dependencies[1]: found 'pip', expected each package",
        ),
    ],
)
def test_an_environment_file_is_read_as_strictly(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "construct.yaml").write_text(MINIMAL)
    (tmp_path / "environment.yml").write_text(text)
    with pytest.raises(LittlestHubError) as refusal:
        definition.read(tmp_path / "construct.yaml", {})
    assert f"environment.yml:{message}" in refusal.value.message


def test_a_file_that_is_missing_or_is_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(LittlestHubError, match=r"construct\.yaml: No such file or directory"):
        definition.read(tmp_path / "construct.yaml", {})
    (tmp_path / "construct.yaml").write_bytes(MINIMAL.encode() + b"# j\xfcrgen\n")
    with pytest.raises(LittlestHubError, match=r"construct\.yaml:5: found the byte 0xfc"):
        definition.read(tmp_path / "construct.yaml", {})
    (tmp_path / "construct.yaml").write_text(MINIMAL)
    with pytest.raises(LittlestHubError, match=r"construct\.yaml:3: environment_file: found 'env"):
        definition.read(tmp_path / "construct.yaml", {})
    (tmp_path / "environment.yml").mkdir()
    with pytest.raises(LittlestHubError, match=r"construct\.yaml:3: environment_file: found 'env"):
        definition.read(tmp_path / "construct.yaml", {})


REFUSAL = re.compile(
    r".*/(construct\.yaml|environment\.yml):\d+: (not YAML: |(?s:.*found .*(expected|too many)))"
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
KEYS = st.sampled_from(
    [*definition.REQUIRED, *definition.OPTIONAL, *definition.OUTPUT_OPTIONS, "x"]
)
SHAPES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | SCALARS, inner, max_size=3),
    max_leaves=8,
)
WHOLE = yaml.safe_load(MINIMAL)
DOCUMENTS = (
    st.binary(max_size=40)
    | st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace"))
    | SHAPES.map(lambda shape: yaml.safe_dump(shape).encode())
    | st.dictionaries(KEYS, SHAPES, max_size=4).map(
        lambda some: yaml.safe_dump(WHOLE | some).encode()
    )
    | st.lists(st.sampled_from([*MINIMAL.splitlines(), *(lines for lines, _ in REFUSED)])).map(
        lambda lines: "\n".join(lines).encode()
    )
)


@given(DOCUMENTS, DOCUMENTS | st.just(b"dependencies:\n- python\n"))
@settings(max_examples=200, deadline=None)
def test_whatever_the_files_contain_they_are_read_or_refused_with_a_line(
    construct: bytes, environment: bytes
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "construct.yaml"
        path.write_bytes(construct)
        path.with_name("environment.yml").write_bytes(environment)
        refusal = None
        try:
            assert definition.read(path, {}).specs
        except LittlestHubError as error:
            refusal = error.message
    assert refusal is None or REFUSAL.match(refusal)


def test_what_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    for text in ("[" * 1200, "a: &a [*a]", "a: &a {b: *a}", "- " * 1200):
        with pytest.raises(LittlestHubError, match=r"construct\.yaml:1: .*found "):
            read(tmp_path, text)


def test_the_command_refuses_a_broken_file_without_a_traceback(tmp_path: Path) -> None:
    for name in ("construct", "littlest_hub", "recipe", "environment.yml"):
        (tmp_path / name).symlink_to(ROOT / name)
    # Python resolves links to find modules, and the builder finds its files beside its module.
    (tmp_path / "construct").unlink()
    shutil.copytree(ROOT / "construct", tmp_path / "construct")
    for content in (b"", b"- name: hub\n", b"name: j\xfcrgen\n"):
        (tmp_path / "construct.yaml").write_bytes(content)
        done = subprocess.run(
            [sys.executable, "-m", "construct"],
            cwd=tmp_path,
            env={"PATH": "/bin:/usr/bin", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("error: construct.yaml:1: found "), done.stderr
        assert "Traceback" not in done.stderr


def test_an_output_that_cannot_be_made_is_named_before_anything_is_built(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "dist"
    done = subprocess.run(
        [sys.executable, "-m", "construct", "--output", output],
        cwd=ROOT,
        env={"PATH": "/nowhere", "LITTLEST_HUB_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, f"error: {output}: Not a directory\n")
