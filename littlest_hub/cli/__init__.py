"""The command line of `littlest-hub`."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from functools import partial

from littlest_hub import __version__, commands, installation
from littlest_hub.cli.table import Command, all_commands
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import DEFAULT_BASE, Layout

_ABOUT = """\
A minimal JupyterHub distribution: one base directory, fragments, systemctl reload.

Fragments are plain JupyterHub configuration, the files {fragments}/*.py.
For everyday use, an editor and systemd are enough (without root: `{command} run`):
  systemctl reload {instance}    check the fragments, apply them
  systemctl status {instance}    see whether it runs
  journalctl -u {instance}       see what happens
"""
_EPILOG = """\
`{command} COMMAND --help` shows examples. Enabled stacks add commands, such as `nodes`. Exit codes:
0 done; 1 refused, failed, or a problem was found; 2 wrong usage. Commands need the rights of the
owner of {base}.
"""


def command(arguments: Sequence[str] | None) -> Callable[[], int | None]:
    """Parse a command line and return the command to call; exit with 2 if it is wrong."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # A stack may have a command; manifests are read only for a word that is none of ours.
    is_ours = not words or words[0][:1] == "-" or words[0] in {each.name for each in all_commands()}
    if not is_ours:
        # The words after `--` are the command line of another program.
        own = words[: words.index("--")] if "--" in words else words
        is_help = not {"-h", "--help"}.isdisjoint(own)
        if function := commands.of_stack(words[0], is_help=is_help):
            return lambda: function(words[1:])
    options = _parser().parse_args(words)
    if options.function is None:
        options.parser.error("expected `serve-hub` or `serve-hub --fragments FRAGMENTS`")
    return lambda: options.function(options)


def _parser() -> argparse.ArgumentParser:
    layout = _layout()
    parser = argparse.ArgumentParser(
        prog="littlest-hub",
        description=_text(_ABOUT, layout),
        epilog=textwrap.fill(_text(_EPILOG, layout), _width()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.set_defaults(function=partial(_print_help, parser))
    _add_commands(parser, all_commands(), layout)
    return parser


def _add_commands(
    parser: argparse.ArgumentParser, table: Sequence[Command], layout: Layout, prefix: str = ""
) -> None:
    subparsers = parser.add_subparsers(metavar="COMMAND")
    for each in table:
        subparser = subparsers.add_parser(
            each.name,
            help=each.summary,
            description=textwrap.fill(each.about, _width()),
            epilog=_examples(each, prefix, layout),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for name, options in each.arguments:
            subparser.add_argument(name, **options)
        if each.alternatives:  # argparse fails to print the usage of an empty group
            group = subparser.add_mutually_exclusive_group()
            for name, options in each.alternatives:
                group.add_argument(name, **options)
        function = each.function or (each.commands and partial(_print_help, subparser)) or None
        subparser.set_defaults(function=function, parser=subparser)
        if each.commands:
            _add_commands(subparser, each.commands, layout, f"{prefix}{each.name} ")


def _print_help(parser: argparse.ArgumentParser, _: argparse.Namespace) -> int:
    parser.print_help()
    return 2


def _layout() -> Layout:
    try:
        return installation.of_this_release()
    except LittlestHubError:  # a checkout
        return Layout(DEFAULT_BASE)


def _text(template: str, layout: Layout) -> str:
    return template.format(
        fragments=layout.fragments,
        instance=layout.instance,
        command=layout.command,
        base=layout.base,
    )


def _examples(command: Command, prefix: str, layout: Layout) -> str:
    name = f"{layout.command} {prefix}{command.name}"
    lines = [f"  {name} {words}".rstrip() for words, _ in command.examples]
    width = max(map(len, lines), default=0)
    purposes = [purpose for _, purpose in command.examples]
    shown = [f"{line:{width}}   {purpose}" for line, purpose in zip(lines, purposes, strict=True)]
    return "\n".join(["examples:", *shown]) if shown else ""


def _width() -> int:
    """Return the width that argparse gives to help texts."""
    return max(11, shutil.get_terminal_size().columns - 2)
