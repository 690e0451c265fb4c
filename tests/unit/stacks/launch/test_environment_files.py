"""The environment that a repository asks for, as repo2docker reads it; and hostile files."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from littlest_hub.stacks.launch.environment.channels import Channels
from littlest_hub.stacks.launch.environment.contents import (
    LIMIT_BYTES,
    LOCK_LIMIT_BYTES,
    MOST_REMARKS,
)
from littlest_hub.stacks.launch.environment.environment_files import Environment, Kind, environment
from littlest_hub.stacks.launch.environment.requirements import Built

PYTHONS = ("3.11.9", "3.13.2", "3.12.7")
"""The preferred one is the last."""
PROJECT = (
    '[project]\nname = "x"\nrequires-python = ">=3.11,<3.13"\ndependencies = [\n "numpy",\n]\n'
)
BUILD_SYSTEM = '[build-system]\nrequires = ["setuptools"]\n'
UV_LOCK = """\
version = 1
revision = 3
requires-python = ">=3.12"

[[package]]
name = "numpy"
version = "2.2.1"
source = { registry = "https://pypi.org/simple" }
sdist = { url = "https://files.pythonhosted.org/numpy-2.2.1.tar.gz", hash = "sha256:00" }
wheels = [
    { url = "https://files.pythonhosted.org/numpy-2.2.1-cp312.whl", hash = "sha256:00" },
]

[[package]]
name = "x"
version = "1"
source = { virtual = "." }
"""
CONDA_LOCK = """\
version: 1
metadata:
  platforms:
  - linux-64
package:
- name: numpy
  version: 2.2.1
  manager: conda
  platform: linux-64
  url: https://conda.anaconda.org/conda-forge/linux-64/numpy-2.2.1-0.conda
- name: tiny
  version: '1'
  manager: pip
  platform: linux-64
  url: https://files.pythonhosted.org/tiny-1-py3-none-any.whl
"""
PIXI_LOCK = """\
version: 6
environments:
  default:
    packages:
      linux-64:
      - conda: https://conda.anaconda.org/conda-forge/linux-64/numpy-2.2.1-0.conda
      - pypi: https://files.pythonhosted.org/tiny-1-py3-none-any.whl
packages:
- conda: https://conda.anaconda.org/conda-forge/linux-64/numpy-2.2.1-0.conda
  sha256: 00
- pypi: https://files.pythonhosted.org/tiny-1-py3-none-any.whl
  name: tiny
