"""HTTPS: its settings in fragments, traefik's configuration for it, and its certificates."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import shutil
import socket
import ssl
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from traitlets.config import Config

from littlest_hub.check import check_fragments
from littlest_hub.errors import LittlestHubError
from littlest_hub.hub.proxy import HubProxy
from littlest_hub.hub.proxy_configuration import ProxyConfiguration
from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.proxy.configuration import merge_static_config, static_config
from littlest_hub.proxy.https import (
    Acme,
    CertificatePair,
    Https,
    certified_names,
    https_from,
    is_domain,
    is_valid_for,
    validity_problem,
)
from littlest_hub.system.files import fingerprint
from littlest_hub.system.toml import to_toml
from tests.certificates import make
from tests.network import free_port

pytestmark = pytest.mark.unit

DIRECTORY = "https://ca.example.org/directory"
LAYOUT = Layout(DEFAULT_BASE)


def configured(**settings: Any) -> HubProxy:
    return HubProxy(config=Config({"HubProxy": settings}), should_start=True)


def https_of(hub: dict[str, str], port: int | None = 443, **settings: Any) -> Https | None:
    return https_from(hub, configured(**settings), port)


# --- settings


def test_https_is_off_unless_fragments_configure_it() -> None:
    assert https_of({}) is None
    assert https_of({}, acme_email="a@example.org") is None


def test_https_is_off_where_there_is_no_port_for_it() -> None:
    assert https_of({"ssl_cert": "/a", "ssl_key": "/b"}, port=None) is None


def test_a_certificate_comes_from_files_or_from_an_authority_but_not_both() -> None:
    files = {"ssl_cert": "/a", "ssl_key": "/b"}
    https = https_of(files)
    assert https
    assert (https.files, https.acme) == ((Path("/a"), Path("/b")), None)
    https = https_of({}, domains=["hub.example.org"])
    assert https
    assert https.files is None
    assert https.acme
    assert https.acme.directory == "https://acme-v02.api.letsencrypt.org/directory"
    with pytest.raises(LittlestHubError, match="one of the two"):
        https_of(files, domains=["hub.example.org"])
    with pytest.raises(LittlestHubError, match="both"):
        https_of({"ssl_cert": "/a"})


# --- traefik's configuration


@pytest.mark.parametrize(
    ("challenge", "provider", "key", "value"),
    [
        ("http-01", "", "httpChallenge", {"entryPoint": "http", "delay": "2s"}),
        ("tls-alpn-01", "", "tlsChallenge", {"delay": "2s"}),
        ("dns-01", "rfc2136", "dnsChallenge", {"provider": "rfc2136"}),
    ],
)
def test_each_challenge_becomes_the_matching_one_of_traefik(
    challenge: str, provider: str, key: str, value: Any
) -> None:
    acme = Acme(("a.org",), DIRECTORY, challenge=challenge, dns_provider=provider)
    written = acme.resolvers(LAYOUT)["acme"]["acme"]
    assert written[key] == value
    assert written["storage"] == "/opt/littlest-hub/state/proxy/acme/acme.json"
    assert sum(each.endswith("Challenge") for each in written) == 1


def test_the_key_of_an_external_account_is_in_no_representation() -> None:
    acme = Acme(("a.org",), DIRECTORY, eab=("id", "s3cr3t"))
    assert acme.resolvers(LAYOUT)["acme"]["acme"]["eab"] == {"kid": "id", "hmacEncoded": "s3cr3t"}
    assert "s3cr3t" not in repr(acme)


def test_the_https_entry_point_has_the_settings_of_http_plus_tls() -> None:
    https = Https(8443, None, Acme(("a.org", "b.org"), DIRECTORY), 60)
    written = static_config(
        public=":80",
        api="127.0.0.1:15002",
        dynamic_config=LAYOUT.dynamic_config,
        https=https.entry_point(),
    )
    http, secure = (written["entryPoints"][name] for name in ("http", "https"))
    assert secure.pop("address") == ":8443"
    assert http.pop("address") == ":80"
    assert "tls" not in http["http"]
    tls = secure["http"].pop("tls")
    assert tls["domains"] == [{"main": "a.org", "sans": ["b.org"]}]
    hsts = secure["http"]["middlewares"].pop()
    assert hsts == "littlest-hub-hsts@file"
    assert secure == http


def test_fragments_may_define_the_https_entry_point_only_while_https_is_off() -> None:
    extra = {"entryPoints": {"https": {"address": ":444"}}}
    assert (
        merge_static_config({"entryPoints": {}}, extra)["entryPoints"]["https"]["address"] == ":444"
    )
    ours = {"entryPoints": {"https": {"address": ":443"}}}
    with pytest.raises(LittlestHubError, match=r"entryPoints\.https\.address is not for fragments"):
        merge_static_config(ours, extra)


def test_certificate_and_key_are_written_into_one_file_and_read_back(tmp_path: Path) -> None:
    pair = CertificatePair.read(*make(tmp_path, "hub.example.org"))
    written = tomllib.loads(to_toml(Https(443, None, None, 60).dynamic_config(pair)))["tls"]
    default = written["stores"]["default"]["defaultCertificate"]
    assert (default["certFile"], default["keyFile"]) == (pair.certificate, pair.key)
    assert written["options"]["default"]["minVersion"] == "VersionTLS12"
    assert "PRIVATE KEY" not in repr(pair)


def test_the_redirect_to_https_is_not_permanent() -> None:
    (made,) = Https(8443, None, None, 60).redirect_config()["http"]["middlewares"].values()
    assert made == {"redirectScheme": {"scheme": "https", "port": "8443", "permanent": False}}


# --- applied


@pytest.fixture
def no_active_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace systemctl by one for which no unit is active."""
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text("#!/bin/sh\nexit 3\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{systemctl.parent}:{os.environ['PATH']}")


