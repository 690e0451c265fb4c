"""The proxy's configuration, applied and kept current: static configuration, port and HTTPS."""

from __future__ import annotations

import asyncio
import contextlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traitlets.config import Config
from traitlets.log import get_logger

from littlest_hub.errors import LittlestHubError
from littlest_hub.hub.proxy import HubProxy
from littlest_hub.installation import release_of_this_interpreter
from littlest_hub.layout import Layout
from littlest_hub.proxy.certificates import default_certificate
from littlest_hub.proxy.configuration import (
    merge_static_config,
    ready_config,
    static_config,
    value_at,
)
from littlest_hub.proxy.generation import Traefik
from littlest_hub.proxy.https import CertificatePair, Https, https_from, make_default_certificate
from littlest_hub.proxy.supervisor import CANDIDATE
from littlest_hub.system.files import fingerprint, write
from littlest_hub.system.systemctl import is_active, show, systemctl
from littlest_hub.system.tcp import describe_listener, listeners
from littlest_hub.system.toml import read_toml, to_toml
from littlest_hub.units.entry_points import HTTPS_ENTRY_POINT

if TYPE_CHECKING:
    from littlest_hub.units.environment import UnitEnvironment

UPDATE_INTERVAL_MS = 2000
"""Interval at which the hub checks whether a certificate was replaced, or has been obtained."""


