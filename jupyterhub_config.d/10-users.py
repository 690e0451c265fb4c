# Who may log in, and who administers the hub. By default, JupyterHub lets no one in.
#
# These are system accounts of this machine, with their passwords (PAM). To allow every account:
#   c.Authenticator.allow_all = True
# To allow the members of a system group:
#   c.LocalAuthenticator.allowed_groups = {"students"}
#   c.PAMAuthenticator.admin_groups = {"teachers"}
#
# Users who have logged in once stay allowed until you delete them at /hub/admin.
#
# alice and bob are examples: replace them.
c.Authenticator.admin_users = {"alice"}
c.Authenticator.allowed_users = {"alice", "bob"}
