"""The contents of a generation, and the differences between two."""

import json
from pathlib import Path

from littlest_hub.stacks.classroom.environment import contents

has = contents.has_module


def prefix(root: Path, python: dict[str, str], conda: dict[str, tuple[str, list[str]]]) -> Path:
    site = root / "lib" / "python3.13" / "site-packages"
    for name, version in python.items():
        (site / f"{name}-{version}.dist-info").mkdir(parents=True)
    (root / "conda-meta").mkdir()
    for name, (version, files) in conda.items():
        record = {"name": name, "version": version, "files": files}
        (root / "conda-meta" / f"{name}-{version}-0.json").write_text(json.dumps(record))
    return root


def test_what_pip_has_changed_counts_more_than_the_record_of_conda(tmp_path: Path) -> None:
    info = "lib/python3.13/site-packages/{}.dist-info/METADATA"
    found = prefix(
        tmp_path,
        {"Jupyter_Client": "8.9", "ruamel.yaml": "0.18"},
        {
            "jupyter_client": ("8.8", [info.format("jupyter_client-8.8")]),
            "removed": ("1", [info.format("removed-1")]),
            "openssl": ("3.5", ["lib/libssl.so"]),
        },
    )
    (tmp_path / "conda-meta" / "damaged.json").write_text("{")
    assert contents.packages(found) == {
        "jupyter-client": "8.9",
        "openssl": "3.5",
        "ruamel-yaml": "0.18",
    }
    assert list(contents.python_packages(found)) == ["jupyter-client", "ruamel-yaml"]


def test_a_module_is_a_package_a_file_or_a_library(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "python3.13" / "site-packages"
    (site / "package").mkdir(parents=True)
    (site / "file.py").touch()
    (site / "library.cpython-313-x86_64-linux-gnu.so").touch()
    found = [name for name in ("package.part", "file", "library", "no") if has(tmp_path, name)]
    assert found == ["package.part", "file", "library"]


def test_differences_say_what_came_what_went_and_what_changed() -> None:
    found = contents.differences({"a": "1", "b": "1", "c": "1"}, {"b": "2", "c": "1", "d": "1"})
    assert [str(each) for each in found] == ["- a 1", "  b 1 -> 2", "+ d 1"]
