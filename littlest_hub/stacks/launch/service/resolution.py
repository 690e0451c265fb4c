"""The answer of the resolver: what a repository is at a commit, or a record at a version."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch import repository
from littlest_hub.stacks.launch.environment.contents import Remark
from littlest_hub.stacks.launch.environment.environment_files import Environment, Kind
from littlest_hub.stacks.launch.published import Published

_DIRECTORY = re.compile(r"[0-9a-f-]{40,100}")
_TEXTS = ("directory", "python", "post_build", "start")
_REMARKS = ("code", "refused", "left_out")
_NO_CODE = "a hub that runs without systemd runs no code while it builds"


@dataclass(frozen=True)
class Resolution:
    """A repository at a commit."""

    repository: str
    """Its present address: one that is renamed redirects."""
    ref: str
    """A branch or tag in full, such as refs/heads/main, also if nobody has named one; "": unknown,
    or a commit was asked for."""
    commit: str
    is_reachable: bool
    """Whether the commit is on a branch or tag. At some hosts, whoever can read a repository can
    make other commits appear in it."""
    date: str
    """Date of the commit."""
    directory: str
    """The name of the directory with its files."""
    left_out: tuple[Remark, ...]
    """Files that it does not have here."""
    environment: Environment
    files: int = 0
    """The number of files."""
    size_bytes: int = 0
    published: Published | None = None
    """The record that a DOI names; None: it is a repository of git."""

    @property
    def branch(self) -> str:
        """The branch or tag as people write it."""
        return self.ref.removeprefix("refs/heads/").removeprefix("refs/tags/")

    def files_below(self, sources: Path) -> Path:
        """Return the directory of its files.

        Args:
            sources: the directory of the resolver.
        """
        return sources / self.directory / "files"


def refusing_code(found: Resolution) -> Resolution:
    """Return the same for a hub that runs no code while it builds: what needs that is refused."""
    environment = found.environment
    refused = (replace(each, text=f"{each.text}: {_NO_CODE}") for each in environment.code)
    return replace(
        found, environment=replace(environment, refused=(*environment.refused, *refused))
    )


def of_json(found: Mapping[str, Any]) -> Resolution:
    """Return the resolver's answer. It has parsed files of strangers, so it is not believed either.

    Raises:
        LittlestHubError: it is none.
    """
    try:
        commit, directory = found["commit"], found["directory"]
        if not (repository.is_commit(commit) and _DIRECTORY.fullmatch(directory)):
            raise ValueError(commit)
        return Resolution(
            _typed(found["repository"], str),
            _typed(found["ref"], str),
            commit,
            _typed(found["is_reachable"], bool),
            _typed(found["date"], str),
            directory,
            tuple(_remark(remark) for remark in found["left_out"]),
            _environment(found["environment"]),
            _typed(found["files"], int),
            _typed(found["size_bytes"], int),
            Published.of_values(found["published"]),
        )
    except (LittlestHubError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LittlestHubError("the resolver's answer is none of this release") from error


def _environment(found: Mapping[str, Any]) -> Environment:
    """Return an environment whose values have the right types.

    Raises:
        LittlestHubError, ValueError, KeyError, TypeError: they do not.
    """
    parts: dict[str, Any] = {name: _typed(found[name], str) for name in _TEXTS}
    parts |= {name: tuple(_remark(each) for each in found[name]) for name in _REMARKS}
    files = [_typed(each, str) for each in found["files"]]
    if any(repository.path_of(each) != each for each in files):
        raise ValueError(files)
    return Environment(
        kind=Kind(found["kind"]),
        files=tuple(files),
        hosts=tuple(_typed(each, str) for each in found["hosts"]),
        installs_repository=_typed(found["installs_repository"], bool),
        **parts,
    )


def _remark(found: Mapping[str, Any]) -> Remark:
    return Remark(
        _typed(found["file"], str), _typed(found["line"], int), _typed(found["text"], str)
    )


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, found {value!r}")
    return value
