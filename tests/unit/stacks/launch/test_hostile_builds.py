"""Repositories and packages that want to run something, or to put it where others find it."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from uv import find_uv_bin

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch import order
from littlest_hub.stacks.launch.builder import lock
from littlest_hub.stacks.launch.builder.lock import of_text
from littlest_hub.stacks.launch.environment.environment_files import environment
from littlest_hub.stacks.launch.order import Order
from littlest_hub.system.uv import NoSolutionError
from tests.launch_site import Site, asked
from tests.package_index import PackageIndex

BACKEND = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A project whose build writes a file, `run`, in this directory."""
    directory = tmp_path / "trap"
    directory.mkdir()
    program = f"open({str(directory / 'run')!r}, 'w').close()\n"
    (directory / "setup.py").write_text(program)
    (directory / "backend.py").write_text(program)
    text = '[project]\nname = "trap"\nversion = "1"\ndependencies = []\n'
    (directory / "pyproject.toml").write_text(text + BACKEND)
    return directory


def source(index: PackageIndex, trap: Path, name: str) -> None:
    """Add a package that is to be had as source only."""
    with tarfile.open(index.files / f"{name}-1.0.tar.gz", "w:gz") as archive:
        contents = {
            "setup.py": (trap / "setup.py").read_text(),
            "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        }
        for path, text in contents.items():
            member = tarfile.TarInfo(f"{name}-1.0/{path}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))


@pytest.mark.parametrize(
    "line",
    [
        "-e {trap}",
        "-e file://{trap}",
        "{trap}",
        "./trap",
        "-e ./trap",
        "trap @ file://{trap}",
        "git+file://{trap}",
        "trap @ https://127.0.0.1/trap-1.0.tar.gz",
        "alpha --config-settings=x=y",
        "--no-binary :all:",
        "alpha --global-option=x",
        "-r /etc/passwd",
        "--index-url file:///etc",
        "--find-links {trap}",
        "--trusted-host 127.0.0.1",
        "alpha ; python_version>'3' --hash=sha256:00\n-e {trap}",
        "alpha @ https://u:p@example.org/alpha-1.0-py3-none-any.whl",
    ],
)
def test_a_line_that_would_run_code_is_refused_before_uv_sees_it(
    site: Site, trap: Path, line: str
) -> None:
    files = asked(requirements_txt=f"{line.format(trap=trap)}\n")
    with pytest.raises(LittlestHubError, match=r"requirements\.txt:\d"):
        site.build(files)
    # And if the check were wrong: the line is not among those that uv gets.
    found = environment(files, lambda file, _: files[file].encode(), ["3.11"])
    assert not [each for each in found.wanted.packages if str(trap) in each or "tar.gz" in each]
    assert not [each for each in found.wanted.indexes if "https://" not in each]
    assert not (trap / "run").exists()


def test_a_package_without_a_wheel_is_not_built(site: Site, trap: Path) -> None:
    source(site.index, trap, "onlysource")
    with pytest.raises(NoSolutionError) as raised:
        site.build(asked(requirements_txt="onlysource"))
    assert "onlysource==1.0 has no usable wheels" in raised.value.message
    assert "needs to run code of onlysource" in raised.value.message
    assert not (trap / "run").exists()


def test_uv_alone_would_build_an_editable_project_but_not_with_hashes(
    site: Site, trap: Path
) -> None:
    environment = site.place.built / "x"
    site.uv.make(environment, Path(site.release / "bin/python3"))
    listed = trap / "listed.txt"
    listed.write_text(f"-e {trap}\n")
    with pytest.raises(LittlestHubError, match="all requirements must have a hash"):
        site.uv.install(listed, environment, lambda _: None)
    assert not (trap / "run").exists()
    python = environment / "bin" / "python"
    command = [find_uv_bin(), "pip", "sync", "--only-binary", ":all:", "--python", str(python)]
    subprocess.run([*command, "--no-config", str(listed)], capture_output=True)
    assert (trap / "run").exists(), "uv has changed: see the docstring of littlest_hub.system.uv"


@pytest.mark.parametrize("kind", ["editable", "directory", "git", "virtual"])
def test_a_lock_of_uv_runs_nothing(site: Site, trap: Path, kind: str) -> None:
    sources = {
        "editable": f'{{ editable = "{trap}" }}',
        "directory": f'{{ directory = "{trap}" }}',
        "git": f'{{ git = "file://{trap}?rev=main#{"0" * 40}" }}',
        "virtual": '{ virtual = "." }',
    }
    settings = f'[tool.uv]\ncache-dir = "{trap}/cache"\n'
    settings += f'[tool.uv.sources]\ntrap = {{ path = "{trap}" }}\n'
    files = {
        "pyproject.toml": (trap / "pyproject.toml").read_text().replace('"trap"', '"x"') + settings,
        "uv.lock": 'version = 1\nrequires-python = ">=3.11"\n\n'
        f'[[package]]\nname = "trap"\nversion = "1"\nsource = {sources[kind]}\n\n'
        '[[package]]\nname = "x"\nversion = "1"\nsource = { virtual = "." }\n'
        'dependencies = [{ name = "trap" }]\n',
    }
    if kind == "virtual":
        site.build(files)
    else:
        with pytest.raises(LittlestHubError, match=r"uv\.lock:4: 'trap' is built from its source"):
            site.build(files)
        # And if that check were wrong, for a lock that is written in an unusual way:
        found = environment(files, lambda file, _: files[file].encode(), ["3.11"])
        with pytest.raises(LittlestHubError):
            lock.resolve(site.uv, site.release / "bin/python3", found, files)
    assert not (trap / "run").exists()
    assert not (trap / "cache").exists()


@pytest.mark.parametrize(
    "text",
    [
        "-e ./trap\n",
        "alpha\n",
        "alpha>=1 --hash=sha256:" + "0" * 64,
        "alpha @ git+https://example.org/x --hash=sha256:" + "0" * 64,
        "alpha @ file:///x.whl --hash=sha256:" + "0" * 64,
        "--index-url file:///etc\n",
        "--no-binary :all:\n",
        "--index-url https://x --no-binary :all:\n",
        "alpha==1 --hash=sha256:" + "0" * 64 + " --no-binary",
        "-r /etc/passwd",
    ],
)
def test_a_kept_lock_contains_wheels_alone(text: str) -> None:
    with pytest.raises(LittlestHubError, match="is no wheel with an exact version"):
        of_text(text)


def test_a_package_cannot_make_an_environment_complete(site: Site) -> None:
    """A file of a package in the place of the kernel spec's directory ends the build."""
    blocked = {"alpha-1.0.data/data/share/jupyter/kernels/python3": "no directory"}
    site.index.add("alpha", "1.0", files={"alpha.py": "", **blocked})
    site.index.add("ipykernel", "7.0", files={"ipykernel_launcher.py": ""})
    with pytest.raises((LittlestHubError, OSError)):
        site.build(asked(requirements_txt="alpha"))
    assert list(site.place.built.iterdir()) == []
    assert list(site.place.records.iterdir()) == []


def test_an_order_of_another_id_is_refused_without_a_word_of_it() -> None:
    text = "root:secret:1:0:99999:7:::"
    for given in (text, Order(files={"a": "b"}).canonical, '{"files":[1]}', '{"more":1}'):
        with pytest.raises(LittlestHubError) as raised:
            order.of_json(given, "0" * 64)
        assert given[:8] not in str(raised.value)
    right = Order(files={"requirements.txt": "x"}, as_of="2024-01-01")
    assert order.of_json(right.canonical, right.id) == right
    options = Order(files={}, as_of="--index-url=x")
    with pytest.raises(LittlestHubError):
        order.of_json(options.canonical, options.id)


def test_code_that_nobody_has_approved_is_refused_with_its_lines(site: Site) -> None:
    site.index.add("alpha")
    remark = "setup.py:1: the repository is a package, which is built and installed"
    expected = r"it needs to run code of postBuild:1: .* while it is built, which nobody has"
    with pytest.raises(LittlestHubError, match=expected):
        site.build({"setup.py": "", "postBuild": ""}, code=(remark,))


def test_what_uv_says_of_strangers_is_bounded(site: Site) -> None:
    names = "\n".join(f"missing-{number}" for number in range(200))
    with pytest.raises(NoSolutionError) as raised:
        site.build(asked(requirements_txt=names))
    assert len(json.dumps(raised.value.message)) < 1000
