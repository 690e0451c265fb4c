"""The plan of enabling or disabling a stack, before anything is done."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.utils import canonicalize_name

from littlest_hub.activation import answers
from littlest_hub.check import is_service
from littlest_hub.errors import LittlestHubError, as_typed
from littlest_hub.fragments.catalogue import DISABLED, is_as_copied
from littlest_hub.installation import drop_in_directories
from littlest_hub.layout import Layout, PackageSet
from littlest_hub.lifecycle.unit_files import UnitFiles
from littlest_hub.manifest import enabled
from littlest_hub.manifest.discovery import Stack
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.manifest.manifest import Elsewhere, resolve
from littlest_hub.packages import requirements
from littlest_hub.packages.requirements import Lists
from littlest_hub.system.ownership import check_owners
from littlest_hub.units import stack as stack_units
from littlest_hub.units.ports import free_internal_port


@dataclass(frozen=True)
class Plan:
    """The files, units and packages of one stack, as they are to be."""

    how: EnabledStack
    """The stack, as it is, or was, enabled."""
    texts: Mapping[Path, str] = field(default_factory=dict)
    """Fragments to write, as the machine sees them."""
    returning: frozenset[Path] = frozenset()
    """Those of them that come from NAME.disabled, with the administrator's changes."""
    removed: Sequence[Path] = ()
    """Fragments to remove."""
    renamed: Mapping[Path, Path] = field(default_factory=dict)
    """Fragments that the administrator has changed, and their names from now on."""
    drop_ins: Mapping[Path, str | None] = field(default_factory=dict)
    """Drop-ins of the hub's unit to write; None: to remove."""
    units: Mapping[str, str | None] = field(default_factory=dict)
    """Units to install, by name; None: to stop and remove."""
    wanted: Lists = field(default_factory=dict)
    """Requirements in all sets of packages afterwards; {}: packages stay as they are."""
    elsewhere: Elsewhere | None = None
    """Servers on other machines, to end."""
    ends: str = ""
    """Another effect on people."""
    leftovers: Sequence[Path] = ()
    """Directories that are removed at the end."""
    clean_up: Callable[[Layout], Sequence[str]] = lambda _: ()
    """Removes what the stack can make again, and its system users."""
    notes: Sequence[str] = ()
    """Remarks on what stays, for people."""
    is_in_foreground: bool = False
    """Whether the hub is one of `littlest-hub run`, which takes it up at its next start."""

    @property
    def packages(self) -> list[str]:
        """The requirements that come, or go."""
        return [text for texts in self.how.packages.values() for text in texts]

    def files(self, layout: Layout) -> list[Path]:
        """Return all files that are written or removed; those that the hub loads last."""
        lists = [requirements.file_of(layout, each) for each in self.wanted]
        fragments = [*self.texts, *self.removed, *self.renamed, *self.renamed.values()]
        disabled = [path.with_name(path.name + DISABLED) for path in self.texts]
        records = [layout.stacks_record, layout.enabled]
        return [*records, *lists, *self.drop_ins, *disabled, *fragments]

    def lines(self) -> Iterator[str]:
        """Yield what will be done, for people."""
        for path in self.texts:
            source = f", from {path.name}{DISABLED}, which you have changed"
            yield f"write {path}{source if path in self.returning else ''}"
        for path in self.removed:
            yield f"remove {path}, which you have not changed"
        for path, name in self.renamed.items():
            yield f"rename {path}, which you have changed, to {name.name}, which is ignored"
        for drop_in, content in self.drop_ins.items():
            what = "remove" if content is None else "write"
            yield f"{what} {drop_in}, which gives the hub's unit rights"
        for unit, content in self.units.items():
            # A template is started by its socket.
            start = "install" if stack_units.is_template(unit) else "install and start"
            yield f"stop and remove {unit}" if content is None else f"{start} {unit}"
        if self.packages:
            yield f"{'add' if self.texts else 'remove'} packages: {', '.join(self.packages)}"
        effects = [self.ends] if self.ends else []
        if self.elsewhere and self.elsewhere.names:
            effects.append(f"end the servers on other machines: {self.elsewhere}")
        yield from effects
        if self.is_in_foreground:
            yield "change nothing that runs: the hub takes it up when it is started the next time"
            return
        others = "other " if effects else ""
        yield f"{'restart' if self.drop_ins else 'reload'} the hub; {others}user servers go on"


