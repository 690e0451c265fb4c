"""All changes to the code of IPython kernels, of whatever environment, version, and Python.

`kernels` passes this file to them as `--config`, which each executes before it opens its sockets.
So it imports only what every such kernel has, and its syntax is that of Python 3.6. With code that
it does not know, it changes nothing.
"""

import contextlib
import inspect
import os
import runpy
import socket
from pathlib import Path
from typing import Any, Tuple  # noqa: UP035


def pipe_on_unix_socket() -> None:
    """Let a kernel's forked children send it their output over a Unix socket instead of TCP.

    Why: every user of the machine can connect to a TCP port, and fill the kernel's memory.
    Until: ipykernel's IOPubThread uses the transport of the kernel's other sockets.
    """
    import zmq
    from ipykernel.iostream import IOPubThread
    from zmq.eventloop.zmqstream import ZMQStream

    upstream_in, upstream_out = IOPubThread._setup_pipe_in, IOPubThread._setup_pipe_out
    known = (
        (upstream_in, "self._pipe_in = ZMQStream(pipe_in, self.io_loop)"),
        (upstream_in, 'bind_to_random_port("tcp://127.0.0.1")'),
        (upstream_out, 'connect("tcp://127.0.0.1:%i" % self._pipe_port)'),
    )
    if not all(code in inspect.getsource(function) for function, code in known):
        return

    def address(thread: Any) -> str:
        """Return the pipe's address, beside the socket to the server; "": that one is on TCP."""
        endpoint = thread.socket.getsockopt(zmq.LAST_ENDPOINT).decode().rstrip("\0")
        return str(endpoint) + "-pipe" if endpoint.startswith("ipc://") else ""

    def setup_pipe_in(self: Any) -> None:
        self._pipe_address = address(self)
        if not self._pipe_address:
            upstream_in(self)
            return
        self._pipe_uuid = os.urandom(16)
        pipe_in = self.socket.context.socket(zmq.PULL)
        pipe_in.linger = 0
        pipe_in.bind(self._pipe_address)
        self._pipe_in = ZMQStream(pipe_in, self.io_loop)
        self._pipe_in.on_recv(self._handle_pipe_msg)

    def setup_pipe_out(self: Any) -> Tuple[Any, Any]:  # noqa: UP006
        if not self._pipe_address:
            return upstream_out(self)  # type: ignore[no-any-return]
        context = zmq.Context()
        pipe_out = context.socket(zmq.PUSH)
        pipe_out.linger = 3000  # milliseconds, as upstream
        pipe_out.connect(self._pipe_address)
        return context, pipe_out

    IOPubThread._setup_pipe_in = setup_pipe_in
    IOPubThread._setup_pipe_out = setup_pipe_out


def debugger_of_one_user() -> None:
    """Let a kernel's debugger accept connections of its own user only (`debug_adapter`).

    Why: whoever connects to it may run programs as the user, and every user of the machine can.
    Until: debugpy and ipykernel use Unix sockets, or a secret.
    """
    from ipykernel import debugger

    if not debugger._is_debugpy_available:
        return
    # Rather no debugger, if it is one that this does not know.
    debugger._is_debugpy_available = False
    from debugpy import adapter
    from debugpy.common import sockets
    from debugpy.server import api

    source = inspect.getsource(api)
    if "os.path.dirname(adapter.__file__)" not in source or ".create_server(" not in source:
        return
    path = Path(__file__).with_name("debug_adapter.py")
    ours = runpy.run_path(str(path))
    ours["accept_only_own_user"](sockets)
    # debugpy executes the directory of this file; Python executes files as well.
    adapter.__file__ = str(path / "__main__.py")
    client = debugger.DebugpyClient
    upstream_connect = client.connect_tcp_socket

    def get_host_port(self: Any) -> Tuple[str, str]:  # noqa: UP006
        """Choose a port without listening there, as upstream does, for whoever connects first."""
        if self.debugpy_port == -1:
            with socket.socket() as probe:
                probe.bind((self.debugpy_host, 0))
                self.debugpy_port = str(probe.getsockname()[1])
        return self.debugpy_host, self.debugpy_port

    def connect_tcp_socket(self: Any) -> None:
        """Connect only to an adapter of this user's."""
        host, port = self.get_host_port()
        if ours["user_of"](socket.AF_INET, (host, int(port))) != os.getuid():
            raise RuntimeError("the debugger's port belongs to another user's program: try again")
        upstream_connect(self)

    client.get_host_port = get_host_port
    client.connect_tcp_socket = connect_tcp_socket
    debugger._is_debugpy_available = True


# A kernel of another kind has to start as well.
for patch in (pipe_on_unix_socket, debugger_of_one_user):
    with contextlib.suppress(ImportError, AttributeError, OSError, TypeError):
        patch()
