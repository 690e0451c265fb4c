"""The file that the kernels of every environment execute."""

import ast
import contextlib
import os
import runpy
import socket
import sys
from pathlib import Path

import pytest

import littlest_hub
from tests.eventually import eventually

pytestmark = pytest.mark.unit

FILE = Path(littlest_hub.__file__).parent / "singleuser/kernel_patches.py"
ADAPTER = FILE.with_name("debug_adapter.py")


@pytest.mark.parametrize("file", [FILE, ADAPTER], ids=lambda file: file.name)
def test_its_syntax_and_its_imports_are_those_of_an_old_python_without_our_package(
    file: Path,
) -> None:
    tree = ast.parse(file.read_text(), feature_version=(3, 6))
    found = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) or ""
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    modules = {name.partition(".")[0] for name in found}
    assert modules <= {"debugpy", "ipykernel", "zmq", *sys.stdlib_module_names}


def test_it_changes_nothing_where_there_is_no_ipykernel() -> None:
    runpy.run_path(str(FILE))


class Sockets:
    """debugpy's module of sockets."""

    @staticmethod
    def create_server(host: str, port: int, timeout: float | None = None) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = socket.create_server((host, port), family=family)
        made.settimeout(timeout)
        return made


@pytest.mark.row(31)
@pytest.mark.needs("root")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_debugger_accepts_connections_of_its_own_user_only(host: str) -> None:
    adapter = runpy.run_path(str(ADAPTER))
    sockets = Sockets()
    adapter["accept_only_own_user"](sockets)
    with sockets.create_server(host, 0, timeout=30) as listening:
        assert listening.gettimeout() == 30
        address = listening.getsockname()[:2]
        assert adapter["user_of"](listening.family, address) == os.getuid()
        # It comes first.
        stranger = os.fork()
        if stranger == 0:
            os.setuid(65534)
            os._exit(_bytes_from(address))
        with socket.socket(listening.family) as own:
            listening.setblocking(False)
            eventually(lambda: _has_ended(stranger, listening), 30, "the stranger to be refused")
            listening.settimeout(30)
            own.connect(address)
            accepted, _ = listening.accept()
            with accepted:
                assert accepted.getpeername() == own.getsockname()


def _bytes_from(address: tuple[str, int]) -> int:
    """Connect, and return how many bytes come."""
    with contextlib.suppress(ConnectionResetError), socket.create_connection(address) as connection:
        return len(connection.recv(9))
    return 0


def _has_ended(stranger: int, listening: socket.socket) -> bool:
    with contextlib.suppress(BlockingIOError):
        listening.accept()
        raise RuntimeError("the stranger's connection was accepted")
    pid, status = os.waitpid(stranger, os.WNOHANG)
    assert status == 0
    return pid == stranger
