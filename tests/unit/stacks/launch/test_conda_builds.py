"""Environments of conda, built with the real py-rattler and uv from a channel on this machine."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.builder import lock
from littlest_hub.stacks.launch.builder.program import Builder, Result
from littlest_hub.stacks.launch.builder.pythons import Python
from littlest_hub.stacks.launch.environment.channels import ALIAS, Channels
from littlest_hub.stacks.launch.order import Order
from littlest_hub.system.digests import sha256
from littlest_hub.system.uv import NoSolutionError
from tests.channel import Oddities, ServedChannel, add_python
from tests.launch_site import Site, asked

BACKEND = """\
import os, zipfile
def build_wheel(directory, settings=None, metadata=None):
    wheel, info = "own-1.0-py3-none-any.whl", "own-1.0.dist-info/"
    with zipfile.ZipFile(os.path.join(directory, wheel), "w") as archive:
        archive.writestr("own.py", "MADE = 1")
        archive.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: own\\nVersion: 1.0\\n")
        tag = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        archive.writestr(info + "WHEEL", tag)
        archive.writestr(info + "RECORD", "")
    return wheel
"""
PACKAGE_OF_PYTHON = Oddities(index={"noarch": "python"})


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path) -> Iterator[None]:
    """Assert after each test that nothing of the packages has been run."""
    yield
    assert not (tmp_path / "run").exists()


def of_conda(*specs: str, pip: tuple[str, ...] = ()) -> dict[str, str]:
    lines = [f"- '{each}'\n" for each in specs]
    lines += ["- pip:\n", *(f"  - '{each}'\n" for each in pip)] if pip else []
    return asked(environment_yml=f"dependencies:\n{''.join(lines)}")


def dist(name: str, version: str) -> dict[str, str]:
    """Return files of a package that brings a Python distribution."""
    info = f"site-packages/{name}-{version}.dist-info"
    return {f"site-packages/{name}.py": "", f"{info}/METADATA": "", f"{info}/RECORD": ""}


def spec_of(site: Site, built: Result, name: str = "python3") -> dict[str, object]:
    file = site.place.environment(built.key) / f"share/jupyter/kernels/{name}/kernel.json"
    found: dict[str, object] = json.loads(file.read_text())
    return found


def test_an_environment_has_what_the_repository_asks_for_and_a_kernel(
    conda_site: Site, channel: ServedChannel
) -> None:
    channel.add("alpha", {"share/alpha.txt": "1"}, ["beta"], "1.0")
    channel.add("alpha", {"share/alpha.txt": "2"}, ["beta"], "2.0")
    channel.add("beta", {"site-packages/beta.py": ""}, ["python"], oddities=PACKAGE_OF_PYTHON)
    built = conda_site.build(of_conda("alpha=1"))
    directory = conda_site.place.environment(built.key)
    assert (directory / "share/alpha.txt").read_text() == "1"
    assert (directory / "lib/python3.10/site-packages/beta.py").exists()
    assert (directory / "lib/python3.10/site-packages/ipykernel_launcher.py").exists()
    assert conda_site.place.is_complete(built.key)
    spec = spec_of(conda_site, built)
    argv, variables = spec["argv"], spec["env"]
    assert argv == [
        f"{directory}/bin/python",
        *("-m", "ipykernel_launcher", "-f", "{connection_file}"),
    ]
    assert isinstance(variables, dict)
    assert variables["CONDA_PREFIX"] == str(directory)
    assert variables["PATH"] == f"{directory}/bin:${{PATH}}"


def test_wheels_come_on_top_for_the_python_of_conda(
    conda_site: Site, channel: ServedChannel
) -> None:
    conda_site.index.add("gamma", requires=["alpha>=1", "delta"])
    script = {"gamma-1.0.data/scripts/gamma": "#!python\nprint()\n", "gamma.py": ""}
    conda_site.index.add("gamma", requires=["alpha>=1", "delta"], files=script)
    conda_site.index.add("delta")
    channel.add("alpha", dist("alpha", "1.5"), ["python"], "1.5", PACKAGE_OF_PYTHON)
    built = conda_site.build(of_conda("alpha", pip=("gamma",)))
    directory = conda_site.place.environment(built.key)
    modules = directory / "lib/python3.10/site-packages"
    assert {"gamma.py", "delta.py", "alpha.py"} <= {each.name for each in modules.iterdir()}
    # The index has no alpha at all: what conda brings is there already.
    assert {each.name for each in lock.of_text(built.lock).pins} == {"gamma", "delta"}
    first = (directory / "bin/gamma").read_text().splitlines()
    assert f"{directory}/bin/python" in "\n".join(first[:2])
    assert str(conda_site.place.pythons) not in "\n".join(first)
    assert not (directory / ".lock").exists()
    assert list(conda_site.place.packages.glob(".*")) == []


@pytest.mark.long
def test_wheels_never_replace_what_conda_has_installed(
    conda_site: Site, channel: ServedChannel
) -> None:
    channel.add("alpha", dist("alpha", "1.5"), ["python"], "1.5", PACKAGE_OF_PYTHON)
    conda_site.index.add("alpha", "2.0")
    with pytest.raises(NoSolutionError, match=r"alpha==1\.5.*alpha>=2|alpha>=2.*alpha==1\.5"):
        conda_site.build(of_conda("alpha", pip=("alpha>=2",)))
    assert list(conda_site.place.built.iterdir()) == []


@pytest.mark.long
def test_files_are_shared_with_the_store_but_not_those_that_name_the_environment(
    conda_site: Site, channel: ServedChannel
) -> None:
    placeholder = "/home/builder/placehold_placehold_placehold"
    named = {"_path": "etc/named", "path_type": "hardlink", "prefix_placeholder": placeholder}
    plain = {"_path": "share/plain", "path_type": "hardlink"}
    odd = Oddities(paths=[{**named, "file_mode": "text"}, plain])
    channel.add("alpha", {"share/plain": "x", "etc/named": f"{placeholder}/y"}, oddities=odd)
    channel.add("beta", {"share/beta": ""})
    built = [conda_site.build(of_conda(*specs)) for specs in (("alpha",), ("alpha", "beta"))]
    one, other = (conda_site.place.environment(each.key) for each in built)
    assert (one / "share/plain").samefile(other / "share/plain")
    assert (one / "share/plain").stat().st_nlink == 3
    assert (one / "etc/named").read_text() == f"{one}/y"
    kernel = "share/jupyter/kernels/python3/kernel.json"
    assert (one / kernel).stat().st_nlink == 1
    stored = [each.read_text() for each in conda_site.place.packages.rglob("kernel.json")]
    assert stored
    assert not any(str(conda_site.place.home) in each for each in stored)


@pytest.mark.long
def test_the_same_packages_are_built_once_whatever_file_they_come_from(
    conda_site: Site, channel: ServedChannel
) -> None:
    channel.add("alpha", {"share/alpha": ""})
    first = conda_site.build(of_conda("alpha"))
    files = [*channel.directory.rglob("*.tar.bz2")]
    for name, text in (("conda-lock.yml", conda_lock(files)), ("pixi.lock", pixi_lock(files))):
        assert conda_site.build({name: text}) == first
        assert conda_site.lines[-1] == "the environment is there already: nothing was built"
    asked_for = len(channel.requested)
    again = asked(environment_yml="dependencies: [alpha]  # again\n")
    conda_site.place.record(first.key).unlink()
    assert conda_site.build(again, lock=first.lock) == first
    assert len(channel.requested) == asked_for, "the store has all of them"


@pytest.mark.long
def test_a_lock_file_without_a_kernel_gets_a_wheel_of_it(
    conda_site: Site, channel: ServedChannel
) -> None:
    [python] = channel.directory.rglob("python-*.tar.bz2")
    built = conda_site.build({"conda-lock.yml": conda_lock([python])})
    directory = conda_site.place.environment(built.key)
    names = {each.name for each in (directory / "lib/python3.10/site-packages").iterdir()}
    assert {"ipykernel_launcher.py", "traitlets.py"} <= names
    assert spec_of(conda_site, built)["display_name"] == "Python 3"


def test_a_lock_file_without_python_is_refused(conda_site: Site, channel: ServedChannel) -> None:
    file = channel.add("alpha", {"share/alpha": ""})
    with pytest.raises(LittlestHubError, match=r"conda-lock\.yml: it has no python"):
        conda_site.build({"conda-lock.yml": conda_lock([file])})


@pytest.mark.parametrize(
    ("name", "version", "where"),
    [
        ("trap", "1.0", "{trap}"),
        ("trap", "1.0", "git+file://{trap}"),
        ("trap", "1.0", "file://{trap}/trap-1.0-py3-none-any.whl"),
        ("trap", "1.0", "https://127.0.0.1/trap-1.0.tar.gz"),
        ("trap", "1.0", "https://127.0.0.1/${UV_DEFAULT_INDEX}/trap-1.0-py3-none-any.whl"),
        ("trap", "1.0", "https://127.0.0.1/x -e {trap} .whl"),
        ("-e {trap}", "1.0", "https://127.0.0.1/trap-1.0-py3-none-any.whl"),
        ("trap\\n-e {trap}", "1.0", "https://127.0.0.1/trap-1.0-py3-none-any.whl"),
    ],
)
def test_wheels_of_a_lock_file_are_wheels_however_it_is_written(
    conda_site: Site, channel: ServedChannel, name: str, version: str, where: str
) -> None:
    """The lines are not those that are looked for before, so nothing has been said of them."""
    trap = conda_site.place.home.parent / "trap"
    trap.mkdir()
    run = conda_site.place.home.parent / "run"
    (trap / "setup.py").write_text(f"open({str(run)!r}, 'w').close()\n")
    where, name = where.replace("{trap}", str(trap)), name.replace("{trap}", str(trap))
    [python] = channel.directory.rglob("python-*.tar.bz2")
    entry = f'- "name": "{name}"\n  "version": "{version}"\n  "manager": "pip"\n'
    entry += f'  "platform": "linux-64"\n  "dependencies": {{}}\n  "url": "{where}"\n'
    entry += f'  "hash": {{"sha256": "{"0" * 64}"}}\n  "category": "main"\n  "optional": false\n'
    with pytest.raises(LittlestHubError) as raised:
        conda_site.build({"conda-lock.yml": conda_lock([python]) + entry})
    assert "built from its source" not in str(raised.value)
    pixi = pixi_lock([python]).replace("packages:\n- ", f'packages:\n- "pypi": "{where}"\n- ', 1)
    pixi = pixi.replace(
        "      linux-64:\n", f'      linux-64:\n      - "pypi": "{where}"\n', 1
    ).replace(
        f'- "pypi": "{where}"\n- ',
        f'- "pypi": "{where}"\n  "name": "{name}"\n  "version": "{version}"\n- ',
        1,
    )
    with pytest.raises(LittlestHubError) as raised:
        conda_site.build({"pixi.lock": pixi})
    assert "built from its source" not in str(raised.value)


def test_a_lock_file_for_another_machine_is_refused(
    conda_site: Site, channel: ServedChannel
) -> None:
    [python] = channel.directory.rglob("python-*.tar.bz2")
    file = channel.add("alpha", {"share/alpha": ""}, ["__glibc >=9.9"])
    with pytest.raises(LittlestHubError, match=r"alpha 1\.0 needs __glibc >=9\.9; this machine"):
        conda_site.build({"conda-lock.yml": conda_lock([file, python])})


@pytest.mark.long
def test_a_lock_file_may_choose_packages_for_a_graphics_processor(
    conda_site: Site, channel: ServedChannel
) -> None:
    """The builder sees no devices; where the server runs, there may be some."""
    files = [*channel.directory.rglob("*.tar.bz2")]
    files.append(channel.add("alpha", {"share/alpha": ""}, ["__cuda", "__archspec 1.* x86_64_v9"]))
    built = conda_site.build({"conda-lock.yml": conda_lock(files)})
    assert (conda_site.place.environment(built.key) / "share/alpha").exists()


def test_a_file_with_another_hash_is_not_unpacked(conda_site: Site, channel: ServedChannel) -> None:
    [python] = channel.directory.rglob("python-*.tar.bz2")
    text, right = conda_lock([python]), python.read_bytes()
    python.write_bytes(channel.add("alpha", {"share/alpha": ""}).read_bytes())
    with pytest.raises(
        LittlestHubError, match=r"python-3\.10\.4-0\.tar\.bz2: the file has the SHA"
    ):
        conda_site.build({"conda-lock.yml": text})
    python.write_bytes(right)
    channel.add("beta", {"share/beta": ""}, oddities=Oddities(sha256="0" * 64))
    with pytest.raises(LittlestHubError, match=r"beta-1\.0-0\.tar\.bz2: the file has the SHA-256"):
        conda_site.build(of_conda("beta"))
    assert list(conda_site.place.built.iterdir()) == []
    names = {each.name for each in conda_site.place.packages.iterdir()}
    assert "0" * 64 not in names
    assert not [each for each in names if each.startswith(".")]


def test_a_kept_lock_names_permitted_channels_alone(
    conda_site: Site, channel: ServedChannel
) -> None:
    built = conda_site.build(of_conda("python"))
    conda_site.channels = Channels()
    other = Site(conda_site.place.home.parent / "other", conda_site.release, conda_site.index)
    with pytest.raises(LittlestHubError, match="is none of the channels that this hub permits"):
        other.build(of_conda("python"), lock=built.lock)
    assert list(other.place.built.iterdir()) == []


def test_a_conflict_names_the_packages_and_a_date_is_offered_if_there_was_a_solution_then(
    conda_site: Site, channel: ServedChannel, tmp_path: Path
) -> None:
    def at(year: int) -> Oddities:
        moment = datetime.datetime(year, 1, 1, tzinfo=datetime.UTC)
        return Oddities(index={"timestamp": int(moment.timestamp() * 1000)})

    for file in channel.directory.rglob("*.json"):
        data = json.loads(file.read_text())
        for entry in data["packages"].values():
            entry["timestamp"] = 1_500_000_000_000
        file.write_text(json.dumps(data))
    channel.add("alpha", {}, ["beta >=2"], "1.0", at(2023))
    channel.add("gamma", {}, ["beta <2"], "1.0", at(2020))
    channel.add("gamma", {}, ["beta <1"], "1.1", at(2024))
    channel.add("beta", {}, [], "1.0", at(2020))
    with pytest.raises(NoSolutionError) as raised:
        conda_site.build(of_conda("alpha", "gamma"), committed="2021-06-01")
    message = raised.value.message
    assert message.startswith("there is no solution: alpha")
    assert "beta >=2" in message
    order = Order(files=of_conda("gamma==1.0"), committed="2021-06-01")
    assert conda_site.builder.offer(order) == "2021-06-01"
    assert conda_site.builder.offer(replace(order, files=of_conda("alpha"))) == ""
    built = conda_site.build(of_conda("gamma"), as_of="2021-06-01")
    assert "gamma-1.0-0" in built.lock


def test_a_channel_that_does_not_answer_is_named(conda_site: Site) -> None:
    conda_site.channels = Channels({"conda-forge": "http://127.0.0.1:1/conda-forge"})
    with pytest.raises(LittlestHubError, match=r"a channel does not answer: .*127\.0\.0\.1:1"):
        conda_site.build(of_conda("python"))


@pytest.mark.long
def test_a_python_that_the_release_does_not_have_comes_from_the_channel(
    conda_site: Site, channel: ServedChannel
) -> None:
    conda_site.index.add("alpha")
    built = conda_site.build(asked(runtime_txt="python-3.10", requirements_txt="alpha"))
    modules = conda_site.place.environment(built.key) / "lib/python3.10/site-packages"
    assert {"alpha.py", "ipykernel_launcher.py"} <= {each.name for each in modules.iterdir()}
    assert lock.of_text(built.lock).python == "3.10.4"


def test_without_py_rattler_it_says_how_to_add_it(conda_site: Site) -> None:
    builder = Builder(conda_site.place, conda_site.uv, Python.of(conda_site.release))
    with pytest.raises(LittlestHubError) as raised:
        builder.build(Order(files=of_conda("python")), lambda _: None)
    assert "need py-rattler" in raised.value.message
    assert "packages add --tool py-rattler" in str(raised.value.hint)


@pytest.mark.long
def test_a_kernel_starts_as_in_an_activated_shell(conda_site: Site, channel: ServedChannel) -> None:
    """Scripts of etc/conda/activate.d run when a kernel starts, never during the build."""
    trap = f"touch {conda_site.place.home.parent}/run"
    script = f'{trap}; set -- x; export ALPHA="$CONDA_PREFIX/alpha"; cd /; echo noise; false\n'
    channel.add("alpha", {"etc/conda/activate.d/alpha.sh": script})
    spec = {"argv": ["own", "{connection_file}"], "display_name": "own", "env": {"OWN": "1"}}
    program = '#!/bin/sh\necho "$ALPHA|$OWN|$CONDA_PREFIX|$1"; command -v own\n'
    files = {"share/jupyter/kernels/own/kernel.json": json.dumps(spec), "bin/own": program}
    channel.add("own", files, oddities=Oddities(modes={"bin/own": 0o755}))
    built = conda_site.build(of_conda("alpha", "own"))
    directory = conda_site.place.environment(built.key)
    found = spec_of(conda_site, built, "own")
    argv, variables = found["argv"], found["env"]
    assert isinstance(argv, list)
    assert isinstance(variables, dict)
    assert not (conda_site.place.home.parent / "run").exists()
    path = os.environ["PATH"]
    given = {name: text.replace("${PATH}", path) for name, text in variables.items()}
    command = [each.replace("{connection_file}", "it") for each in argv]
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [f"{directory}/alpha|1|{directory}|it", f"{directory}/bin/own"]
    (conda_site.place.home.parent / "run").unlink()
    own = spec_of(conda_site, built)["argv"]
    assert isinstance(own, list)
    assert own[4:] == [
        f"{directory}/bin/python",
        *("-m", "ipykernel_launcher", "-f", "{connection_file}"),
    ]


@pytest.mark.needs("unshare", "ip")
def test_a_script_that_was_approved_changes_a_copy_of_its_own(
    conda_site: Site, channel: ServedChannel
) -> None:
    channel.add("alpha", {"share/alpha": "of the store"})
    script = '#!/bin/sh\ncd "$NB_PYTHON_PREFIX"\necho changed > share/alpha\necho > share/own\n'
    built = conda_site.launch({**of_conda("alpha"), "postBuild": script})
    directory = conda_site.place.environment(built.key)
    assert (directory / "share/alpha").read_text() == "changed\n"
    assert (directory / "share/own").exists()
    assert [each.read_text() for each in conda_site.place.packages.glob("*/share/alpha")] == [
        "of the store"
    ]
    assert spec_of(conda_site, built)["display_name"] == "Python 3"
    other = conda_site.build(of_conda("alpha"))
    assert other.key != built.key
    assert (conda_site.place.environment(other.key) / "share/alpha").read_text() == "of the store"


@pytest.mark.long
@pytest.mark.needs("unshare", "ip")
def test_a_package_of_the_pip_section_is_built_if_somebody_has_approved_that(
    conda_site: Site,
) -> None:
    files = {
        **of_conda("python", pip=("./own",)),
        "own/pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\n'
        'backend-path = ["."]\n[project]\nname = "own"\nversion = "1.0"\n',
        "own/backend.py": BACKEND,
    }
    with pytest.raises(LittlestHubError, match=r"own' is built and installed"):
        conda_site.build(files)
    built = conda_site.launch(files)
    modules = conda_site.place.environment(built.key) / "lib/python3.10/site-packages"
    assert (modules / "own.py").read_text() == "MADE = 1"
    assert "own @ built:" in built.lock


@pytest.mark.long
def test_a_real_python_of_conda_imports_what_is_there(
    conda_site: Site, channel: ServedChannel
) -> None:
    """Its bytecode is that of the release, which has the same compiler."""
    python = Python.of(conda_site.release)
    files = {
        str(each.relative_to(conda_site.release)): (each.read_bytes(), each.stat().st_mode & 0o777)
        for each in conda_site.release.rglob("*")
        if each.is_file() and "conda-meta" not in each.parts and each.suffix != ".pyc"
    }
    add_python(channel.directory, python.version, files)
    channel.add("alpha", dist("alpha", "1"), ["python"], oddities=PACKAGE_OF_PYTHON)
    conda_site.index.add("beta")
    built = conda_site.build(of_conda(f"python={python.version}", "alpha", pip=("beta",)))
    conda_site.builder.finish(built)
    directory = conda_site.place.environment(built.key)
    program = "import alpha, beta, ipykernel_launcher, sys; print(sys.prefix, beta.__cached__)"
    prefix, compiled = conda_site.run(built, program).split()
    assert prefix == str(directory)
    assert Path(compiled).stat().st_nlink == 2


def conda_lock(files: list[Path]) -> str:
    """Return a lock file as conda-lock writes it."""
    header = "version: 1\nmetadata:\n  content_hash:\n    linux-64: '0'\n  channels:\n"
    header += "  - url: conda-forge\n    used_env_vars: []\n  platforms:\n  - linux-64\n"
    header += "  sources:\n  - environment.yml\npackage:\n"
    entries = []
    for each in files:
        name, version, _ = each.name.rsplit("-", 2)
        entries.append(
            f"- name: {name}\n  version: '{version}'\n  manager: conda\n  platform: linux-64\n"
            f"  dependencies: {{}}\n  url: {ALIAS}/conda-forge/{each.parent.name}/{each.name}\n"
            f"  hash:\n    md5: {hashlib.md5(each.read_bytes()).hexdigest()}\n"
            f"    sha256: {sha256(each)}\n  category: main\n  optional: false\n"
        )
    return header + "".join(entries)


def pixi_lock(files: list[Path]) -> str:
    """Return a lock file as pixi writes it."""
    urls = {f"{ALIAS}/conda-forge/{each.parent.name}/{each.name}": each for each in files}
    listed = "".join(f"      - conda: {url}\n" for url in urls)
    packages = "".join(
        f"- conda: {url}\n  sha256: {sha256(each)}\n  depends: []\n" for url, each in urls.items()
    )
    return (
        f"version: 6\nenvironments:\n  default:\n    channels:\n    - url: {ALIAS}/conda-forge/\n"
        f"    packages:\n      linux-64:\n{listed}packages:\n{packages}"
    )
