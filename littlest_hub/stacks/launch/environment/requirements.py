"""Requirements of Python packages, in pip's files and elsewhere: which of them run code.

A wheel is unpacked (PEP 427). Everything else is built, which runs code of its author (PEP 517).
The remarks are for people, before anything is built: the builder takes only wheels unless the code
tier was confirmed, so that an oversight here makes a build fail, and runs nothing.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from littlest_hub.stacks.launch.environment.contents import Contents, Line, shown

MOST_REQUIREMENTS, MOST_FILES, MOST_HOSTS, LONGEST_REQUIREMENT = 2000, 20, 100, 1000
USUAL_HOSTS = {"pypi.org", "files.pythonhosted.org", "conda.anaconda.org"}
# pip's documentation, "Requirements File Format".
_OPTION = re.compile(r"(--[a-z][a-z-]*|-[a-zA-Z])[\s=]*(.*)")
_INCLUDES = ("-r", "--requirement", "-c", "--constraint")
_EDITABLE = ("-e", "--editable")
_SOURCES = {
    **{"-i": "--index-url", "--index-url": "--index-url", "-f": "--find-links"},
    **{each: each for each in ("--extra-index-url", "--find-links")},
}
_HARMLESS = (
    *("--prefer-binary", "--only-binary", "--require-hashes", "--use-feature"),
    *("--no-deps", "--no-cache-dir", "--quiet", "--upgrade", "-U", "-q"),
)
_KNOWN = (
    *(*_INCLUDES, *_EDITABLE, *_SOURCES, *_HARMLESS),
    *("--pre", "--no-binary", "--no-index"),
)
"""Options of which pip accepts the beginning, too, if they are long."""
_OWN_OPTIONS = re.compile(r"\s(--?[A-Za-z][\w-]*)")
# An address or a path, where PEP 508 would have a name.
_ADDRESS = re.compile(r"""[\w+]+:|[./]|[^\s@;'"]*(?:/|\.(?:whl|zip|gz|bz2)$)""")
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_HOST = re.compile(r"[a-z0-9.-]+")
_TOKEN = re.compile(r"[!-~]+")
_WHEEL = re.compile(r"https://[!-~]+\.whl(?:#[!-~]*)?")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
_EXTRAS = re.compile(r"\[[A-Za-z0-9._, -]+\]")
_EGG = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,99})(\[[A-Za-z0-9._,-]+\])?")
_SCHEME = re.compile(r"[\w+.-]+:")


@dataclass(frozen=True)
class Built:
    """A package that is built from its source, in our own spelling."""

    what: str = ""
    """"./PATH" in the repository, "git+https://…", "https://…"; of an index, "" or "==VERSION"."""
    name: str = ""
    """"": as its source says."""
    extras: str = ""
    """Extras as they are written, such as "[a,b]"."""
    marker: str = ""


@dataclass
class Wanted:
    """Requirements in our own spelling: no line of a stranger is kept."""

    packages: list[str] = field(default_factory=list)
    """Requirements (PEP 508) that wheels can satisfy."""
    built: list[Built] = field(default_factory=list)
    """Packages that run code, each with a remark in `Contents.code`, unless there are too many."""
    constraints: list[str] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)
    """Options for further indexes, such as "--extra-index-url https://…"."""
    hashes: dict[str, list[str]] = field(default_factory=dict)
    """Hashes of the files that may be installed, "sha256:…", by package."""
    prereleases: bool = False


