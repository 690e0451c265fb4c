"""The program beside a hub in the foreground: the pages, and what starts the stack's programs.

    python -I -m littlest_hub.service …own_computer.program

The hub starts it, starts it again if it ends, and ends it. It runs as the person, like the hub.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.manifest import enabled
from littlest_hub.service.web import from_environ, server_of
from littlest_hub.stacks.launch import STACK, fragment, permissions
from littlest_hub.stacks.launch.builder.place import Place as Environments
from littlest_hub.stacks.launch.own_computer.programs import Programs
from littlest_hub.stacks.launch.pages.page import Place
from littlest_hub.stacks.launch.pages.routes import PAGES
from littlest_hub.stacks.launch.resolver.units import sources_of
from littlest_hub.system import landlock
from littlest_hub.system.children import end_with_parent
from littlest_hub.system.files import remove_tree

_FIRST_CLEANING_S, _CLEANING_EVERY_S = 300, 6 * 3600


def main() -> None:
    """Serve until SIGTERM."""
    end_with_parent()
    layout = installation.of_this_release()
    try:
        values = fragment.read(layout)
        enabled.make_directory(layout, enabled.require_enabled(STACK))
        permissions.write_settings(layout, values)
        with _directories(layout) as (sockets, work):
            asyncio.run(_serve(layout, os.environ, Programs(layout, values, work), sockets))
    except (LittlestHubError, OSError) as error:
        print(f"{STACK}: {error}", file=sys.stderr, flush=True)
        sys.exit(1)


@contextlib.contextmanager
def _directories(layout: Layout) -> Iterator[tuple[Path, Path]]:
    """Yield a directory for sockets, and one for temporary files of programs."""
    # On the disk of the environments, and removed after a kill.
    work = layout.stack_cache(STACK) / "work"
    remove_tree(work)
    for each in (work, sources_of(layout)):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The path of a socket has at most 107 bytes, unix(7).
    with tempfile.TemporaryDirectory(prefix="littlest-hub-") as sockets:
        yield Path(sockets), work


async def _serve(
    layout: Layout, environ: Mapping[str, str], programs: Programs, sockets: Path
) -> None:
    environments = Environments.of(layout)
    place = Place(
        records=layout.stack_data(STACK),
        resolver=sockets / "resolver",
        sources=sources_of(layout),
        starter=sockets / "starter",
        logs=environments.logs,
        results=environments.results,
    )
    token = environ["JUPYTERHUB_API_TOKEN"]
    service = from_environ(environ, token, PAGES, place=place, is_confined=landlock.is_usable())
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # JupyterHub sends both
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    server = server_of(service)
    server.listen(urlsplit(environ["JUPYTERHUB_SERVICE_URL"]).port, "127.0.0.1")
    await asyncio.start_unix_server(programs.resolve, place.resolver)
    await asyncio.start_unix_server(programs.start, place.starter)
    cleaning = asyncio.create_task(_clean(layout, programs))
    await stopped.wait()
    server.stop()
    # The end of the loop ends what is being built.
    cleaning.cancel()


async def _clean(layout: Layout, programs: Programs) -> None:
    """Clean from time to time; with what servers refer to at that time."""
    await asyncio.sleep(_FIRST_CLEANING_S)
    while True:
        with contextlib.suppress(LittlestHubError, OSError):
            permissions.write_settings(layout, programs.values)
            await programs.clean()
        await asyncio.sleep(_CLEANING_EVERY_S)


if __name__ == "__main__":
    main()
