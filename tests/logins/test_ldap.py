"""Logins with the passwords of an LDAP directory: Debian's slapd."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.catalogue import filled
from tests.certificates import make
from tests.eventually import eventually
from tests.hub import Hub
from tests.logins.conftest import kind, person

AUTHORITY = "/etc/ssl/certs/directory.pem"
CONFIGURATION = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile /etc/ldap/test.crt
TLSCertificateKeyFile /etc/ldap/test.key
database mdb
suffix "dc=example,dc=org"
directory /var/lib/ldap-test
access to attrs=userPassword by anonymous auth by * none
access to * by users read by * none
"""
PASSWORDS = {"ada": "analytical", "eve": "eavesdrop", "hub": "of-the-hub", "bob": "built"}
ENTRIES = """\
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
o: Example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit

dn: uid=ada,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
cn: Ada
sn: Lovelace
userPassword: analytical

dn: uid=eve,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
cn: Eve
sn: Dropper
userPassword: eavesdrop

dn: cn=Bob {the} builder\\, junior,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: bob
sn: Builder
userPassword: built

dn: cn=hub,dc=example,dc=org
objectClass: inetOrgPerson
sn: Hub
userPassword: of-the-hub

dn: cn=students,dc=example,dc=org
objectClass: groupOfNames
member: uid=ada,ou=people,dc=example,dc=org
"""