class ProxyConfiguration:
    """Static configuration, certificate, HTTPS port, and the redirect from http to https.

    Args:
        layout: whose proxy.
        https: as fragments configure it; None: no HTTPS.
        static: text of the static configuration.
    """

    def __init__(self, layout: Layout, https: Https | None, static: str) -> None:
        self.layout = layout
        self.https = https
        self.is_changed = False
        """True if the proxy ran with another static configuration before."""
        self._static = static
        self._is_applied = False
        self._pair: CertificatePair | None = None
        """The default certificate; with ACME, until one has been obtained."""
        self._is_waiting = https is not None
        """True while visitors do not get the right certificate yet."""
        self._seen = self._fingerprints()
        self._used: tuple[object, ...] | None = None
        """Fingerprints of the files that are in use."""
        self.last_error = ""
        """The reason for which the proxy has another configuration, or an earlier certificate."""

    # --- when the configuration changes

    def apply(self) -> None:
        """Make the proxy run with this configuration.

        Raises:
            LittlestHubError: it cannot, and goes on with the one before.
        """
        layout = self.layout
        files = (layout.https_config, layout.redirect_config)
        was_open = layout.https_marker.exists()
        before: dict[Path, str | None] = {}
        try:
            before = {file: file.read_text() if file.exists() else None for file in files}
            # Users who are redirected stay so; another name of the hub does not change this.
            was_redirecting = was_open and before[layout.redirect_config] is not None
            self._write(was_open=was_open, was_redirecting=was_redirecting)
        except (LittlestHubError, OSError) as error:
            with contextlib.suppress(OSError):
                if not was_open:
                    self._close_port()
                for file, text in before.items():
                    file.unlink(missing_ok=True) if text is None else write(file, text)
            self.last_error = _message(error)
            if isinstance(error, LittlestHubError):
                raise
            raise LittlestHubError(self.last_error) from error
        self._is_applied = True
        if self.https:
            with contextlib.suppress(OSError):  # `update` tries again and reports why
                self._start_redirecting()
        else:
            if was_open:
                self._close_port()
            layout.https_config.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a full disk; traefik then makes its own
            self._provide_default_certificate()

    def restore(self) -> None:
        """Apply it again, after a hub that failed may have applied another one."""
        try:
            self.apply()
        except LittlestHubError as error:
            get_logger().error("%s", error)

    def _write(self, *, was_open: bool, was_redirecting: bool) -> None:
        layout, https = self.layout, self.https
        address = _https_address(layout)
        fingerprints = self._fingerprints()
        dynamic = self._https_config()
        self._used = fingerprints
        if self._pair:
            layout.default_certificate_config.unlink(missing_ok=True)
        if https:
            # An administrator may remove it to obtain all certificates again; the proxy's unit
            # makes it the proxy's.
            layout.acme.mkdir(mode=0o700, parents=True, exist_ok=True)
            write(layout.https_config, dynamic)
            if not (was_open and self._is_listening(https)):
                self._open_port(https)
        else:
            self._set_redirect(False)
        self.is_changed = _apply_static_config(layout, self._static)
        self._set_redirect(bool(https) and was_redirecting and address == _https_address(layout))

    def _provide_default_certificate(self) -> None:
        """Write a default certificate, unless another file has one.

        Without one, traefik makes one (RSA, 2048 bits) with every change of routes: nine tenths of
        its work with ten routes, 50 ms.
        """
        file = self.layout.default_certificate_config
        others = [other for other in file.parent.glob("*.toml") if other != file]
        # traefik takes the first of two, and warns of the second at every change.
        if any(default_certificate(other) for other in others):
            file.unlink(missing_ok=True)
        elif not file.exists():
            write(file, to_toml(make_default_certificate().dynamic_config()))

    def _https_config(self) -> str:
        """Read the certificate and return the text of `layout.https_config`."""
        https = self.https
        if not https:
            return ""
        self._pair = self.read_certificate()
        if https.acme and https.acme.ca_file:
            write(self.layout.acme_ca, Path(https.acme.ca_file).read_text())
        return to_toml(https.dynamic_config(self._pair))

    def read_certificate(self) -> CertificatePair | None:
        """Return the certificate for HTTPS; None: there is none yet.

        Raises:
            LittlestHubError: it cannot be used.
        """
        try:
            if self.https and self.https.files:
                return CertificatePair.read(*self.https.files)
            return CertificatePair.from_config(self.layout.https_config)
        except ValueError as error:
            raise LittlestHubError(f"HTTPS: {error}") from error

    def refusal(self, directory: Path, dynamic: Mapping[str, Any]) -> str:
        """Return why traefik does not start with the configuration; "": it does.

        Args:
            directory: an empty one, for files of the attempt.
            dynamic: what fragments add to the dynamic configuration.
        """
        static = tomllib.loads(self._static)
        # An attempt obtains no certificates.
        static.pop("certificatesResolvers", None)
        for entry_point in static["entryPoints"].values():
            if "tls" in entry_point.get("http", {}):
                entry_point["http"]["tls"] = {}
        static["providers"]["file"]["directory"] = str(directory / "dynamic")
        write(directory / "dynamic" / "ready.toml", to_toml(ready_config()))
        extra = directory / "dynamic" / "extra_dynamic_config.toml"
        write(extra, to_toml(dict(dynamic)))
        write(directory / "traefik.toml", to_toml(static))
        program = release_of_this_interpreter() / "bin" / "traefik"
        reason = Traefik(program, directory).refusal(directory / "traefik.toml")
        # traefik's line: [...] error="[...] FILE: REASON" providerName=file
        return reason.rpartition(f"{extra}: ")[2].removesuffix('" providerName=file')

    def _is_listening(self, https: Https) -> bool:
        """Return whether systemd listens at the right port, which a drop-in may have changed."""
        is_taken = any(listener.port == https.port for listener in listeners())
        return is_taken and is_active(self.layout.proxy_https_socket)

    def _open_port(self, https: Https) -> None:
        """Make systemd listen at the port, and pass the sockets to the proxy's supervisor."""
        layout = self.layout
        if is_active(layout.proxy_https_socket):
            systemctl("stop", layout.proxy_https_socket, is_checked=False)
        if who := describe_listener(https.port):
            raise LittlestHubError(
                f"HTTPS: port {https.port} is taken by {who}",
                f"See: ss -ltnp 'sport = :{https.port}'",
            )
        write(layout.https_marker, "")
        if not is_active(layout.proxy_service):
            return
        # systemd starts no socket of a service that runs. traefik runs on meanwhile.
        systemctl("restart", layout.proxy_service, is_checked=False)
        if not self._is_listening(https):
            raise LittlestHubError(
                f"HTTPS: {layout.proxy_https_socket} does not listen at port {https.port}",
                f"See: systemctl status {layout.proxy_https_socket}",
            )

    def _close_port(self) -> None:
        layout = self.layout
        layout.https_marker.unlink(missing_ok=True)
        if is_active(layout.proxy_https_socket):
            systemctl("stop", layout.proxy_https_socket, is_checked=False)
            if is_active(layout.proxy_service):
                systemctl("restart", layout.proxy_service, is_checked=False)

    def _set_redirect(self, is_on: bool) -> None:
        file = self.layout.redirect_config
        if self.https and is_on:
            write(file, to_toml(self.https.redirect_config()))
        else:
            file.unlink(missing_ok=True)

    def _start_redirecting(self) -> bool:
        """Redirect to HTTPS if visitors get the right certificate; return whether they do."""
        https = self.https
        self._is_waiting = True
        if not https or not https.is_served(self._pair):
            return False
        if https.acme:
            write(self.layout.https_config, to_toml(https.dynamic_config(None)))
            self._pair = None
            self._provide_default_certificate()
        self._set_redirect(True)
        self._is_waiting = False
        return True

    # --- from then on

    def _fingerprints(self) -> tuple[object, ...]:
        return tuple(map(fingerprint, self.https.files if self.https and self.https.files else ()))

    async def update(self) -> None:
        """Load files that were replaced; redirect to HTTPS as soon as there is a certificate."""
        try:
            await self._update()
        except (LittlestHubError, OSError) as error:
            message = _message(error)
            if message != self.last_error:
                get_logger().error("%s; the configuration before it stays in use", message)
            self.last_error = message

    async def _update(self) -> None:
        if not self.https:
            return
        log, loop = get_logger(), asyncio.get_running_loop()
        may_redirect = self._is_waiting and self._is_applied
        if may_redirect and await loop.run_in_executor(None, self._start_redirecting):
            log.info("HTTPS: visitors get the certificate; http leads to https from now on")
        fingerprints = self._fingerprints()
        # Unchanged since the last look: both files have been written.
        is_settled, self._seen = fingerprints == self._seen, fingerprints
        if not is_settled or fingerprints == self._used:
            return
        if self._is_applied:
            if write(self.layout.https_config, self._https_config()):
                log.info("HTTPS: a certificate was replaced")
        else:
            await loop.run_in_executor(None, self.apply)
            log.info("HTTPS: the certificate can be used by now")
        self._used, self.last_error = fingerprints, ""


