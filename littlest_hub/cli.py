"""The commands of `littlest-hub`: their options, their help and what they print."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

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


_Argument = tuple[str, dict[str, Any]]
"""Name and options for `ArgumentParser.add_argument`."""


class _Command(NamedTuple):
    """One command of the table below."""

    name: str
    summary: str
    """Its line in `littlest-hub --help`."""
    about: str
    """The text of its own --help."""
    arguments: Sequence[_Argument]
    function: Callable[[argparse.Namespace], int | None] | None = None
    """None: `__main__` runs it, and only command lines that it does not accept get here."""


def command(arguments: Sequence[str] | None) -> Callable[[], int | None]:
    """Parse a command line and return the command to call; exit with 2 if it is wrong."""
    options = _parser().parse_args(arguments)
    if options.function is None:
        options.parser.error("expected `serve-hub` or `serve-hub --fragments FRAGMENTS`")
    return lambda: options.function(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="littlest-hub",
        description=_about(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.set_defaults(function=partial(_print_help, parser))
    subparsers = parser.add_subparsers(metavar="COMMAND")
    for each in _commands():
        subparser = subparsers.add_parser(each.name, help=each.summary, description=each.about)
        for name, options in each.arguments:
            subparser.add_argument(name, **options)
        subparser.set_defaults(function=each.function, parser=subparser)
    return parser


def _print_help(parser: argparse.ArgumentParser, _: argparse.Namespace) -> int:
    parser.print_help()
    return 2


def _about() -> str:
    try:
        layout = installation.of_this_release()
    except LittlestHubError:  # a checkout
        layout = Layout(DEFAULT_BASE)
    command = f"{layout.hub}/bin/littlest-hub"
    return _ABOUT.format(fragments=layout.fragments, instance=layout.instance, command=command)


# --- the commands; each imports what it needs, since importing JupyterHub takes a second


def _install(options: argparse.Namespace) -> None:
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


def _uninstall(options: argparse.Namespace) -> None:
    from littlest_hub.lifecycle.uninstall import uninstall

    layout = installation.of_this_release(options.root)
    if options.purge and not options.yes:
        _confirm_purge(layout)
    print(uninstall(layout, purge=options.purge))


def _confirm_purge(layout: Layout) -> None:
    paths = f"{layout.fragments} and {layout.state}, with the database and all other data"
    if not sys.stdin.isatty():
        raise LittlestHubError(f"--purge removes {paths}", "To confirm: uninstall --purge --yes")
    if _prompt(f"Remove {paths}? [yes|no] ") != "yes":
        raise LittlestHubError("nothing was removed")


def _rollback(options: argparse.Namespace) -> None:
    from littlest_hub.lifecycle.locks import changing
    from littlest_hub.lifecycle.upgrade import release_table, rollback

    layout = installation.of_this_release()
    if options.list:
        print(release_table(layout))
        return
    with changing(layout):
        print(rollback(layout, options.to, progress.to_stderr))


def _check(options: argparse.Namespace) -> int:
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
            "ignored": list(map(str, ignored)),
        }
        print(json.dumps(found, indent=2))
    else:
        for file in ignored:
            print(f"{file} is ignored: its name does not end in .py", file=sys.stderr)
        print_report(report)
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

    function = {"enable": catalogue.enable, "disable": catalogue.disable}[verb]
    return function(installation.of_this_release(), options.name)


def _backup(options: argparse.Namespace) -> None:
    from littlest_hub.backup.archive import backup, summary
    from littlest_hub.unprivileged.privileges import rerun_as_hub_user

    layout = installation.of_this_release()
    rerun_as_hub_user(layout, "backup", options.secrets and "--secrets", options.file)
    # The file may be a directory, or a file in one.
    places = [] if options.file in (None, Path("-")) else [options.file, options.file.parent]
    if layout.hub_user and places and not any(os.access(each, os.W_OK) for each in places):
        raise LittlestHubError(
            f"{options.file}: {layout.hub_user}, as whom this runs, may not write there",
            "Let your shell write it: littlest-hub backup - >FILE",
        )
    written = backup(layout, options.file, secrets=options.secrets, progress=progress.to_stderr)
    print(summary(layout, written), file=sys.stdout if written.file else sys.stderr)


def _restore(options: argparse.Namespace) -> None:
    from littlest_hub.backup.exchange import finish
    from littlest_hub.backup.restore import listing, restore
    from littlest_hub.unprivileged.privileges import rerun_as_hub_user

    layout = installation.of_this_release()
    if options.finish:
        finish(layout)
        return
    if options.file is None:
        options.parser.error("which backup? They are in BASE/state/backups")
    if options.list:
        rerun_as_hub_user(layout, "restore", "--list", options.file)
        print(listing(options.file))
        return
    if layout.hub_user:
        raise LittlestHubError(
            f"this hub runs as {layout.hub_user}, and restoring would make root write where"
            f" {layout.hub_user} may write",
            "By hand: docs/how-to/run-without-root.md",
        )
    confirm = partial(_confirm_restore, options.yes)
    print(restore(layout, options.file, progress=progress.to_stderr, confirm=confirm))


def _confirm_restore(is_confirmed: bool) -> bool:
    if is_confirmed:
        return True
    if not sys.stdin.isatty():
        raise LittlestHubError("Nothing was changed.", "Without a terminal, confirm with: --yes")
    return _prompt("Replace these now? [y/N] ").lower() in ("y", "yes")


def _doctor(options: argparse.Namespace) -> int:
    from littlest_hub.doctor import examine, is_well, report, to_json
    from littlest_hub.doctor.bundle import write_bundle
    from littlest_hub.unprivileged.privileges import rerun_as_hub_user

    layout = installation.of_this_release()
    flags = (options.json and "--json", options.all and "--all", options.bundle and "--bundle")
    rerun_as_hub_user(layout, "doctor", *flags, options.bundle)
    findings = examine(layout)
    if options.bundle:
        write_bundle(layout, to_json(layout, findings), options.bundle)
        progress.to_stderr(f"{options.bundle}: secrets were removed; read it before you send it.")
    if options.json:
        print(to_json(layout, findings))
    else:
        print(report(findings, everything=options.all, colour=sys.stdout.isatty()))
    return 0 if is_well(findings) else 1


def _foreground(options: argparse.Namespace) -> None:
    from littlest_hub.lifecycle.foreground import run

    run(installation.of_this_release(), options.port, partial(print, flush=True))


def _reload(options: argparse.Namespace) -> None:
    # The check must not slow down the running hub.
    os.nice(10)
    from littlest_hub.check import check_fragments
    from littlest_hub.hub.supervisor import request_reload
    from littlest_hub.system.sd_daemon import notify

    layout = installation.of_this_release()
    problems = check_fragments(layout).errors
    if problems:
        more = f" (and {len(problems) - 1} more)" if problems[1:] else ""
        notify(f"STATUS=Not reloaded: {problems[0]}{more}")
        raise LittlestHubError(
            "\n".join(map(str, problems)), "Not reloaded: the hub goes on as it was."
        )
    request_reload(layout, options.pid)


# --- the table


def _argument(name: str, text: str, **options: Any) -> _Argument:
    return name, {"help": text, **options}


def _flag(name: str, text: str) -> _Argument:
    return name, {"help": text, "action": "store_true"}


_ROOT = _argument(
    "--root", "work on an image of a machine in this directory", type=Path, default=Path("/")
)
_JSON = _flag("--json", "print JSON, for programs")
_NAME = _argument("name", "a fragment: slurm or 50-slurm.py", metavar="NAME")


def _commands() -> Sequence[_Command]:
    return (
        _Command(
            "install",
            "make this release serve (the installer runs this)",
            "Make this release serve: write its units and sockets, enable them, start them. If"
            " another release serves, switch to this one, and back if it does not work. Running it"
            " again repairs an installation. It reads these variables: LITTLEST_HUB_PORT=8000"
            " chooses the public port, and 127.0.0.1:8000 makes the hub reachable from this machine"
            " only; LITTLEST_HUB_ADMIN=alice writes the first fragment; LITTLEST_HUB_USER=lhub"
            " creates that user and runs the hub as that user instead of root.",
            (
                _argument(
                    "--prefix",
                    "the release, BASE/releases/VERSION (default: this one)",
                    type=Path,
                    default=release_of_this_interpreter(),
                ),
                _ROOT,
                _flag("--undo", argparse.SUPPRESS),
            ),
            _install,
        ),
        _Command(
            "uninstall",
            "stop and remove everything except fragments and state",
            "Stop the hub and all user servers, remove units, sockets and releases, and list what"
            " is left: fragments, state, drop-ins and homes.",
            (
                _flag("--purge", "remove fragments, state and drop-ins too; homes always stay"),
                _flag("--yes", "with --purge: do not ask for confirmation"),
                _ROOT,
            ),
            _uninstall,
        ),
        _Command(
            "rollback",
            "return to the previous release",
            "Switch back to the previous release. Running servers go on. The database stays, unless"
            " the two releases have different schemas: then the copy from before the upgrade is"
            " restored, with the present users and servers. A second rollback goes forward again.",
            (
                _argument("--to", "refuse unless this is the previous release", metavar="VERSION"),
                _flag("--list", "list the installed releases, and change nothing"),
            ),
            _rollback,
        ),
        _Command(
            "check",
            "list the problems in the fragments, without touching the hub",
            "Run all fragments in a sandbox and list every problem with file and line. The exit"
            " code is 1 if there is a problem that a reload would refuse, and 0 if there are only"
            " warnings.",
            (_JSON,),
            _check,
        ),
        _Command(
            "edit",
            "change a fragment in your editor; it is checked before it takes effect",
            "Open a copy of a fragment, or a new one, in $SUDO_EDITOR, $VISUAL or $EDITOR. Check"
            " it together with the other fragments, replace the original, and offer to reload the"
            " hub.",
            (_argument("name", "a fragment: 30-limits or 30-limits.py", metavar="NAME"),),
            _edit,
        ),
        _Command(
            "list",
            "list the ready fragments, and your own",
            "List the ready fragments of this release, which of them are enabled and which you have"
            " changed, and then your own fragments.",
            (_JSON,),
            _list,
        ),
        _Command(
            "enable",
            "copy a ready fragment for you to own, or put a disabled one back",
            "Copy a ready fragment to your fragments, where it is yours to change; or put back one"
            " that you have disabled. To apply it, reload the hub.",
            (_NAME,),
            partial(_enable_or_disable, "enable"),
        ),
        _Command(
            "disable",
            "remove a fragment; if you have changed it, it is only renamed",
            "Remove a fragment if it is unchanged; otherwise rename it to NAME.py.disabled, which"
            " the hub ignores. To apply this, reload the hub.",
            (_NAME,),
            partial(_enable_or_disable, "disable"),
        ),
        _Command(
            "backup",
            "write database, fragments, state and drop-ins to one file, while the hub runs",
            "Write one compressed tar archive (mode 0600) with everything that makes up this hub:"
            " database, fragments, state/ and drop-ins of its units, but no releases and no homes."
            " It never replaces an existing file.",
            (
                _argument(
                    "file",
                    "a new file, a directory, or - for standard output"
                    " (default: a new file in BASE/state/backups)",
                    type=Path,
                    nargs="?",
                ),
                _flag(
                    "--secrets",
                    "include cookie secret and private keys: users stay logged in after a restore"
                    " elsewhere, but anyone who has the file can log in as any user",
                ),
            ),
            _backup,
        ),
        _Command(
            "restore",
            "replace database, fragments and state with those of a backup",
            "Verify a backup, show what it would change, ask, and then change all of it or nothing."
            " Requests wait while the hub restarts; user servers go on. The replaced data is kept"
            " as BASE/state/backups/before-restore-*, which is a backup too. To move a hub, install"
            " the same or a later release on the new machine, under any base directory, and restore"
            " there.",
            (
                _argument(
                    "file", "a backup, such as one in BASE/state/backups", type=Path, nargs="?"
                ),
                _flag("--list", "list what is in it, and change nothing"),
                _flag("--yes", "do not ask for confirmation"),
                _flag("--finish", argparse.SUPPRESS),
            ),
            _restore,
        ),
        _Command(
            "doctor",
            "list the problems of this machine, each with the command that helps",
            "Examine units, ports, routes, certificates, disk, memory, clock, database and"
            " fragments, and find in the journal why servers failed. It changes nothing, and works"
            " while the hub is down and, with fewer results, without root. The exit code is 1 if"
            " there is a problem.",
            (
                _JSON,
                _flag("--all", "list what is in order, too"),
                _argument(
                    "--bundle",
                    "also write results, journal, units and fragments, without secrets, to a file"
                    " for someone who helps you",
                    type=Path,
                    metavar="FILE.tar.gz",
                ),
            ),
            _doctor,
        ),
        _Command(
            "run",
            "run hub and proxy in the foreground, for yourself, on this machine only",
            "Run hub and proxy on 127.0.0.1 until Ctrl-C, without root and without systemd. It"
            " prints the address and a password; only you can log in.",
            (_argument("--port", "port to listen on (default: a free one from 8000)", type=int),),
            _foreground,
        ),
        _Command(
            "serve",
            "run the hub and its supervisor (the hub's unit runs this)",
            "Run the hub, and the supervisor that replaces it at a reload. The unit runs this.",
            (),
        ),
        _Command(
            "serve-hub",
            "run one hub (the supervisor runs this)",
            "Run one hub on the sockets that it inherits. The supervisor runs this.",
            (_argument("--fragments", "directory with a copy of the fragments", type=Path),),
        ),
        _Command(
            "reload",
            "check the fragments, then replace the hub (the hub's unit runs this)",
            "Check the fragments; if they are in order, replace the hub with a new one, and return"
            " when the new one answers. `systemctl reload` runs this.",
            (_argument("pid", "process id of the hub's supervisor", type=int),),
            _reload,
        ),
    )
