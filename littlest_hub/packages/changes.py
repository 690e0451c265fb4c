"""Changes of packages: resolve, download, build beside, check the fragments, switch, reload."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from littlest_hub.check import check_fragments, is_service
from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import active_overlay
from littlest_hub.layout import Layout, PackageSet
from littlest_hub.manifest import discovery, enabled
from littlest_hub.packages import overlay, requirements, wheel
from littlest_hub.packages.lock import Lock, Wheel
from littlest_hub.packages.requirements import Lists, Requested
from littlest_hub.packages.source import Source
from littlest_hub.system import pip, systemctl
from littlest_hub.system.progress import Progress


@dataclass(frozen=True)
class Change:
    """The packages before and after a change."""

    before: Lock
    after: Lock

    def lines(self) -> Iterator[str]:
        """Yield a line for each package that was added, moved or removed."""
        for package_set in PackageSet:
            old = {each.name: each.version for each in self.before.wheels.get(package_set, ())}
            new = {each.name: each.version for each in self.after.wheels.get(package_set, ())}
            for name in sorted({*old, *new}):
                if name not in old:
                    yield f"+ {name} {new[name]}  ({package_set})"
                elif name not in new:
                    yield f"- {name} {old[name]}  ({package_set})"
                elif old[name] != new[name]:
                    yield f"  {name} {old[name]} -> {new[name]}  ({package_set})"


def add(
    layout: Layout,
    prefix: Path,
    names: Mapping[PackageSet, Sequence[str]],
    source: Source,
    progress: Progress,
) -> Change:
    """Add packages to sets, or change the versions that are asked for.

    Raises:
        LittlestHubError: why not; then nothing was changed.
    """
    lists = requirements.read(layout)
    for package_set, texts in names.items():
        added = {each.name: each for each in map(requirements.parse, texts)}
        others = [each for each in lists[package_set] if each.name not in added]
        lists[package_set] = (*others, *added.values())
    return apply(layout, prefix, lists, source, progress)


def remove(layout: Layout, prefix: Path, names: Sequence[str], progress: Progress) -> Change:
    """Remove packages from every set that has them; what only they needed goes too.

    Raises:
        LittlestHubError: one was not asked for, an enabled stack needs one, or the hub refuses the
            change; then nothing was changed.
    """
    gone = {each.name for each in map(requirements.parse, names)}
    lists = requirements.read(layout)
    present = overlay.present_lock(layout, prefix).requested.values()
    known = {each.name for wanted in lists.values() for each in wanted}
    # A change that was killed, or an editor, may have left them in the overlay only.
    known |= {requirements.parse(text).name for texts in present for text in texts}
    if missing := sorted(gone - known):
        raise LittlestHubError(
            f"{', '.join(missing)} was not added", "Added: " + (", ".join(sorted(known)) or "none")
        )
    for name, stack in discovery.enabled_stacks(layout, prefix).items():
        texts = (text for asked in stack.manifest.packages.values() for text in asked)
        if needed := sorted(gone & {requirements.parse(text).name for text in texts}):
            raise LittlestHubError(
                f"the stack {name} is enabled, and needs {', '.join(needed)}",
                f"The packages stay as they were. Disable it first: {layout.command} disable"
                f" {name}",
            )
    wanted = {
        each: tuple(one for one in asked if one.name not in gone) for each, asked in lists.items()
    }
    return apply(layout, prefix, wanted, None, progress)


def apply(
    layout: Layout, prefix: Path, wanted: Lists, source: Source | None, progress: Progress
) -> Change:
    """Make the packages of a release those that are wanted, and let the hub use them.

    Args:
        layout: the installation.
        prefix: the release.
        wanted: what is asked for.
        source: where wheels come from; None: the kept ones, then pip's indexes.
        progress: told what happens.

    Raises:
        LittlestHubError: why not; then nothing was changed.
    """
    before, old = active_overlay(layout, prefix), requirements.read(layout)
    change, after = build(layout, prefix, wanted, source, progress)
    if after == before and change.before.requested == change.after.requested:
        if requirements.texts(old) != requirements.texts(wanted):
            requirements.write_lists(layout, wanted)
        return change
    keep = {before}
    try:
        progress("Checking the fragments with them ...")
        _check(layout, after)
        try:
            requirements.write_lists(layout, wanted)
            overlay.activate(layout, prefix, after)
            _reload(layout, change, progress)
        except BaseException:
            overlay.activate(layout, prefix, before)
            requirements.write_lists(layout, old)
            raise
        keep.add(after)
    finally:
        overlay.remove_unused(layout, prefix, {each for each in keep if each})
        overlay.remove_unused_wheels(layout)
    return change


def _check(layout: Layout, packages: Path | None) -> None:
    """Check the fragments with packages.

    Raises:
        LittlestHubError: what the fragments miss, with file and line; or a stack that is enabled
            and would be gone.
    """
    if lost := sorted(enabled.read(layout).keys() - discovery.names(packages)):
        raise LittlestHubError(
            f"the stack {lost[0]} is enabled, and its package would be gone",
            f"The packages stay as they were. Disable it first: {layout.command} disable {lost[0]}",
        )
    report = check_fragments(layout, overlay=packages)
    if report.errors:
        raise LittlestHubError(
            "\n".join(map(str, report.errors)),
            "The packages stay as they were. If a fragment needs a package that goes, change the"
            " fragment first",
        )


def build(
    layout: Layout, prefix: Path, wanted: Lists, source: Source | None, progress: Progress
) -> tuple[Change, Path | None]:
    """Build the overlay of what is wanted beside the present one; nothing uses it yet.

    Args:
        layout: the installation.
        prefix: the release.
        wanted: what is asked for in each set.
        source: where wheels come from; None: the kept ones, then pip's indexes.
        progress: shows lines to the user.

    Returns:
        The change, and the overlay; None: none is needed.

    Raises:
        LittlestHubError: why it is impossible.
    """
    if source is None:
        chosen = _choose_nearby(layout, prefix, wanted, progress)
    else:
        chosen = choose(layout, prefix, wanted, source, progress)
    change = Change(overlay.present_lock(layout, prefix), chosen)
    return change, None if change.after.is_empty else overlay.build(layout, prefix, change.after)


def choose(layout: Layout, prefix: Path, wanted: Lists, source: Source, progress: Progress) -> Lock:
    """Choose the wheels for what is wanted, and put them beside the wheels that are there.

    A set that asks for what it asked for keeps its wheels, unless one is missing or altered.
    """
    present = overlay.present_lock(layout, prefix)
    release_pins = overlay.pins(layout, prefix)
    if source.directory:
        # A bundle need not have what other packages of the set need.
        source = replace(source, kept=layout.on_disk(layout.wheels))
    chosen: dict[PackageSet, tuple[Wheel, ...]] = {}
    for package_set, asked in wanted.items():
        texts = tuple(each.text for each in asked)
        wheels = present.wheels.get(package_set, ())
        is_asked_already = texts == present.requested.get(package_set, ())
        if is_asked_already and overlay.has_wheels(layout, wheels):
            chosen[package_set] = wheels
        elif texts:
            progress(f"Choosing versions for {', '.join(texts)} ...")
            kept = _kept(wheels, asked)
            chosen[package_set] = _fetch(layout, asked, release_pins, kept, source, progress)
    return Lock(prefix.name, requirements.texts(wanted), chosen)


def _kept(wheels: Iterable[Wheel], asked: Iterable[Requested]) -> list[str]:
    """Return pins for what stays: other packages are not moved without a need."""
    wishes = {each.name: Requirement(each.text).specifier for each in asked}
    return [
        f"{each.name}=={each.version}"
        for each in wheels
        if each.name not in wishes or wishes[each.name].contains(each.version, prereleases=True)
    ]


def _fetch(
    layout: Layout,
    asked: Sequence[Requested],
    release_pins: Sequence[str],
    kept: Sequence[str],
    source: Source,
    progress: Progress,
) -> tuple[Wheel, ...]:
    texts = [each.text for each in asked]
    try:
        try:
            resolved = pip.resolve(texts, [*release_pins, *kept], source.directories)
        except pip.ConflictError:
            # Without the pins of present packages: a new one may need later versions of them.
            resolved = _resolve(asked, release_pins, source)
    except pip.MissingError as error:
        raise _no_wheel(layout, error, asked, source) from error
    except pip.NoIndexError as error:
        offline = f"Without a network: {layout.command} packages add --from FILE|DIRECTORY"
        raise pip.NoIndexError(error.message, f"{offline}. {error.hint}") from error
    if yanked := [f"{each.name} {each.version}" for each in resolved if each.is_yanked]:
        raise LittlestHubError(
            f"{', '.join(yanked)} was withdrawn by its authors", "Ask for another version"
        )
    if not resolved:  # the release has it all
        return ()
    directory = layout.on_disk(layout.wheels)
    overlay.make_directory(layout, directory)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".download-") as scratch:
        noun = "package" if len(resolved) == 1 else "packages"
        progress(f"Fetching {len(resolved)} {noun} ...")
        pip.download(resolved, Path(scratch), source.directories)
        found = tuple(sorted(wheel.locked(file) for file in Path(scratch).glob("*.whl")))
        _verify(layout, found, source)
        for each in found:
            Path(scratch, each.file).chmod(0o644)
            Path(scratch, each.file).replace(directory / each.file)
    return found


def _resolve(
    asked: Sequence[Requested], release_pins: Sequence[str], source: Source
) -> list[pip.Resolved]:
    """Resolve what is asked for; explain a conflict.

    Raises:
        LittlestHubError: the conflict, where it was asked for, and what would do instead.
    """
    try:
        return pip.resolve([each.text for each in asked], release_pins, source.directories)
    except pip.ConflictError as error:
        for each in asked:
            if reason := _conflict_of(each, release_pins, source):
                where = f"{each.place}: " if each.place else ""
                hint = _what_would_do(each, release_pins, source)
                raise LittlestHubError(f"{where}{reason}", hint) from error
        raise


def _conflict_of(asked: Requested, release_pins: Sequence[str], source: Source) -> str | None:
    """Return why one package cannot be beside the release; None: it can."""
    text = asked.text
    if text == asked.name and not source.directories:
        # pip names the oldest version that it has tried, but people ask for the newest.
        newest = pip.versions(asked.name)[:1]
        text = f"{text}=={newest[0]}" if newest else text
    try:
        pip.resolve([text], release_pins, source.directories)
    except pip.ConflictError as error:
        return error.message
    except pip.MissingError:
        pass
    return None


def _what_would_do(asked: Requested, release_pins: Sequence[str], source: Source) -> str | None:
    try:
        found = pip.resolve([asked.name], release_pins, source.directories)
    except LittlestHubError:
        made_for = source.lock.release if source.lock else ""
        bundle = f": the bundle is for {made_for}, get that of this release" if made_for else ""
        return f"No version of it fits this release{bundle}"
    versions = [each.version for each in found if canonicalize_name(each.name) == asked.name]
    return f"This would do: {asked.name}=={versions[0]}" if versions else None


def _verify(layout: Layout, found: Iterable[Wheel], source: Source) -> None:
    """Refuse a wheel that is not the file that the bundle's lock, or one of ours, names."""
    given = {file.name for file in source.directory.glob("*.whl")} if source.directory else set()
    bundled = {each.file: each.sha256 for each in source.lock.all_wheels()} if source.lock else {}
    kept = overlay.known_wheels(layout) if source.kept else {}
    for each in found:
        if each.file in given:
            # A lock names all wheels of its bundle.
            name = "the bundle's lock"
            is_right = not source.lock or bundled.get(each.file) == each.sha256
        else:
            name = "an earlier lock"
            is_right = kept.get(each.file, each.sha256) == each.sha256
        if not is_right:
            raise LittlestHubError(
                f"{each.file} is not the file that {name} names: its sha256 differs",
                "Get it again",
            )


