"""https to one host at addresses that were found permitted, whatever its name resolves to later."""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.resolver.limits import Deadline

Lookup = Callable[[str], tuple[str, ...]]
"""Returns the addresses of a host that may be connected to; raises LittlestHubError."""
_PORT = 443
_CONNECT_S = 5
"""Time limit of connecting to one address: another one of the host may answer."""
_READ_BYTES = 1 << 16
# Some servers decide by it whether they answer as git expects.
_HEADERS = {"User-Agent": "git/2.30 (Littlest Hub)", "Accept-Encoding": "identity"}
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Credentials:
    """A name and a password, or a token, which no message contains."""

    user: str
    password: str = field(repr=False)

    @property
    def header(self) -> dict[str, str]:
        """The header that sends them; RFC 7617."""
        both = f"{self.user}:{self.password}".encode()
        return {"Authorization": f"Basic {base64.b64encode(both).decode()}"}


class _Timed(ssl.SSLSocket):
    """A connection that may neither be silent for long, nor last for long."""

    deadline: Deadline | None = None

    def recv_into(self, buffer: object, nbytes: int | None = None, flags: int = 0) -> int:
        if self.deadline:
            self.settimeout(self.deadline.step_s())
        try:
            return super().recv_into(buffer, nbytes, flags)  # type: ignore[arg-type]
        except TimeoutError:
            if self.deadline:
                self.deadline.step_s()
            raise


class _Pinned(http.client.HTTPSConnection):
    """A connection to given addresses, with the certificate of the host verified."""

    def __init__(
        self,
        place: tuple[str, int],
        addresses: tuple[str, ...],
        tls: ssl.SSLContext,
        deadline: Deadline,
    ) -> None:
        super().__init__(*place, context=tls)
        self._addresses, self._tls, self._deadline = addresses, tls, deadline

    def connect(self) -> None:
        plain = self._connected()
        try:
            plain.settimeout(self._deadline.step_s())
            secured = self._tls.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise
        assert isinstance(secured, _Timed)
        secured.deadline = self._deadline
        self.sock = secured

    def _connected(self) -> socket.socket:
        failure: OSError | None = None
        for address in self._addresses:
            try:
                timeout_s = min(_CONNECT_S, self._deadline.step_s())
                # An address is not resolved again.
                return socket.create_connection((address, self.port), timeout_s)
            except OSError as error:
                failure = error
        raise failure or OSError("no address")


class Answer:
    """An answer of a server; its body is read as it comes."""

    def __init__(self, response: http.client.HTTPResponse, place: str) -> None:
        self._response, self._place = response, place
        self.status = response.status
        self.kind = (response.headers.get("Content-Type") or "").partition(";")[0].strip()

    def location(self, url: str) -> str:
        """Return where a redirect leads; "": it is none."""
        location = self._response.headers.get("Location") or ""
        try:
            return urljoin(url, location) if self.status in _REDIRECTS and location else ""
        except ValueError:
            return ""

    def parts(self) -> Iterator[bytes]:
        """Yield the body.

        Raises:
            LittlestHubError: the connection breaks, or is silent.
        """
        with _explained(self._place):
            while part := self._response.read1(_READ_BYTES):
                yield part
            if self._response.length:
                raise http.client.IncompleteRead(b"", self._response.length)


class Connections:
    """Connections to servers, each host resolved once.

    Args:
        lookup: resolves a host.
        ca_file: certificate authorities beside the usual ones; "": none.
        deadline: when everything has to have ended.
    """

    def __init__(self, lookup: Lookup, ca_file: str, deadline: Deadline) -> None:
        self._lookup, self._deadline = lookup, deadline
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._tls = ssl.create_default_context()
        self._tls.sslsocket_class = _Timed
        if ca_file:
            self._tls.load_verify_locations(ca_file)

    @contextlib.contextmanager
    def request(
        self, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Iterator[Answer]:
        """Ask a server.

        Args:
            url: an https one, which was found permitted.
            headers: of the request.
            body: what is posted; None: nothing.

        Raises:
            LittlestHubError: it cannot be reached, or breaks the rules of HTTP.
        """
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise LittlestHubError(f"{url[:80]!r}: expected https://")
        host, port = parts.hostname, parts.port or _PORT
        place = host if port == _PORT else f"{host}:{port}"
        if host not in self._addresses:
            self._addresses[host] = self._lookup(host)
        connection = _Pinned((host, port), self._addresses[host], self._tls, self._deadline)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            with _explained(place):
                method = "GET" if body is None else "POST"
                connection.request(method, target, body, {**_HEADERS, **headers})
                response = connection.getresponse()
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise LittlestHubError(f"{place} answered with an encoding that was not asked for")
            yield Answer(response, place)
        finally:
            connection.close()


@contextlib.contextmanager
def _explained(place: str) -> Iterator[None]:
    """Raise what goes wrong on a connection as a sentence."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise LittlestHubError(
            f"{place}: its certificate is not valid: {error.verify_message}",
            "If it is one of your own authority, name that one's file in the setting ca_file",
        ) from None
    except TimeoutError:
        raise LittlestHubError(f"{place} does not answer in time") from None
    except http.client.HTTPException as error:
        raise LittlestHubError(
            f"{place} breaks the rules of HTTP: {type(error).__name__}"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise LittlestHubError(f"{place}: {str(reason)[:200]!r}") from None