@pytest.fixture(scope="module")
def directory(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The lines of a fragment that name a directory with Ada, Eve, and Bob."""
    machine = hub.machine
    certificate, key = make(tmp_path_factory.mktemp("directory"), machine.address)
    machine.systemctl("stop", "slapd")
    machine.put(AUTHORITY, certificate.read_text())
    machine.put("/etc/ldap/test.crt", certificate.read_text())
    machine.put("/etc/ldap/test.key", key.read_text(), mode=0o600)
    machine.put("/etc/ldap/test.conf", CONFIGURATION)
    machine.put("/etc/ldap/test.ldif", ENTRIES)
    machine.run(["mkdir", "-p", "/var/lib/ldap-test"])
    machine.run(["slapadd", "-f", "/etc/ldap/test.conf", "-l", "/etc/ldap/test.ldif"])
    listen = f"ldap://{machine.address} ldaps://{machine.address}"
    slapd = ["slapd", "-d", "0", "-f", "/etc/ldap/test.conf", "-h", listen]
    machine.run(["systemd-run", "--quiet", "--unit=directory", *slapd])
    who = ["ldapwhoami", "-x", "-H", f"ldap://{machine.address}", "-w", "analytical"]
    entry = ["-D", "uid=ada,ou=people,dc=example,dc=org"]
    eventually(lambda: machine.run([*who, *entry], check=False).returncode == 0, 30, "slapd")
    yield (
        f"c.LDAPAuthenticator.server_address = {machine.address!r}\n"
        'c.LDAPAuthenticator.bind_dn_template = ["uid={username},ou=people,dc=example,dc=org"]\n'
        f'c.LDAPAuthenticator.tls_kwargs = {{"ca_certs_file": {AUTHORITY!r}}}\n'
    )
    machine.systemctl("stop", "directory")


EVERYONE = "c.Authenticator.allow_all = True\n"


def log_in(hub: Hub, trusted: Path, name: str, password: str) -> tuple[int, str]:
    with person(hub, name, trusted, password) as someone:
        page = someone.try_to_log_in()
        return page.status_code, page.text


def test_a_person_of_the_directory_logs_in_and_works(
    hub: Hub, directory: str, trusted: Path
) -> None:
    only = 'c.Authenticator.allowed_users = {"ada"}\n'
    with kind(hub, "41-ldap.py", filled("41-ldap.py", directory + only)):
        with person(hub, "ada", trusted, "analytical") as ada:
            ada.log_in()
            ada.start_server()
            assert ada.run_cell("import getpass; getpass.getuser()") == "'ada'"
            ada.stop_server()
        # Another spelling is the same person, as for the directory; JupyterHub strips names.
        for name in ("ADA", " ada\n"):
            assert log_in(hub, trusted, name, "analytical")[0] == 200
        for name, password in (("ada", "wrong"), ("eve", "eavesdrop"), ("none", "x"), ("ada", "")):
            status, text = log_in(hub, trusted, name, password)
            assert status == 403
            assert "Wrong user name or password, or you may not use this hub" in text
        assert "Login of 'eve' from " in hub.machine.journal(lines=1000)


@pytest.mark.parametrize(
    "name",
    [
        *("*", "ada)(uid=*", "ada*", "ada,ou=people", "ada\\2c", "ada+uid=eve"),
        *("{username}", "ada,ou=people,dc=example,dc=org", "\N{LATIN SMALL LETTER DOTLESS I}"),
    ],
)
def test_a_name_is_never_a_pattern_and_never_a_part_of_an_entrys_name(
    hub: Hub, directory: str, trusted: Path, name: str, lookup: None
) -> None:
    assert log_in(hub, trusted, name, "analytical")[0] == 403


LOOKUP = """\
from littlest_hub.hub.secret_files import read_secret
c.LDAPAuthenticator.bind_dn_template = []
c.LDAPAuthenticator.lookup_dn = True
c.LDAPAuthenticator.lookup_dn_search_user = "cn=hub,dc=example,dc=org"
c.LDAPAuthenticator.lookup_dn_search_password = read_secret("/etc/littlest-hub/ldap.secret")
c.LDAPAuthenticator.user_search_base = "ou=people,dc=example,dc=org"
c.LDAPAuthenticator.user_attribute = "uid"
c.LDAPAuthenticator.lookup_dn_user_dn_attribute = "cn"
"""


@pytest.fixture(scope="module")
def lookup(hub: Hub, directory: str) -> Iterator[None]:
    """The hub looks entries up, and lets everyone in."""
    hub.machine.put("/etc/littlest-hub/ldap.secret", "of-the-hub\n", mode=0o600)
    with kind(hub, "41-ldap.py", filled("41-ldap.py", directory + LOOKUP + EVERYONE)):
        yield


def test_an_entry_is_looked_up_whatever_its_name(hub: Hub, trusted: Path, lookup: None) -> None:
    with person(hub, "bob", trusted, "built") as bob:
        bob.log_in()
        assert bob.browser.get("/hub/api/user").json()["name"] == "bob"


def test_a_group_lets_its_members_in_and_nobody_else(
    hub: Hub, directory: str, trusted: Path
) -> None:
    group = 'c.LDAPAuthenticator.allowed_groups = ["cn=students,dc=example,dc=org"]\n'
    on_connect = 'c.LDAPAuthenticator.tls_strategy = "on_connect"\n'
    with kind(hub, "41-ldap.py", filled("41-ldap.py", directory + group + on_connect)):
        assert log_in(hub, trusted, "ada", "analytical")[0] == 200
        assert log_in(hub, trusted, "eve", "eavesdrop")[0] == 403


def test_a_certificate_that_is_not_trusted_gets_no_password(
    hub: Hub, directory: str, trusted: Path
) -> None:
    untrusted = "c.LDAPAuthenticator.tls_kwargs = {}\n"
    for more in ("", 'c.LDAPAuthenticator.tls_strategy = "on_connect"\n'):
        text = filled("41-ldap.py", directory + EVERYONE + untrusted + more)
        with kind(hub, "41-ldap.py", text):
            status, text = log_in(hub, trusted, "ada", "analytical")
            assert status == 503
            assert "The directory with the passwords does not answer" in text


def test_a_directory_that_hangs_stops_nobody_else(hub: Hub, directory: str, trusted: Path) -> None:
    with kind(hub, "41-ldap.py", filled("41-ldap.py", directory + EVERYONE)):
        hub.machine.systemctl("kill", "--signal=STOP", "directory")
        try:
            with ThreadPoolExecutor(1) as threads:
                waiting = threads.submit(log_in, hub, trusted, "ada", "analytical")
                began = time.monotonic()
                while not waiting.done():
                    asked = time.monotonic()
                    with person(hub, "eve", trusted) as eve:
                        assert eve.browser.get("/hub/health").status_code == 200
                    assert time.monotonic() - asked < 5
                assert waiting.result()[0] == 503
                assert time.monotonic() - began < 40
        finally:
            hub.machine.systemctl("kill", "--signal=CONT", "directory")
