"""The reading of an installation of The Littlest JupyterHub, which does not change."""

from __future__ import annotations

import hashlib
import json
import pwd
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.classroom.tljh.convert import logins
from littlest_hub.units.names import FIRST_UID

PREFIX = "jupyter-"
"""Prefix of TLJH's accounts."""
# TLJH shortens names to this length, and appends the first characters of a digest.
_SHORTENED, _DIGEST_CHARACTERS = 26, 5
# Packages that the server of this hub brings, or that manage TLJH's environment.
_OURS = frozenset(
    {"conda", "jupyter-resource-usage", "jupyterhub", "jupyterhub-singleuser", "jupyterlab"}
    | {"mamba", "micromamba", "nbclassic", "nbgitpuller", "notebook", "pip", "python", "retrolab"}
    | {"setuptools", "wheel"}
)
_REQUESTED = re.compile(r"^# (?:update|install) specs: (\[.*\])", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Package:
    """A package that somebody has installed by name in TLJH's environment of users."""

    name: str
    version: str
    source: str
    """conda or pip."""


@dataclass(frozen=True)
class Tree:
    """Everything that is imported."""

    config: Mapping[str, Any]
    names: frozenset[str]
    """Users that the configuration, or the database of the hub, names."""
    packages: tuple[Package, ...] = ()
    fragments: tuple[Path, ...] = field(default=())
    """Python files of the administrator, which are not converted."""

    def accounts(self) -> dict[str, pwd.struct_passwd]:
        """Return the accounts of people on this machine by login."""
        found = {}
        for login in self.names:
            with suppress(KeyError):
                account = pwd.getpwnam(account_name(login))
                if account.pw_uid >= FIRST_UID:
                    found[login] = account
        return found


def read(directory: Path) -> Tree:
    """Read TLJH's directory, usually /opt/tljh.

    Raises:
        LittlestHubError: there is no TLJH, or its configuration cannot be read.
    """
    if not (directory / "config").is_dir():
        raise LittlestHubError(
            f"{directory}/config is no directory; expected the directory of TLJH, such as /opt/tljh"
        )
    config = _config(directory / "config" / "config.yaml")
    users = config.get("users")
    named = (users or {}).values() if isinstance(users, Mapping) else ()
    names = {name for each in named for name in logins(each)}
    names |= set(_names_in(directory / "state" / "jupyterhub.sqlite"))
    fragments = sorted((directory / "config" / "jupyterhub_config.d").glob("*.py"))
    packages = tuple(_packages(directory / "user"))
    return Tree(config, frozenset(names), packages, tuple(fragments))


def account_name(login: str) -> str:
    """Return the name of the account that TLJH has made for a login."""
    name = f"{PREFIX}{login}"
    if len(name) < _SHORTENED:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{name[:_SHORTENED]}-{digest}"


def _config(file: Path) -> Mapping[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        found = YAML(typ="safe", pure=True).load(file.read_text())
    except FileNotFoundError:
        return {}
    except (YAMLError, ValueError) as error:
        raise LittlestHubError(f"{file} cannot be read: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise LittlestHubError(f"{file}: expected keys, found {type(found).__name__}")
    return {str(key): value for key, value in found.items()}


def _names_in(database: Path) -> Iterator[str]:
    """Yield the users in the hub's database; none if it cannot be read."""
    if database.is_file():
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True)) as opened,
        ):
            for (name,) in opened.execute("SELECT name FROM users"):
                yield str(name)


def _packages(prefix: Path) -> Iterator[Package]:
    asked = dict.fromkeys(_asked_of_conda(prefix / "conda-meta" / "history"), "conda")
    versions = {}
    for file in sorted((prefix / "conda-meta").glob("*.json")):
        with suppress(ValueError, KeyError, OSError):
            record = json.loads(file.read_text())
            versions[_canonical(str(record["name"]))] = str(record["version"])
    for place in sorted(prefix.glob("lib/python3*/site-packages/*.dist-info")):
        name, _, version = place.name.removesuffix(".dist-info").rpartition("-")
        name = _canonical(name)
        if (place / "REQUESTED").exists() and name not in versions:
            asked[name], versions[name] = "pip", version
    for name, source in sorted(asked.items()):
        if name not in _OURS and _NAME.fullmatch(name):
            yield Package(name, versions.get(name, ""), source)


def _asked_of_conda(history: Path) -> set[str]:
    """Return the names that somebody has installed with conda or mamba."""
    found: set[str] = set()
    with suppress(FileNotFoundError):
        for text in _REQUESTED.findall(history.read_text(errors="replace")):
            for spec in re.findall(r"""['"]([^'"]+)['"]""", text):
                name = re.split(r"[ =<>!~\[]", spec.rpartition("::")[2])[0]
                found.add(_canonical(name))
    return found


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(packages: Iterable[Package]) -> str:
    """Return a list of requirements without versions, which were those of another Python."""
    lines = ["# Packages that somebody asked for in TLJH's environment of users."]
    for each in packages:
        was = f"{each.version}, " if each.version else ""
        lines.append(f"{each.name}  # {was}from {each.source}")
    return "\n".join(lines) + "\n"