def to_enable(
    layout: Layout, stack: Stack, given: Mapping[str, str], ask: answers.Ask | None
) -> Plan:
    """Plan to enable a stack; ask its questions.

    Raises:
        LittlestHubError: something is in the way.
    """
    _refuse_enabled(layout, stack)
    _refuse_without_systemd(layout, stack)
    _refuse_missing_programs(stack)
    check_owners(layout.on_disk(layout.fragments))
    manifest = stack.manifest
    sources = {
        layout.fragments / name: _shipped(layout, stack, name) for name in manifest.fragments
    }
    texts, returning = _fragments_to_write(layout, sources)
    earlier: dict[str, str] = {}
    for text in texts.values():
        earlier |= answers.in_fragment(manifest, text)
    answered = answers.complete(manifest, given, earlier, ask)
    if manifest.before_enable:
        resolve(manifest.before_enable)(layout, answered)
    new, wanted = _packages_to_add(layout, stack)
    port = free_internal_port(layout) if manifest.service else 0
    how = EnabledStack(stack.name, answered, port, new, tuple(path.name for path in texts))
    return Plan(
        how,
        {path: enabled.answered(text, answered) for path, text in texts.items()},
        returning,
        drop_ins=_drop_ins_to_write(layout, sources.values()),
        units=_units(layout, stack, how),
        wanted=wanted,
        is_in_foreground=is_in_foreground(layout),
    )


def _fragments_to_write(
    layout: Layout, sources: Mapping[Path, Path]
) -> tuple[dict[Path, str], frozenset[Path]]:
    """Return the texts of fragments, and those that the administrator has changed before.

    Args:
        layout: the installation.
        sources: where a fragment comes from, by its path.

    Raises:
        LittlestHubError: a file is in the way.
    """
    texts: dict[Path, str] = {}
    returning: set[Path] = set()
    for path, source in sources.items():
        if layout.on_disk(path).exists():
            raise LittlestHubError(f"{path} is there already", "Move it away, then try again")
        own = layout.on_disk(path.with_name(path.name + DISABLED))
        if own.exists():
            returning.add(path)
        texts[path] = (own if own.exists() else layout.on_disk(source)).read_text()
    return texts, frozenset(returning)


def _drop_ins_to_write(layout: Layout, sources: Iterable[Path]) -> dict[Path, str | None]:
    """Return the texts of the drop-ins beside fragments, without those that are there."""
    found: dict[Path, str | None] = {}
    for source in sources:
        drop_in = layout.on_disk(source.with_suffix(".conf"))
        target = layout.hub_drop_ins / drop_in.name
        if drop_in.exists() and not layout.on_disk(target).exists():
            found[target] = drop_in.read_text()
    return found


def _refuse_enabled(layout: Layout, stack: Stack) -> None:
    how = enabled.read(layout).get(stack.name)
    if how is None:
        return
    edit = "".join(f"{layout.command} edit {Path(each).stem}" for each in how.fragments[:1])
    again = f"{layout.command} disable {stack.name}, then {layout.command} enable {stack.name}"
    raise LittlestHubError(
        f"{stack.name} is enabled already",
        f"To change its settings: {edit or again}",
    )


def is_in_foreground(layout: Layout) -> bool:
    """Return whether only `littlest-hub run` can serve an installation: systemd has no units."""
    return layout.is_live and not is_service(layout) and not UnitFiles(layout).are_installed


def _refuse_without_systemd(layout: Layout, stack: Stack) -> None:
    manifest = stack.manifest
    if not manifest.units or is_service(layout):
        return
    if manifest.foreground and is_in_foreground(layout):
        return
    raise LittlestHubError(
        f"{stack.name} needs units of systemd, and systemd does not run this hub",
        "Install the hub as root, on a machine with systemd",
    )


def _units(layout: Layout, stack: Stack, how: EnabledStack) -> dict[str, str | None]:
    """Return the texts of a stack's units; none without systemd, where `run` starts a program."""
    if stack.manifest.units and is_in_foreground(layout):
        return {}
    return {each.name: each.text() for each in stack_units.of_stack(layout, stack, how)}


def _refuse_missing_programs(stack: Stack) -> None:
    """Refuse before anything is asked, downloaded or changed."""
    for program, command in stack.manifest.programs.items():
        if shutil.which(program) is None:
            text = f"{stack.name} needs {program}, and this machine does not have it"
            raise LittlestHubError(text, f"Install it: {as_typed(command)}")


def _packages_to_add(
    layout: Layout, stack: Stack
) -> tuple[dict[PackageSet, tuple[str, ...]], Lists]:
    """Return the requirements that are not asked for yet, and all that is asked for with them."""
    lists = requirements.read(layout)
    new = {
        each: tuple(text for text in texts if not _is_asked_for(lists, each, text))
        for each, texts in stack.manifest.packages.items()
    }
    if not any(new.values()):
        return {}, {}
    wanted = {each: (*lists[each], *map(requirements.parse, new.get(each, ()))) for each in lists}
    return {each: texts for each, texts in new.items() if texts}, wanted


