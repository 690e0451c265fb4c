"""The commands of `littlest-hub`, with their options and help."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from littlest_hub import commands
from littlest_hub.installation import release_of_this_interpreter
from littlest_hub.layout import PackageSet

Argument = tuple[str, dict[str, Any]]
"""Name and options for `ArgumentParser.add_argument`."""


class Command(NamedTuple):
    """A command."""

    name: str
    summary: str
    """Its line in `littlest-hub --help`."""
    about: str
    """The text of its own --help."""
    arguments: Sequence[Argument]
    function: Callable[[argparse.Namespace], int | None] | None = None
    """None: `__main__` runs it, and only command lines that it does not accept get here."""
    examples: Sequence[tuple[str, str]] = ()
    """Arguments of the command, and what they are for."""
    commands: Sequence[Command] = ()
    """Commands of its own: `littlest-hub packages add`."""
    alternatives: Sequence[Argument] = ()
    """Options of which a command line has one at most."""


def _port(text: str) -> int:
    if not (text.isdecimal() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port; expected 1 to 65535")
    return int(text)


def _argument(name: str, text: str, **options: Any) -> Argument:
    return name, {"help": text, **options}


def _flag(name: str, text: str) -> Argument:
    return name, {"help": text, "action": "store_true"}


def _several(argument: Argument, nargs: str) -> Argument:
    name, options = argument
    return name, {**options, "nargs": nargs}


_ROOT = _argument(
    "--root", "work on an image of a machine in this directory", type=Path, default=Path("/")
)
_JSON = _flag("--json", "print JSON, for programs")
_LIST_JSON = _flag("--json", "with --list: print JSON, for programs")
_REPEATABLE = {"action": "append", "default": [], "dest": "settings"}
_NAME = _argument("name", "a stack, or a fragment: announce, slurm or 50-slurm.py", metavar="NAME")


def all_commands() -> Sequence[Command]:
    """Return the commands, in the order of the help."""
    return (
        Command(
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
            commands.run_install,
            (("", "repair this installation"),),
        ),
        Command(
            "uninstall",
            "stop and remove everything except what is yours: fragments, state, added packages",
            "Stop the hub and all user servers, remove units, sockets and releases, and list what"
            " is left: fragments, state, added packages, drop-ins and homes.",
            (
                _flag("--purge", "also remove what is left, except homes"),
                _flag("--yes", "do not ask for confirmation"),
                _ROOT,
            ),
            commands.run_uninstall,
            (
                ("", "fragments, database and homes stay"),
                ("--purge --yes", "only homes stay"),
            ),
        ),
        Command(
            "rollback",
            "return to the previous release",
            "Switch back to the previous release. Running servers go on. The database stays, unless"
            " the two releases have different schemas: then the copy from before the upgrade is"
            " restored, with the present users and servers. A second rollback goes forward again.",
            (
                _argument("--to", "refuse unless this is the previous release", metavar="VERSION"),
                _flag("--list", "list the installed releases, and change nothing"),
                _LIST_JSON,
            ),
            commands.run_rollback,
            (
                ("--list", "show the releases"),
                ("", "return to the previous one"),
            ),
        ),
        Command(
            "check",
            "list the problems in the fragments, without touching the hub",
            "Run all fragments in a sandbox and list every problem with file and line. The exit"
            " code is 1 if there are errors, with which a reload is refused, and 0 if there are"
            " only warnings.",
            (_JSON,),
            commands.run_check,
            (
                ("", "after a change, before a reload"),
                ("--json", "for a script"),
            ),
        ),
        Command(
            "show",
            "show the settings that the fragments change, and the lines that decide them",
            "Run all fragments in a sandbox, as `check` does, and show each setting that they"
            " change: its value without secrets, the line that decides it, the lines that it adds"
            " to, and those that it overrides. This is the configuration of a hub that is started"
            " or reloaded now. The exit code is 1 if a fragment fails.",
            (_JSON, _flag("--all", "show what this release sets, too")),
            commands.run_show,
            (
                ("", "what the fragments come down to"),
                ("--all --json", "for a script"),
            ),
        ),
        Command(
            "edit",
            "change a fragment in your editor; it is checked before it takes effect",
            "Open a copy of a fragment, or a new one, in $SUDO_EDITOR, $VISUAL or $EDITOR. Check"
            " it together with the other fragments, replace the original, and offer to reload the"
            " hub.",
            (_argument("name", "a fragment: 30-limits or 30-limits.py", metavar="NAME"),),
            commands.run_edit,
            (
                ("30-limits", "change or make 30-limits.py"),
                ("10-users", "who may log in"),
            ),
        ),
        Command(
            "list",
            "list the stacks, the ready fragments, and your own",
            "List the stacks and the ready fragments of this release, which of them are enabled and"
            " which you have changed, and then your own fragments.",
            (_JSON,),
            commands.run_list,
            (("", "see what `enable` may be given"),),
        ),
        Command(
            "enable",
            "set up a stack; or copy a ready fragment for you to own",
            "Set up a stack, all of it or nothing: ask its questions, say what will be done, do it,"
            " reload the hub. Or copy a ready fragment to your fragments, where it is yours to"
            " change, or put back one that you have disabled; to apply that, reload the hub.",
            (
                _several(_NAME, "?"),
                _flag("--yes", "a stack: ask nothing; questions without --set get their defaults"),
                _argument(
                    "--set", "a stack: answer a question", metavar="KEY=VALUE", **_REPEATABLE
                ),
                _flag("--finish", "undo a change of stacks that was killed"),
                _flag("--at-start", argparse.SUPPRESS),
            ),
            commands.run_enable,
            (
                ("announce --yes --set group=staff", "set up a stack in a script"),
                ("https", "copy 20-https.py, then edit it: edit https"),
            ),
        ),
        Command(
            "disable",
            "remove a stack or a fragment; a fragment that you have changed is only renamed",
            "Remove what `enable` has set up for a stack, or a fragment; then reload the hub for a"
            " fragment. A fragment that you have changed is renamed to NAME.py.disabled.",
            (_NAME, _flag("--yes", "do not ask before servers on other machines end")),
            commands.run_disable,
            (("https", "the opposite of: enable https"),),
        ),
        Command(
            "packages",
            "Python packages beside those of the release: authenticators, extensions, programs",
            "Add Python packages that the release does not bring: to the hub (authenticators,"
            " spawners), to user servers (extensions of Jupyter), or as programs for stacks. They"
            " are resolved against exactly this release, whose own packages never change; they"
            " survive upgrades.",
            (),
            commands=_package_commands(),
        ),
        Command(
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
                _flag(
                    "--packages",
                    "include the wheels of packages, so that a hub elsewhere needs no network",
                ),
            ),
            commands.run_backup,
            (
                ("", "into state/backups"),
                ("--secrets /root/hub.tar.gz", "to move the hub elsewhere"),
                ("- >hub.tar.gz", "written by your shell"),
            ),
        ),
        Command(
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
                _LIST_JSON,
                _flag("--yes", "do not ask for confirmation"),
                _flag("--finish", argparse.SUPPRESS),
            ),
            commands.run_restore,
            (
                ("--list hub.tar.gz", "what is in it"),
                ("hub.tar.gz", "show the changes, ask, restore"),
            ),
        ),
        Command(
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
            commands.run_doctor,
            (
                ("", "what is wrong, and what helps"),
                ("--all", "what is in order as well"),
                ("--bundle findings.tar.gz", "for someone who helps you"),
            ),
        ),
        Command(
            "run",
            "run hub and proxy in the foreground, for yourself, on this machine only",
            "Run hub and proxy on 127.0.0.1 until Ctrl-C, without root and without systemd. It"
            " checks the fragments first, and prints the address and a password, which stays the"
            " same; only you can log in.",
            (
                _argument(
                    "--port", "port to listen on (default: a free one from 8000)", type=_port
                ),
                _flag("--new-password", "choose another password than last time"),
            ),
            commands.run_foreground,
            (
                ("", "take the first free port from 8000"),
                ("--port 9000 --new-password", "change both"),
            ),
        ),
        Command(
            "serve",
            "run the hub and its supervisor (the hub's unit runs this)",
            "Run the hub, and the supervisor that replaces it at a reload. The unit runs this.",
            (),
        ),
        Command(
            "serve-hub",
            "run one hub (the supervisor runs this)",
            "Run one hub on the sockets that it inherits. The supervisor runs this.",
            (_argument("--fragments", "directory with a copy of the fragments", type=Path),),
        ),
        Command(
            "reload",
            "check the fragments, then replace the hub (the hub's unit runs this)",
            "Check the fragments; if they are in order, replace the hub with a new one, and return"
            " when the new one answers. `systemctl reload` runs this.",
            (_argument("pid", "process id of the hub's supervisor", type=int),),
            commands.run_reload,
        ),
    )


def _package_set(package_set: PackageSet, text: str) -> Argument:
    choice = {"action": "store_const", "const": package_set, "default": PackageSet.HUB}
    return package_set.option, {"help": text, "dest": "package_set", **choice}


def _package_commands() -> Sequence[Command]:
    names = _argument("names", "NAME, NAME==VERSION, NAME>=VERSION", metavar="NAME")
    return (
        Command(
            "add",
            "add packages, or change their versions",
            "Add packages to the hub, or with --server to user servers: choose versions that fit"
            " this release, fetch their wheels, check the fragments with them, and reload the hub."
            " If anything fails, everything stays as it was. Servers that run keep what they have.",
            (
                _several(names, "*"),
                _argument(
                    "--from",
                    "a directory of wheels, one wheel, or a bundle, instead of the package index;"
                    " without names, all that is in it",
                    type=Path,
                    metavar="PATH",
                    dest="source",
                ),
            ),
            commands.run_packages_add,
            (
                ("jupyterhub-hashauthenticator", "for the hub, from the package index"),
                ("--server nbgitpuller", "for user servers"),
                ("--server --from wheels", "all wheels of a directory, without a network"),
            ),
            alternatives=(
                _package_set(PackageSet.SERVER, "for user servers: extensions of Jupyter"),
                _package_set(PackageSet.TOOLS, "programs that stacks run"),
            ),
        ),
        Command(
            "remove",
            "remove packages, and what only they needed",
            "Remove packages from every set that has them, and what only they needed.",
            (_several(names, "+"),),
            commands.run_packages_remove,
        ),
        Command(
            "list",
            "show the packages of each set",
            "Show the packages of each set, and which of them were asked for.",
            (_JSON,),
            commands.run_packages_list,
        ),
        Command(
            "audit",
            "list known vulnerabilities of the packages",
            "Compare the packages with the advisories that this release brings, and with those of"
            " the package index, which is asked about each of them. If it does not answer, what it"
            " said last counts. The exit code is 1 if a package has a known vulnerability.",
            (_JSON, _flag("--offline", "do not ask the package index")),
            commands.run_packages_audit,
            (("", "ask the package index, too"),),
        ),
        Command(
            "rebuild",
            "build them again, as after a change of the lists",
            "Build the packages again from BASE/packages/hub.txt, server.txt and tools.txt, which"
            " may be edited, one requirement on each line.",
            (),
            commands.run_packages_rebuild,
        ),
    )
