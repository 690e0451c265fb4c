"""The plan of a restore: what it would change here, and whether the hub would accept it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from littlest_hub import __version__
from littlest_hub.backup.contents import (
    DAMAGED,
    PACKAGES,
    RECORD,
    STACKS,
    Manifest,
    drop_ins,
    target_of,
)
from littlest_hub.backup.exchange import TIDY, Exchange, Replacement
from littlest_hub.check import check_fragments
from littlest_hub.errors import LittlestHubError
from littlest_hub.hub import database
from littlest_hub.installation import fragment_files
from littlest_hub.layout import Layout
from littlest_hub.lifecycle import release
from littlest_hub.manifest import enabled
from littlest_hub.packages import lock as locks
from littlest_hub.packages import overlay
from littlest_hub.system.ownership import check_owners


@dataclass(frozen=True)
class Change:
    """A file that the backup covers, and what becomes of it."""

    target: Path
    source: Path | None
    """Its unpacked new content; None: it is removed."""
    sign: str
    """"+" created, "~" replaced, "-" removed, "=" stays as it is."""
    mode: int = 0
    """Its permissions in the backup."""


@dataclass(frozen=True)
class Plan:
    """The changes that a restore would make here."""

    manifest: Manifest
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        signs = [f"  {each.sign} {each.target}" for each in self.changes if each.sign != "="]
        same = sum(each.sign == "=" for each in self.changes)
        return "\n".join(
            [
                str(self.manifest),
                *signs,
                *([f"  = {same} unchanged"] if same else []),
                *(f"Mind: {warning}" for warning in self.warnings),
            ]
        )

    def laid_out(self, layout: Layout) -> Iterator[Change]:
        """Yield the changes whose files have to be copied."""
        whole = self._data_directories(layout)
        for each in self.changes:
            if each.source and (each.sign != "=" or data_directory(layout, each.target) in whole):
                yield each

    def exchange(self, layout: Layout) -> Exchange:
        """Return the replacements that this plan comes down to."""
        changed = [each for each in self.changes if each.sign != "="]
        whole = self._data_directories(layout)
        targets = {
            each.target: each.source is not None
            for each in changed
            if data_directory(layout, each.target) is None
        } | dict.fromkeys(whole, True)
        if targets.get(layout.database):
            for suffix in ("-wal", "-shm", "-journal"):
                # SQLite would apply the old database's journal to the new one.
                targets[layout.database.with_name(f"{layout.database.name}{suffix}")] = False
        found = (Replacement(target, has_new, True) for target, has_new in targets.items())
        return Exchange(TIDY, tuple(found))

    def _data_directories(self, layout: Layout) -> list[Path]:
        """Return the directories of stacks' services in which something changes."""
        found = (data_directory(layout, each.target) for each in self.changes if each.sign != "=")
        return [*dict.fromkeys(each for each in found if each)]


def data_directory(layout: Layout, target: Path) -> Path | None:
    """Return the directory of a stack's service that contains a file; None: none does.

    It belongs to the service, which could mislead root in it, so it is exchanged whole.
    """
    if not target.is_relative_to(layout.stacks):
        return None
    stack = target.relative_to(layout.stacks).parts[0]
    directory = layout.stack_data(stack)
    return directory if directory in target.parents else None


def make_plan(layout: Layout, scratch: Path, manifest: Manifest) -> Plan:
    """Compare an unpacked backup with what is here."""
    changes = []
    for name, member in manifest.members.items():
        target = None if name == DAMAGED else target_of(layout, name)
        if target:
            source = scratch / name
            sign = "~" if target.exists() else "+"
            is_comparable = target.is_file() and target != layout.database
            if is_comparable and target.read_bytes() == source.read_bytes():
                sign = "="
            changes.append(Change(target, source, sign, int(member.mode, 8)))
    if changes:
        # Configuration that did not exist then.
        covered = {each.target for each in changes}
        present = [*fragment_files(layout), *drop_ins(layout)]
        changes += [Change(path, None, "-") for path in present if path not in covered]
    plan = Plan(manifest, tuple(changes), ())
    return Plan(manifest, plan.changes, tuple(_warnings(layout, plan)))