@contextlib.contextmanager
def served_at(port: int, files: tuple[Path, Path]) -> Iterator[None]:
    """Run a server that configured_leaf this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    with socket.create_server(("127.0.0.1", port)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection = listening.accept()[0]
                    with (
                        contextlib.suppress(OSError),
                        context.wrap_socket(connection, server_side=True) as visitor,
                    ):
                        visitor.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def update(configuration: ProxyConfiguration, times: int = 2) -> None:
    for _ in range(times):
        asyncio.run(configuration.update())


def configured_leaf(layout: Layout) -> x509.Certificate | None:
    """Return the default certificate in the dynamic configuration."""
    pair = CertificatePair.from_config(layout.https_config)
    return pair.leaf if pair else None


@pytest.mark.usefixtures("no_active_unit")
def test_a_certificate_that_was_unusable_at_the_start_is_loaded_once_it_is_repaired(
    layout: Layout, tmp_path: Path
) -> None:
    first, second = make(tmp_path, "first"), make(tmp_path, "second")
    files = (tmp_path / "tls.crt", tmp_path / "tls.key")
    shutil.copy(first[0], files[0])
    shutil.copy(second[1], files[1])
    configuration = ProxyConfiguration(layout, Https(free_port(), files, None, 60), "")
    with pytest.raises(LittlestHubError, match="is not the key of"):
        configuration.apply()
    update(configuration)
    assert not layout.https_marker.exists()
    shutil.copy(first[1], files[1])
    update(configuration)
    assert layout.https_marker.exists()
    assert configured_leaf(layout) == CertificatePair.read(*first).leaf
    # Once more, now that it is on.
    shutil.copy(second[0], files[0])
    update(configuration)
    assert configured_leaf(layout) == CertificatePair.read(*first).leaf
    shutil.copy(second[1], files[1])
    update(configuration)
    assert configured_leaf(layout) == CertificatePair.read(*second).leaf


@pytest.mark.usefixtures("no_active_unit")
def test_traefik_has_our_default_certificate_as_long_as_it_has_no_other(
    layout: Layout, tmp_path: Path
) -> None:
    default = layout.default_certificate_config
    ProxyConfiguration(layout, None, "").apply()
    made = default.read_text()
    ProxyConfiguration(layout, None, "").apply()
    assert default.read_text() == made  # once
    ProxyConfiguration(layout, Https(free_port(), make(tmp_path, "ours"), None, 60), "").apply()
    assert not default.exists()
    ProxyConfiguration(layout, None, "").apply()
    assert default.exists()
    # Of two, traefik takes the first, and warns.
    own = layout.dynamic_config / "own.toml"
    own.write_text('[tls.stores.default.defaultCertificate]\ncertFile = "/a"\nkeyFile = "/b"\n')
    ProxyConfiguration(layout, None, "").apply()
    assert not default.exists()


@pytest.mark.usefixtures("no_active_unit")
def test_http_redirects_to_https_only_once_visitors_get_the_right_certificate(
    layout: Layout, tmp_path: Path
) -> None:
    ours, other = make(tmp_path, "hub.example.org"), make(tmp_path, "other", "hub.example.org")
    port = free_port()
    configuration = ProxyConfiguration(layout, Https(port, ours, None, 60), "")
    configuration.apply()
    with served_at(port, other):
        update(configuration)
        assert not layout.redirect_config.exists()
    with served_at(port, ours):
        update(configuration)
        assert layout.redirect_config.exists()


@pytest.mark.usefixtures("no_active_unit")
def test_after_a_switch_from_files_to_acme_the_old_certificate_stays_until_one_is_obtained(
    layout: Layout, tmp_path: Path
) -> None:
    old, new = make(tmp_path, "old", "a.org", "b.org"), make(tmp_path, "new", "a.org", "b.org")
    port = free_port()
    before = Https(port, old, None, 60)
    static = to_toml({"entryPoints": {"https": {"address": f":{port}"}}})
    configuration = ProxyConfiguration(layout, before, static)
    configuration.apply()
    with served_at(port, old):
        update(configuration)
    after = Https(port, None, Acme(("a.org", "b.org"), DIRECTORY), 60)
    for _ in range(2):  # a hub that is restarted meanwhile
        configuration = ProxyConfiguration(layout, after, static)
        configuration.apply()
        with served_at(port, old):
            update(configuration)
        assert configured_leaf(layout) == CertificatePair.read(*old).leaf
        assert layout.redirect_config.exists()
    with served_at(port, new):
        update(configuration)
    assert configured_leaf(layout) is None
    assert layout.redirect_config.exists()
    # Another port: no redirect before it is known to work.
    moved = to_toml({"entryPoints": {"https": {"address": ":1"}}})
    ProxyConfiguration(layout, Https(free_port(), None, after.acme, 60), moved).apply()
    assert not layout.redirect_config.exists()


@pytest.mark.usefixtures("no_active_unit")
def test_a_configuration_that_cannot_be_written_changes_nothing_and_is_reported(
    layout: Layout, tmp_path: Path
) -> None:
    ours = make(tmp_path, "hub.example.org")
    layout.static_config.mkdir(parents=True)
    configuration = ProxyConfiguration(layout, Https(free_port(), ours, None, 60), "")
    with pytest.raises(LittlestHubError, match="Is a directory"):
        configuration.apply()
    assert not layout.https_marker.exists()
    assert not layout.https_config.exists()


# --- certificates


def test_a_certificate_and_key_that_do_not_match_are_refused_with_the_reason(
    tmp_path: Path,
) -> None:
    one, other = make(tmp_path, "one"), make(tmp_path, "other")
    for files, reason in (
        ((one[0], other[1]), "is not the key of"),
        ((one[0], one[0]), "holds no private key"),
        ((one[1], one[1]), "holds no certificate"),
        ((one[0], tmp_path / "none"), "No such file"),
        ((one[0], make(tmp_path, "locked", password=b"x")[1]), "passphrase"),
    ):
        with pytest.raises(ValueError, match=reason):
            CertificatePair.read(*files)


def test_a_certificate_is_valid_for_its_names_and_one_level_of_a_wildcard(tmp_path: Path) -> None:
    file, _ = make(tmp_path, "hub.example.org", "*.example.net", "192.0.2.1")
    leaf = CertificatePair(file.read_text(), "").leaf
    assert certified_names(leaf) == ["hub.example.org", "*.example.net", "192.0.2.1"]
    assert is_valid_for(leaf, "HUB.example.org")
    assert is_valid_for(leaf, "a.example.net")
    assert is_valid_for(leaf, "*.example.net")
    assert not is_valid_for(leaf, "b.a.example.net")
    assert not is_valid_for(leaf, "example.net")


def test_a_port_without_a_certificate_does_not_count_as_served() -> None:
    assert not Https(free_port(), None, Acme(("a.org",), DIRECTORY), 60).is_served(None)


def test_an_expired_or_future_certificate_is_a_problem(tmp_path: Path) -> None:
    leaf = CertificatePair(make(tmp_path, "hub.example.org", days=(-1, 1))[0].read_text(), "").leaf
    now = datetime.datetime.now(datetime.UTC)
    assert validity_problem(leaf) == ""
    assert "expired on" in validity_problem(leaf, now + datetime.timedelta(2))
    assert "not valid before" in validity_problem(leaf, now - datetime.timedelta(2))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hub.example.org", True),
        ("*.example.org", True),
        ("xn--bcher-kva.example", True),
        ("hub", False),
        ("hub.example.org.", False),
        ("-a.org", False),
        ("a_b.org", False),
        ("hub.*.org", False),
        ("10.0.0.1", False),
        ("https://hub.example.org", False),
        ("a" * 64 + ".org", False),
        ("a." * 126 + "org", False),
        ("hub.example.org\n", False),
    ],
)
def test_a_domain_is_a_name_that_an_authority_may_certify(name: str, expected: bool) -> None:
    assert is_domain(name) == expected


def test_a_file_that_is_replaced_or_removed_has_another_fingerprint(tmp_path: Path) -> None:
    files = make(tmp_path, "hub")
    seen = [fingerprint(files[0])]
    assert fingerprint(files[0]) == seen[0]
    files[0].write_text("x")
    seen.append(fingerprint(files[0]))
    files[0].unlink()
    seen.append(fingerprint(files[0]))
    assert len(set(seen)) == 3


# --- check


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "hub")
    layout.fragments.mkdir(parents=True)
    layout.state.mkdir()
    return layout


def problems(layout: Layout, text: str) -> list[str]:
    (layout.fragments / "20-https.py").write_text(text)
    return [f"{problem.line}: {problem.message}" for problem in check_fragments(layout).errors]


def test_an_expired_certificate_is_refused_with_its_line(layout: Layout, tmp_path: Path) -> None:
    for days, reason in (((-2, -1), "expired on"), ((1, 2), "clock")):
        certificate, key = make(tmp_path, "hub.example.org", days=days)
        text = f"c.JupyterHub.ssl_key = '{key}'\nc.JupyterHub.ssl_cert = '{certificate}'\n"
        (problem,) = problems(layout, text)
        assert problem.startswith(f"2: JupyterHub.ssl_cert: {certificate} ")
        assert reason in problem


def test_check_warns_of_a_domain_that_does_not_resolve(layout: Layout) -> None:
    text = "c.HubProxy.domains = [\n    'hub.invalid',\n]\n"
    (layout.fragments / "20-https.py").write_text(text)
    (warning,) = (p for p in check_fragments(layout).warnings if "hub.invalid" in p.message)
    assert "hub.invalid cannot be found" in warning.message