"""


def asked(files: Mapping[str, str | bytes], channels: Channels | None = None) -> Environment:
    def read(file: str, most_bytes: int) -> bytes:
        found = files[file]
        return (found.encode() if isinstance(found, str) else found)[:most_bytes]

    return environment(files, read, PYTHONS, channels)


def remarks(found: Environment) -> dict[str, list[str]]:
    return {
        name: [str(each) for each in getattr(found, name)]
        for name in ("code", "refused", "left_out")
        if getattr(found, name)
    }


def test_a_repository_with_notebooks_alone_gets_the_usual_environment() -> None:
    found = asked({"README.md": "", "a.ipynb": "{}"})
    assert found == Environment(Kind.USUAL, "", (), "", False, "", "", (), (), (), ())


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("conda-lock.yml", "environment.yml"), Kind.CONDA_LOCK),
        (("environment.yml", "pixi.lock"), Kind.CONDA),
        (("environment.yaml", "requirements.txt"), Kind.CONDA),
        (("pixi.lock", "Pipfile"), Kind.PIXI),
        (("Pipfile.lock", "Pipfile", "requirements.txt"), Kind.PIPFILE_LOCK),
        (("Pipfile", "uv.lock", "pyproject.toml"), Kind.PIPFILE),
        (("uv.lock", "pyproject.toml", "requirements.txt"), Kind.UV),
        (("uv.lock", "requirements.txt"), Kind.REQUIREMENTS),
        (("requirements.txt", "pyproject.toml"), Kind.REQUIREMENTS),
        (("pyproject.toml", "runtime.txt"), Kind.PROJECT),
        (("setup.py",), Kind.PROJECT),
        (("runtime.txt",), Kind.PYTHON),
    ],
)
def test_precedence_is_repo2dockers_and_a_lock_precedes_what_it_locks(
    names: tuple[str, ...], kind: Kind
) -> None:
    texts = {
        **{"conda-lock.yml": CONDA_LOCK, "pixi.lock": PIXI_LOCK, "uv.lock": UV_LOCK},
        **{"Pipfile.lock": "{}", "runtime.txt": "python-3.12\n", "pyproject.toml": PROJECT},
    }
    found = asked({name: texts.get(name, "") for name in names})
    assert found.kind is kind
    assert not found.refused


@pytest.mark.parametrize("directory", ["binder", ".binder"])
def test_a_directory_for_binder_hides_what_is_at_the_top(directory: str) -> None:
    found = asked(
        {
            f"{directory}/requirements.txt": "numpy\n",
            "environment.yml": "dependencies: [scipy]",
            "setup.py": "",
            "Dockerfile": "FROM debian",
            "apt.txt": "graphviz",
        }
    )
    assert (found.kind, found.directory) == (Kind.REQUIREMENTS, directory)
    assert found.files == (f"{directory}/requirements.txt",)
    assert remarks(found) == {}


def test_both_directories_are_an_error_as_in_repo2docker() -> None:
    found = asked({"binder/requirements.txt": "", ".binder/environment.yml": ""})
    assert remarks(found)["refused"] == ["binder:1: there is .binder too; expected one of the two"]


def test_scripts_are_found_and_a_build_script_makes_it_the_code_tier() -> None:
    found = asked({"requirements.txt": "numpy", "postBuild": "#!/bin/sh", "start": "#!/bin/sh"})
    assert (found.post_build, found.start) == ("postBuild", "start")
    assert remarks(found) == {"code": ["postBuild:1: it runs after the packages are installed"]}


# --- Python


@pytest.mark.parametrize(
    ("files", "python"),
    [
        ({"requirements.txt": ""}, "3.12.7"),
        ({"runtime.txt": "python-3.11"}, "3.11.9"),
        ({"runtime.txt": "python-3.11.2\n", "requirements.txt": ""}, "3.11.9"),
        ({"runtime.txt": "python-3"}, "3.12.7"),
        ({"pyproject.toml": PROJECT}, "3.12.7"),
        ({"pyproject.toml": PROJECT, "runtime.txt": "python-3.11"}, "3.11.9"),
        ({"pyproject.toml": '[project]\nrequires-python = ">3.12.99"'}, "3.13.2"),
        ({"uv.lock": UV_LOCK, "pyproject.toml": PROJECT}, "3.12.7"),
        ({"Pipfile": '[requires]\npython_version = "3.11"'}, "3.11.9"),
        ({"Pipfile.lock": '{"_meta": {"requires": {"python_full_version": "3.13.0"}}}'}, "3.13.2"),
        ({"environment.yml": "dependencies: [python=3.6]", "runtime.txt": "python-3.11"}, ""),
    ],
)
def test_python_is_the_preferred_one_of_those_that_are_asked_for(
    files: dict[str, str], python: str
) -> None:
    found = asked(files)
    assert found.python == python
    assert not found.refused


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"uv.lock": UV_LOCK, "pyproject.toml": PROJECT, "runtime.txt": "python-2.7"},
            "runtime.txt:1: asks for Python '==2.7.*,>=3.12'; to be had: 3.11.9, 3.13.2, 3.12.7",
        ),
        ({"pyproject.toml": '[project]\nrequires-python = "three"'}, "'three' is no version"),
        ({"Pipfile": '[requires]\npython_version = "*"'}, "'==*.*' is no version of Python"),
        ({"runtime.txt": "julia-1.9"}, "runtime.txt:1: found 'julia-1.9', expected such as"),
        ({"runtime.txt": "3.12"}, "runtime.txt:1: found '3.12', expected such as python-3.12"),
        ({"runtime.txt": "r-4.4-2025-01-01"}, "runtime.txt:1: packages of R are supported in an"),
    ],
)
def test_a_python_that_is_not_to_be_had_is_refused(files: dict[str, str], message: str) -> None:
    (refused, *_) = remarks(asked(files))["refused"]
    assert message in refused


@pytest.mark.parametrize(
    ("files", "python", "message"),
    [
        (
            {"requirements.txt": "numpy", "runtime.txt": "python-3.7.17"},
            "3.12.7",
            "runtime.txt:1: it was made for Python 3.7; this hub has 3.12.7, which is used instead",
        ),
        (
            {"Pipfile": '[requires]\npython_version = "3.6"'},
            "3.12.7",
            "Pipfile:1: it was made for Python 3.6; this hub has 3.12.7, which is used instead",
        ),
        (
            {"pyproject.toml": PROJECT, "runtime.txt": "python-3.9"},
            "3.12.7",
            "runtime.txt:1: it was made for Python 3.9; this hub has 3.12.7, which is used instead",
        ),
    ],
)
def test_without_conda_another_python_than_the_authors_is_used_and_said(
    files: dict[str, str], python: str, message: str
) -> None:
    found = asked(files, Channels({}))
    assert found.python == python
    assert remarks(found) == {"left_out": [message]}


def test_a_lock_file_of_uv_is_ordered_with_its_project() -> None:
    files = {"pyproject.toml": "[project]\n", "uv.lock": "version = 1\n", "requirements.txt": "a"}
    assert asked(files).files == ("pyproject.toml", "uv.lock")


# --- what is not supported


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Dockerfile", "a Dockerfile is not supported"),
        ("default.nix", "Nix is not supported"),
        ("Project.toml", "Julia is not supported"),
        ("REQUIRE", "Julia is not supported"),
        ("install.R", "packages of R are supported in an environment.yml only"),
        ("DESCRIPTION", "packages of R are supported in an environment.yml only"),
    ],
)
def test_what_is_not_supported_is_named_and_refused_if_nothing_else_is_there(
    name: str, message: str
) -> None:
    alone, beside = asked({name: ""}), asked({name: "", "requirements.txt": ""})
    assert remarks(alone)["refused"][0].startswith(f"{name}:1: {message}")
    assert not beside.refused
    assert remarks(beside)["left_out"][0].startswith(f"{name}:1: {message}")


def test_packages_of_the_system_are_listed_with_their_lines() -> None:
    found = asked({"apt.txt": "# tools\ngraphviz ffmpeg # both\n\nlibgl1\n$(id)\x1b[2J\n"})
    assert remarks(found)["left_out"][:2] == [
        "apt.txt:2: packages of the system are not installed: graphviz, ffmpeg",
        "apt.txt:4: packages of the system are not installed: libgl1",
    ]
    assert all(remark.isprintable() for remark in remarks(found)["left_out"])


def test_a_project_of_poetry_without_a_standard_table_says_so() -> None:
    found = asked({"pyproject.toml": '[tool.poetry]\nname = "x"\n' + BUILD_SYSTEM})
    assert found.kind is Kind.USUAL
    assert "has no table [project]" in remarks(found)["left_out"][0]


# --- projects


def test_a_project_that_is_no_package_has_only_its_dependencies_installed() -> None:
    found = asked({"pyproject.toml": PROJECT})
    assert not found.installs_repository
    assert remarks(found) == {}


def test_a_package_is_built_which_runs_its_code() -> None:
    for files in (
        {"pyproject.toml": PROJECT + BUILD_SYSTEM},
        {"setup.py": "import os"},
        {"setup.py": "", "pyproject.toml": "[tool.black]"},
        {"requirements.txt": "numpy", "setup.py": ""},
    ):
        found = asked(files)
        assert found.installs_repository
        assert "the repository is a package" in remarks(found)["code"][0]


def test_dependencies_and_sources_of_a_project_are_judged_with_their_lines() -> None:
    found = asked(
        {
            "pyproject.toml": '[project]\ndependencies = [\n "a @ git+https://git.example.org/a",\n'
            ' "-r /etc/passwd",\n]\n[tool.uv.sources]\nb = { path = "b" }\n'
            'c = { path = "../c" }\n'
        }
    )
    assert remarks(found) == {
        "code": [
            "pyproject.toml:3: 'a' is built from a git repository at git.example.org",
            "pyproject.toml:7: 'b' is built and installed",
        ],
        "refused": [
            "pyproject.toml:4: '-r /etc/passwd' is no requirement (PEP 508)",
            "pyproject.toml:8: '../c' is not in the repository",
        ],
    }
    assert found.hosts == ("git.example.org",)


# --- lock files


@pytest.mark.parametrize(
    ("source", "is_code"),
    [
        ('source = { editable = "." }', True),
        ('source = { git = "https://git.example.org/a?rev=main#00" }', True),
        ('source = { directory = "lib" }', True),
        ('source = { url = "https://git.example.org/a.tar.gz" }\nsdist = { hash = "x" }', True),
        ('source = { registry = "https://pypi.org/simple" }\nsdist = { url = "x" }', True),
        ('source = { url = "https://git.example.org/a-1-py3-none-any.whl" }', False),
        ('source = { path = "a-1-py3-none-any.whl" }', False),
        ('source = { virtual = "." }', False),
        ("", True),
    ],
)
def test_packages_without_wheels_in_a_uv_lock_run_code(source: str, is_code: bool) -> None:
    lock = f'{UV_LOCK}\n[[package]]\nname = "own"\nversion = "1"\n{source}\n'
    found = asked({"uv.lock": lock, "pyproject.toml": PROJECT})
    code = remarks(found).get("code", [])
    assert [each.startswith("uv.lock:19: 'own' is built") for each in code] == [True] * is_code


def test_sources_of_a_uv_lock_and_of_a_pipfile_are_built_at_their_commits() -> None:
    commit = "0" * 40
    sources = [
        'source = { editable = "." }',
        f'source = {{ git = "https://git.example.org/a?subdirectory=s&rev=x#{commit}" }}',
        'source = { registry = "https://pypi.org/simple" }\nsdist = { url = "x" }',
        'source = { directory = "lib" }',
    ]
    lock = UV_LOCK + "".join(
        f'\n[[package]]\nname = "own{number}"\nversion = "1"\n{source}\n'
        for number, source in enumerate(sources)
    )
    found = asked({"uv.lock": lock, "pyproject.toml": PROJECT})
    assert found.wanted.built == [
        Built("./.", "own0"),
        Built(f"git+https://git.example.org/a@{commit}#subdirectory=s", "own1"),
        Built("==1", "own2"),
        Built("./lib", "own3"),
    ]
    pipfile = '[packages]\na = { git = "https://git.example.org/a", ref = "v1", extras = ["x"] }\n'
    found = asked({"Pipfile": pipfile})
    assert found.wanted.built == [Built("git+https://git.example.org/a@v1", "a", "[x]")]


def test_a_conda_lock_is_judged_for_this_platform() -> None:
    assert remarks(asked({"conda-lock.yml": CONDA_LOCK})) == {}
    lock = CONDA_LOCK.replace("tiny-1-py3-none-any.whl", "tiny-1.tar.gz")
    remark = {"code": ["conda-lock.yml:11: 'tiny' is built from its source"]}
    assert remarks(asked({"conda-lock.yml": lock})) == remark
    # Older releases of conda-lock sort the keys.
    lock = lock.replace("- name: tiny\n", "- category: main\n  name: tiny\n")
    assert remarks(asked({"conda-lock.yml": lock})) == remark
    lock = CONDA_LOCK.replace("linux-64", "osx-arm64")
    assert remarks(asked({"conda-lock.yml": lock})) == {
        "refused": ["conda-lock.yml:1: it has no packages for linux-64"]
    }
    lock = CONDA_LOCK.replace("https://conda", "file:///conda")
    assert "expected packages at https://" in remarks(asked({"conda-lock.yml": lock}))["refused"][0]


@pytest.mark.parametrize(
    ("line", "remark"),
    [
        ("- pypi: ./", {"code": ["pixi.lock:13: './' is built from its source"]}),
        ("- conda: .", {"code": ["pixi.lock:13: '.' is built from its source"]}),
        (
            "- pypi: https://files.pythonhosted.org/a-1.tar.gz",
            {
                "code": [
                    "pixi.lock:13: 'https://files.pythonhosted.org/a-1.tar.gz' is built from its"
                    " source"
                ]
            },
        ),
        ("- pypi: https://files.pythonhosted.org/a-1-py3-none-any.whl#sha256=00", {}),
    ],
)
def test_a_pixi_lock_is_judged_line_by_line(line: str, remark: dict[str, list[str]]) -> None:
    assert remarks(asked({"pixi.lock": f"{PIXI_LOCK}{line}\n"})) == remark


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("pixi.lock", "version: 3\n", "pixi.lock:1: expected a line 'version: [67]'"),
        ("pixi.lock", "version: 6\n", "pixi.lock:1: it has no packages for linux-64"),
        ("conda-lock.yml", "# x\n", "conda-lock.yml:1: expected a line 'version: 1'"),
        ("uv.lock", "version = 9\n", "uv.lock:1: expected a line 'version = 1'"),
        ("Pipfile.lock", "[", "Pipfile.lock:1: it is no JSON"),
    ],
)
def test_a_lock_of_another_version_is_refused(name: str, text: str, message: str) -> None:
    found = asked({name: text, "pyproject.toml": PROJECT})
    assert remarks(found)["refused"][0] == message


def test_both_kinds_of_pipfile_are_judged() -> None:
    pipfile = """\
