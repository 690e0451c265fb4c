"""What visitors meet before any route: traefik's static configuration, and HTTPS."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traitlets.config import Config
from traitlets.log import get_logger

from littlest_hub.errors import LittlestHubError
from littlest_hub.hub.proxy import HubProxy
from littlest_hub.layout import Layout
from littlest_hub.proxy.https import Https, Pair, state_of, wanted
from littlest_hub.proxy.supervisor import CANDIDATE, MAKESHIFT
from littlest_hub.system.files import write
from littlest_hub.system.tcp import listeners, who_listens
from littlest_hub.system.toml import read_toml, to_toml
from littlest_hub.units.proxy import (
    API_ENTRY_POINT,
    HTTPS_ENTRY_POINT,
    PUBLIC_ENTRY_POINT,
    READY_ENTRY_POINT,
    static_config,
)

if TYPE_CHECKING:
    from littlest_hub.hub.config import Surroundings

_MAKESHIFT_YEARS = 20
FRONT_LOOKED_AT_MS = 2000
"""How often the hub looks whether a certificate was replaced, or is there at last."""
# What hub and supervisor rely on: not for c.HubProxy.extra_static_config to change.
_OURS = (
    ("api", "basePath"),
    ("entryPoints", PUBLIC_ENTRY_POINT, "address"),
    ("entryPoints", HTTPS_ENTRY_POINT, "address"),
    ("entryPoints", API_ENTRY_POINT),
    ("entryPoints", READY_ENTRY_POINT),
    ("providers", "file"),
)


class Front:
    """What visitors meet before any route: entry points, certificate, the way from http to https.

    Args:
        layout: whose proxy.
        https: what fragments ask for; None: no HTTPS.
        static: text of the static configuration.
    """

    def __init__(self, layout: Layout, https: Https | None, static: str) -> None:
        self.layout = layout
        self.https = https
        self.is_changed = False
        """Whether the proxy ran with another static configuration before."""
        self._static = static
        self._is_applied = False
        self._pair: Pair | None = None
        """What visitors get, or, with ACME, what they get until there is something better."""
        self._is_waiting = https is not None
        """Whether visitors do not get yet what they should."""
        self._seen = self._state()
        self._used: tuple[object, ...] | None = None
        """The state of files that were read and fit."""
        self._complaint = ""

    # --- when the configuration changes

    def apply(self) -> None:
        """Have the proxy run with this, or go on as it is.

        Raises:
            LittlestHubError: why it goes on as it is.
        """
        layout, https = self.layout, self.https
        files = (layout.https_config, layout.redirect_config)
        was_on = layout.https_marker.exists()
        was_at = _https_address(layout)
        before: dict[Path, str | None] = {}
        try:
            before = {file: file.read_text() if file.exists() else None for file in files}
            seen = self._state()
            dynamic = self._dynamic()
            self._used = seen
            if self._pair:
                layout.default_certificate_config.unlink(missing_ok=True)
            if https:
                # Whoever wants all certificates anew removes it; the proxy's when it starts.
                layout.acme.mkdir(mode=0o700, parents=True, exist_ok=True)
                write(layout.https_config, dynamic)
                if not (was_on and self._is_heard(https)):
                    self._listen(https)
            else:
                self._redirect(False)
            self.is_changed = _apply_static_config(layout, self._static)
            # Once people are led there, they are; a name that is new does not change this.
            is_led = was_on and before[layout.redirect_config] is not None
            self._redirect(bool(https) and is_led and was_at == _https_address(layout))
        except (LittlestHubError, OSError) as error:
            with contextlib.suppress(OSError):
                if not was_on:
                    self._close()
                for file, text in before.items():
                    file.unlink(missing_ok=True) if text is None else write(file, text)
            self._complaint = _said_of(error)
            if isinstance(error, LittlestHubError):
                raise
            raise LittlestHubError(self._complaint) from error
        self._is_applied = True
        if https:
            with contextlib.suppress(OSError):  # `look_after` tries again and says why
                self._lead()
        else:
            if was_on:
                self._close()
            layout.https_config.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a full disk; traefik then makes its own
            self._provide_makeshift()

    def _provide_makeshift(self) -> None:
        """Have a certificate for whoever gets no other, unless there is another for them.

        traefik would make one (RSA, 2048 bits) with every change of routes: nine tenths of its work
        with ten of them, 50 ms.
        """
        makeshift = self.layout.default_certificate_config
        others = [file for file in makeshift.parent.glob("*.toml") if file != makeshift]
        # The first of two counts, and traefik warns of the second at every change.
        if any(_has_default_certificate(file) for file in others):
            makeshift.unlink(missing_ok=True)
        elif not makeshift.exists():
            write(makeshift, to_toml(makeshift_certificate()))

    def _dynamic(self) -> str:
        https = self.https
        if not https:
            return ""
        try:
            if https.files:
                self._pair = Pair.read(*https.files)
            else:
                self._pair = Pair.configured(self.layout.https_config)
            if https.acme and https.acme.ca_file:
                write(self.layout.acme_ca, Path(https.acme.ca_file).read_text())
        except ValueError as error:
            raise LittlestHubError(f"HTTPS: {error}") from error
        return to_toml(https.dynamic(self._pair))

    def _is_heard(self, https: Https) -> bool:
        """Whether systemd listens where it should: a drop-in may have moved the port."""
        is_taken = any(listener.port == https.port for listener in listeners())
        return is_taken and _is_active(self.layout.proxy_https_socket)

    def _listen(self, https: Https) -> None:
        """Have systemd listen at the port, and the proxy's supervisor get the sockets."""
        layout = self.layout
        if _is_active(layout.proxy_https_socket):
            _systemctl("stop", layout.proxy_https_socket)
        if who := who_listens(https.port):
            raise LittlestHubError(
                f"HTTPS: port {https.port} is taken by {who}",
                f"See: ss -ltnp 'sport = :{https.port}'",
            )
        write(layout.https_marker, "")
        if not _is_active(layout.proxy_service):
            return
        # systemd starts no socket under a service that runs. traefik runs on meanwhile.
        _systemctl("restart", layout.proxy_service)
        if not self._is_heard(https):
            raise LittlestHubError(
                f"HTTPS: {layout.proxy_https_socket} does not listen at port {https.port}",
                f"See: systemctl status {layout.proxy_https_socket}",
            )

    def _close(self) -> None:
        layout = self.layout
        layout.https_marker.unlink(missing_ok=True)
        if _is_active(layout.proxy_https_socket):
            _systemctl("stop", layout.proxy_https_socket)
            if _is_active(layout.proxy_service):
                _systemctl("restart", layout.proxy_service)

    def _redirect(self, is_wanted: bool) -> None:
        file = self.layout.redirect_config
        if self.https and is_wanted:
            write(file, to_toml(self.https.redirection()))
        else:
            file.unlink(missing_ok=True)

    def _lead(self) -> bool:
        """Lead to HTTPS, if visitors get there what they should; returns whether."""
        https = self.https
        self._is_waiting = True
        if not https or not https.is_served(self._pair):
            return False
        if https.acme:
            write(self.layout.https_config, to_toml(https.dynamic(None)))
            self._pair = None
            self._provide_makeshift()
        self._redirect(True)
        self._is_waiting = False
        return True

    # --- from now on

    def _state(self) -> tuple[object, ...]:
        return state_of(self.https.files) if self.https and self.https.files else ()

    async def look_after(self) -> None:
        """Take up files that were replaced, and lead to HTTPS as soon as there is a certificate."""
        try:
            await self._look()
        except (LittlestHubError, OSError) as error:
            said = _said_of(error)
            if said != self._complaint:
                get_logger().error("%s; what was there before goes on", said)
            self._complaint = said

    async def _look(self) -> None:
        if not self.https:
            return
        log, loop = get_logger(), asyncio.get_running_loop()
        if self._is_waiting and self._is_applied and await loop.run_in_executor(None, self._lead):
            log.info("HTTPS: visitors get the certificate; http leads to https from now on")
        state = self._state()
        # As last time: whoever replaces them has written both.
        is_settled, self._seen = state == self._seen, state
        if not is_settled or state == self._used:
            return
        if self._is_applied:
            if write(self.layout.https_config, self._dynamic()):
                log.info("HTTPS: a certificate was replaced")
        else:
            await loop.run_in_executor(None, self.apply)
            log.info("HTTPS: the certificate can be used by now")
        self._used, self._complaint = state, ""


