"""The embedded builder: every step from recipes and wheels to the installer."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import zstandard

from construct import (
    advisory_list,
    channel,
    condapkg,
    definition,
    exclusions,
    installer,
    prefix,
    wheels,
)
from construct.cache import Cache, key_of
from construct.conda_names import PYTHON_NAMES
from construct.condapkg import Metadata, Package
from construct.native import NativeBuilder
from construct.progress import Progress, megabytes
from construct.recipe import Recipe, read_recipe
from construct.wheels import Wheel
from littlest_hub.errors import LittlestHubError

HERE = Path(__file__).parent
ROOT = HERE.parent
OWN = "littlest-hub"
DECOMPRESSOR = "zstd"
"""The recipe that goes into the installer's header and into no environment."""
OWN_FILES = ("littlest_hub", "pyproject.toml", "README.md", "LICENSE")
SHARED = {
    "": ("README.md",),
    "docs": ("**/*.md", "**/*.png", "**/*.svg"),
    "jupyterhub_config.d": ("*.py", "*.conf"),
}
"""Documentation and ready fragments, which our package keeps in share/: by directory, patterns."""
VARIABLES = {
    "LITTLEST_HUB_BASE": "base directory; /opt/littlest-hub if not given",
    "LITTLEST_HUB_ADMIN": "login name of the first administrator",
    "LITTLEST_HUB_USER": "account for the hub, which is made; root if not given",
    "LITTLEST_HUB_PORT": "public port, or address:port; 80, or the first free one from 8000",
}
"""Environment variables of the installation, as the installer's help lists them."""
KINDS = ("native", "packages", "channel", "sources", "wheels")
"""Kinds of cache entries that builds create; the tests keep machine images beside them."""
UNUSED_S = 30 * 24 * 3600
DEVELOPMENT_LEVEL = 3
RELEASE_LEVEL = 19
RECORDS_LEVEL = 16
"""The level for conda's records, half of which are hashes and which only the installer contains.
They are 0.1 MB smaller than with level 3, so the installer is no larger than its packages."""
BUILD_WHEEL = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@dataclass(frozen=True)
class Pending:
    """A package that is not made yet: its cache key, and a function that lays out its tree."""

    name: str
    key: str
    size_bytes: int
    lay_out: Callable[[Path], Metadata]