def _no_wheel(
    layout: Layout, error: pip.MissingError, asked: Sequence[Requested], source: Source
) -> LittlestHubError:
    name = Requirement(error.requirement).name
    place = next((f"{each.place}: " for each in asked if each.place and each.name == name), "")
    if error.newest:
        return LittlestHubError(f"{place}{error.message}", f"Ask for that: {name}=={error.newest}")
    if not source.directories and (known := pip.versions(name)):
        return LittlestHubError(
            f"{place}{name} has no wheel for this Python, only sources (newest {known[0]}), and"
            " there is no compiler here",
            f"Build one elsewhere: pip wheel --no-deps {name}; then:"
            f" {layout.command} packages add --from DIRECTORY",
        )
    return LittlestHubError(f"{place}{error.message}", "Is the name spelled as on the index?")


def _reload(layout: Layout, change: Change, progress: Progress) -> None:
    """Let the running hub use the packages; user servers use them when they are next started."""
    if not is_service(layout):
        return
    before, after = (each.wheels.get(PackageSet.HUB, ()) for each in (change.before, change.after))
    if before != after and systemctl.is_active(layout.hub_service):
        progress("Reloading the hub ...")
        systemctl.systemctl("reload", layout.hub_service)


def prepare(layout: Layout, prefix: Path, progress: Progress) -> None:
    """Build what is asked for beside a release that does not serve yet.

    The wheels that are there come first, so that no network is needed.

    Raises:
        LittlestHubError: what does not fit the release, with file and line; nothing was changed.
    """
    wanted = requirements.read(layout)
    asked = requirements.texts(wanted)
    if not any(asked.values()) or overlay.present_lock(layout, prefix).requested == asked:
        return
    lock = _choose_nearby(layout, prefix, wanted, progress)
    overlay.activate(layout, prefix, overlay.build(layout, prefix, lock))


