"""`littlest-hub announce`: read and write the announcement in a terminal or a script."""

from __future__ import annotations

import argparse
import getpass
import os
from collections.abc import Sequence

from littlest_hub.layout import Layout
from littlest_hub.stacks.announce.announcement import Announcement, read, save


def run(layout: Layout, arguments: Sequence[str]) -> int:
    """Show the announcement, or write another one."""
    parser = argparse.ArgumentParser(
        prog=f"{layout.command} announce",
        description="Show the announcement on the hub's pages, or write another one.",
    )
    parser.add_argument(
        "banner", metavar="TEXT", nargs="?", help='the banner on every page; "": none'
    )
    parser.add_argument("--message", metavar="TEXT", help='the message of the day; "": none')
    options = parser.parse_args(arguments)
    directory = layout.stack_data("announce")
    present = read(directory)
    if options.banner is None and options.message is None:
        print(f"banner: {present.banner or 'none'}")
        print(f"message of the day: {present.message or 'none'}")
        if present.author:
            print(f"written by {present.author}, {present.time}")
        return 0
    banner = present.banner if options.banner is None else options.banner
    message = present.message if options.message is None else options.message
    author = os.environ.get("SUDO_USER") or getpass.getuser()
    save(directory, Announcement.written(banner, message, author))
    return 0
