"""The contents of a backup: names in the archive, the files they stand for, and the manifest."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import active_overlay, drop_in_directories
from littlest_hub.layout import PRODUCT, Layout
from littlest_hub.lifecycle import release
from littlest_hub.packages import lock as locks
from littlest_hub.system.ownership import loose_step

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE = "database/jupyterhub.sqlite"
DAMAGED = "database/damaged.sqlite"
FRAGMENTS = "jupyterhub_config.d"
STATE = "state"
DROP_INS = "drop-ins"
PACKAGES = "packages"
STACKS, RECORD = "stacks", "enabled.json"
"""The enabled stacks. A restore compares it with those here, and does not write it."""

_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_SECRET_NAME = re.compile(r"\.key$|^acme.*\.json$|secret|passw|token|credential|\.env$", re.I)


@dataclass(frozen=True)
class Member:
    """One file of the archive, as the manifest describes it."""

    sha256: str
    size: int
    """Bytes."""
    mode: str
    """Permissions, in octal digits."""


@dataclass(frozen=True)
class Manifest:
    """The last member of the archive: origin and content of all others."""

    version: str
    base: str
    host: str
    time: str
    database: str | None
    """Alembic revision of the database's schema; None: no database, or one without a revision."""
    secrets: bool
    left_out: Sequence[str]
    """Files with secrets that are not in the backup."""
    members: Mapping[str, Member]

    def __str__(self) -> str:
        secrets = "with" if self.secrets else "without"
        return (
            f"Backup of {self.base} on {self.host}, {self.time},"
            f" release {self.version}, {secrets} secrets"
        )

    def listing(self) -> str:
        """Return what is in the backup, for a person."""
        members = self.members.items()
        width = max((len(str(member.size)) for _, member in members), default=1)
        lines = [f"  {member.size:>{width}}  {name}" for name, member in members]
        out = [f"  not in it: {path}" for path in self.left_out]
        return "\n".join([str(self), *lines, *out])

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, "product": PRODUCT, **asdict(self)}

    @classmethod
    def from_json(cls, found: Any) -> Manifest:
        """Check and convert a parsed manifest, which may come from anyone.

        Raises:
            LittlestHubError: it is damaged, of a later format, or not of this product.
        """
        try:
            left_out = [str(path) for path in found["left_out"]]
            texts = [str(found[name]) for name in ("version", "base", "host", "time")]
            # They are shown to root, on a terminal.
            is_ours = found["product"] == PRODUCT and "".join([*texts, *left_out]).isprintable()
            if is_ours and found["format"] > FORMAT:
                raise LittlestHubError(
                    f"it was made by release {found['version']} and is of a later format"
                )
            members = {
                str(name): Member(each["sha256"], each["size"], f"{int(each['mode'], 8):o}")
                for name, each in found["members"].items()
            }
            values = {each.name: found[each.name] for each in fields(cls)}
            values |= {"members": members, "left_out": left_out}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LittlestHubError(f"its manifest cannot be read: {error!r}") from error
        if not is_ours:
            raise LittlestHubError("it is not a backup of a Littlest Hub")
        return cls(**values)


class Extras(NamedTuple):
    """Parts of a backup that it contains only if they are asked for."""

    secrets: bool = False
    """The cookie secret and private keys."""
    wheels: bool = False
    """The wheels of packages that the release does not bring; their lock is always in it."""


def collect(layout: Layout, extras: Extras) -> tuple[dict[str, Path], list[Path]]:
    """Return the files of a backup, except the database, by name; and secrets that are left out."""
    files: dict[str, Path] = {}
    left_out: list[Path] = []
    tops = [(FRAGMENTS, layout.fragments, ""), (STATE, layout.hub_state, "")]
    if layout.hub_user:
        # The rest of state/ is root's: records of releases. Names are the same as with root.
        tops.append((STATE, layout.proxy_state, "proxy/"))
        tops.append((STATE, layout.stacks, "stacks/"))
        left_out.append(layout.acme)
    for top, directory, inside in tops:
        for file in _files_below(directory, left_out):
            if top == STATE and not _is_covered(layout, file):
                continue
            is_fragment = top == FRAGMENTS and file.suffix == ".py"
            if not extras.secrets and not is_fragment and is_secret(layout, file):
                left_out.append(file)
            else:
                files[f"{top}/{inside}{file.relative_to(directory)}"] = file
    files |= _packages(layout, extras.wheels)
    record = layout.on_disk(layout.stacks_record)
    if record.is_file():
        files[f"{STACKS}/{RECORD}"] = record
    for file in drop_ins(layout):
        unit = file.parent.name.replace(layout.instance, PRODUCT, 1)
        files[f"{DROP_INS}/{unit}/{file.name}"] = file
    return files, left_out