class Requirements:
    """The requirements of an environment; remarks on them are left in its contents."""

    def __init__(self, contents: Contents) -> None:
        self.wanted = Wanted()
        self._contents = contents
        self._files: set[str] = set()
        self._count = 0

    def add_file(self, file: str, *, constrains: bool = False) -> None:
        """Read a file in pip's format, and those that it includes.

        Args:
            file: its path.
            constrains: it asks for no packages, but for versions of those that others ask for.
        """
        if file in self._files:
            return
        self._files.add(file)
        if len(self._files) > MOST_FILES:
            self._contents.refuse(Line(file), f"more than {MOST_FILES} files are included")
            return
        for number, line in _lines(self._contents.text(file)):
            if line:
                self.add_line(line, Line(file, number), constrains=constrains)

    def add_line(self, text: str, at: Line, *, constrains: bool = False) -> None:
        """Add a line in pip's format."""
        text = text.strip()
        if not self._has_room(at):
            return
        if "${" in text:
            what = f"{shown(text)}: variables are not replaced, since the builder has none"
            self._contents.refuse(at, what)
        elif text.startswith("-"):
            self._add_option(text, at, constrains=constrains)
        elif text:
            requirement, *options = _OWN_OPTIONS.split(text)
            hashes = []
            for option, value in zip(options[::2], options[1::2], strict=True):
                if option == "--hash":
                    hashes.append(value.strip(" ="))
                else:
                    what = f"the option {option} of a build is not supported"
                    self._contents.refuse(at, what)
            self._add(requirement, at, hashes, constrains=constrains)

    def add(self, text: str, at: Line, hashes: Sequence[str] = ()) -> None:
        """Add a requirement: NAME, "NAME @ ADDRESS" (PEP 508), or pip's ADDRESS or path.

        Args:
            text: the requirement.
            at: the line that has it.
            hashes: of the files that may be installed, "sha256:…"; none: of any.
        """
        if self._has_room(at):
            self._add(text, at, hashes)

    def add_index(self, address: str, at: Line, option: str = "-i") -> None:
        """Add an index of packages, by its address."""
        host = _host_of(address)
        if not host or not _TOKEN.fullmatch(address):
            what = f"{shown(address)}: expected an index at https://…, without a password"
            self._contents.refuse(at, what)
            return
        add_host(self._contents, host)
        name = _SOURCES[option]
        if name == "--index-url":
            # The last --index-url counts, as for pip.
            kept = [each for each in self.wanted.indexes if not each.startswith(name)]
            self.wanted.indexes = kept
        # The usual index is the one that this machine is configured for, perhaps a mirror.
        if host != "pypi.org":
            self.wanted.indexes.append(f"{name} {address}")

    def add_source(self, asked: Built, at: Line, *, constrains: bool = False) -> bool:
        """Add a package's address, or its path in the repository, unless it is a wheel's.

        Returns:
            Whether it is the address of a wheel: then it can be installed without running code.
        """
        address, name = asked.what, asked.name or asked.what
        plain = address.removeprefix("git+")
        if not _SCHEME.match(plain):
            found = self._path(plain, at)
            kept = None if found is None else replace(asked, what=f"./{found}")
        elif not (host := _host_of(plain)) or not _TOKEN.fullmatch(plain):
            what = "expected https://… or git+https://…, without a password"
            self._contents.refuse(at, f"{shown(address)}: {what}")
            return False
        else:
            add_host(self._contents, host)
            if plain == address and urlsplit(plain).path.endswith(".whl"):
                return bool(_WHEEL.fullmatch(plain))
            where = "an archive" if plain == address else "a git repository"
            self._contents.runs(at, f"{shown(name)} is built from {where} at {host}")
            kept = _without_egg(asked)
        # A constraint alone builds nothing.
        if kept and not constrains:
            self._build(kept)
        return False

    def build(self, asked: Built, at: Line, why: str) -> None:
        """Add a package that is built from its source, with the remark that says so."""
        self._contents.runs(at, why)
        self._build(asked)

    def _build(self, asked: Built) -> None:
        if asked not in self.wanted.built and len(self.wanted.built) < MOST_REQUIREMENTS:
            self.wanted.built.append(asked)

    def _has_room(self, at: Line) -> bool:
        self._count += 1
        # Once: the others are as superfluous.
        if self._count == MOST_REQUIREMENTS + 1:
            self._contents.refuse(at, f"more than {MOST_REQUIREMENTS} packages are required")
        return self._count <= MOST_REQUIREMENTS

    def _add(
        self,
        text: str,
        at: Line,
        hashes: Sequence[str] = (),
        *,
        constrains: bool = False,
    ) -> None:
        kept = self.wanted.constraints if constrains else self.wanted.packages
        if _ADDRESS.match(text):
            path, _, extras = text.partition("[")
            is_path = not _SCHEME.match(text) and _EXTRAS.fullmatch(f"[{extras}")
            asked = Built(path, extras=f"[{extras}") if is_path else Built(text)
            if self.add_source(asked, at, constrains=constrains):
                kept.append(text)
            return
        try:
            if len(text) > LONGEST_REQUIREMENT:
                raise InvalidRequirement
            found = Requirement(text)
        except (InvalidRequirement, RecursionError):
            self._contents.refuse(at, f"{shown(text)} is no requirement (PEP 508)")
            return
        if found.url:
            extras = f"[{','.join(sorted(found.extras))}]" if found.extras else ""
            asked = Built(found.url, found.name, extras, str(found.marker or ""))
            if not self.add_source(asked, at, constrains=constrains):
                return
        # Its canonical text: whoever reads it next sees what was judged here.
        kept.append(str(found))
        if hashes:
            known = self.wanted.hashes.setdefault(canonicalize_name(found.name), [])
            known += (each for each in hashes if each not in known)

    def _add_option(self, text: str, at: Line, *, constrains: bool) -> None:
        found = _OPTION.fullmatch(text)
        name, value = (_whole(found[1]), found[2].strip("\"' ")) if found else (text, "")
        if name in _SOURCES:
            # pip reads over words that follow the address.
            value = value.partition(" ")[0]
        if name in _INCLUDES:
            constrains = constrains or name in _INCLUDES[2:]
            self._include(value, at, constrains=constrains)
        elif name in _EDITABLE:
            self._add(value if _ADDRESS.match(value) else f"./{value}", at)
        elif name in _SOURCES:
            self.add_index(value, at, name)
        elif name == "--pre":
            self.wanted.prereleases = True
        elif name == "--no-binary":
            self._add_no_binary(value, at)
        elif name not in _HARMLESS:
            self._contents.refuse(at, f"the option {shown(name)} is not supported")

    def _add_no_binary(self, value: str, at: Line) -> None:
        names = [each.strip() for each in value.split(",")]
        if names == [":none:"]:
            return
        for name in names:
            if is_name(name):
                what = f"{shown(name)} is built from its source"
                self.build(Built(name=canonicalize_name(name)), at, what)
            else:
                what = f"{shown(name)}: expected names of packages that are built from their source"
                self._contents.refuse(at, what)

    def _include(self, path: str, at: Line, *, constrains: bool) -> None:
        found = inside(at.file, path)
        if found in self._contents.files:
            self.add_file(str(found), constrains=constrains)
        else:
            self._contents.refuse(at, f"{shown(path)} is no file of the repository")

    def _path(self, path: str, at: Line) -> str | None:
        """Return a path of the repository from which a package is built; None: it is not."""
        found = inside(at.file, path.partition("[")[0].partition("#")[0].strip())
        if found is None:
            self._contents.refuse(at, f"{shown(path)} is not in the repository")
        elif found.endswith(".whl"):
            what = f"{shown(found)} is not installed: a wheel in a repository is not supported"
            self._contents.leave_out(at, what)
        else:
            what = "the repository itself" if found == "." else shown(found)
            self._contents.runs(at, f"{what} is built and installed")
            return found
        return None


