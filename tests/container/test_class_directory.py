"""Accounts of a directory (slapd, nslcd and PAM): the class stack takes them as they are."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.container.conftest import EVERYBODY
from tests.container.test_class_accounts import WHO, run, table
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

pytestmark = pytest.mark.long

PACKAGES = ("slapd", "ldap-utils", "libnss-ldapd", "libpam-ldapd", "nslcd", "sudo")
PASSWORD, SHARED = "a password of the directory", "a password of all"
SLAPD = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
suffix "dc=example,dc=org"
directory /var/lib/ldap-test
access to attrs=userPassword by anonymous auth by * none
access to * by * read
"""
ENTRIES = f"""\
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
o: Example

dn: uid=lara,dc=example,dc=org
objectClass: inetOrgPerson
objectClass: posixAccount
cn: Lara
sn: Learner
uidNumber: 20001
gidNumber: 20001
homeDirectory: /home/lara
loginShell: /bin/bash
userPassword: {PASSWORD}

dn: cn=lara,dc=example,dc=org
objectClass: posixGroup
gidNumber: 20001
"""
NSLCD = "uid nslcd\ngid nslcd\nuri ldap://127.0.0.1/\nbase dc=example,dc=org\n"
NAMES = "passwd: files ldap\ngroup: files ldap\nshadow: files ldap\nhosts: files dns\n"
OTHER = f"""\
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = {SHARED!r}
c.Authenticator.allow_all = True
"""


@pytest.fixture(scope="module")
def school(installer: Path) -> Iterator[Hub]:
    """A hub with the class stack, on a machine with lara of a directory."""
    with Machine("bookworm", packages=PACKAGES) as machine:
        machine.systemctl("stop", "slapd", "nslcd", check=False)
        machine.put("/etc/ldap/test.conf", SLAPD)
        machine.put("/etc/ldap/test.ldif", ENTRIES)
        machine.run(["mkdir", "-p", "/var/lib/ldap-test"])
        machine.run(["slapadd", "-f", "/etc/ldap/test.conf", "-l", "/etc/ldap/test.ldif"])
        slapd = ["slapd", "-d", "0", "-f", "/etc/ldap/test.conf", "-h", "ldap://127.0.0.1"]
        machine.run(["systemd-run", "--quiet", "--unit=directory", *slapd])
        machine.put("/etc/nslcd.conf", NSLCD, mode=0o640)
        machine.run(["chgrp", "nslcd", "/etc/nslcd.conf"])
        machine.put("/etc/nsswitch.conf", NAMES)
        machine.systemctl("restart", "nslcd")
        known = ["getent", "passwd", "lara"]
        eventually(lambda: machine.run(known, check=False).returncode == 0, 30, "lara")
        machine.run(["install", "-d", "-m", "0700", "-o", "lara", "-g", "lara", "/home/lara"])
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "boss"})
        hub.write_fragment("20-everybody.py", EVERYBODY)
        run(hub, "enable", "class", "--yes")
        yield hub


def is_untouched(hub: Hub) -> bool:
    machine = hub.machine
    known = machine.run(["getent", "passwd", "lara"]).stdout
    home = machine.run(["stat", "-c", "%U %G %a", "/home/lara"]).stdout
    local = machine.run(["grep", "-c", "lara", "/etc/passwd", "/etc/shadow"], check=False).stdout
    return (
        known.strip().endswith(":20001:20001:Lara:/home/lara:/bin/bash")
        and home == "lara lara 700\n"
        and local == "/etc/passwd:0\n/etc/shadow:0\n"
    )


def test_a_person_of_the_directory_logs_in_with_its_password_and_has_its_account(
    school: Hub,
) -> None:
    with school.logged_in("lara", PASSWORD) as lara:
        lara.start_server()
        assert lara.run_cell(WHO) == "lara /home/lara\n"
    assert "lara" not in table(school), "no account was made"
    # The directory's administrator ends the account, not the hub's.
    refused = run(school, "class", "remove", "lara", "--delete", check=False)
    assert "the account lara is not the hub's" in refused
    with school.logged_in("lara", PASSWORD) as lara:
        lara.start_server()
        said = run(school, "class", "remove", "lara", "--lock")
        assert "the account lara is as it was" in said
        assert school.machine.processes("20001") == []
        assert lara.try_to_log_in().status_code == 403
        run(school, "class", "unlock", "lara")
        lara.log_in()
    assert is_untouched(school)


def test_another_login_gives_the_account_of_that_name_if_the_fragment_says_so(
    school: Hub,
) -> None:
    machine, fragment = school.machine, school.path("jupyterhub_config.d/60-class.py")
    before = machine.read(fragment)
    text = before.replace('LOGIN = "system"', 'LOGIN = "other"')
    machine.put(fragment, text.replace("EXISTING_ACCOUNTS = False", "EXISTING_ACCOUNTS = True"))
    machine.run(["rm", school.path("jupyterhub_config.d/20-everybody.py")])
    school.write_fragment("41-login.py", OTHER)
    school.reload()
    with school.logged_in("lara", SHARED) as lara:
        lara.start_server()
        assert lara.run_cell(WHO) == "lara /home/lara\n"
    with school.logged_in("nina", SHARED) as nina:
        nina.start_server()
        assert nina.run_cell(WHO) == "jupyter-nina /home/jupyter-nina\n"
    assert is_untouched(school)
