"""The catalogue, the ready fragments of a release: listing, enabling and disabling them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from littlest_hub.check import check_fragments, is_service
from littlest_hub.errors import LittlestHubError, as_typed
from littlest_hub.fragments.edit import print_report, short_name
from littlest_hub.installation import fragment_files, ignored_files
from littlest_hub.layout import Layout
from littlest_hub.system import json_file, systemctl
from littlest_hub.system.digests import sha256
from littlest_hub.system.files import write
from littlest_hub.system.ownership import check_owners

DISABLED = ".disabled"
"""Suffix of a fragment that the administrator has disabled."""


@dataclass(frozen=True)
class Entry:
    """One line of `littlest-hub list`."""

    name: str
    about: str
    """Its first comment line."""
    kind: str
    """catalogue, own or ignored."""
    state: str
    """available, enabled, changed, outdated (unchanged, but of another release) or disabled."""

    def __str__(self) -> str:
        return f"  {self.name:28} {self.state:10} {self.about}".rstrip()


def entries(layout: Layout) -> Iterator[Entry]:
    """Yield the catalogue, then the administrator's own fragments, then ignored files."""
    shipped = _shipped(layout)
    enabled = {file.name: file for file in fragment_files(layout)}
    ignored = ignored_files(layout)
    disabled = {file.name.removesuffix(DISABLED) for file in ignored if file.suffix == DISABLED}
    for name, file in shipped.items():
        if name in enabled:
            state = _state(layout, enabled[name], file)
        else:
            state = "disabled" if name in disabled else "available"
        yield Entry(name, _about(enabled.get(name, file)), "catalogue", state)
    for name, file in enabled.items():
        if name not in shipped:
            yield Entry(name, _about(file), "own", "enabled")
    for file in ignored:
        yield Entry(file.name, "its name does not end in .py", "ignored", "ignored")


def enable(layout: Layout, name: str) -> int:
    """Copy a fragment of the catalogue to the administrator's, or put a disabled one back.

    Returns:
        Exit code: 1 if the check finds problems.

    Raises:
        LittlestHubError: there is no such fragment, or it is enabled and was changed.
    """
    check_owners(layout.fragments)
    file = _find(layout, name, [*_shipped(layout), *_disabled(layout), *_enabled(layout)])
    fragment = layout.fragments / file
    disabled = fragment.with_name(file + DISABLED)
    shipped = _shipped(layout).get(file)
    if fragment.exists():
        if not shipped or fragment.read_bytes() != shipped.read_bytes():
            hint = f"See it: {fragment}" + (f"\nStock: {shipped}" if shipped else "")
            raise LittlestHubError(f"{file} is enabled already, and is not the stock one", hint)
        print(f"{fragment} is there already, unchanged.")
    elif disabled.exists():
        check_owners(disabled)
        disabled.rename(fragment)
        print(f"{fragment} is back, as you had it.")
    elif shipped:
        write(fragment, shipped.read_text())
        record_digest(layout, file, sha256(shipped))
        print(f"{fragment} is yours now.")
    verb = "restart" if _add_drop_in(layout, file) else "reload"
    report = check_fragments(layout)
    print_report(report)
    if report.errors:
        print(f"Before it can be applied: {layout.command} edit {file}")
        return 1
    print(_how_to_apply(layout, verb))
    return 0


def disable(layout: Layout, name: str) -> int:
    """Remove a fragment that is unchanged; rename one that is not, so that it is ignored.

    Raises:
        LittlestHubError: there is no such fragment.
    """
    check_owners(layout.fragments)
    file = _find(layout, name, _enabled(layout))
    fragment = layout.fragments / file
    shipped = _shipped(layout).get(file)
    if shipped and _state(layout, fragment, shipped) in ("enabled", "outdated"):
        fragment.unlink()
        print(f"{fragment} is removed; it was the stock one.")
    else:
        disabled = fragment.with_name(file + DISABLED)
        if disabled.exists():
            raise LittlestHubError(f"{disabled} is there already", "Move it away, then try again")
        fragment.rename(disabled)
        print(f"{fragment} is now {disabled.name}, which is ignored.")
    record_digest(layout, file, None)
    verb = "restart" if _remove_drop_in(layout, file) else "reload"
    print_report(check_fragments(layout))
    print(_how_to_apply(layout, verb))
    return 0


def _how_to_apply(layout: Layout, verb: str) -> str:
    if not is_service(layout):
        return "It takes effect when the hub is started the next time."
    return f"To apply it: {as_typed(f'systemctl {verb} {layout.instance}')}"


def _shipped(layout: Layout) -> dict[str, Path]:
    return {file.name: file for file in sorted(layout.catalogue.glob("*.py"))}


def _enabled(layout: Layout) -> list[str]:
    return [file.name for file in fragment_files(layout)]


def _disabled(layout: Layout) -> list[str]:
    suffix = f".py{DISABLED}"
    names = [file.name for file in ignored_files(layout)]
    return [name.removesuffix(DISABLED) for name in names if name.endswith(suffix)]


