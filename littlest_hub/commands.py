"""The functions of the `littlest-hub` commands: what they print, ask and return.

Each gets the parsed options and returns the exit code, or None for 0. Each imports what it needs,
since importing JupyterHub takes a second.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import ignored_files
from littlest_hub.layout import Layout, PackageSet
from littlest_hub.system import progress

if TYPE_CHECKING:
    from littlest_hub.packages.changes import Change


_NOT_CONFIRMED = "nothing was removed: the answer was not `yes`"


def run_install(options: argparse.Namespace) -> None:
    from littlest_hub.lifecycle.install import USERS_FRAGMENT, install, undo_install

    prefix: Path = options.prefix
    if options.root == Path("/"):
        # /proc names programs by their real paths.
        prefix = prefix.resolve()
    layout = installation.of_prefix(prefix, options.root)
    if options.undo:
        undo_install(layout, prefix, progress.to_stderr)
        return
    environ = dict(os.environ)
    is_interactive = environ.get("INSTALLER_UNATTENDED") == "0" and sys.stdin.isatty()
    has_users = layout.on_disk(layout.fragments / USERS_FRAGMENT).exists()
    if is_interactive and not has_users and not environ.get("LITTLEST_HUB_ADMIN"):
        environ["LITTLEST_HUB_ADMIN"] = _prompt_for_admin()
    print(install(layout, prefix, environ, progress.to_stderr), end="")


def _prompt(text: str) -> str:
    """Return the user's answer. Prompt on stderr: the report goes to stdout."""
    print(text, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def _prompt_for_admin() -> str:
    """Return a login name, or "" for none."""
    from littlest_hub.lifecycle.install import is_login_name

    while True:
        answer = _prompt("Login name of the hub's administrator [none for now]: ")
        if not answer or is_login_name(answer):
            return answer
        print(f"{answer!r} is no login name.", file=sys.stderr)


def run_uninstall(options: argparse.Namespace) -> None:
    from littlest_hub.lifecycle.uninstall import uninstall

    layout = installation.of_this_release(options.root)
    if not options.yes:
        _confirm_purge(layout) if options.purge else _confirm_stop(layout)
    print(uninstall(layout, purge=options.purge))


def _confirm_stop(layout: Layout) -> None:
    """Ask somebody at a terminal whether people's servers may end."""
    from littlest_hub.lifecycle.uninstall import servers_that_end

    servers = servers_that_end(layout) if sys.stdin.isatty() else []
    if servers and _prompt(f"This stops {', '.join(servers)}. Go on? [yes|no] ") != "yes":
        raise LittlestHubError(_NOT_CONFIRMED)


def _confirm_purge(layout: Layout) -> None:
    paths = f"{layout.fragments} and {layout.state}, with the database and all other data"
    if not sys.stdin.isatty():
        command = f"{layout.command} uninstall --purge --yes"
        raise LittlestHubError(f"--purge removes {paths}", f"To confirm: {command}")
    if _prompt(f"Remove {paths}? Home directories stay. [yes|no] ") != "yes":
        raise LittlestHubError(_NOT_CONFIRMED)


def run_rollback(options: argparse.Namespace) -> None:
    from littlest_hub.lifecycle.locks import changing
    from littlest_hub.lifecycle.upgrade import installed_releases, rollback

    _require_list_for_json(options)
    layout = installation.of_this_release()
    if options.list:
        found = list(installed_releases(layout))
        as_json = [asdict(each) for each in found]
        print(json.dumps(as_json, indent=2) if options.json else "\n".join(map(str, found)))
        return
    with changing(layout):
        print(rollback(layout, options.to, progress.to_stderr))


def _require_list_for_json(options: argparse.Namespace) -> None:
    if options.json and not options.list:
        options.parser.error("--json goes with --list")


def run_check(options: argparse.Namespace) -> int:
    from littlest_hub.check import check_fragments
    from littlest_hub.fragments.edit import print_report

    layout = installation.of_this_release()
    report = check_fragments(layout)
    ignored = ignored_files(layout)
    if options.json:
        found = {
            "problems": [asdict(problem) for problem in report.problems],
            "printed": report.printed,
            "note": report.note,
            "pending": list(report.pending),
            "ignored": list(map(str, ignored)),
        }
        print(json.dumps(found, indent=2))
    else:
        for file in ignored:
            print(f"{file} is ignored: its name does not end in .py", file=sys.stderr)
        print_report(report)
        if not report.problems and not report.pending:
            print("No problems found.")
    return 1 if report.errors else 0


def run_show(options: argparse.Namespace) -> int:
    from littlest_hub.check import effective_configuration

    found = effective_configuration(installation.of_this_release()).changed(options.all)
    print(json.dumps(found.to_json(), indent=2) if options.json else found)
    for text in (found.note, *found.problems):
        if text and not options.json:
            print(text, file=sys.stderr)
    return 1 if found.problems else 0


def run_edit(options: argparse.Namespace) -> int:
    from littlest_hub.fragments.edit import edit

    return edit(installation.of_this_release(), options.name)


def run_list(options: argparse.Namespace) -> None:
    from littlest_hub.activation.listing import entries

    layout, prefix = installation.of_this_release(), installation.release_of_this_interpreter()
    found = list(entries(layout, prefix))
    if options.json:
        print(json.dumps([asdict(entry) for entry in found], indent=2))
        return
    for kind, title in (
        ("stack", "Stacks:"),
        ("catalogue", "Ready fragments of this release:"),
        ("own", "Your own:"),
        ("ignored", "Ignored:"),
    ):
        lines = [str(entry) for entry in found if entry.kind == kind]
        if lines:
            print("\n".join([title, *lines]))


def run_enable(options: argparse.Namespace) -> int:
    from littlest_hub.activation import answers, change, listing
    from littlest_hub.activation.plan import to_enable
    from littlest_hub.fragments import catalogue
    from littlest_hub.lifecycle.locks import changing, recover_at_start
    from littlest_hub.manifest.manifest import resolve

    layout, prefix = installation.of_this_release(), installation.release_of_this_interpreter()
    if options.at_start:
        recover_at_start(layout)
        return 0
    if options.finish:
        with changing(layout):
            return 0
    if options.name is None:
        options.parser.error(f"which stack or fragment? See: {layout.command} list")
    stack = listing.find(layout, prefix, options.name)
    if stack is None:
        if options.settings:
            options.parser.error(f"--set is for stacks, and {options.name} is none")
        return catalogue.enable(layout, options.name)
    given = answers.parse_settings(stack.manifest, options.settings)
    ask = _ask if sys.stdin.isatty() and not options.yes else None
    with changing(layout):
        plan = to_enable(layout, stack, given, ask)
        lines = [f"{stack.name}: {stack.manifest.title}. This will", *plan.lines()]
        print("\n  - ".join(lines), flush=True)
        _confirm_enabling(options.yes)
        change.enable(layout, prefix, plan, progress.to_stderr)
    print(f"{stack.name} is enabled. The opposite: {layout.command} disable {stack.name}")
    if stack.manifest.after_enable:
        print("\n".join(resolve(stack.manifest.after_enable)(layout, plan.how)))
    return 0


def run_disable(options: argparse.Namespace) -> int:
    from littlest_hub.activation import change, listing
    from littlest_hub.activation.plan import to_disable
    from littlest_hub.fragments import catalogue
    from littlest_hub.lifecycle.locks import changing

    layout, prefix = installation.of_this_release(), installation.release_of_this_interpreter()
    found = listing.find_enabled(layout, prefix, options.name)
    if found is None:
        if stack := listing.find(layout, prefix, options.name):
            raise LittlestHubError(f"{stack.name} is not enabled")
        return catalogue.disable(layout, options.name)
    with changing(layout):
        plan = to_disable(layout, *found)
        print("\n  - ".join([f"{plan.how.name}: this will", *plan.lines()]), flush=True)
        if not options.yes and plan.elsewhere and plan.elsewhere.names:
            _confirm_ending(str(plan.elsewhere), f"{layout.command} disable {plan.how.name} --yes")
        change.disable(layout, prefix, plan, progress.to_stderr)
    print("\n".join([f"{plan.how.name} is disabled.", *plan.notes]))
    return 0


def _confirm_ending(servers: str, command: str) -> None:
    """Ask whether servers of people may end; without a terminal, name the command that ends them.

    Raises:
        LittlestHubError: the answer is not yes, or nobody can answer.
    """
    if not sys.stdin.isatty():
        raise LittlestHubError(f"this ends servers of people: {servers}", f"To confirm: {command}")
    if _prompt(f"This ends {servers}. Go on? [yes|no] ") != "yes":
        raise LittlestHubError("nothing was changed: the answer was not `yes`")


def of_stack(name: str, *, is_help: bool = False) -> Callable[[Sequence[str]], int] | None:
    """Return a command of an enabled stack; None: there is none of this name.

    Args:
        name: the word behind `littlest-hub`.
        is_help: whether only the help of the command is asked for, which everybody may read.

    Raises:
        PermissionError: it may be that of a stack, and only root knows which ones are enabled.
        LittlestHubError: it is that of a stack that is not enabled.
    """
    from littlest_hub.manifest.discovery import enabled_stacks, shipped
    from littlest_hub.manifest.manifest import resolve

    try:
        layout = installation.of_this_release()
        stacks = enabled_stacks(layout, installation.release_of_this_interpreter())
    except LittlestHubError:
        return None
    except PermissionError:
        stacks = shipped()
        if not is_help and any(name in stack.manifest.commands for stack in stacks.values()):
            raise
    for stack in stacks.values():
        if reference := stack.manifest.commands.get(name):
            return partial(resolve(reference), layout)
    for stack in shipped().values():
        if name in stack.manifest.commands:
            text = f"{name} is a command of the stack {stack.manifest.name}, which is not enabled"
            raise LittlestHubError(text, f"{layout.command} enable {stack.manifest.name}")
    return None


def _ask(text: str) -> str:
    print(text, end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer:
        raise LittlestHubError("the terminal is gone; nothing was changed")
    return answer


def _confirm_enabling(is_confirmed: bool) -> None:
    if is_confirmed:
        return
    if not sys.stdin.isatty():
        raise LittlestHubError("Nothing was changed.", "Without a terminal, confirm with: --yes")
    if _ask("Do it? [Y/n] ").strip().lower()[:1] not in ("", "y"):
        raise LittlestHubError("Nothing was changed.")


def run_packages_add(options: argparse.Namespace) -> None:
    from littlest_hub.packages import changes, source

    package_set = options.package_set
    if not options.names and options.source is None:
        options.parser.error("which packages? NAME …, or --from PATH")
    with _changing_packages() as (layout, prefix), source.opened(options.source) as wheels:
        names = {package_set: options.names} if options.names else wheels.contents(package_set)
        change = changes.add(layout, prefix, names, wheels, progress.to_stderr)
    _print_change(change, "Nothing to add: they are there already.")
    if package_set is PackageSet.SERVER and change.lines():
        print("Servers have them when they are started: restart those that run.")


def run_packages_remove(options: argparse.Namespace) -> None:
    from littlest_hub.packages import changes

    with _changing_packages() as (layout, prefix):
        change = changes.remove(layout, prefix, options.names, progress.to_stderr)
    _print_change(change, "Nothing changed.")


def run_packages_rebuild(_: argparse.Namespace) -> None:
    from littlest_hub.packages import changes

    with _changing_packages() as (layout, prefix):
        change = changes.rebuild(layout, prefix, progress.to_stderr)
    _print_change(change, "They are as the lists say.")


def run_packages_audit(options: argparse.Namespace) -> int:
    from littlest_hub.packages.audit import audit

    layout, prefix = installation.of_this_release(), installation.release_of_this_interpreter()
    found = audit(layout, prefix, is_offline=options.offline)
    print(json.dumps(found.to_json(), indent=2) if options.json else found.text(layout))
    return 1 if found.vulnerabilities else 0


def run_packages_list(options: argparse.Namespace) -> None:
    from littlest_hub.packages.listing import listing

    layout = installation.of_this_release()
    found = listing(layout, installation.release_of_this_interpreter())
    print(json.dumps(found.to_json(), indent=2) if options.json else found)


@contextlib.contextmanager
def _changing_packages() -> Iterator[tuple[Layout, Path]]:
    """Yield this installation and its active release, locked for a change."""
    from littlest_hub.lifecycle.locks import changing

    layout, prefix = installation.of_this_release(), installation.release_of_this_interpreter()
    with changing(layout):
        yield layout, prefix


def _print_change(change: Change, otherwise: str) -> None:
    print("\n".join(change.lines()) or otherwise)


def run_backup(options: argparse.Namespace) -> None:
    from littlest_hub.backup.archive import backup, summary
    from littlest_hub.unprivileged.privileges import rerun_as_hub_user

    layout = installation.of_this_release()
    flags = (options.secrets and "--secrets", options.packages and "--packages")
    rerun_as_hub_user(layout, "backup", *flags, options.file)
    # The file may be a directory, or a file in one.
    places = [] if options.file in (None, Path("-")) else [options.file, options.file.parent]
    if layout.hub_user and places and not any(os.access(each, os.W_OK) for each in places):
        raise LittlestHubError(
            f"{options.file}: {layout.hub_user}, as whom this runs, may not write there",
            f"Let your shell write it: {layout.command} backup - >FILE",
        )
    written = backup(
        layout,
        options.file,
        secrets=options.secrets,
        wheels=options.packages,
        progress=progress.to_stderr,
    )
    print(summary(layout, written), file=sys.stdout if written.file else sys.stderr)


def run_restore(options: argparse.Namespace) -> None:
    from littlest_hub.backup.exchange import finish
    from littlest_hub.backup.restore import restore
    from littlest_hub.backup.unpacking import unpack
    from littlest_hub.unprivileged.privileges import rerun_as_hub_user

    _require_list_for_json(options)
    layout = installation.of_this_release()
    if options.finish:
        finish(layout)
        return
    if options.file is None:
        options.parser.error(f"which backup? They are in {layout.backups}")
    if options.list:
        rerun_as_hub_user(layout, "restore", "--list", options.json and "--json", options.file)
        manifest = unpack(options.file, None)
        as_json = json.dumps(manifest.to_json(), indent=2)
        print(as_json if options.json else manifest.listing())
        return
    if layout.hub_user:
        raise LittlestHubError(
            f"this hub runs as {layout.hub_user}, and restoring would make root write where"
            f" {layout.hub_user} may write",
            f"By hand: {layout.documentation}/how-to/hub-as-its-own-user.md",
        )
    confirm = partial(_confirm_restore, options.yes)
    print(restore(layout, options.file, progress=progress.to_stderr, confirm=confirm))


def _confirm_restore(is_confirmed: bool) -> bool:
    if is_confirmed:
        return True
    if not sys.stdin.isatty():
        raise LittlestHubError("Nothing was changed.", "Without a terminal, confirm with: --yes")
    return _prompt("Replace these now? [y/N] ").lower() in ("y", "yes")


def run_doctor(options: argparse.Namespace) -> int:
    from littlest_hub.doctor import examine, is_well, report, to_json
    from littlest_hub.doctor.bundle import write_bundle
    from littlest_hub.system.files import refuse_unwritable
    from littlest_hub.unprivileged.privileges import rerun_as_hub_user

    layout = installation.of_this_release()
    flags = (options.json and "--json", options.all and "--all", options.bundle and "--bundle")
    rerun_as_hub_user(layout, "doctor", *flags, options.bundle)
    if options.bundle:
        refuse_unwritable(options.bundle)
    findings = examine(layout, progress=progress.to_stderr)
    if options.bundle:
        write_bundle(layout, to_json(layout, findings), options.bundle)
        progress.to_stderr(f"{options.bundle}: secrets were removed; read it before you send it.")
    if options.json:
        print(to_json(layout, findings))
    else:
        print(report(findings, everything=options.all, colour=sys.stdout.isatty()))
    return 0 if is_well(findings) else 1


def run_foreground(options: argparse.Namespace) -> None:
    from littlest_hub.check import check_fragments
    from littlest_hub.fragments.edit import print_report
    from littlest_hub.lifecycle.foreground import run
    from littlest_hub.lifecycle.locks import no_foreground_hub

    layout = installation.of_this_release()
    with no_foreground_hub(layout):  # says so before a check, which takes seconds
        report = check_fragments(layout)
    if report.errors:
        raise LittlestHubError("\n".join(map(str, report.errors)), "Not started: fix these first.")
    # They are about to be run with the user's own rights anyway.
    print_report(replace(report, note=""))
    show = partial(print, flush=True)
    run(layout, options.port, is_new_password=options.new_password, progress=show)


def run_reload(options: argparse.Namespace) -> None:
    # The check must not slow down the running hub.
    os.nice(10)
    from littlest_hub.check import check_fragments
    from littlest_hub.hub.reload import check_room, request_reload
    from littlest_hub.system.sd_daemon import notify

    layout = installation.of_this_release()
    try:
        check_room(layout)
    except LittlestHubError as error:
        notify(f"STATUS={error.message}")
        raise
    report = check_fragments(layout)
    problems: list[object] = [*report.errors, *report.pending]
    if problems:
        more = f" (and {len(problems) - 1} more)" if problems[1:] else ""
        notify(f"STATUS=Not reloaded: {problems[0]}{more}")
        raise LittlestHubError(
            "\n".join(map(str, problems)), "Not reloaded: the hub goes on as it was."
        )
    request_reload(layout, options.pid)
