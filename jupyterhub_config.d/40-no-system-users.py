# For a workshop: users without an account on this machine. Any name, one password for everyone.
#
# While a user's server runs, systemd allocates a system user for it (DynamicUser= in
# systemd.exec(5)). The user's files stay in /var/lib/private/littlest-hub-homes/NAME until the user
# is deleted on /hub/admin, and then in littlest-hub-former-homes beside it, for root only.
# Everyone who knows the password can log in under any name. Users in admin_users need
# c.SharedPasswordAuthenticator.admin_password, of 32 characters or more.
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = "CHANGE-ME"
if c.SharedPasswordAuthenticator.user_password.startswith("CHANGE"):
    raise ValueError("choose a password of your own, in the line above")
c.Authenticator.allow_all = True
c.SystemdSpawner.dynamic_users = True