def proxy_configuration(
    layout: Layout, c: Config, unit: UnitEnvironment
) -> ProxyConfiguration | None:
    """Return our configuration of the proxy with the additions of the fragments.

    Args:
        layout: whose proxy.
        c: the configuration, fragments included.
        unit: where the proxy listens.

    Returns:
        None: another proxy class is configured.

    Raises:
        LittlestHubError: the fragments change what is ours, or contradict themselves.
    """
    proxy_class = c.JupyterHub.get("proxy_class")
    if not (isinstance(proxy_class, type) and issubclass(proxy_class, HubProxy)):
        return None
    # As if it were to start traefik: otherwise it would look for a running one at once.
    proxy = HubProxy(config=c, should_start=True)
    https = https_from(c.JupyterHub, proxy, unit.https_port, host=unit.public_host)
    ours = static_config(
        public=f"{unit.public_host}:{unit.public_port}",
        api=unit.proxy_api,
        dynamic_config=layout.dynamic_config,
        https=https.entry_point() if https else None,
        trusted_proxies=proxy.trusted_proxies,
    )
    if https and https.acme:
        ours["certificatesResolvers"] = https.acme.resolvers(layout)
    try:
        static = to_toml(merge_static_config(ours, proxy.extra_static_config))
    except TypeError as error:
        raise LittlestHubError(f"c.HubProxy.extra_static_config: {error}") from error
    return ProxyConfiguration(layout, https, static)


def _message(error: LittlestHubError | OSError) -> str:
    if isinstance(error, LittlestHubError):
        return error.message
    return f"HTTPS: {error.filename or 'the configuration of the proxy'}: {error.strerror}"


def _https_address(layout: Layout) -> Any:
    """Return the address of HTTPS in the static configuration on disk; None: it has none."""
    try:
        configuration = read_toml(layout.static_config)
    except (OSError, ValueError):
        return None
    return value_at(configuration, ("entryPoints", HTTPS_ENTRY_POINT, "address"))


def _apply_static_config(layout: Layout, text: str) -> bool:
    """Make the proxy run with a static configuration; return whether it ran with another one."""
    file = layout.static_config
    candidate = file.with_name(CANDIDATE)
    # Left by a hub that was killed.
    candidate.unlink(missing_ok=True)
    if file.is_file() and file.read_text() == text:
        return False
    try:
        # A proxy that does not run reads it when it starts.
        if is_active(layout.proxy_service):
            write(candidate, text)
            _reload_proxy(layout)
        write(file, text)
    finally:
        candidate.unlink(missing_ok=True)
    return True


def _reload_proxy(layout: Layout) -> None:
    try:
        systemctl("reload", layout.proxy_service)
    except LittlestHubError as error:
        status = show(layout.proxy_service, "StatusText")
        reason = status.partition("not reloaded: ")[2] or error.message
        raise LittlestHubError(
            f"The proxy goes on as it was: {reason}",
            f"See c.HubProxy.extra_static_config, and: journalctl -u {layout.proxy_service}",
        ) from error
