"""The program with which `littlest-hub nodes` examines a node: a job runs it there.

It prints JSON objects, a line each: first the port at which it waits for the head node, then the
rest.
"""

from __future__ import annotations

import json
import os
import pwd
import socket
import sys
import time
from pathlib import Path
from typing import Any, TextIO
from urllib.request import ProxyHandler, build_opener

from littlest_hub import __version__

WAIT_S = 10
"""Time limit of each of its two steps on the network."""
_OTHER = "another program answers"


def main() -> None:
    """Examine this node; the arguments are those of `run`."""
    hub_url, packages = sys.argv[1:]
    run(hub_url, sys.stdout, packages)


def run(hub_url: str, head: TextIO, packages: str = "", wait_s: float = WAIT_S) -> None:
    """Examine this node, and print what was found.

    Args:
        hub_url: the address of the hub's pages; "": there is none to reach.
        head: reads what is printed.
        packages: the directory of those that were added for user servers; "": there are none.
        wait_s: time limit of each step on the network.
    """
    with socket.create_server(("", 0)) as server:
        server.settimeout(wait_s)
        print(json.dumps({"port": server.getsockname()[1]}), file=head, flush=True)
        try:
            server.accept()[0].close()
            is_reached = True
        except TimeoutError:
            is_reached = False
    found = {
        "release": __version__,
        "is_reached": is_reached,
        "hub": hub(hub_url, wait_s) if hub_url else "",
        "home": home(),
        "has_packages": not packages or Path(packages).is_dir(),
        "clock": time.time(),
    }
    print(json.dumps(found), file=head, flush=True)


def hub(url: str, wait_s: float) -> str:
    """Return why the hub does not answer at an address; "": it answers."""
    api = f"{url.rstrip('/')}/hub/api"
    try:
        # Servers' jobs use no proxy of the site either.
        with build_opener(ProxyHandler({})).open(api, timeout=wait_s) as answer:
            found: Any = json.load(answer)
        return "" if "version" in found else _OTHER
    except OSError as error:
        return str(getattr(error, "reason", error)) or type(error).__name__
    except (ValueError, TypeError):
        return _OTHER


def home() -> str:
    """Return why this user has no home directory here; "": there is one."""
    try:
        place = Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return f"no account here has the number {os.getuid()}"
    if not os.getuid():
        return ""  # servers of root do not exist
    if not place.is_dir():
        return f"{place} is not there"
    if not os.access(place, os.W_OK | os.X_OK):
        return f"{place} cannot be written to"
    return ""


if __name__ == "__main__":
    main()
