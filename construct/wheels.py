"""Wheels: locked with hashes, downloaded by pip and unpacked as conda packages.

A wheel becomes files below a prefix (binary distribution format, packaging.python.org) and the
metadata that conda's solver needs: markers are evaluated for the target, extras are expanded.
"""

from __future__ import annotations

import base64
import configparser
import csv
import email
import email.message
import hashlib
import io
import re
import subprocess
import sys
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, parse_wheel_filename

from construct.cache import Cache, key_of, sha256_file
from construct.conda_names import CONDA_NAMES
from construct.condapkg import (
    GLIBC_FLOOR,
    PLACEHOLDER,
    PYTHON_VERSION,
    SITE_PACKAGES,
    Metadata,
)
from construct.exclusions import Exclusion, ExclusionFilter
from construct.progress import Progress, megabytes
from littlest_hub.errors import LittlestHubError

_LICENSE_FILE = re.compile(r"(licen[cs]e|copying|notice|authors)", re.IGNORECASE)
FOREIGN_SUFFIXES = frozenset({".dll", ".dylib", ".exe", ".pdb", ".pyd"})
"""Programs and libraries of other systems, which the hub environment does not contain."""
PYTHON_SPECS = (
    f"python >={PYTHON_VERSION},<3.14.0a0",
    f"python_abi {PYTHON_VERSION}.* *_cp313",
)
SCRIPT = """\
#!{prefix}/bin/python
import sys

from {module} import {attribute}

if __name__ == "__main__":
    sys.exit({call}())
"""
TARGET_MARKERS = {
    "implementation_name": "cpython",
    "implementation_version": "3.13.5",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_release": "",
    "platform_system": "Linux",
    "platform_version": "",
    "python_full_version": "3.13.5",
    "python_version": PYTHON_VERSION,
    "sys_platform": "linux",
}


@dataclass(frozen=True)
class Locked:
    """An entry of the lock: exactly one wheel."""

    name: str
    version: str
    sha256: str


def conda_name(name: str) -> str:
    """Return the name of a Python distribution on conda-forge."""
    normal = canonicalize_name(name)
    return CONDA_NAMES.get(normal, normal)


def conda_version(specifiers: SpecifierSet) -> str:
    """Return a version specifier in conda's grammar, ``""`` for any version."""
    parts = []
    for specifier in sorted(specifiers, key=str):
        operator, version = specifier.operator, specifier.version
        if operator == "==" and version.endswith(".*"):
            parts.append(version)
        else:
            parts.append({"===": "=="}.get(operator, operator) + version)
    return ",".join(parts)


