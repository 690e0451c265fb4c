# Logins with the passwords of an LDAP directory.
#
# If the users have accounts on this machine, from the directory, you need no fragment: sssd with
# PAM is better then, with uids, groups, offline logins, and expired passwords. This is for users
# without accounts. /opt/littlest-hub/hub/share/littlest-hub/docs/how-to/log-in-elsewhere.md
c.JupyterHub.authenticator_class = "littlest_hub.hub.ldap.DirectoryAuthenticator"
c.LDAPAuthenticator.server_address = "ldap.CHANGE-ME.org"
# The name of an entry, if it follows from the user's name:
c.LDAPAuthenticator.bind_dn_template = ["uid={username},ou=people,dc=CHANGE-ME,dc=org"]
# User names there. They replace those of 10-users.py, which are accounts of this machine.
c.Authenticator.admin_users = {"CHANGE-ME"}
c.Authenticator.allowed_users = set()
c.Authenticator.allow_all = False
if any(
    "CHANGE" in each
    for each in (
        c.LDAPAuthenticator.server_address,
        *c.LDAPAuthenticator.bind_dn_template,
        *c.Authenticator.admin_users,
    )
):
    raise ValueError("put in the server, the form of an entry's name and your name, above")
#
# To let in everyone in the directory, or members of groups:
#   c.Authenticator.allow_all = True
#   c.LDAPAuthenticator.allowed_groups = ["cn=students,ou=groups,dc=example,dc=org"]
# If an entry's name does not follow from the user's name, as in Active Directory, look it up. The
# file contains the password of the account that may search:
#   from littlest_hub.hub.secret_files import read_secret
#   c.LDAPAuthenticator.bind_dn_template = []
#   c.LDAPAuthenticator.lookup_dn = True
#   c.LDAPAuthenticator.lookup_dn_search_user = "cn=hub,ou=services,dc=example,dc=org"
#   c.LDAPAuthenticator.lookup_dn_search_password = read_secret("/etc/littlest-hub/ldap.secret")
#   c.LDAPAuthenticator.user_search_base = "ou=people,dc=example,dc=org"
#   c.LDAPAuthenticator.user_attribute = "sAMAccountName"
#   c.LDAPAuthenticator.lookup_dn_user_dn_attribute = "cn"
#
# The connection is encrypted (StartTLS at port 389), and the certificate is verified. A certificate
# of an authority of your own, and TLS from the start, at port 636:
#   c.LDAPAuthenticator.tls_kwargs = {"ca_certs_file": "/etc/ssl/certs/example-ca.pem"}
#   c.LDAPAuthenticator.tls_strategy = "on_connect"
#
# systemd lends each user an account while their server runs. Without this line, a server starts
# only for a user who has an account of the same name on this machine, and runs as that account.
c.SystemdSpawner.dynamic_users = True
