"""A hub with Pebble, Let's Encrypt's test server, which validates challenges for real."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from littlest_hub.proxy.https import certified_names, fetch_certificate
from tests.certificates import make
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine
from tests.server import Server

CONFIGURATION = {
    "listenAddress": "127.0.0.1:14000",
    "managementListenAddress": "127.0.0.1:15000",
    "certificate": "/etc/pebble/127.0.0.1.crt",
    "privateKey": "/etc/pebble/127.0.0.1.key",
    "httpPort": 80,
    "tlsPort": 443,
    "ocspResponderURL": "",
    "externalAccountBindingRequired": False,
}
LIFETIME_S = 900
"""So short that certificates are due for renewal at once. traefik checks when it starts."""
FRAGMENT = """
c.HubProxy.domains = {domains!r}
c.HubProxy.acme_email = "admin@example.org"
c.HubProxy.acme_challenge = {challenge!r}
c.HubProxy.acme_dns_provider = {provider!r}
c.HubProxy.acme_directory = "https://127.0.0.1:14000/dir"
c.HubProxy.acme_ca_file = "/etc/pebble/127.0.0.1.crt"
resolver = {{"certificatesDuration": 1}}
if {provider!r}:
    # example.org is not delegated to this name server.
    resolver["dnsChallenge"] = {{"propagation": {{"disableChecks": True}}}}
c.HubProxy.extra_static_config = {{"certificatesResolvers": {{"acme": {{"acme": resolver}}}}}}
"""


@contextlib.contextmanager
def hub_with_authority(installer: Path, directory: Path) -> Iterator[Hub]:
    """Run a hub on a machine of its own, with an authority and a name server that resolves to it.

    Args:
        installer: of the hub.
        directory: for files.
    """
    with Machine("bookworm", packages=["pebble"]) as machine:
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "boss"})
        hub.write_fragment("11-everybody.py", "c.Authenticator.allow_all = True\n")
        hub.reload()
        start_authority(machine, directory, machine.address)
        yield hub


def start_authority(
    server: Server, directory: Path, address: str, *, days: float = 2, lifetime_s: int = LIFETIME_S
) -> None:
    """Start an authority and a name server on a machine that has the package `pebble`.

    Args:
        server: the machine.
        directory: for files.
        address: what all names resolve to.
        days: how long the authority can be reached, by its own certificate.
        lifetime_s: of the certificates that it issues.
    """
    for file in make(directory, "127.0.0.1", days=(-1, days)):
        server.put(f"/etc/pebble/{file.name}", file.read_text())
    configuration = {**CONFIGURATION, "certificateValidityPeriod": lifetime_s}
    server.put("/etc/pebble/config.json", json.dumps({"pebble": configuration}))
    server.put("/etc/resolv.conf", "nameserver 127.0.0.1\n")
    off = [f"-{each}=" for each in ("http01", "https01", "tlsalpn01", "defaultIPv6")]
    names = ["pebble-challtestsrv", *off, "-dns01=127.0.0.1:53", "-management=127.0.0.1:8055"]
    names.append(f"-defaultIPv4={address}")
    ask = ["pebble", "-config=/etc/pebble/config.json", "-dnsserver=127.0.0.1:53", "-strict"]
    settings = ["--setenv=PEBBLE_VA_NOSLEEP=1", "--setenv=PEBBLE_WFE_NONCEREJECT=0"]
    for command in (names, [*settings, *ask]):
        server.run(["systemd-run", "--quiet", *command])


def obtain(
    hub: Hub, challenge: str, *domains: str, provider: str = "", timeout_s: float = 60
) -> None:
    """Make the hub obtain a certificate; return when visitors get it."""
    text = FRAGMENT.format(domains=list(domains), challenge=challenge, provider=provider)
    hub.write_fragment("20-https.py", text)
    hub.reload()
    name = domains[0].replace("*", "any")
    found = f"a certificate for {domains[0]}"
    eventually(lambda: domains[0] in names(hub, name), timeout_s, found)


def names(hub: Hub, name: str) -> list[str]:
    """Return the names in the certificate that a visitor of `name` gets."""
    found = fetch_certificate(443, name, hub.machine.address)
    return certified_names(found) if found else []


def authority(hub: Hub, what: str = "roots") -> str:
    """Return the authority's certificates; Pebble makes new ones at each start."""
    script = (
        "import ssl, urllib.request as u; c = ssl._create_unverified_context();"
        f"print(u.urlopen('https://127.0.0.1:15000/{what}/0', context=c).read().decode())"
    )
    return hub.machine.run([hub.path("hub/bin/python3"), "-c", script]).stdout