class Builder:
    """The builder of one checkout's installer."""

    def __init__(self, cache: Cache, *, level: int, jobs: int, root: Path = ROOT) -> None:
        self.cache = cache
        self.level = level
        self.jobs = jobs
        self.root = root
        self.definition = definition.read(root / "construct.yaml")
        self.lock = root / "construct" / "wheels.lock"
        self.exclusions = exclusions.read(root / "recipe" / "exclusions.yaml")

    def build(self, output: Path, *, with_channel: bool = False) -> Path:
        """Write the installer and its companion files to ``output``. Return its path.

        ``with_channel`` also writes the channel of its packages, to ``channel``.
        """
        output.mkdir(parents=True, exist_ok=True)
        made = self.channel()
        packages = channel.solve(made, self.definition.specs)
        names = {package.record["name"] for package in packages}
        Progress("solve", 1).note(f"{len(names)} of {len(made.packages)} packages are needed")
        with Progress("write", 1).step("installer"):
            script = self._write_installer(packages, output)
        self._write_outputs(packages, script)
        if with_channel:
            made.copy(output / "channel")
        self.cache.prune(KINDS, UNUSED_S)
        return script

    def channel(self) -> channel.Channel:
        """Return the channel of all packages. Make those that are not in the cache."""
        packages = self.make(self.pending())
        key = key_of([HERE / "channel.py", *(package.folder.name for package in packages)])
        folder = self.cache.get("channel", OWN, key, lambda target: channel.write(packages, target))
        return channel.Channel(folder, {package.file.name: package for package in packages})

    def pending(self) -> list[Pending]:
        """Compile native code and download wheels. Return all packages of the channel."""
        with ThreadPoolExecutor(1) as background:
            download = background.submit(wheels.download, self.lock.read_text(), self.cache)
            recipes = self.recipes()
            native = NativeBuilder(recipes, self.cache, self.jobs)
            trees = native.build_all()
            found = download.result()
        pending = [
            self._native(recipes[name], trees[name], native)
            for name in recipes
            if name != DECOMPRESSOR
        ]
        converter = self._converter_key(native.key(recipes["python"]))
        interpreter = trees["python"] / "bin" / "python3.13"
        pending += [self._wheel(wheel, found, converter, interpreter) for wheel in found.values()]
        pending.append(self._own(found, converter, interpreter))
        return pending

    def update_lock(self, *, keep: bool = False) -> Path:
        """Resolve environment.yml into construct/wheels.lock. Return the lock's path.

        ``keep`` changes the version of no wheel that still satisfies all requirements.
        """
        project = tomllib.loads((self.root / "pyproject.toml").read_text())
        recipes = self.recipes()
        wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
        for spec in self.definition.specs:
            name, _, version = spec.partition(" ")
            if name in recipes or name == OWN:
                continue
            name = PYTHON_NAMES.get(name, name)
            wanted.append(name + version)
        with Progress("lock", 1).step(f"{len(wanted)} requirements", announce=True):
            kept = self.lock.read_text() if keep else ""
            self.lock.write_text(wheels.resolve(wanted, self.cache, kept=kept))
        return self.lock

    def recipes(self) -> dict[str, Recipe]:
        """Return the recipes of all native packages by name."""
        folders = sorted(path.parent for path in (self.root / "recipe").glob("*/recipe.yaml"))
        found = [read_recipe(folder) for folder in folders if folder.name != OWN]
        return {recipe.name: recipe for recipe in found}

    def _converter_key(self, python_key: str) -> str:
        """Return the key of all that a package's bytes depend on besides its own files."""
        code = [
            HERE / name
            for name in ("wheels.py", "conda_names.py", "exclusions.py", "condapkg.py", "elf.py")
        ]
        return key_of([*code, python_key, zstandard.__version__, str(self.level)])

    def _native(self, recipe: Recipe, tree: Path, native: NativeBuilder) -> Pending:
        interpreter = tree / "bin" / "python3.13"

        def lay_out(target: Path) -> Metadata:
            shutil.copytree(tree, target, symlinks=True, dirs_exist_ok=True)
            if recipe.name != "python":
                return recipe.metadata
            condapkg.compile_python(target, interpreter)
            site = {"python_site_packages_path": condapkg.SITE_PACKAGES}
            return replace(recipe.metadata, index=site)

        key = key_of([self._converter_key(native.key(recipe)), recipe.folder])
        return Pending(recipe.name, key, sum(_sizes(tree)), lay_out)

    def _wheel(
        self, wheel: Wheel, found: dict[str, Wheel], converter: str, interpreter: Path
    ) -> Pending:
        name = wheels.conda_name(wheel.name)
        license_file = self.root / "recipe" / name / "LICENSE"
        excluded = [entry for entry in self.exclusions if entry.package == name]

        def lay_out(target: Path) -> Metadata:
            metadata = wheels.unpack(wheel, target, excluded)
            condapkg.compile_python(target, interpreter)
            metadata = replace(metadata, depends=wheels.depends(wheel, found))
            if not license_file.exists():
                return metadata
            kept = target / "share" / "licenses" / name / license_file.name
            kept.parent.mkdir(parents=True)
            shutil.copyfile(license_file, kept)
            licenses = (*metadata.licenses, str(kept.relative_to(target)))
            return replace(metadata, licenses=licenses)

        # The dependencies of an extra are read from other wheels, so the lock counts as well.
        lock = self.lock if _requires_extras(wheel) else ""
        patterns = [f"{entry.paths} {entry.twin}" for entry in excluded]
        key = key_of(
            [converter, lock, license_file if license_file.exists() else "", wheel.path, *patterns]
        )
        return Pending(name, key, wheel.path.stat().st_size, lay_out)

    def _own(self, found: dict[str, Wheel], converter: str, interpreter: Path) -> Pending:
        files = [self.root / name for name in OWN_FILES]
        shared = [self.root / directory for directory in filter(None, SHARED)]

        def lay_out(target: Path) -> Metadata:
            with self.cache.workspace() as workspace:
                wheel = self._own_wheel(found["setuptools"], workspace)
                metadata = wheels.unpack(wheel, target)
                depends = wheels.depends(wheel, found)
            for directory, patterns in SHARED.items():
                for file in chain.from_iterable(map((self.root / directory).glob, patterns)):
                    copy = target / "share" / OWN / file.relative_to(self.root)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, copy)
            (target / "share" / OWN / "advisories.json").write_text(advisory_list.to_json())
            condapkg.compile_python(target, interpreter)
            return replace(metadata, depends=depends)

        shared += [HERE / "advisory_list.py", HERE / "conda_names.py", advisory_list.LIST]
        parts = [found["setuptools"].path, HERE / "builder.py", *files, *shared]
        return Pending(OWN, key_of([converter, *parts]), 0, lay_out)

    def _own_wheel(self, setuptools: Wheel, workspace: Path) -> Wheel:
        """Build our own wheel from a copy of the sources with the locked setuptools."""
        tools = workspace / "tools"
        wheels.unpack(setuptools, tools)
        source = workspace / "source"
        source.mkdir()
        for name in OWN_FILES:
            path = self.root / name
            if path.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(path, source / name, ignore=ignored)
            else:
                shutil.copyfile(path, source / name)
        done = subprocess.run(
            [sys.executable, "-S", "-c", BUILD_WHEEL, workspace],
            cwd=source,
            env={"PYTHONPATH": str(tools / condapkg.SITE_PACKAGES), "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise LittlestHubError(f"setuptools cannot build {OWN}:\n{done.stderr.strip()}")
        return Wheel(next(workspace.glob("*.whl")))

    def make(self, pending: Sequence[Pending]) -> list[Package]:
        """Return the packages. Make those that are not in the cache, the largest first."""
        found = {item.name: self.cache.find("packages", item.name, item.key) for item in pending}
        missing = [item for item in pending if found[item.name] is None]
        progress = Progress("package", len(missing))

        def make(item: Pending) -> Path:
            with progress.step(item.name) as details, self.cache.workspace() as workspace:
                tree = workspace / "tree"
                tree.mkdir()
                metadata = item.lay_out(tree)
                folder = self.cache.get(
                    "packages",
                    item.name,
                    item.key,
                    lambda target: condapkg.write(tree, metadata, target, self.level),
                )
                details.append(megabytes(Package(folder).file.stat().st_size))
            return folder

        largest_first = sorted(missing, key=lambda item: -item.size_bytes)
        with ThreadPoolExecutor(self.jobs) as pool:
            made = dict(zip(largest_first, pool.map(make, largest_first), strict=True))
        return [Package(found[item.name] or made[item]) for item in pending]

    def _write_installer(self, packages: Sequence[Package], output: Path) -> Path:
        others = prefix.files(self.definition, packages)
        parts = prefix.in_parts(packages)
        frames = [[package.frame() for package in part] for part in parts]
        frames[0].append(condapkg.text_frame(others, max(self.level, RECORDS_LEVEL), end=False))
        end = condapkg.text_frame({}, self.level, end=True)
        payload = installer.Payload(
            name=self.definition.name,
            version=self.definition.version,
            platform=condapkg.SUBDIR,
            parts=[[*part, end] for part in frames],
            directories=prefix.shared_directories(parts, others),
            zstd=self._decompressor(),
            size_bytes=prefix.size_bytes(packages, others),
            glibc_floor=condapkg.GLIBC_FLOOR,
            default_prefix=self.definition.default_prefix,
            post_install=self.definition.post_install,
            license=self.definition.license,
            script_env_variables=self.definition.script_env_variables,
            conclusion=self.definition.conclusion,
            variables=VARIABLES,
        )
        name = f"{self.definition.name}-{self.definition.version}-Linux-x86_64.sh"
        return installer.write(payload, output / name)

    def _decompressor(self) -> bytes:
        recipes = self.recipes()
        tree = NativeBuilder(recipes, self.cache, self.jobs).build_all()[DECOMPRESSOR]
        return (tree / "bin" / "zstd-decompress").read_bytes()

    def _write_outputs(self, packages: Sequence[Package], script: Path) -> None:
        outputs = self.definition.build_outputs
        names = [package.file.stem for package in packages]
        if "hash" in outputs:
            digest = hashlib.sha256(script.read_bytes()).hexdigest()
            script.with_suffix(".sh.sha256").write_text(f"{digest}  {script.name}\n")
        if "lockfile" in outputs:
            script.with_suffix(".lockfile.txt").write_text(prefix.lockfile(packages))
        if "pkgs_list" in outputs:
            head = f"# {self.definition.name} {self.definition.version}\n"
            script.with_suffix(".pkg-list.txt").write_text(head + "\n".join(names) + "\n")
        if "licenses" in outputs:
            document = {}
            for package in packages:
                about = package.about
                files = [
                    {"path": f"info/licenses/{name}", "text": text}
                    for name, text in about["licenses"].items()
                ]
                document[package.file.stem] = {"type": about["license"], "files": files}
            text = json.dumps(document, indent=2) + "\n"
            script.with_suffix(".licenses.json").write_text(text)


def _sizes(tree: Path) -> list[int]:
    return [path.lstat().st_size for path in tree.rglob("*")]


def _requires_extras(wheel: Wheel) -> bool:
    return any(requirement.extras for requirement in wheel.requirements())
