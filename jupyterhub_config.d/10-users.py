# Who may log in, and who administers the hub. JupyterHub lets nobody in by default.
#
# These are system accounts of this machine, and their passwords (PAM). Everybody who has one:
#   c.Authenticator.allow_all = True
# Members of a system group:
#   c.LocalAuthenticator.allowed_groups = {"students"}
#   c.PAMAuthenticator.admin_groups = {"teachers"}
#
# Whoever has logged in once stays allowed until deleted at /hub/admin.
#
# alice and bob are examples: replace them.
c.Authenticator.admin_users = {"alice"}
c.Authenticator.allowed_users = {"alice", "bob"}
