"""Native packages: recipes compiled in parallel, each once for a given content."""

from __future__ import annotations

import importlib.metadata
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from construct import sources, toolchain
from construct.cache import Cache, key_of
from construct.condapkg import EPOCH_S, PLACEHOLDER
from construct.progress import Progress, megabytes
from construct.recipe import Recipe
from construct.sources import Source
from littlest_hub.errors import LittlestHubError


class JobServer:
    """A job server of GNU make for all recipes: together they run ``jobs`` compilers.

    The tokens are in a pipe. A recipe holds one while it runs; its make takes more if there are any
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


class NativeBuilder:
    """Compiles recipes into trees of files below their prefix."""

    def __init__(self, recipes: Mapping[str, Recipe], cache: Cache, jobs: int) -> None:
        self.recipes = recipes
        self.cache = cache
        self.jobs = jobs

    def key(self, recipe: Recipe) -> str:
        """Return the cache key of a recipe's tree: all that is compiled, but not its metadata."""
        return key_of(
            [
                recipe.name,
                recipe.version,
                recipe.license_file or "",
                *sorted(path for path in recipe.folder.iterdir() if path.name != "recipe.yaml"),
                PLACEHOLDER,
                str(EPOCH_S),
                *(source.sha256 for source in recipe.sources),
                *toolchain.TOOLS.values(),
                toolchain.CONFIG_SITE,
                importlib.metadata.version("ziglang"),
                *(self.key(self.recipes[name]) for name in recipe.host),
            ]
        )

    def build_all(self) -> dict[str, Path]:
        """Compile every recipe that is not in the cache. Return all trees by name."""
        missing = [recipe for recipe in self.recipes.values() if self._find(recipe) is None]
        if missing:
            self._compile_all(missing, self._fetch(missing))
        return {name: self._tree(name) for name in self.recipes}

    def _find(self, recipe: Recipe) -> Path | None:
        return self.cache.find("native", recipe.name, self.key(recipe))

    def _tree(self, name: str) -> Path:
        tree = self._find(self.recipes[name])
        assert tree is not None, f"{name} has been compiled"
        return tree

    def _fetch(self, missing: Sequence[Recipe]) -> dict[Source, Path]:
        toolchain.check_programs()
        archives = [(source, recipe) for recipe in missing for source in recipe.sources]
        progress = Progress("fetch", len(archives))
        fetched = {}
        for source, recipe in archives:
            with progress.step(source.name) as details:
                path = sources.fetch(source, recipe.folder / "recipe.yaml", self.cache)
                details.append(megabytes(path.stat().st_size))
            fetched[source] = path
        return fetched

    def _compile_all(self, missing: Sequence[Recipe], fetched: Mapping[Source, Path]) -> None:
        progress = Progress("compile", len(missing))
        server = JobServer(self.jobs)
        futures: dict[str, Future[None]] = {}
        needed = {name for recipe in missing for name in recipe.host}

        def compile_one(recipe: Recipe) -> None:
            # A recipe that no other needs is compiled last, beside python's configure script.
            for name in recipe.host if recipe.host or recipe.name in needed else needed:
                if name in futures:
                    futures[name].result()
            with server.token(), progress.step(f"{recipe.name} {recipe.version}", announce=True):
                self.cache.get(
                    "native",
                    recipe.name,
                    self.key(recipe),
                    lambda target: self._compile(recipe, fetched, server, target),
                )

        # The longest first. A recipe that waits for others only holds a thread.
        order = sorted(
            missing, key=lambda recipe: (recipe.name not in needed, recipe.name != "openssl")
        )
        with ThreadPoolExecutor(len(order)) as pool:
            for recipe in order:
                futures[recipe.name] = pool.submit(compile_one, recipe)
        server.close()
        for future in futures.values():
            future.result()

    def _compile(
        self, recipe: Recipe, fetched: Mapping[Source, Path], server: JobServer, target: Path
    ) -> None:
        with self.cache.workspace() as workspace:
            work = workspace / "work"
            for source in recipe.sources:
                sources.unpack(fetched[source], work / source.target_directory)
            work.mkdir(exist_ok=True)
            if recipe.script is not None:
                self._run(recipe, recipe.folder / recipe.script, server, workspace)
            tree = workspace / "destination" / PLACEHOLDER.lstrip("/")
            tree.mkdir(parents=True, exist_ok=True)
            if recipe.license_file is not None:
                licenses = tree / "share" / "licenses" / recipe.name
                licenses.mkdir(parents=True)
                shutil.copy(work / recipe.license_file, licenses)
            _check_no_trace(recipe, tree, workspace)
            tree.rename(target)

    def _run(self, recipe: Recipe, script: Path, server: JobServer, workspace: Path) -> None:
        """Run a recipe's script in ``workspace/work``, to install below ``destination``."""
        work, deps, tools, log = (workspace / name for name in ("work", "deps", "tools", "log"))
        destination = workspace / "destination"
        for directory in (deps, tools, destination):
            directory.mkdir()
        for name in recipe.host:
            shutil.copytree(self._tree(name), deps, symlinks=True, dirs_exist_ok=True)
        toolchain.install(tools)
        environment = {
            **toolchain.variables(tools, self.cache.root / "zig", workspace / "zig"),
            "HOME": str(workspace),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "TMPDIR": str(workspace),
            "SOURCE_DATE_EPOCH": str(EPOCH_S),
            "PYTHONHASHSEED": "0",
            "PYTHON": sys.executable,
            "MAKEFLAGS": server.makeflags,
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
                ["sh", script],
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
                f"{script} failed with {done.returncode}:\n"
                + "\n".join(f"    {line}" for line in last),
                f"the whole output: {kept}",
            )


def _check_no_trace(recipe: Recipe, tree: Path, workspace: Path) -> None:
    """Raise LittlestHubError if a file contains the path of the build directory."""
    for path in tree.rglob("*"):
        if path.is_file() and bytes(workspace) in path.read_bytes():
            raise LittlestHubError(
                f"{recipe.folder}: {path.relative_to(tree)} names the build directory",
                "no two builds would be the same; mend it in build.sh",
            )