def _packages(layout: Layout, wheels: bool) -> dict[str, Path]:
    """Return the lock of the active release's packages, and their wheels."""
    prefix = release.active(layout)
    overlay = active_overlay(layout, prefix) if prefix else None
    if overlay is None:
        return {}
    files = {f"{PACKAGES}/{locks.FILE}": layout.on_disk(overlay / locks.FILE)}
    if wheels:
        for each in locks.read(layout.on_disk(overlay)).all_wheels():
            files[f"{PACKAGES}/wheels/{each.file}"] = layout.on_disk(layout.wheels / each.file)
    return files


def target_of(layout: Layout, name: str) -> Path | None:
    """Return the path that a member of the archive is restored to; None: to none here.

    Raises:
        LittlestHubError: no backup has a member of this name.
    """
    top, _, rest = name.partition("/")
    if name == DATABASE:
        return layout.database
    if top == FRAGMENTS:
        return layout.fragments / rest
    if top == STATE:
        target = layout.state / rest
        if not _is_covered(layout, target) or ".lock" in rest:
            raise LittlestHubError(f"{name!r} is no name that a backup has")
        return target
    if top == DROP_INS and layout.is_live and os.geteuid() == 0:
        return layout.system_units / rest.replace(PRODUCT, layout.instance, 1)
    return None


def drop_ins(layout: Layout) -> list[Path]:
    """Return the administrator's drop-ins of our units."""
    if not layout.is_live or (os.geteuid() != 0 and not layout.hub_user):
        return []
    found = (file for each in drop_in_directories(layout) for file in sorted(each.glob("*.conf")))
    return [
        file
        for file in found
        if file.is_file() and file not in (layout.restore_guard, layout.change_guard)
    ]


def is_secret(layout: Layout, file: Path) -> bool:
    """Return whether a file as a whole is a secret: a cookie secret, private key, credentials."""
    if file in (layout.cookie_secret, layout.acme_storage) or _SECRET_NAME.search(file.name):
        return True
    with file.open("rb") as opened:
        return _PRIVATE_KEY.search(opened.read(1 << 20)) is not None


def _is_covered(layout: Layout, file: Path) -> bool:
    """Return whether a backup covers a file of state/: not what hub and proxy generate."""
    generated = (
        layout.routes,
        layout.static_config,
        layout.ready_config,
        layout.https_marker,
        layout.https_config,
        layout.default_certificate_config,
        layout.redirect_config,
        layout.acme_ca,
        layout.switch_record,
        layout.restore_record,
        layout.last_backup,
        # Ports and tokens are those of the units here.
        layout.stacks_record,
        layout.unfinished_change,
    )
    own = file.relative_to(layout.stacks).parts if file.is_relative_to(layout.stacks) else ()
    return not (
        file in generated
        or own[1:] == ("token",)
        or own[1:2] == ("cache",)
        or file.is_relative_to(layout.backups)
        or str(file).startswith(str(layout.database))
        or file.suffix in {".lock", ".pid", ".sock"}
        # SQLite's own files beside an open database; the copy of the database needs none.
        or file.suffix in {".sqlite-journal", ".sqlite-wal", ".sqlite-shm"}
    )


def follows_links(directory: Path) -> bool:
    """Return whether to follow links in a directory; root does not if others can make them."""
    return os.geteuid() != 0 or loose_step(directory) is None


def _files_below(directory: Path, without: Sequence[Path]) -> Iterator[Path]:
    """Yield every file, linked ones too, outside hidden directories such as .git."""
    if not directory.is_dir() or directory in without:
        return
    is_ours = follows_links(directory)
    for entry in sorted(directory.iterdir()):
        if entry.name.startswith(".") or (entry.is_symlink() and not is_ours):
            continue
        if entry.is_dir():
            if entry.name != "__pycache__" and not entry.is_symlink():
                yield from _files_below(entry, without)
        elif entry.is_file():
            yield entry
