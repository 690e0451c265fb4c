"""The verbs of a stack's command, such as `start` of `littlest-hub class start`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TypeAlias

from littlest_hub.layout import Layout

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""The verbs of a parser, as `add_subparsers` returns them."""
Function: TypeAlias = Callable[[Layout, argparse.Namespace], int]
"""Carries out a verb with its options, and returns the exit code."""


def add(
    verbs: Verbs,
    word: str,
    function: Function,
    summary: str,
    description: str = "",
    *,
    needs: Sequence[str] = (),
) -> argparse.ArgumentParser:
    """Add a verb, and return its parser, which further arguments can be added to.

    Args:
        verbs: of the command.
        word: the verb.
        function: carries it out.
        summary: its line in the help of the command.
        description: the beginning of its own help; default: the summary, as a sentence.
        needs: its first arguments, such as NAME, which the function gets as `options.name`.
    """
    sentence = f"{summary[:1].upper()}{summary[1:]}."
    parser = verbs.add_parser(word, help=summary, description=description or sentence)
    for each in needs:
        parser.add_argument(each.lower(), metavar=each)
    parser.set_defaults(run=function)
    return parser


def run(parser: argparse.ArgumentParser, layout: Layout, arguments: Sequence[str]) -> int:
    """Run the verb that the arguments name, and return the exit code.

    Without arguments, print the help.

    Args:
        parser: of the command, with its verbs.
        layout: the installation.
        arguments: the words behind the command.
    """
    if not arguments:
        parser.print_help()
        return 2
    options = parser.parse_args(arguments)
    function: Function = options.run
    return function(layout, options)
