"""Stacks enabled and disabled: everything that a plan says, or nothing."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from littlest_hub.activation.plan import Plan
from littlest_hub.check import check_fragments, is_service
from littlest_hub.errors import LittlestHubError, as_typed
from littlest_hub.fragments.catalogue import DISABLED, record_digest
from littlest_hub.hub.services import SERVICES_FAIL
from littlest_hub.installation import overlays_of
from littlest_hub.layout import Layout
from littlest_hub.lifecycle import unit_traces
from littlest_hub.lifecycle.services import Services, apply_configuration, http_status
from littlest_hub.lifecycle.unfinished import Unfinished, undone_whole
from littlest_hub.lifecycle.unit_files import UnitFiles
from littlest_hub.manifest import enabled
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.packages import changes, overlay, requirements
from littlest_hub.system.digests import sha256
from littlest_hub.system.files import write
from littlest_hub.system.progress import Progress
from littlest_hub.system.systemctl import (
    daemon_reload,
    is_active,
    show,
    systemctl,
    triggering_first,
)
from littlest_hub.units.stack import is_template

_SCRATCH = ".stack"
"""Directory of the texts that are checked before they become fragments."""

_Overlay = Path | Literal["active"] | None


def enable(layout: Layout, prefix: Path, plan: Plan, progress: Progress) -> None:
    """Do what a plan to enable a stack says; the caller holds the lock of changes.

    Raises:
        LittlestHubError: why not; then everything is as it was.
    """
    how = plan.how
    after = _build_packages(layout, prefix, plan, progress)
    places = [layout.stacks, layout.stacks / how.name, layout.environments]
    with undone_whole(layout, _before(layout, prefix, plan, "enable", places)):
        enabled.write_record(layout, {**enabled.read(layout), how.name: how})
        enabled.make_directory(layout, how)
        for path, text in plan.drop_ins.items():
            _write_drop_in(layout, path, text)
        if plan.drop_ins:
            daemon_reload()
        _check(layout, plan.texts, after, progress)
        _activate_packages(layout, prefix, plan, after)
        _start_units(layout, plan)
        for path, text in plan.texts.items():
            path.with_name(path.name + DISABLED).unlink(missing_ok=True)
            write(path, text)
            # One with the administrator's changes is not the stock one: `disable` has to keep it.
            is_stock = path not in plan.returning
            record_digest(layout, path.name, sha256(path) if is_stock else None)
        _apply(layout, plan, progress)
        if not plan.is_in_foreground:
            _refuse_failing_service(layout, how)


def disable(layout: Layout, prefix: Path, plan: Plan, progress: Progress) -> None:
    """Do what a plan to disable a stack says; the caller holds the lock of changes.

    Raises:
        LittlestHubError: why not; then everything is as it was.
    """
    name = plan.how.name
    after = _build_packages(layout, prefix, plan, progress)
    others = {key: each for key, each in enabled.read(layout).items() if key != name}
    leftovers = [*plan.leftovers, *([] if others or not plan.leftovers else [layout.stacks])]
    with undone_whole(layout, _before(layout, prefix, plan, "disable", ()), leftovers):
        _check(layout, dict.fromkeys([*plan.removed, *plan.renamed], ""), after, progress)
        for path in plan.removed:
            path.unlink()
        for path, target in plan.renamed.items():
            path.rename(target)
        for path in (*plan.removed, *plan.renamed):
            record_digest(layout, path.name, None)
        for path, text in plan.drop_ins.items():
            _write_drop_in(layout, path, text)
        if plan.drop_ins:
            daemon_reload()
        enabled.write_record(layout, others)
        _activate_packages(layout, prefix, plan, after)
        _apply(layout, plan, progress)
        if plan.units:
            # While systemd has their files: it forgets what to do at a stop (ExecStopPost=).
            stopped = [unit for unit in plan.units if not is_template(unit)]
            systemctl("stop", *triggering_first(stopped), is_checked=False)
            UnitFiles(layout).delete([*plan.units])
            Services(layout).start_stacks(())
            daemon_reload()
            unit_traces.remove(layout, plan.units)
    # The hub cannot start them again, nor reach them.
    if plan.elsewhere and (problem := plan.elsewhere.end()):
        progress(problem)
    for line in plan.clean_up(layout):
        progress(line)


def _before(
    layout: Layout, prefix: Path, plan: Plan, verb: str, places: Sequence[Path]
) -> Unfinished:
    return Unfinished.of(
        layout,
        f"{verb} {plan.how.name}",
        plan.files(layout),
        [overlays_of(layout, prefix) / "active"] if plan.wanted else [],
        [*plan.units],
        [*places, layout.fragments / _SCRATCH],
    )


def _build_packages(layout: Layout, prefix: Path, plan: Plan, progress: Progress) -> _Overlay:
    if not plan.wanted:
        return "active"
    return changes.build(layout, prefix, plan.wanted, None, progress)[1]


def _activate_packages(layout: Layout, prefix: Path, plan: Plan, after: _Overlay) -> None:
    if plan.wanted and after != "active":
        requirements.write_lists(layout, plan.wanted)
        overlay.activate(layout, prefix, after)


def _check(layout: Layout, texts: Mapping[Path, str], after: _Overlay, progress: Progress) -> None:
    """Check all fragments, with other texts in place of some.

    Raises:
        LittlestHubError: the problems.
    """
    progress("Checking the fragments ...")
    with _copies(layout, texts) as copies:
        report = check_fragments(layout, copies, after)
    if report.errors:
        raise LittlestHubError("\n".join(map(str, report.errors)), "Everything is as it was")


@contextlib.contextmanager
def _copies(layout: Layout, texts: Mapping[Path, str]) -> Iterator[dict[Path, Path]]:
    # Beside the fragments, where the hub's user may read, whoever it is.
    place = layout.fragments / _SCRATCH
    place.mkdir()
    try:
        place.chmod(0o755)
        copies = {path: place / path.name for path in texts}
        for path, text in texts.items():
            write(copies[path], text, is_durable=False)
        yield copies
    finally:
        shutil.rmtree(place)


def _write_drop_in(layout: Layout, path: Path, text: str | None) -> None:
    if text is None:
        path.unlink(missing_ok=True)
        record_digest(layout, path.name, None)
        with contextlib.suppress(OSError):
            path.parent.rmdir()  # not empty
    else:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write(path, text)
        record_digest(layout, path.name, sha256(path))


def _start_units(layout: Layout, plan: Plan) -> None:
    texts = {name: text for name, text in plan.units.items() if text is not None}
    if texts:
        changed = UnitFiles(layout).write(texts)
        daemon_reload()
        Services(layout).start_stacks(changed)


def _apply(layout: Layout, plan: Plan, progress: Progress) -> None:
    """Let the running hub use the fragments; user servers go on."""
    if not is_service(layout) or not is_active(layout.hub_service):
        progress("It takes effect when the hub is started the next time.")
        return
    verb: Literal["reload", "restart"] = "restart" if plan.drop_ins else "reload"
    progress(f"{verb.capitalize()}ing the hub ...")
    apply_configuration(layout, verb)


def _refuse_failing_service(layout: Layout, how: EnabledStack) -> None:
    if reason := _failure_of_service(layout, how):
        unit = layout.stack_unit(how.name, ".service")
        raise LittlestHubError(
            f"its service does not work: {reason}",
            f"See: {as_typed(f'journalctl -u {unit} -n 20')}. Everything is as it was",
        )


def _failure_of_service(layout: Layout, how: EnabledStack) -> str:
    """Return why the service of a stack that was just enabled does not work; "": no sign of it."""
    _, _, failing = show(layout.hub_service, "StatusText").partition(SERVICES_FAIL)
    _, is_failing, reason = failing.partition(f"{how.name} (")
    if is_failing:
        return reason.partition(")")[0]
    # The hub asks it for longer than its own start takes, and so has not said yet that it crashes.
    if how.port and int(show(layout.stack_unit(how.name, ".service"), "NRestarts") or 0):
        status = http_status(("127.0.0.1", how.port), f"/services/{how.name}/")
        return "" if isinstance(status, int) else "it fails each time it starts"
    return ""
