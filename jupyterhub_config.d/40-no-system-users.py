# For a workshop: people without an account on this machine. Any name, one password for all.
#
# While somebody's server runs, systemd lends it a system user of its own (DynamicUser= in
# systemd.exec(5)); their files stay in /var/lib/private/littlest-hub-homes/NAME,
# until they are deleted on /hub/admin: then in littlest-hub-former-homes beside it, for root alone.
# Anybody who knows the password can log in as anybody else. Whoever is in admin_users needs
# c.SharedPasswordAuthenticator.admin_password, of 32 characters or more.
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = "CHANGE-ME"
if c.SharedPasswordAuthenticator.user_password.startswith("CHANGE"):
    raise ValueError("choose a password of your own, in the line above")
c.Authenticator.allow_all = True
c.SystemdSpawner.dynamic_users = True
