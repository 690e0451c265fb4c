"""The certificate that a server presents.

This module uses no third-party libraries, because a supervisor uses it too.
"""

from __future__ import annotations

import socket
import ssl


def presented_certificate(
    address: tuple[str, int], server_name: str, timeout_s: float = 2
) -> bytes | None:
    """Return the certificate that a visitor of `server_name` gets, without verifying it.

    Args:
        address: host and TCP port to connect to.
        server_name: the name in the address that is visited (SNI, RFC 6066).
        timeout_s: how long the connection may take.

    Returns:
        The certificate as DER; None: no TLS there, or no certificate for that name.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(address, timeout_s) as connection,
            context.wrap_socket(connection, server_hostname=server_name) as secured,
        ):
            return secured.getpeercert(binary_form=True)
    except OSError:
        return None
