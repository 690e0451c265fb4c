# Users and administrators of the hub.
#
# Fragments decide this, and nothing else does: "Add Users" on the hub's admin page lets no one in.
# People who are not named here any more are out at the next reload: sessions and tokens end, and
# servers are stopped. To let in everyone who was added on the admin page:
#   c.Authenticator.allow_existing_users = True
#
# These are system accounts of this machine, with their passwords (PAM). To allow every account:
#   c.Authenticator.allow_all = True
# To allow the members of system groups:
#   c.LocalAuthenticator.allowed_groups = {"students", "teachers"}
#   c.PAMAuthenticator.admin_groups = {"teachers"}
#
# alice and bob are examples: replace them.
c.Authenticator.admin_users = {"alice"}
c.Authenticator.allowed_users = {"alice", "bob"}