[[source]]
url = "https://index.example.org/simple"
[packages]
numpy = "*"
tiny = { git = "https://git.example.org/tiny" }
[dev-packages]
mine = { path = ".", editable = true }
"""
    found = asked({"Pipfile": pipfile})
    assert remarks(found)["code"] == [
        "Pipfile:5: 'tiny' is built from a git repository at git.example.org",
        "Pipfile:7: the repository itself is built and installed",
    ]
    assert found.hosts == ("git.example.org", "index.example.org")
    lock = {
        "default": {"numpy": {"version": "==2"}, "a": {"git": "https://git.example.org/a"}},
        "develop": {"c": {"file": "https://git.example.org/c.zip"}, "d": None},
    }
    found = asked({"Pipfile.lock": json.dumps(lock, indent=1)})
    assert [each.partition(" ")[2] for each in remarks(found)["code"]] == [
        "'a' is built from a git repository at git.example.org",
        "'c' is built from an archive at git.example.org",
    ]
    assert remarks(found)["code"][0].startswith("Pipfile.lock:6: ")


# --- conda


def test_the_pip_section_of_a_conda_environment_is_judged() -> None:
    found = asked(
        {
            "environment.yml": "channels:\n- conda-forge\n"
            "dependencies:\n- python=3.11\n- pip\n- pip:\n  - numpy\n  - -e .\n  - -r more.txt\n",
            "more.txt": "git+https://git.example.org/a\n",
        }
    )
    assert remarks(found) == {
        "code": [
            "environment.yml:8: the repository itself is built and installed",
            "more.txt:1: 'git+https://git.example.org/a' is built from a git repository at"
            " git.example.org",
        ]
    }
    assert found.files == ("environment.yml", "more.txt")
    assert found.hosts == ("git.example.org",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "dependencies:",
        "dependencies: {a: b}",
        "dependencies: [[a], {pip: a}, {pip: [[a]]}]",
    ],
)
def test_a_conda_environment_of_another_shape_runs_nothing(text: str) -> None:
    found = asked({"environment.yml": text})
    assert found.kind is Kind.CONDA
    assert not found.code


# --- hostile files

BOMB = "n0: &n0 [x]\n" + "".join(
    f"n{n}: &n{n} [{', '.join([f'*n{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("environment.yml", "!!python/object/apply:os.system [id]", ""),
        ("environment.yml", BOMB + "dependencies: *n11\n", ""),
        ("environment.yml", "[" * 60_000, "1: it has more than" if LIMIT_BYTES < 60_000 else "1: "),
        ("environment.yml", "a: b: c", "environment.yml:1: no YAML: mapping values"),
        ("environment.yml", "a: 1\nb: [\n", "environment.yml:3: no YAML"),
        ("environment.yml", "\x01", "environment.yml:1: it is no YAML"),
        ("environment.yml", "a\0b", "environment.yml:1: expected text with lines of at most"),
        ("environment.yml", "- a\n" * 50_000, "environment.yml:1: it has more than 64 KiB"),
        ("requirements.txt", "a\n" * 3000, "requirements.txt:2001: more than 2000 packages"),
        ("requirements.txt", b"numpy\n\xff\xff", "requirements.txt:2: it is no text in UTF-8"),
        ("requirements.txt", "x" * 5000, "requirements.txt:1: expected text with lines of at most"),
        ("pyproject.toml", "a = " + "[" * 4000, "pyproject.toml:1: it is no TOML"),
        ("pyproject.toml", "a." * 4000 + "a = 1", "pyproject.toml:1: expected text with lines"),
        ("pyproject.toml", "[project]\ndependencies = 3", ""),
        ("pyproject.toml", "project = 3", ""),
        ("Pipfile.lock", "[" * 1_000_000, "Pipfile.lock:1: expected text with lines"),
        ("Pipfile.lock", "[\n" * 1_000_000, "Pipfile.lock:1: it is no JSON"),
        ("Pipfile.lock", '{"default": []}', ""),
        ("Pipfile.lock", "3", ""),
        ("Pipfile.lock", "1" * 4000 + "\n", ""),
        ("pixi.lock", "\n" * (LOCK_LIMIT_BYTES + 1), "pixi.lock:1: it has more than 4096 KiB"),
    ],
)
def test_hostile_files_are_refused_or_harmless(name: str, text: str | bytes, message: str) -> None:
    found = asked({name: text})
    refused = remarks(found).get("refused", [""])
    assert message in refused[0]
    assert bool(message) is bool(found.refused)
    assert all(remark.isprintable() for remark in refused)


def test_a_million_remarks_are_not_kept() -> None:
    lock = UV_LOCK + '\n[[package]]\nname = "x"\n' * 5000
    assert len(asked({"uv.lock": lock, "pyproject.toml": PROJECT}).code) == MOST_REMARKS


@pytest.mark.parametrize("item", ["a", "''"])
def test_lists_of_aliases_to_lists_have_an_end(item: str) -> None:
    """Each of 3500 dependencies has 3500 lines: reading them all would take a minute."""
    entry = f"- {item}\n"
    text = "x: &x\n" + entry * 3500 + "dependencies:\n" + "- {pip: *x}\n" * 3500
    assert "more than 2000 packages" in remarks(asked({"environment.yml": text}))["refused"][0]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(
            [
                *("requirements.txt", "environment.yml", "pyproject.toml", "Pipfile", "uv.lock"),
                *(
                    "Pipfile.lock",
                    "pixi.lock",
                    "conda-lock.yml",
                    "runtime.txt",
                    "apt.txt",
                    "setup.py",
                ),
            ]
        ),
        st.binary(max_size=80) | st.text(max_size=80).map(lambda text: text.encode("utf-16")),
    )
)
def test_no_bytes_raise(files: dict[str, bytes]) -> None:
    found = asked(files)
    for remark in (*found.code, *found.refused, *found.left_out):
        assert str(remark).isprintable()
        assert remark.line >= 1
