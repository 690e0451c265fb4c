"""The commands of `littlest-hub`, and how they are to be read."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from littlest_hub import __version__, installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import ignored_files, release_of_this_interpreter
from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.system import progress

_ABOUT = """\
A minimal JupyterHub distribution: one base directory, drop-in fragments, systemctl reload.

Everyday use needs none of these commands:
  $EDITOR {fragments}/10-users.py    plain JupyterHub configuration
  systemctl reload {instance}    check it, apply it
  journalctl -u {instance}    what happens

Without root and systemd:
  {command} run    hub and proxy in the foreground, for yourself
"""


def command(arguments: Sequence[str] | None) -> Callable[[], int | None]:
    """What a command line asks for, to be called; wrong ones end the process."""
    options = _parser().parse_args(arguments)
    return lambda: options.command(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="littlest-hub",
        description=_about(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.set_defaults(command=partial(_teach, parser))
    commands = parser.add_subparsers(metavar="COMMAND")

    install = commands.add_parser(
        "install",
        help="make this release serve: units, sockets (the installer calls it)",
        description="Write the base directory, units and sockets of this release, enable and"
        " start them. Again: repair. Where another release serves: switch to this one, and back"
        " if it does not do well. LITTLEST_HUB_PORT=8000 chooses the public port,"
        " 127.0.0.1:8000 the same for this machine alone, LITTLEST_HUB_ADMIN=alice writes the first"
        " fragment, LITTLEST_HUB_USER=lhub has the hub run as a user that is made for it.",
    )
    install.add_argument(
        "--prefix",
        type=Path,
        default=release_of_this_interpreter(),
        help="the release, BASE/releases/VERSION (default: this one)",
    )
    _add_root(install)
    install.add_argument("--undo", action="store_true", help=argparse.SUPPRESS)
    install.set_defaults(command=_install)

    uninstall = commands.add_parser(
        "uninstall",
        help="stop and remove everything but fragments and state",
        description="Stop every server of this base directory, remove its units, sockets and"
        " releases, and say what is left: fragments and state.",
    )
    uninstall.add_argument(
        "--purge", action="store_true", help="remove fragments, state and drop-ins as well"
    )
    uninstall.add_argument("--yes", action="store_true", help="with --purge: do not ask")
    _add_root(uninstall)
    uninstall.set_defaults(command=_uninstall)

    rollback = commands.add_parser(
        "rollback",
        help="return to the release before",
        description="Have the release before the last upgrade serve again. Running servers go on."
        " The database stays, unless that release has an older schema: then its copy is put back,"
        " with the users and servers of now. Again: forward.",
    )
    rollback.add_argument("--to", metavar="VERSION", help="to be sure which it is")
    rollback.add_argument("--list", action="store_true", help="list the releases that are here")
    rollback.set_defaults(command=_rollback)

    check = commands.add_parser(
        "check",
        help="list what is wrong with the fragments, without touching the hub",
        description="Run all fragments in a sandbox and list every problem as file:line. Exit code"
        " 1 if there is one that a reload would refuse; warnings are none.",
    )
    _add_json(check)
    check.set_defaults(command=_check)

    edit = commands.add_parser(
        "edit",
        help="change a fragment in your editor; it is checked before it takes effect",
        description="Open a copy of a fragment, or a new one, in $SUDO_EDITOR, $VISUAL or $EDITOR;"
        " check it together with the others, put it in place, and offer the reload.",
    )
    edit.add_argument("name", metavar="NAME", help="such as 30-limits or 30-limits.py")
    edit.set_defaults(command=_edit)

    listing = commands.add_parser(
        "list",
        help="the catalogue of ready fragments, and yours",
        description="Show the ready fragments of this release, which of them are enabled and"
        " changed, and the administrator's own.",
    )
    _add_json(listing)
    listing.set_defaults(command=_list)

    for name, purpose in (
        ("enable", "copy a fragment of the catalogue for you to own"),
        ("disable", "take a fragment out; one that you have changed is only set aside"),
    ):
        verb = commands.add_parser(name, help=purpose, description=f"{purpose.capitalize()}.")
        verb.add_argument("name", metavar="NAME", help="such as slurm or 50-slurm.py")
        verb.set_defaults(command=partial(_enable_or_disable, name))

    backup = commands.add_parser(
        "backup",
        help="database, fragments, state and drop-ins in one file, while the hub runs",
        description="Write one compressed tar (0600) with all that makes this hub this hub:"
        " database, fragments, state/ and drop-ins of its units; no releases, no homes. An existing"
        " file is never replaced.",
    )
    backup.add_argument(
        "file",
        type=Path,
        nargs="?",
        help="a new file, a directory, or - for standard output"
        " (default: a new file in BASE/state/backups)",
    )
    backup.add_argument(
        "--secrets",
        action="store_true",
        help="with cookie secret and private keys: restored elsewhere, everybody stays logged in;"
        " and whoever has the file can be anybody",
    )
    backup.set_defaults(command=_backup)

    restore = commands.add_parser(
        "restore",
        help="put a backup in the place of what is there",
        description="Verify a backup, show what it would change, ask, and change all of it or"
        " nothing. Requests wait while the hub restarts; user servers go on. What was there is kept"
        " in BASE/state/backups/before-restore-*, itself a backup. To move a hub: install the same"
        " or a later release on the new machine, under any base directory, and restore there.",
    )
    restore.add_argument("file", type=Path, nargs="?", help="what `littlest-hub backup` wrote")
    restore.add_argument("--list", action="store_true", help="show what is in it, and end")
    restore.add_argument("--yes", action="store_true", help="do not ask")
    restore.add_argument("--finish", action="store_true", help=argparse.SUPPRESS)
    restore.set_defaults(command=partial(_restore, restore))

    doctor = commands.add_parser(
        "doctor",
        help="what is wrong on this machine, and the command that mends it",
        description="Look at what an experienced administrator would look at: units, ports, routes,"
        " certificates, disk, memory, clock, database, fragments, failed servers with the reason"
        " from the journal. Changes nothing; works when the hub is down, and without root as far"
        " as one may see. Exit code 1 if there is a problem.",
    )
    doctor.add_argument("--json", action="store_true", help="findings for a program")
    doctor.add_argument("--all", action="store_true", help="also what is in order")
    doctor.add_argument(
        "--bundle",
        type=Path,
        metavar="FILE.tar.gz",
        help="write findings, journal, units and fragments for somebody who helps; secrets are"
        " taken out",
    )
    doctor.set_defaults(command=_doctor)

    run = commands.add_parser(
        "run",
        help="hub and proxy in the foreground, for yourself, on this machine only",
        description="Start hub and proxy on 127.0.0.1 until Ctrl-C, without root and without"
        " systemd. It prints the address and a password, for you alone.",
    )
    run.add_argument("--port", type=int, help="where to listen (default: a free one from 8000)")
    run.set_defaults(command=_run)

    # Those two `__main__` knows by itself.
    commands.add_parser("serve", help="the hub and its supervisor (its unit runs this)")
    serve_hub = commands.add_parser("serve-hub", help="one hub (the supervisor runs this)")
    serve_hub.add_argument("--fragments", type=Path, help="a copy of the fragments to use")

    reload = commands.add_parser("reload", help="check, then renew the hub (its unit runs this)")
    reload.add_argument("pid", type=int, help="process id of the hub")
    reload.set_defaults(command=_reload)
    return parser


def _teach(parser: argparse.ArgumentParser, _: argparse.Namespace) -> int:
    parser.print_help()
    return 2


def _about() -> str:
    try:
        layout = installation.of_this_release()
    except LittlestHubError:  # a checkout
        layout = Layout(DEFAULT_BASE)
    command = f"{layout.hub}/bin/littlest-hub"
    return _ABOUT.format(fragments=layout.fragments, instance=layout.instance, command=command)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for a machine to read")


def _add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root",
        type=Path,
        default=Path("/"),
        help="the file system to work on, as for systemctl --root",
    )


# Each command imports what it needs: importing JupyterHub takes a second.


def _install(options: argparse.Namespace) -> None:
    from littlest_hub.lifecycle.install import install, undo_install

    prefix: Path = options.prefix
    if options.root == Path("/"):
        # Without the links on the way there: what runs from it is known by where it really is.
        prefix = prefix.resolve()
    layout = installation.of_prefix(prefix, options.root)
    if options.undo:
        undo_install(layout, prefix, progress.to_stderr)
        return
    environ = dict(os.environ)
    is_interactive = environ.get("INSTALLER_UNATTENDED") == "0" and sys.stdin.isatty()
    has_users = layout.on_disk(layout.fragments / "10-users.py").exists()
    if is_interactive and not has_users and not environ.get("LITTLEST_HUB_ADMIN"):
        environ["LITTLEST_HUB_ADMIN"] = _ask_for_admin()
    print(install(layout, prefix, environ, progress.to_stderr), end="")


def _ask_for_admin() -> str:
    """A login name, or "" for none. On standard error: standard output is the report."""
    from littlest_hub.lifecycle.install import is_login_name

    while True:
        question = "Login name of the hub's administrator [nobody for now]: "
        print(question, end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline().strip()
        if not answer or is_login_name(answer):
            return answer
        print(f"{answer!r} is no login name.", file=sys.stderr)


def _uninstall(options: argparse.Namespace) -> None:
    from littlest_hub.lifecycle.uninstall import uninstall

    layout = installation.of_this_release(options.root)
    if options.purge and not options.yes:
        _ask_for_purge(layout)
    print(uninstall(layout, purge=options.purge))


def _ask_for_purge(layout: Layout) -> None:
    what = f"{layout.fragments} and {layout.state}, with all that the hub remembers"
    if not sys.stdin.isatty():
        raise LittlestHubError(f"--purge removes {what}", "To have that: uninstall --purge --yes")
    print(f"Remove {what}? [yes|no] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != "yes":
        raise LittlestHubError("nothing was removed")


def _rollback(options: argparse.Namespace) -> None:
    from littlest_hub.lifecycle.locks import changing
    from littlest_hub.lifecycle.upgrade import listing, rollback

    layout = installation.of_this_release()
    if options.list:
        print(listing(layout))
        return
    with changing(layout):
        print(rollback(layout, options.to, progress.to_stderr))


def _check(options: argparse.Namespace) -> int:
    from littlest_hub.check import check_fragments
    from littlest_hub.fragments.edit import show

    layout = installation.of_this_release()
    report = check_fragments(layout)
    ignored = ignored_files(layout)
    if options.json:
        found = {
            "problems": [asdict(problem) for problem in report.problems],
            "printed": report.printed,
            "note": report.note,
            "ignored": list(map(str, ignored)),
        }
        print(json.dumps(found, indent=2))
    else:
        for file in ignored:
            print(f"{file} is ignored: its name does not end in .py", file=sys.stderr)
        show(report)
        if not report.problems:
            print("No problems found.")
    return 1 if report.errors else 0


def _edit(options: argparse.Namespace) -> int:
    from littlest_hub.fragments.edit import edit

    return edit(installation.of_this_release(), options.name)


def _list(options: argparse.Namespace) -> None:
    from littlest_hub.fragments.catalogue import entries

    found = list(entries(installation.of_this_release()))
    if options.json:
        print(json.dumps([asdict(entry) for entry in found], indent=2))
        return
    for kind, title in (
        ("catalogue", "Ready fragments of this release:"),
        ("own", "Your own:"),
        ("ignored", "Ignored:"),
    ):
        lines = [str(entry) for entry in found if entry.kind == kind]
        if lines:
            print("\n".join([title, *lines]))


def _enable_or_disable(verb: str, options: argparse.Namespace) -> int:
    from littlest_hub.fragments import catalogue

    do = catalogue.enable if verb == "enable" else catalogue.disable
    return do(installation.of_this_release(), options.name)


def _backup(options: argparse.Namespace) -> None:
    from littlest_hub.backup.archive import backup, summary
    from littlest_hub.unprivileged.privileges import rerun_as_hub_user

    layout = installation.of_this_release()
    rerun_as_hub_user(layout, "backup", options.secrets and "--secrets", options.file)
    # A directory, or a file in one.
    places = [] if options.file in (None, Path("-")) else [options.file, options.file.parent]
    if layout.hub_user and places and not any(os.access(each, os.W_OK) for each in places):
        raise LittlestHubError(
            f"{options.file}: {layout.hub_user}, as whom this runs, may not write there",
            "Have your shell do it: littlest-hub backup - >FILE",
        )
    written = backup(layout, options.file, secrets=options.secrets, say=progress.to_stderr)
    to_stdout = written.file is None
    print(summary(layout, written), file=sys.stderr if to_stdout else sys.stdout)


def _restore(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    from littlest_hub.backup.exchange import finish
    from littlest_hub.backup.restore import listing, restore
    from littlest_hub.unprivileged.privileges import rerun_as_hub_user

    layout = installation.of_this_release()
    if options.list:
        rerun_as_hub_user(layout, "restore", "--list", options.file)
    elif (user := layout.hub_user) and not options.finish:
        raise LittlestHubError(
            f"this hub runs as {user}, and restoring would have root write where {user} may",
            "By hand: docs/how-to/run-without-root.md",
        )
    if options.finish:
        finish(installation.of_this_release())
        return
    if options.file is None:
        parser.error("which backup? They are in BASE/state/backups")
    if options.list:
        print(listing(options.file))
        return

    def confirm() -> bool:
        if options.yes:
            return True
        if not sys.stdin.isatty():
            raise LittlestHubError("Nothing was changed.", "Without a terminal, say so: --yes")
        print("Replace these now? [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    print(
        restore(
            installation.of_this_release(), options.file, say=progress.to_stderr, confirm=confirm
        )
    )


def _doctor(options: argparse.Namespace) -> int:
    from littlest_hub.doctor import examine, is_well, report, to_json
    from littlest_hub.doctor.bundle import write_bundle
    from littlest_hub.unprivileged.privileges import rerun_as_hub_user

    layout = installation.of_this_release()
    rerun_as_hub_user(
        layout,
        "doctor",
        options.json and "--json",
        options.all and "--all",
        options.bundle and "--bundle",
        options.bundle,
    )
    findings = examine(layout)
    if options.bundle:
        write_bundle(layout, to_json(layout, findings), options.bundle)
        progress.to_stderr(f"{options.bundle}: secrets were removed; read it before you send it.")
    if options.json:
        print(to_json(layout, findings))
    else:
        print(report(findings, everything=options.all, colour=sys.stdout.isatty()))
    return 0 if is_well(findings) else 1


def _run(options: argparse.Namespace) -> None:
    from littlest_hub.lifecycle.foreground import run

    run(installation.of_this_release(), options.port, lambda text: print(text, flush=True))


def _reload(options: argparse.Namespace) -> None:
    # Whoever serves has the processor first.
    os.nice(10)
    from littlest_hub.check import check_fragments
    from littlest_hub.hub.supervisor import reload
    from littlest_hub.system.sd_daemon import notify

    layout = installation.of_this_release()
    problems = check_fragments(layout).errors
    if problems:
        more = f" (and {len(problems) - 1} more)" if problems[1:] else ""
        notify(f"STATUS=Not reloaded: {problems[0]}{more}")
        raise LittlestHubError(
            "\n".join(map(str, problems)), "Not reloaded: the hub goes on as it was."
        )
    reload(layout, options.pid)
