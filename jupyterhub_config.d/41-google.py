# Logins with Google accounts. The hub needs HTTPS first: `littlest-hub enable https`.
#
# Every step: /opt/littlest-hub/hub/share/littlest-hub/docs/how-to/log-in-elsewhere.md. In short:
# create an OAuth client (web application) at https://console.cloud.google.com/auth/clients, with
# the redirect URI https://HUB/hub/oauth_callback. The client secret goes into a file:
#   sudo install -D -m 600 /dev/stdin /etc/littlest-hub/google.secret     (paste, Enter, Ctrl-D)
from littlest_hub.hub.secret_files import read_secret

c.JupyterHub.authenticator_class = "littlest_hub.hub.oauth.GoogleAuthenticator"
c.OAuthenticator.client_id = "CHANGE-ME"
# E-mail addresses, in lower case. They replace the names of 10-users.py, which are accounts of this
# machine.
c.Authenticator.admin_users = {"CHANGE-ME@gmail.com"}
c.Authenticator.allowed_users = set()
c.Authenticator.allow_all = False
if any("CHANGE" in each for each in {c.OAuthenticator.client_id, *c.Authenticator.admin_users}):
    raise ValueError("put in the client ID and your e-mail address, in the lines above")
c.OAuthenticator.client_secret = read_secret("/etc/littlest-hub/google.secret")
#
# To let in everyone of an organization, and nobody else. Users of a single domain are then called
# alice here, not alice@example.org; so write the names above without the domain too.
#   c.GoogleOAuthenticator.hosted_domain = ["example.org"]
#   c.Authenticator.allow_all = True
#
# systemd lends each user an account while their server runs. Without this line, a server starts
# only for a user who has an account of the same name on this machine, and runs as that account.
c.SystemdSpawner.dynamic_users = True