def _choose_nearby(layout: Layout, prefix: Path, wanted: Lists, progress: Progress) -> Lock:
    """Choose from the wheels that were added before; only if that fails, from pip's indexes."""
    try:
        return choose(layout, prefix, wanted, Source(kept=layout.on_disk(layout.wheels)), progress)
    except LittlestHubError as without_network:
        try:
            return choose(layout, prefix, wanted, Source(), progress)
        except pip.NoIndexError as error:
            # The error about the wheels names the package, so it is the useful one.
            missing = without_network.__cause__
            if isinstance(missing, pip.MissingError) and not missing.newest:
                without_network.hint = f"No package index answers. {error.hint}"
            raise without_network from None
        except LittlestHubError as with_network:
            missing, conflict = with_network.__cause__, without_network.__cause__
            if isinstance(missing, pip.MissingError) and isinstance(conflict, pip.ConflictError):
                # The index lacks the kept wheel, as if it were unknown; the reason is another.
                hint = with_network.hint if missing.newest else without_network.hint
                raise LittlestHubError(without_network.message, hint) from with_network
            raise


def rebuild(layout: Layout, prefix: Path, progress: Progress) -> Change:
    """Build again what is asked for, as after a change of the lists or of an overlay's files.

    Raises:
        LittlestHubError: why not; then nothing was changed.
    """
    change = apply(layout, prefix, requirements.read(layout), None, progress)
    active = active_overlay(layout, prefix)
    if active and any(overlay.altered(layout, active)):
        progress(f"{active} differs from its wheels: building it again ...")
        overlay.build_again(layout, prefix, overlay.present_lock(layout, prefix))
    return change