def to_disable(
    layout: Layout, how: EnabledStack, stack: Stack | None, others: Sequence[Stack]
) -> Plan:
    """Plan to disable a stack.

    Args:
        layout: the installation.
        how: how it was enabled.
        stack: what the release has of it; None: nothing any more.
        others: the other stacks that are enabled.

    Raises:
        LittlestHubError: something is in the way.
    """
    removed, renamed = _fragments_to_remove(layout, how, stack)
    drop_ins, notes = _drop_ins_to_remove(layout, how, stack)
    own = layout.stack_unit(how.name, "")
    units = [
        name
        for name in stack_units.installed_units(layout)
        if name.startswith((f"{own}.", f"{own}-", f"{own}@"))
    ]
    directories = drop_in_directories(layout)
    yours = [each for each in directories if each.name.removesuffix(".d") in units]
    notes += [f"{each} stays: your drop-ins" for each in yours]
    place = layout.stacks / how.name
    leaves = stack.manifest.leaves if stack else ""
    if leaves and layout.on_disk(place).exists():
        notes.append(f"{place} stays: {leaves}")
    return Plan(
        how,
        removed=removed,
        renamed=renamed,
        drop_ins=drop_ins,
        units=dict.fromkeys(units),
        wanted=_packages_to_keep(layout, how, others),
        elsewhere=stack.manifest.servers_elsewhere(layout) if stack else None,
        ends=stack.manifest.ends if stack else "",
        leftovers=[] if leaves else [place],
        clean_up=stack.manifest.clean_up if stack else lambda _: (),
        notes=[*notes, *(f"{name} stays: it has your changes" for name in renamed.values())],
        is_in_foreground=is_in_foreground(layout),
    )


def _fragments_to_remove(
    layout: Layout, how: EnabledStack, stack: Stack | None
) -> tuple[list[Path], dict[Path, Path]]:
    """Return fragments as the stack wrote them, and new names of those with changes.

    Raises:
        LittlestHubError: a file is in the way.
    """
    removed, renamed = [], {}
    for name in how.fragments:
        path = layout.fragments / name
        place = layout.on_disk(path)
        if not place.exists():
            continue
        # One that an earlier version of the stack has written is not changed, either.
        if is_as_copied(layout, place) or (
            stack and place.read_text() == fragment_text(layout, stack, how, name)
        ):
            removed.append(path)
            continue
        renamed[path] = path.with_name(name + DISABLED)
        if layout.on_disk(renamed[path]).exists():
            raise LittlestHubError(
                f"{renamed[path]} is there already", "Move it away, then try again"
            )
    return removed, renamed


def _packages_to_keep(layout: Layout, how: EnabledStack, others: Sequence[Stack]) -> Lists:
    """Return what is asked for without what only this stack needs; {}: nothing goes."""
    needed = {
        (each, _name(text))
        for other in others
        for each, texts in other.manifest.packages.items()
        for text in texts
    }
    gone = {
        (each, _name(text))
        for each, texts in how.packages.items()
        for text in texts
        if (each, _name(text)) not in needed
    }
    lists = requirements.read(layout)
    wanted = {
        each: tuple(r for r in asked if (each, r.name) not in gone) for each, asked in lists.items()
    }
    return wanted if gone else {}


def fragment_text(layout: Layout, stack: Stack, how: EnabledStack, name: str) -> str | None:
    """Return a fragment as `enable` of this release would write it; None: it has no such one."""
    if name not in stack.manifest.fragments:
        return None
    source = layout.on_disk(_shipped(layout, stack, name))
    return enabled.answered(source.read_text(), how.answers) if source.exists() else None


def _drop_ins_to_remove(
    layout: Layout, how: EnabledStack, stack: Stack | None
) -> tuple[dict[Path, str | None], list[str]]:
    found: dict[Path, str | None] = {}
    notes = []
    for name in how.fragments:
        path = layout.hub_drop_ins / Path(name).with_suffix(".conf").name
        if not layout.on_disk(path).exists():
            continue
        source = layout.on_disk(_shipped(layout, stack, path.name)) if stack else None
        if source and source.exists() and source.read_text() == layout.on_disk(path).read_text():
            found[path] = None
        else:
            notes.append(f"{path} stays: it is not the stock one")
    return found, notes


def _shipped(layout: Layout, stack: Stack, name: str) -> Path:
    """Return a fragment of a stack, or a drop-in, in the release or in the stack's package."""
    return layout.catalogue / name if stack.is_ours else stack.directory / "fragments" / name


def _is_asked_for(lists: Lists, package_set: PackageSet, text: str) -> bool:
    return _name(text) in {each.name for each in lists[package_set]}


def _name(text: str) -> str:
    return str(canonicalize_name(requirements.parse(text).name))