class Wheel:
    """A wheel file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        name, version, _, _ = parse_wheel_filename(path.name)
        self.name = str(name)
        self.version = str(version)

    @cached_property
    def metadata(self) -> email.message.Message:
        """The METADATA of its dist-info."""
        with zipfile.ZipFile(self.path) as archive:
            text = archive.read(f"{self.dist_info}/METADATA").decode()
        return email.message_from_string(text)

    @cached_property
    def dist_info(self) -> str:
        """Name of its dist-info folder."""
        with zipfile.ZipFile(self.path) as archive:
            for name in archive.namelist():
                if name.endswith(".dist-info/METADATA") and name.count("/") == 1:
                    return name.split("/")[0]
        raise LittlestHubError(f"{self.path.name} has no .dist-info/METADATA")

    def requirements(self, extras: Iterable[str] = ()) -> Iterator[Requirement]:
        """Yield its requirements on the target, with the given extras."""
        for text in self.metadata.get_all("Requires-Dist", ()):
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or any(
                marker.evaluate({**TARGET_MARKERS, "extra": extra}) for extra in ("", *extras)
            ):
                yield requirement


def depends(wheel: Wheel, wheels: Mapping[str, Wheel]) -> tuple[str, ...]:
    """Return the conda dependencies of a wheel. The dependencies of an extra replace it.

    ``wheels`` are all wheels of the lock by normalized name.
    """
    found: dict[str, None] = dict.fromkeys(PYTHON_SPECS)

    def add(requirements: Iterable[Requirement]) -> None:
        for requirement in requirements:
            name = canonicalize_name(requirement.name)
            spec = f"{conda_name(name)} {conda_version(requirement.specifier)}".strip()
            if spec in found and not requirement.extras:
                continue
            found[spec] = None
            if requirement.extras and name in wheels:
                other = wheels[name]
                plain = {str(item) for item in other.requirements()}
                extra = other.requirements(requirement.extras)
                add(item for item in extra if str(item) not in plain)

    add(wheel.requirements())
    own = conda_name(wheel.name)
    return tuple(sorted(spec for spec in found if spec.split(" ")[0] != own))


def unpack(wheel: Wheel, tree: Path, exclusions: Iterable[Exclusion] = ()) -> Metadata:
    """Unpack a wheel below the prefix ``tree``. Return its metadata, without dependencies.

    Raise LittlestHubError if a file does not match the wheel's RECORD, or an exclusion no file.
    """
    site = tree / SITE_PACKAGES
    excluded = ExclusionFilter(exclusions)
    directories = {
        "purelib": site,
        "platlib": site,
        "scripts": tree / "bin",
        "data": tree,
        "headers": tree / "include" / f"python{PYTHON_VERSION}" / wheel.name,
    }
    with zipfile.ZipFile(wheel.path) as archive:
        hashes = {
            row[0]: row[1]
            for row in csv.reader(io.StringIO(archive.read(f"{wheel.dist_info}/RECORD").decode()))
            if row
        }
        for entry in archive.infolist():
            path = Path(entry.filename)
            if entry.is_dir() or path.suffix in FOREIGN_SUFFIXES:
                continue
            data = archive.read(entry)
            expected = hashes.get(entry.filename, "")
            if expected.startswith("sha256=") and expected != _record_hash(data):
                raise LittlestHubError(f"{wheel.path.name}: {entry.filename} is not as in RECORD")
            executable = bool(entry.external_attr >> 16 & 0o100)
            target = site / path
            if path.parts[0] == wheel.dist_info.replace(".dist-info", ".data"):
                kind = path.parts[1]
                target = directories[kind].joinpath(*path.parts[2:])
                if kind == "scripts":
                    executable = True
                    data = re.sub(rb"^#!python[w]?", f"#!{PLACEHOLDER}/bin/python".encode(), data)
            if not target.resolve().is_relative_to(tree.resolve()):
                raise LittlestHubError(f"{wheel.path.name}: {entry.filename} leaves the prefix")
            below = site if target.is_relative_to(site) else tree
            if excluded.matches(target.relative_to(below).as_posix(), data):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            if executable:
                target.chmod(0o755)
    excluded.finish(tree, site)
    _write_scripts(wheel, tree)
    (site / wheel.dist_info / "INSTALLER").write_text("conda\n")
    _write_record(wheel, tree)
    return _metadata(wheel, tree)


def _record_hash(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"


def _write_scripts(wheel: Wheel, tree: Path) -> None:
    path = tree / SITE_PACKAGES / wheel.dist_info / "entry_points.txt"
    if not path.exists():
        return
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text())
    for section in ("console_scripts", "gui_scripts"):
        for name, value in parser.items(section) if parser.has_section(section) else ():
            module, _, call = re.sub(r"\s*\[.*\]$", "", value).strip().partition(":")
            script = tree / "bin" / name
            script.parent.mkdir(exist_ok=True)
            script.write_text(
                SCRIPT.format(
                    prefix=PLACEHOLDER, module=module, attribute=call.split(".")[0], call=call
                )
            )
            script.chmod(0o755)


def _write_record(wheel: Wheel, tree: Path) -> None:
    site = tree / SITE_PACKAGES
    record = site / wheel.dist_info / "RECORD"
    rows = []
    for path in sorted(path for path in tree.rglob("*") if path.is_file()):
        inside = path.is_relative_to(site)
        name = path.relative_to(site) if inside else Path("../../..") / path.relative_to(tree)
        data = path.read_bytes()
        if path == record or PLACEHOLDER.encode() in data:
            rows.append((str(name), "", ""))
        else:
            rows.append((str(name), _record_hash(data), str(len(data))))
    with record.open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


def _metadata(wheel: Wheel, tree: Path) -> Metadata:
    info = tree / SITE_PACKAGES / wheel.dist_info
    licenses = sorted(
        str(path.relative_to(tree))
        for path in info.rglob("*")
        if path.is_file() and _is_license(path.relative_to(info.parent), info.name)
    )
    homepage = wheel.metadata.get("Home-page") or ""
    for entry in wheel.metadata.get_all("Project-URL", ()):
        label, _, url = entry.partition(",")
        if label.strip().lower() in ("homepage", "home", "source", "repository"):
            homepage = homepage or url.strip()
    return Metadata(
        name=conda_name(wheel.name),
        version=wheel.version,
        license=_license(wheel.metadata),
        summary=wheel.metadata.get("Summary") or "",
        homepage=homepage,
        build_string="py313h${{ hash }}_0",
        licenses=tuple(licenses),
    )


def _license(metadata: email.message.Message) -> str:
    stated = (metadata.get("License-Expression") or metadata.get("License") or "").strip()
    if stated and "\n" not in stated and len(stated) < 60 and stated != "UNKNOWN":
        return str(stated)
    classifiers = [
        entry.rsplit("::", 1)[-1].strip()
        for entry in metadata.get_all("Classifier", ())
        if entry.startswith("License ::")
    ]
    return " AND ".join(classifiers) or "see its files"


def read_lock(text: str) -> list[Locked]:
    """Return the wheels of a lock file (pip's requirements format, one sha256 each)."""
    pattern = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>\S+) --hash=sha256:(?P<hash>\w{64})$")
    found = []
    for number, line in enumerate(re.sub(r"\\\n\s*", "", text).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = pattern.match(line.strip())
        if match is None:
            raise LittlestHubError(
                f"wheels.lock: entry {number} is not `NAME==VERSION --hash=sha256:…`: {line!r}",
                "make the lock again: python -m construct --update-locks",
            )
        found.append(Locked(canonicalize_name(match["name"]), match["version"], match["hash"]))
    return found


def format_lock(entries: Iterable[Locked]) -> str:
    """Return the text of a lock file."""
    lines = [
        "# The wheels of the hub environment, made from environment.yml and pyproject.toml by",
        "# `python -m construct --update-locks`; one hash each, of the file for the target.",
    ]
    for entry in sorted(entries, key=lambda entry: entry.name):
        lines.append(f"{entry.name}=={entry.version} \\\n    --hash=sha256:{entry.sha256}")
    return "\n".join(lines) + "\n"


def platform_options() -> list[str]:
    """Return pip's options that select wheels for the target, whichever Python runs pip."""
    tags = [f"manylinux_2_{minor}_x86_64" for minor in range(GLIBC_FLOOR[1], 4, -1)]
    tags += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"]
    options = ["--only-binary=:all:", f"--python-version={PYTHON_VERSION}", "--implementation=cp"]
    options += [f"--abi={abi}" for abi in ("cp313", "abi3", "none")]
    return options + [f"--platform={tag}" for tag in tags]


def download(lock: str, cache: Cache) -> dict[str, Wheel]:
    """Return the wheels of a lock by normalized name, from the cache or through pip.

    Raise LittlestHubError with the name of a wheel that is gone or altered.
    """
    entries = read_lock(lock)

    def run_pip(folder: Path) -> None:
        progress = Progress("fetch wheels", 1)
        with progress.step(f"{len(entries)} wheels", announce=True) as details:
            _pip_download(lock, folder, cache)
            details.append(megabytes(sum(path.stat().st_size for path in folder.iterdir())))

    folder = cache.get("wheels", "lock", key_of([lock]), run_pip)
    wheels = {wheel.name: wheel for wheel in map(Wheel, sorted(folder.glob("*.whl")))}
    for entry in entries:
        if entry.name not in wheels or sha256_file(wheels[entry.name].path) != entry.sha256:
            raise LittlestHubError(
                f"the wheel of {entry.name} {entry.version} in {folder} is missing or altered",
                f"remove the folder, it is downloaded again: rm -r '{folder}'",
            )
    return wheels


def _pip_download(lock: str, folder: Path, cache: Cache) -> None:
    folder.mkdir()
    requirements = folder / "requirements.txt"
    requirements.write_text(lock)
    earlier = [f"--find-links={path}" for path in (cache.root / "wheels").glob("lock-*")]
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *(
            "--require-hashes",
            "--no-deps",
            "--dest",
            str(folder),
            "--requirement",
            str(requirements),
        ),
        *earlier,
        *platform_options(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        output = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
        raise LittlestHubError(
            "pip cannot get the locked wheels:\n" + "\n".join(output[-12:]),
            "if a wheel was withdrawn or replaced: python -m construct --update-locks",
        )


def resolve(
    requirements: Sequence[str], cache: Cache, present: Sequence[str] = (), kept: str = ""
) -> str:
    """Return the text of a new lock, resolved by uv, with the hashes of pip's choices.

    Args:
        requirements: as in PEP 508.
        cache: earlier downloads.
        present: "NAME==VERSION" of packages that are there already, which the lock leaves out.
        kept: a lock whose versions stay where they satisfy the requirements.
    """
    with cache.workspace() as workspace:
        wanted, constraints = workspace / "requirements.in", workspace / "constraints.txt"
        wanted.write_text("\n".join(requirements) + "\n")
        constraints.write_text("\n".join(present) + "\n")
        resolved = workspace / "requirements.txt"
        resolved.write_text(kept)
        command = [
            *("uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"),
            *("--generate-hashes", "--only-binary", ":all:", "--python-version", PYTHON_VERSION),
            *("--python-platform", "x86_64-manylinux_{}_{}".format(*GLIBC_FLOOR)),
            *(f"--constraint={constraints}", f"--output-file={resolved}", str(wanted)),
        ]
        done = subprocess.run(
            [sys.executable, "-m", *command], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise LittlestHubError(
                f"uv cannot resolve {', '.join(requirements)}:\n{done.stderr.strip()}"
            )
        folder = workspace / "wheels"
        names = {canonicalize_name(Requirement(each).name) for each in present}
        _pip_download(_without(resolved.read_text(), names), folder, cache)
        return format_lock(
            Locked(wheel.name, wheel.version, sha256_file(wheel.path))
            for wheel in map(Wheel, folder.glob("*.whl"))
        )


def _without(lock: str, names: Collection[str]) -> str:
    """Return the text of a lock without the entries of some packages."""
    entries = re.split(r"\n(?=\S)", lock)
    return "\n".join(each for each in entries if each.partition("==")[0] not in names) + "\n"


def licenses(wheel: Wheel) -> dict[str, str]:
    """Return the texts of a wheel's license files, by their paths in it."""
    with zipfile.ZipFile(wheel.path) as archive:
        return {
            name: archive.read(name).decode(errors="replace")
            for name in sorted(archive.namelist())
            if not name.endswith("/") and _is_license(Path(name), wheel.dist_info)
        }


def license_name(wheel: Wheel) -> str:
    """Return the license that a wheel states."""
    return _license(wheel.metadata)


def _is_license(path: Path, dist_info: str) -> bool:
    """Return whether a file, by its path in site-packages, is a license."""
    is_named_so = "licenses" in path.parts or _LICENSE_FILE.match(path.name)
    return path.parts[0] == dist_info and bool(is_named_so)
