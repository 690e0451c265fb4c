"""Python projects made for tests, whose build runs what a test wants."""

import io
import tarfile

from tests.package_index import PackageIndex

PROJECT = """\
[project]
name = "own"
version = "1.0"
dependencies = ["alpha"]
[build-system]
requires = [{requires}]
build-backend = "backend"
backend-path = ["."]
"""
BACKEND = """\
import os, sys, urllib.request, zipfile
NAME = "{name}"
def build_wheel(directory, settings=None, metadata=None):
    made = "1.0"
{code}
    wheel = NAME + "-1.0-py3-none-any.whl"
    info = NAME + "-1.0.dist-info/"
    with zipfile.ZipFile(os.path.join(directory, wheel), "w") as archive:
        def add(path, text):
            archive.writestr(zipfile.ZipInfo(path), text)
        add(NAME + ".py", "MADE = " + repr(made))
        about = "Metadata-Version: 2.1\\nName: " + NAME + "\\nVersion: 1.0\\n{needs}"
        add(info + "METADATA", about)
        add(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        add(info + "RECORD", "")
    return wheel
"""


def project(
    name: str = "own", code: str = "", requires: str = "", needs: str = "Requires-Dist: alpha\\n"
) -> dict[str, str]:
    """Return the files of a project that runs some code while it is built."""
    body = "".join(f"    {line}\n" for line in code.splitlines())
    return {
        "pyproject.toml": PROJECT.format(requires=requires).replace('"own"', f'"{name}"'),
        "backend.py": BACKEND.format(name=name, code=body, needs=needs),
    }


def add_source(index: PackageIndex, name: str, code: str = "") -> None:
    """Add a package that is to be had as source only."""
    with tarfile.open(index.files / f"{name}-1.0.tar.gz", "w:gz") as archive:
        info = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        contents = {**project(name, code, needs=""), "PKG-INFO": info}
        for path, text in contents.items():
            member = tarfile.TarInfo(f"{name}-1.0/{path}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
