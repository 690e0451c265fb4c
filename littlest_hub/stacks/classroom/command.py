"""`littlest-hub class`, and the last messages of `enable class`, from all parts of the stack."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from littlest_hub.layout import Layout
from littlest_hub.manifest import verbs
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.classroom.accounts import command as accounts
from littlest_hub.stacks.classroom.environment import command as environment
from littlest_hub.stacks.classroom.group_start import command as group_start
from littlest_hub.stacks.classroom.logins import command as logins
from littlest_hub.stacks.classroom.tljh import command as tljh
from littlest_hub.system.systemctl import list_units

PARTS = (logins, accounts, group_start, tljh)
"""Modules whose function `add` adds commands to a parser. Each command has an option `run`: a
function of the layout and the options that returns an exit code."""


def after_enable(layout: Layout, stack: EnabledStack) -> Iterator[str]:
    """Yield the next steps for the person who has enabled the stack."""
    has_servers = bool(list_units(layout.user_unit_pattern, states=("active", "activating")))
    yield from logins.after_enable(layout, stack, has_servers=has_servers)
    yield from environment.after_enable(layout)


def run(layout: Layout, arguments: Sequence[str]) -> int:
    """Run a command of the class stack."""
    parser = argparse.ArgumentParser(
        prog=f"{layout.command} class", description="Look after the people of a class."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for part in PARTS:
        part.add(commands)
    return verbs.run(parser, layout, arguments)
