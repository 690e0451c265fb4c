"""The stacks that are enabled, and what their fragments need to know about them."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout, PackageSet
from littlest_hub.system.files import write

_FORMAT = 1
_TOKEN_BYTES = 32


@dataclass(frozen=True)
class EnabledStack:
    """A stack that is enabled, with the answers to its questions."""

    name: str
    answers: Mapping[str, str] = field(default_factory=dict)
    """Answers to its questions, by key."""
    port: int = 0
    """Port of its service on 127.0.0.1; 0: it has none."""
    packages: Mapping[PackageSet, tuple[str, ...]] = field(default_factory=dict)
    """Requirements that were not asked for before."""
    fragments: tuple[str, ...] = ()
    """Fragments that were written for it."""

    def to_json(self) -> dict[str, Any]:
        packages = {each: list(texts) for each, texts in self.packages.items()}
        return {
            "answers": dict(self.answers),
            "port": self.port,
            "packages": packages,
            "fragments": list(self.fragments),
        }

    @classmethod
    def from_json(cls, name: str, record: Mapping[str, Any]) -> EnabledStack:
        packages = {PackageSet(e): tuple(map(str, t)) for e, t in record["packages"].items()}
        answers = {str(key): str(value) for key, value in record["answers"].items()}
        port, fragments = int(record["port"]), tuple(map(str, record["fragments"]))
        # One in a backup may come from anyone, and is shown on a terminal.
        if not (name.isidentifier() and "".join([*answers, *answers.values()]).isprintable()):
            raise ValueError(f"{name!r} is no record of a stack")
        return cls(name, answers, port, packages, fragments)


def read(layout: Layout) -> dict[str, EnabledStack]:
    """Return the enabled stacks by name.

    Raises:
        LittlestHubError: the record is damaged.
    """
    return from_file(layout.on_disk(layout.stacks_record))


def from_file(file: Path) -> dict[str, EnabledStack]:
    """Return the enabled stacks in a record; none if there is no such file.

    Raises:
        LittlestHubError: the record is damaged.
    """
    try:
        record = json.loads(file.read_text())
        if record["format"] != _FORMAT:
            raise LittlestHubError(f"{file} has format {record['format']!r}, expected {_FORMAT}")
        stacks = record["stacks"].items()
        return {name: EnabledStack.from_json(name, each) for name, each in stacks}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LittlestHubError(
            f"{file} is damaged: {error!r}", "If no stack is enabled, remove it"
        ) from error


def to_text(stacks: Mapping[str, EnabledStack]) -> str:
    """Return the content of the record."""
    record = {name: each.to_json() for name, each in stacks.items()}
    return json.dumps({"format": _FORMAT, "stacks": record}, indent=1, sort_keys=True) + "\n"


def write_record(layout: Layout, stacks: Mapping[str, EnabledStack]) -> None:
    """Replace the record; the hub reads it, whichever user it runs as."""
    file = layout.on_disk(layout.stacks_record)
    if stacks:
        write(file, to_text(stacks), 0o644 if layout.hub_user else 0o600)
    else:
        file.unlink(missing_ok=True)


def make_directory(layout: Layout, stack: EnabledStack) -> None:
    """Make the directory of a stack, and the token of its service, unless they exist."""
    for directory in (layout.stacks, layout.stacks / stack.name):
        place = layout.on_disk(directory)
        place.mkdir(exist_ok=True)
        place.chmod(0o755)  # state/ above is closed; the service's user passes through
    if not stack.port:
        return
    layout.on_disk(layout.stack_data(stack.name)).mkdir(mode=0o755, exist_ok=True)
    token = layout.on_disk(layout.stack_token(stack.name))
    if not token.exists():
        write(token, f"{secrets.token_hex(_TOKEN_BYTES)}\n", 0o600)
    if layout.hub_user and layout.is_live and os.geteuid() == 0:
        import shutil

        shutil.chown(token, layout.hub_user)


def answered(text: str, answers: Mapping[str, str]) -> str:
    """Return a fragment in which the variables of questions have the answers as values."""
    for key, answer in answers.items():
        line = re.compile(rf'^({key.upper()} = )"[^"\n]*"', re.MULTILINE)
        value = json.dumps(answer, ensure_ascii=False)
        text = line.sub(lambda found, value=value: f"{found[1]}{value}", text, count=1)  # type: ignore[misc]
    return text


def require_enabled(name: str) -> EnabledStack:
    """Return how a stack was enabled, for its fragment, which is not enough alone.

    Raises:
        LittlestHubError: it is not enabled.
    """
    layout = installation.of_this_release()
    stack = read(layout).get(name)
    if stack is None:
        raise LittlestHubError(f"{name} is not enabled; run: {layout.command} enable {name}")
    return stack


def stack_service(name: str, **fields: Any) -> dict[str, Any]:
    """Return the entry of a stack's service for `c.JupyterHub.services`, as fragments need it.

    Args:
        name: the stack; its service has the same name.
        fields: more fields of the entry.

    Raises:
        LittlestHubError: the stack is not enabled.
    """
    layout = installation.of_this_release()
    stack = require_enabled(name)
    if not stack.port:
        raise LittlestHubError(f"{name} has no service: its manifest names none")
    token = layout.stack_token(name).read_text().strip()
    url = f"http://127.0.0.1:{stack.port}"
    return {"name": name, "url": url, "api_token": token, **fields}


def give_everybody(c: Any, scope: str) -> None:
    """Give a scope to all users of the hub, for a stack's fragment.

    Args:
        c: the configuration of the hub.
        scope: of JupyterHub, such as access:services!service=NAME.
    """
    # All users have the role "user". Another fragment may have changed it.
    for role in c.JupyterHub.load_roles:
        if role.get("name") == "user":
            role["scopes"] = [*role.get("scopes", ["self"]), scope]
            return
    c.JupyterHub.load_roles.append({"name": "user", "scopes": ["self", scope]})