def _whole(option: str) -> str:
    """Return the only long option that begins like this; otherwise the text itself."""
    found = [each for each in _KNOWN if each.startswith(option)]
    return found[0] if len(found) == 1 and option.startswith("--") else option


def add_host(contents: Contents, host: str) -> None:
    """Add a host from which packages are to be downloaded, unless it is a usual one."""
    if host.lower() not in USUAL_HOSTS and len(contents.hosts) < MOST_HOSTS:
        contents.hosts.add(host.lower())


def _host_of(address: str) -> str:
    """Return the host of an https address without a password; "": it is something else."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return ""
    is_right = parts.scheme == "https" and "@" not in parts.netloc and _HOST.fullmatch(host)
    return host if is_right else ""


def is_name(text: str) -> bool:
    """Return whether a text is the name of a package."""
    return bool(_NAME.fullmatch(text))


def _without_egg(asked: Built) -> Built:
    """Return a package with the name that pip's `#egg=` gives it, of which pip itself warns."""
    address, _, fragment = asked.what.partition("#")
    parts = [each.partition("=") for each in fragment.split("&") if each]
    kept = "&".join("".join(each) for each in parts if each[0] != "egg")
    egg = next((each[2] for each in parts if each[0] == "egg"), "")
    found = _EGG.fullmatch(egg)
    name = asked.name or (found[1] if found else "")
    extras = asked.extras or ((found[2] or "") if found else "")
    return Built(address + (f"#{kept}" if kept else ""), name, extras, asked.marker)


def inside(file: str, path: str) -> str | None:
    """Return a path of the repository that a file of it names; None: it leads elsewhere.

    Args:
        file: the file, to whose directory the path is relative.
        path: as the file has it.
    """
    if ":" in path or "\\" in path or path.startswith(("/", "~")):
        return None
    found = posixpath.normpath(posixpath.join(posixpath.dirname(file), path))
    return None if found == ".." or found.startswith("../") else found


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield logical lines, which a backslash continues, without comments; and their first line."""
    parts: list[str] = []
    first = 1
    for number, line in enumerate(text.splitlines(), 1):
        first = first if parts else number
        if line.endswith("\\") and not line.lstrip().startswith("#"):
            parts.append(line[:-1])
            continue
        yield first, _COMMENT.sub("", " ".join([*parts, line])).strip()
        parts = []
    if parts:
        yield first, _COMMENT.sub("", " ".join(parts)).strip()
