"""The trial of an environment's kernel: `python -I -m …trial PREFIX MODULE…`, run as a user.

The interpreter is that of the release, which the environment cannot break. The program prints
problems, and returns 1 if there are any.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from queue import Empty
from typing import Any

TIMEOUT_S = 120
"""Limit for the start of the kernel, and for all imports together, on a slow machine."""
NOBODY = 65534
NO_KERNEL = "no kernel starts"


def command(python: str, prefix: str, modules: Sequence[str], directory: str) -> list[str]:
    """Return the command that runs this program as a user without rights.

    Args:
        python: the interpreter of the release.
        prefix: the environment.
        modules: the modules to import.
        directory: a directory that the user owns.
    """
    user = ("--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups")
    variables = (f"HOME={directory}", f"TMPDIR={directory}", "LANG=C.UTF-8")
    path = f"PATH={prefix}/bin:/usr/local/bin:/usr/bin:/bin"
    words = [python, "-I", "-m", __name__, prefix, *modules]
    return ["setpriv", *user, "--no-new-privs", "env", "-i", *variables, path, *words]


def problems(prefix: str, modules: Sequence[str]) -> Iterator[str]:
    """Yield problems of the kernel and of the modules."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import KernelManager

    with tempfile.TemporaryDirectory() as directory:
        manager = KernelManager(
            transport="ipc", ip=f"{directory}/k", connection_file=f"{directory}/connection.json"
        )
        launcher = [f"{prefix}/bin/python3", "-m", "ipykernel_launcher"]
        manager._kernel_spec = KernelSpec(argv=[*launcher, "-f", "{connection_file}"])
        try:
            manager.start_kernel(stdout=sys.stderr, stderr=sys.stderr, cwd=directory)
            yield from _answers(manager, modules)
        except (OSError, RuntimeError, TimeoutError) as error:
            yield f"{NO_KERNEL}: {error}"
        finally:
            if manager.has_kernel:
                manager.shutdown_kernel(now=True)


def _answers(manager: Any, modules: Sequence[str]) -> Iterator[str]:
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=TIMEOUT_S)
        expressions = {module: f"__import__({module!r}) and None" for module in modules}
        request = client.execute("", user_expressions={**expressions, "": "1 + 1"})
        content = _reply(manager, client, request)["user_expressions"]
        answer = content.pop("")
        if answer.get("data", {}).get("text/plain") != "2":
            yield f"a kernel does not compute 1 + 1: {answer}"
        for module, found in content.items():
            if found["status"] != "ok":
                yield f"import {module} fails: {found['ename']}: {found['evalue']}"
    finally:
        client.stop_channels()


def _reply(manager: Any, client: Any, request: str) -> dict[str, Any]:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            message = client.get_shell_msg(timeout=1)
        except Empty:
            if not manager.is_alive():
                raise RuntimeError("the kernel ended while it imported modules") from None
            continue
        if message["parent_header"].get("msg_id") == request:
            content: dict[str, Any] = message["content"]
            return content
    raise TimeoutError(f"the kernel does not answer within {TIMEOUT_S} s")


def main() -> int:
    """Print the problems."""
    os.chdir("/")
    found = list(problems(sys.argv[1], sys.argv[2:]))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