def makeshift_certificate() -> dict[str, Any]:
    """The dynamic configuration with a certificate like the one that traefik makes itself."""
    # Not when the hub starts: it takes 50 ms to import.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    # By its name the supervisor knows it, and traefik too.
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, MAKESHIFT)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365 * _MAKESHIFT_YEARS))
        .sign(key, hashes.SHA256())
    )
    pair = {
        "certFile": certificate.public_bytes(Encoding.PEM).decode(),
        "keyFile": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    }
    return {"tls": {"stores": {"default": {"defaultCertificate": pair}}}}


def _has_default_certificate(file: Path) -> bool:
    try:
        text = file.read_text()
        if "defaultCertificate" not in text:
            return False
        stores = tomllib.loads(text)["tls"]["stores"]
        return "defaultCertificate" in stores.get("default", {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def front_of(layout: Layout, c: Config, surroundings: Surroundings) -> Front | None:
    """What the configuration says of the proxy: ours, and what the fragments add to it.

    Args:
        layout: whose proxy.
        c: the configuration, fragments included.
        surroundings: where the proxy listens.

    Returns:
        What is to be applied, and looked after from then on; None: the proxy is not ours.

    Raises:
        LittlestHubError: the fragments change what is ours, or contradict themselves.
    """
    if not _is_ours(c.JupyterHub.get("proxy_class")):
        return None
    # As if it were to start traefik: otherwise it would look for one at once.
    proxy = HubProxy(config=c, should_start=True)
    https = wanted(c.JupyterHub, proxy, surroundings.https_port, host=surroundings.public_host)
    ours = static_config(
        public=f"{surroundings.public_host}:{surroundings.public_port}",
        api=surroundings.proxy_api,
        dynamic_config=layout.dynamic_config,
        https=https.entry_point() if https else None,
        trusted_proxies=proxy.trusted_proxies,
    )
    if https and https.acme:
        ours["certificatesResolvers"] = https.acme.static(layout)
    return Front(layout, https, to_toml(merged(ours, proxy.extra_static_config)))


def _said_of(error: LittlestHubError | OSError) -> str:
    if isinstance(error, LittlestHubError):
        return error.message
    return f"HTTPS: {error.filename or 'the configuration of the proxy'}: {error.strerror}"


def _https_address(layout: Layout) -> object:
    """Where the static configuration on disk has HTTPS; None: nowhere."""
    try:
        configuration = read_toml(layout.static_config)
    except (OSError, ValueError):
        return None
    return _at(configuration, ("entryPoints", HTTPS_ENTRY_POINT, "address"))


def _apply_static_config(layout: Layout, text: str) -> bool:
    """Returns whether the proxy ran with another one before."""
    file = layout.static_config
    candidate = file.with_name(CANDIDATE)
    # Of a hub that was killed while it tried one.
    candidate.unlink(missing_ok=True)
    if file.is_file() and file.read_text() == text:
        return False
    try:
        if _is_active(layout.proxy_service):
            write(candidate, text)
            _reload_proxy(layout)
        # Otherwise it starts with it when it starts.
        write(file, text)
    finally:
        candidate.unlink(missing_ok=True)
    return True


def merged(ours: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Our static configuration with what a fragment adds, in our spelling: traefik has no case.

    Raises:
        LittlestHubError: it changes what hub and supervisor rely on.
    """
    result: dict[str, Any] = _merged(ours, extra, ())
    # Not in `extra` alone: a table may be replaced by something that is none.
    for path in _OURS:
        # Without HTTPS of ours, an entry point of that name is anybody's.
        is_free = path[:2] == ("entryPoints", HTTPS_ENTRY_POINT) and not _at(ours, path)
        if _at(result, path) != _at(ours, path) and not is_free:
            raise LittlestHubError(
                f"c.HubProxy.extra_static_config: {'.'.join(path)} is not for fragments to change",
                "Addresses: change ListenStream= of the socket unit",
            )
    return result


def _merged(ours: Any, extra: Any, path: tuple[str, ...]) -> Any:
    if not isinstance(ours, dict):
        return extra
    if not isinstance(extra, dict):
        where = ".".join(path) or "the whole"
        raise LittlestHubError(
            f"c.HubProxy.extra_static_config: {where}: expected a dict, not {extra!r}"
        )
    result = dict(ours)
    spelled = {name.casefold(): name for name in ours}
    for name, value in extra.items():
        ours_too = spelled.get(str(name).casefold(), str(name))
        result[ours_too] = _merged(ours.get(ours_too), value, (*path, ours_too))
    return result


def _at(config: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        config = config.get(name) if isinstance(config, dict) else None
    return config


def _is_ours(proxy_class: Any) -> bool:
    return isinstance(proxy_class, type) and issubclass(proxy_class, HubProxy)


def _reload_proxy(layout: Layout) -> None:
    reload = _systemctl("reload", layout.proxy_service)
    if reload.returncode:
        status = _systemctl("show", "--property=StatusText", "--value", layout.proxy_service)
        _, _, reason = status.stdout.strip().partition("not reloaded: ")
        raise LittlestHubError(
            f"The proxy goes on as it was: {reason or reload.stderr.strip()}",
            f"See c.HubProxy.extra_static_config, and: journalctl -u {layout.proxy_service}",
        )


def _is_active(unit: str) -> bool:
    return _systemctl("is-active", "--quiet", unit).returncode == 0


def _systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemctl", *arguments], capture_output=True, text=True)
