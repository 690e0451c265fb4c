"""The verbs of a stack's command, such as `start` of `littlest-hub class start`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from littlest_hub.layout import Layout


def run(parser: argparse.ArgumentParser, layout: Layout, arguments: Sequence[str]) -> int:
    """Run a verb, and return the exit code; without arguments, print the help.

    Args:
        parser: each of its verbs has a default `run`: a function of the layout and the options
            that returns an exit code.
        layout: the installation.
        arguments: the words behind the command.
    """
    if not arguments:
        parser.print_help()
        return 2
    options = parser.parse_args(arguments)
    code: int = options.run(layout, options)
    return code
