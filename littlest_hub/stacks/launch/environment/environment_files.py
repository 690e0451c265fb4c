"""The environment that a repository asks for: the files that repo2docker reads, and lock files.

Precedence is that of repo2docker (its documentation, "Configuration Files", and its list of build
packs): in binder/ or .binder/ if there is one, otherwise at the top; conda before Pipfile before
requirements. A lock file, which repo2docker does not know, precedes what it locks.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import yaml
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from littlest_hub.stacks.launch.environment import conda_files, lock_files
from littlest_hub.stacks.launch.environment.channels import Channels
from littlest_hub.stacks.launch.environment.conda_files import WantedOfConda
from littlest_hub.stacks.launch.environment.contents import (
    Contents,
    Line,
    Read,
    Remark,
    line_of,
    shown,
)
from littlest_hub.stacks.launch.environment.lock_files import table
from littlest_hub.stacks.launch.environment.requirements import (
    Built,
    Requirements,
    Wanted,
    is_name,
)


class Kind(StrEnum):
    """The kind of an environment, named by the file that decides."""

    CONDA_LOCK = "conda-lock.yml"
    CONDA = "environment.yml"
    PIXI = "pixi.lock"
    PIPFILE_LOCK = "Pipfile.lock"
    PIPFILE = "Pipfile"
    UV = "uv.lock"
    REQUIREMENTS = "requirements.txt"
    PROJECT = "pyproject.toml"
    PYTHON = "runtime.txt"
    USUAL = ""
    """The environment of the hub: the repository asks for none."""


@dataclass(frozen=True)
class Environment:
    """The environment that a repository asks for; nothing of it has been built yet."""

    kind: Kind
    directory: str
    """Directory of its files: "binder", ".binder", or "" for the top."""
    files: tuple[str, ...]
    """The files that have been read, in this order."""
    python: str
    """One of the versions that are to be had; "": the environment brings its own."""
    installs_repository: bool
    """Whether the repository is a package, which is installed too."""
    post_build: str
    """A script that runs after the packages are installed; "": there is none."""
    start: str
    """A script that runs at each start of the server; "": there is none."""
    code: tuple[Remark, ...]
    """Reasons why building runs code. Any reason puts it into the code tier."""
    refused: tuple[Remark, ...]
    """Reasons why it cannot be built; none: it can."""
    left_out: tuple[Remark, ...]
    """Requests of the repository that are not fulfilled."""
    hosts: tuple[str, ...]
    """Hosts from which it downloads, beside the usual ones."""
    wanted: Wanted = field(default_factory=Wanted)
    """Requirements that are installed; those of a uv.lock are read by uv."""
    of_conda: WantedOfConda = field(default_factory=WantedOfConda)
    """Packages of conda that are installed before; those of a lock file are read by rattler."""


_OF_R = "packages of R are supported in an environment.yml only (r-base, r-…)"
_OF_JULIA = "Julia is not supported"
_ELSEWHERE = {
    "Dockerfile": "a Dockerfile is not supported, since this hub builds no images",
    "default.nix": "Nix is not supported",
    **dict.fromkeys(("Project.toml", "JuliaProject.toml", "REQUIRE"), _OF_JULIA),
    **dict.fromkeys(("install.R", "DESCRIPTION"), _OF_R),
}
_INSTEAD = "; expected an environment.yml, a requirements.txt, or another file for Python"
_NAMES = re.compile(r"[A-Za-z0-9][A-Za-z0-9+.:=-]{0,99}")


def environment(
    files: Iterable[str],
    read: Read,
    pythons: Sequence[str],
    channels: Channels | None = None,
) -> Environment:
    """Return the environment that a repository asks for.

    Args:
        files: paths of its regular files.
        read: reads one of them.
        pythons: versions of Python that are to be had without conda, the preferred one last.
        channels: those of conda that may be used; None: the usual ones.
    """
    contents = Contents(files, read)
    tops = {file.partition("/")[0] for file in contents.files if "/" in file}
    directories = [name for name in (".binder", "binder") if name in tops]
    if len(directories) > 1:
        contents.refuse(Line("binder"), "there is .binder too; expected one of the two")
    directory = directories[0] if directories else ""
    reader = _Reader(contents, directory, pythons, channels or Channels())
    kind = reader.read()
    post_build = reader.read_post_build()
    if post_build and kind is Kind.USUAL:
        kind = reader.read_script_only(post_build)
    reader.remark_on_others(kind)
    return Environment(
        kind=kind,
        directory=reader.directory,
        files=tuple(contents.used),
        python=reader.python,
        installs_repository=reader.installs_repository,
        post_build=post_build,
        start=reader.first("start"),
        code=tuple(contents.code),
        refused=tuple(contents.refused),
        left_out=tuple(contents.left_out),
        hosts=tuple(sorted(contents.hosts)),
        wanted=reader.wanted,
        of_conda=reader.of_conda,
    )


class _Reader:
    """Reads the files of an environment."""

    def __init__(
        self, contents: Contents, directory: str, pythons: Sequence[str], channels: Channels
    ) -> None:
        self._contents, self.directory, self._pythons = contents, directory, pythons
        self._channels = channels
        self._requirements = Requirements(contents)
        self.python = ""
        self.of_conda = WantedOfConda()
        self.installs_repository = False

    @property
    def wanted(self) -> Wanted:
        """Requirements that are installed."""
        return self._requirements.wanted

    def read(self) -> Kind:
        """Read the files that decide, and return the kind of the environment."""
        if file := self.first("conda-lock.yml"):
            lock_files.read_conda_lock(self._contents, file, self._channels)
            return Kind.CONDA_LOCK
        if file := self.first("environment.yml", "environment.yaml"):
            self.of_conda = conda_files.read(
                self._contents, self._requirements, self._channels, self._yaml(file), file
            )
            return Kind.CONDA
        if file := self.first("pixi.lock"):
            lock_files.read_pixi_lock(self._contents, file, self._channels)
            return Kind.PIXI
        return self._read_python()

    def read_post_build(self) -> str:
        """Return the path of postBuild, whose text decides what is built; "": there is none."""
        file = self.first("postBuild")
        if file:
            self._contents.text(file)
            self._contents.runs(Line(file), "it runs after the packages are installed")
        return file

    def read_script_only(self, file: str) -> Kind:
        """Return the kind of an environment that only a script asks for: a Python with a kernel."""
        self.python = self._chosen_python("", file, Kind.PYTHON)
        return Kind.PYTHON

    def remark_on_others(self, kind: Kind) -> None:
        """Remark on files for what is not supported."""
        for name, why in _ELSEWHERE.items():
            # repo2docker ignores DESCRIPTION, which marks a package of R, if binder/ exists.
            if (file := self.first(name)) and not (self.directory and name == "DESCRIPTION"):
                if kind is Kind.USUAL:
                    self._contents.refuse(Line(file), f"{why}{_INSTEAD}")
                else:
                    self._contents.leave_out(Line(file), why)
        if file := self.first("apt.txt"):
            lines = self._contents.text(file).splitlines()
            for number, line in enumerate(lines, 1):
                if packages := _NAMES.findall(line.partition("#")[0]):
                    what = f"packages of the system are not installed: {', '.join(packages)}"
                    self._contents.leave_out(Line(file, number), what[:200])

    def _read_python(self) -> Kind:
        asked, place = self._runtime()
        kind = Kind.PYTHON if asked else Kind.USUAL
        found = ""
        if file := self.first("Pipfile.lock"):
            kind = Kind.PIPFILE_LOCK
            version = lock_files.read_pipfile_lock(self._contents, self._requirements, file)
            asked, place = _minor(version), file
        elif file := self.first("Pipfile"):
            kind = Kind.PIPFILE
            asked, place = _minor(self._read_pipfile(file)), file
        elif (file := self.first("uv.lock")) and (project := self.first("pyproject.toml")):
            kind = Kind.UV
            # uv reads it beside the lock, so it is among the files that decide.
            self._contents.text(project)
            found = lock_files.read_uv_lock(self._contents, self._requirements, file)
        else:
            file = "pyproject.toml"
            kind, found = self._read_requirements(kind)
        if kind is not Kind.USUAL:
            self.python = self._chosen_python(asked, place or file, kind, found)
        return kind

    def _read_requirements(self, kind: Kind) -> tuple[Kind, str]:
        """Read what pip would install, and return the Python versions that the project is for."""
        listed = self.first("requirements.txt")
        if listed:
            kind = Kind.REQUIREMENTS
            self._requirements.add_file(listed)
        project: dict[str, Any] = {}
        # repo2docker does not install the repository as a package if binder/ or .binder/ exists.
        if not self.directory:
            if file := self.first("pyproject.toml"):
                project = self._read_project(file, has_list=bool(listed))
            if file := self.first("setup.py"):
                self._contents.text(file)
                self._install_repository(file)
            if not listed and (project or self.installs_repository):
                kind = Kind.PROJECT
        return kind, str(project.get("requires-python", ""))

    def _read_project(self, file: str, *, has_list: bool) -> dict[str, Any]:
        """Read a pyproject.toml (PEP 621), and return its table `project`.

        Args:
            file: its path.
            has_list: there are requirements beside it, which are installed instead of those of a
                project that is no package.
        """
        text = self._contents.text(file)
        data = self._toml(file, text)
        project, tools = table(data, "project"), table(data, "tool")
        is_package = bool(project) and "build-system" in data
        if is_package:
            self._install_repository(file)
        if "poetry" in tools and not project and not has_list:
            what = "it has no table [project] (PEP 621), so nothing of it is installed"
            self._contents.leave_out(Line(file), what)
        if is_package or not has_list:
            dependencies = project.get("dependencies")
            for each in dependencies if isinstance(dependencies, list) else ():
                self._requirements.add(str(each), Line(file, line_of(text, str(each))))
            self._read_indexes(file, text, table(tools, "uv").get("index"))
            # uv's documentation, "Dependency sources".
            for name, how in table(table(tools, "uv"), "sources").items():
                self._read_source(Line(file, line_of(text, f"{name} = ")), name, how)
        return project

    def _read_source(self, at: Line, name: str, how: Any) -> None:
        """Read where a project says that a package is built from."""
        if isinstance(how, dict) and {"git", "path", "url"}.isdisjoint(how):
            return
        what = f"{shown(name)} is built from its source"
        if not isinstance(how, dict) or not is_name(name):
            self._contents.refuse(at, f"{what}, which is not supported in this form")
        elif "git" in how:
            self._requirements.add_source(lock_files.git_source(name, how), at)
        else:
            where = str(how.get("path") or how.get("url"))
            if self._requirements.add_source(Built(where, name), at):
                self._requirements.add(f"{name} @ {where}", at)

    def _read_indexes(self, file: str, text: str, indexes: Any) -> None:
        """Read a project's indexes (uv's documentation, "Package indexes").

        One that is meant for some packages is searched for all of them.
        """
        for each in indexes if isinstance(indexes, list) else ():
            if isinstance(each, dict):
                option = "--index-url" if each.get("default") is True else "--extra-index-url"
                address = str(each.get("url", ""))
                at = Line(file, line_of(text, address))
                self._requirements.add_index(address, at, option)

    def _install_repository(self, file: str) -> None:
        self.installs_repository = True
        why = "the repository is a package, which is built and installed"
        self._requirements.build(Built("./."), Line(file), why)

    def _read_pipfile(self, file: str) -> str:
        """Read a Pipfile, and return the Python version that it requires."""
        text = self._contents.text(file)
        data = self._toml(file, text)
        lock_files.add_hosts(self._contents, text)
        for group in ("packages", "dev-packages"):
            for name, how in table(data, group).items():
                at = Line(file, line_of(text, name))
                lock_files.read_pipfile_entry(self._requirements, at, name, how)
        lock_files.add_pipfile_sources(self._requirements, file, data.get("source"))
        return lock_files.python_of_pipfile(data)

    def _yaml(self, file: str) -> yaml.Node | None:
        try:
            return yaml.compose(self._contents.text(file), yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            at = Line(file, mark.line + 1 if mark else 1)
            self._contents.refuse(at, f"no YAML: {error.problem}")
        except (yaml.YAMLError, RecursionError):
            self._contents.refuse(Line(file), "it is no YAML, or too deep")
        return None

    def _toml(self, file: str, text: str) -> dict[str, Any]:
        try:
            return tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            self._contents.refuse(Line(file), f"it is no TOML: {str(error)[:100]}")
            return {}

    def _runtime(self) -> tuple[str, str]:
        """Return the Python versions that runtime.txt asks for, and the file; "": none."""
        file = self.first("runtime.txt")
        if not file:
            return "", ""
        text = self._contents.text(file).strip()
        if found := re.fullmatch(r"python-(\d+(?:\.\d+){0,2})", text):
            return _minor(found[1]), file
        expected = f"found {shown(text)}, expected such as python-3.12"
        self._contents.refuse(Line(file), _OF_R if text.startswith("r-") else expected)
        return "", file

    def _chosen_python(self, asked: str, file: str, kind: Kind, required: str = "") -> str:
        """Return the preferred version of those that are to be had and asked for.

        If there is none, conda has Pythons too. On a hub without channels of conda, another
        Python 3 is used: most repositories work with it, and are not seen at all otherwise.

        Args:
            asked: versions that the author had, as in runtime.txt; "": any.
            file: the file that names them.
            kind: the kind of the environment.
            required: versions that a project is for; "": any.
        """
        both = ",".join(filter(None, (asked, required)))
        try:
            usable = [each for each in self._pythons if SpecifierSet(required).contains(each)]
            found = [each for each in usable if SpecifierSet(asked).contains(each)]
        except InvalidSpecifier:
            self._contents.refuse(Line(file), f"{shown(both)} is no version of Python (PEP 440)")
            return ""
        if found:
            return found[-1]
        # uv itself reads a uv.lock, with a Python that it is for.
        if kind is not Kind.UV and self._channels.addresses:
            self.of_conda = conda_files.of_python(both, self._channels)
        elif usable and not asked.startswith("==2"):
            wish = asked.removeprefix("==").removesuffix(".*")
            had = f"this hub has {usable[-1]}, which is used instead"
            self._contents.leave_out(Line(file), f"it was made for Python {wish}; {had}")
            return usable[-1]
        else:
            had = ", ".join(self._pythons) or "none"
            self._contents.refuse(Line(file), f"asks for Python {shown(both)}; to be had: {had}")
        return ""

    def first(self, *names: str) -> str:
        """Return the path of the first of these files that is there; "": none is."""
        paths = [f"{self.directory}/{name}" if self.directory else name for name in names]
        return next((path for path in paths if path in self._contents.files), "")


def _minor(version: str) -> str:
    """Return a specifier for all Pythons of a minor version, as repo2docker does; "" for ""."""
    return f"=={'.'.join(version.split('.')[:2])}.*" if version else ""