def _find(layout: Layout, name: str, candidates: list[str]) -> str:
    """Return the file name that a name stands for: with or without .py, or without number.

    Raises:
        LittlestHubError: it stands for none, or for several.
    """
    names = list(dict.fromkeys(candidates))
    wanted = name.removesuffix(".py")
    exact = [each for each in names if each.removesuffix(".py") == wanted]
    short = [each for each in names if short_name(each) == wanted]
    found = exact or short
    if len(found) == 1:
        return found[0]
    if found:
        raise LittlestHubError(
            f"{name!r} could be any of {', '.join(found)}", "Give the whole name"
        )
    import difflib

    known = {text: each for each in names for text in (short_name(each), each.removesuffix(".py"))}
    close = difflib.get_close_matches(wanted, known, n=1)
    hint = f"Did you mean {known[close[0]]}?" if close else f"See: {layout.command} list"
    raise LittlestHubError(f"there is no fragment {name!r} here", hint)


# --- drop-ins: a fragment may need one for the hub's unit, which has its name in the catalogue


def _add_drop_in(layout: Layout, file: str) -> bool:
    """Copy the drop-in of a fragment; return whether it has one, so that a restart is needed."""
    shipped, drop_in = _drop_in(layout, file)
    if not shipped.exists() or not is_service(layout):
        return False
    if not drop_in.exists():
        _copy_drop_in(layout, shipped, drop_in)
        print(f"{drop_in} gives the hub's unit the rights that this needs; see there.")
    return True


def _remove_drop_in(layout: Layout, file: str) -> bool:
    """Remove the drop-in of a fragment unless it was changed; return whether it was removed."""
    shipped, drop_in = _drop_in(layout, file)
    if not shipped.exists() or not drop_in.exists():
        return False
    if _state(layout, drop_in, shipped) == "changed":
        print(f"{drop_in} stays: it is not the stock one.")
        return False
    _delete_drop_in(layout, drop_in)
    print(f"{drop_in} is removed.")
    return True


def add_new_drop_ins(layout: Layout, prefix: Path, undo: contextlib.ExitStack) -> list[Path]:
    """Add drop-ins that enabled fragments need from the next release on.

    If the present release has the drop-in too, the administrator may have removed it on purpose.

    Args:
        layout: the installation; its active release is the present one, if any.
        prefix: the next release.
        undo: takes the callbacks that remove them.

    Returns:
        Paths of the new drop-ins.
    """
    added = []
    for fragment in fragment_files(layout):
        before, drop_in = (layout.on_disk(path) for path in _drop_in(layout, fragment.name))
        shipped = layout.on_disk(prefix / layout.catalogue.relative_to(layout.hub) / before.name)
        if shipped.exists() and not before.exists() and not drop_in.exists():
            undo.callback(_delete_drop_in, layout, drop_in)
            _copy_drop_in(layout, shipped, drop_in)
            added.append(layout.hub_drop_ins / drop_in.name)
    return added


def _copy_drop_in(layout: Layout, shipped: Path, drop_in: Path) -> None:
    drop_in.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    write(drop_in, shipped.read_text())
    record_digest(layout, drop_in.name, sha256(shipped))
    _reload_units(layout)


def _delete_drop_in(layout: Layout, drop_in: Path) -> None:
    drop_in.unlink(missing_ok=True)
    record_digest(layout, drop_in.name, None)
    with contextlib.suppress(OSError):
        drop_in.parent.rmdir()  # not empty
    _reload_units(layout)


def _drop_in(layout: Layout, file: str) -> tuple[Path, Path]:
    """Return the drop-in of a fragment in this release, and its path for systemd."""
    name = Path(file).with_suffix(".conf").name
    return layout.catalogue / name, layout.hub_drop_ins / name


def _about(file: Path) -> str:
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError as error:
        return f"({error.strerror})"
    comment = next((line for line in lines if line.startswith("#") and line.strip("# ")), "")
    about = comment.strip("# ").removeprefix(f"{file.name}: ")
    return about.partition(". ")[0].rstrip(".")


# --- hashes of copied files, which distinguish the administrator's changes from a new release's


def _state(layout: Layout, fragment: Path, shipped: Path) -> str:
    digest = sha256(fragment)
    if digest == sha256(shipped):
        return "enabled"
    others = layout.releases.glob(f"*/{shipped.relative_to(layout.hub)}")
    was_stock = is_as_copied(layout, fragment) or digest in map(sha256, others)
    return "outdated" if was_stock else "changed"


def is_as_copied(layout: Layout, fragment: Path) -> bool:
    """Return whether nobody has changed a fragment since it was copied."""
    return sha256(fragment) == _recorded(layout).get(fragment.name)


def _recorded(layout: Layout) -> dict[str, str]:
    return json_file.read_object(layout.on_disk(layout.enabled))


def record_digest(layout: Layout, name: str, digest: str | None) -> None:
    """Record the sha256 of a copied file; None: it is no longer there."""
    known = _recorded(layout)
    known.pop(name, None)
    if digest:
        known[name] = digest
    file = layout.on_disk(layout.enabled)
    if known:
        write(file, json.dumps(known, indent=1, sort_keys=True) + "\n", 0o600)
    else:
        file.unlink(missing_ok=True)


def _reload_units(layout: Layout) -> None:
    if layout.is_live:
        systemctl.daemon_reload()
