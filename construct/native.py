"""Native packages: recipes in rattler-build's format, compiled by zig against an old glibc.

zig brings the headers and link stubs of any glibc, so the build machine may be newer than the
oldest machine that is to run the result, and two build machines give the same bytes.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from construct import sources
from construct.cache import Cache, key_of
from construct.condapkg import EPOCH_S, GLIBC_FLOOR, PLACEHOLDER, Metadata
from construct.progress import Progress, megabytes
from construct.sources import Source
from littlest_hub.errors import LittlestHubError

TARGET = "x86_64-linux-gnu.{}.{}".format(*GLIBC_FLOOR)
COMPILER = """\
#!/bin/sh
# No debugging symbols, no path of this machine; RPATH_* say how a file finds its libraries.
case " $* " in
*" -shared "*) rpath=${{RPATH_LIBRARIES-}} ;;
*) rpath=${{RPATH_PROGRAMS-}} ;;
esac
exec "$ZIG" {driver} -target "${{ZIG_TARGET:-{target}}}" -s -Wno-date-time \\
    "-ffile-prefix-map=$SRC_DIR=." -Wl,--undefined-version ${{rpath:+"-Wl,-rpath,$rpath"}} "$@"
"""
TOOLS = {
    "cc": COMPILER.format(driver="cc", target=TARGET),
    "c++": COMPILER.format(driver="c++", target=TARGET),
    "ar": '#!/bin/sh\nexec "$ZIG" ar "$@"\n',
    "ranlib": '#!/bin/sh\nexec "$ZIG" ranlib "$@"\n',
}
PROGRAMS = ("autoreconf", "libtoolize", "make", "patch", "perl", "tclsh", "xz")


@dataclass(frozen=True)
class Recipe:
    """What the embedded builder reads of a recipe.yaml (rattler-build's schema, version 1)."""

    folder: Path
    name: str
    version: str
    build_number: int
    build_string: str
    sources: tuple[Source, ...]
    script: str | None
    host: tuple[str, ...]
    run: tuple[str, ...]
    run_constraints: tuple[str, ...]
    license: str
    license_file: str | None
    summary: str
    homepage: str

    @property
    def metadata(self) -> Metadata:
        """What its package says about itself."""
        name = self.license_file and Path(self.license_file).name
        return Metadata(
            name=self.name,
            version=self.version,
            license=self.license,
            summary=self.summary,
            homepage=self.homepage,
            depends=self.run,
            constrains=self.run_constraints,
            build_number=self.build_number,
            build_string=self.build_string,
            licenses=(f"share/licenses/{self.name}/{name}",) if name else (),
        )


def read_recipe(folder: Path) -> Recipe:
    """Read ``folder/recipe.yaml``. Raises LittlestHubError for anything it does not know."""
    path = folder / "recipe.yaml"
    text = path.read_text()
    context = (yaml.safe_load(text) or {}).get("context", {})

    def expand(match: re.Match[str]) -> str:
        if match[1] in ("hash", "build_number"):
            return match[0]
        if match[1] not in context:
            raise LittlestHubError(f"{path}: {match[0]} is not defined in context")
        return str(context[match[1]])

    document = yaml.safe_load(re.sub(r"\$\{\{\s*(\w+)\s*\}\}", expand, text))
    build = _section(path, document, "build", {"number", "string", "script"})
    requirements = _section(path, document, "requirements", {"host", "run", "run_constraints"})
    about = _section(
        path, document, "about", {"homepage", "license", "license_file", "summary", "description"}
    )
    package = _section(path, document, "package", {"name", "version"})
    return Recipe(
        folder=folder,
        name=package["name"],
        version=str(package["version"]),
        build_number=build.get("number", 0),
        build_string=build.get("string", Metadata.build_string),
        sources=tuple(Source(**entry) for entry in document.get("source", ())),
        script=build.get("script"),
        host=tuple(requirements.get("host", ())),
        run=tuple(requirements.get("run", ())),
        run_constraints=tuple(requirements.get("run_constraints", ())),
        license=about["license"],
        license_file=about.get("license_file"),
        summary=about["summary"],
        homepage=about["homepage"],
    )


def _section(path: Path, document: Any, name: str, known: set[str]) -> dict[str, Any]:
    section: dict[str, Any] = document.get(name) or {}
    if unknown := sorted(section.keys() - known):
        raise LittlestHubError(
            f"{path}: the embedded builder does not know {name}.{unknown[0]}",
            f"known there: {', '.join(sorted(known))}",
        )
    return section


def zig() -> Path:
    """The compiler, from the PyPI package ziglang."""
    found = importlib.util.find_spec("ziglang")
    if found is None or found.origin is None:
        raise LittlestHubError(
            "the compiler (PyPI package ziglang) is not installed",
            "use the project's environment: make venv && .venv/bin/python -m construct",
        )
    return Path(found.origin).with_name("zig")


def check_programs() -> None:
    """Raise LittlestHubError naming every program that is missing to run the recipes."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        raise LittlestHubError(
            f"missing programs: {', '.join(missing)}", "as root, install what is missing: make deps"
        )


class JobServer:
    """GNU make's job server over all recipes, so that together they run ``jobs`` compilers.

    Tokens lie in a pipe; a recipe holds one while it runs, its make takes more when there are any
    (GNU make manual, "Sharing Job Slots with GNU make").
    """

    def __init__(self, jobs: int) -> None:
        self.read_fd, self.write_fd = os.pipe()
        os.write(self.write_fd, b"+" * jobs)
        self.makeflags = f" -j{jobs} --jobserver-auth={self.read_fd},{self.write_fd}"

    @contextmanager
    def token(self) -> Iterator[None]:
        """Hold one token."""
        while True:
            select.select([self.read_fd], [], [])
            try:  # make may have set the pipe to non-blocking and may have been faster
                token = os.read(self.read_fd, 1)
            except BlockingIOError:
                continue
            break
        try:
            yield
        finally:
            os.write(self.write_fd, token)

    def close(self) -> None:
        os.close(self.read_fd)
        os.close(self.write_fd)


class Workshop:
    """Compiles recipes, each once for a given content, and gives the installed trees."""

    def __init__(self, recipes: Mapping[str, Recipe], cache: Cache, jobs: int) -> None:
        self.recipes = recipes
        self.cache = cache
        self.jobs = jobs

    def key(self, recipe: Recipe) -> str:
        """Everything the compiled tree depends on; what the recipe only says about it does not."""
        return key_of(
            [
                recipe.name,
                recipe.version,
                recipe.license_file or "",
                *sorted(path for path in recipe.folder.iterdir() if path.name != "recipe.yaml"),
                PLACEHOLDER,
                str(EPOCH_S),
                *(source.sha256 for source in recipe.sources),
                *TOOLS.values(),
                importlib.metadata.version("ziglang"),
                *(self.key(self.recipes[name]) for name in recipe.host),
            ]
        )

    def build_all(self) -> dict[str, Path]:
        """Compile what is not in the cache; for each name the tree, its files below the prefix."""
        missing = [recipe for recipe in self.recipes.values() if self._tree(recipe) is None]
        if missing:
            self._compile(missing, self._fetch(missing))
        found = {name: self._tree(recipe) for name, recipe in self.recipes.items()}
        return {name: tree for name, tree in found.items() if tree is not None}

    def _tree(self, recipe: Recipe) -> Path | None:
        return self.cache.find("native", recipe.name, self.key(recipe))

    def _fetch(self, missing: Sequence[Recipe]) -> dict[Source, Path]:
        check_programs()
        archives = [(source, recipe) for recipe in missing for source in recipe.sources]
        progress = Progress("fetch", len(archives))
        fetched = {}
        for source, recipe in archives:
            with progress.step(source.name) as said:
                path = sources.fetch(source, recipe.folder / "recipe.yaml", self.cache)
                said.append(megabytes(path.stat().st_size))
            fetched[source] = path
        return fetched

    def _compile(self, missing: Sequence[Recipe], fetched: Mapping[Source, Path]) -> None:
        progress = Progress("compile", len(missing))
        server = JobServer(self.jobs)
        futures: dict[str, Future[None]] = {}

        def run(recipe: Recipe) -> None:
            for name in recipe.host:
                if name in futures:
                    futures[name].result()
            with server.token(), progress.step(f"{recipe.name} {recipe.version}", announce=True):
                self.cache.get(
                    "native",
                    recipe.name,
                    self.key(recipe),
                    lambda target: self._build(recipe, fetched, server, target),
                )

        # Longest first among those that wait for nothing; those that wait only hold a thread.
        order = sorted(missing, key=lambda recipe: (bool(recipe.host), recipe.name != "openssl"))
        with ThreadPoolExecutor(len(order)) as pool:
            for recipe in order:
                futures[recipe.name] = pool.submit(run, recipe)
        server.close()
        for future in futures.values():
            future.result()

    def _build(
        self, recipe: Recipe, fetched: Mapping[Source, Path], server: JobServer, target: Path
    ) -> None:
        with self.cache.workspace() as workspace:
            work, deps, tools = (workspace / name for name in ("work", "deps", "tools"))
            destination = workspace / "destination"
            for directory in (work, deps, tools, destination):
                directory.mkdir()
            for name in recipe.host:
                tree = self._tree(self.recipes[name])
                assert tree is not None, "what a recipe needs is compiled before it"
                shutil.copytree(tree, deps, symlinks=True, dirs_exist_ok=True)
            for name, text in TOOLS.items():
                (tools / name).write_text(text)
                (tools / name).chmod(0o755)
            for source in recipe.sources:
                sources.unpack(fetched[source], work / source.target_directory)
            log = workspace / "log"
            if recipe.script is not None:
                environment = {
                    "PATH": f"{tools}:{os.environ['PATH']}",
                    "HOME": str(workspace),
                    "LC_ALL": "C.UTF-8",
                    "TZ": "UTC",
                    "TMPDIR": str(workspace),
                    "SOURCE_DATE_EPOCH": str(EPOCH_S),
                    "PYTHONHASHSEED": "0",
                    "PYTHON": sys.executable,
                    "MAKEFLAGS": server.makeflags,
                    "ZIG": str(zig()),
                    "ZIG_GLOBAL_CACHE_DIR": str(self.cache.root / "zig"),
                    "ZIG_LOCAL_CACHE_DIR": str(workspace / "zig"),
                    "CC": "cc",
                    "CXX": "c++",
                    "AR": "ar",
                    "RANLIB": "ranlib",
                    "PKG_CONFIG_LIBDIR": "/nonexistent",
                    "LD_LIBRARY_PATH": str(deps / "lib"),
                    "PREFIX": PLACEHOLDER,
                    "DESTDIR": str(destination),
                    "DEPS": str(deps),
                    "SRC_DIR": str(work),
                    "RECIPE_DIR": str(recipe.folder),
                    "PKG_VERSION": recipe.version,
                }
                with log.open("wb") as output:
                    done = subprocess.run(
                        ["sh", recipe.folder / recipe.script],
                        cwd=work,
                        env=environment,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        pass_fds=(server.read_fd, server.write_fd),
                        check=False,
                    )
                if done.returncode != 0:
                    kept = self.cache.root / "logs" / f"{recipe.name}.log"
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(log, kept)
                    last = log.read_text(errors="replace").splitlines()[-15:]
                    raise LittlestHubError(
                        f"{recipe.folder / recipe.script} failed with {done.returncode}:\n"
                        + "\n".join(f"    {line}" for line in last),
                        f"the whole output: {kept}",
                    )
            tree = destination / PLACEHOLDER.lstrip("/")
            tree.mkdir(parents=True, exist_ok=True)
            if recipe.license_file is not None:
                licenses = tree / "share" / "licenses" / recipe.name
                licenses.mkdir(parents=True)
                shutil.copy(work / recipe.license_file, licenses)
            for path in tree.rglob("*"):
                if path.is_file() and bytes(workspace) in path.read_bytes():
                    raise LittlestHubError(
                        f"{recipe.folder}: {path.relative_to(tree)} names the build directory",
                        "no two builds would be the same; mend it in build.sh",
                    )
            tree.rename(target)