def check_plan(layout: Layout, scratch: Path, plan: Plan) -> None:
    """Refuse what the hub would refuse.

    Raises:
        LittlestHubError: a database of a later release, fragments that do not work here, or a
            directory in which others could mislead root.
    """
    for change in plan.changes:
        if change.sign != "=":
            # Its directory is the proxy's; see `restore._lay_out`.
            is_proxys = change.target == layout.acme_storage
            of_service = data_directory(layout, change.target)
            others = layout.acme if is_proxys else of_service
            check_owners(others.parent if others else change.target)
    sources = {each.target: each.source for each in plan.changes}
    restored = sources.get(layout.database)
    revision = database.revision(restored) if restored else None
    if revision is not None and revision not in _known_revisions():
        raise LittlestHubError(
            f"the database in it is of a later release (schema {revision!r}) than {__version__}",
            "Nothing was changed. Install that release first.",
        )
    # Fragments that would be removed count as empty.
    empty = scratch / "empty.py"
    empty.touch()
    copies = dict.fromkeys(fragment_files(layout), empty)
    for target, source in sources.items():
        if source and target.parent == layout.fragments and target.suffix == ".py":
            copies[target] = source
    # A problem of no fragment is one of the present state, which is about to be replaced.
    problems = [
        each for each in check_fragments(layout, copies).errors if Path(each.file) in copies
    ]
    if problems:
        text = "\n".join(map(str, problems))
        raise LittlestHubError(
            f"{text}\nThese fragments of the backup do not work here.",
            "Nothing was changed. Provide what they need, or extract them with tar.",
        )


def check_packages(layout: Layout, scratch: Path, file: Path) -> None:
    """Refuse a backup of a hub with packages that are not here: fragments may need them.

    Raises:
        LittlestHubError: which are missing, and the commands that add them.
    """
    directory, prefix = scratch / PACKAGES, release.active(layout)
    if not (directory / locks.FILE).exists() or prefix is None:
        return
    present = overlay.present_lock(layout, prefix).requested
    missing = {
        package_set: [text for text in texts if text not in present.get(package_set, ())]
        for package_set, texts in locks.read(directory).requested.items()
    }
    if not any(missing.values()):
        return
    add = f"{layout.command} packages add"
    commands = [
        " ".join(filter(None, [add, package_set.option, *map(shlex.quote, texts)]))
        for package_set, texts in missing.items()
        if texts
    ]
    if (directory / "wheels").is_dir():
        commands = [f"{add} --from {shlex.quote(str(file))}"]
    names = ", ".join(text for texts in missing.values() for text in texts)
    raise LittlestHubError(
        f"the hub in this backup has packages that are not here: {names}",
        "Nothing was changed. Add them, then restore:\n  " + "\n  ".join(commands),
    )


def check_stacks(layout: Layout, scratch: Path) -> None:
    """Refuse a backup of a hub with stacks that are not enabled here: its fragments need them.

    Raises:
        LittlestHubError: which, and the commands that enable them.
    """
    present = enabled.read(layout)
    missing = {
        name: stack
        for name, stack in enabled.from_file(scratch / STACKS / RECORD).items()
        if name not in present
    }
    if missing:
        commands = [
            f"{layout.command} enable {name} --yes"
            + "".join(f" --set {shlex.quote(f'{k}={v}')}" for k, v in stack.answers.items())
            for name, stack in missing.items()
        ]
        raise LittlestHubError(
            f"the hub in this backup has stacks that are not enabled here: {', '.join(missing)}",
            "Nothing was changed. Enable them, then restore:\n  " + "\n  ".join(commands),
        )


def _warnings(layout: Layout, plan: Plan) -> Iterator[str]:
    manifest = plan.manifest
    sources = {each.target: each.source for each in plan.changes if each.source}
    if layout.database in sources:
        if manifest.database != database.head():
            yield "the database is of an earlier release; the hub upgrades it when it starts"
    elif DAMAGED in manifest.members:
        yield f"the database in this backup was damaged already; it is in it as {DAMAGED}"
    else:
        yield "this backup has no database; that of this machine stays"
    if layout.cookie_secret not in sources and not manifest.secrets:
        yield "without secrets: on another machine than the first, everyone logs in again"
    if manifest.base != str(layout.base):
        yield from _mentions(manifest.base, sources, without=layout.database)


def _mentions(base: str, sources: Mapping[Path, Path], without: Path) -> Iterator[str]:
    mention = re.compile(rf"{re.escape(base)}(?![\w.-])")
    for target, source in sources.items():
        if target != without:
            lines = source.read_bytes().decode(errors="replace").split("\n")
            for number, line in enumerate(lines, 1):
                if mention.search(line):
                    yield f"{target}:{number}: names {base}, which is not this hub"


def _known_revisions() -> list[str]:
    """Return the database schemas that this release can upgrade, newest first."""
    from alembic.script import ScriptDirectory
    from jupyterhub.dbutil import ALEMBIC_DIR

    return [script.revision for script in ScriptDirectory(ALEMBIC_DIR).walk_revisions()]
